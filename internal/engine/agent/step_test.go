package agent

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
	st    state
	in    input
	out   decision
	notes []event.Kind
}

const deskGuard = 7

func newDesk(t *testing.T, parts int) *desk {
	d := &desk{t: t, st: state{phase: fact.Idle}}
	d.in.now = time.Unix(1_000_000, 0)
	d.in.boot = time.Hour
	d.in.wish = wish{service: service(1, 1, parts), placed: 10, rank: 0}
	d.in.hold = hold{known: true, guard: deskGuard}
	return d
}

func (d *desk) hold(epoch uint64) *desk {
	d.in.hold.held, d.in.hold.epoch, d.in.hold.until = true, epoch, d.in.boot+time.Second
	return d
}

// pass lets time pass, with the lease renewed.
func (d *desk) pass(t time.Duration) *desk {
	d.in.now, d.in.boot = d.in.now.Add(t), d.in.boot+t
	if d.in.hold.held {
		d.in.hold.until = d.in.boot + time.Second
	}
	return d
}

func (d *desk) step() *desk {
	d.st, d.out = step(d.st, d.in)
	d.in.done, d.in.died = nil, nil
	for _, n := range d.out.notes {
		d.notes = append(d.notes, n.kind)
	}
	return d
}

func (d *desk) done(err error) *desk {
	d.in.done = &result{err: err}
	return d.step()
}

func (d *desk) saw(o instance.Observed) *desk {
	d.in.done = &result{seen: o}
	return d.step()
}

func (d *desk) dies(part int) *desk {
	d.in.died = []death{{part: part, ended: true, why: "exit status 1"}}
	return d.step()
}

// want checks the last answer.
func (d *desk) want(op string, phase fact.Phase) *desk {
	d.t.Helper()
	got := string(d.out.op.kind)
	switch d.out.op.kind {
	case opStart, opStop, opProbe:
		got += fmt.Sprint(" ", d.out.op.part)
	case opRelease:
		got += fmt.Sprint(" ", d.out.op.epoch)
	case opNone:
	}
	if d.out.op.force {
		got += " force"
	}
	if d.out.cancel {
		got += "cancel"
	}
	if got != op || d.st.phase != phase {
		d.t.Fatalf("got %q in phase %s, want %q in phase %s\nstate %+v", got, d.st.phase, op, phase, d.st)
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
	d.in.hold.until = d.in.boot + startAhead
	d.step().want("", fact.Starting)
	if d.out.wake == 0 {
		t.Error("nothing wakes it")
	}
	d.hold(5).step().want("start 0", fact.Starting)
}

func TestStopsByForceWhenTheLease(t *testing.T) {
	tests := []struct {
		name string
		lose func(*desk)
	}{
		{"is no longer shown", func(d *desk) { d.in.hold.held = false }},
		{"has passed its end", func(d *desk) { d.in.boot = d.in.hold.until - stopAhead }},
		{"is another one by now", func(d *desk) { d.in.hold.epoch = 6 }},
		{"was of a guard that is no more", func(d *desk) { d.in.hold.guard = 8 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := running(t, 2)
			tt.lose(d)
			d.step().want("stop 1 force", fact.Stopping)
			d.done(nil).want("stop 0 force", fact.Stopping)
			d.in.hold.held = false
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
			stopped := *d.in.wish.service
			stopped.Spec.Stopped = true
			d.in.wish.service = &stopped
			d.step().want("stop 0", fact.Stopping)
			tt.lose(d)
			d.step().want("cancel", fact.Stopping)
			d.done(errTest).want("stop 0 force", fact.Stopping)
		})
	}
}

func TestLeaseThatCannotBeSeenYetChangesNothing(t *testing.T) {
	d := running(t, 1)
	d.in.hold = hold{}
	d.step().want("", fact.Running)
}

func TestRestartsOnTheSpotThenGivesUp(t *testing.T) {
	d := running(t, 2)
	d.in.wish.service.Spec.Failover.Restarts = new(2)
	d.st.run = *d.in.wish.service

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
	d.in.hold.held = false
	d.step().want("", fact.Failed)
	d.hold(6).step().want("release 6", fact.Failed)
	d.in.hold.held = false
	d.pass(spec.DefaultWithin).step().want("", fact.Waiting)
	d.hold(7).step().want("start 0", fact.Starting)
	if n := len(d.st.failures); n != 0 {
		t.Errorf("%d failures are remembered after the ban, want none", n)
	}
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
			d.in.wish.service = next
			d.step().want(tt.op, tt.phase)
			if tt.op == "" && d.st.run.Generation != 2 {
				t.Errorf("generation %d runs, want 2", d.st.run.Generation)
			}
		})
	}
}

func TestChangedPartsStartAgainUnderTheSameLease(t *testing.T) {
	d := running(t, 2)
	d.in.wish.service = service(1, 2, 1)
	d.step().want("stop 1", fact.Stopping)
	d.done(nil).want("stop 0", fact.Stopping)
	d.done(nil).want("start 0", fact.Starting)
	d.done(nil).want("", fact.Running)
	if d.st.run.Generation != 2 || d.st.epoch != 5 {
		t.Errorf("generation %d under epoch %d, want 2 under 5", d.st.run.Generation, d.st.epoch)
	}
}

func TestServiceOfTheSameNameStartsUnderALeaseOfItsOwn(t *testing.T) {
	d := running(t, 1)
	d.in.wish.service = service(2, 2, 1)
	d.step().want("stop 0", fact.Stopping)
	d.done(nil).want("release 5", fact.Waiting)
	d.step().want("", fact.Waiting)
	d.hold(9).step().want("start 0", fact.Starting)
}

func TestPlannedMove(t *testing.T) {
	away := func(d *desk) { d.in.wish.rank, d.in.wish.firstAlive = 1, true }
	tests := []struct {
		name   string
		change func(*desk)
		stays  bool
	}{
		{"stops and then gives the lease back", func(d *desk) { away(d); d.in.wish.placed = 11 }, false},
		{"waits while the other node is not alive", func(d *desk) { away(d); d.in.wish.placed = 11; d.in.wish.firstAlive = false }, true},
		{"is not read from a placement that is older than the takeover", func(d *desk) { away(d) }, true},
		{"to nowhere stops as well", func(d *desk) { d.in.wish.rank, d.in.wish.empty, d.in.wish.placed = -1, true, 11 }, false},
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
			if d.out.op != (operation{kind: opRelease, epoch: 5}) {
				t.Fatalf("got %+v, want a release", d.out.op)
			}
			// Until the guard has heard it, the lease is not taken again.
			d.step().want("", d.st.phase)
			d.pass(releasePause).step().want("release 5", d.st.phase)
		})
	}
}

func TestPartThatDoesNotStopKeepsTheLease(t *testing.T) {
	d := running(t, 2)
	d.in.wish.gone, d.in.wish.service = true, nil
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
	d.in.wish.gone, d.in.wish.service = true, nil
	d.step().want("stop 0", fact.Stopping)
	d.pass(d.out.limit).step().want("", fact.Stopping)
	d.pass(overdue).step().want("", fact.Stuck)
	d.done(nil).want("release 5", fact.Idle)
}

// restored is a desk for an agent that starts with a journal.
func restored(t *testing.T, parts ...partState) *desk {
	t.Helper()
	d := newDesk(t, len(parts))
	e := entry{Service: *d.in.wish.service, Parts: parts, Epoch: 5, Guard: deskGuard, Placed: 10, Phase: fact.Running}
	d.st = e.restore()
	return d.hold(5)
}

func TestAgentThatStartsAgain(t *testing.T) {
	runs := instance.Observed{Running: true, Epoch: 5}
	t.Run("adopts what runs under a lease that is still held", func(t *testing.T) {
		d := restored(t, partUp, partUp).step().want("probe 0", fact.Running)
		d.saw(runs).want("probe 1", fact.Running)
		d.saw(runs).want("", fact.Running)
		if len(d.notes) != 0 {
			t.Errorf("told %v, want nothing", d.notes)
		}
	})
	t.Run("waits with its judgement until the guard is heard", func(t *testing.T) {
		d := restored(t, partUp)
		d.in.hold = hold{}
		d.step().want("probe 0", fact.Running)
		d.saw(runs).want("", fact.Running)
		d.in.hold = hold{known: true, guard: deskGuard}
		d.step().want("stop 0 force", fact.Stopping)
	})
	t.Run("stops by force what runs without a lease", func(t *testing.T) {
		d := restored(t, partUp)
		d.in.hold.held = false
		d.step().want("probe 0", fact.Running)
		d.saw(runs).want("stop 0 force", fact.Stopping)
		d.done(nil).want("", fact.Waiting)
	})
	t.Run("stops by force what runs under an older epoch", func(t *testing.T) {
		d := restored(t, partUp).hold(6)
		d.step()
		d.saw(runs).want("stop 0 force", fact.Stopping)
		d.done(nil).want("start 0", fact.Starting)
		if d.out.op.epoch != 6 {
			t.Errorf("starts under epoch %d, want 6", d.out.op.epoch)
		}
	})
	t.Run("restarts what ended meanwhile and counts it", func(t *testing.T) {
		d := restored(t, partUp, partUp).step()
		d.saw(runs).want("probe 1", fact.Running)
		d.saw(instance.Observed{}).want("stop 1 force", fact.Backoff)
		d.done(nil).want("start 1", fact.Starting)
		if len(d.st.failures) != 1 {
			t.Errorf("%d failures, want 1", len(d.st.failures))
		}
	})
	t.Run("starts again what was being started", func(t *testing.T) {
		d := restored(t, partUp, partDirty).step()
		d.saw(runs)
		d.saw(runs).want("stop 1", fact.Backoff)
		d.done(nil).want("start 1", fact.Starting)
	})
	t.Run("takes what cannot be probed for running", func(t *testing.T) {
		d := restored(t, partUp).step()
		for range probeTries - 1 {
			d.done(errTest).want("", fact.Running)
			d.pass(retryPause).step().want("probe 0", fact.Running)
		}
		d.done(errTest).want("stop 0", fact.Backoff)
	})
	t.Run("goes on without the store", func(t *testing.T) {
		d := restored(t, partUp)
		d.in.wish = wish{rank: -1}
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
			d.st = unknown(*d.in.wish.service)
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
		{"if the service is stopped", func(d *desk) { d.in.wish.service.Spec.Stopped = true }, "release 5"},
		{"if this node is not in the list", func(d *desk) { d.in.wish.rank = -1 }, "release 5"},
		{"if this node leaves the cell", func(d *desk) { d.in.wish.leaving = true }, "release 5"},
		{"if the service is gone", func(d *desk) { d.in.wish = wish{gone: true, rank: -1} }, "release 5"},
		{"but not if nothing is known of the service", func(d *desk) { d.in.wish = wish{rank: -1} }, ""},
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
	busy   operation
}

// TestNothingUnsafeIsEverWanted drives step with arbitrary news. It never wants
// a start without a valid lease, nor a release while a part may run.
func TestNothingUnsafeIsEverWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := input{now: time.Unix(1_000_000, 0), boot: time.Hour, wish: wish{rank: -1}}
		st := state{phase: fact.Idle}
		world := fate{mayRun: make([]bool, 3)}
		if rapid.Bool().Draw(t, "restored") {
			st, world = drawRestored(t)
		}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			drawNews(t, &in, &st, &world)
			before := st.clone()
			next, d := step(st, in)
			if again, d2 := step(st, in); !cmp.Equal(d, d2, allowAll) || !cmp.Equal(next, again, allowAll) {
				t.Fatal("the same question got two answers")
			}
			if diff := cmp.Diff(before, st, allowAll); diff != "" {
				t.Fatalf("step changed its input:\n%s", diff)
			}
			check(t, st, next, in, d, &world)
			st, in.done, in.died = next, nil, nil
		}
	})
}

var allowAll = cmp.Exporter(func(reflect.Type) bool { return true })

func drawRestored(t *rapid.T) (state, fate) {
	world := fate{mayRun: make([]bool, 3)}
	e := entry{Service: *service(1, 1, 3), Epoch: rapid.Uint64Range(0, 3).Draw(t, "epoch"), Guard: 1, Phase: fact.Running}
	for i := range world.mayRun {
		p := rapid.SampledFrom([]partState{partDown, partUp, partDirty, partDead, partUnknown}).Draw(t, "part")
		e.Parts = append(e.Parts, p)
		world.mayRun[i] = p != partDown
	}
	return e.restore(), world
}

// drawNews changes what step sees, at random.
func drawNews(t *rapid.T, in *input, st *state, world *fate) {
	passed := time.Duration(rapid.SampledFrom([]int{0, 1, 30, 200, 1500, 40_000, 700_000}).Draw(t, "ms")) * time.Millisecond
	in.now, in.boot = in.now.Add(passed), in.boot+passed
	switch rapid.IntRange(0, 9).Draw(t, "news") {
	case 0, 1, 2:
		in.hold = hold{known: true, guard: rapid.Uint64Range(1, 2).Draw(t, "guard")}
		if rapid.IntRange(0, 4).Draw(t, "held") > 0 {
			in.hold.held, in.hold.epoch = true, rapid.Uint64Range(1, 4).Draw(t, "epoch")
			in.hold.until = in.boot + time.Duration(rapid.IntRange(-50, 60_000).Draw(t, "left"))*time.Millisecond
		}
	case 3, 4:
		in.wish = drawWish(t)
	case 5, 6, 7, 8:
		if st.busy.kind == opNone {
			break
		}
		res := &result{}
		switch rapid.IntRange(0, 3).Draw(t, "outcome") {
		case 0:
			res.err = errTest
		case 1:
			res.err, res.refused = errTest, st.busy.kind == opStart
		}
		if st.busy.kind == opProbe {
			// A probe is right: it never misses what runs.
			res.seen.Running = world.mayRun[st.busy.part] && rapid.Bool().Draw(t, "runs")
			if res.err == nil && !res.seen.Running && st.expect[st.busy.part] == partUnknown {
				world.mayRun[st.busy.part] = false
			}
			res.seen.Epoch = rapid.Uint64Range(0, 4).Draw(t, "seen epoch")
		}
		if st.busy.kind == opStop && res.err == nil {
			world.mayRun[st.busy.part] = false
		}
		world.busy = operation{}
		in.done = res
	case 9:
		part := rapid.IntRange(0, 2).Draw(t, "dies")
		in.died = []death{{part: part, ended: rapid.Bool().Draw(t, "by itself"), why: "test"}}
	}
}

func drawWish(t *rapid.T) wish {
	w := wish{rank: rapid.IntRange(-1, 1).Draw(t, "rank"), placed: rapid.Int64Range(1, 9).Draw(t, "placed")}
	switch rapid.IntRange(0, 9).Draw(t, "wish") {
	case 0:
		w.gone = true
	case 1:
	default:
		// Two generations differ in parts; the number of parts differs too.
		generation := rapid.Uint64Range(1, 2).Draw(t, "generation")
		w.service = service(rapid.Uint32Range(1, 2).Draw(t, "id"), generation, int(4-generation))
		w.service.Deleting = rapid.IntRange(0, 9).Draw(t, "deleting") == 0
		w.service.Spec.Stopped = rapid.IntRange(0, 9).Draw(t, "stopped") == 0
		w.service.Spec.Failover.Restarts = new(rapid.IntRange(0, 3).Draw(t, "restarts"))
	}
	w.firstAlive, w.leaving = rapid.Bool().Draw(t, "first alive"), rapid.IntRange(0, 9).Draw(t, "leaving") == 0
	w.empty = w.rank == -1 && rapid.Bool().Draw(t, "empty")
	return w
}

func check(t *rapid.T, st, next state, in input, d decision, world *fate) {
	if d.op.kind != opNone && world.busy.kind != opNone {
		t.Fatalf("%+v while %+v is in flight", d.op, world.busy)
	}
	left := in.hold.until - in.boot
	held := in.hold.known && in.hold.held
	switch d.op.kind {
	case opStart:
		if !held || in.hold.epoch != d.op.epoch || in.hold.guard != next.guard || left <= startAhead {
			t.Fatalf("start under epoch %d of guard %d, but the hold is %+v at %v", d.op.epoch, next.guard, in.hold, in.boot)
		}
		for i, may := range world.mayRun {
			if i >= d.op.part && may {
				t.Fatalf("start of part %d while part %d may run", d.op.part, i)
			}
			if i < d.op.part && !may {
				t.Fatalf("start of part %d before part %d", d.op.part, i)
			}
		}
		world.mayRun[d.op.part] = true
	case opStop:
		for i, may := range world.mayRun {
			if may && i > d.op.part {
				t.Fatalf("stop of part %d before part %d", d.op.part, i)
			}
		}
	case opRelease:
		if slices.Contains(world.mayRun, true) {
			t.Fatalf("release while parts may run: %v", world.mayRun)
		}
		return
	case opNone, opProbe:
	}
	if d.op.kind != opNone {
		world.busy = d.op
	}
	// Whatever may run without a lease is being stopped, or soon tried again.
	lost := in.hold.known && (!held || in.hold.epoch != next.epoch || left <= stopAhead)
	if lost && slices.Contains(world.mayRun, true) {
		if !next.force && !next.unsure() {
			t.Fatalf("parts %v may run without a lease, and are not stopped by force: %+v", world.mayRun, next)
		}
		if next.busy.kind == opNone && d.wake == 0 {
			t.Fatalf("parts %v may run without a lease, and nothing happens: %+v", world.mayRun, next)
		}
		if next.busy.kind == opStart && !next.canceled {
			t.Fatalf("a start goes on without a lease")
		}
	}
}
