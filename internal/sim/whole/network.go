package whole

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// A packet takes at least nearest, and up to scatter more.
const (
	nearest = 100 * time.Microsecond
	scatter = 400 * time.Microsecond
)

// network is what happens to packets. Faults of one kind add up, so that each
// can end by itself.
type network struct {
	cut  [script.MaxNodes][script.MaxNodes]int // nothing passes in this direction
	loss float64
}

// packet is one that waits for a guard that does not read.
type packet struct {
	from uint8
	inc  uint64
	data []byte
}

// send puts a packet on the way.
func (w *world) send(n *node, p *plane.Packet) {
	w.result.Packets++
	if w.net.cut[n.slot][p.To] > 0 || w.net.loss > 0 && w.chance(w.net.loss) {
		return
	}
	to, one := w.nodes[p.To], packet{from: n.slot, inc: n.guard.inc, data: slices.Clone(p.Data)}
	w.after(nearest+w.random(scatter), func() { w.deliver(to, one) })
}

// linked is the set of nodes that n can exchange packets with.
func (w *world) linked(n *node) quorum.Set {
	s := quorum.Of(n.slot)
	for _, o := range w.nodes {
		if o.up && w.net.cut[n.slot][o.slot] == 0 && w.net.cut[o.slot][n.slot] == 0 {
			s |= 1 << o.slot
		}
	}
	return s
}

// reaches reports whether n's agent can read and write the store. The store runs
// in the agents of the voters.
func (w *world) reaches(n *node) bool {
	if !n.up || !n.agent.Runs() || w.store.away > 0 {
		return false
	}
	var serve quorum.Set
	for _, o := range w.nodes {
		if o.up && o.agent.Runs() && w.linked(n).Has(o.slot) {
			serve |= 1 << o.slot
		}
	}
	return quorum.Config{Version: 1, Voters: w.plan.Voters}.Reached(serve)
}
