// Package fact holds what is known: the state of nodes and instances, up to
// Snapshot, which is the whole input of a decision.
//
// Facts are observations, not wishes (package spec) and not judgements. They
// are plain values; a Snapshot can be saved and decided on again later with
// the same result to the byte.
package fact

import (
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// Phase is where an instance is in its life.
type Phase string

// The phases of an instance on one node.
const (
	Idle     Phase = "idle"     // nothing of it runs here
	Waiting  Phase = "waiting"  // wants the lease and has not got it
	Starting Phase = "starting" // parts are being started
	Running  Phase = "running"  // all parts started
	Stopping Phase = "stopping" // parts are being stopped
	Backoff  Phase = "backoff"  // failed, waits for the next try on the spot
	Failed   Phase = "failed"   // gave up on this node
	Stuck    Phase = "stuck"    // a part would not stop, even by force
)

// Instance is one service on one node, as its agent sees it.
type Instance struct {
	Service    spec.ServiceName `json:"service"`
	Generation uint64           `json:"generation"` // of the spec that runs
	Phase      Phase            `json:"phase"`
	Ready      bool             `json:"ready"`           // readiness checks pass
	Role       spec.Role        `json:"role,omitempty"`  // of a copy that has one
	Right      int              `json:"right,omitempty"` // which lease it is primary under; 0: the first
	Epoch      uint64           `json:"epoch,omitempty"` // of the lease it runs under
	Since      time.Time        `json:"since"`           // when Phase was entered
	// Took is how long the last start took, from the lease to the last part
	// started; 0: not seen.
	Took  time.Duration `json:"took,omitempty"`
	Parts []Part        `json:"parts,omitempty"`
	// Failures are the times of recent failures here, the newest last, at most 20.
	Failures []Failure `json:"failures,omitempty"`
	// FailedUntil bans the node for this service until then.
	FailedUntil time.Time `json:"failed_until,omitzero"`
	Restarts    int       `json:"restarts,omitempty"` // within the window

	// Copy is the number of a copy that differs from the others, from 1; 0: not
	// one of those.
	Copy int `json:"copy,omitempty"`
	// Leaving: it runs, and will stop as soon as what depends on it has stopped.
	// Yielding: it is primary, and will be demoted likewise.
	Leaving  bool `json:"leaving,omitempty"`
	Yielding bool `json:"yielding,omitempty"`
	// Under is what it was started after, and which life of it: the epoch and since
	// when it ran. It serves nobody once those are others. Empty: nothing.
	Under string `json:"under,omitempty"`
	// Waits says in a few words what it waits for before it starts or stops.
	Waits string `json:"waits,omitempty"`
	// Maintenance: it is left as it is.
	Maintenance bool `json:"maintenance,omitempty"`
	// Cleared is the operator's clearing that it heeded last. Failures and bans
	// from before the newest do not count.
	Cleared time.Time `json:"cleared,omitzero"`
}

// Part is the state of one part of an instance.
type Part struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	State  string `json:"state"`            // stopped, starting, running, failed
	Detail string `json:"detail,omitempty"` // one sentence
	// Unready is why its readiness check says no; empty: it says yes, or nothing yet.
	Unready string `json:"unready,omitempty"`
}

// Failure is one failure of an instance.
type Failure struct {
	At   time.Time `json:"at"`
	Part string    `json:"part"`
	Why  string    `json:"why"`
	// Missing is what it could not start for want of; empty: it failed otherwise.
	Missing string `json:"missing,omitempty"`
}

// Liveness is what the cell holds of a node.
type Liveness string

// What the cell can hold of a node. Suspect: some observers miss it. Lost: a
// majority does.
const (
	Alive   Liveness = "alive"
	Suspect Liveness = "suspect"
	Lost    Liveness = "lost"
)

// Node is one node at the time of a snapshot.
type Node struct {
	Name     spec.NodeName     `json:"name"`
	Labels   map[string]string `json:"labels,omitempty"`
	Liveness Liveness          `json:"liveness"`
	Drain    bool              `json:"drain,omitempty"`
	Leaving  bool              `json:"leaving,omitempty"`
	Witness  bool              `json:"witness,omitempty"`
	// Maintenance: what is there stays as it is, and nothing else comes.
	Maintenance bool `json:"maintenance,omitempty"`
	// Health is a score for everything on the node: 0 is well, negative is ill,
	// and -1,000,000 is too ill to run anything.
	Health int `json:"health,omitempty"`
	// Mute: it has not reported for a while, alive or not. Its agent does not
	// run or does not reach the store, and Instances is how things were.
	Mute bool `json:"mute,omitempty"`
	// Cleared is when an operator last said that it is to be trusted again.
	Cleared   time.Time  `json:"cleared,omitzero"`
	Instances []Instance `json:"instances,omitempty"` // sorted by service
}

// Service is one applied service at the time of a snapshot.
type Service struct {
	Spec       spec.Service `json:"spec"`
	Generation uint64       `json:"generation"`
	Deleting   bool         `json:"deleting,omitempty"`
	// MoveTo and MoveFrom carry an operator's wish to move; both empty: none.
	MoveTo   spec.NodeName `json:"move_to,omitempty"`
	MoveFrom spec.NodeName `json:"move_from,omitempty"`
	// Order is the succession list in force, the holder first.
	Order []spec.NodeName `json:"order,omitempty"`
	// Holder is who holds the lease now, or is known to run it; empty: nobody.
	// Where copies have roles, it is the primary.
	Holder spec.NodeName `json:"holder,omitempty"`
	// Copies are the nodes that are to run copies by the placement in force, each
	// as often as it has some, sorted.
	Copies []spec.NodeName `json:"copies,omitempty"`
	// Planned is the generation that Order was made for; 0: not known.
	Planned uint64 `json:"planned,omitempty"`
	// Rights are the leases of the second and each further primary.
	Rights []Right `json:"rights,omitempty"`
	// Cleared is when an operator last said that failures on a node are to be
	// forgotten, by node.
	Cleared map[spec.NodeName]time.Time `json:"cleared,omitempty"`
}

// Right is the lease of one primary of several. The fields are as in [Service].
type Right struct {
	Order  []spec.NodeName `json:"order,omitempty"`
	Holder spec.NodeName   `json:"holder,omitempty"`
}

// Snapshot is the whole input of a decision. Nodes and Services are sorted by
// name.
type Snapshot struct {
	Now      time.Time `json:"now"`
	Revision int64     `json:"revision"` // of the store, when it was taken
	Quorate  bool      `json:"quorate"`
	// Maintenance: everything stays as it is.
	Maintenance bool      `json:"maintenance,omitempty"`
	Nodes       []Node    `json:"nodes"`
	Services    []Service `json:"services"`
	// History is what the controller remembers, and Recovery bounds what it does.
	History  History       `json:"history,omitzero"`
	Recovery spec.Recovery `json:"recovery,omitzero"`
}
