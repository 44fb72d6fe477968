package agent

import (
	"reflect"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// Limits of what is done for one service.
const (
	// startAhead is how long a lease must last at least when a part starts.
	startAhead = 100 * time.Millisecond
	// stopAhead is how long before the end of a lease the agent stops by force
	// what runs under it. The guard cuts it off 40 ms before the end; the agent
	// is a little earlier, so that the driver does it in good order.
	stopAhead = 50 * time.Millisecond

	retryPause   = 100 * time.Millisecond // between two tries of the same operation
	releasePause = time.Second            // until a lease that is still held is given back again
	stuckPause   = 5 * time.Second        // between two stops of a part that does not stop
	stopTries    = 3                      // of a stop, before the part counts as stuck
	probeTries   = 3                      // of a probe, before the part counts as running
	probeLimit   = 2 * time.Second        // for one probe
	forceLimit   = 5 * time.Second        // for one stop by force
	overdue      = 5 * time.Second        // beyond its limit, until an operation counts as stuck

	maxFailures      = 128 // remembered, more than a spec can allow as restarts
	reportedFailures = 20
	firstDelay       = time.Second      // before the second restart; the first is at once
	maxDelay         = 30 * time.Second // before any restart
)

// partState is what is known of one part on this node. The words are kept in
// the journal.
type partState string

const (
	partDown    partState = "down"
	partUp      partState = "up"
	partDirty   partState = "dirty"   // may run; to be stopped before anything else
	partDead    partState = "dead"    // ended by itself; to be cleared away
	partUnknown partState = "unknown" // to be probed
)

// state is all that is remembered of one service on this node.
type state struct {
	// run is the service as it runs, or as it will if it starts.
	run    record.Service
	parts  []partState
	expect []partState // what the journal said of parts that are unknown

	// The lease: epoch is 0 without one, guard the incarnation that won it and
	// placed the revision of the placement that was in force then.
	epoch, guard uint64
	placed       int64
	released     uint64        // the epoch given back last
	releaseAt    time.Duration // when to repeat that

	failures    []fact.Failure
	failedUntil time.Time
	retryAt     time.Duration // no restart before

	// The stop in progress.
	force bool // until nothing runs any more
	why   string
	tries int
	tryAt time.Duration // no operation before
	stuck bool

	flight

	phase fact.Phase
	since time.Time
}

// flight is the operation being carried out.
type flight struct {
	busy      operation
	busyUntil time.Duration
	canceled  bool
}

// operation is one thing to do.
type operation struct {
	kind  opKind
	part  int
	force bool
	epoch uint64
}

type opKind string

const (
	opNone    opKind = ""
	opProbe   opKind = "probe"
	opStart   opKind = "start"
	opStop    opKind = "stop"
	opRelease opKind = "release" // done at once, never in flight
)

// result is what became of the operation in flight.
type result struct {
	err     error
	refused bool // not started for want of a lease; no failure
	seen    instance.Observed
}

// death is a part that failed while it ran.
type death struct {
	part  int
	ended bool // by itself; otherwise it runs and its check says no
	why   string
}

// input is all that step looks at beside the state.
type input struct {
	now  time.Time
	boot time.Duration
	wish wish
	hold hold
	done *result // of the operation in flight
	died []death
}

// wish is what the cell wants of one service on this node. It is comparable.
type wish struct {
	// service is the normalized record; nil if it is not known or gone.
	service *record.Service
	gone    bool   // the store was asked and has none
	cell    string // the cell's name

	placed     int64 // revision of the placement
	rank       int   // own place in the succession list, -1 for none
	empty      bool  // there is a placement and its list is empty
	firstAlive bool  // the list's first is another node, and it is alive
	leaving    bool  // this node is leaving the cell
}

// hold is what the guard shows of the service's lease.
type hold struct {
	known bool // false: too early to tell whether there is a guard
	held  bool
	guard uint64
	epoch uint64
	until time.Duration
}

// decision is the answer of step.
type decision struct {
	op     operation
	limit  time.Duration // for op
	cancel bool          // the operation in flight
	notes  []note
	wake   time.Duration // step again after this; 0: only for news
}

// note is an event to tell.
type note struct {
	kind  event.Kind
	part  string
	epoch uint64
	text  string
}

func (st state) clone() state {
	st.parts = slices.Clone(st.parts)
	st.expect = slices.Clone(st.expect)
	st.failures = slices.Clone(st.failures)
	return st
}

// mayRun reports whether any part may run.
func (st *state) mayRun() bool { return st.top() >= 0 }

// touched reports whether any part is known to run, or to have been started.
func (st *state) touched() bool {
	return slices.ContainsFunc(st.parts, func(p partState) bool { return p != partDown && p != partUnknown })
}

// unsure reports whether any part is still to be probed.
func (st *state) unsure() bool { return slices.Contains(st.parts, partUnknown) }

// top is the highest part that may run, -1 for none.
func (st *state) top() int {
	for i := len(st.parts) - 1; i >= 0; i-- {
		if st.parts[i] != partDown {
			return i
		}
	}
	return -1
}

// prefix is how many parts run, counted from the first without a gap.
func (st *state) prefix() int {
	for i, p := range st.parts {
		if p != partUp {
			return i
		}
	}
	return len(st.parts)
}

func (st *state) banned(now time.Time) bool { return now.Before(st.failedUntil) }

func (st *state) partName(i int) string {
	if i < 0 || i >= len(st.run.Spec.Parts) {
		return ""
	}
	return st.run.Spec.Parts[i].Name
}

// recentFailures counts the failures within the window that ends now.
func (st *state) recentFailures(now time.Time) int {
	from := now.Add(-st.run.Spec.Failover.EffectiveWithin())
	n := 0
	for _, f := range st.failures {
		if f.At.After(from) {
			n++
		}
	}
	return n
}

// clear reports whether nothing of the service is left to remember.
func (st *state) clear(now time.Time) bool {
	return !st.mayRun() && st.busy.kind == opNone && st.epoch == 0 && !st.banned(now)
}

// leaseValid reports whether the lease that the service runs under is shown as
// held and lasts longer than margin.
func (m *machine) leaseValid(margin time.Duration) bool {
	h := m.in.hold
	return h.known && h.held && m.epoch != 0 && h.epoch == m.epoch &&
		h.guard == m.guard && h.until-m.in.boot > margin
}

// mayTake reports whether the service may start here under a new lease.
func (m *machine) mayTake() bool {
	w := m.in.wish
	return w.service != nil && !w.service.Deleting && !w.service.Spec.Stopped &&
		w.rank >= 0 && !w.leaving && !m.banned(m.in.now)
}

// aim says whether the service is to run here now, and if it is to stop, why.
func (m *machine) aim() (run bool, why string) {
	w := m.in.wish
	switch {
	case m.force:
		return false, m.why
	case m.epoch == 0:
		return false, ""
	case m.banned(m.in.now):
		return false, "it failed too often on this node"
	case w.gone:
		return false, "it was removed"
	case w.service == nil:
		return true, "" // nothing is known: go on with what runs
	case w.service.Deleting:
		return false, "it is being deleted"
	case w.service.Spec.Stopped:
		return false, "it was told to be stopped"
	case m.mayRun() && (m.run.ID != w.service.ID || !sameParts(m.run.Spec.Parts, w.service.Spec.Parts)):
		return false, "its parts changed"
	case w.rank != 0 && w.placed > m.placed && w.empty:
		return false, "no node is to run it"
	case w.rank != 0 && w.placed > m.placed && w.firstAlive:
		return false, "it moves to another node"
	}
	return true, ""
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
