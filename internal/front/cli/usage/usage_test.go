package usage

import (
	"testing"

	"github.com/spf13/pflag"
)

func TestAFlagThatCannotBeReadIsSaidWithoutGoWords(t *testing.T) {
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	flags.Duration("valid", 0, "")
	flags.Int("nodes", 0, "")
	flags.Uint64("seeds", 0, "")
	for _, tt := range []struct{ flag, value, text, hint string }{
		{"valid", "1d", `"1d" is nothing that --valid can be`, "write it with a unit, such as 30s, 5m or 24h"},
		{"nodes", "x", `"x" is nothing that --nodes can be`, "write a whole number"},
		{"seeds", "-4", `"-4" is nothing that --seeds can be`, "write a whole number, 0 or more"},
	} {
		text, hint := Flag(flags.Parse([]string{"--" + tt.flag + "=" + tt.value}))
		if text != tt.text || hint != tt.hint {
			t.Errorf("it says %q, %q", text, hint)
		}
	}
}
