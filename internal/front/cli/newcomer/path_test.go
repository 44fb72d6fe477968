package newcomer

import (
	"path/filepath"
	"testing"
)

func TestAPathIsAbsoluteFromWhereItWasGiven(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	for given, want := range map[string]string{
		"":                 "",
		"node":             filepath.Join(here, "node"),
		"./a/../b/":        filepath.Join(here, "b"),
		"/var/lib/keelson": "/var/lib/keelson",
	} {
		p := Path("/usual")
		if err := p.Set(given); err != nil || p.String() != want {
			t.Errorf("%q becomes %q (%v), want %q", given, p, err, want)
		}
	}
}
