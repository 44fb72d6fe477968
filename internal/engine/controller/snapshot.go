package controller

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// snapshot puts together what the store says and what the guard sees. It is a
// pure function of both and of the time.
func (m *mirror) snapshot(s Sight, now time.Time) fact.Snapshot {
	out := fact.Snapshot{
		Now: now, Revision: m.revision, Quorate: s.fit(), Maintenance: m.wish.value.Maintenance,
		History: m.history(), Recovery: m.recovery.value,
	}
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		n := m.nodes[name].value
		wish := m.wishes[name].value
		out.Nodes = append(out.Nodes, fact.Node{
			Name:      name,
			Labels:    n.Labels,
			Liveness:  liveness(s, n.Slot),
			Drain:     wish.Drain,
			Leaving:   wish.Leaving,
			Witness:   n.Witness,
			Mute:      m.mute(name, now),
			Cleared:   wish.Trust,
			Instances: m.reports[name].value.instances(),

			Maintenance: wish.Maintenance,
			Health:      max(-spec.MaxScore, min(0, m.reports[name].value.Health.Score)),
		})
	}
	holders := m.holders(s)
	for _, name := range slices.Sorted(maps.Keys(m.services)) {
		r := m.services[name].value
		svc := fact.Service{
			Spec:       r.Spec,
			Generation: r.Generation,
			Deleting:   r.Deleting,
			Order:      m.placements[name].value.Order,
			Holder:     holders[name],
			Planned:    m.placements[name].value.Generation,
			Cleared:    r.Cleared,
		}
		for _, c := range m.placements[name].value.Copies {
			svc.Copies = append(svc.Copies, c.Node)
		}
		switch {
		case !r.Spec.HasLease():
			svc.Holder = "" // everybody and nobody
		case svc.Holder == "":
			svc.Holder = running(out.Nodes, r.Spec, svc.Order, 0)
		}
		svc.Rights = m.rights(s, r, out.Nodes)
		if r.Move != nil {
			svc.MoveTo, svc.MoveFrom = r.Move.To, r.Move.From
		}
		out.Services = append(out.Services, svc)
	}
	return out
}

// rights are the leases of a service's second and further primaries.
func (m *mirror) rights(s Sight, r record.Service, nodes []fact.Node) []fact.Right {
	var out []fact.Right
	leases := r.Spec.Primaries()
	if r.Deleting {
		leases = len(r.Rights) + 1 // all that it ever had must be free
	}
	for lease := 1; lease < leases; lease++ {
		one := fact.Right{Order: m.placements[r.Spec.Name].value.OrderOf(lease)}
		if id := r.LeaseID(lease); id != 0 {
			one.Holder = m.holderOf(s, id)
		}
		if one.Holder == "" {
			one.Holder = running(nodes, r.Spec, one.Order, lease)
		}
		out = append(out, one)
	}
	return out
}

// holderOf is who holds a lease, as far as the guard knows.
func (m *mirror) holderOf(s Sight, id uint32) spec.NodeName {
	slot, held := s.State.Holders[id]
	if !held {
		return ""
	}
	for name, n := range m.nodes {
		if n.value.Slot == slot {
			return name
		}
	}
	return ""
}

// mute reports whether a node that used to report has stopped doing so. One that
// has only just joined has not.
func (m *mirror) mute(name spec.NodeName, now time.Time) bool {
	r, reported := m.reports[name]
	return reported && now.Sub(r.value.seen) > muteAfter
}

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
func (m *mirror) holders(s Sight) map[spec.ServiceName]spec.NodeName {
	bySlot := make(map[uint8]spec.NodeName, len(m.nodes))
	for name, n := range m.nodes {
		bySlot[n.value.Slot] = name
	}
	holders := make(map[spec.ServiceName]spec.NodeName)
	for name, svc := range m.services {
		if slot, held := s.State.Holders[svc.value.ID]; held && bySlot[slot] != "" {
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
func (r report) instances() []fact.Instance {
	out := slices.Clone(r.Instances)
	slices.SortStableFunc(out, func(a, b fact.Instance) int { return cmp.Compare(a.Service, b.Service) })
	off := r.seen.Sub(r.At).Abs() > clockSkew
	for i, in := range out {
		if off && !in.FailedUntil.IsZero() {
			out[i].FailedUntil = r.seen.Add(in.FailedUntil.Sub(r.At))
		}
	}
	return out
}

// void reports whether a wish to move says nothing.
func void(m *record.Move) bool { return m != nil && m.To == "" && m.From == "" }
