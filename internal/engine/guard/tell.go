package guard

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// books are what the guard goes by.
func (g *Guard) books() custody.Books {
	return custody.Books{Duty: &g.duty, Forsaken: g.parting.forsaken, Primary: g.room.primary, Gone: g.room.gone, Twice: g.room.twice, At: g.room.at}
}

// enforcement says for every service of the duty until when it may run. The
// slice is valid until the next call.
func (g *Guard) enforcement(now time.Duration) []custody.Order {
	g.room.holds = g.node.Holds(now, g.room.holds[:0])
	g.room.orders = g.books().Orders(now, g.room.holds, g.room.orders[:0])
	return g.room.orders
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
		case lease.Kept:
			h.Kind, h.Text = string(event.ServiceKept), fmt.Sprintf("%s keeps %s running without a lease until it is in touch with a majority again (on_quorum_loss: keep); another node may run it too", g.duty.Node, name)
		case lease.Unkept:
			h.Kind, h.Text = string(event.LeaseLost), fmt.Sprintf("%s stops %s, which it had kept without a lease: another node has the lease, or it is not to run here", g.duty.Node, name)
		case lease.Exhausted:
			g.opts.Log.Warn("no ballot number is left until the store answers", logkey.Service, name, logkey.Epoch, n.Number)
			continue
		}
		g.happen(h)
	}
}

func (g *Guard) serviceName(id lease.ID) spec.ServiceName {
	if name, ok := g.names[id]; ok {
		return name
	}
	return spec.ServiceName(fmt.Sprintf("service %d", id))
}

// notePeers makes happenings of changes in who is alive.
func (g *Guard) notePeers(now time.Duration) {
	v := g.node.View(now)
	was := g.told.peers
	g.noteFlaps(now)
	if v == was {
		return
	}
	g.told.peers = v
	report := func(set quorum.Set, kind event.Kind, text string) {
		for slot := uint8(0); slot < 32; slot++ {
			if set.Has(slot) && slot != g.duty.Slot {
				name := spec.NodeName(g.slots[slot])
				g.happen(guardwire.Happened{Kind: string(kind), At: guardwire.Boot(now), About: name, Text: fmt.Sprintf(text, name)})
			}
		}
	}
	g.noteSuspects(now, v.Suspect&^was.Suspect)
	report(v.Lost&^was.Lost, event.NodeLost, "%s is not heard by a majority and counts as lost")
	report(was.Lost&^v.Lost&v.Alive, event.NodeBack, "%s is heard again")
	report(v.Skewed&^was.Skewed, event.ClockSkewed, "the clock of %s runs at another rate than the others'; its vote does not count")
	report(was.Skewed&^v.Skewed, event.ClockGood, "the clock of %s runs at the rate of the others")
	if v.Quorate != was.Quorate {
		h := guardwire.Happened{Kind: string(event.QuorumBack), At: guardwire.Boot(now), Text: fmt.Sprintf("%s is in touch with a majority of the voters", g.duty.Node)}
		if !v.Quorate {
			h.Kind, h.Text = string(event.QuorumLost), fmt.Sprintf("%s is not in touch with a majority of the voters", g.duty.Node)
		}
		g.happen(h)
	}
}

// suspectEvery is the least time between two happenings of one peer that is not
// heard: one whose link comes and goes makes no more of them.
const suspectEvery = 5 * time.Second

// flaps is how often a peer fell silent.
type flaps struct {
	at      time.Duration // when it was last told, 0: never
	leftOut int           // how often since, and not told
}

// noteSuspects makes happenings of who is not heard any more.
func (g *Guard) noteSuspects(now time.Duration, set quorum.Set) {
	for slot := uint8(0); slot < 32; slot++ {
		if !set.Has(slot) || slot == g.duty.Slot {
			continue
		}
		f := &g.told.suspects[slot]
		if f.at > 0 && now-f.at < suspectEvery {
			f.leftOut++
			continue
		}
		f.at = now
		g.happenTo(now, slot, "%s is not heard", g.slots[slot])
	}
}

// noteFlaps makes one happening for each peer of what noteSuspects left out.
func (g *Guard) noteFlaps(now time.Duration) {
	for slot := range g.told.suspects {
		f := &g.told.suspects[slot]
		if f.leftOut == 0 || now-f.at < suspectEvery {
			continue
		}
		g.happenTo(now, uint8(slot), "%s was not heard %d more times in %s", g.slots[uint8(slot)], f.leftOut, (now - f.at).Round(time.Second))
		f.at, f.leftOut = now, 0
	}
}

func (g *Guard) happenTo(now time.Duration, slot uint8, format string, args ...any) {
	g.happen(guardwire.Happened{
		Kind: string(event.NodeSuspect), At: guardwire.Boot(now), About: spec.NodeName(g.slots[slot]), Text: fmt.Sprintf(format, args...),
	})
}

// happen tells the agent, or keeps it for the agent that comes.
func (g *Guard) happen(h guardwire.Happened) {
	g.pace.dirty = true
	g.opts.Log.Info("happened", "kind", h.Kind, logkey.Service, h.Service, "about", h.About, logkey.Epoch, h.Epoch)
	if len(g.told.happened) >= happenings {
		g.told.happened = g.told.happened[1:]
	}
	g.told.happened = append(g.told.happened, h)
}

// tell sends the agent what happened, and the state if it changed or is old. Of what
// happened to many services at once the rest is told later: there is always room for
// states.
func (g *Guard) tell(now time.Duration) {
	if g.agent == nil {
		g.told.due = now + guardwire.StateEvery
		return
	}
	s := g.state(now)
	if now >= g.told.due || !same(s, &g.told.sent) {
		g.told.sent, g.told.due = clone(s), now+max(custody.TellWithin(s.Holds, now), minLook)
		sent := g.told.sent
		g.agent.say(guardwire.Message{State: &sent})
	}
	for len(g.told.happened) > 0 && len(g.agent.out) < outSize/2 {
		h := g.told.happened[0]
		g.told.happened = g.told.happened[1:]
		g.agent.say(guardwire.Message{Happened: &h})
	}
}

// same reports whether two states differ at most in what changes all the time:
// the moments, and what is measured.
func same(a, b *guardwire.State) bool {
	sameHold := func(x, y guardwire.Hold) bool {
		return x.Service == y.Service && x.Epoch == y.Epoch && x.Kept == y.Kept && slices.Equal(x.Ruled, y.Ruled)
	}
	return a.Protocol == b.Protocol && a.Guard == b.Guard && a.Build == b.Build && a.Fresh == b.Fresh &&
		a.Powers == b.Powers && a.LeaseVersion == b.LeaseVersion && a.Ballot == b.Ballot && a.Quorate == b.Quorate &&
		a.Alive == b.Alive && a.Suspect == b.Suspect && a.Lost == b.Lost && a.Skewed == b.Skewed &&
		slices.EqualFunc(a.Holds, b.Holds, sameHold) && maps.Equal(a.Holders, b.Holders) && slices.Equal(a.Warnings, b.Warnings)
}

// clone is a copy that shares nothing with s.
func clone(s *guardwire.State) guardwire.State {
	c := *s
	c.Holds, c.Holders, c.Warnings = slices.Clone(s.Holds), maps.Clone(s.Holders), slices.Clone(s.Warnings)
	return c
}

// state is what this guard knows. It is valid until the next call.
func (g *Guard) state(now time.Duration) *guardwire.State {
	s := &g.room.state
	*s = guardwire.State{
		Protocol: guardwire.Version, Guard: g.opts.Incarnation, Now: guardwire.Boot(now), Build: g.opts.Build, Powers: guardwire.Powers{Rules: true, Watchdog: g.opts.Watchdog != nil},
		Fresh: g.node == nil, Holds: s.Holds[:0], Holders: s.Holders, Warnings: append(s.Warnings[:0], g.opts.Warnings()...),
		Traffic: guardwire.Traffic{Dropped: g.opts.Dropped()},
	}
	clear(s.Holders)
	if len(g.troubles) > 0 {
		for _, key := range slices.Sorted(maps.Keys(g.troubles)) {
			s.Warnings = append(s.Warnings, g.troubles[key])
		}
	}
	if g.node == nil {
		return s
	}
	v := g.node.View(now)
	s.LeaseVersion, s.Ballot, s.Quorate, s.Stall = v.Version, v.Highest, v.Quorate, v.Stall
	s.Late, s.Measured, s.Waits, s.Skewed = v.Late, v.Measured, v.Waits, uint32(v.Skewed)
	s.Alive, s.Suspect, s.Lost = uint32(v.Alive), uint32(v.Suspect), uint32(v.Lost)
	s.Fresh = g.duty.Lease.Version == 0
	g.room.holds = g.node.Holds(now, g.room.holds[:0])
	for i := range g.room.holds {
		if h, ok := g.hold(&g.room.holds[i], now); ok {
			s.Holds = append(s.Holds, h)
		}
	}
	slices.SortFunc(s.Holds, func(a, b guardwire.Hold) int { return cmp.Compare(a.Service, b.Service) })
	if s.Holders == nil {
		s.Holders = map[uint32]uint8{}
	}
	g.node.EachKnown(now, func(id lease.ID, holder uint8) { s.Holders[id] = holder })
	return s
}

// hold is what the agent is told of a lease, and whether it is told anything.
func (g *Guard) hold(h *lease.Hold, now time.Duration) (guardwire.Hold, bool) {
	out, told := g.books().Told(now, h, g.told.sent.Holds, g.enforcer.cutting)
	if !told {
		return out, false
	}
	if out.Service == "" {
		out.Service = g.serviceName(h.ID)
	}
	if s := g.books().Seek(h.ID); s != nil {
		out.Ruled = g.room.ruling.some(s.Addresses)
	}
	return out, true
}
