package demo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOrder(t *testing.T) {
	nodes := []string{"alpha", "bravo", "charlie"}
	tests := []struct {
		line string
		want order
		err  string
	}{
		{line: "status", want: order{verb: "status"}},
		{line: "kill alpha", want: order{verb: verbKill, host: "alpha"}},
		{line: "K B", want: order{verb: verbKill, host: "bravo"}},
		{line: "move", want: order{verb: verbMove}},
		{line: "move charlie", want: order{verb: verbMove, host: "charlie"}},
		{line: "exit", want: order{verb: "quit"}},
		{line: "ser", want: order{verb: verbService}},
		{line: "h", err: `"h" may mean help or heal`},
		{line: "reboot alpha", err: "there is no command \"reboot\": `help` lists them"},
		{line: "kill", err: "kill needs a host: alpha, bravo, charlie"},
		{line: "kill delta", err: `there is no host "delta": choose alpha, bravo, charlie`},
		{line: "kill alpha bravo", err: "kill takes one host"},
		{line: "status alpha", err: "status stands alone"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			got, err := parseOrder(strings.Fields(tt.line), nodes)
			if text := errorText(err); text != tt.err {
				t.Fatalf("the error is %q, want %q", text, tt.err)
			}
			if err == nil && !cmp.Equal(got, tt.want, cmp.AllowUnexported(order{})) {
				t.Errorf("the order is %+v, want %+v", got, tt.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParseOrder(f *testing.F) {
	for _, seed := range []string{"kill alpha", "", "move", "é ", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Fields(line)
		if len(words) == 0 {
			return
		}
		o, err := parseOrder(words, []string{"alpha", "bravo"})
		if err != nil {
			if sentence(err) == "" {
				t.Error("an error without a word")
			}
			return
		}
		if o.verb == "" || len(words) == 2 && o.host == "" {
			t.Errorf("%q became %+v", line, o)
		}
	})
}

func TestTheFirstLetterOfASentenceIsLarge(t *testing.T) {
	if got := sentence(errNoProgram); got != "The web program does not run" {
		t.Errorf("it is %q", got)
	}
}
