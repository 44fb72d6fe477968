// Package storetest is the suite that every implementation of [store.Store]
// must pass: what the contract says, asked of the outside only.
//
// Its main rule is that a test of the suite may rely on nothing but the
// contract, so that it runs on any implementation. It refuses to look inside.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/store"
)

// patience bounds every wait of the suite. Only a broken store reaches it.
const patience = 30 * time.Second

// errStop ends a watch from inside.
var errStop = errors.New("stop the watch")

// Subject is an implementation under test.
type Subject struct {
	// Open returns an empty store that is used by one test alone. Tests run side
	// by side.
	Open func(t *testing.T) store.Store
	// Compact makes s forget all changes up to revision.
	Compact func(t *testing.T, s store.Store, revision int64)
}

// Run runs the suite.
func Run(t *testing.T, subject Subject) {
	tests := []struct {
		name string
		run  func(t *testing.T, s store.Store)
	}{
		{"a missing key is no error", missing},
		{"a put can be read back with its revision", readBack},
		{"a list is sorted and holds its prefix only", list},
		{"a guard decides over all ops", guards},
		{"a guard of revision 0 wants the key to be missing", guardMissing},
		{"a transaction has one revision", oneRevision},
		{"a transaction without ops tells whether its guards hold", guardsOnly},
		{"deleting a missing key is no error", deleteMissing},
		{"a transaction that writes a key twice is refused", keyTwice},
		{"too many ops are refused", tooManyOps},
		{"a value at the limit is kept and one over it is refused", tooLarge},
		{"a value is the store's own copy", ownCopy},
		{"concurrent counters lose no step", counters},
		{"an ended context ends a call", endedContext},
		{"a watch tells each change once and in order", watchOrder},
		{"a watch goes back to the revision asked for", watchFrom},
		{"a watch from 0 tells only what comes", watchFromNow},
		{"a watch tells deletions", watchDeletion},
		{"a watch sees its prefix only", watchPrefix},
		{"a watch gets a transaction in one batch", watchBatch},
		{"a watch ends with its context", watchContext},
		{"a watch ends with the error of its function", watchError},
		{"a closed session takes its keys along", sessionClose},
		{"an abandoned session runs out and takes its keys along", sessionExpiry},
		{"a renewed session stays", sessionStays},
		{"an op of an ended session is refused", sessionEnded},
		{"a key put again without the session outlives it", sessionLeft},
	}
	t.Run("side by side", func(t *testing.T) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(t, subject.Open(t))
			})
		}
	})
	// Compacting takes the past from every prefix of a store: it comes when the
	// others, which watch from their own past, have ended.
	t.Run("a watch from a compacted revision says so", func(t *testing.T) {
		compacted(t, subject.Open(t), subject.Compact)
	})
}

// bounded returns the test's context with the suite's patience.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// write carries out ops without guards and returns the revision.
func write(t *testing.T, s store.Store, ops ...store.Op) int64 {
	t.Helper()
	done, revision, err := s.Txn(bounded(t), nil, ops)
	if err != nil || !done {
		t.Fatalf("Txn(%v) = %v, %v", ops, done, err)
	}
	return revision
}

func put(key, value string) store.Op { return store.Op{Key: key, Value: []byte(value)} }

func del(key string) store.Op { return store.Op{Key: key, Delete: true} }

// entry is an [store.Entry] that can be compared and printed.
type entry struct {
	Key, Value string
	Revision   int64
}

func plain(entries []store.Entry) []entry {
	var out []entry
	for _, e := range entries {
		out = append(out, entry{e.Key, string(e.Value), e.Revision})
	}
	return out
}

func wantList(t *testing.T, s store.Store, prefix string, want ...entry) {
	t.Helper()
	got, _, err := s.List(bounded(t), prefix)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, plain(got)); diff != "" {
		t.Errorf("List(%q) (-want +got):\n%s", prefix, diff)
	}
}

func missing(t *testing.T, s store.Store) {
	e, found, err := s.Get(bounded(t), "nothing")
	if err != nil || found {
		t.Errorf("Get = %v, %v, %v; want not found", e, found, err)
	}
	wantList(t, s, "")
}

func readBack(t *testing.T, s store.Store) {
	first := write(t, s, put("a", "1"))
	second := write(t, s, put("a", "2"), put("empty", ""))
	if second <= first {
		t.Errorf("revisions %d, %d do not grow", first, second)
	}
	e, found, err := s.Get(bounded(t), "a")
	if err != nil || !found {
		t.Fatalf("Get = %v, %v", found, err)
	}
	if diff := cmp.Diff([]entry{{"a", "2", second}}, plain([]store.Entry{e})); diff != "" {
		t.Error(diff)
	}
	if e, found, err = s.Get(bounded(t), "empty"); err != nil || !found || len(e.Value) != 0 {
		t.Errorf("Get(empty) = %v, %v, %v; want an empty value", e, found, err)
	}
}

func list(t *testing.T, s store.Store) {
	last := write(t, s, put("b/2", "x"), put("a/1", "x"), put("b/10", "x"), put("b", "x"), put("c", "x"))
	wantList(t, s, "b/", entry{"b/10", "x", last}, entry{"b/2", "x", last})
	wantList(t, s, "b", entry{"b", "x", last}, entry{"b/10", "x", last}, entry{"b/2", "x", last})
	wantList(t, s, "d")
	_, revision, err := s.List(bounded(t), "d")
	if err != nil || revision < last {
		t.Errorf("List's revision = %d, %v; want at least %d", revision, err, last)
	}
}

func guards(t *testing.T, s store.Store) {
	first := write(t, s, put("a", "1"), put("b", "1"))
	done, revision, err := s.Txn(bounded(t),
		[]store.Guard{{Key: "a", Revision: first}, {Key: "b", Revision: first + 1000}},
		[]store.Op{put("a", "2"), del("b"), put("c", "1")})
	if err != nil || done || revision < first {
		t.Fatalf("Txn with a wrong guard = %v, %d, %v", done, revision, err)
	}
	wantList(t, s, "", entry{"a", "1", first}, entry{"b", "1", first})

	done, second, err := s.Txn(bounded(t),
		[]store.Guard{{Key: "a", Revision: first}, {Key: "b", Revision: first}},
		[]store.Op{put("a", "2"), del("b"), put("c", "1")})
	if err != nil || !done {
		t.Fatalf("Txn with right guards = %v, %v", done, err)
	}
	wantList(t, s, "", entry{"a", "2", second}, entry{"c", "1", second})
}

func guardMissing(t *testing.T, s store.Store) {
	create := func() bool {
		done, _, err := s.Txn(bounded(t), []store.Guard{{Key: "a"}}, []store.Op{put("a", "1")})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if !create() {
		t.Error("the first create was refused")
	}
	if create() {
		t.Error("the second create was not refused")
	}
	write(t, s, del("a"))
	if !create() {
		t.Error("the create after the deletion was refused")
	}
}

func oneRevision(t *testing.T, s store.Store) {
	revision := write(t, s, put("a", "1"), put("b", "2"), put("c", "3"))
	wantList(t, s, "", entry{"a", "1", revision}, entry{"b", "2", revision}, entry{"c", "3", revision})
}

func guardsOnly(t *testing.T, s store.Store) {
	revision := write(t, s, put("a", "1"))
	for guard, want := range map[int64]bool{revision: true, revision + 1: false, 0: false} {
		done, _, err := s.Txn(bounded(t), []store.Guard{{Key: "a", Revision: guard}}, nil)
		if err != nil || done != want {
			t.Errorf("Txn with guard %d = %v, %v; want %v", guard, done, err, want)
		}
	}
}

func deleteMissing(t *testing.T, s store.Store) {
	write(t, s, del("nothing"))
	wantList(t, s, "")
}

func keyTwice(t *testing.T, s store.Store) {
	done, _, err := s.Txn(bounded(t), nil, []store.Op{put("a", "1"), put("a", "2")})
	if err == nil || done {
		t.Errorf("Txn = %v, %v; want an error", done, err)
	}
	done, _, err = s.Txn(bounded(t), nil, []store.Op{put("", "1")})
	if err == nil || done {
		t.Errorf("Txn of an empty key = %v, %v; want an error", done, err)
	}
	wantList(t, s, "")
}

func tooManyOps(t *testing.T, s store.Store) {
	var ops []store.Op
	for i := range store.MaxOps {
		ops = append(ops, put(fmt.Sprintf("k/%03d", i), "x"))
	}
	_, _, err := s.Txn(bounded(t), []store.Guard{{Key: "g"}}, ops)
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("%d guards and ops: %v, want ErrTooLarge", len(ops)+1, err)
	}
	wantList(t, s, "")
	write(t, s, ops...)
	got, _, err := s.List(bounded(t), "k/")
	if err != nil || len(got) != store.MaxOps {
		t.Errorf("%d entries, %v; want %d", len(got), err, store.MaxOps)
	}
}

func tooLarge(t *testing.T, s store.Store) {
	_, _, err := s.Txn(bounded(t), nil, []store.Op{{Key: "a", Value: make([]byte, store.MaxValue+1)}})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a value over the limit: %v, want ErrTooLarge", err)
	}
	half := make([]byte, store.MaxValue/2+1)
	_, _, err = s.Txn(bounded(t), nil, []store.Op{{Key: "a", Value: half}, {Key: "b", Value: half}})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a transaction over the limit: %v, want ErrTooLarge", err)
	}
	wantList(t, s, "")

	big := bytes.Repeat([]byte{'x'}, store.MaxValue)
	write(t, s, store.Op{Key: "a", Value: big})
	e, _, err := s.Get(bounded(t), "a")
	if err != nil || !bytes.Equal(e.Value, big) {
		t.Errorf("a value at the limit came back with %d bytes, %v", len(e.Value), err)
	}
}

func ownCopy(t *testing.T, s store.Store) {
	value := []byte("1")
	revision := write(t, s, store.Op{Key: "a", Value: value})
	value[0] = '2'
	e, _, err := s.Get(bounded(t), "a")
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Value) > 0 {
		e.Value[0] = '3'
	}
	wantList(t, s, "", entry{"a", "1", revision})
}

func counters(t *testing.T, s store.Store) {
	const writers, steps = 4, 10
	failed := make(chan error, writers)
	ctx := bounded(t)
	for range writers {
		go func() {
			for range steps {
				if err := increment(ctx, s); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	e, _, err := s.Get(ctx, "counter")
	if want := fmt.Sprint(writers * steps); err != nil || string(e.Value) != want {
		t.Errorf("counter = %s, %v; want %s", e.Value, err, want)
	}
}

func increment(ctx context.Context, s store.Store) error {
	for {
		e, _, err := s.Get(ctx, "counter")
		if err != nil {
			return err
		}
		count := 0
		if len(e.Value) > 0 {
			if _, err := fmt.Sscan(string(e.Value), &count); err != nil {
				return err
			}
		}
		done, _, err := s.Txn(ctx, []store.Guard{{Key: "counter", Revision: e.Revision}},
			[]store.Op{put("counter", fmt.Sprint(count+1))})
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

func endedContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, getErr := s.Get(ctx, "a")
	_, _, listErr := s.List(ctx, "")
	done, _, txnErr := s.Txn(ctx, nil, []store.Op{put("a", "1")})
	_, sessionErr := s.Session(ctx, time.Second)
	for call, err := range map[string]error{"Get": getErr, "List": listErr, "Txn": txnErr, "Session": sessionErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v, want context.Canceled", call, err)
		}
	}
	if done {
		t.Error("a transaction with an ended context was carried out")
	}
	wantList(t, s, "")
}
