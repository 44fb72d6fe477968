package supervise

import (
	"reflect"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// PartState is what is known of one part on this node. The words are kept in
// the journal.
type PartState string

// What can be known of a part.
const (
	Down    PartState = "down"
	Up      PartState = "up"
	Dirty   PartState = "dirty"   // may run; to be stopped before anything else
	Dead    PartState = "dead"    // ended by itself; to be cleared away
	Unknown PartState = "unknown" // to be probed
	Raised  PartState = "raised"  // runs and is primary
	Half    PartState = "half"    // runs and may be primary
	Torn    PartState = "torn"    // may run and be primary; to be stopped
)

// Memory is what must outlive an agent: with it, the next one goes on where this
// one stopped. Its JSON is kept in the journal.
type Memory struct {
	// Run is the service as it runs, or as it will if it starts. Parts has one
	// state for each part of it.
	Run   record.Service `json:"service"`
	Parts []PartState    `json:"parts"`

	// The lease: Epoch is 0 without one, Guard the incarnation that won it and
	// Placed the revision of the placement that was in force then.
	Epoch  uint64 `json:"epoch,omitempty"`
	Guard  uint64 `json:"guard,omitempty"`
	Placed int64  `json:"placed,omitempty"`

	Phase fact.Phase `json:"phase"`
	Since time.Time  `json:"since"` // when Phase was entered

	Failures    []fact.Failure `json:"failures,omitempty"`    // within the window, the newest last
	FailedUntil time.Time      `json:"failed_until,omitzero"` // no start on this node before
	Cleared     int64          `json:"cleared,omitempty"`     // the clearing that was heeded last
	// Missed is how often in a row it was given up here because something is missing.
	Missed int `json:"missed,omitempty"`

	// Took is how long the last start of all parts took, by the boot clock, from
	// entering [fact.Starting]; 0: not seen.
	Took time.Duration `json:"took,omitempty"`

	// Under is what it was started after, see [fact.Instance].
	Under string `json:"under,omitempty"`

	Right RightMemory `json:"right,omitzero"`
}

// RightMemory is what must be remembered of the right to be primary. Shed is the
// highest epoch under which this node will not be primary any more. Where several
// may be primary, Lease is which lease that is all about, and Sheds is Shed of each
// other one: epochs of different leases cannot be compared.
type RightMemory struct {
	Epoch  uint64 `json:"epoch,omitempty"`
	Guard  uint64 `json:"guard,omitempty"`
	Placed int64  `json:"placed,omitempty"`
	Shed   uint64 `json:"shed,omitempty"`
	Lease  int    `json:"lease,omitempty"`

	Sheds [spec.MaxPrimaries]uint64 `json:"sheds,omitzero"`
}

// State is all that is remembered of one service on this node. Make one with
// [New], [Restore] or [Unseen]. It is a value that [Step] replaces and nobody
// changes; its fields are there to be read.
type State struct {
	Memory
	expect []PartState // what the journal said of parts that are unknown

	released  uint64        // the epoch given back last
	releaseAt time.Duration // when to repeat that

	retryAt time.Duration // no restart before
	began   time.Duration // when the start of all parts that is under way began; 0: none

	// The stop in progress.
	force bool // until nothing runs any more
	why   string
	tries int
	tryAt time.Duration // no operation before
	stuck bool
	role
	turn
	flight
}

// role is what goes on about the role of primary.
type role struct {
	cut       bool          // what is primary is to be stopped by force
	shedAt    time.Duration // when to give the right back again
	spareAt   time.Duration // when to give a spare one back again
	riseBegan time.Duration // when the right was taken; 0: it is primary, or not to be
}

// turn is what is waited for.
type turn struct {
	leaving  bool          // it will stop when those that depend on it have
	yielding bool          // likewise, it will be demoted
	leaveBy  time.Duration // when it does so anyway
	waits    string        // for what, in a few words
	waitFor  string        // what waitBy is about
	waitBy   time.Duration // when it starts anyway; 0: never
	past     bool          // it has waited long enough
}

// flight is the operation being carried out.
type flight struct {
	busy      Operation
	busyUntil time.Duration
	canceled  bool
}

// New returns the state of a service of which nothing can run here.
func New() State { return State{Memory: Memory{Phase: fact.Idle}} }

// Restore returns the state to begin with after another agent: all that may run
// is to be probed. There must be as many states of parts as parts.
func Restore(m Memory) State {
	st := State{Memory: m, expect: m.Parts}
	st.Parts = make([]PartState, len(m.Parts))
	for i, p := range m.Parts {
		st.Parts[i] = Unknown
		if p == Down {
			st.Parts[i] = Down
		}
	}
	return st
}

// Unseen returns the state to begin with if no memory is left of a service that
// was known before: any part may run.
func Unseen(s record.Service) State {
	m := Memory{Run: s, Phase: fact.Idle}
	for range s.Spec.Parts {
		m.Parts = append(m.Parts, Unknown)
	}
	return Restore(m)
}

// Memorable reports whether anything of st must outlive the agent.
func (st *State) Memorable() bool { return st.MayRun() || st.Epoch != 0 || len(st.Failures) > 0 }

// Doing returns the operation in flight, of kind [None] if there is none.
func (st *State) Doing() Operation { return st.busy }

// Leaving reports whether it will stop as soon as those that depend on it have,
// and Yielding whether it will stop being primary likewise.
func (st *State) Leaving() bool { return st.leaving }

// Yielding is explained at Leaving.
func (st *State) Yielding() bool { return st.yielding }

// Waits says in a few words what is waited for, empty if nothing is.
func (st *State) Waits() string { return st.waits }

// NextOwn is the epoch under which a copy without a lease runs or would run. It
// grows with each of its lives.
func (st *State) NextOwn() uint64 {
	if st.Epoch != 0 {
		return st.Epoch
	}
	return max(st.released+1, st.Run.Generation)
}

// StopFailed reports whether a part does not stop, however hard it was tried.
func (st *State) StopFailed() bool {
	return st.stuck && st.MayRun() && (st.busy.Kind == Stop || st.busy.Kind == None && st.tries >= stopTries)
}

// Stuck reports whether a part does not stop, or an operation does not return.
func (st *State) Stuck() bool { return st.stuck }

func (st State) clone() State {
	st.Parts = slices.Clone(st.Parts)
	st.expect = slices.Clone(st.expect)
	st.Failures = slices.Clone(st.Failures)
	return st
}

// MayRun reports whether any part may run.
func (st *State) MayRun() bool { return st.top() >= 0 }

// touched reports whether any part is known to run, or to have been started.
func (st *State) touched() bool {
	return slices.ContainsFunc(st.Parts, func(p PartState) bool { return p != Down && p != Unknown })
}

// unsure reports whether any part is still to be probed.
func (st *State) unsure() bool { return slices.Contains(st.Parts, Unknown) }

// top is the highest part that may run, -1 for none.
func (st *State) top() int {
	for i := len(st.Parts) - 1; i >= 0; i-- {
		if st.Parts[i] != Down {
			return i
		}
	}
	return -1
}

// prefix is how many parts run, counted from the first without a gap. A part that
// only the primary has makes no gap while it is down.
func (st *State) prefix() int {
	for i, p := range st.Parts {
		switch p {
		case Up, Raised, Half:
			continue
		case Down:
			if st.Run.Spec.Parts[i].Role == spec.RolePrimary {
				continue
			}
		case Dirty, Dead, Unknown, Torn:
		}
		return i
	}
	return len(st.Parts)
}

// Banned reports whether the service failed too often to start here at now.
func (st *State) Banned(now time.Time) bool { return now.Before(st.FailedUntil) }

// PartName returns the name of the part with index i, empty if there is none.
func (st *State) PartName(i int) string {
	if i < 0 || i >= len(st.Run.Spec.Parts) {
		return ""
	}
	return st.Run.Spec.Parts[i].Name
}

// RecentFailures counts the failures within the window that ends now.
func (st *State) RecentFailures(now time.Time) int {
	from := now.Add(-st.Run.Spec.Failover.EffectiveWithin())
	n := 0
	for _, f := range st.Failures {
		if f.At.After(from) {
			n++
		}
	}
	return n
}

// Clear reports whether nothing of the service is left to do or to wait for:
// nothing may run, no lease is used and no ban is in force.
func (st *State) Clear(now time.Time) bool {
	return !st.MayRun() && st.busy.Kind == None && st.Epoch == 0 && st.Right.Epoch == 0 && !st.Banned(now)
}

// mayTake reports whether the service may start here under a new lease.
func (m *machine) mayTake() bool {
	w := m.in.Wish
	return w.Service != nil && !w.Service.Deleting && !w.Service.Spec.Stopped && !w.Maintenance &&
		w.Rank >= 0 && !w.Leaving && !m.Banned(m.in.Now)
}

// noCopy is why a copy stops whose place is elsewhere.
const noCopy = "this node is to run no copy of it"

// aim says whether the service is to run here now, and if it is to stop, why.
func (m *machine) aim() (run bool, why string) {
	w := m.in.Wish
	switch {
	case m.force:
		return false, m.why
	case m.Epoch == 0:
		return false, ""
	case m.Banned(m.in.Now):
		return false, "it failed too often on this node"
	case w.Gone:
		return false, "it was removed"
	case w.Service == nil:
		return true, "" // nothing is known: go on with what runs
	case w.Service.Deleting:
		return false, "it is being deleted"
	case w.Service.Spec.Stopped:
		return false, "it was told to be stopped"
	case m.MayRun() && (m.Run.ID != w.Service.ID || !sameParts(m.Run.Spec.Parts, w.Service.Spec.Parts)):
		return false, "its parts changed"
	case m.MayRun() && !sameRight(m.Run.Spec, w.Service.Spec):
		return false, "its copies changed"
	case w.Copy && w.Rank != 0 && m.meant(w) && w.Empty:
		return false, noCopy
	case w.Rank != 0 && m.meant(w) && w.Empty:
		return false, "no node is to run it"
	case w.Rank != 0 && m.meant(w) && w.FirstAlive:
		return false, "it moves to another node"
	}
	return true, ""
}

// meant reports whether the placement was made in the knowledge of what runs
// here. One that was in force at the takeover was not, nor one that was written
// since by a controller that had not heard of it.
func (m *machine) meant(w Wish) bool {
	return w.Placed > m.Placed && (w.Known == 0 || w.Known >= m.Epoch)
}

// sameRight reports whether two specs run by the same right: under a lease,
// without one, or with a primary that has one.
func sameRight(a, b spec.Service) bool {
	return a.HasLease() == b.HasLease() && a.HasRoles() == b.HasRoles()
}

// sameParts reports whether two normalized stacks are equal.
func sameParts(a, b []spec.Part) bool { return reflect.DeepEqual(a, b) }

// restartDelay is how long to wait before the restart after the n-th failure.
func restartDelay(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	delay := firstDelay
	for range n - 2 {
		delay = min(2*delay, maxDelay)
	}
	return delay
}
