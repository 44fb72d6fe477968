package cli

import (
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/output"
)

// register lists the words that complete a flag.
func register(c *cobra.Command, flag string, words ...string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist: a fault of the caller
	}
}

// show prints v, a value of the API or an [output.Plain], or the table that stands
// for it.
func (s *shell) show(f output.Form, v any, asTable func(width int, color bool) string) error {
	return output.Show(s.tty, f, v, asTable)
}

// showNext prints one of a series of values.
func (s *shell) showNext(f output.Form, v any, asTable func(width int, color bool) string) error {
	return output.ShowNext(s.tty, f, v, asTable)
}
