// Package reason holds the answers to "why is it there", "what would happen"
// and "would it be decided again".
//
// They are plain values, made by package explain out of snapshots and plans,
// carried by the API and printed by the command line. Their one rule is that
// every sentence names what it is about - a service, a node, a rule of the spec -
// so that it can be shown as it is. Nothing here decides or judges.
package reason

import (
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// By is what decided between two nodes. The words are stable: scripts match on
// them.
type By string

// What can decide. All but the first three are the criteria of a decision, the
// weightiest first; preference, stickiness, attraction and health are what the
// larger score is made of.
const (
	ByNothing     By = ""            // there is nothing to explain
	ByRule        By = "rule"        // a rule forbids the node
	ByOnly        By = "only"        // no other node may run it
	ByHeld        By = "held"        // its move away waits
	ByAsked       By = "asked"       // an operator asked for the node
	BySuspicion   By = "suspicion"   // the other node is suspect
	ByUnwanted    By = "unwanted"    // an operator asked to leave the other node
	ByPreference  By = "preference"  // place.prefer
	ByStickiness  By = "stickiness"  // it is there already
	ByAttraction  By = "attraction"  // place.near, its own or another's
	ByHealth      By = "health"      // the nodes' health
	ByPresence    By = "presence"    // equal scores, and it is there already
	ByDisplacing  By = "displacing"  // equal scores; on the other it would displace a service
	ByCapacity    By = "capacity"    // equal scores; there is more room
	ByLoad        By = "load"        // equal scores; fewer services are there
	ByTakeover    By = "takeover"    // equal; fewer services would come there at once
	ByNamed       By = "named"       // all is equal, and place.prefer names it
	ByName        By = "name"        // all is equal: the first by name
	BySpread      By = "spread"      // place.spread: another copy is at the same place
	ByMaintenance By = "maintenance" // it is left as it is
)

// Seat is one place of a service, with the role of the copy there.
type Seat struct {
	Node spec.NodeName `json:"node"`
	Role spec.Role     `json:"role,omitempty"`
}

// Stand is how a node stands to a service.
type Stand string

// The ways in which a node can stand to a service.
const (
	Home  Stand = "home"  // it is to run there
	Next  Stand = "next"  // it takes over if those before it are lost
	Never Stand = "never" // a rule forbids it now
)

// Score is one part of what speaks for or against a node, and the rule that it
// comes from.
type Score struct {
	Rule  string `json:"rule"`
	Score int    `json:"score"`
}

// Verdict is how one node stands to a service, and why.
type Verdict struct {
	Node  spec.NodeName `json:"node"`
	Stand Stand         `json:"stand"`
	// Score is the sum of Scores. Both are empty for a node that may never run it.
	Score  int     `json:"score"`
	Scores []Score `json:"scores,omitempty"`
	By     By      `json:"by"`
	// Why is one sentence: what made the home better, or which rule forbids it.
	Why string `json:"why"`
}

// Shift is one thing that would move a service. It was tried: To is what a
// decision on that says.
type Shift struct {
	If string `json:"if"`
	// To is where it would be then; empty: nowhere.
	To []Seat `json:"to,omitempty"`
	// Then says what comes after, such as that it would return; may be empty.
	Then string `json:"then,omitempty"`
}

// Why says of a service where it is and why.
type Why struct {
	Service spec.ServiceName `json:"service"`
	// Now is where it runs, Belongs where it is to run; empty: nowhere.
	Now     []Seat `json:"now,omitempty"`
	Belongs []Seat `json:"belongs,omitempty"`
	// By is what decided for Belongs, Because says it in sentences.
	By      By       `json:"by"`
	Because []string `json:"because"`
	// Nodes are all nodes of the cell: the homes, those that take over in their
	// order, then those that may not.
	Nodes []Verdict `json:"nodes"`
	// Shifts are what would move it, as far as that was tried.
	Shifts []Shift `json:"shifts,omitempty"`
	// Plan is the decision that put it there, and Placed when that was; both are
	// zero if nothing was decided yet.
	Plan   string    `json:"plan,omitempty"`
	Placed time.Time `json:"placed,omitzero"`
	// Hold is why nothing is decided now; empty: it is.
	Hold string `json:"hold,omitempty"`
}

// Kind is what happens to a service.
type Kind string

// What can happen to a service.
const (
	Starts   Kind = "starts"
	Moves    Kind = "moves"
	Restarts Kind = "restarts" // on the spot, with what is new in its spec
	Stops    Kind = "stops"    // as its spec says
	Loses    Kind = "loses"    // it loses its home: no node may run it
	Homeless Kind = "homeless" // it had no home before either
	Copies   Kind = "copies"   // where its copies are, or their roles, changes
	Adjusts  Kind = "adjusts"  // its spec changes, and it goes on as it is
	Follows  Kind = "follows"  // it stays, and others take over than before
)

// Change is what happens to one service.
type Change struct {
	Service spec.ServiceName `json:"service"`
	Kind    Kind             `json:"kind"`
	From    []Seat           `json:"from,omitempty"`
	To      []Seat           `json:"to,omitempty"`
	// Next takes over then, in this order.
	Next []spec.NodeName `json:"next,omitempty"`
	Why  []string        `json:"why"`
	// Against names, where it has no home, what forbids each node.
	Against []Verdict `json:"against,omitempty"`
}

// Alone is a service that nobody would take over.
type Alone struct {
	Service spec.ServiceName `json:"service"`
	Node    spec.NodeName    `json:"node"`
	// New: somebody would take it over now.
	New bool `json:"new,omitempty"`
	// Against names what forbids each other node.
	Against []Verdict `json:"against,omitempty"`
}

// Step is one thing that would be done. Steps whose After are done run at once.
type Step struct {
	Number  int              `json:"number"` // from 1
	Verb    string           `json:"verb"`   // start, stop, promote or demote
	Service spec.ServiceName `json:"service"`
	Node    spec.NodeName    `json:"node"`
	After   []int            `json:"after,omitempty"` // numbers of steps
}

// Room is how much of one unit a node has, and how much would be in use.
type Room struct {
	Node spec.NodeName `json:"node"`
	Unit string        `json:"unit"`
	Has  int           `json:"has"`
	Used int           `json:"used"`
	Left int           `json:"left"`
}

// Outlook is what would happen.
type Outlook struct {
	// Plan is the id of the plan that was made for it.
	Plan string `json:"plan"`
	// Hold is why nothing would be planned; empty: it would.
	Hold    string             `json:"hold,omitempty"`
	Changes []Change           `json:"changes,omitempty"` // sorted by service
	Stays   []spec.ServiceName `json:"stays,omitempty"`
	Alone   []Alone            `json:"alone,omitempty"`
	Steps   []Step             `json:"steps,omitempty"`
	Room    []Room             `json:"room,omitempty"`
	// Notes are sentences about the whole: votes, warnings, what was assumed.
	Notes []string `json:"notes,omitempty"`
}

// Changed reports whether anything would be other than it is.
func (o Outlook) Changed() bool { return len(o.Changes) > 0 || o.Hold != "" }

// Moved reports whether anything would happen to a service.
func (o Outlook) Moved() bool {
	for _, c := range o.Changes {
		if c.Kind != Follows && c.Kind != Adjusts && c.Kind != Homeless {
			return true
		}
	}
	return o.Hold != ""
}

// Lost reports whether a service would lose its home.
func (o Outlook) Lost() bool {
	for _, c := range o.Changes {
		if c.Kind == Loses {
			return true
		}
	}
	return o.Hold != ""
}

// Decision is a decision that was recorded.
type Decision struct {
	Plan     string             `json:"plan"`
	At       time.Time          `json:"at"`
	Node     spec.NodeName      `json:"node"` // who decided
	Services []spec.ServiceName `json:"services,omitempty"`
	// Bytes is how much the record takes; 0: it was too large to be kept.
	Bytes int `json:"bytes"`
}

// Replayed is a past decision, decided again.
type Replayed struct {
	Decision Decision `json:"decision"`
	// Same: the plan is the recorded one to the byte. Compared is false if there
	// was no recorded plan to compare with.
	Same     bool `json:"same"`
	Compared bool `json:"compared"`
	// Difference says what differs first; empty if nothing does.
	Difference string `json:"difference,omitempty"`
	// Snapshot and Plan are the recorded snapshot and the plan made now, as JSON.
	Snapshot []byte   `json:"snapshot,omitempty"`
	Plan     []byte   `json:"plan,omitempty"`
	Places   []Placed `json:"places,omitempty"`
	Hold     string   `json:"hold,omitempty"`
}

// Placed is what a decision said of one service.
type Placed struct {
	Service spec.ServiceName `json:"service"`
	Seats   []Seat           `json:"seats,omitempty"`
	Next    []spec.NodeName  `json:"next,omitempty"`
	Changed bool             `json:"changed"`
	Why     []string         `json:"why"`
}
