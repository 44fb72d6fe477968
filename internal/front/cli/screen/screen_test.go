package screen_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/front/cli/screen"
)

func TestRender(t *testing.T) {
	table := screen.Table{
		Head: []string{"NAME", "EMPTY", "STATE", "WHY"},
		Rows: [][]screen.Field{
			{screen.Strong.Of("shop"), {}, screen.Good.Of("running"), {}},
			{screen.Text("mül"), {}, screen.Bad.Of("failed"), screen.Text("it ended with\nexit status 1\x1b[2J and more")},
		},
	}
	tests := []struct {
		name  string
		width int
		color bool
		want  string
	}{
		{name: "in a pipe", want: "" +
			"NAME  STATE    WHY\n" +
			"shop  running\n" +
			"mül   failed   it ended with exit status 1[2J and more\n"},
		{name: "on a narrow terminal", width: 30, want: "" +
			"NAME  STATE    WHY\n" +
			"shop  running\n" +
			"mül   failed   it ended wit...\n"},
		{name: "on one too narrow", width: 3, want: "" +
			"NAME  STATE    WHY\n" +
			"shop  running\n" +
			"mül   failed   it ended ...\n"},
		{name: "in colour", width: 30, color: true, want: "" +
			"\x1b[2mNAME\x1b[0m  \x1b[2mSTATE\x1b[0m    \x1b[2mWHY\x1b[0m\n" +
			"\x1b[1mshop\x1b[0m  \x1b[32mrunning\x1b[0m\n" +
			"mül   \x1b[31mfailed\x1b[0m   it ended wit...\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, table.Render(tt.width, tt.color)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNothingSteersTheTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		for _, r := range screen.Clean(s) {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q keeps %U", s, r)
			}
		}
		for _, r := range screen.CleanLines(s) {
			if r != '\n' && unicode.IsControl(r) {
				t.Fatalf("%q keeps %U", s, r)
			}
		}
	})
}

func TestCutAndWrapKeepTheWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-zä ]{0,80}`).Draw(t, "text")
		width := rapid.IntRange(1, 100).Draw(t, "width")
		if n := utf8.RuneCountInString(screen.Cut(s, width)); n > width {
			t.Fatalf("cut to %d gives %d", width, n)
		}
		lines := screen.Wrap(s, max(20, width))
		if got := strings.Fields(strings.Join(lines, " ")); !cmp.Equal(got, strings.Fields(s)) {
			t.Fatalf("wrapping lost words: %q", lines)
		}
	})
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m1s",
		2*time.Hour + 3*time.Minute + 4*time.Second: "2h3m", 49 * time.Hour: "2d1h",
	} {
		if got := screen.Age(d); got != want {
			t.Errorf("Age(%s) is %q, want %q", d, got, want)
		}
	}
	if got := screen.Took(1234 * time.Millisecond); got != "1.2 s" {
		t.Error(got)
	}
	if got := screen.Since(time.Time{}, time.Unix(9, 0)) + screen.Moment(time.Time{}); got != "" {
		t.Errorf("never is %q", got)
	}
}

func TestAFrameFitsItsScreen(t *testing.T) {
	text := strings.Repeat("line\n", 50)
	got := screen.Frame(text, "foot", 10)
	if n := strings.Count(got, "\r\n") + 1; n != 10 {
		t.Errorf("%d lines", n)
	}
	if !strings.Contains(got, "... 43 more lines") || !strings.Contains(got, "foot") {
		t.Errorf("%q", got)
	}
	if got := screen.Frame("a\nb\n", "foot", 10); strings.Contains(got, "more") {
		t.Errorf("%q", got)
	}
}

func TestAPipeGetsWordsOnly(t *testing.T) {
	var out, errs bytes.Buffer
	tty := screen.New(strings.NewReader("y\n"), &out, &errs, func(string) string { return "" })
	tty.Progress("half done")
	tty.Printf("%s\n", "done")
	if out.String() != "done\n" || errs.String() != "" || tty.Ask || tty.Color || tty.Interactive() {
		t.Errorf("%q, %q, %+v", out.String(), errs.String(), tty)
	}
	if yes, err := tty.Confirm(t.Context(), "sure?"); !yes || err != nil || errs.String() != "sure? [y/N] " {
		t.Errorf("%v, %v, %q", yes, err, errs.String())
	}
}
