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

func TestWithPort(t *testing.T) {
	for given, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:7480", "10.0.0.1:9": "10.0.0.1:9", "host": "host:7480", "host:9": "host:9",
		"fd00::1": "[fd00::1]:7480", "[fd00::1]": "[fd00::1]:7480", "[fd00::1]:9": "[fd00::1]:9",
	} {
		if got := withPort(given); got != want {
			t.Errorf("withPort(%q) is %q, want %q", given, got, want)
		}
	}
}

func TestChooseAddress(t *testing.T) {
	tests := []struct {
		name  string
		given string
		own   []string
		want  string
		fails string
	}{
		{name: "the only one", own: []string{"127.0.0.1", "::1", "fe80::1", "10.0.0.1"}, want: "10.0.0.1"},
		{name: "the only IPv6 one", own: []string{"::1", "2001:db8::1"}, want: "2001:db8::1"},
		{name: "the only IPv4 one besides IPv6", own: []string{"10.0.0.1", "2001:db8::1"}, want: "10.0.0.1"},
		{name: "the one given", given: "10.9.0.1", own: []string{"10.0.0.1"}, want: "10.9.0.1"},
		{name: "two", own: []string{"10.0.0.1", "10.1.0.1"}, fails: "10.0.0.1, 10.1.0.1"},
		{name: "none", own: []string{"127.0.0.1", "169.254.1.1"}, fails: "no address"},
		{name: "a name", given: "host", fails: "no IP address"},
		{name: "every address", given: "0.0.0.0", fails: "no IP address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := chooseAddress(tt.given, tt.own)
			if got != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("a=b")
	f.Add("=")
	f.Fuzz(func(t *testing.T, word string) {
		labels, err := parseLabels([]string{word})
		if err == nil && len(labels) != 1 {
			t.Errorf("%q gives %v", word, labels)
		}
	})
}
