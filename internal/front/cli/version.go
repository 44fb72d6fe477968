package cli

import (
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/output"
)

const versionHelp = `Print the version of this binary. The status shows that of each node.

Usage:
    keelson version [-o FORMAT]

    -o, --output FORMAT  table, json or yaml

Exit status: 0 printed, 2 wrong usage.

Example:
    $ keelson version
    keelson v0.1.0 (go1.26.8, linux/amd64)
    of commit 25563d5ec2ed, 2026-11-23 21:20:35 UTC
`

func (s *shell) versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Long: versionHelp, Args: exactly()}
	out := output.Flag(c)
	c.RunE = func(*cobra.Command, []string) error {
		return s.show(*out, output.Plain{Value: s.env.Build}, func(int, bool) string { return s.env.Build.Text() })
	}
	return c
}
