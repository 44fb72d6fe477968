package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
)

// tree is the whole command, every action included.
func tree(t *testing.T) *cobra.Command {
	t.Helper()
	none := func(string) string { return "" }
	s := &shell{env: Environment{Getenv: none, Clock: clock.System{}}}
	s.tty = screen.New(strings.NewReader(""), io.Discard, io.Discard, none)
	root := s.root()
	root.AddCommand(s.initCommand(), s.joinCommand(), s.leaveCommand(), s.agentCommand(), s.guardCommand(), s.demoCommand(), s.simulateCommand())
	return root
}

func walk(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		walk(sub, f)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	root := tree(t)
	walk(root, func(c *cobra.Command) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			if c.Name() == "help" {
				return
			}
			for _, want := range []string{"Usage:\n    keelson", "Example:\n    "} {
				if !strings.Contains(c.Long, want) {
					t.Errorf("the help lacks %q", want)
				}
			}
			if c.Runnable() && !c.HasSubCommands() && !strings.Contains(c.Long, "Exit status:") {
				t.Error("the help does not say what the exit status means")
			}
			c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name != "help" && !strings.Contains(c.Long, "--"+f.Name) {
					t.Errorf("the help does not name --%s", f.Name)
				}
			})
			for line := range strings.Lines(c.Long) {
				if len(line) > 82 || strings.HasSuffix(line, " \n") {
					t.Errorf("a line is too long, or ends in a blank: %q", line)
				}
			}
			path := strings.TrimPrefix(c.CommandPath(), "keelson")
			leaf := !c.HasSubCommands() && !c.Hidden
			if leaf && !strings.Contains(root.Long, "\n   "+path+" ") {
				t.Errorf("the overview does not list %q", path)
			}
		})
	})
}

func TestExitStatuses(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"wrong usage", wrong("", "no"), exitUsage},
		{"a refusal", &request.Error{Kind: request.Refused, Code: "x", Text: "no"}, exitFailed},
		{"a store that is away", &request.Error{Kind: request.Unavailable, Code: "x", Text: "no"}, exitFailed},
		{"nobody there", &request.Error{Kind: request.Unreachable, Code: "x", Text: "no"}, exitUnreachable},
		{"time is up", &request.Error{Kind: request.Expired, Code: "x", Text: "no"}, exitTimeout},
		{"something wrapped", fmt.Errorf("join: %w", &request.Error{Kind: request.Unreachable, Code: "x", Text: "no"}), exitUnreachable},
		{"a wait for what failed for good", &lostError{text: "no"}, exitLost},
		{"something else", errors.New("no"), exitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := explain(tt.err); got.Exit != tt.want || got.Message == "" || got.Code == "" {
				t.Errorf("%+v, want %d", got, tt.want)
			}
		})
	}
}
