// Package custody decides what a node's guard lets run, what it cuts off and what
// it gives back, whatever its agent does.
//
// Its main rule is cut-before-end: what runs under a lease is cut off in time for
// the lease's end ([Margin]), and a lease is given back early only when what ran
// under it is proven off and nothing can start any more.
//
// The package is pure: leases, the agent's duty and the time come in, orders and
// cuts come out. It carries nothing out. The guard does, and so does the
// simulator.
package custody

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// Margin is how long before a lease's end the cut begins, so that it is done by
// then (cut-before-end).
const Margin = bound.Cut

// Order says what shall be true of one service: it may run until then, or not
// at all if Until is in the past.
type Order struct {
	Service   spec.ServiceName
	Epoch     uint64
	Until     time.Duration
	Proof     time.Duration // only a cut that began at this moment or later proves anything
	Exclusive bool
	Addresses []string
	Cgroups   []string
	Spared    bool // it may run without the lease
}

// Over reports whether the service is to be off at now.
func (o *Order) Over(now time.Duration) bool { return o.Until-Margin <= now }

// Renews reports whether o says of the same instance only that what goes on may
// do so longer, or that what has ended has.
func (o *Order) Renews(was *Order, now time.Duration) bool {
	onTime := o.Until == was.Until || o.Until > was.Until && !was.Over(now)
	return onTime && o.Service == was.Service && o.Epoch == was.Epoch && o.Exclusive == was.Exclusive && o.Proof == was.Proof &&
		o.Spared == was.Spared &&
		slices.Equal(o.Addresses, was.Addresses) && slices.Equal(o.Cgroups, was.Cgroups)
}

// Books are what a guard goes by. All that they point to is the guard's, and
// changed only by what says so.
type Books struct {
	Duty *guardwire.Duty // in force
	// Forsaken are services that are cut off although their lease is held, and
	// until when the agent was told that it is.
	Forsaken map[spec.ServiceName]time.Duration
	// Primary is the highest epoch held, by service with roles.
	Primary map[uint32]uint64
	// Gone reports whether a service is proven off by a cut that began since it was
	// last let run, and does not pass.
	Gone func(spec.ServiceName) bool
	// Twice: the duty has a name under two leases, see [Twice].
	Twice bool
	// At is where the duty names a lease, see [Index]; what is not there is looked for.
	At map[lease.ID]int
}

// Index is where a duty names each lease.
func Index(d *guardwire.Duty) map[lease.ID]int {
	at := make(map[lease.ID]int, len(d.Seeks))
	for i := range d.Seeks {
		at[d.Seeks[i].ID] = i
	}
	return at
}

// Seek is what the duty says of a lease, or nil. It is good until the duty changes.
func (b Books) Seek(id lease.ID) *guardwire.Seek {
	if i, known := b.At[id]; known && i < len(b.Duty.Seeks) && b.Duty.Seeks[i].ID == id {
		return &b.Duty.Seeks[i]
	}
	for i := range b.Duty.Seeks {
		if b.Duty.Seeks[i].ID == id {
			return &b.Duty.Seeks[i]
		}
	}
	return nil
}

// Orders appends to buf until when every service of the duty may run, given the
// leases held, which are sorted by id. It notes epochs in Primary.
func (b Books) Orders(now time.Duration, holds []lease.Hold, buf []Order) []Order {
	for i := range b.Duty.Seeks {
		s := &b.Duty.Seeks[i]
		o := Order{Service: s.Service, Exclusive: s.Exclusive, Addresses: s.Addresses, Cgroups: s.Cgroups}
		at, held := slices.BinarySearchFunc(holds, s.ID, func(h lease.Hold, id lease.ID) int { return cmp.Compare(h.ID, id) })
		if told, forsaken := b.Forsaken[s.Service]; forsaken {
			o.Proof = told
		} else if held {
			o.Epoch, o.Until = holds[at].Number, RunsUntil(&holds[at], s, now)
		}
		o.Spared = b.spared(s, o.Epoch)
		buf = append(buf, o)
	}
	if b.Twice {
		buf = ByName(buf, now)
	}
	return buf
}

// ByName makes one order of those of one name: a service that has another lease than
// before, as one that was first applied under an earlier version and is deleted and
// applied again, while the old one is held. What may run decides; if nothing may,
// all that either names is cut off. The slice is used again.
func ByName(orders []Order, now time.Duration) []Order {
	out := orders[:0]
	for _, o := range orders {
		i := slices.IndexFunc(out, func(p Order) bool { return p.Service == o.Service })
		if i < 0 {
			out = append(out, o)
			continue
		}
		was := &out[i]
		live, lived := !o.Over(now), !was.Over(now)
		switch {
		case live && !lived:
			*was = o
		case live == lived:
			if o.Until > was.Until {
				was.Until, was.Epoch = o.Until, o.Epoch
			}
			was.Proof = max(was.Proof, o.Proof)
			was.Exclusive, was.Spared = was.Exclusive || o.Exclusive, was.Spared && o.Spared
			was.Addresses, was.Cgroups = both(was.Addresses, o.Addresses), both(was.Cgroups, o.Cgroups)
		}
	}
	return out
}

// both are the handles in a or b.
func both(a, b []string) []string {
	out := slices.Clone(a)
	for _, h := range b {
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// spared reports whether what is listed for a service may run without its lease:
// the agent vouches that nothing of it is primary, after every epoch under which
// it could have been. What was cut off since is primary no more, and cannot become
// it without another lease: the agent need not have heard of the one that ended.
func (b Books) spared(s *guardwire.Seek, epoch uint64) bool {
	if !s.Replica && epoch == 0 {
		return false
	}
	if epoch > b.Primary[s.ID] {
		b.Primary[s.ID] = epoch
	}
	_, forsaken := b.Forsaken[s.Service]
	if epoch == 0 && !forsaken && b.Primary[s.ID] > s.Demoted && b.Gone(s.Service) {
		delete(b.Primary, s.ID)
	}
	return s.Replica && !forsaken && b.Primary[s.ID] <= s.Demoted
}

// RunsUntil is until when a service may run without more news. What is kept goes
// on for a lease at a time, so that it ends with a guard that hangs.
func RunsUntil(h *lease.Hold, s *guardwire.Seek, now time.Duration) time.Duration {
	if h.Keep && s.Keep && !s.Exclusive {
		return max(h.Until, now+s.TTL)
	}
	return h.Until
}

// Unheld are the orders of a guard that holds nothing.
func Unheld(d guardwire.Duty) []Order {
	orders := make([]Order, 0, len(d.Seeks))
	for i := range d.Seeks {
		s := &d.Seeks[i]
		orders = append(orders, Order{Service: s.Service, Exclusive: s.Exclusive, Addresses: s.Addresses, Cgroups: s.Cgroups, Spared: s.Replica})
	}
	return orders
}

// Told is what the agent is told of a lease, or of what goes on without one. It
// is false for what has ended, or is forsaken, and for what was won during a cut
// of the service until that is over; before is what it was told last.
func (b Books) Told(now time.Duration, h *lease.Hold, before []guardwire.Hold, cutting func(spec.ServiceName) bool) (guardwire.Hold, bool) {
	out := guardwire.Hold{Epoch: h.Number, Until: guardwire.Boot(h.Until), Kept: h.Until <= now}
	s := b.Seek(h.ID)
	if s == nil {
		return out, time.Duration(out.Until) > now
	}
	out.Service = s.Service
	if _, forsaken := b.Forsaken[out.Service]; forsaken {
		return out, false
	}
	if cutting(out.Service) && !slices.ContainsFunc(before, func(was guardwire.Hold) bool {
		return was.Service == out.Service && was.Epoch == out.Epoch
	}) {
		return out, false
	}
	out.Until = guardwire.Boot(RunsUntil(h, s, now))
	return out, time.Duration(out.Until) > now
}

// TellWithin is how soon the agent must hear more than it does from these leases:
// halfway to the moment when it would stop something that goes on being renewed.
func TellWithin(holds []guardwire.Hold, now time.Duration) time.Duration {
	wait := guardwire.StateEvery
	for i := range holds {
		wait = min(wait, (time.Duration(holds[i].Until)-now-supervise.StopAhead)/2)
	}
	return wait
}

// KeepHeld adds to a duty the services that the guard holds and the duty does
// not name, as the one in force names them. They are held, enforced and shown to
// the agent until it gives them back; nothing is claimed for them. Of what is named
// no more, nothing may be primary: it is forgotten which epochs it had, since a
// service that is applied again has the same lease.
func (b Books) KeepHeld(holds []lease.Hold, d guardwire.Duty) guardwire.Duty {
	named := Index(&d)
	for _, h := range holds {
		if _, known := named[h.ID]; known {
			continue
		}
		if s := b.Seek(h.ID); s != nil {
			kept := *s
			kept.Order = nil
			named[h.ID] = len(d.Seeks)
			d.Seeks = append(slices.Clip(d.Seeks), kept)
		}
	}
	maps.DeleteFunc(b.Primary, func(id uint32, _ uint64) bool {
		_, known := named[id]
		return !known
	})
	return d
}

// DropKept returns the duty in force without what KeepHeld added of a name that
// it has under another lease, if that is held no more and nothing is left of the
// service, and whether there was any.
func (b Books) DropKept(holds []lease.Hold) (guardwire.Duty, bool) {
	d := *b.Duty
	if !b.Twice {
		return d, false
	}
	known := map[spec.ServiceName]bool{}
	d.Seeks = slices.DeleteFunc(slices.Clone(d.Seeks), func(s guardwire.Seek) bool {
		again := known[s.Service]
		known[s.Service] = true
		held := slices.ContainsFunc(holds, func(h lease.Hold) bool { return h.ID == s.ID })
		return again && !held && b.Gone(s.Service)
	})
	return d, len(d.Seeks) < len(b.Duty.Seeks)
}

// Twice reports whether a duty has a name under two leases.
func Twice(d *guardwire.Duty) bool {
	known := make(map[spec.ServiceName]bool, len(d.Seeks))
	for i := range d.Seeks {
		known[d.Seeks[i].Service] = true
	}
	return len(known) < len(d.Seeks)
}

// Wish is the part of a duty that the lease plane needs. Nothing is claimed for a
// service of whose addresses ruled says no.
func Wish(d *guardwire.Duty, ruled func([]string) bool) plane.Duty {
	members := quorum.Of(d.Slot)
	for i := range d.Peers {
		if slot := d.Peers[i].Slot; slot < 32 {
			members |= 1 << slot
		}
	}
	seeks := make([]plane.Seek, 0, len(d.Seeks))
	for i := range d.Seeks {
		s := &d.Seeks[i]
		seeks = append(seeks, plane.Seek{
			ID: s.ID, TTL: s.TTL, Soft: !s.Exclusive, Keep: s.Keep && !s.Exclusive, Order: s.Order, Claim: ruled(s.Addresses),
		})
	}
	return plane.Duty{
		Members: members,
		Config:  quorum.Config{Version: d.Lease.Version, Voters: quorum.Set(d.Lease.Voters), Prior: quorum.Set(d.Lease.Prior)},
		Floor:   d.Lease.Floor, Ceiling: d.Lease.Ceiling, Longest: d.Lease.LongestTTL,
		Seeks: seeks,
	}
}

// ShortestLoss is how long the agent may be away until its node counts as one
// that cannot start anything.
func ShortestLoss(d *guardwire.Duty) time.Duration {
	shortest := spec.DefaultAgentLoss
	for i := range d.Seeks {
		if loss := d.Seeks[i].AgentLoss; loss > 0 {
			shortest = min(shortest, loss)
		}
	}
	return shortest
}
