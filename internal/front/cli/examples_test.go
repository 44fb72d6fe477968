package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keelson/keelson/internal/front/cli/pacemaker"
	"github.com/keelson/keelson/internal/front/cli/usage"
)

// fullTree is tree with all that a real program has.
func fullTree(t *testing.T) *cobra.Command {
	t.Helper()
	s := &shell{env: Environment{Getenv: func(string) string { return "" }}}
	s.env.Actions.Pacemaker = &pacemaker.Reader{}
	root := tree(t)
	root.AddCommand(s.importCommand())
	return root
}

// words splits a line as a shell does, up to what is not the command's own: a pipe,
// a redirection, a remark or another command.
func words(line string) []string {
	var out []string
	word, quote := "", rune(0)
	open := false
	flush := func() {
		if open {
			out = append(out, word)
		}
		word, open = "", false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ':
			flush()
		case strings.ContainsRune("|>;#&", r) && (!open || r == ';'):
			flush()
			return out
		default:
			word, open = word+string(r), true
		}
	}
	flush()
	return out
}

// example checks that a line that begins with keelson is understood.
func example(t *testing.T, line string) error {
	t.Helper()
	args := words(line)
	if len(args) == 0 || args[0] != "keelson" {
		return fmt.Errorf("%q is no command", line)
	}
	c, rest, err := fullTree(t).Find(args[1:])
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	given := c.Flags().Args()
	if c.HasSubCommands() && len(given) > 0 {
		return fmt.Errorf("%s has no %q", c.CommandPath(), given[0])
	}
	return c.ValidateArgs(given)
}

func TestEveryExampleOfTheHelpIsUnderstood(t *testing.T) {
	walk(fullTree(t), func(c *cobra.Command) {
		_, examples, _ := strings.Cut(c.Long, "\nExample:\n")
		for line := range strings.Lines(examples) {
			text, shown := strings.CutPrefix(line, "    $ ")
			if !shown {
				text, shown = strings.CutPrefix(line, "    # ")
			}
			if shown && strings.HasPrefix(text, "keelson") {
				if err := example(t, strings.TrimSpace(text)); err != nil {
					t.Errorf("%s: the example %q: %v", c.CommandPath(), text, err)
				}
			}
		}
	})
}

func TestEveryFlagThatAHelpNamesIsThere(t *testing.T) {
	named := regexp.MustCompile(`(?:^|[^-\w])--([a-z][a-z-]*)`)
	walk(fullTree(t), func(c *cobra.Command) {
		if c.Name() == "help" || c.HasSubCommands() {
			return
		}
		c.InheritedFlags() // adds those of the commands above
		usage, _, _ := strings.Cut(c.Long, "\nExample:\n")
		for line := range strings.Lines(usage) {
			if strings.Contains(line, "`") {
				continue // it speaks of another command, too
			}
			for _, m := range named.FindAllStringSubmatch(line, -1) {
				if c.Flags().Lookup(m[1]) == nil && m[1] != "help" {
					t.Errorf("%s: the help names --%s: %q", c.CommandPath(), m[1], line)
				}
			}
		}
	})
}

// spans are what a page shows of commands: lines of their own, and code in a line.
func spans(page string) []string {
	var out []string
	prompt := regexp.MustCompile(`^ {4}(?:[$#] )?(keelson .*)$`)
	code := regexp.MustCompile("`((?:keelson )[^`]*)`")
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		if m := prompt.FindStringSubmatch(line); m != nil {
			out = append(out, m[1])
			continue
		}
		for _, m := range code.FindAllStringSubmatch(line, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

func TestEveryCommandOfThePagesIsUnderstood(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	shown := 0
	for _, path := range append(pages, filepath.Join(root, "README.md")) {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range spans(string(page)) {
			shown++
			if err := likely(t, line); err != nil {
				t.Errorf("%s: %q: %v", filepath.Base(path), line, err)
			}
		}
	}
	if shown < 30 {
		t.Errorf("only %d commands were found on the pages", shown)
	}
}

// likely is example for a line that may leave out what is clear there: arguments,
// or that writes ... and [ ] for what may follow.
func likely(t *testing.T, line string) error {
	t.Helper()
	line = strings.NewReplacer("[", "", "]", "", "...", "", "…", "").Replace(line)
	line = regexp.MustCompile(`\w+(\|\w+)+`).ReplaceAllStringFunc(line, func(s string) string { return strings.SplitN(s, "|", 2)[0] })
	args := words(line)
	if slices.Equal(args, []string{"keelson", "help", usage.ExitTopic}) {
		return nil
	}
	c, rest, err := fullTree(t).Find(args[1:])
	if err != nil {
		return err
	}
	if last := len(rest) - 1; last >= 0 && strings.HasPrefix(rest[last], "-") {
		if f := c.Flags().Lookup(strings.TrimLeft(rest[last], "-")); f != nil && f.NoOptDefVal == "" {
			rest = rest[:last] // its value is left out
		}
	}
	if err := c.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if given := c.Flags().Args(); c.HasSubCommands() && len(given) > 0 {
		return fmt.Errorf("%s has no %q", c.CommandPath(), given[0])
	}
	return nil
}

func TestTheExitStatusesAreTheSameEverywhere(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range exitLost + 1 {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^\| (\d, )*%d(, \d)* \|`, n)).Match(readme) {
			t.Errorf("README does not list status %d", n)
		}
		if !strings.Contains(usage.ExitCodes, fmt.Sprintf("\n    %d   ", n)) {
			t.Errorf("the help does not list status %d", n)
		}
	}
}

func TestWhatWaitsSaysWithWhichStatusItGivesUp(t *testing.T) {
	walk(fullTree(t), func(c *cobra.Command) {
		_, exits, _ := strings.Cut(c.Long, "Exit status:")
		exits, _, _ = strings.Cut(exits, "\n\n")
		said := regexp.MustCompile(`\b\d\b`).FindAllString(exits, -1)
		var want []string
		if c.Runnable() && !c.HasSubCommands() {
			want = append(want, "0", "2")
		}
		if c.Flags().Lookup("timeout") != nil {
			want = append(want, "1", "3", "4", "7")
		}
		for _, w := range want {
			if c.Name() != "help" && !slices.Contains(said, w) {
				t.Errorf("%s: the help does not say what status %s means: %q", c.CommandPath(), w, exits)
			}
		}
	})
}
