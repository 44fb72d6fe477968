package guard

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// enforcement says for every service of the duty until when it may run.
func (g *Guard) enforcement(now time.Duration) []order {
	held := g.node.Holds(now, nil)
	orders := make([]order, 0, len(g.duty.Seeks))
	for _, s := range g.duty.Seeks {
		o := order{service: s.Service, addresses: s.Addresses, cgroups: s.Cgroups}
		for _, h := range held {
			if h.ID == s.ID && !g.forsaken[s.Service] {
				o.epoch, o.until = h.Number, h.Until
			}
		}
		orders = append(orders, o)
	}
	return orders
}

// unheld are the orders of a guard that holds nothing.
func unheld(d guardwire.Duty) []order {
	orders := make([]order, 0, len(d.Seeks))
	for _, s := range d.Seeks {
		orders = append(orders, order{service: s.Service, addresses: s.Addresses, cgroups: s.Cgroups})
	}
	return orders
}

// noteLeases makes happenings of what the lease protocol noted.
func (g *Guard) noteLeases() {
	for _, n := range g.node.Notes() {
		name := g.serviceName(n.ID)
		h := guardwire.Happened{At: guardwire.Boot(n.At), Service: name, Epoch: n.Number}
		switch n.Kind {
		case lease.Won:
			h.Kind, h.Text = string(event.LeaseWon), fmt.Sprintf("%s holds the lease of %s", g.duty.Node, name)
		case lease.Ended:
			h.Kind, h.Text = string(event.LeaseLost), fmt.Sprintf("%s could not renew the lease of %s", g.duty.Node, name)
		case lease.Released:
			h.Kind, h.Text = string(event.LeaseReleased), fmt.Sprintf("%s gave the lease of %s back", g.duty.Node, name)
		case lease.Free:
			h.Kind, h.Text = string(event.LeaseFree), fmt.Sprintf("a majority found the lease of %s free", name)
		case lease.Exhausted:
			g.opts.Log.Warn("no ballot number is left until the store answers", logkey.Service, name, logkey.Epoch, n.Number)
			continue
		}
		g.happen(h)
	}
}

func (g *Guard) serviceName(id lease.ID) spec.ServiceName {
	for _, s := range g.duty.Seeks {
		if s.ID == id {
			return s.Service
		}
	}
	return spec.ServiceName(fmt.Sprintf("service %d", id))
}

// notePeers makes happenings of changes in who is alive.
func (g *Guard) notePeers(now time.Duration) {
	v := g.node.View(now)
	was := g.peers
	g.peers = v
	report := func(set quorum.Set, kind event.Kind, text string) {
		for slot := uint8(0); slot < 32; slot++ {
			if set.Has(slot) && slot != g.duty.Slot {
				name := spec.NodeName(g.slots[slot])
				g.happen(guardwire.Happened{Kind: string(kind), At: guardwire.Boot(now), About: name, Text: fmt.Sprintf(text, name)})
			}
		}
	}
	report(v.Suspect&^was.Suspect, event.NodeSuspect, "%s is not heard")
	report(v.Lost&^was.Lost, event.NodeLost, "%s is not heard by a majority and counts as lost")
	report(was.Lost&^v.Lost&v.Alive, event.NodeBack, "%s is heard again")
	if v.Quorate != was.Quorate {
		h := guardwire.Happened{Kind: string(event.QuorumBack), At: guardwire.Boot(now), Text: fmt.Sprintf("%s is in touch with a majority of the voters", g.duty.Node)}
		if !v.Quorate {
			h.Kind, h.Text = string(event.QuorumLost), fmt.Sprintf("%s is not in touch with a majority of the voters", g.duty.Node)
		}
		g.happen(h)
	}
}

// happen tells the agent, or keeps it for the agent that comes.
func (g *Guard) happen(h guardwire.Happened) {
	g.dirty = true
	g.opts.Log.Info("happened", "kind", h.Kind, logkey.Service, h.Service, "about", h.About, logkey.Epoch, h.Epoch)
	if len(g.happened) >= happenings {
		g.happened = g.happened[1:]
	}
	g.happened = append(g.happened, h)
}

// tell sends the agent what happened, and the state if it changed or is old.
func (g *Guard) tell(now time.Duration) {
	if g.agent == nil {
		g.sentAt = now
		return
	}
	s := g.state(now)
	changed := !reflect.DeepEqual(essence(s), essence(g.sent))
	if changed || now-g.sentAt >= g.stateEvery() {
		g.sent, g.sentAt = s, now
		g.agent.say(guardwire.Message{State: &s})
	}
	for i := range g.happened {
		g.agent.say(guardwire.Message{Happened: &g.happened[i]})
	}
	g.happened = nil
}

// essence is a state without what changes all the time.
func essence(s guardwire.State) guardwire.State {
	s.Now, s.Stall = 0, 0
	s.Holds = slices.Clone(s.Holds)
	for i := range s.Holds {
		s.Holds[i].Until = 0
	}
	return s
}

func (g *Guard) state(now time.Duration) guardwire.State {
	s := guardwire.State{
		Protocol: guardwire.Version, Guard: g.opts.Incarnation, Now: guardwire.Boot(now), Fresh: g.node == nil,
		Warnings: slices.Clone(g.opts.Warnings),
	}
	for _, key := range slices.Sorted(maps.Keys(g.troubles)) {
		s.Warnings = append(s.Warnings, g.troubles[key])
	}
	if g.node == nil {
		return s
	}
	v := g.node.View(now)
	s.LeaseVersion, s.Ballot, s.Quorate, s.Stall = v.Version, v.Highest, v.Quorate, v.Late
	s.Alive, s.Suspect, s.Lost = uint32(v.Alive), uint32(v.Suspect), uint32(v.Lost)
	s.Fresh = g.duty.Lease.Version == 0
	for _, h := range g.node.Holds(now, nil) {
		s.Holds = append(s.Holds, guardwire.Hold{Service: g.serviceName(h.ID), Epoch: h.Number, Until: guardwire.Boot(h.Until)})
	}
	slices.SortFunc(s.Holds, func(a, b guardwire.Hold) int {
		if a.Service < b.Service {
			return -1
		}
		return 1
	})
	s.Holders = map[uint32]uint8{}
	g.node.EachKnown(now, func(id lease.ID, holder uint8) { s.Holders[id] = holder })
	return s
}
