package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/model/specfile"
)

const schemaHelp = `Print the JSON schema of a service's file, for editors.

Usage:
    keelson schema [-o FORMAT]

    -o, --output FORMAT  json (also for table) or yaml

Exit status: 0 printed, 2 wrong usage.

Example:
    $ keelson schema > service.schema.json
`

func (s *shell) schemaCommand() *cobra.Command {
	c := &cobra.Command{Use: "schema", Long: schemaHelp, Args: exactly()}
	out := output.Flag(c)
	c.RunE = func(*cobra.Command, []string) error {
		return s.show(*out, output.Plain{Value: json.RawMessage(specfile.Schema())}, func(int, bool) string { return string(specfile.Schema()) })
	}
	return c
}
