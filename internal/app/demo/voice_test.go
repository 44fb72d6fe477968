package demo

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/cli"
)

// still is a clock that stands still.
type still struct{ clock.System }

func (still) Boot() time.Duration { return time.Hour }

func speak(b *strings.Builder, o cli.DemoOptions) *voice {
	o.Out = b
	return newVoice(Options{DemoOptions: o, Clock: still{}})
}

func TestStepsInAPipeAreOneLineEach(t *testing.T) {
	var b strings.Builder
	v := speak(&b, cli.DemoOptions{})
	done := func(result string, err error) func(func(string)) (string, error) {
		return func(tell func(string)) (string, error) { tell("at work"); return result, err }
	}
	v.title("a title")
	if err := v.step("one", done("", nil)); err != nil {
		t.Error(err)
	}
	if err := v.step("two", done("well", nil)); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	if err := v.step("three", done("well", broken)); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	const want = "a title\n\n  one ... 0.0 s\n  two ... well, 0.0 s\n  three ... not done, 0.0 s\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAStepOnATerminalEndsAsOneLine(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm")
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"done":     {nil, "  ✓ one: well" + strings.Repeat(" ", 48) + "   0.0 s"},
		"not done": {errors.New("broken"), "  ✗ one: not done" + strings.Repeat(" ", 44) + "   0.0 s"},
	} {
		var b strings.Builder
		v := speak(&b, cli.DemoOptions{Terminal: true, Columns: 70})
		if err := v.step("one", func(tell func(string)) (string, error) { tell("at work"); return "well", tt.err }); !errors.Is(err, tt.err) {
			t.Errorf("%s: the error is %v", name, err)
		}
		drawn := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\r\x1b[K")
		if !strings.Contains(b.String(), "one: at work") {
			t.Errorf("%s: what it was at was not shown", name)
		}
		if diff := cmp.Diff(tt.want, drawn[len(drawn)-1]); diff != "" {
			t.Errorf("%s: the last line (-want +got):\n%s", name, diff)
		}
		for _, line := range drawn {
			if n := utf8.RuneCountInString(line); n > 70 {
				t.Errorf("%s: %d columns are too many: %q", name, n, line)
			}
		}
	}
}

func TestAStepInAReportIsNotSaid(t *testing.T) {
	var b strings.Builder
	v := speak(&b, cli.DemoOptions{JSON: true, Terminal: true, Columns: 80})
	v.title("a title")
	if err := v.step("one", func(tell func(string)) (string, error) { tell("x"); return "", nil }); err != nil || b.String() != "" {
		t.Errorf("%v, it said %q", err, b.String())
	}
}

func TestPlainTerminal(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"nothing is known":              {nil, false},
		"a UTF-8 locale":                {map[string]string{"LANG": "de_DE.UTF-8"}, false},
		"another locale":                {map[string]string{"LANG": "C"}, true},
		"the first that is set counts":  {map[string]string{"LC_ALL": "C.utf8", "LANG": "C"}, false},
		"a terminal that can do little": {map[string]string{"TERM": "dumb", "LANG": "C.UTF-8"}, true},
	} {
		if got := plainTerminal(func(k string) string { return tt.env[k] }); got != tt.want {
			t.Errorf("%s: plain is %t", name, got)
		}
	}
}

func TestWhatIsNewIsSeenBesideALongStep(t *testing.T) {
	v := speak(&strings.Builder{}, cli.DemoOptions{Terminal: true, Columns: 60})
	const what = "a cell of 3 nodes, each joined by a token, with mutual TLS"
	for _, tt := range []struct{ name, what, detail, want string }{
		{"nothing is known yet", what, "", what},
		{"both have room", "3 votes", "1 so far", "3 votes: 1 so far"},
		{"the step gives way", what, "bravo joins", "a cell of 3 nodes, each joined ...: bravo joins"},
		{"but some of it stays", what, strings.Repeat("x", 59), "a cell of 3 ...: " + strings.Repeat("x", 59)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, with(v.beside(tt.what, tt.detail), tt.detail)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
