package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// service returns the record of a shop with parts p0, p1 ...
func service(id uint32, generation uint64, parts int) *record.Service {
	s := &record.Service{ID: id, Generation: generation, Spec: spec.Service{Name: "shop"}}
	for i := range parts {
		s.Spec.Parts = append(s.Spec.Parts, spec.Part{Name: fmt.Sprintf("p%d", i), Exec: &spec.Exec{Command: []string{"/bin/true"}}})
	}
	s.Spec = s.Spec.Normalize()
	return s
}

func TestJournalIsReadBackAsItWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if _, _, err := Read(dir); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_000_000, 0).UTC()
	st := supervise.State{Memory: supervise.Memory{
		Run: *service(1, 3, 3), Parts: []supervise.PartState{supervise.Up, supervise.Dirty, supervise.Down}, Epoch: 5, Guard: 7, Placed: 10,
		Phase: fact.Starting, Since: at, FailedUntil: at.Add(time.Minute), Took: 3 * time.Second,
		Failures: []fact.Failure{{At: at, Part: "p0", Why: "exit status 1"}},
	}}
	j := New(dir, "shop")
	if err := j.Write("cell", st); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(j.path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v (%v): it can hold passwords of programs", info.Mode(), err)
	}
	entries, broken, err := Read(dir)
	if err != nil || len(broken) != 0 {
		t.Fatal(broken, err)
	}
	want := map[instance.Name]Entry{"shop": {Cell: "cell", Memory: st.Memory}}
	if diff := cmp.Diff(want, entries, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	restored := supervise.Restore(entries["shop"].Memory)
	if diff := cmp.Diff([]supervise.PartState{supervise.Unknown, supervise.Unknown, supervise.Down}, restored.Parts); diff != "" {
		t.Errorf("parts to be probed (-want +got):\n%s", diff)
	}

	// What needs no memory leaves no file.
	if err := j.Write("cell", supervise.State{Memory: supervise.Memory{Run: st.Run, Parts: []supervise.PartState{supervise.Down}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(j.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestJournalEntriesThatAreRefused(t *testing.T) {
	good, err := json.Marshal(Entry{Cell: "cell", Memory: supervise.Memory{Run: *service(1, 1, 1), Parts: []supervise.PartState{supervise.Up}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(good, "shop"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		data []byte
	}{
		{"an empty file", nil},
		{"half a file", good[:len(good)/2]},
		{"another service", bytes.Replace(good, []byte(`"shop"`), []byte(`"till"`), 1)},
		{"a state nobody knows", bytes.Replace(good, []byte(`["up"]`), []byte(`["odd"]`), 1)},
		{"more states than parts", bytes.Replace(good, []byte(`["up"]`), []byte(`["up","up"]`), 1)},
		{"a part whose name leads out of its folder", bytes.Replace(good, []byte(`"p0"`), []byte(`"../p"`), 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parse(tt.data, "shop"); !errors.Is(err, ErrEntry) {
				t.Errorf("got %v, want ErrEntry", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	good, err := json.Marshal(Entry{Cell: "cell", Memory: supervise.Memory{Run: *service(1, 1, 2), Parts: []supervise.PartState{supervise.Up, supervise.Down}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parse(data, "shop")
		if err != nil {
			return
		}
		// Whatever is accepted can be acted on.
		st := supervise.Restore(e.Memory)
		in := supervise.Input{Now: time.Unix(1_000_000, 0), Boot: time.Hour, Hold: supervise.Hold{Known: true}, Wish: supervise.Wish{Gone: true}}
		for range 50 {
			var d supervise.Decision
			st, d = supervise.Step(st, in)
			in.Boot += time.Minute
			in.Now = in.Now.Add(time.Minute)
			in.Done = nil
			if d.Op.Kind == supervise.Probe || d.Op.Kind == supervise.Stop {
				in.Done = &supervise.Result{}
			}
			if d.Op.Kind == supervise.Start {
				t.Fatalf("started without a lease: %s", data)
			}
		}
	})
}
