package journal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/test/bench/journal"
)

func TestARunGoesOnWhereItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "measured.jsonl")
	j := open(t, path)
	good := journal.Entry{Trial: &journal.Trial{Contestant: "a", Fault: "kill", Round: 1, OutageMS: 12.5}}
	bad := journal.Entry{Trial: &journal.Trial{Contestant: "a", Fault: "kill", Round: 2, Error: "it did not start"}}
	calm := journal.Entry{Steady: &journal.Steady{Contestant: "a", Condition: "loss10"}}
	large := journal.Entry{Scale: &journal.Scale{Nodes: 32}}
	all := []journal.Entry{{Setup: &journal.Setup{Cores: 2}}, good, bad, calm, large}
	for _, e := range all {
		if err := j.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, path)
	if diff := cmp.Diff(all, again.Entries()); diff != "" {
		t.Errorf("what is read differs (-written +read):\n%s", diff)
	}
	for key, want := range map[string]bool{
		journal.TrialKey("a", "kill", 1): true, journal.TrialKey("a", "kill", 2): false, journal.TrialKey("a", "kill", 3): false,
		journal.SteadyKey("a", "loss10"): true, journal.SteadyKey("a", "loss20"): false,
		journal.ScaleKey(32): true, journal.ScaleKey(3): false,
	} {
		if got := again.Done(key); got != want {
			t.Errorf("%s is done: %t", key, got)
		}
	}
}

func TestALineThatWasCutOffIsTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "measured.jsonl")
	write(t, path, `{"scale":{"nodes":3}}`+"\n"+`{"scale":{"no`)
	j := open(t, path)
	if err := j.Add(journal.Entry{Scale: &journal.Scale{Nodes: 8}}); err != nil {
		t.Fatal(err)
	}
	j = open(t, path)
	if len(j.Entries()) != 2 || !j.Done(journal.ScaleKey(3)) || !j.Done(journal.ScaleKey(8)) {
		t.Errorf("%+v", j.Entries())
	}
}

func TestALineInTheMiddleThatIsBrokenIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "measured.jsonl")
	write(t, path, `{"scale":{"nodes":3}}`+"\nrubbish\n"+`{"scale":{"nodes":8}}`+"\n")
	if _, err := journal.Open(path); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v", err)
	}
}

func open(t *testing.T, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
