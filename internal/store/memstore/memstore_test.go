package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/memstore"
	"github.com/keelson/keelson/internal/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Subject{
		Open: func(*testing.T) store.Store { return memstore.New(clock.System{}) },
		Compact: func(_ *testing.T, s store.Store, revision int64) {
			s.(*memstore.Store).Compact(revision)
		},
	})
}

func TestUnavailableStoreAnswersNothing(t *testing.T) {
	t.Parallel()
	s := memstore.New(clock.System{})
	watch := make(chan error, 1)
	go func() { watch <- s.Watch(t.Context(), "", 0, func([]store.Event) error { return nil }) }()

	s.SetUnavailable(true)
	_, _, getErr := s.Get(t.Context(), "a")
	_, _, listErr := s.List(t.Context(), "")
	_, _, txnErr := s.Txn(t.Context(), nil, []store.Op{{Key: "a"}})
	_, sessionErr := s.Session(t.Context(), time.Second)
	for i, err := range []error{getErr, listErr, txnErr, sessionErr, <-watch} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("call %d: %v, want ErrUnavailable", i, err)
		}
	}

	s.SetUnavailable(false)
	if _, found, err := s.Get(t.Context(), "a"); found || err != nil {
		t.Errorf("Get = %v, %v; want not found", found, err)
	}
}

func TestLostAnswerHidesAWriteThatHappened(t *testing.T) {
	t.Parallel()
	s := memstore.New(clock.System{})
	s.LoseAnswers(1)
	for i, want := range []error{store.ErrUnavailable, nil} {
		if _, _, err := s.Txn(t.Context(), nil, []store.Op{{Key: fmt.Sprint(i)}}); !errors.Is(err, want) {
			t.Errorf("transaction %d: %v, want %v", i, err, want)
		}
	}
	if entries, _, err := s.List(t.Context(), ""); len(entries) != 2 || err != nil {
		t.Errorf("%d entries, %v; want 2", len(entries), err)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	s := memstore.New(clock.System{})
	for range memstore.History + 1 {
		if _, _, err := s.Txn(t.Context(), nil, []store.Op{{Key: "a"}}); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Watch(t.Context(), "", 2, func([]store.Event) error { return errors.New("told") })
	if !errors.Is(err, store.ErrCompacted) {
		t.Errorf("Watch = %v, want ErrCompacted", err)
	}
}

func TestSessionsRunOutByTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(clock.System{})
		ctx, cancel := context.WithCancel(t.Context())
		session, err := s.Session(ctx, 1500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Txn(ctx, nil, []store.Op{{Key: "a", Session: session}}); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-session.Done()
		time.Sleep(2*time.Second - 1) // 1.5 s is rounded up to 2 s
		if _, found, _ := s.Get(t.Context(), "a"); !found {
			t.Error("the key is gone before its time")
		}
		time.Sleep(time.Nanosecond)
		if _, found, _ := s.Get(t.Context(), "a"); found {
			t.Error("the key is still there after its time")
		}
	})
}

func TestEndSessionsEndsAllAtOnce(t *testing.T) {
	t.Parallel()
	s := memstore.New(clock.System{})
	session, err := s.Session(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Txn(t.Context(), nil, []store.Op{{Key: "a", Session: session}}); err != nil {
		t.Fatal(err)
	}
	s.EndSessions()
	<-session.Done()
	if _, found, _ := s.Get(t.Context(), "a"); found {
		t.Error("the key is still there")
	}
}
