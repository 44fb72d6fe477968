package crm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/cib"
)

type expected struct {
	Before map[string][]Seat `json:"before"`
	After  map[string][]Seat `json:"after"`
}

func corpus(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("KEELSON_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "corpus")
	}
	files, err := filepath.Glob(filepath.Join(dir, "pacemaker", "cases", "*.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("there is no corpus in %s: set KEELSON_CORPUS to the folder that has pacemaker/cases", dir)
	}
	return files
}

func simulateFile(t *testing.T, path string) (Outcome, expected) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root, err := cib.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(strings.TrimSuffix(path, ".xml") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var want expected
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	return Simulate(root, time.Unix(1_700_000_000, 0).UTC()), want
}

func occupied(m map[string][]Seat) map[string][]Seat {
	out := map[string][]Seat{}
	for k, v := range m {
		if len(v) > 0 {
			out[k] = v
		}
	}
	return out
}

func TestCorpus(t *testing.T) {
	before, after, total := 0, 0, 0
	for _, path := range corpus(t) {
		total++
		got, want := simulateFile(t, path)
		name := strings.TrimSuffix(filepath.Base(path), ".xml")
		b := cmp.Diff(occupied(want.Before), occupied(got.Before))
		a := cmp.Diff(occupied(want.After), occupied(got.After))
		if b == "" {
			before++
		} else {
			t.Logf("BEFORE %s %s", name, b)
		}
		if a == "" {
			after++
		} else if b == "" {
			t.Logf("AFTER %s %s", name, a)
		} else {
			t.Logf("BOTH %s", name)
		}
	}
	t.Logf("before %d after %d of %d", before, after, total)
}
