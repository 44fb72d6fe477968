package fact

import (
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// Trust is what a cell makes of a node that keeps failing.
type Trust string

// How far a node is trusted. Quarantined nodes keep what they run and get nothing
// new while another may take it; those on probation come after all others.
const (
	Trusted     Trust = ""
	Quarantined Trust = "quarantined"
	Probation   Trust = "probation"
)

// History is what the controller remembers beyond what is seen now. Both lists
// are sorted by name and hold only those of whom there is something to remember.
type History struct {
	Nodes    []NodeHistory    `json:"nodes,omitempty"`
	Services []ServiceHistory `json:"services,omitempty"`
	// Storm is the common cause that is seen now; nil: there is none.
	Storm *Storm `json:"storm,omitempty"`
}

// Node returns what is remembered of a node.
func (h History) Node(name spec.NodeName) NodeHistory {
	for _, n := range h.Nodes {
		if n.Node == name {
			return n
		}
	}
	return NodeHistory{Node: name}
}

// Service returns what is remembered of a service.
func (h History) Service(name spec.ServiceName) ServiceHistory {
	for _, s := range h.Services {
		if s.Service == name {
			return s
		}
	}
	return ServiceHistory{Service: name}
}

// NodeHistory is what is remembered of one node.
type NodeHistory struct {
	Node spec.NodeName `json:"node"`
	// Lost says whether it was lost when last looked at, and IllSince since when it
	// has been too ill to run anything; zero: it is not.
	Lost     bool      `json:"lost,omitempty"`
	IllSince time.Time `json:"ill_since,omitzero"`
	// Losses are the times at which it was lost lately, the newest last.
	Losses []time.Time `json:"losses,omitempty"`
	// Failed are the services that gave up there lately, the newest last.
	Failed []ServiceTime `json:"failed,omitempty"`

	// Trust counts since Since and ends at Until by itself. Times is how often in a
	// row it was quarantined, Why the sentence that led to it.
	Trust Trust     `json:"trust,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Times int       `json:"times,omitempty"`
	Why   string    `json:"why,omitempty"`
	// Heeded is the operator's word of trust that was heeded last.
	Heeded time.Time `json:"heeded,omitzero"`
}

// ServiceTime is a service and when something happened to it.
type ServiceTime struct {
	Service spec.ServiceName `json:"service"`
	At      time.Time        `json:"at"`
	// Generation is that of the service's spec then; 0: not known.
	Generation uint64 `json:"generation,omitempty"`
}

// ServiceHistory is what is remembered of one service.
type ServiceHistory struct {
	Service    spec.ServiceName `json:"service"`
	Generation uint64           `json:"generation,omitempty"` // of the spec that Tried is of
	// Tried are the nodes on which it gave up since it last ran well, sorted.
	Tried []Try `json:"tried,omitempty"`
	// Stopped is since when it has been stopped for a person; zero: it is not.
	Stopped time.Time `json:"stopped,omitzero"`
	// Moves are the moves that were planned for it lately, the newest last.
	Moves []Move `json:"moves,omitempty"`
	// Waits says why a move of it is held back, empty if none is, and WaitsUntil
	// until when at least; zero: until what it waits for has changed.
	Waits      string    `json:"waits,omitempty"`
	WaitsUntil time.Time `json:"waits_until,omitzero"`
}

// Try is a node on which a service gave up.
type Try struct {
	Node  spec.NodeName `json:"node"`
	At    time.Time     `json:"at"`
	Why   string        `json:"why,omitempty"`  // the last failure, in one sentence
	Until time.Time     `json:"until,omitzero"` // of the ban
	// Missing is what it could not start there for want of; empty: it failed otherwise.
	Missing string `json:"missing,omitempty"`
	// Cleared is the operator's clearing that was in force there.
	Cleared time.Time `json:"cleared,omitzero"`
}

// Move is a move of a service away from a living node.
type Move struct {
	At   time.Time     `json:"at"`
	From spec.NodeName `json:"from"`
	// Ill is true if the node was ill or the service failed there.
	Ill bool `json:"ill,omitempty"`
}

// Storm is trouble on so many nodes at once that it has a common cause.
type Storm struct {
	Since time.Time       `json:"since"`
	Nodes []spec.NodeName `json:"nodes"` // sorted
	Why   string          `json:"why"`
}
