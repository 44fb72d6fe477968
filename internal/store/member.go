package store

import "errors"

// What can stand against a change of the members of the store's cluster.
var (
	// ErrBehind means that a learner has not caught up yet. Try again later.
	ErrBehind = errors.New("learner has not caught up")

	// ErrUnhealthy means that a change of members would endanger the quorum now.
	// Try again later.
	ErrUnhealthy = errors.New("not enough healthy voters for a change")

	// ErrUnknownMember means that the cluster has no member of that id.
	ErrUnknownMember = errors.New("no such member")
)

// Member is one server of the store's own cluster.
type Member struct {
	ID      string // hex, unique in the cluster's life
	Name    string // empty until the server has started
	Learner bool   // follows, has no vote
	// PeerURLs are where the other servers reach it, ClientURLs where clients
	// do; the latter are empty until it has started.
	PeerURLs   []string
	ClientURLs []string
}

// Started reports whether the server has run as a member of the cluster.
func (m Member) Started() bool { return m.Name != "" }
