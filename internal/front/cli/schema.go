package cli

import (
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/model/specfile"
)

const schemaHelp = `Print the JSON schema of a service's file, for editors.

Usage:
    keelson schema

Exit status: 0 printed, 2 wrong usage.

Example:
    $ keelson schema > service.schema.json
`

func (s *shell) schemaCommand() *cobra.Command {
	return &cobra.Command{Use: "schema", Long: schemaHelp, Args: exactly(), RunE: func(*cobra.Command, []string) error {
		s.tty.Printf("%s", specfile.Schema())
		return nil
	}}
}
