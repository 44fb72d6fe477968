package sim

import (
	"time"

	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/sim/agenda"
)

// A packet takes at least nearest, and up to scatter more.
const (
	nearest = 100 * time.Microsecond
	scatter = 400 * time.Microsecond
)

// network is what happens to packets. Faults of one kind add up, so that each
// can end by itself.
type network struct {
	active int                               // faults below that are under way
	cut    [MaxNodes][MaxNodes]int           // nothing passes in this direction
	slow   [MaxNodes][MaxNodes]time.Duration // everything takes longer by this
	large  [MaxNodes][MaxNodes]int           // what is longer than smallPacket does not pass in this direction
	burst  [MaxNodes]int                     // nothing gets out
	held   [MaxNodes]int                     // everything arrives a second time
	lates  int                               // faults that hold packets
	heldBy time.Duration                     // by how much, the most of these
	loss   float64
	double float64
	spread time.Duration // extra delay, up to
}

// smallPacket still passes where large ones do not: a path with a smaller MTU
// than anybody thinks.
const smallPacket = 500

// send puts a packet on the way.
func (w *world) send(h *host, p *plane.Packet) {
	w.result.Packets++
	at := w.now + nearest + w.random(scatter)
	if w.net.active == 0 {
		w.queue.Post(at, h.slot, p.To, h.inc, p.Data)
		return
	}
	n := &w.net
	if n.cut[h.slot][p.To] > 0 || n.burst[h.slot] > 0 || n.large[h.slot][p.To] > 0 && len(p.Data) > smallPacket ||
		n.loss > 0 && w.chance(n.loss) {
		return
	}
	at += n.slow[h.slot][p.To]
	if n.held[h.slot] > 0 {
		w.queue.Post(at+n.heldBy+w.random(n.heldBy), h.slot, p.To, h.inc, p.Data)
	}
	copies := 1
	if n.double > 0 && w.chance(n.double) {
		copies = 2
	}
	for range copies {
		extra := time.Duration(0)
		if n.spread > 0 {
			extra = w.random(n.spread)
		}
		w.queue.Post(at+extra, h.slot, p.To, h.inc, p.Data)
	}
}

// probeEvery is the time between two questions to the kernels of silent nodes, as
// in package guard.
const probeEvery = 40 * time.Millisecond

// probe asks the kernels of nodes that have fallen silent whether they live.
func (w *world) probe(h *host, local Boot) {
	if h.calm || w.now-h.probed < probeEvery {
		return
	}
	for ask := h.node.Probe(local); ask != 0; ask &= ask - 1 {
		h.probed = w.now
		o := w.hosts[ask.First()]
		n := &w.net
		if !o.up || o.asleep > 0 || n.cut[h.slot][o.slot]+n.cut[o.slot][h.slot]+n.burst[h.slot]+n.burst[o.slot] > 0 ||
			n.loss > 0 && w.chance(n.loss*(2-n.loss)) { // the question or the answer
			continue
		}
		node := h.node
		w.after(2*nearest+w.random(2*scatter)+n.slow[h.slot][o.slot]+n.slow[o.slot][h.slot], func() {
			if h.node == node && h.asleep == 0 && h.stopped == 0 {
				node.Answered(h.clock.local(w.now), o.slot)
			}
		})
	}
}

// inboxLimit is how many packets wait for a guard that does not read.
const inboxLimit = 256

// deliver hands packet i to its host.
func (w *world) deliver(i int32) {
	p := w.queue.Packet(i)
	h := w.hosts[p.To]
	switch {
	case !h.up || h.asleep > 0 || !h.joined: // a guard without a duty listens to nobody
	case h.stopped > 0 || h.calm:
		if len(h.inbox) < inboxLimit {
			h.inbox = append(h.inbox, i)
			return
		}
	default:
		local := h.clock.local(w.now)
		w.read(h, local, p)
		w.queue.Free(i)
		w.settle(h, local)
		return
	}
	w.queue.Free(i)
}

func (w *world) read(h *host, local Boot, p *agenda.Packet) {
	if err := h.node.Receive(local, p.From, p.Inc, p.Data); err != nil {
		w.violate("readable", "node %d could not read a packet of node %d: %v", h.slot, p.From, err)
	}
}
