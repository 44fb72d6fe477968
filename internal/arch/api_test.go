package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a program that was written against an older API relies on cannot go
// unnoticed: the rules of buf.yaml and the kept image together must catch it.
func TestABrokenAPIIsCaught(t *testing.T) {
	const proto = "api/keelson/v1/cell.proto"
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	buf := filepath.Join(root, "bin/tools/buf")
	if _, err := os.Stat(buf); err != nil {
		if buf, err = exec.LookPath("buf"); err != nil {
			t.Skip("there is no buf here: `make proto-check` builds it")
		}
	}
	text, err := os.ReadFile(filepath.Join(root, proto))
	if err != nil {
		t.Fatal(err)
	}
	methods := regexp.MustCompile(`(?m)^  rpc .*\n`)
	fields := regexp.MustCompile(`(?m)^(  (?:[a-zA-Z0-9_.<>, ]+) [a-z0-9_]+ = )([0-9]+);`)
	last := func(re *regexp.Regexp) []int {
		all := re.FindAllStringSubmatchIndex(string(text), -1)
		return all[len(all)-1]
	}
	rpc, field := last(methods), last(fields)
	for _, c := range []struct {
		name, text, want string
	}{
		{"today's API breaks nothing", string(text), ""},
		{"a method is gone", string(text[:rpc[0]]) + string(text[rpc[1]:]), "Previously present RPC"},
		{"the newest field has another number", string(text[:field[4]]) + "999" + string(text[field[5]:]), "Previously present field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"buf.yaml", "api/released.binpb"} {
				content, err := os.ReadFile(filepath.Join(root, name))
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, name), content)
			}
			write(t, filepath.Join(dir, proto), []byte(c.text))
			cmd := exec.CommandContext(t.Context(), buf, "breaking", "--against", "api/released.binpb")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if (err != nil) != (c.want != "") || !strings.Contains(string(out), c.want) {
				t.Errorf("buf breaking: %v, %q; want %q in it", err, out, c.want)
			}
		})
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
