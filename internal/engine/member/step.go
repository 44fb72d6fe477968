package member

import (
	"slices"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

// step is what a node does next to make its wish true.
type step string

const (
	rest      step = ""           // all is as it should be, or not ours to change
	enrol     step = "enrol"      // become a learner
	start     step = "start"      // start the server of the learner
	promote   step = "promote"    // make the learner a voter
	note      step = "note"       // write the member id into the node's record
	resign    step = "resign"     // take the own member out of the cluster
	vacate    step = "vacate"     // stop the server and put its data aside
	onlyVoter step = "only voter" // cannot resign: nobody else votes
)

// sight is all that a node looks at to find its next step. A step is found
// from what is, never from what was done, so that a crash at any point is no
// different from a pause.
type sight struct {
	wish    *record.NodeWish // nil: nobody has wished for anything
	node    record.Node
	peer    string // URL of this node's peer port
	members []store.Member
	running string // member id of the server that runs, empty if none does
	data    bool   // there is a data directory
}

// own returns the node's member of the cluster.
func (s sight) own() (store.Member, bool) {
	for _, same := range []func(store.Member) bool{
		func(m store.Member) bool { return s.running != "" && m.ID == s.running },
		func(m store.Member) bool { return slices.Contains(m.PeerURLs, s.peer) },
		func(m store.Member) bool { return s.node.Member != "" && m.ID == s.node.Member },
	} {
		if i := slices.IndexFunc(s.members, same); i >= 0 {
			return s.members[i], true
		}
	}
	return store.Member{}, false
}

// next returns the next step.
func (s sight) next() step {
	switch {
	case s.wish == nil:
		return rest
	case s.wish.Voter && s.wish.Leaving:
		return rest // the controller takes the vote back when another is there
	case s.wish.Voter:
		return s.towards()
	default:
		return s.away()
	}
}

// towards is the way to a vote.
func (s sight) towards() step {
	own, member := s.own()
	switch {
	case !member && (s.running != "" || s.data):
		return vacate // the others have removed this node meanwhile
	case !member:
		return enrol
	case s.running != "" && s.running != own.ID:
		return vacate // the data are of an earlier membership
	case s.running == "" && s.data:
		return rest // the server did not start; who starts it says why
	case s.running == "" && own.Started():
		return resign // the data are gone: this member cannot come back
	case s.running == "":
		return start
	case own.Learner:
		return promote
	case s.node.Member != own.ID:
		return note
	default:
		return rest
	}
}

// away is the way from a vote.
func (s sight) away() step {
	own, member := s.own()
	switch {
	case member && !own.Learner && s.voters() == 1:
		return onlyVoter
	case member:
		return resign
	case s.running != "" || s.data:
		return vacate
	case s.node.Member != "":
		return note
	default:
		return rest
	}
}

func (s sight) voters() int {
	n := 0
	for _, m := range s.members {
		if !m.Learner {
			n++
		}
	}
	return n
}
