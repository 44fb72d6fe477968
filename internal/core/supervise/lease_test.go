package supervise

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
)

func TestALeaseThatLooksStaleIsLookedAtAgain(t *testing.T) {
	d := running(t, 1)
	d.in.Boot = d.in.Hold.Until - StopAhead
	d.step().want("stop 0 force", fact.Stopping)
	d.done(nil).want("", fact.Waiting)
	if d.out.Wake == 0 {
		t.Fatal("nothing wakes it, and a renewal is no news")
	}
	d.hold(5).step().want("start 0", fact.Starting)
}

func TestARightThatLooksStaleIsLookedAtAgain(t *testing.T) {
	in := Input{Now: time.Unix(1_000_000, 0), Boot: time.Hour}
	in.Wish = Wish{Service: database(), Placed: 1, Copy: true, Right: Right{Rank: 0}}
	in.Hold = Hold{Known: true, Own: true, Held: true, Guard: 1, Epoch: 1, Until: 2 * time.Hour}
	in.Right = Hold{Known: true, Held: true, Guard: 1, Epoch: 5, Until: in.Boot + StopAhead}
	st, d := Step(New(), in)
	for range 10 {
		if d.Op.Kind != None {
			in.Done = &Result{}
		}
		st, d = Step(st, in)
		in.Done = nil
	}
	if d.Op.Kind != None || d.Wake == 0 || d.Wake > time.Second {
		t.Errorf("a right that was not taken is looked at again after %v", d.Wake)
	}
}

func TestAnEndThatIsAwaited(t *testing.T) {
	stale := func(d *desk) *desk {
		d.in.Boot, d.in.Hold.Awaited = d.in.Hold.Until+time.Second, true
		return d
	}
	t.Run("stops nothing", func(t *testing.T) {
		stale(running(t, 2)).step().want("", fact.Running)
	})
	t.Run("starts nothing", func(t *testing.T) {
		d := stale(newDesk(t, 1).hold(5)).step().want("", fact.Waiting)
		d.hold(5).step().want("start 0", fact.Starting)
	})
	t.Run("starts nothing more", func(t *testing.T) {
		d := newDesk(t, 2).hold(5).step().want("start 0", fact.Starting)
		stale(d).done(nil).want("", fact.Starting)
	})
	t.Run("counts a failure", func(t *testing.T) {
		d := stale(running(t, 1)).dies(0).want("stop 0 force", fact.Backoff)
		d.done(nil).want("", fact.Starting)
		if n := len(d.st.Failures); n != 1 {
			t.Errorf("%d failures are counted, not 1", n)
		}
	})
	t.Run("stops what is known to be lost", func(t *testing.T) {
		for name, lose := range map[string]func(*desk){
			"not held":       func(d *desk) { d.in.Hold.Held = false },
			"another epoch":  func(d *desk) { d.in.Hold.Epoch = 6 },
			"another guard":  func(d *desk) { d.in.Hold.Guard = 8 },
			"kept, as it is": func(d *desk) { d.in.Hold.Kept = true },
		} {
			t.Run(name, func(t *testing.T) {
				d := stale(running(t, 1))
				lose(d)
				d.step().want("stop 0 force", fact.Stopping)
			})
		}
	})
}

func TestAStopByForceIsToldOnceAndWithItsReason(t *testing.T) {
	d := running(t, 2)
	d.notes = nil
	d.in.Boot = d.in.Hold.Until - StopAhead
	d.step()
	want := []Note{{
		Kind: event.ServiceCut, Epoch: 5,
		Text: "It is stopped by force, because the guard did not say in time that its lease was renewed.",
	}}
	if diff := cmp.Diff(want, d.out.Notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d.done(nil)
	d.hold(5).done(nil).want("start 0", fact.Starting) // renewed meanwhile: restarted
	if diff := cmp.Diff([]event.Kind{event.ServiceCut, event.ServiceStarting}, d.notes); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestWhatIsHeldAndWantedIsNeverForgotten drives step with arbitrary news. While
// a lease is held and the service is wished for, the caller always comes back by
// itself: no renewal is news.
func TestWhatIsHeldAndWantedIsNeverForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Input{Now: time.Unix(1_000_000, 0), Boot: time.Hour, Wish: Wish{Rank: -1}}
		st, world := New(), fate{mayRun: make([]bool, 3)}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			drawNews(t, &in, &st, &world)
			in.Hold.Awaited = in.Hold.Until <= in.Boot+StopAhead && rapid.Bool().Draw(t, "awaited")
			next, d := Step(st, in)
			switch d.Op.Kind {
			case Start:
				if left := in.Hold.Until - in.Boot; !in.Hold.Held || left <= startAhead {
					t.Fatalf("start with %v left of %+v", left, in.Hold)
				}
				world.mayRun[d.Op.Part], world.busy = true, d.Op
			case Stop, Probe:
				world.busy = d.Op
			case None, Promote, Demote, Release:
			}
			m := machine{State: next, in: in}
			// Whoever awaits newer word comes back by itself.
			forgotten := d.Op.Kind == None && d.Wake == 0 && next.busy.Kind == None && !in.Hold.Awaited
			if forgotten && in.Hold.Known && in.Hold.Held && !in.Hold.Kept && m.mayTake() {
				t.Fatalf("%+v is held and wanted, and nobody comes back to it: %+v", in.Hold, next)
			}
			st, in.Done, in.Died = next, nil, nil
		}
	})
}
