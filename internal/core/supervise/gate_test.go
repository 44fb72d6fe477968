package supervise

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// street is a database with roles, an application in copies after its primary, and
// a proxy after that.
type street struct {
	services map[spec.ServiceName]*record.Service
	seats    map[spec.ServiceName][]Seat
	placed   map[spec.ServiceName]bool
	unknown  bool
}

func newStreet(after ...spec.After) *street {
	s := &street{
		services: map[spec.ServiceName]*record.Service{}, seats: map[spec.ServiceName][]Seat{},
		placed: map[spec.ServiceName]bool{"db": true, "app": true, "proxy": true},
	}
	part := []spec.Part{{Name: "p", Exec: &spec.Exec{Command: []string{"/bin/p"}}}}
	s.services["db"] = &record.Service{Spec: spec.Service{Name: "db", Parts: part, Copies: &spec.Copies{Count: 2, Primaries: 1}}}
	s.services["app"] = &record.Service{Spec: spec.Service{Name: "app", Parts: part, Copies: &spec.Copies{Count: 2}, After: after}}
	s.services["proxy"] = &record.Service{Spec: spec.Service{Name: "proxy", Parts: part, After: []spec.After{{Service: "app"}}}}
	return s
}

func (s *street) put(name spec.ServiceName, node spec.NodeName, phase fact.Phase, change ...func(*Seat)) *street {
	seat := Seat{Node: node, Meant: true, Instance: fact.Instance{Service: name, Phase: phase, Since: time.UnixMilli(1)}}
	for _, c := range change {
		c(&seat)
	}
	s.seats[name] = append(s.seats[name], seat)
	return s
}

func isPrimary(epoch uint64) func(*Seat) {
	return func(s *Seat) { s.Role, s.Epoch = spec.RolePrimary, epoch }
}

func leaving(s *Seat)            { s.Leaving = true }
func yielding(s *Seat)           { s.Yielding = true }
func goes(s *Seat)               { s.Meant = false }
func resting(s *Seat)            { s.Maintenance = true }
func under(s string) func(*Seat) { return func(seat *Seat) { seat.Under = s } }

func (s *street) gates(name spec.ServiceName, node spec.NodeName) Gates {
	return NewTown(s.services, s.seats, s.placed, !s.unknown).Gates(name, node, 0)
}

func TestGates(t *testing.T) {
	primaryFirst := spec.After{Service: "db", Role: spec.RolePrimary}
	tests := []struct {
		name   string
		street *street
		of     spec.ServiceName
		want   Gates
	}{
		{"it waits for what has not started", newStreet(spec.After{Service: "db"}), "app", Gates{Wait: "db to run", Yield: "db stops, and it runs after that", Under: "db 0.0"}},
		{"a replica does not do where a primary is asked for", newStreet(primaryFirst).put("db", "b", fact.Running), "app", Gates{Wait: "db to have a primary", Yield: "db stops, and it runs after that", Under: "db 0.0"}},
		{
			"what has died under maintenance lets nothing start, and stops nothing",
			newStreet(spec.After{Service: "db"}).put("db", "b", fact.Backoff, resting), "app",
			Gates{Wait: "db to run", Under: "db 0.0"},
		},
		{
			"what waits there for another try stops what is after it",
			newStreet(spec.After{Service: "db"}).put("db", "b", fact.Backoff), "app",
			Gates{Wait: "db to run", Yield: "db stops, and it runs after that", Under: "db 0.0"},
		},
		{"nothing holds it once that runs", newStreet(primaryFirst).put("db", "b", fact.Running, isPrimary(7)), "app", Gates{Under: "db 7.1"}},
		{"it stops before what is about to stop", newStreet(primaryFirst).put("db", "b", fact.Running, isPrimary(7), leaving), "app", Gates{Wait: "db to have a primary", Yield: "db stops, and it runs after that", Under: "db 0.0"}},
		{"and before what is about to be demoted", newStreet(primaryFirst).put("db", "b", fact.Running, isPrimary(7), yielding), "app", Gates{Wait: "db to have a primary", Yield: "db stops, and it runs after that", Under: "db 0.0"}},
		{"what holds for the start alone stops nothing", newStreet(spec.After{Service: "db", OneWay: true}), "app", Gates{Wait: "db to run"}},
		{"what is only for starts at once waits for a while", newStreet(spec.After{Service: "db", Optional: true}), "app", Gates{Wait: "db to run", WaitMost: atOnce}},
		{"and not for what has failed", newStreet(spec.After{Service: "db", Optional: true}).put("db", "b", fact.Failed), "app", Gates{}},
		{"a service that is not applied does not count", newStreet(spec.After{Service: "other"}), "app", Gates{}},
		{"until it has a place, which may be heard of first", func() *street { s := newStreet(spec.After{Service: "other"}); s.placed["other"] = true; return s }(), "app", Gates{Wait: "other to run", WaitMost: atOnce}},
		{"what is not known stops nothing", func() *street { s := newStreet(spec.After{Service: "db"}); s.unknown = true; return s }(), "app", Gates{Wait: "db to run", Under: "db 0.0"}},
		{
			"what was started after another life than runs now serves nobody",
			newStreet(primaryFirst).put("db", "b", fact.Running, isPrimary(8)).put("app", "a", fact.Running, under("db 7.1")),
			"proxy",
			Gates{Wait: "app to run", Yield: "app stops, and it runs after that"},
		},
		{
			"what was started after the life that runs does",
			newStreet(primaryFirst).put("db", "b", fact.Running, isPrimary(7)).put("app", "a", fact.Running, under("db 7.1")),
			"proxy",
			Gates{},
		},
		{
			"a stop waits for those that depend on it, and for as long as they may take",
			newStreet(primaryFirst).put("db", "b", fact.Running, isPrimary(7)).put("app", "a", fact.Running),
			"db",
			Gates{HeldRole: "app", HoldFor: 2*spec.DefaultStopTimeout + holdSlack},
		},
		{
			"one copy of several goes without waiting",
			newStreet().put("app", "a", fact.Running).put("app", "b", fact.Running).put("proxy", "c", fact.Running),
			"app",
			Gates{Held: "proxy", HoldFor: spec.DefaultStopTimeout + holdSlack},
		},
		{
			"but not if the other goes too",
			newStreet().put("app", "a", fact.Running).put("app", "b", fact.Running, goes).put("proxy", "c", fact.Running),
			"app",
			Gates{Held: "proxy", HeldCopy: "proxy", HoldFor: spec.DefaultStopTimeout + holdSlack},
		},
		{
			"nobody waits for what is left alone for maintenance",
			newStreet().put("app", "a", fact.Running).put("proxy", "c", fact.Running, resting), "app",
			Gates{},
		},
		{"nor for what has stopped", newStreet().put("app", "a", fact.Running).put("proxy", "c", fact.Waiting), "app", Gates{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.street.gates(tt.of, "a")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAStartWaitsAndKeepsItsLease(t *testing.T) {
	d := newDesk(t, 1).hold(5)
	d.in.Wish.Gates.Wait = "db to run"
	d.step().want("", fact.Waiting)
	if d.st.Waits() != "db to run" || d.st.Epoch != 5 {
		t.Errorf("it waits for %q under epoch %d", d.st.Waits(), d.st.Epoch)
	}
	d.pass(time.Hour).step().want("", fact.Waiting)
	d.in.Wish.Gates = Gates{Under: "db 7.1"}
	d.step().want("start 0", fact.Starting).done(nil).want("", fact.Running)

	// It stops with what it is after, and starts again under the same lease.
	d.in.Wish.Gates = Gates{Wait: "db to run", Yield: "db stops, and it runs after that"}
	d.step().want("stop 0", fact.Stopping).done(nil).want("", fact.Waiting)
	d.in.Wish.Gates = Gates{Under: "db 8.1"}
	d.step().want("start 0", fact.Starting)
}

func TestWhatWasStartedAnewUnnoticedIsFollowed(t *testing.T) {
	d := newDesk(t, 1).hold(5)
	d.in.Wish.Gates.Under = "db 7.1"
	d.step().done(nil).want("", fact.Running)
	d.in.Wish.Gates.Under = "db 7.2"
	d.step().want("stop 0", fact.Stopping).done(nil).want("start 0", fact.Starting)
	if d.done(nil); d.st.Under != "db 7.2" {
		t.Errorf("it runs after %q", d.st.Under)
	}
}

func TestNothingStopsForWantOfAnOrder(t *testing.T) {
	d := newDesk(t, 1).hold(5)
	d.in.Wish.Gates.Under = "db 7.1"
	d.step().done(nil).want("", fact.Running)
	d.in.Wish.Gates = Gates{} // the order is not known yet, or there is none any more
	d.step().want("", fact.Running)
	d.in.Wish.Gates.Under = "db 7.1"
	d.step().want("", fact.Running)
}

func TestAStartThatWaitsForAWhileOnly(t *testing.T) {
	d := newDesk(t, 1).hold(5)
	d.in.Wish.Gates = Gates{Wait: "db to run", WaitMost: atOnce}
	d.step().want("", fact.Waiting)
	d.pass(atOnce-time.Millisecond).step().want("", fact.Waiting)
	d.pass(time.Millisecond).step().want("start 0", fact.Starting)
}

// What is waited for may change while it waits. Each wait has its own time.
func TestADeadlineIsThatOfOneWait(t *testing.T) {
	db := Gates{Wait: "db to run", WaitMost: 15 * time.Second}
	twin := Gates{Wait: "copy 1 to stop on b", WaitMost: time.Minute}
	foe := Gates{Wait: "foe to stop here"}
	type stage struct {
		gates Gates
		lasts time.Duration
	}
	tests := []struct {
		name   string
		before []stage
		last   Gates
		want   time.Duration
	}{
		{"a longer one after a shorter one", []stage{{db, 10 * time.Second}}, twin, time.Minute},
		{"a shorter one after a longer one", []stage{{twin, 10 * time.Second}}, db, 15 * time.Second},
		{"one that has no end between two", []stage{{twin, 50 * time.Second}, {foe, time.Hour}}, twin, time.Minute},
		{"the same one goes on", []stage{{db, 10 * time.Second}}, db, 5 * time.Second},
		{"more time for the same one does not count", []stage{{db, 10 * time.Second}}, Gates{Wait: db.Wait, WaitMost: time.Hour}, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, 1).hold(5)
			for _, s := range tt.before {
				d.in.Wish.Gates = s.gates
				d.step().want("", fact.Waiting).pass(s.lasts)
			}
			d.in.Wish.Gates = tt.last
			d.step().want("", fact.Waiting).pass(tt.want-time.Millisecond).step().want("", fact.Waiting)
			d.pass(time.Millisecond).step().want("start 0", fact.Starting)
		})
	}
}

func TestAWaitBeginsAnewWithTheLease(t *testing.T) {
	d := newDesk(t, 1).hold(5)
	d.in.Wish.Gates = Gates{Wait: "db to run", WaitMost: atOnce}
	d.step().want("", fact.Waiting)
	d.in.Hold.Held = false
	d.pass(time.Hour).step().hold(6).step().want("", fact.Waiting)
	d.pass(atOnce).step().want("start 0", fact.Starting)
}

func TestAPlannedStopWaitsForWhatDependsOnIt(t *testing.T) {
	begin := func() *desk {
		d := running(t, 1)
		d.notes = nil
		d.in.Wish.Gates = Gates{Held: "app", HoldFor: time.Minute}
		d.in.Wish.Service.Spec.Stopped = true
		return d.step().want("", fact.Running)
	}
	t.Run("until that has stopped", func(t *testing.T) {
		d := begin()
		if !d.st.Leaving() || d.st.Waits() != "app to stop" {
			t.Errorf("leaving %v, waits for %q", d.st.Leaving(), d.st.Waits())
		}
		d.in.Wish.Gates = Gates{}
		d.pass(time.Second).step().want("stop 0", fact.Stopping)
		d.in.Wish.Gates = Gates{Held: "app", HoldFor: time.Minute} // too late
		d.done(nil).want("release 5", fact.Idle)
	})
	t.Run("but not for ever", func(t *testing.T) {
		d := begin()
		d.pass(time.Minute).step().want("stop 0", fact.Stopping)
		if diff := cmp.Diff([]event.Kind{event.ServiceWaited}, d.notes); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("and not at all without a lease", func(t *testing.T) {
		d := begin()
		d.in.Hold.Held = false
		d.step().want("stop 0 force", fact.Stopping)
	})
	t.Run("or if it is wanted again", func(t *testing.T) {
		d := begin()
		d.in.Wish.Service.Spec.Stopped = false
		d.step().want("", fact.Running)
		if d.st.Leaving() {
			t.Error("it is leaving still")
		}
	})
}

func TestADemotionWaitsForWhatIsAfterThePrimary(t *testing.T) {
	d := primary(t)
	d.in.Wish.Gates = Gates{HeldRole: "app", HoldFor: time.Minute}
	d.in.Wish.Right, d.in.Wish.Placed = Right{Rank: 1, FirstAlive: true}, 11
	d.step().want("", fact.Running)
	if !d.st.Yielding() || d.st.Leaving() {
		t.Errorf("yielding %v, leaving %v", d.st.Yielding(), d.st.Leaving())
	}
	d.in.Wish.Gates = Gates{}
	d.step().want("stop 1", fact.Running)
}

// A copy that differs from the others goes from one node to another: it starts there
// when it has stopped here, or could not be stopped in time.
func TestANumberedCopyWaitsForItself(t *testing.T) {
	number := func(n int) func(*Seat) { return func(s *Seat) { s.Copy = n } }
	wait := Gates{Wait: "copy 3 to stop on a", WaitMost: 15 * time.Second}
	tests := []struct {
		name  string
		phase fact.Phase
		with  []func(*Seat)
		want  Gates
	}{
		{"it runs where it is to go from", fact.Running, []func(*Seat){number(3), goes}, wait},
		{"it stops there", fact.Stopping, []func(*Seat){number(3), goes}, wait},
		{"it does not stop there, which is not waited for without end", fact.Stuck, []func(*Seat){number(3), goes}, wait},
		{"it has stopped there", fact.Idle, []func(*Seat){number(3), goes}, Gates{}},
		{"it is to be there too", fact.Running, []func(*Seat){number(3)}, Gates{}},
		{"it is left there for maintenance", fact.Running, []func(*Seat){number(3), goes, resting}, Gates{}},
		{"another one is there", fact.Running, []func(*Seat){number(2), goes}, Gates{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStreet()
			s.services["app"].Spec.Copies = &spec.Copies{Count: 3, Unique: true}
			delete(s.services, "proxy")
			s.put("app", "a", tt.phase, tt.with...)
			if !Orders(s.services) {
				t.Error("nobody looks at what others do elsewhere")
			}
			got := NewTown(s.services, s.seats, s.placed, true).Gates("app", "b", 3)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if got := NewTown(s.services, s.seats, s.placed, true).Gates("app", "a", 3); got != (Gates{}) {
				t.Errorf("it waits for itself where it is: %+v", got)
			}
		})
	}
}
