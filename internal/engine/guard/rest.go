package guard

import "time"

// rest is how the guard saves work while nothing happens.
type rest struct {
	on     bool          // the link leaves what arrives to the next tick
	probed time.Duration // when the kernel of a silent node was last asked
}

// probeEvery is the time between two questions to the kernel of a node that is
// silent.
const probeEvery = 40 * time.Millisecond

// relax lets what arrives wait for the next tick while the node is calm, and asks
// the kernels of nodes that have fallen silent.
func (g *Guard) relax(now time.Duration) {
	if calm := g.node.Calm(now); calm != g.rest.on {
		g.rest.on = calm
		g.link.Rest(calm)
	}
	if g.rest.on || now-g.rest.probed < probeEvery {
		return
	}
	ask := g.node.Probe(now)
	if ask == 0 {
		return
	}
	g.rest.probed = now
	for slot := uint8(0); slot < 32; slot++ {
		if ask.Has(slot) {
			g.link.Ping(slot)
		}
	}
}

func (g *Guard) answered(from uint8) { g.node.Answered(g.opts.Clock.Boot(), from) }

// hear hands the plane what arrived.
func (g *Guard) hear(d Datagram) {
	switch {
	case g.node == nil:
	case d.Refused:
		g.node.Refused(d.From)
	default:
		// A malformed payload under a good seal is a peer of another version; what
		// could be read of it has taken effect.
		_ = g.node.Receive(g.opts.Clock.Boot(), d.From, d.Incarnation, d.Data)
	}
}
