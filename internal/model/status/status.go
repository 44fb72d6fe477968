// Package status holds how a cell is, in the words that are shown to people.
//
// It is the shape that the engine assembles, the API carries and the command
// line prints; its one rule is that everything in it can be shown as it is. It
// judges nothing: the sentences in it were made by whoever filled it.
package status

import (
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Cell is the whole cell at a glance.
type Cell struct {
	Name string
	ID   string
	// Node is the node that answered, At when it did.
	Node spec.NodeName
	At   time.Time
	// Quorate is true while that node is in touch with a majority of the voters.
	Quorate bool
	// Controller is the node that plans; empty: none is elected.
	Controller spec.NodeName
	Nodes      []Node    // sorted by name
	Services   []Service // sorted by name
	// Problems are sentences about what an operator should know or do, worst first.
	Problems []string
	// Stale is true if the store did not answer and this is the last known state.
	Stale bool
	// Maintenance: everything is left as it is.
	Maintenance bool
}

// Node is a member of the cell and how it is.
type Node struct {
	Name     spec.NodeName
	Slot     uint8
	Address  string
	Labels   map[string]string
	Liveness fact.Liveness
	Voter    bool
	Witness  bool
	Draining bool
	Leaving  bool
	Version  string
	Joined   time.Time
	// Stall is the longest pause of its guard in the last ten minutes.
	Stall    time.Duration
	Warnings []string
	// Services run here; sorted.
	Services []spec.ServiceName
	GuardUp  bool
	// Maintenance: all on it is left as it is.
	Maintenance bool
	Trust       Trust
	// Measured is for how long its guard has measured pauses.
	Measured time.Duration
	// Dropped is how many datagrams of each kind its guard has dropped since it was
	// started.
	Dropped map[string]uint64
	// Stale: the store did not answer; all but the liveness is the last known state.
	Stale bool
}

// StallWindow is the time of which the longest pause of a guard is kept.
const StallWindow = 10 * time.Minute

// Measured says of which time a guard's longest pause is, if it has measured for so
// long; 0: that is not known.
func Measured(d time.Duration) string {
	switch {
	case d <= 0 || d >= StallWindow:
		return "the last 10 min"
	case d < time.Minute:
		return fmt.Sprintf("the %d s for which it has been measured", int(d.Seconds()))
	}
	return fmt.Sprintf("the %d min for which it has been measured", int(d.Minutes()))
}

// Trust is what the cell makes of a node's past, until when, and the sentence that
// led to it. Its zero value means that there is nothing to say.
type Trust struct {
	State fact.Trust
	Until time.Time
	Why   string
}

// State is how a service is, in one word.
type State string

// The states of a service.
const (
	Running    State = "running"    // all its parts are started
	Starting   State = "starting"   // on its way up, or waiting to be planned
	Stopping   State = "stopping"   // on its way down
	Stopped    State = "stopped"    // as its spec says
	Recovering State = "recovering" // it failed or its node is lost; it is being brought back
	Failed     State = "failed"     // it runs nowhere and a person must look
	Homeless   State = "homeless"   // no node may run it
	Deleting   State = "deleting"   // on its way out of the cell
	Unknown    State = "unknown"    // the store did not answer, and nothing is known at first hand
)

// Service is an applied service and how it is.
type Service struct {
	Name  spec.ServiceName
	State State
	Ready bool // running, and its readiness checks pass
	// Node holds it and Since is when it got into its state there; both are
	// zero if nobody holds it.
	Node       spec.NodeName
	Since      time.Time
	Epoch      uint64
	Exclusive  bool
	Generation uint64
	// Successors take over, in this order.
	Successors []spec.NodeName
	Parts      []fact.Part
	// Failures are recent failures anywhere, the newest last.
	Failures []Failure
	// Reasons say why it is where it is, or nowhere.
	Reasons []string
	// Spec is set where one service was asked for, nil in a list.
	Spec *spec.Service
	TTL  time.Duration
	// Bound is the longest outage that the loss of one node can cause.
	Bound Bound
	// Problem is one sentence if something is wrong.
	Problem string
	// Copies are those of a service that has several, sorted by node and number.
	// Node then is where the primary is, if there are roles.
	Copies []Copy
	Notes
	// Recovery is how far its recovery has come.
	Recovery Recovery
	// Trial is the change of it that is taken back unless it is confirmed; nil:
	// there is none.
	Trial *Trial
}

// Notes go with the state of a service.
type Notes struct {
	Pause
	Doubt
}

// Pause says what holds a service up.
type Pause struct {
	// Waits is what it waits for, such as "db to run"; empty: nothing.
	Waits string
	// Maintenance: it is left as it is.
	Maintenance bool
}

// Doubt says how far to rely on what is said of a service. Its zero value means:
// wholly.
type Doubt struct {
	// Stale: the store did not answer, and what is said is what the node that was
	// asked knows by itself.
	Stale bool
	// LastKnown is how the service was last known while its state is [Unknown], such
	// as "running on a".
	LastKnown string
}

// Copy is one copy of a service.
type Copy struct {
	Node   spec.NodeName
	Number int       // from 1 on, if copies differ from each other; else 0
	Role   spec.Role // empty if copies have none
	// State is the phase of its instance, "lost" if its node is, and empty if it is
	// to be there and nothing is known of it.
	State string
	Ready bool
	Waits string
	Since time.Time
	Parts []fact.Part
}

// Recovery is how far the recovery of a service has come.
type Recovery struct {
	// Halted is since when it has been stopped for a person; zero: it is not.
	Halted time.Time
	// Tried are the nodes on which it gave up since it last ran well.
	Tried []fact.Try
	// Waits says why a move of it is held back; empty: none is.
	Waits string
}

// Trial is a change that waits to be confirmed.
type Trial struct {
	Change   string // names it
	Deadline time.Time
	By       string
	New      bool // the service was new: taking it back deletes it
}

// Bound is the longest outage that the loss of one node can cause, from what was
// measured. Its zero value means that it is not known.
type Bound struct {
	Total time.Duration
	// Lease is the wait for the lease to end or for the node to count as lost,
	// Claim is winning the lease, Start what the parts took at their last start.
	Lease, Claim, Start time.Duration
	// By is the node whose stalls make it so long; empty: none does.
	By spec.NodeName
	// Why is a sentence.
	Why string
}

// Failure is one failure of a service on one node.
type Failure struct {
	At   time.Time
	Node spec.NodeName
	Part string
	Why  string
}
