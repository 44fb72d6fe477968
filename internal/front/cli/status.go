package cli

import (
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
)

const statusHelp = `Show the whole cell on one screen: problems first, then nodes, then services.

Usage:
    keelson status [--watch] [-o FORMAT]

    -w, --watch          keep it on the screen as it changes, until Ctrl-C; in a
                         pipe, print it anew with each change
    -o, --output FORMAT  table, json or yaml

Exit status: 0 shown, 1 it failed, 2 wrong usage, 3 the cell cannot be reached.
A cell with problems is shown with 0: look at .problems in the JSON.

Example:
    $ keelson status
    cell shop: quorate, controller a (seen from a)
    no problems

    NODE  STATE  ROLE   ADDRESS   SERVICES  VERSION
    a     alive  voter  10.0.0.1  shop      v0.1.0

    SERVICE  STATE    READY  NODE  FOR   EPOCH  BOUND
    shop     running  yes    a     3h2m  7      410ms
`

func (s *shell) statusCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{Use: "status", Long: statusHelp, Args: exactly()}
	out := output.Flag(c)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "")
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		if watch {
			return s.watch(c.Context(), api, *out)
		}
		now, err := api.Status(c.Context())
		if err != nil {
			return err
		}
		return s.show(*out, now, func(width int, color bool) string { return view.Status(now, width, color) })
	}
	return c
}
