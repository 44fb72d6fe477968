package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestJournalIsReadBackAsItWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if _, _, err := readJournal(dir); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_000_000, 0).UTC()
	st := supervise.State{Memory: supervise.Memory{
		Run: *service(1, 3, 3), Parts: []supervise.PartState{supervise.Up, supervise.Dirty, supervise.Down}, Epoch: 5, Guard: 7, Placed: 10,
		Phase: fact.Starting, Since: at, FailedUntil: at.Add(time.Minute), Took: 3 * time.Second,
		Failures: []fact.Failure{{At: at, Part: "p0", Why: "exit status 1"}},
	}}
	j := newJournal(dir, "shop")
	if err := j.write("cell", st); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(j.path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v (%v): it can hold passwords of programs", info.Mode(), err)
	}
	entries, broken, err := readJournal(dir)
	if err != nil || len(broken) != 0 {
		t.Fatal(broken, err)
	}
	want := map[instance.Name]entry{"shop": {Cell: "cell", Memory: st.Memory}}
	if diff := cmp.Diff(want, entries, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	restored := supervise.Restore(entries["shop"].Memory)
	if diff := cmp.Diff([]supervise.PartState{supervise.Unknown, supervise.Unknown, supervise.Down}, restored.Parts); diff != "" {
		t.Errorf("parts to be probed (-want +got):\n%s", diff)
	}

	// What needs no memory leaves no file.
	if err := j.write("cell", supervise.State{Memory: supervise.Memory{Run: st.Run, Parts: []supervise.PartState{supervise.Down}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(j.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestJournalEntriesThatAreRefused(t *testing.T) {
	good, err := json.Marshal(entry{Cell: "cell", Memory: supervise.Memory{Run: *service(1, 1, 1), Parts: []supervise.PartState{supervise.Up}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseEntry(good, "shop"); err != nil {
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
			if _, err := parseEntry(tt.data, "shop"); !errors.Is(err, errEntry) {
				t.Errorf("got %v, want errEntry", err)
			}
		})
	}
}

func FuzzParseEntry(f *testing.F) {
	good, err := json.Marshal(entry{Cell: "cell", Memory: supervise.Memory{Run: *service(1, 1, 2), Parts: []supervise.PartState{supervise.Up, supervise.Down}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseEntry(data, "shop")
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

func TestLastKnownStateIsReadBackWithoutSecretsOfTheCA(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lastknown.json")
	v := newView("a")
	for _, c := range []change{
		news(t, record.KeyCell, record.KeyCell, record.Cell{Name: "cell", ID: "id1", CAKey: []byte("secret")}),
		news(t, record.KeyServices, record.KeyServices+"shop", *service(1, 2, 2)),
		news(t, record.KeyPlacements, record.KeyPlacements+"shop", record.Placement{Service: "shop", Order: []spec.NodeName{"a"}}),
	} {
		if errs := v.apply(c); len(errs) != 0 {
			t.Fatal(errs)
		}
	}
	s := &saver{options: &Options{LastKnown: path, Clock: bubble{}, Log: discard()}}
	if err := s.save(v.clone()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || bytes.Contains(data, []byte("c2VjcmV0")) {
		t.Fatalf("the CA's key is in the file (%v)", err)
	}
	got, err := readLastKnown(path, "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, got, cmp.AllowUnexported(view{}), cmpopts.IgnoreFields(view{}, "listed", "unreadable", "others"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParseLastKnown(f *testing.F) {
	f.Add([]byte(`{"services":{"shop":{"spec":{"name":"shop"}}},"nodes":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseLastKnown(data, "a")
		if err != nil {
			return
		}
		for name := range v.Services {
			v.wish(instance.Name(name), 1)
			v.Order(name)
		}
		v.clone()
		plan{view: v}.duty()
		v.apply(change{topic: record.KeyServices, whole: true})
		if len(v.Services) != 0 {
			t.Fatalf("%d services are left after an empty list", len(v.Services))
		}
	})
}

func TestUnreadableLastKnownStateIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := os.WriteFile(filepath.Join(w.dir, "lastknown.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.up()
		w.pass(time.Second)
		r, _ := w.report()
		if len(r.Warnings) != 1 {
			t.Errorf("warnings %q, want one", r.Warnings)
		}
	})
}

func TestJournalThatCannotBeWrittenIsToldAndStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		// A folder where the file should be: even root cannot write it.
		path := filepath.Join(w.dir, "journal", "shop.json")
		if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "in-the-way"), 0o700)); err != nil {
			t.Fatal(err)
		}
		w.parts.kill("shop/web")
		w.want("shop/web dies", "kill shop/web", "start shop/web epoch 5")
		w.pass(time.Second)
		if r, _ := w.report(); len(r.Warnings) != 1 {
			t.Errorf("warnings %q, want one about the journal", r.Warnings)
		}
	})
}
