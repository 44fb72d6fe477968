package cell_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/engine/mirror"
	"github.com/keelson/keelson/internal/engine/trial"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// tryOut applies for a time.
func (w *world) tryOut(t *testing.T, within time.Duration, documents ...string) (request.ApplyResult, error) {
	t.Helper()
	return w.clerk.Apply(t.Context(), request.Apply{
		File: "x.yaml", Content: []byte(strings.Join(documents, "---\n")), By: "ann", ConfirmWithin: within,
	})
}

func (w *world) onTrial(t *testing.T) []string {
	t.Helper()
	entries, _, err := w.List(t.Context(), record.KeyPending)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimPrefix(e.Key, record.KeyPending))
	}
	return names
}

func (w *world) owner(t *testing.T, address string) string {
	t.Helper()
	name, _ := get[string](t, w, record.KeyAddressUses+address)
	return name
}

func TestAChangeThatIsNotConfirmedIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustApply(t, doc("shop", "10.9.0.1/24"))
		before := w.service(t, "shop").Spec
		result, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"), doc("mail", ""))
		if err != nil || result.Change == "" || !result.Deadline.Equal(time.Now().Add(time.Minute)) {
			t.Fatalf("%+v, %v", result, err)
		}
		equal(t, "on trial", w.onTrial(t), []string{"mail", "shop"})

		// Too early: nothing happens.
		back, err := w.clerk.TakeBackDue(t.Context(), time.Now().Add(59*time.Second))
		equal(t, "too early", len(back), 0)
		equal(t, "no error", err, nil)

		back, err = w.clerk.TakeBackDue(t.Context(), time.Now().Add(time.Minute))
		equal(t, "no error", err, nil)
		equal(t, "taken back", back, []spec.ServiceName{"mail", "shop"})
		shop := w.service(t, "shop")
		equal(t, "the spec is the one from before", shop.Spec, before)
		equal(t, "it counts as a change", shop.Generation, uint64(3))
		equal(t, "what was new is deleted", w.service(t, "mail").Deleting, true)
		equal(t, "on trial", len(w.onTrial(t)), 0)
		equal(t, "address from before", w.owner(t, "10.9.0.1"), "shop")
		equal(t, "address that was tried", w.owner(t, "10.9.0.2"), "")
		kinds := w.notes.kinds()
		equal(t, "events", kinds[len(kinds)-2:], []event.Kind{event.ChangeTakenBack, event.ChangeTakenBack})

		back, err = w.clerk.TakeBackDue(t.Context(), time.Now().Add(time.Hour))
		equal(t, "once", len(back), 0)
		equal(t, "no error", err, nil)
	})
}

func TestAConfirmedChangeStays(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	result, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"))
	equal(t, "apply", code(t, err), "")
	_, err = w.clerk.Confirm(t.Context(), request.Confirm{Change: "nope"})
	equal(t, "another change", code(t, err), "no-such-change")
	done, err := w.clerk.Confirm(t.Context(), request.Confirm{By: "ann"})
	equal(t, "confirm", code(t, err), "")
	equal(t, "confirmed", done, request.Confirmed{Change: result.Change, Services: []spec.ServiceName{"shop"}})
	equal(t, "on trial", len(w.onTrial(t)), 0)
	equal(t, "generation", w.service(t, "shop").Generation, uint64(2))
	_, err = w.clerk.Confirm(t.Context(), request.Confirm{})
	equal(t, "again", code(t, err), "no-such-change")
	equal(t, "events", w.notes.kinds(), []event.Kind{event.ServiceApplied, event.ServiceApplied, event.ChangeConfirmed})
}

func TestAChangeCanBeTakenBackAtOnce(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	_, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"))
	equal(t, "apply", code(t, err), "")
	_, err = w.tryOut(t, time.Minute, doc("mail", ""))
	equal(t, "apply", code(t, err), "")
	_, err = w.clerk.Confirm(t.Context(), request.Confirm{TakeBack: true})
	equal(t, "which of two", code(t, err), "which-change")
	trial, _ := get[record.Pending](t, w, record.KeyPending+"shop")
	_, err = w.clerk.Confirm(t.Context(), request.Confirm{Change: trial.Change, TakeBack: true, By: "ann"})
	equal(t, "revert", code(t, err), "")
	equal(t, "on trial", w.onTrial(t), []string{"mail"})
	equal(t, "address", w.owner(t, "10.9.0.2"), "")
}

func TestAServiceOnTrialTakesNoOtherChange(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", "10.9.0.1/24"))
	_, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"))
	equal(t, "apply", code(t, err), "")
	_, err = w.tryOut(t, time.Minute, doc("shop", "10.9.0.3/24"))
	equal(t, "a second change", code(t, err), "change-pending")
	_, err = w.apply(t, doc("shop", "10.9.0.3/24"))
	equal(t, "a change for good", code(t, err), "change-pending")
	_, err = w.apply(t, doc("shop", "10.9.0.2/24"))
	equal(t, "the same again", code(t, err), "")

	// What it would be returned to is kept for it.
	_, err = w.apply(t, doc("thief", "10.9.0.1/24"))
	equal(t, "its old address", code(t, err), "change-pending")
	_, err = w.apply(t, doc("mail", "10.9.0.4/24"))
	equal(t, "another address", code(t, err), "")
}

func TestATrialHasItsLimits(t *testing.T) {
	w := newWorld(t)
	for _, within := range []time.Duration{-time.Second, time.Millisecond, 25 * time.Hour} {
		_, err := w.tryOut(t, within, doc("shop", ""))
		equal(t, within.String(), code(t, err), "bad-duration")
	}
	var many []string
	for i := range 30 {
		many = append(many, doc("s"+string(rune('a'+i%26))+string(rune('a'+i/26)), ""))
	}
	_, err := w.tryOut(t, time.Minute, many...)
	equal(t, "more than could be taken back at once", code(t, err), "too-many-changes")
	equal(t, "nothing is left", len(w.onTrial(t)), 0)
}

func TestWhatWasDeletedMeanwhileIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	_, err := w.tryOut(t, time.Second, doc("shop", "10.9.0.2/24"))
	equal(t, "apply", code(t, err), "")
	if _, err := w.clerk.Delete(t.Context(), request.Delete{Service: "shop"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.clerk.TakeBackDue(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	shop := w.service(t, "shop")
	equal(t, "deleting, as it was", []any{shop.Deleting, shop.Generation, len(w.onTrial(t))}, []any{true, uint64(2), 0})
}

func TestStatusShowsATrial(t *testing.T) {
	w := newWorld(t)
	_, err := w.tryOut(t, time.Minute, doc("shop", ""), doc("mail", ""))
	equal(t, "apply", code(t, err), "")
	records, _, err := cell.Load(t.Context(), w.Store)
	if err != nil {
		t.Fatal(err)
	}
	out := cell.Assemble(cell.View{Records: records, Live: w.clerk.Live(), Now: time.Now()})
	for _, s := range out.Services {
		if s.Trial == nil || s.Trial.By != "ann" || !s.Trial.New {
			t.Errorf("%s: %+v", s.Name, s.Trial)
		}
	}
	if !slices.ContainsFunc(out.Problems, func(p string) bool { return strings.Contains(p, "(mail, shop, by ann) is taken back at") }) {
		t.Errorf("problems: %q", out.Problems)
	}
}

func TestTheControllerTakesBackWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mustApply(t, doc("shop", ""))
		_, err := w.tryOut(t, time.Minute, doc("shop", "10.9.0.2/24"))
		equal(t, "apply", code(t, err), "")
		var leading atomic.Bool
		copied := &mirror.Mirror{Store: w.Store, Clock: bubbleClock{}, Log: quietLog()}
		trials := &trial.Trials{
			Clock: bubbleClock{}, Log: quietLog(), Leading: leading.Load, TakeBack: w.clerk.TakeBackDue,
			Deadlines: func() []time.Time { r, _ := copied.Records(); return r.Deadlines() },
		}
		ctx, stop := cancelable(t)
		ended := make(chan error, 2)
		go func() { ended <- copied.Run(ctx) }()
		go func() { ended <- trials.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		equal(t, "nobody is the controller", w.onTrial(t), []string{"shop"})
		leading.Store(true)
		time.Sleep(3 * time.Second)
		equal(t, "the controller has done it", len(w.onTrial(t)), 0)
		equal(t, "generation", w.service(t, "shop").Generation, uint64(3))
		stop()
		for range 2 {
			if err := <-ended; !errors.Is(err, ctx.Err()) {
				t.Error(err)
			}
		}
	})
}

func cancelable(t *testing.T) (context.Context, func()) {
	ctx, stop := context.WithCancel(t.Context())
	return ctx, stop
}
