package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/keelson/keelson/internal/engine/agent/lastknown"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"golang.org/x/sys/unix"
)

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
	k := &lastknown.Keeper{Path: path, Clock: bubble{}, Log: discard()}
	if err := k.Save(v.clone()); err != nil {
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
			v.Order(name, 0)
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
		if r, _ := w.report(); len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], "The journal of service shop cannot be written: ") {
			t.Errorf("warnings %q, want one about the journal", r.Warnings)
		}
	})
}

func TestLastKnownStateThatCannotBeSavedIsAWarningUntilItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		path := filepath.Join(w.dir, "lastknown.json")
		// A folder where the file should be: even root cannot write it.
		if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "in-the-way"), 0o700)); err != nil {
			t.Fatal(err)
		}
		w.put(record.KeyCellWish, record.CellWish{Maintenance: true})
		w.pass(2 * time.Second)
		if r, _ := w.report(); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "is not saved") {
			t.Errorf("warnings %q, want one about the last known state", r.Warnings)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		w.pass(lastknown.RetryEvery + 3*time.Second)
		if r, _ := w.report(); len(r.Warnings) != 0 {
			t.Errorf("it was saved again, and there are warnings %q", r.Warnings)
		}
	})
}

func TestAFullRunFolderIsToldInWords(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "/run/keelson/journal/.writing-shop.json-1", Err: unix.ENOSPC}
	got := unwritten("shop", "/run/keelson/journal", fmt.Errorf("journal: write: %w", full))
	if want := "The journal of service shop cannot be written: the disk under /run/keelson/journal is full, make room. " +
		"It goes on; an agent that starts now finds what runs by looking."; got != want {
		t.Errorf("it says %q", got)
	}
}
