package supervise

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// ownLease is how long a copy may run without a lease until its node gives
// itself another: it looks at it again by then.
const ownLease = time.Hour

// Look fills in what an instance runs under and what makes it primary, given what
// the guard shows of each of the service's leases: a service that runs once has the
// first, a copy gives itself what it runs under and may have one to be primary.
// rights are [Wish.Right] by lease.
func (st *State) Look(in *Input, rights [spec.MaxPrimaries]Right, shown func(lease int) Hold) {
	s, w := &st.Run.Spec, &in.Wish
	if w.Service != nil && !st.MayRun() && st.Epoch == 0 {
		s = &w.Service.Spec
	}
	if s.Copies == nil {
		in.Hold = shown(0)
		return
	}
	if s.HasRoles() {
		st.lookRight(in, rights, shown, max(1, s.Primaries(), st.Run.Spec.Primaries()))
	}
	in.Hold = Hold{
		Known: true, Own: true, Guard: 1, Epoch: st.NextOwn(), Until: in.Boot + ownLease,
		Held: st.Epoch != 0 || w.Service != nil && w.Rank >= 0,
	}
}

// lookRight chooses, of the leases under which a copy may be primary, the one that
// is used or would be: one that is held and not given up, where this node is meant
// first if there are several.
func (st *State) lookRight(in *Input, rights [spec.MaxPrimaries]Right, shown func(int) Hold, primaries int) {
	use := st.Right.Lease
	if st.Right.Epoch == 0 && !st.MayBePrimary() {
		best := -1
		for lease := range primaries {
			h := shown(lease)
			if !h.Held {
				continue
			}
			worth := 0
			if h.Epoch > st.ShedOf(lease) {
				worth += 2
			}
			if rights[lease].Rank == 0 {
				worth++
			}
			if worth > best {
				best, use = worth, lease
			}
		}
	}
	in.Right, in.Wish.Right = shown(use), rights[use]
	for lease := range spec.MaxPrimaries {
		if h := shown(lease); lease != use && h.Held {
			in.Spare = h
			return
		}
	}
}

// reportedFailures is how many failures a report names, see [fact.Instance].
const reportedFailures = 20

// Instance describes the instance for a report, but for what its driver and its
// checks know: Ready and Parts are left to the caller.
func (st *State) Instance(name instance.Name, now time.Time, maintenance bool) fact.Instance {
	i := fact.Instance{
		Service: name.Service(), Copy: name.Number(), Generation: st.Run.Generation, Phase: st.Phase, Since: st.Since,
		Failures: slices.Clone(st.Failures), FailedUntil: st.FailedUntil, Restarts: st.RecentFailures(now),
		Took: st.Took, Leaving: st.Leaving(), Yielding: st.Yielding(), Waits: st.Waits(), Under: st.Under, Maintenance: maintenance,
	}
	switch s := st.Run.Spec; {
	case s.Copies == nil:
		i.Epoch = st.Epoch
	case s.HasRoles():
		i.Epoch, i.Role, i.Right = st.Right.Epoch, spec.RoleReplica, st.Right.Lease
		if i.Epoch == 0 {
			i.Right = 0
		}
		if st.Primary() {
			i.Role = spec.RolePrimary
		}
	}
	if st.Cleared != 0 {
		i.Cleared = time.Unix(0, st.Cleared).UTC()
	}
	if n := len(i.Failures); n > reportedFailures {
		i.Failures = i.Failures[n-reportedFailures:]
	}
	return i
}

const (
	// lagWorth is by how much an agent may be late without being taken for one that
	// did not run.
	lagWorth = 5 * time.Millisecond
	// HearingTime is how long a guard that was late as well has to say something.
	HearingTime = LookAhead
	// hearingMost is how long what the guard said may lie unread, in time in which
	// the agent ran.
	hearingMost = 5 * time.Second
	// LookEvery is the time between two looks while newer word is awaited.
	LookEvery = 10 * time.Millisecond
)

// Heard is what an agent has of its guard's words.
type Heard struct {
	Said   time.Duration // the moment of the guard's last state that was read
	Unread bool          // the guard has said more, which nobody has read yet
}

// Lag is what an agent knows of its own lateness with one instance. It looks at a
// lease LookAhead before it would stop what runs under it, and again when it
// would. One that is on time for both and has heard of no renewal knows that there
// was none to hear, if nothing that the guard said lies unread: the guard says it
// halfway to the end. While something does, it waits until that is read, however
// long the reader takes to run. One that was late itself also waits for a word
// that the guard said after that, for HearingTime at most.
//
// Nothing runs longer for that than the guard allows: it cuts off what has lost
// its lease by itself. A guard that is away or stands still gives an agent that
// was late HearingTime once, and one that is on time nothing.
type Lag struct {
	Due    time.Duration // boot time at which it is to look next; 0: for news only
	Since  time.Duration // when it last saw that it was late; 0: never
	spent  time.Duration // the moment of the last state after which newer word was awaited
	looked time.Duration // when it last saw that something lies unread
	waited time.Duration // for that to be read, but for the time in which it did not run
}

// Note is called when the agent looks again. A guard that says nothing is not
// waited for twice after the same state.
func (l *Lag) Note(now time.Duration, h Heard) {
	if l.Due != 0 && now-l.Due > lagWorth && h.Said != l.spent {
		l.Since = now
	}
	if !h.Unread {
		l.waited = 0
	}
}

// Awaits reports whether newer word of the guard is to be awaited, since the end
// of the lease that it showed last is near or past. It is to be asked again after
// LookEvery.
func (l *Lag) Awaits(h Hold, now time.Duration, heard Heard) bool {
	if !h.Held || h.Until-now > StopAhead {
		return false
	}
	if heard.Unread && l.waited < hearingMost {
		l.waited += min(now-l.looked, LookEvery)
		l.looked = now
		return true
	}
	awaits := l.Since > 0 && now < l.Since+HearingTime && heard.Said < l.Since
	if awaits {
		l.spent = heard.Said
	}
	return awaits
}
