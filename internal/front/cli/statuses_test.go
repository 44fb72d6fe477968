package cli

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/base/clock"
)

// run runs one command of a program without a cell.
func run(t *testing.T, args ...string) (status int, errors string) {
	t.Helper()
	var stderr strings.Builder
	status = Execute(t.Context(), Environment{
		Args: args, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &stderr, Clock: clock.System{},
		Getenv: func(string) string { return "" },
	})
	return status, stderr.String()
}

// leaves are the commands of such a program that do something.
func leaves(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	s := &shell{env: Environment{Getenv: func(string) string { return "" }, Clock: clock.System{}}}
	walk(s.root(), func(c *cobra.Command) {
		if !c.HasSubCommands() && c.Name() != "help" {
			all = append(all, c)
		}
	})
	return all
}

func TestWithoutACellEveryCommandThatNeedsOneEndsWith3(t *testing.T) {
	file := filepath.Join("testdata", "shop.yaml")
	alone := map[string]bool{"schema": true, "version": true, "completion": true}
	needs := map[string]string{
		"apply": "-f " + file, "plan": "-f " + file, "describe": "shop", "get": "services", "move": "shop b", "drain": "b --yes", "undrain": "b",
		"delete": "shop --yes", "logs": "shop", "maintenance on": "b", "maintenance off": "b", "node remove": "b --yes", "clear": "shop",
		"trust": "b", "why": "shop", "replay": "3f2a91c0",
	}
	for _, c := range leaves(t) {
		path := strings.TrimPrefix(c.CommandPath(), "keelson ")
		if alone[path] {
			continue
		}
		args := strings.Fields(path + " " + needs[path] + " --socket /nowhere/api.sock")
		if status, said := run(t, args...); status != exitUnreachable || !strings.Contains(said, "hint: ") {
			t.Errorf("%v ends with %d: %s", args, status, said)
		}
	}
}

func TestEveryCommandThatIsNotUnderstoodEndsWith2(t *testing.T) {
	for _, c := range leaves(t) {
		args := append(strings.Fields(strings.TrimPrefix(c.CommandPath(), "keelson ")), "--no-such-flag")
		if status, said := run(t, args...); status != exitUsage || !strings.Contains(said, "has no flag --no-such-flag") || !strings.Contains(said, "hint: ") {
			t.Errorf("%v ends with %d: %s", args, status, said)
		}
	}
}
