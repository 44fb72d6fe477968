package usage

import (
	"testing"

	"github.com/spf13/cobra"
)

// form is a flag with a few words to choose from.
type form string

func (f *form) String() string     { return string(*f) }
func (f *form) Type() string       { return "table|json|yaml" }
func (f *form) Set(w string) error { return wordError(w) }

type wordError string

func (e wordError) Error() string { return "no form" }

func TestAFlagThatCannotBeReadIsSaidWithoutGoWords(t *testing.T) {
	const see = "see `x --help`"
	for _, tt := range []struct {
		name       string
		args       []string
		text, hint string
	}{
		{"a unit that there is not", []string{"--valid=1d"}, `"1d" is nothing that --valid can be`, "write it with a unit, such as 30s, 5m or 24h"},
		{"a word for a number", []string{"--nodes=x"}, `"x" is nothing that --nodes can be`, "write a whole number"},
		{"less than nothing", []string{"--seeds=-4"}, `"-4" is nothing that --seeds can be`, "write a whole number, 0 or more"},
		{"an answer for a switch", []string{"--wait=maybe"}, `"maybe" is nothing that --wait can be`, "write --wait alone, or with =true or =false"},
		{"a form that there is not", []string{"-o", "xml"}, `"xml" is nothing that -o can be`, "choose table, json or yaml"},
		{"no form", []string{"-o"}, "-o needs a value after it", see},
		{"a flag with a typo", []string{"--wiat"}, "x has no flag --wiat", "did you mean --wait? Else " + see},
		{"a flag that is like none", []string{"--colour"}, "x has no flag --colour", see},
		{"a letter that is none", []string{"-z"}, "x has no flag -z", see},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &cobra.Command{Use: "x"}
			flags := c.Flags()
			flags.Duration("valid", 0, "")
			flags.Int("nodes", 0, "")
			flags.Uint64("seeds", 0, "")
			flags.Bool("wait", false, "")
			flags.VarP(new(form), "output", "o", "")
			if text, hint := Flag(c, flags.Parse(tt.args)); text != tt.text || hint != tt.hint {
				t.Errorf("it says %q, %q", text, hint)
			}
		})
	}
}

func TestACommandWithOneFormSaysSo(t *testing.T) {
	c := &cobra.Command{Use: "x"}
	if text, hint := Flag(c, c.Flags().Parse([]string{"-o", "json"})); text != "x has no flag -o" || hint != "what it prints has one form only; see `x --help`" {
		t.Errorf("it says %q, %q", text, hint)
	}
	c.AddCommand(&cobra.Command{Use: "y"})
	if text, hint := Flag(c, c.Flags().Parse([]string{"--output=json"})); text != "x has no flag --output" || hint != "-o goes with the commands below it: see `x --help`" {
		t.Errorf("it says %q, %q", text, hint)
	}
}
