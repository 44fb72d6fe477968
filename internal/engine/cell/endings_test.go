package cell_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

func TestAnApplyMustFitHoweverAChangeOnTrialEnds(t *testing.T) {
	const place = "place: {%s: [%s]}\n"
	aa, bb, cc := doc("aa", ""), doc("bb", ""), doc("cc", "")
	tests := []struct {
		name  string
		good  []string   // applied for good
		tried [][]string // each a change on trial
		then  []string
		want  string // what the refusal says; empty: accepted
	}{
		{
			"together with what it is apart from once the change is taken back",
			[]string{aa + fmt.Sprintf(place, "apart", "bb"), bb},
			[][]string{{aa}},
			[]string{bb + fmt.Sprintf(place, "together", "aa")},
			"(aa), which waits to be confirmed, is taken back: bb is together with aa (place.together), and aa is apart from bb (place.apart)",
		},
		{
			"the same with the change in the file again",
			[]string{aa + fmt.Sprintf(place, "apart", "bb"), bb},
			[][]string{{aa}},
			[]string{aa, bb + fmt.Sprintf(place, "together", "aa")},
			"is taken back: bb is together with aa",
		},
		{
			"what only does not fit if two of three are taken back",
			[]string{aa + fmt.Sprintf(place, "together", "bb"), bb + fmt.Sprintf(place, "together", "cc"), cc},
			[][]string{{aa}, {bb}, {doc("dd", "")}},
			[]string{cc + fmt.Sprintf(place, "apart", "aa")},
			"), which wait to be confirmed, are taken back: aa is together with bb",
		},
		{
			"a circle once it is taken back",
			[]string{aa + "after: [bb]\n", bb},
			[][]string{{aa}},
			[]string{bb + "after: [aa]\n"},
			"the services wait for each other: bb after aa after bb",
		},
		{
			"an address, with the change in the file again",
			[]string{doc("aa", "10.9.0.1/24"), bb},
			[][]string{{aa}},
			[]string{aa, doc("bb", "10.9.0.1/24")},
			`the address 10.9.0.1 belongs to service "aa"`,
		},
		{
			"what contradicted before the change, and would again",
			[]string{aa, bb},
			[][]string{{aa + fmt.Sprintf(place, "apart", "bb")}},
			[]string{bb + "priority: 3\n"},
			"",
		},
		{
			"what fits either way",
			[]string{aa + fmt.Sprintf(place, "apart", "bb"), bb},
			[][]string{{aa}},
			[]string{bb + fmt.Sprintf(place, "apart", "aa"), cc},
			"",
		},
		{
			"together with a service that is new on trial",
			[]string{bb},
			[][]string{{aa}},
			[]string{bb + fmt.Sprintf(place, "together", "aa")},
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.mustApply(t, tt.good...)
			for _, docs := range tt.tried {
				_, err := w.tryOut(t, time.Minute, docs...)
				equal(t, "on trial", code(t, err), "")
			}
			_, before, _ := w.List(t.Context(), "")
			_, err := w.apply(t, tt.then...)
			if tt.want == "" {
				equal(t, "apply", code(t, err), "")
				return
			}
			equal(t, "apply", code(t, err), "change-pending")
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
			_, after, _ := w.List(t.Context(), "")
			equal(t, "nothing is written", after, before)
		})
	}
}

func TestAChangeThatCannotBeTakenBackAtOnceIsNotTried(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	_, err := w.tryOut(t, time.Minute, doc("shop", "")+"exclusive: false\nfailover: {on_quorum_loss: keep}\n")
	equal(t, "no more exclusive, and kept", code(t, err), "kept-on-quorum-loss")
	_, err = w.tryOut(t, time.Minute, doc("shop", "")+"exclusive: false\n")
	equal(t, "no more exclusive", code(t, err), "")
	_, err = w.tryOut(t, time.Minute, doc("mail", "")+"exclusive: false\nfailover: {on_quorum_loss: keep}\n")
	equal(t, "new, and kept", code(t, err), "")
}

func TestNotTooManyChangesWait(t *testing.T) {
	w := newWorld(t)
	for i := range cell.MaxTrials {
		_, err := w.tryOut(t, time.Minute, doc("s"+string(rune('a'+i)), ""))
		equal(t, "apply", code(t, err), "")
	}
	_, err := w.tryOut(t, time.Minute, doc("one-more", ""))
	equal(t, "one more", code(t, err), "too-many-trials")
	_, err = w.apply(t, doc("one-more", ""))
	equal(t, "for good", code(t, err), "")
}

// meddler lets something happen right before a transaction, once, or loses its answer.
type meddler struct {
	*world
	before func()
	loses  bool
}

func (m *meddler) Txn(ctx context.Context, guards []store.Guard, ops []store.Op) (bool, int64, error) {
	before, loses := m.before, m.loses
	m.before, m.loses = nil, false
	if before != nil {
		before()
	}
	done, revision, err := m.Store.Txn(ctx, guards, ops)
	if loses {
		return false, 0, store.ErrUnavailable
	}
	return done, revision, err
}

func (w *world) meddled(m *meddler) *cell.Clerk {
	m.world = w
	clerk := *w.clerk
	clerk.Store = m
	return &clerk
}

func TestAChangeEndsInOneWay(t *testing.T) {
	tests := []struct {
		name      string
		first     func(*testing.T, *world) // right before the second writes
		loses     bool                     // the answer of the second
		back      bool                     // the second takes it back
		want      string
		ends      []event.Kind
		confirmed bool
	}{
		{name: "confirmed", ends: []event.Kind{event.ChangeConfirmed}, confirmed: true},
		{name: "taken back", back: true, ends: []event.Kind{event.ChangeTakenBack}},
		{name: "confirmed, and the answer is lost", loses: true, ends: []event.Kind{event.ChangeConfirmed}, confirmed: true},
		{name: "taken back, and the answer is lost", loses: true, back: true, ends: []event.Kind{event.ChangeTakenBack}},
		{name: "confirmed too late by a moment", first: due, want: "no-such-change", ends: []event.Kind{event.ChangeTakenBack}},
		{name: "confirmed while somebody reverts", first: reverted, want: "no-such-change", ends: []event.Kind{event.ChangeTakenBack}},
		{name: "the same, and the answer is lost", first: reverted, loses: true, want: "no-such-change", ends: []event.Kind{event.ChangeTakenBack}},
		{name: "reverted while somebody confirms", first: confirmed, back: true, want: "no-such-change", ends: []event.Kind{event.ChangeConfirmed}, confirmed: true},
		{name: "the same, and the answer of it is lost", first: confirmed, back: true, loses: true, want: "no-such-change", ends: []event.Kind{event.ChangeConfirmed}, confirmed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.mustApply(t, doc("shop", "10.9.0.1/24"))
				_, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"))
				equal(t, "on trial", code(t, err), "")
				m := &meddler{loses: tt.loses}
				if tt.first != nil {
					m.before = func() { tt.first(t, w) }
				}
				_, err = w.meddled(m).Confirm(t.Context(), request.Confirm{TakeBack: tt.back, By: "ann"})
				equal(t, "answer", code(t, err), tt.want)
				equal(t, "how it ended", w.notes.kinds()[2:], tt.ends)
				equal(t, "the spec that stays", w.owner(t, "10.9.0.2") == "shop", tt.confirmed)
				equal(t, "waits", len(w.onTrial(t)), 0)
			})
		})
	}
}

func due(t *testing.T, w *world) {
	back, err := w.clerk.TakeBackDue(t.Context(), time.Now().Add(time.Hour))
	equal(t, "taken back", back, []spec.ServiceName{"shop"})
	equal(t, "no error", err, nil)
}

func reverted(t *testing.T, w *world) {
	_, err := w.clerk.Confirm(t.Context(), request.Confirm{TakeBack: true})
	equal(t, "reverted", code(t, err), "")
}

func confirmed(t *testing.T, w *world) {
	_, err := w.clerk.Confirm(t.Context(), request.Confirm{})
	equal(t, "confirmed", code(t, err), "")
}

func TestALaterAttemptEndsNoOtherChange(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	_, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"))
	equal(t, "on trial", code(t, err), "")
	m := &meddler{before: func() {
		reverted(t, w)
		_, err := w.tryOut(t, time.Minute, doc("mail", ""))
		equal(t, "another", code(t, err), "")
	}}
	_, err = w.meddled(m).Confirm(t.Context(), request.Confirm{})
	equal(t, "the one that was meant is gone", code(t, err), "no-such-change")
	equal(t, "the other waits", w.onTrial(t), []string{"mail"})
}

func TestOfManyWhoEndAChangeOneDoes(t *testing.T) {
	for range 20 {
		w := newWorld(t)
		w.mustApply(t, doc("shop", "10.9.0.1/24"), doc("mail", ""))
		_, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"), doc("mail", "10.9.0.3/24"))
		equal(t, "on trial", code(t, err), "")
		var mu sync.Mutex
		var ends []bool // whether it was taken back
		note := func(back bool) {
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, back)
		}
		var all sync.WaitGroup
		for i := range 9 {
			all.Go(func() {
				if i%3 == 2 {
					if back, _ := w.clerk.TakeBackDue(t.Context(), time.Now().Add(time.Hour)); len(back) > 0 {
						note(true)
					}
					return
				}
				if _, err := w.clerk.Confirm(t.Context(), request.Confirm{TakeBack: i%3 == 1}); err == nil {
					note(i%3 == 1)
				}
			})
		}
		all.Wait()
		if len(ends) != 1 {
			t.Fatalf("it ended %d times", len(ends))
		}
		want := uint64(2)
		if ends[0] {
			want = 3
		}
		for _, name := range []string{"shop", "mail"} {
			equal(t, "generation of "+name, w.service(t, name).Generation, want)
		}
		kinds := w.notes.kinds()
		equal(t, "events", len(slices.Compact(kinds[4:])), 1)
	}
}

func TestARevertLosesNobodysLaterChange(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""), doc("mail", ""))
	_, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"), doc("mail", "10.9.0.3/24"))
	equal(t, "on trial", code(t, err), "")

	// A wish to move it is no change of the spec, and is kept.
	mail := w.service(t, "mail")
	mail.Move = &record.Move{To: "b", From: "a"}
	w.put(t, record.KeyServices+"mail", mail)

	// A spec that was written by other means, such as a restored backup.
	shop := w.service(t, "shop")
	shop.Generation++
	shop.Spec.Priority = 7
	w.put(t, record.KeyServices+"shop", shop)

	_, err = w.clerk.Confirm(t.Context(), request.Confirm{TakeBack: true, By: "ann"})
	equal(t, "revert", code(t, err), "")
	equal(t, "the later spec stays", w.service(t, "shop"), shop)
	mail = w.service(t, "mail")
	equal(t, "the other is taken back", []any{mail.Generation, len(mail.Spec.Addresses()), mail.Move != nil}, []any{uint64(3), 0, true})
	var texts []string
	for _, e := range w.notes.list {
		if e.Kind == event.ChangeTakenBack {
			texts = append(texts, e.Text[strings.Index(e.Text, " of "):])
		}
	}
	equal(t, "events", texts, []string{
		" of mail was taken back, as ann asked", " of shop ended, as ann asked: it was changed or deleted since, and is left as it is",
	})
}
