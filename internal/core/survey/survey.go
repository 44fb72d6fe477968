// Package survey puts together what is known of a cell, for a decision, and says
// what of the decision is news.
//
// Its main rule: a placement is written anew only if it differs from the one in
// force, or if that one is not followed; so a cell in which nothing changes writes
// nothing.
//
// The package is pure: records, reports and what the guard sees come in, a
// snapshot and records come out. A controller reads and writes them, and so does
// the simulator.
package survey

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// MuteAfter is after how long without a report a node counts as mute; one is due
// every 10 s.
const MuteAfter = 15 * time.Second

// Sight is what this node's guard sees.
type Sight struct {
	Up    bool // the guard answers
	State guardwire.State
}

// Fit reports whether a controller with this sight may judge others.
func (s Sight) Fit() bool { return s.Up && !s.State.Fresh && s.State.Quorate }

// Cell is what the store holds of a cell, as far as a decision needs it.
type Cell struct {
	Revision int64 // of the store
	Nodes    map[spec.NodeName]Node
	Reports  map[spec.NodeName]Report // also of nodes that are no members any more
	Services map[spec.ServiceName]Service
	Wish     record.CellWish
	History  fact.History
	Recovery spec.Recovery
}

// Node is what the store holds of a node.
type Node struct {
	Record record.Node
	Wish   record.NodeWish
}

// Report is a node's report and when it was seen.
type Report struct {
	record.Report
	Seen time.Time
}

// Service is what the store holds of a service.
type Service struct {
	Record    record.Service
	Placement record.Placement // zero: there is none
	Placed    bool
}

// Snapshot puts together what the store says and what the guard sees at now.
func (c *Cell) Snapshot(s Sight, now time.Time) fact.Snapshot {
	out := fact.Snapshot{
		Now: now, Revision: c.Revision, Quorate: s.Fit(), Maintenance: c.Wish.Maintenance,
		History: c.History, Recovery: c.Recovery,
	}
	for _, name := range slices.Sorted(maps.Keys(c.Nodes)) {
		n, report := c.Nodes[name], c.Reports[name]
		out.Nodes = append(out.Nodes, fact.Node{
			Name:      name,
			Labels:    n.Record.Labels,
			Liveness:  liveness(s, n.Record.Slot),
			Drain:     n.Wish.Drain,
			Leaving:   n.Wish.Leaving,
			Witness:   n.Record.Witness,
			Mute:      report.mute(now),
			Cleared:   n.Wish.Trust,
			Instances: report.instances(),

			Maintenance: n.Wish.Maintenance,
			Health:      max(-spec.MaxScore, min(0, report.Health.Score)),
		})
	}
	holders := c.holders(s)
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		r, p := c.Services[name].Record, c.Services[name].Placement
		svc := fact.Service{
			Spec:       r.Spec,
			Generation: r.Generation,
			Deleting:   r.Deleting,
			Order:      p.Order,
			Holder:     holders[name],
			Planned:    p.Generation,
			Cleared:    r.Cleared,
		}
		for _, copy := range p.Copies {
			svc.Copies = append(svc.Copies, copy.Node)
		}
		switch {
		case !r.Spec.HasLease():
			svc.Holder = "" // everybody and nobody
		case svc.Holder == "":
			svc.Holder = running(out.Nodes, r.Spec, svc.Order, 0)
		}
		svc.Rights = c.rights(s, name, out.Nodes)
		if r.Move != nil {
			svc.MoveTo, svc.MoveFrom = r.Move.To, r.Move.From
		}
		out.Services = append(out.Services, svc)
	}
	return out
}

// rights are the leases of a service's second and further primaries.
func (c *Cell) rights(s Sight, name spec.ServiceName, nodes []fact.Node) []fact.Right {
	r, p := c.Services[name].Record, c.Services[name].Placement
	var out []fact.Right
	leases := r.Spec.Primaries()
	if r.Deleting {
		leases = len(r.Rights) + 1 // all that it ever had must be free
	}
	for lease := 1; lease < leases; lease++ {
		one := fact.Right{Order: p.OrderOf(lease)}
		if id := r.LeaseID(lease); id != 0 {
			one.Holder = c.holderOf(s, id)
		}
		if one.Holder == "" {
			one.Holder = running(nodes, r.Spec, one.Order, lease)
		}
		out = append(out, one)
	}
	return out
}

// holderOf is who holds a lease, as far as the guard knows.
func (c *Cell) holderOf(s Sight, id uint32) spec.NodeName {
	slot, held := s.State.Holders[id]
	if !held {
		return ""
	}
	for name, n := range c.Nodes {
		if n.Record.Slot == slot {
			return name
		}
	}
	return ""
}

// mute reports whether a node that used to report has stopped doing so. One that
// has only just joined has not.
func (r *Report) mute(now time.Time) bool { return !r.Seen.IsZero() && now.Sub(r.Seen) > MuteAfter }

// liveness is what the cell holds of the node in a slot. A node that the guard
// has not heard of yet is suspect: nothing moves away for that.
func liveness(s Sight, slot uint8) fact.Liveness {
	bit := uint32(1) << slot
	switch {
	case s.State.Lost&bit != 0:
		return fact.Lost
	case s.State.Suspect&bit != 0:
		return fact.Suspect
	case s.State.Alive&bit != 0:
		return fact.Alive
	}
	return fact.Suspect
}

// holders says who holds which lease, as far as the guard knows.
func (c *Cell) holders(s Sight) map[spec.ServiceName]spec.NodeName {
	bySlot := make(map[uint8]spec.NodeName, len(c.Nodes))
	for name, n := range c.Nodes {
		bySlot[n.Record.Slot] = name
	}
	holders := make(map[spec.ServiceName]spec.NodeName)
	for name, svc := range c.Services {
		if slot, held := s.State.Holders[svc.Record.ID]; held && bySlot[slot] != "" {
			holders[name] = bySlot[slot]
		}
	}
	return holders
}

// running returns the node that reports the service as running, if the lease
// plane does not know its holder: a guard that has just started has not heard
// of all leases. Of several the first in the succession list counts, then the
// first by name. Of a service with roles only the primary under that lease counts.
func running(nodes []fact.Node, service spec.Service, order []spec.NodeName, lease int) spec.NodeName {
	var found []spec.NodeName
	for _, n := range nodes {
		if n.Liveness == fact.Lost || n.Mute {
			continue
		}
		for _, i := range n.Instances {
			if i.Service == service.Name && (!service.HasRoles() || i.Role == spec.RolePrimary && i.Right == lease) && (i.Phase == fact.Starting || i.Phase == fact.Running) {
				found = append(found, n.Name)
			}
		}
	}
	for _, n := range order {
		if slices.Contains(found, n) {
			return n
		}
	}
	if len(found) > 0 {
		return found[0]
	}
	return ""
}

// clockSkew is by how much a node's clock may differ from the controller's
// until its times are translated.
const clockSkew = 10 * time.Second

// instances returns the reported instances, sorted by service. The end of a ban
// is in the node's own time; if its clock is far off, what is left of the ban
// counts from when the report was seen.
func (r *Report) instances() []fact.Instance {
	out := slices.Clone(r.Instances)
	slices.SortStableFunc(out, func(a, b fact.Instance) int { return cmp.Compare(a.Service, b.Service) })
	off := r.Seen.Sub(r.At).Abs() > clockSkew
	for i, in := range out {
		if off && !in.FailedUntil.IsZero() {
			out[i].FailedUntil = r.Seen.Add(in.FailedUntil.Sub(r.At))
		}
	}
	return out
}
