package supervise

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"pgregory.net/rapid"
)

var errTest = errors.New("it broke")

// service returns a service of n exec parts.
func service(id uint32, generation uint64, n int) *record.Service {
	s := &record.Service{ID: id, Generation: generation, Spec: spec.Service{Name: "shop"}}
	for i := range n {
		s.Spec.Parts = append(s.Spec.Parts, spec.Part{
			Name: fmt.Sprintf("p%d", i), Exec: &spec.Exec{Command: []string{fmt.Sprintf("/bin/v%d", generation)}},
		})
	}
	return s
}

// desk drives step by hand and plays the world: operations are carried out
// when the test says so.
type desk struct {
	t     *testing.T
	st    State
	in    Input
	out   Decision
	notes []event.Kind
}

const deskGuard = 7

func newDesk(t *testing.T, parts int) *desk {
	d := &desk{t: t, st: New()}
	d.in.Now = time.Unix(1_000_000, 0)
	d.in.Boot = time.Hour
	d.in.Wish = Wish{Service: service(1, 1, parts), Placed: 10, Rank: 0}
	d.in.Hold = Hold{Known: true, Guard: deskGuard}
	return d
}

func (d *desk) hold(epoch uint64) *desk {
	d.in.Hold.Held, d.in.Hold.Epoch, d.in.Hold.Until = true, epoch, d.in.Boot+time.Second
	return d
}

// pass lets time pass, with the lease renewed.
func (d *desk) pass(t time.Duration) *desk {
	d.in.Now, d.in.Boot = d.in.Now.Add(t), d.in.Boot+t
	if d.in.Hold.Held {
		d.in.Hold.Until = d.in.Boot + time.Second
	}
	return d
}

func (d *desk) step() *desk {
	d.st, d.out = Step(d.st, d.in)
	d.in.Done, d.in.Died = nil, nil
	for _, n := range d.out.Notes {
		d.notes = append(d.notes, n.Kind)
	}
	return d
}

func (d *desk) done(err error) *desk {
	d.in.Done = &Result{Err: err}
	return d.step()
}

func (d *desk) saw(o instance.Observed) *desk {
	d.in.Done = &Result{Seen: o}
	return d.step()
}

func (d *desk) dies(part int) *desk {
	d.in.Died = []Death{{Part: part, Ended: true, Why: "exit status 1"}}
	return d.step()
}

// want checks the last answer.
func (d *desk) want(op string, phase fact.Phase) *desk {
	d.t.Helper()
	got := string(d.out.Op.Kind)
	switch d.out.Op.Kind {
	case Start, Stop, Probe, Promote, Demote:
		got += fmt.Sprint(" ", d.out.Op.Part)
	case Release:
		got += fmt.Sprint(" ", d.out.Op.Epoch)
	case None:
	}
	if d.out.Op.Force {
		got += " force"
	}
	if d.out.Cancel {
		got += "cancel"
	}
	if got != op || d.st.Phase != phase {
		d.t.Fatalf("got %q in phase %s, want %q in phase %s\nstate %+v", got, d.st.Phase, op, phase, d.st)
	}
	return d
}

// running brings a service of n parts up under epoch 5.
func running(t *testing.T, n int) *desk {
	t.Helper()
	d := newDesk(t, n).hold(5).step()
	for i := range n {
		d.want(fmt.Sprint("start ", i), fact.Starting).done(nil)
	}
	return d.want("", fact.Running)
}

func TestStartsInOrderUnderALeaseOnly(t *testing.T) {
	d := newDesk(t, 2)
	d.step().want("", fact.Waiting)
	d.hold(5).step().want("start 0", fact.Starting)
	d.done(nil).want("start 1", fact.Starting)
	d.done(nil).want("", fact.Running)
	want := []event.Kind{event.ServiceStarting, event.PartStarted, event.PartStarted, event.ServiceRunning}
	if diff := cmp.Diff(want, d.notes); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestDoesNotStartUnderALeaseThatIsAboutToEnd(t *testing.T) {
	d := newDesk(t, 1).hold(5)
	d.in.Hold.Until = d.in.Boot + startAhead
	d.step().want("", fact.Starting)
	if d.out.Wake == 0 {
		t.Error("nothing wakes it")
	}
	d.hold(5).step().want("start 0", fact.Starting)
}

func TestStopsByForceWhenTheLease(t *testing.T) {
	tests := []struct {
		name string
		lose func(*desk)
	}{
		{"is no longer shown", func(d *desk) { d.in.Hold.Held = false }},
		{"has passed its end", func(d *desk) { d.in.Boot = d.in.Hold.Until - StopAhead }},
		{"is another one by now", func(d *desk) { d.in.Hold.Epoch = 6 }},
		{"was of a guard that is no more", func(d *desk) { d.in.Hold.Guard = 8 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := running(t, 2)
			tt.lose(d)
			d.step().want("stop 1 force", fact.Stopping)
			d.done(nil).want("stop 0 force", fact.Stopping)
			d.in.Hold.Held = false
			d.done(nil).want("", fact.Waiting)
		})
		t.Run(tt.name+", in the middle of a start", func(t *testing.T) {
			d := newDesk(t, 2).hold(5).step().want("start 0", fact.Starting)
			d.done(nil).want("start 1", fact.Starting)
			tt.lose(d)
			d.step().want("cancel", fact.Stopping)
			d.done(errTest).want("stop 1 force", fact.Stopping)
			d.done(nil).want("stop 0 force", fact.Stopping)
			if slices.Contains(d.notes, event.ServiceFailed) {
				t.Error("a start that was canceled counts as a failure")
			}
		})
		t.Run(tt.name+", in the middle of a graceful stop", func(t *testing.T) {
			d := running(t, 1)
			stopped := *d.in.Wish.Service
			stopped.Spec.Stopped = true
			d.in.Wish.Service = &stopped
			d.step().want("stop 0", fact.Stopping)
			tt.lose(d)
			d.step().want("cancel", fact.Stopping)
			d.done(errTest).want("stop 0 force", fact.Stopping)
		})
	}
}

func TestLeaseThatCannotBeSeenYetChangesNothing(t *testing.T) {
	d := running(t, 1)
	d.in.Hold = Hold{}
	d.step().want("", fact.Running)
}

func TestRestartsOnTheSpotThenGivesUp(t *testing.T) {
	d := running(t, 2)
	d.in.Wish.Service.Spec.Failover.Restarts = new(2)
	d.st.Run = *d.in.Wish.Service

	// The first restart is at once, of the failed part and those above it.
	d.dies(0).want("stop 1", fact.Backoff)
	d.done(nil).want("stop 0 force", fact.Backoff)
	d.done(nil).want("start 0", fact.Starting)
	d.done(nil).want("start 1", fact.Starting)
	d.done(nil).want("", fact.Running)

	// The second waits a second, and leaves the parts below alone.
	d.pass(time.Minute).dies(1).want("stop 1 force", fact.Backoff)
	d.done(nil).want("", fact.Backoff)
	d.pass(firstDelay-time.Millisecond).step().want("", fact.Backoff)
	d.pass(time.Millisecond).step().want("start 1", fact.Starting)

	// A start that fails counts as well; the third failure is one too many.
	d.done(errTest).want("stop 1", fact.Stopping)
	d.done(nil).want("stop 0", fact.Stopping)
	d.done(nil).want("release 5", fact.Failed)
	want := []event.Kind{event.ServiceFailed, event.ServiceFailed, event.ServiceFailed, event.ServiceGaveUp, event.ServiceStopped}
	got := slices.DeleteFunc(d.notes, func(k event.Kind) bool {
		return k == event.PartStarted || k == event.ServiceStarting || k == event.ServiceRunning
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	// A lease does not tempt it while the ban lasts.
	d.in.Hold.Held = false
	d.step().want("", fact.Failed)
	d.hold(6).step().want("release 6", fact.Failed)
	d.in.Hold.Held = false
	d.pass(spec.DefaultWithin).step().want("", fact.Waiting)
	d.hold(7).step().want("start 0", fact.Starting)
	if n := len(d.st.Failures); n != 0 {
		t.Errorf("%d failures are remembered after the ban, want none", n)
	}
}

func TestAClearingEndsABanOnce(t *testing.T) {
	d := running(t, 1)
	d.in.Wish.Service.Spec.Failover.Restarts = new(0)
	d.st.Run = *d.in.Wish.Service
	d.dies(0).want("stop 0 force", fact.Stopping)
	d.done(nil).want("release 5", fact.Failed)
	d.in.Hold.Held = false
	d.in.Wish.Cleared = 1
	d.step().want("", fact.Waiting)
	d.hold(6).step().want("start 0", fact.Starting)
	d.done(errTest).want("stop 0", fact.Stopping)
	d.done(nil).want("release 6", fact.Failed)
	d.in.Hold.Held = false
	d.step().want("", fact.Failed) // the same clearing says nothing of what failed since
}

func TestFailuresOutsideTheWindowDoNotCount(t *testing.T) {
	d := running(t, 1)
	for range 20 {
		d.pass(spec.DefaultWithin).dies(0).want("stop 0 force", fact.Backoff)
		d.done(nil).want("start 0", fact.Starting).done(nil).want("", fact.Running)
	}
}

func TestChangedSpec(t *testing.T) {
	tests := []struct {
		name   string
		change func(*record.Service)
		op     string
		phase  fact.Phase
	}{
		{"with other parts restarts them", func(s *record.Service) { s.Spec.Parts[0].Exec.Dir = "/srv" }, "stop 1", fact.Stopping},
		{"with another place restarts nothing", func(s *record.Service) { s.Spec.Place.Never = []spec.NodeName{"x"} }, "", fact.Running},
		{"with another failover restarts nothing", func(s *record.Service) { s.Spec.Failover.Restarts = new(9) }, "", fact.Running},
		{"of another service of that name restarts", func(s *record.Service) { s.ID = 2 }, "stop 1", fact.Stopping},
		{"that is being deleted stops", func(s *record.Service) { s.Deleting = true }, "stop 1", fact.Stopping},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := running(t, 2)
			next := service(1, 1, 2)
			next.Generation = 2
			tt.change(next)
			d.in.Wish.Service = next
			d.step().want(tt.op, tt.phase)
			if tt.op == "" && d.st.Run.Generation != 2 {
				t.Errorf("generation %d runs, want 2", d.st.Run.Generation)
			}
		})
	}
}

func TestChangedPartsStartAgainUnderTheSameLease(t *testing.T) {
	d := running(t, 2)
	d.in.Wish.Service = service(1, 2, 1)
	d.step().want("stop 1", fact.Stopping)
	d.done(nil).want("stop 0", fact.Stopping)
	d.done(nil).want("start 0", fact.Starting)
	d.done(nil).want("", fact.Running)
	if d.st.Run.Generation != 2 || d.st.Epoch != 5 {
		t.Errorf("generation %d under epoch %d, want 2 under 5", d.st.Run.Generation, d.st.Epoch)
	}
}

func TestServiceOfTheSameNameStartsUnderALeaseOfItsOwn(t *testing.T) {
	d := running(t, 1)
	d.in.Wish.Service = service(2, 2, 1)
	d.step().want("stop 0", fact.Stopping)
	d.done(nil).want("release 5", fact.Waiting)
	d.step().want("", fact.Waiting)
	d.hold(9).step().want("start 0", fact.Starting)
}

func TestPlannedMove(t *testing.T) {
	away := func(d *desk) { d.in.Wish.Rank, d.in.Wish.FirstAlive = 1, true }
	tests := []struct {
		name   string
		change func(*desk)
		stays  bool
	}{
		{"stops and then gives the lease back", func(d *desk) { away(d); d.in.Wish.Placed = 11 }, false},
		{"waits while the other node is not alive", func(d *desk) { away(d); d.in.Wish.Placed = 11; d.in.Wish.FirstAlive = false }, true},
		{"is not read from a placement that is older than the takeover", func(d *desk) { away(d) }, true},
		{"nor from one whose author had not heard of it", func(d *desk) { away(d); d.in.Wish.Placed, d.in.Wish.Known = 11, 4 }, true},
		{"is read from one whose author had", func(d *desk) { away(d); d.in.Wish.Placed, d.in.Wish.Known = 11, 5 }, false},
		{"to nowhere stops as well", func(d *desk) { d.in.Wish.Rank, d.in.Wish.Empty, d.in.Wish.Placed = -1, true, 11 }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := running(t, 2)
			tt.change(d)
			d.step()
			if tt.stays {
				d.want("", fact.Running)
				return
			}
			d.want("stop 1", fact.Stopping)
			d.done(nil).want("stop 0", fact.Stopping)
			d.done(nil)
			if d.out.Op != (Operation{Kind: Release, Epoch: 5}) {
				t.Fatalf("got %+v, want a release", d.out.Op)
			}
			// Until the guard has heard it, the lease is not taken again.
			d.step().want("", d.st.Phase)
			d.pass(releasePause).step().want("release 5", d.st.Phase)
		})
	}
}

func TestPartThatDoesNotStopKeepsTheLease(t *testing.T) {
	d := running(t, 2)
	d.in.Wish.Gone, d.in.Wish.Service = true, nil
	d.step().want("stop 1", fact.Stopping)
	d.done(errTest).want("", fact.Stopping)
	d.pass(retryPause).step().want("stop 1 force", fact.Stopping)
	d.done(errTest).want("", fact.Stopping)
	d.pass(retryPause).step().want("stop 1 force", fact.Stopping)
	d.done(errTest).want("", fact.Stuck)
	for range 100 {
		d.pass(stuckPause-time.Millisecond).step().want("", fact.Stuck)
		d.pass(time.Millisecond).step().want("stop 1 force", fact.Stuck)
		d.done(errTest).want("", fact.Stuck)
	}
	told := 0
	for _, k := range d.notes {
		if k == event.ServiceStuck {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times that it is stuck, want once", told)
	}

	// When it stops in the end, all goes on.
	d.pass(stuckPause).step().want("stop 1 force", fact.Stuck)
	d.done(nil).want("stop 0", fact.Stopping)
	d.done(nil).want("release 5", fact.Idle)
}

func TestDriverThatDoesNotReturnIsTold(t *testing.T) {
	d := running(t, 1)
	d.in.Wish.Gone, d.in.Wish.Service = true, nil
	d.step().want("stop 0", fact.Stopping)
	d.pass(d.out.Limit).step().want("", fact.Stopping)
	d.pass(overdue).step().want("", fact.Stuck)
	d.done(nil).want("release 5", fact.Idle)
}

// restored is a desk for an agent that starts with a journal.
func restored(t *testing.T, parts ...PartState) *desk {
	t.Helper()
	d := newDesk(t, len(parts))
	m := Memory{Run: *d.in.Wish.Service, Parts: parts, Epoch: 5, Guard: deskGuard, Placed: 10, Phase: fact.Running}
	d.st = Restore(m)
	return d.hold(5)
}

func TestAgentThatStartsAgain(t *testing.T) {
	runs := instance.Observed{Running: true, Epoch: 5}
	t.Run("adopts what runs under a lease that is still held", func(t *testing.T) {
		d := restored(t, Up, Up).step().want("probe 0", fact.Running)
		d.saw(runs).want("probe 1", fact.Running)
		d.saw(runs).want("", fact.Running)
		if len(d.notes) != 0 {
			t.Errorf("told %v, want nothing", d.notes)
		}
	})
	t.Run("waits with its judgement until the guard is heard", func(t *testing.T) {
		d := restored(t, Up)
		d.in.Hold = Hold{}
		d.step().want("probe 0", fact.Running)
		d.saw(runs).want("", fact.Running)
		d.in.Hold = Hold{Known: true, Guard: deskGuard}
		d.step().want("stop 0 force", fact.Stopping)
	})
	t.Run("stops by force what runs without a lease", func(t *testing.T) {
		d := restored(t, Up)
		d.in.Hold.Held = false
		d.step().want("probe 0", fact.Running)
		d.saw(runs).want("stop 0 force", fact.Stopping)
		d.done(nil).want("", fact.Waiting)
	})
	t.Run("stops by force what runs under an older epoch", func(t *testing.T) {
		d := restored(t, Up).hold(6)
		d.step()
		d.saw(runs).want("stop 0 force", fact.Stopping)
		d.done(nil).want("start 0", fact.Starting)
		if d.out.Op.Epoch != 6 {
			t.Errorf("starts under epoch %d, want 6", d.out.Op.Epoch)
		}
	})
	t.Run("restarts what ended meanwhile and counts it", func(t *testing.T) {
		d := restored(t, Up, Up).step()
		d.saw(runs).want("probe 1", fact.Running)
		d.saw(instance.Observed{}).want("stop 1 force", fact.Backoff)
		d.done(nil).want("start 1", fact.Starting)
		if len(d.st.Failures) != 1 {
			t.Errorf("%d failures, want 1", len(d.st.Failures))
		}
	})
	t.Run("starts again what was being started", func(t *testing.T) {
		d := restored(t, Up, Dirty).step()
		d.saw(runs)
		d.saw(runs).want("stop 1", fact.Backoff)
		d.done(nil).want("start 1", fact.Starting)
	})
	t.Run("takes what cannot be probed for running", func(t *testing.T) {
		d := restored(t, Up).step()
		for range probeTries - 1 {
			d.done(errTest).want("", fact.Running)
			d.pass(retryPause).step().want("probe 0", fact.Running)
		}
		d.done(errTest).want("stop 0", fact.Backoff)
	})
	t.Run("goes on without the store", func(t *testing.T) {
		d := restored(t, Up)
		d.in.Wish = Wish{Rank: -1}
		d.step()
		d.saw(runs).want("", fact.Running)
		d.dies(0).want("stop 0 force", fact.Backoff)
		d.done(nil).want("start 0", fact.Starting)
	})
}

func TestServiceThatTheJournalDoesNotKnow(t *testing.T) {
	tests := []struct {
		name  string
		seen  instance.Observed
		held  uint64
		op    string
		phase fact.Phase
	}{
		{"is not touched if it does not run", instance.Observed{}, 0, "", fact.Waiting},
		{"is started if it does not run and the lease is held", instance.Observed{}, 5, "start 0", fact.Starting},
		{"is adopted if it runs under the lease", instance.Observed{Running: true, Epoch: 5, Generation: 1}, 5, "", fact.Running},
		{"is stopped if it runs without a lease", instance.Observed{Running: true, Epoch: 5, Generation: 1}, 0, "stop 0 force", fact.Stopping},
		{"is stopped if nobody knows its epoch", instance.Observed{Running: true}, 5, "stop 0 force", fact.Stopping},
		{"is started anew if it is of another generation", instance.Observed{Running: true, Epoch: 5, Generation: 9}, 5, "stop 0 force", fact.Stopping},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, 1)
			d.st = Unseen(*d.in.Wish.Service)
			if tt.held != 0 {
				d.hold(tt.held)
			}
			d.step().want("probe 0", fact.Idle)
			d.saw(tt.seen).want(tt.op, tt.phase)
		})
	}
}

func TestLeaseThatIsOfNoUseIsGivenBack(t *testing.T) {
	tests := []struct {
		name   string
		change func(*desk)
		op     string
	}{
		{"if the service is stopped", func(d *desk) { d.in.Wish.Service.Spec.Stopped = true }, "release 5"},
		{"if this node is not in the list", func(d *desk) { d.in.Wish.Rank = -1 }, "release 5"},
		{"if this node leaves the cell", func(d *desk) { d.in.Wish.Leaving = true }, "release 5"},
		{"if the service is gone", func(d *desk) { d.in.Wish = Wish{Gone: true, Rank: -1} }, "release 5"},
		{"but not if nothing is known of the service", func(d *desk) { d.in.Wish = Wish{Rank: -1} }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, 1).hold(5)
			tt.change(d)
			d.step().want(tt.op, fact.Idle)
		})
	}
}

func TestRestartDelayDoublesUpToItsLimit(t *testing.T) {
	var got []time.Duration
	for n := range 9 {
		got = append(got, restartDelay(n))
	}
	s := time.Second
	want := []time.Duration{0, 0, s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// fate is the world beside step in the property below: what really may run.
type fate struct {
	mayRun []bool // something of the part may run
	busy   Operation
}

// TestNothingUnsafeIsEverWanted drives step with arbitrary news. It never wants
// a start without a valid lease, nor a release while a part may run.
func TestNothingUnsafeIsEverWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Input{Now: time.Unix(1_000_000, 0), Boot: time.Hour, Wish: Wish{Rank: -1}}
		st := New()
		world := fate{mayRun: make([]bool, 3)}
		if rapid.Bool().Draw(t, "restored") {
			st, world = drawRestored(t)
		}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			drawNews(t, &in, &st, &world)
			before := st.clone()
			next, d := Step(st, in)
			if again, d2 := Step(st, in); !cmp.Equal(d, d2, allowAll) || !cmp.Equal(next, again, allowAll) {
				t.Fatal("the same question got two answers")
			}
			if diff := cmp.Diff(before, st, allowAll); diff != "" {
				t.Fatalf("step changed its input:\n%s", diff)
			}
			check(t, st, next, in, d, &world)
			st, in.Done, in.Died = next, nil, nil
		}
	})
}

var allowAll = cmp.Exporter(func(reflect.Type) bool { return true })

func drawRestored(t *rapid.T) (State, fate) {
	world := fate{mayRun: make([]bool, 3)}
	m := Memory{Run: *service(1, 1, 3), Epoch: rapid.Uint64Range(0, 3).Draw(t, "epoch"), Guard: 1, Phase: fact.Running}
	for i := range world.mayRun {
		p := rapid.SampledFrom([]PartState{Down, Up, Dirty, Dead, Unknown}).Draw(t, "part")
		m.Parts = append(m.Parts, p)
		world.mayRun[i] = p != Down
	}
	return Restore(m), world
}

// drawNews changes what step sees, at random.
func drawNews(t *rapid.T, in *Input, st *State, world *fate) {
	passed := time.Duration(rapid.SampledFrom([]int{0, 1, 30, 200, 1500, 40_000, 700_000}).Draw(t, "ms")) * time.Millisecond
	in.Now, in.Boot = in.Now.Add(passed), in.Boot+passed
	switch rapid.IntRange(0, 9).Draw(t, "news") {
	case 0, 1, 2:
		in.Hold = Hold{Known: true, Guard: rapid.Uint64Range(1, 2).Draw(t, "guard")}
		if rapid.IntRange(0, 4).Draw(t, "held") > 0 {
			in.Hold.Held, in.Hold.Epoch = true, rapid.Uint64Range(1, 4).Draw(t, "epoch")
			in.Hold.Until = in.Boot + time.Duration(rapid.IntRange(-50, 60_000).Draw(t, "left"))*time.Millisecond
		}
	case 3, 4:
		in.Wish = drawWish(t)
	case 5, 6, 7, 8:
		if st.busy.Kind == None {
			break
		}
		res := &Result{}
		switch rapid.IntRange(0, 3).Draw(t, "outcome") {
		case 0:
			res.Err = errTest
		case 1:
			res.Err, res.Refused = errTest, st.busy.Kind == Start
		}
		if st.busy.Kind == Probe {
			// A probe is right: it never misses what runs.
			res.Seen.Running = world.mayRun[st.busy.Part] && rapid.Bool().Draw(t, "runs")
			if res.Err == nil && !res.Seen.Running && st.expect[st.busy.Part] == Unknown {
				world.mayRun[st.busy.Part] = false
			}
			res.Seen.Epoch = rapid.Uint64Range(0, 4).Draw(t, "seen epoch")
		}
		if st.busy.Kind == Stop && res.Err == nil {
			world.mayRun[st.busy.Part] = false
		}
		world.busy = Operation{}
		in.Done = res
	case 9:
		part := rapid.IntRange(0, 2).Draw(t, "dies")
		in.Died = []Death{{Part: part, Ended: rapid.Bool().Draw(t, "by itself"), Why: "test"}}
	}
}

func drawWish(t *rapid.T) Wish {
	w := Wish{Rank: rapid.IntRange(-1, 1).Draw(t, "rank"), Placed: rapid.Int64Range(1, 9).Draw(t, "placed")}
	switch rapid.IntRange(0, 9).Draw(t, "wish") {
	case 0:
		w.Gone = true
	case 1:
	default:
		// Two generations differ in parts; the number of parts differs too.
		generation := rapid.Uint64Range(1, 2).Draw(t, "generation")
		w.Service = service(rapid.Uint32Range(1, 2).Draw(t, "id"), generation, int(4-generation))
		w.Service.Deleting = rapid.IntRange(0, 9).Draw(t, "deleting") == 0
		w.Service.Spec.Stopped = rapid.IntRange(0, 9).Draw(t, "stopped") == 0
		w.Service.Spec.Failover.Restarts = new(rapid.IntRange(0, 3).Draw(t, "restarts"))
	}
	w.FirstAlive, w.Leaving = rapid.Bool().Draw(t, "first alive"), rapid.IntRange(0, 9).Draw(t, "leaving") == 0
	w.Empty = w.Rank == -1 && rapid.Bool().Draw(t, "empty")
	return w
}

func check(t *rapid.T, st, next State, in Input, d Decision, world *fate) {
	if d.Op.Kind != None && world.busy.Kind != None {
		t.Fatalf("%+v while %+v is in flight", d.Op, world.busy)
	}
	left := in.Hold.Until - in.Boot
	held := in.Hold.Known && in.Hold.Held
	switch d.Op.Kind {
	case Start:
		if !held || in.Hold.Epoch != d.Op.Epoch || in.Hold.Guard != next.Guard || left <= startAhead {
			t.Fatalf("start under epoch %d of guard %d, but the hold is %+v at %v", d.Op.Epoch, next.Guard, in.Hold, in.Boot)
		}
		for i, may := range world.mayRun {
			if i >= d.Op.Part && may {
				t.Fatalf("start of part %d while part %d may run", d.Op.Part, i)
			}
			if i < d.Op.Part && !may {
				t.Fatalf("start of part %d before part %d", d.Op.Part, i)
			}
		}
		world.mayRun[d.Op.Part] = true
	case Stop:
		for i, may := range world.mayRun {
			if may && i > d.Op.Part {
				t.Fatalf("stop of part %d before part %d", d.Op.Part, i)
			}
		}
	case Release:
		if slices.Contains(world.mayRun, true) {
			t.Fatalf("release while parts may run: %v", world.mayRun)
		}
		return
	case None, Probe, Promote, Demote:
	}
	if d.Op.Kind != None {
		world.busy = d.Op
	}
	// Whatever may run without a lease is being stopped, or soon tried again.
	lost := in.Hold.Known && (!held || in.Hold.Epoch != next.Epoch || left <= StopAhead)
	if lost && slices.Contains(world.mayRun, true) {
		if !next.force && !next.unsure() {
			t.Fatalf("parts %v may run without a lease, and are not stopped by force: %+v", world.mayRun, next)
		}
		if next.busy.Kind == None && d.Wake == 0 {
			t.Fatalf("parts %v may run without a lease, and nothing happens: %+v", world.mayRun, next)
		}
		if next.busy.Kind == Start && !next.canceled {
			t.Fatalf("a start goes on without a lease")
		}
	}
}

func TestHowLongTheLastStartTook(t *testing.T) {
	// started is a service of two parts whose start took 3 s.
	started := func(t *testing.T) *desk {
		d := newDesk(t, 2).hold(5).step()
		d.pass(2 * time.Second).done(nil)
		return d.pass(time.Second).done(nil).want("", fact.Running)
	}
	tests := []struct {
		name  string
		after func(*desk)
		want  time.Duration
	}{
		{"is the time to the last part", func(*desk) {}, 3 * time.Second},
		{"stays while it runs", func(d *desk) { d.pass(time.Hour).step() }, 3 * time.Second},
		{"is not that of a restart of the upper parts", func(d *desk) {
			d.dies(1).done(nil).want("start 1", fact.Starting)
			d.pass(time.Second).done(nil).want("", fact.Running)
		}, 3 * time.Second},
		{"is that of a restart of all parts", func(d *desk) {
			d.dies(0).done(nil).want("stop 0 force", fact.Backoff)
			d.done(nil).want("start 0", fact.Starting)
			d.pass(time.Second).done(nil)
			d.pass(time.Second).done(nil).want("", fact.Running)
		}, 2 * time.Second},
		{"includes a part that took longer than it may", func(d *desk) {
			d.dies(0).done(nil)
			d.done(nil).want("start 0", fact.Starting)
			d.pass(d.out.Limit+overdue).step().want("", fact.Stuck)
			d.done(nil).want("start 1", fact.Starting)
			d.pass(time.Second).done(nil).want("", fact.Running)
		}, spec.DefaultStartTimeout + overdue + time.Second},
		{"does not begin with a start that was given up", func(d *desk) {
			d.dies(0).done(nil)
			d.done(nil).want("start 0", fact.Starting)
			d.pass(time.Second).done(errTest).want("stop 0", fact.Backoff)
			d.done(nil)
			d.pass(time.Minute).step().want("start 0", fact.Starting).done(nil)
			d.pass(time.Second).done(nil).want("", fact.Running)
		}, time.Second},
		{"is forgotten with the service", func(d *desk) {
			d.in.Wish.Service = service(2, 2, 2)
			d.step().want("stop 1", fact.Stopping).done(nil)
			d.done(nil).want("release 5", fact.Waiting)
		}, 0},
		{"outlives the agent", func(d *desk) {
			d.st = Restore(d.st.Memory)
			d.step().want("probe 0", fact.Running)
			d.saw(instance.Observed{Running: true, Epoch: 5})
			d.saw(instance.Observed{Running: true, Epoch: 5}).want("", fact.Running)
		}, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := started(t)
			tt.after(d)
			if d.st.Took != tt.want {
				t.Errorf("got %v, want %v", d.st.Took, tt.want)
			}
		})
	}
	t.Run("is not known of a service that another agent started", func(t *testing.T) {
		d := newDesk(t, 1)
		d.st = Unseen(*d.in.Wish.Service)
		d.hold(5).step().saw(instance.Observed{Running: true, Epoch: 5}).want("", fact.Running)
		if d.st.Took != 0 {
			t.Errorf("got %v, want 0", d.st.Took)
		}
	})
}

func TestWhatIsMissingIsNotTriedAgainOnTheSpot(t *testing.T) {
	lacks := func(d *desk) *desk {
		d.in.Done = &Result{Err: errTest, Missing: "the program /bin/v1"}
		return d.step()
	}
	d := newDesk(t, 1).hold(5).step()
	lacks(d).want("stop 0", fact.Stopping)
	d.done(nil).want("release 5", fact.Failed)
	if got := d.st.FailedUntil.Sub(d.in.Now); got != firstMissing {
		t.Errorf("it is banned for %v, want %v", got, firstMissing)
	}
	want := []fact.Failure{{At: d.in.Now, Part: "p0", Why: errTest.Error(), Missing: "the program /bin/v1"}}
	if diff := cmp.Diff(want, d.st.Failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}

	// The next time it waits for twice as long, but never longer than the window.
	for _, want := range []time.Duration{2 * firstMissing, 4 * firstMissing, spec.DefaultWithin, spec.DefaultWithin} {
		d.in.Hold.Held = false
		d.pass(d.st.FailedUntil.Sub(d.in.Now)).step()
		d.hold(d.st.released+1).step().want("start 0", fact.Starting)
		lacks(d)
		d.done(nil)
		if got := d.st.FailedUntil.Sub(d.in.Now); got != want {
			t.Errorf("it is banned for %v, want %v", got, want)
		}
	}

	// A changed spec is tried at once.
	d.in.Hold.Held = false
	d.in.Wish.Service = service(1, 2, 1)
	d.step()
	d.hold(d.st.released+1).step().want("start 0", fact.Starting)
	if d.st.Missed != 0 {
		t.Errorf("%d tries are remembered of the old spec", d.st.Missed)
	}
}

func TestWhatAPartBelowMayBringIsTriedAgainOnTheSpot(t *testing.T) {
	d := newDesk(t, 2).hold(5).step()
	d.done(nil).want("start 1", fact.Starting)
	d.in.Done = &Result{Err: errTest, Missing: "the folder /mnt/data"}
	d.step()
	d.done(nil).want("start 1", fact.Starting)
}
