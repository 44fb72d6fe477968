package custody

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// A guard may win and lose a lease of which its agent, which stood still, never
// hears. What it cut off then is no primary, and a replica that starts later runs
// without the lease.
func TestAReplicaIsSparedAgainOnceAllWasCutOff(t *testing.T) {
	const second = time.Second
	gone := false
	b := Books{
		Duty:     &guardwire.Duty{Seeks: []guardwire.Seek{{Service: "db", ID: 3, Exclusive: true, TTL: second, Replica: true, Demoted: 7, Cgroups: []string{"/cg/db"}}}},
		Forsaken: map[spec.ServiceName]time.Duration{}, Primary: map[uint32]uint64{},
		Gone: func(spec.ServiceName) bool { return gone },
	}
	spared := func(now time.Duration, holds ...lease.Hold) bool { return b.Orders(now, holds, nil)[0].Spared }
	if !spared(second) {
		t.Error("a replica is cut off before there was a lease")
	}
	if spared(2*second, lease.Hold{ID: 3, Number: 9, Until: 3 * second}) {
		t.Error("what may be primary under a lease is spared")
	}
	if spared(4 * second) {
		t.Error("what may have been primary is spared when its lease ended")
	}
	gone = true
	b.Forsaken["db"] = 3 * second
	if spared(4 * second) {
		t.Error("what is forsaken is spared")
	}
	delete(b.Forsaken, "db")
	if !spared(5 * second) {
		t.Error("a replica is cut off though nothing was left of what may have been primary")
	}
	gone = false
	if !spared(6 * second) {
		t.Error("a replica that runs again is cut off")
	}
	b.Duty.Seeks[0].Replica = false
	if spared(7 * second) {
		t.Error("what may be primary is spared without a lease")
	}
}

// A service that is deleted and applied again has the lease that it had, and may begin
// as a replica.
func TestWhatWasPrimaryIsRememberedUntilTheDutyNamesItNoMore(t *testing.T) {
	const second = time.Second
	db := guardwire.Seek{Service: "db", ID: 3, Exclusive: true, TTL: second, Replica: true, Cgroups: []string{"/cg/db"}}
	b := Books{
		Duty:     &guardwire.Duty{Seeks: []guardwire.Seek{db}},
		Forsaken: map[spec.ServiceName]time.Duration{}, Primary: map[uint32]uint64{},
		Gone: func(spec.ServiceName) bool { return false },
	}
	spared := func(d guardwire.Duty, now time.Duration, holds ...lease.Hold) bool {
		d = b.KeepHeld(holds, d)
		b.Duty = &d
		return len(d.Seeks) > 0 && b.Orders(now, holds, nil)[0].Spared
	}
	held := lease.Hold{ID: 3, Number: 9, Until: 3 * second}
	named, unnamed := guardwire.Duty{Seeks: []guardwire.Seek{db}}, guardwire.Duty{}
	for _, tt := range []struct {
		name  string
		duty  guardwire.Duty
		holds []lease.Hold
		want  bool
	}{
		{"not under a lease", named, []lease.Hold{held}, false},
		{"not when the lease has ended", named, nil, false},
		{"nor under the next, which is held on to", named, []lease.Hold{held}, false},
		{"though it is named no more", unnamed, []lease.Hold{held}, false},
		{"until nothing holds it", unnamed, nil, false},
		{"then it begins as a replica", named, nil, true},
	} {
		if got := spared(tt.duty, 4*second, tt.holds...); got != tt.want {
			t.Errorf("%s: spared is %v", tt.name, got)
		}
	}
}

func TestALeaseIsGivenBackOnlyWhenNothingIsLeft(t *testing.T) {
	const second = time.Second
	gone := false
	b := Books{
		Duty: &guardwire.Duty{Seeks: []guardwire.Seek{
			{Service: "db", ID: 3, Exclusive: true, TTL: second, AgentLoss: 5 * second, Order: []uint8{0}},
			{Service: "web", ID: 4, Exclusive: true, TTL: second, AgentLoss: 9 * second, Order: []uint8{0}},
		}},
		Forsaken: map[spec.ServiceName]time.Duration{}, Primary: map[uint32]uint64{},
		Gone: func(spec.ServiceName) bool { return gone },
	}
	holds := []lease.Hold{{ID: 3, Number: 9, Until: 31 * second}, {ID: 4, Number: 9, Until: 31 * second}}
	for _, tt := range []struct {
		name  string
		alone time.Duration
		gone  bool
		up    []spec.ServiceName
		back  []Given
	}{
		{"not while its agent was heard lately", second / 2, false, nil, nil},
		{"it is cut off first, and what may wait longer is not", 6 * second, true, []spec.ServiceName{"db"}, nil},
		{"not while anything is left", 7 * second, false, nil, nil},
		{"then", 8 * second, true, nil, []Given{{Service: "db", ID: 3, Epoch: 9}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gone = tt.gone
			up, back := b.Forsake(30*second, Absence{Silent: tt.alone, Alone: tt.alone}, holds)
			if diff := cmp.Diff(tt.up, up) + cmp.Diff(tt.back, back); diff != "" {
				t.Error(diff)
			}
		})
	}
	if len(b.Forsaken) != 0 || b.Duty.Seeks[0].Order != nil || b.Duty.Seeks[1].Order == nil {
		t.Errorf("forsaken are %v, and the duty is %+v", b.Forsaken, b.Duty.Seeks)
	}
}

func TestACutIsRepeatedAndProvesOnlyWhatItCan(t *testing.T) {
	const second = time.Second
	var c Cut
	due := func(now time.Duration, want bool) {
		t.Helper()
		if cut, _, _ := c.Due(now); cut != want {
			t.Errorf("at %s a cut is due: %v", now, cut)
		}
	}
	c.Take(&Order{Service: "db", Exclusive: true, Until: 10 * second})
	due(9*second, false)
	due(10*second-Margin, true)
	c.Begin(10*second - Margin)
	due(10*second, false) // one is under way
	c.Failed(10*second, 10*second-Margin)
	due(10*second, false)
	due(10*second+RetryCut, true)
	c.Begin(10*second + RetryCut)
	if c.Stuck(11*second) || !c.Stuck(16*second) {
		t.Error("it is stuck after some seconds, and not before")
	}
	if !c.Done(11*second, 10*second+RetryCut, true) || c.Busy(11*second) {
		t.Error("nothing is proven by a cut that left nothing")
	}
	due(11*second+Recut, true)
	c.Take(&Order{Service: "db", Exclusive: true, Proof: 20 * second})
	c.Begin(14 * second)
	if c.Done(14*second, 14*second, true) {
		t.Error("a cut from before the moment that counts proves something")
	}
}

func TestAnAgentThatComesAndGoesIsAway(t *testing.T) {
	const second = time.Second
	d := &guardwire.Duty{Seeks: []guardwire.Seek{{Service: "db", ID: 3, Exclusive: true, TTL: second, AgentLoss: 30 * second}}}
	for _, tt := range []struct {
		name      string
		runs      time.Duration // how long each agent runs
		until     time.Duration // the next one comes
		times     int
		stands    time.Duration // how long the last one stands still then
		idle, was bool          // now, and before the last one came
		alone     time.Duration
	}{
		{"one that was restarted is there at once", Steady, 2 * second, 1, 0, false, true, 2 * second},
		{"one that ends again and again is not there, although it speaks", 2 * second, 2 * second, 3, 0, true, true, 6 * second},
		{"nor is one that is quick to come again", second / 2, second / 2, 11, 0, true, true, 11 * second / 2},
		{"one that runs on in between is", Steady + second, 2 * second, 9, 0, false, true, 0},
		{"one that stands still is away at once, and held to nothing later", Steady, 0, 1, 3 * second, true, false, 3 * second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a Attendance
			now, was := time.Hour, false
			runs := func(d time.Duration, anew bool) {
				for end := now + d; now < end; now += guardwire.BeatEvery {
					a.Heard(now, anew)
					anew = false
				}
				now = a.Last
			}
			runs(Steady+second, true)
			for range tt.times {
				now += tt.until
				was = a.Absence(now).Idle(d)
				a.Heard(now, true)
				if tt.times > 1 {
					runs(tt.runs, false)
				}
			}
			now += tt.stands
			why := a.Absence(now)
			if why.Idle(d) != tt.idle || was != tt.was || why.Alone != tt.alone {
				t.Errorf("idle %v, before that %v, away for %s", why.Idle(d), was, why.Alone)
			}
			a.Heard(now, false)
			runs(Steady+second, false)
			if why := a.Absence(now); why.Idle(d) || why.Alone > 0 {
				t.Errorf("once it is steady: %+v", why)
			}
		})
	}
}
