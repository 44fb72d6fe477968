package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

// nodePass makes one step towards this node's wish, and returns whether there
// may be another at once.
func (m *Member) nodePass(ctx context.Context, all records) (busy bool, err error) {
	own, known := all.nodes[m.options.Node]
	if m.options.External || !known {
		return false, nil
	}
	s := sight{node: own.value, running: m.options.Server.MemberID(), data: m.options.HasData()}
	s.peer = "https://" + peerAddress(own.value)
	if wish, wished := all.wishes[m.options.Node]; wished {
		s.wish = &wish.value
	}
	voting := s.wish != nil && s.wish.Voter
	if !voting && s.running == "" && !s.data && own.value.Member == "" {
		m.sayOwn(rest)
		return false, nil // a client node: nothing to look at
	}
	err = call(ctx, callTimeout, func(ctx context.Context) (err error) {
		s.members, err = m.options.Cluster.Members(ctx)
		return err
	})
	if err != nil {
		return false, err
	}
	next := s.next()
	m.sayOwn(next)
	if next == rest || next == onlyVoter {
		m.lastStep = rest
		return false, nil
	}
	if next != m.lastStep {
		m.options.Log.InfoContext(ctx, "vote changing", "step", string(next), logkey.Node, m.options.Node)
	}
	m.lastStep = next
	if err := m.do(ctx, next, s, own); err != nil {
		return true, fmt.Errorf("%s: %w", next, err)
	}
	return true, nil
}

func peerAddress(n record.Node) string {
	port := n.Ports.Peer
	if port == 0 {
		port = defaultPeerPort
	}
	return net.JoinHostPort(n.Address, strconv.Itoa(port))
}

func (m *Member) sayOwn(next step) {
	var notes []string
	if next == onlyVoter {
		notes = []string{fmt.Sprintf("%s is the only voter of this cell, so it cannot give its vote back. Join another node first: `keelson join`", m.options.Node)}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own = notes
}

func (m *Member) do(ctx context.Context, next step, s sight, own kept[record.Node]) error {
	o := m.options
	member, _ := s.own()
	switch next {
	case enrol:
		return call(ctx, callTimeout, func(ctx context.Context) error {
			_, err := o.Cluster.AddLearner(ctx, peerAddress(s.node))
			return err
		})
	case start:
		return call(ctx, startTimeout, func(ctx context.Context) error { return o.Server.StartJoin(ctx, s.members) })
	case promote:
		return call(ctx, callTimeout, func(ctx context.Context) error {
			if err := o.Server.Ready(ctx); err != nil {
				return err
			}
			return o.Cluster.Promote(ctx, member.ID)
		})
	case note:
		if err := m.note(ctx, own, member.ID); err != nil {
			return err
		}
		if member.ID != "" {
			m.tell(event.VoterAdded, o.Node, fmt.Sprintf("%s votes in the cell's store now", o.Node))
		} else {
			m.tell(event.VoterRemoved, o.Node, fmt.Sprintf("%s votes in the cell's store no more", o.Node))
		}
		return nil
	case resign:
		return m.resign(ctx, member.ID)
	case vacate:
		if err := call(ctx, stopTimeout, o.Server.Stop); err != nil {
			return err
		}
		return o.Server.Discard(o.Clock.Now())
	case rest, onlyVoter:
	}
	return nil
}

// note writes the node's member id into its record.
func (m *Member) note(ctx context.Context, own kept[record.Node], id string) error {
	own.value.Member = id
	_, err := put(ctx, m.options.Store, record.KeyNodes+string(m.options.Node), own.revision, own.value)
	return err
}

// resign takes the member out of the cluster. That it led is only a matter of
// how long the others need to go on, so a failed move is no reason to stay.
func (m *Member) resign(ctx context.Context, id string) error {
	if m.options.Server.MemberID() == id {
		if err := call(ctx, callTimeout, func(ctx context.Context) error { return m.options.Cluster.MoveLeader(ctx, id) }); err != nil {
			m.options.Log.WarnContext(ctx, "leadership not moved before resigning", logkey.Err, err)
		}
	}
	err := call(ctx, callTimeout, func(ctx context.Context) error { return m.options.Cluster.Remove(ctx, id) })
	if errors.Is(err, store.ErrUnknownMember) {
		return nil
	}
	return err
}
