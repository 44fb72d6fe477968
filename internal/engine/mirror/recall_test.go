package mirror

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func recall(t *testing.T, content string) (cell.Records, bool, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "last-known.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &Mirror{Clock: clock.System{}}
	err := m.Recall(path, "a")
	r, stale := m.Records()
	return r, stale, err
}

func TestWhatWasKeptIsShownUntilTheStoreAnswers(t *testing.T) {
	got, stale, err := recall(t, `{"cell":{"name":"main","id":"1"},"wish":{"drain":true},"nodes":{"a":{"name":"a","slot":3}},
		"services":{"shop":{"spec":{"name":"shop","parts":[{"name":"exec","exec":{"command":["/bin/true"]}}]},"id":4,"generation":2}},
		"placements":{"shop":{"generation":2,"order":["a"],"revision":7}}}`)
	if err != nil || !stale {
		t.Fatalf("stale %v, %v", stale, err)
	}
	want := cell.Records{
		Cell:   record.Cell{Name: "main", ID: "1"},
		Nodes:  map[spec.NodeName]record.Node{"a": {Name: "a", Slot: 3}},
		Wishes: map[spec.NodeName]record.NodeWish{"a": {Drain: true}},
		Services: map[spec.ServiceName]record.Service{"shop": {
			Spec: spec.Service{Name: "shop", Parts: []spec.Part{{Name: "exec", Exec: &spec.Exec{Command: []string{"/bin/true"}}}}}.Normalize(),
			ID:   4, Generation: 2,
		}},
		Placements: map[spec.ServiceName]record.Placement{"shop": {Generation: 2, Order: []spec.NodeName{"a"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatCannotBeUsedIsNotShown(t *testing.T) {
	for name, content := range map[string]string{
		"it is cut off":          `{"cell":{"name":"main"`,
		"a service that is null": `{"cell":{"name":"main"},"services":{"shop":null}}`,
		"a service of two names": `{"cell":{"name":"main"},"services":{"shop":{"spec":{"name":"web"}}}}`,
	} {
		got, _, err := recall(t, content)
		if !errors.Is(err, ErrUnreadable) || got.Cell.Name != "" {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
	m := &Mirror{Clock: clock.System{}}
	if err := m.Recall(filepath.Join(t.TempDir(), "none"), "a"); err != nil {
		t.Errorf("no file: %v", err)
	}
}
