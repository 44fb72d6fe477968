package cell_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/engine/recorder"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

func newRecorder(w *world, node spec.NodeName) *recorder.Recorder {
	return &recorder.Recorder{Store: w.Store, Clock: bubbleClock{}, Log: quietLog(), Node: node}
}

// running runs f until the returned function is called.
func running(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	}
}

func seqs(events []event.Event) []uint64 {
	var out []uint64
	for _, e := range events {
		out = append(out, e.Seq)
	}
	return out
}

func TestEventsOfTwoNodesGetNumbersWithoutGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := newRecorder(w, "a"), newRecorder(w, "b")
		stopA, stopB := running(t, a.Run), running(t, b.Run)
		for i := range 100 {
			a.Add(event.Event{Kind: event.LeaseWon, Text: fmt.Sprint(i)})
			b.Add(event.Event{Kind: event.LeaseLost, Text: fmt.Sprint(i)})
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		stopA()
		stopB()
		all, err := w.clerk.ListEvents(t.Context(), request.Events{Limit: 1000})
		equal(t, "error", code(t, err), "")
		want := make([]uint64, 200)
		for i := range want {
			want[i] = uint64(i + 1)
		}
		equal(t, "sequence", seqs(all), want)
		next := map[spec.NodeName]int{}
		for _, e := range all {
			equal(t, "order of "+string(e.Node), e.Text, fmt.Sprint(next[e.Node]))
			next[e.Node]++
		}
	})
}

func TestOnlyTheNewestEventsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRecorder(w, "a")
		stop := running(t, r.Run)
		for range 5 {
			for range 500 {
				r.Add(event.Event{Kind: event.LeaseWon})
			}
			synctest.Wait()
		}
		stop()
		entries, _, err := w.List(t.Context(), record.KeyEvents)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "kept", len(entries), recorder.KeptEvents)
		equal(t, "newest", entries[len(entries)-1].Key, record.EventKey(2500))
		head, _ := get[record.EventHead](t, w, record.KeyEventHead)
		equal(t, "head", head, record.EventHead{First: 501, Last: 2500})
	})
}

func TestEventsWaitForTheStoreAndTheOldestGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRecorder(w, "a")
		stop := running(t, r.Run)
		w.SetUnavailable(true)
		for i := range recorder.MaxQueue + 50 {
			r.Add(event.Event{Kind: event.LeaseWon, Text: fmt.Sprint(i)})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		w.SetUnavailable(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		all, err := w.clerk.ListEvents(t.Context(), request.Events{Limit: 1000})
		equal(t, "error", code(t, err), "")
		equal(t, "recorded", len(all), recorder.MaxQueue)
		equal(t, "the newest is there", all[len(all)-1].Text, fmt.Sprint(recorder.MaxQueue+49))
	})
}

func TestAnEventWhoseAnswerIsLostIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := newRecorder(w, "a")
		stop := running(t, r.Run)
		w.LoseAnswers(1)
		r.Add(event.Event{Kind: event.LeaseWon, Text: "once"})
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		entries, _, _ := w.List(t.Context(), record.KeyEvents)
		equal(t, "events", len(entries), 1)
	})
}

func TestWhatIsLeftIsWrittenAtTheEnd(t *testing.T) {
	w := newWorld(t)
	r := newRecorder(w, "a")
	r.Add(event.Event{Kind: event.LeaseWon})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	entries, _, _ := w.List(t.Context(), record.KeyEvents)
	equal(t, "events", len(entries), 1)
}

func TestListEventsFiltersAndLimits(t *testing.T) {
	w := newWorld(t)
	for i, e := range []event.Event{
		{Kind: event.NodeLost, Node: "a", About: "b"},
		{Kind: event.LeaseWon, Node: "c", Service: "shop"},
		{Kind: event.LeaseWon, Node: "a", Service: "mail"},
		{Kind: event.ServiceReady, Node: "c", Service: "shop"},
	} {
		w.put(t, record.EventKey(uint64(i+1)), e)
	}
	tests := []struct {
		name string
		ask  request.Events
		want []uint64
	}{
		{"all", request.Events{}, []uint64{1, 2, 3, 4}},
		{"the newest two", request.Events{Limit: 2}, []uint64{3, 4}},
		{"of a service", request.Events{Service: "shop"}, []uint64{2, 4}},
		{"about a node", request.Events{Node: "b"}, []uint64{1}},
		{"of a node and a service", request.Events{Node: "c", Service: "shop", Limit: 1}, []uint64{4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := w.clerk.ListEvents(t.Context(), tt.ask)
			equal(t, "error", code(t, err), "")
			equal(t, "events", seqs(got), tt.want)
		})
	}
}

func TestFollowTellsTheOldThenTheNewEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 3 {
			w.put(t, record.EventKey(uint64(i+1)), event.Event{Kind: event.LeaseWon, Service: "shop"})
		}
		var told, fresh []event.Event
		stop := running(t, func(ctx context.Context) error {
			return w.clerk.FollowEvents(ctx, request.Follow{From: 2, Service: "shop"}, func(e event.Event) error {
				told = append(told, e)
				return nil
			})
		})
		stopFresh := running(t, func(ctx context.Context) error {
			return w.clerk.FollowEvents(ctx, request.Follow{}, func(e event.Event) error {
				fresh = append(fresh, e)
				return nil
			})
		})
		synctest.Wait()
		w.put(t, record.EventKey(4), event.Event{Kind: event.LeaseWon, Service: "mail"})
		w.put(t, record.EventKey(5), event.Event{Kind: event.LeaseWon, Service: "shop"})
		if _, _, err := w.Txn(t.Context(), nil, []store.Op{{Key: record.EventKey(1), Delete: true}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stop()
		stopFresh()
		equal(t, "from 2 on, of shop", seqs(told), []uint64{2, 3, 5})
		equal(t, "only new ones", seqs(fresh), []uint64{4, 5})
	})
}

func TestFollowEndsWhenTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	w.SetUnavailable(true)
	err := w.clerk.FollowEvents(t.Context(), request.Follow{From: 1}, func(event.Event) error { return nil })
	equal(t, "code", code(t, err), "store-unavailable")
}
