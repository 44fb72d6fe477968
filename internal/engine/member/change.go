package member

import (
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// Seat is a node's vote: what the controller wishes and what is.
type Seat struct {
	Node    spec.NodeName // empty: a member of the store that is no node of the cell
	Lost    bool          // a majority misses it, or it has been no node for long
	Leaving bool
	Wished  bool   // the node is asked to vote
	Member  string // its member id, empty if it is none
	Learner bool   // it is a member without a vote yet
}

// votes reports whether the seat counts in the store's quorum.
func (s Seat) votes() bool { return s.Member != "" && !s.Learner }

// Verb is what the controller does to a vote.
type Verb string

// The verbs. Invite and Dismiss change the wish, which the node then makes
// true itself; Expel takes a member out of the store without the node's help.
const (
	Nothing Verb = ""
	Await   Verb = "await" // a change is under way
	Invite  Verb = "invite"
	Dismiss Verb = "dismiss"
	Expel   Verb = "expel"
)

// Change is the next thing to do, one at a time.
type Change struct {
	Verb Verb
	Seat Seat
}

// NextChange returns the one thing that brings the seats nearer to wanted, the
// names of who shall vote. Nothing means that they are there.
//
// What was begun is ended first, or called off if the node it concerns is lost.
// New voters come before old ones go, unless the quorum has no room for one
// more: etcd takes a new member only if a majority lives without it.
func NextChange(seats []Seat, wanted []spec.NodeName) Change {
	seats = slices.Clone(seats)
	slices.SortFunc(seats, func(a, b Seat) int {
		return strings.Compare(string(a.Node)+"/"+a.Member, string(b.Node)+"/"+b.Member)
	})
	waits, awaited := false, Seat{}
	voters, living := 0, 0
	for _, s := range seats {
		if s.votes() {
			voters++
			if !s.Lost {
				living++
			}
		}
		switch {
		case s.Wished && !s.votes() && (s.Lost || s.Leaving):
			return Change{Dismiss, s}
		case !s.Wished && s.Member != "" && s.Lost:
			return Change{Expel, s}
		case s.Wished != s.votes():
			waits, awaited = true, s
		}
	}
	if waits {
		return Change{Await, awaited}
	}
	if len(wanted) == 0 {
		return Change{}
	}
	var add, drop []Seat
	for _, s := range seats {
		switch {
		case slices.Contains(wanted, s.Node) && !s.Wished:
			add = append(add, s)
		case !slices.Contains(wanted, s.Node) && s.Wished:
			drop = append(drop, s)
		}
	}
	room := voters <= 1 || living >= (voters+1)/2+1
	switch {
	case len(add) > 0 && (room || len(drop) == 0):
		return Change{Invite, add[0]}
	case len(drop) > 0 && voters > 1:
		return Change{Dismiss, lightest(drop)}
	default:
		return Change{}
	}
}

// lightest returns the seat that is missed least: one that is lost, then one
// that leaves, then the last by name.
func lightest(seats []Seat) Seat {
	least := seats[0]
	for _, s := range seats[1:] {
		if weight(s) <= weight(least) {
			least = s
		}
	}
	return least
}

func weight(s Seat) int {
	switch {
	case s.Lost:
		return 0
	case s.Leaving:
		return 1
	default:
		return 2
	}
}
