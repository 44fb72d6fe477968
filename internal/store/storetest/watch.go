package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/store"
)

// change is an event that can be compared and printed.
type change struct {
	Key, Value string
	Revision   int64
	Deleted    bool
}

func changes(events []store.Event) []change {
	var out []change
	for _, e := range events {
		out = append(out, change{e.Key, string(e.Value), e.Revision, e.Deleted})
	}
	return out
}

// collect watches prefix from revision from until n changes have come.
func collect(t *testing.T, s store.Store, prefix string, from int64, n int) []change {
	t.Helper()
	var got []change
	err := s.Watch(bounded(t), prefix, from, func(events []store.Event) error {
		got = append(got, changes(events)...)
		if len(got) >= n {
			return errStop
		}
		return nil
	})
	if !errors.Is(err, errStop) {
		t.Fatalf("Watch ended after %d of %d changes: %v", len(got), n, err)
	}
	return got
}

func watchOrder(t *testing.T, s store.Store) {
	const n = 60
	start := write(t, s, put("k/start", "x"))
	written := make(chan []change, 1)
	go func() {
		var all []change
		for i := range n {
			key, value := fmt.Sprintf("k/%d", i%5), fmt.Sprint(i)
			_, revision, err := s.Txn(t.Context(), nil, []store.Op{put(key, value)})
			if err != nil {
				break
			}
			all = append(all, change{Key: key, Value: value, Revision: revision})
		}
		written <- all
	}()
	got := collect(t, s, "k/", start+1, n)
	if diff := cmp.Diff(<-written, got); diff != "" {
		t.Errorf("watched changes (-written +got):\n%s", diff)
	}
}

func watchFrom(t *testing.T, s store.Store) {
	write(t, s, put("k/a", "1"))
	second := write(t, s, put("k/a", "2"))
	third := write(t, s, put("k/b", "1"))
	want := []change{{"k/a", "2", second, false}, {"k/b", "1", third, false}}
	if diff := cmp.Diff(want, collect(t, s, "k/", second, 2)); diff != "" {
		t.Errorf("watch from %d (-want +got):\n%s", second, diff)
	}
	if diff := cmp.Diff(want[1:], collect(t, s, "k/", second+1, 1)); diff != "" {
		t.Errorf("watch from %d (-want +got):\n%s", second+1, diff)
	}
}

func watchFromNow(t *testing.T, s store.Store) {
	old := write(t, s, put("k/a", "old"))
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	got := make(chan change, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(ctx, "k/", 0, func(events []store.Event) error {
			for _, c := range changes(events) {
				select {
				case got <- c:
				case <-ctx.Done(): // more was written meanwhile than anybody reads
					return ctx.Err()
				}
			}
			return nil
		})
	}()
	// When the watch has begun cannot be seen from here: write until it tells.
	for i := 0; ; i++ {
		write(t, s, put("k/a", fmt.Sprint(i)))
		select {
		case first := <-got:
			if first.Revision <= old {
				t.Errorf("the watch told of revision %d, which was before it", first.Revision)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Watch = %v, want context.Canceled", err)
			}
			return
		case err := <-ended:
			t.Fatal(err)
		default:
		}
	}
}

func watchDeletion(t *testing.T, s store.Store) {
	start := write(t, s, put("k/a", "1"))
	write(t, s, del("k/missing"))
	gone := write(t, s, del("k/a"))
	back := write(t, s, put("k/a", "2"))
	want := []change{{"k/a", "1", start, false}, {"k/a", "", gone, true}, {"k/a", "2", back, false}}
	if diff := cmp.Diff(want, collect(t, s, "k/", start, 3)); diff != "" {
		t.Errorf("watched changes (-want +got):\n%s", diff)
	}
}

func watchPrefix(t *testing.T, s store.Store) {
	start := write(t, s, put("k/a", "1"), put("j/a", "1"), put("ka", "1"))
	write(t, s, put("l/a", "1"))
	last := write(t, s, put("k/b", "1"))
	want := []change{{"k/a", "1", start, false}, {"k/b", "1", last, false}}
	if diff := cmp.Diff(want, collect(t, s, "k/", start, 2)); diff != "" {
		t.Errorf("watched changes (-want +got):\n%s", diff)
	}
}

func watchBatch(t *testing.T, s store.Store) {
	start := write(t, s, put("k/start", "1"))
	const n = store.MaxOps
	var ops []store.Op
	for i := range n {
		ops = append(ops, put(fmt.Sprintf("k/%03d", i), "x"))
	}
	revision := write(t, s, ops...)
	err := s.Watch(bounded(t), "k/", start+1, func(events []store.Event) error {
		if len(events) != n || events[0].Revision != revision || events[n-1].Revision != revision {
			t.Errorf("a batch of %d events, want the %d of one transaction", len(events), n)
		}
		return errStop
	})
	if !errors.Is(err, errStop) {
		t.Error(err)
	}
}

func watchContext(t *testing.T, s store.Store) {
	start := write(t, s, put("k/a", "1"))
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	err := s.Watch(ctx, "k/", start, func([]store.Event) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v, want context.Canceled", err)
	}
}

func watchError(t *testing.T, s store.Store) {
	start := write(t, s, put("k/a", "1"))
	write(t, s, put("k/a", "2"))
	calls := 0
	err := s.Watch(bounded(t), "k/", start, func([]store.Event) error {
		calls++
		return errStop
	})
	if !errors.Is(err, errStop) || calls != 1 {
		t.Errorf("Watch = %v after %d calls, want errStop after 1", err, calls)
	}
}

func compacted(t *testing.T, s store.Store, compact func(*testing.T, store.Store, int64)) {
	first := write(t, s, put("k/a", "1"))
	write(t, s, put("k/a", "2"))
	last := write(t, s, put("k/a", "3"))
	compact(t, s, last)
	err := s.Watch(bounded(t), "k/", first, func([]store.Event) error { return errStop })
	if !errors.Is(err, store.ErrCompacted) {
		t.Errorf("Watch = %v, want ErrCompacted", err)
	}
	wantList(t, s, "k/", entry{"k/a", "3", last})
	next := write(t, s, put("k/a", "4"))
	if diff := cmp.Diff([]change{{"k/a", "4", next, false}}, collect(t, s, "k/", last+1, 1)); diff != "" {
		t.Error(diff)
	}
}
