package cli

import (
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/reasons"
)

// reasonCommands are those that ask about decisions.
func (s *shell) reasonCommands() []*cobra.Command {
	return reasons.Commands(reasons.Shell{
		Dial: s.dial, Stdin: s.env.Stdin, Wrong: wrong, Arguments: between,
		Services: s.completeNames(services), Nodes: s.completeNames(nodes), Replay: s.env.Actions.Replay,
		Output: func(c *cobra.Command) func(any, func(int, bool) string) error {
			form := output.Flag(c)
			return func(v any, text func(int, bool) string) error { return s.show(*form, v, text) }
		},
	})
}
