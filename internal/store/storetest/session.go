package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/store"
)

// short is the shortest session there is.
const short = time.Second

func openSession(ctx context.Context, t *testing.T, s store.Store) store.Session {
	t.Helper()
	session, err := s.Session(ctx, short)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func wantEnded(t *testing.T, session store.Session) {
	t.Helper()
	select {
	case <-session.Done():
	case <-bounded(t).Done():
		t.Error("the session does not say that it ended")
	}
}

func sessionClose(t *testing.T, s store.Store) {
	session := openSession(t.Context(), t, s)
	start := write(t, s, store.Op{Key: "k/a", Value: []byte("1"), Session: session}, put("k/b", "1"))
	select {
	case <-session.Done():
		t.Fatal("the session says that it ended")
	default:
	}
	if err := session.Close(bounded(t)); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, session)
	wantList(t, s, "k/", entry{"k/b", "1", start})
	got := collect(t, s, "k/a", start+1, 1)
	if len(got) != 1 || got[0].Key != "k/a" || !got[0].Deleted {
		t.Errorf("watched %v, want the deletion of k/a", got)
	}
}

func sessionExpiry(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	session := openSession(ctx, t, s)
	start := write(t, s,
		store.Op{Key: "k/a", Value: []byte("1"), Session: session},
		store.Op{Key: "k/b", Value: []byte("1"), Session: session}, put("k/c", "1"))
	cancel()
	wantEnded(t, session)
	gone := map[string]bool{}
	for _, c := range collect(t, s, "k/", start+1, 2) {
		gone[c.Key] = c.Deleted
	}
	if diff := cmp.Diff(map[string]bool{"k/a": true, "k/b": true}, gone); diff != "" {
		t.Errorf("deleted keys (-want +got):\n%s", diff)
	}
	wantList(t, s, "", entry{"k/c", "1", start})
}

// sessionStays watches an abandoned session of longer time run out beside a
// renewed one of shorter time: no clock is read.
func sessionStays(t *testing.T, s store.Store) {
	renewed := openSession(t.Context(), t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	abandoned, err := s.Session(ctx, 2*short)
	if err != nil {
		t.Fatal(err)
	}
	start := write(t, s,
		store.Op{Key: "k/renewed", Value: []byte("1"), Session: renewed},
		store.Op{Key: "k/abandoned", Value: []byte("1"), Session: abandoned})
	cancel()
	got := collect(t, s, "k/", start+1, 1)
	if len(got) != 1 || got[0].Key != "k/abandoned" || !got[0].Deleted {
		t.Errorf("watched %v, want the deletion of k/abandoned", got)
	}
	wantList(t, s, "", entry{"k/renewed", "1", start})
	if err := renewed.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

func sessionEnded(t *testing.T, s store.Store) {
	session := openSession(t.Context(), t, s)
	if err := session.Close(bounded(t)); err != nil {
		t.Fatal(err)
	}
	done, _, err := s.Txn(bounded(t), nil,
		[]store.Op{put("b", "1"), {Key: "a", Value: []byte("1"), Session: session}})
	if done || !errors.Is(err, store.ErrSessionEnded) {
		t.Errorf("Txn = %v, %v; want ErrSessionEnded", done, err)
	}
	wantList(t, s, "")
}

func sessionLeft(t *testing.T, s store.Store) {
	session := openSession(t.Context(), t, s)
	write(t, s, store.Op{Key: "a", Value: []byte("1"), Session: session})
	revision := write(t, s, put("a", "2"))
	if err := session.Close(bounded(t)); err != nil {
		t.Fatal(err)
	}
	wantList(t, s, "", entry{"a", "2", revision})
}
