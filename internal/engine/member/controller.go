package member

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// adoption is since when a lease configuration is adopted, as this controller
// has seen it.
type adoption struct {
	version uint64 // 0: none is
	since   time.Duration
}

// controllerPass makes one step towards the right voters, if this node is the
// controller, and returns whether a change is under way.
func (m *Member) controllerPass(ctx context.Context, all records) (busy bool, err error) {
	if !m.options.Leading() {
		clear(m.lost)
		m.strangers, m.awaited, m.adopted, m.uneven = nil, 0, adoption{}, uneven{}
		m.sayWhole(nil)
		return false, nil
	}
	cell, found, err := get[record.Cell](ctx, m.options.Store, record.KeyCell)
	if err != nil || !found {
		return false, err
	}
	lease, found, err := get[record.Lease](ctx, m.options.Store, record.KeyLease)
	if err != nil || !found {
		return false, err
	}
	alive := m.options.Liveness()
	candidates := m.candidates(all, alive, time.Duration(cell.value.ReplaceVoterAfter))
	if m.options.External {
		return m.externalPass(ctx, all, lease, candidates, alive)
	}

	var members []store.Member
	if err := call(ctx, callTimeout, func(ctx context.Context) (err error) {
		members, err = m.options.Cluster.Members(ctx)
		return err
	}); err != nil {
		return false, err
	}
	seats := m.seats(all, members, alive)
	var current []spec.NodeName
	for _, s := range seats {
		if s.Wished {
			current = append(current, s.Node)
		}
	}
	wanted := ChooseVoters(candidates, current)
	change := NextChange(seats, wanted)
	if change.Verb == Nothing && steady(all, lease.value, wanted) {
		wanted = m.spread(candidates, wanted)
		change = NextChange(seats, wanted)
	} else {
		m.uneven = uneven{}
	}
	m.sayWhole(append(notes(candidates, current, wanted), m.slow(change)...))
	if err := m.carryOut(ctx, all, change); err != nil {
		return true, err
	}
	follow := uint32(0) // the lease voters stay while the store's change
	if change.Verb == Nothing {
		follow = slots(all, wanted)
	}
	moving, err := m.leasePass(ctx, all, lease, follow, absent(all, alive))
	return moving || change.Verb != Nothing, err
}

// steady reports whether the lease plane's voters are those, and not changing.
func steady(all records, lease record.Lease, wanted []spec.NodeName) bool {
	return lease.Prior == 0 && len(wanted) > 0 && lease.Voters == slots(all, wanted)
}

// externalPass chooses the voters of the lease plane directly.
func (m *Member) externalPass(ctx context.Context, all records, lease kept[record.Lease], candidates []Candidate, alive map[spec.NodeName]fact.Liveness) (bool, error) {
	var current []spec.NodeName
	for name, node := range all.nodes {
		if lease.value.Voters&(1<<node.value.Slot) != 0 {
			current = append(current, name)
		}
	}
	wanted := ChooseVoters(candidates, current)
	if steady(all, lease.value, wanted) {
		wanted = m.spread(candidates, wanted)
	} else {
		m.uneven = uneven{}
	}
	m.sayWhole(notes(candidates, current, wanted))
	return m.leasePass(ctx, all, lease, slots(all, wanted), absent(all, alive))
}

// candidates takes note of since when nodes are lost.
func (m *Member) candidates(all records, alive map[spec.NodeName]fact.Liveness, patience time.Duration) []Candidate {
	now := m.options.Clock.Boot()
	maps.DeleteFunc(m.lost, func(name spec.NodeName, _ time.Duration) bool {
		_, known := all.nodes[name]
		return !known
	})
	var candidates []Candidate
	for name, node := range all.nodes {
		c := Candidate{
			Name: name, Labels: node.value.Labels, Witness: node.value.Witness,
			Leaving: all.wishes[name].value.Leaving, Alive: alive[name] == fact.Alive,
		}
		if alive[name] != fact.Lost {
			delete(m.lost, name)
		} else if since, known := m.lost[name]; !known {
			m.lost[name] = now
		} else {
			c.Expired = patience > 0 && now-since >= patience
		}
		candidates = append(candidates, c)
	}
	slices.SortFunc(candidates, byName)
	return candidates
}

// seats joins what is wished with what is.
func (m *Member) seats(all records, members []store.Member, alive map[spec.NodeName]fact.Liveness) []Seat {
	var seats []Seat
	taken := make(map[string]bool)
	for name, node := range all.nodes {
		s := Seat{
			Node: name, Lost: alive[name] == fact.Lost,
			Wished: all.wishes[name].value.Voter, Leaving: all.wishes[name].value.Leaving,
		}
		url := "https://" + peerAddress(node.value)
		for _, member := range members {
			if member.ID == node.value.Member || slices.Contains(member.PeerURLs, url) {
				s.Member, s.Learner = member.ID, member.Learner
				taken[member.ID] = true
			}
		}
		seats = append(seats, s)
	}
	now := m.options.Clock.Boot()
	strangers := make(map[string]time.Duration)
	for _, member := range members {
		if taken[member.ID] {
			continue
		}
		since, known := m.strangers[member.ID]
		if !known {
			since = now
		}
		strangers[member.ID] = since
		seats = append(seats, Seat{Member: member.ID, Learner: member.Learner, Lost: now-since >= strangerPatience})
	}
	m.strangers = strangers
	return seats
}

// slow returns a note if the same change has been awaited for long.
func (m *Member) slow(c Change) []string {
	now := m.options.Clock.Boot()
	if c.Verb != Await {
		m.awaited = 0
		return nil
	}
	if m.awaited == 0 {
		m.awaited = now
	}
	waited := now - m.awaited
	if waited < awaitPatience {
		return nil
	}
	return []string{fmt.Sprintf("%s has been about to take or give back a vote for %s. The log of its agent says why.",
		c.Seat.Node, waited.Round(time.Minute))}
}

func slots(all records, names []spec.NodeName) uint32 {
	var set uint32
	for _, name := range names {
		set |= 1 << all.nodes[name].value.Slot
	}
	return set
}

func (m *Member) carryOut(ctx context.Context, all records, c Change) error {
	name := c.Seat.Node
	switch c.Verb {
	case Invite, Dismiss:
		wish := all.wishes[name]
		wish.value.Voter = c.Verb == Invite
		done, err := put(ctx, m.options.Store, record.KeyWishes+string(name), wish.revision, wish.value)
		if err == nil && done {
			m.options.Log.InfoContext(ctx, "vote decided", "verb", string(c.Verb), logkey.Node, name)
		}
		return err
	case Expel:
		err := call(ctx, callTimeout, func(ctx context.Context) error { return m.options.Cluster.Remove(ctx, c.Seat.Member) })
		if err != nil && !errors.Is(err, store.ErrUnknownMember) {
			return err
		}
		m.options.Log.InfoContext(ctx, "vote decided", "verb", string(c.Verb), logkey.Node, name, "member", c.Seat.Member)
		m.tell(event.VoterRemoved, name, fmt.Sprintf("%s is lost; its vote was taken back", name))
		if own, known := all.nodes[name]; known && own.value.Member != "" {
			own.value.Member = ""
			_, err = put(ctx, m.options.Store, record.KeyNodes+string(name), own.revision, own.value)
			return err
		}
	case Nothing, Await:
	}
	return nil
}

// absent are the slots of nodes that are lost, and those that no node has.
func absent(all records, alive map[spec.NodeName]fact.Liveness) uint32 {
	set := ^uint32(0)
	for name, node := range all.nodes {
		if alive[name] != fact.Lost {
			set &^= 1 << node.value.Slot
		}
	}
	return set
}

// leasePass makes one step of the lease plane's voters towards wanted; lost is as
// in [NextLease].
func (m *Member) leasePass(ctx context.Context, all records, lease kept[record.Lease], wanted, lost uint32) (bool, error) {
	if lease.value.Prior == 0 && (wanted == 0 || wanted == lease.value.Voters) {
		m.adopted = adoption{}
		return false, nil
	}
	settled, err := m.settled(ctx, all, lease.value)
	if err != nil {
		return true, err
	}
	next, changed := NextLease(lease.value, wanted, lost, settled)
	if !changed {
		return true, nil
	}
	done, err := put(ctx, m.options.Store, record.KeyLease, lease.revision, next)
	if err == nil && done {
		m.options.Log.InfoContext(ctx, "lease voters changed", logkey.Version, next.Version, "voters", next.Voters, "prior", next.Prior)
	}
	return true, err
}

// settled reports whether lease has been adopted for its longest TTL, as far as
// this controller has seen. A new controller begins to count anew.
func (m *Member) settled(ctx context.Context, all records, lease record.Lease) (bool, error) {
	reports, err := list[record.Report](ctx, m.options.Store, record.KeyReports)
	if err != nil {
		return false, err
	}
	reported := make(map[uint8]uint64)
	for name, report := range reports {
		if node, known := all.nodes[name]; known {
			reported[node.value.Slot] = report.value.LeaseVersion
		}
	}
	now := m.options.Clock.Boot()
	switch {
	case !Adopted(lease, reported):
		m.adopted = adoption{}
	case m.adopted.version != lease.Version:
		m.adopted = adoption{version: lease.Version, since: now}
	}
	return m.adopted.version != 0 && now-m.adopted.since >= time.Duration(lease.LongestTTL), nil
}

func (m *Member) sayWhole(notes []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.whole = notes
}
