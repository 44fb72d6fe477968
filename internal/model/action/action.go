// Package action holds what can be done: the plan that a decision returns.
//
// A plan is data. It is saved before anything of it is carried out, and
// carrying it out twice has the effect of carrying it out once.
package action

import (
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Placement is the decision for one service: who runs it, then who follows.
type Placement struct {
	Service spec.ServiceName `json:"service"`
	// Order is the succession list, the intended holder first. Empty: the
	// service is to run nowhere.
	Order []spec.NodeName `json:"order,omitempty"`
	// Copies is where the copies of a service that has several are to be, sorted
	// by node; Order is empty then.
	Copies []Copy `json:"copies,omitempty"`
	// Orders is Order for the second and each further primary.
	Orders [][]spec.NodeName `json:"orders,omitempty"`
	// Why says, in sentences, why this node and why not each other one.
	Why []string `json:"why"`
	// Refusals names, for every node that is not in Order, what forbids it.
	Refusals []Refusal `json:"refusals,omitempty"`
	// Changed is true if Order differs from the one in force.
	Changed bool `json:"changed"`
	// Waits says why it is not where it is to be, or nowhere, for now: it is held
	// back, or stopped for a person. Empty: it is not.
	Waits string `json:"waits,omitempty"`
	// Left is true of what is left as it is, for maintenance or for what Held says.
	Left bool `json:"left,omitempty"`
	// Held says which rule the plan would have broken for it, which is a fault in
	// Keelson: it is left as it is, and all else goes on. Empty: none.
	Held string `json:"held,omitempty"`
	// MoveDone is true if an operator's wish to move is fulfilled or void.
	MoveDone bool `json:"move_done,omitempty"`
}

// Copy is one copy of a service.
type Copy struct {
	Node spec.NodeName `json:"node"`
	Role spec.Role     `json:"role,omitempty"`
}

// Step is one thing that the plan does. Steps that wait for nothing that is
// left to do run at once.
type Step struct {
	Verb    string           `json:"verb"` // start, stop, promote or demote
	Service spec.ServiceName `json:"service"`
	Node    spec.NodeName    `json:"node"`
	// After are the indexes, in the plan's Steps, of those that come first.
	After []int `json:"after,omitempty"`
}

// Refusal says why a node cannot run a service.
type Refusal struct {
	Node spec.NodeName `json:"node"`
	Why  string        `json:"why"`
}

// Plan is the whole outcome of a decision, one Placement a service, sorted by
// service name.
type Plan struct {
	// ID is derived from the snapshot's content: the same snapshot gives the
	// same id.
	ID         string      `json:"id"`
	Hold       string      `json:"hold,omitempty"` // not empty: nothing may change, and why
	Placements []Placement `json:"placements,omitempty"`
	// Steps is what has to be done for it, as an ordered graph.
	Steps []Step `json:"steps,omitempty"`
	// Forget lists services that were deleted and run nowhere any more.
	Forget []spec.ServiceName `json:"forget,omitempty"`
	// History is what is to be remembered, in place of the snapshot's; nil: that
	// stays. It is written together with the placements that it is about.
	History *fact.History `json:"history,omitempty"`
	// Notes are what happened that is told nowhere else.
	Notes []Note `json:"notes,omitempty"`
}

// Note is one thing to tell an operator.
type Note struct {
	Kind    event.Kind       `json:"kind"`
	Service spec.ServiceName `json:"service,omitempty"`
	Node    spec.NodeName    `json:"node,omitempty"`
	Text    string           `json:"text"` // one sentence or more
}
