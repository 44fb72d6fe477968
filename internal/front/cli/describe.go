package cli

import (
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
)

const describeHelp = `Show everything about a service or a node, for reading.

Usage:
    keelson describe SERVICE [-o FORMAT]
    keelson describe service SERVICE|node NODE [-o FORMAT]

    -o, --output FORMAT  table (the default: prose), json or yaml

Exit status: 0 shown, 1 there is no such thing, 2 wrong usage, 3 the cell cannot
be reached.

Example:
    $ keelson describe shop
`

func (s *shell) describeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "describe", Long: describeHelp, Args: between(1, "a SERVICE", "a name"),
		ValidArgsFunction: s.completeThings(),
	}
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		what, err := parseThing(args)
		if err != nil {
			return err
		}
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		if what.node != "" {
			one, err := api.Node(c.Context(), what.node)
			if err != nil {
				return err
			}
			return s.show(*out, one, func(int, bool) string { return view.Node(one) })
		}
		one, err := api.Service(c.Context(), what.service)
		if err != nil {
			return err
		}
		now := s.env.Clock.Now()
		return s.show(*out, one, func(int, bool) string { return view.Service(one, now) })
	}
	return c
}
