// Package supervise decides what a node does next for one service: which part
// it starts, stops or looks at, and when the service's lease is given back.
//
// Its main rule is that a part starts only under a lease that the guard shows as
// held, and that a lease is given back only when nothing of the service can
// still run. So parts start in order and stop in reverse, what failed is
// restarted on the spot with a growing delay, and a service that fails more
// often than its spec allows within a window is given up on this node, as a
// supervisor of Erlang/OTP does with its restart intensity. What cannot start here
// for want of a program, user or folder is given up at once.
//
// A copy of a service that runs several times needs no lease: its caller hands in
// a hold that this node gives itself. The role of primary is a right of its own,
// under the service's lease: a running copy is promoted only under it, and what
// was promoted is demoted, or stopped by force, before the right ends. What a
// service is after, and what depends on it, come in as [Gates].
//
// The package is pure: what is remembered and what is seen come in, what is to
// be done comes out. It carries nothing out, keeps no time and knows no kind of
// part; where a service runs is decided elsewhere. It refuses to give a lease
// back while a part may run, however long the part takes to stop.
package supervise

import (
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
)

// StopAhead is how long before the end of a lease the agent stops by force what
// runs under it. The guard cuts it off 40 ms before the end; the agent is a
// little earlier, so that the driver does it in good order. A start must not
// begin later than that either.
const StopAhead = 50 * time.Millisecond

// LookAhead is how long before StopAhead a lease is looked at too. A caller that
// is on time for that, and for StopAhead, had this long to hear of a renewal.
const LookAhead = 50 * time.Millisecond

// Limits of what is done for one service.
const (
	// startAhead is how long a lease must last at least when a part starts.
	startAhead = 100 * time.Millisecond

	retryPause   = 100 * time.Millisecond // between two tries of the same operation
	releasePause = time.Second            // until a lease that is still held is given back again
	stuckPause   = 5 * time.Second        // between two stops of a part that does not stop
	stopTries    = 3                      // of a stop, before the part counts as stuck
	probeTries   = 3                      // of a probe, before the part counts as running
	probeLimit   = 2 * time.Second        // for one probe
	forceLimit   = 5 * time.Second        // for one stop by force
	overdue      = 5 * time.Second        // beyond its limit, until an operation counts as stuck

	firstMissing = 2 * time.Minute // until what was missing is looked for again, twice as long each time

	maxFailures = 128              // remembered, more than a spec can allow as restarts
	firstDelay  = time.Second      // before the second restart; the first is at once
	maxDelay    = 30 * time.Second // before any restart
)

// Input is all that [Step] looks at beside the state.
type Input struct {
	Now  time.Time     // the wall clock: for windows of failures and for reports
	Boot time.Duration // the boot clock: for everything else; above 0
	Wish Wish
	Hold Hold
	// Right is the lease of the role of primary, for a service with roles.
	// Where several may be primary it is the one lease of theirs that is used here,
	// or that would be; Spare is another one that is held here for nothing.
	Right, Spare Hold
	// Crowded: as much as may happens on this node at once, so neither a start nor
	// a promotion begins.
	Crowded bool
	Done    *Result // of the operation in flight; nil: none came in
	Died    []Death // since the last step
}

// Wish is what the cell wants of one service on this node. It is comparable.
type Wish struct {
	// Service is the normalized record; nil if it is not known or gone. It is
	// not changed.
	Service *record.Service
	Gone    bool // the store was asked and has none

	Placed     int64  // revision of the placement
	Rank       int    // own place in the succession list, -1 for none
	Known      uint64 // highest epoch that the placement's author knew of; 0: not said
	Empty      bool   // there is a placement and its list is empty
	FirstAlive bool   // the list's first is another node, and it is alive
	Leaving    bool   // this node is leaving the cell
	Cleared    int64  // Unix time in ns of the operator's last clearing here; 0: none

	// Copy says that the wish is of one copy of several: Rank is 0 if it is to be
	// here, else -1. Right is the wish about the role of primary.
	Copy  bool
	Right Right
	Gates Gates
	// Maintenance: what is here stays as it is. Only a lease that ends stops it.
	Maintenance bool
}

// Right is this node's place in the succession of a primary. The fields are as in
// [Wish].
type Right struct {
	Rank       int
	Known      uint64
	Empty      bool
	FirstAlive bool
}

// Hold is what the guard shows of the service's lease. It is comparable.
type Hold struct {
	Known bool // false: too early to tell whether there is a guard
	Held  bool
	Guard uint64        // its incarnation
	Epoch uint64        // of the lease, if it is held
	Until time.Duration // boot time at which it ends, if it is held
	// Kept: the lease has lapsed, and what runs may go on without one. It counts
	// only for a service whose spec says so; for any other nothing is held.
	Kept bool
	// Own: no lease at all, but what this node gives itself for a copy.
	Own bool
	// Lease tells the leases of several primaries apart, from 0 on.
	Lease int
	// Awaited: Until may be old, since the caller did not run when it should have,
	// and newer word is awaited for a short, bounded time. What runs is not stopped
	// for its Until, which the guard enforces by itself; nothing starts under it.
	Awaited bool
}

// Decision is the answer of [Step].
type Decision struct {
	Op     Operation     // to be begun now, beside none other; its Kind may be None
	Limit  time.Duration // for Op, after which its context is to end
	Cancel bool          // the operation in flight
	Notes  []Note        // in the order in which they are to be told
	Wake   time.Duration // step again after this; 0: only for news
	// Crowded: something would begin, were [Input] not crowded.
	Crowded bool
}

// Operation is one thing to do.
type Operation struct {
	Kind  Kind
	Part  int    // index of the part; 0 for a release
	Force bool   // for a stop: without grace
	Epoch uint64 // for a start, a promotion and a release: of the lease
	Right bool   // for a release: of the role's lease
	Lease int    // which one of those
	Own   bool   // for a release: of what was no lease
}

// Kind is what an operation does. Its text is for people.
type Kind string

// The kinds of operations.
const (
	None    Kind = ""
	Probe   Kind = "probe"   // look whether a part runs
	Start   Kind = "start"   // start a part and wait until it has started
	Stop    Kind = "stop"    // stop a part, or what is left of it
	Promote Kind = "promote" // make a running part primary
	Demote  Kind = "demote"  // make it a replica again
	Release Kind = "release" // give the lease back; done at once, never in flight
)

// Result is what became of the operation in flight.
type Result struct {
	Err     error // its text is one sentence without a full stop; nil: it is done
	Refused bool  // not started for want of a lease; no failure
	// Missing is what it did not start for want of, and no restart brings to this
	// node, such as "the program /usr/bin/shopd"; empty: it failed otherwise.
	Missing string
	Seen    instance.Observed
}

// Death is a part that failed while it ran.
type Death struct {
	Part  int
	Ended bool   // by itself; otherwise it runs and its check says no
	Why   string // one sentence without a full stop
	// Missing is explained at [Result].
	Missing string
}

// Note is an event to tell.
type Note struct {
	Kind  event.Kind
	Part  string // its name; empty: it is of the whole service
	Epoch uint64 // of the lease it happened under, 0 for none
	Text  string // one sentence or more
}
