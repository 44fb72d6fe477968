package sim

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/core/quorum"
)

// network is what happens to packets between two hosts.
type network struct {
	cut   [32][32]int       // how many faults block this direction
	loss  float64           // of every packet
	burst [32]time.Duration // until when everything from this host is lost
	dup   float64
	slow  time.Duration // extra delay, up to
}

func (n *network) init(int) { *n = network{} }

func (w *world) send(h *host, p plane.Packet) {
	w.result.Packets++
	n := &w.net
	if n.cut[h.slot][p.To] > 0 || w.now < n.burst[h.slot] || w.rng.Float64() < n.loss {
		return
	}
	to, pk := w.nodes[p.To], packet{from: h.slot, inc: h.inc, data: p.Data}
	copies := 1
	if w.rng.Float64() < n.dup {
		copies = 2
	}
	for range copies {
		delay := 100*time.Microsecond + time.Duration(w.rng.Int64N(int64(400*time.Microsecond)))
		if n.slow > 0 {
			delay += time.Duration(w.rng.Int64N(int64(n.slow)))
		}
		w.at(w.now+delay, func() { w.deliver(to, pk) })
	}
}

// fault injects one fault, which ends by itself.
func (w *world) fault() {
	faults := []struct {
		name string
		do   func(length time.Duration)
	}{
		{"crash", w.faultCrash},
		{"guard restart", w.faultRestart},
		{"pause", w.faultPause},
		{"isolate", w.faultIsolate},
		{"one-way", w.faultOneWay},
		{"partition", w.faultPartition},
		{"loss", w.faultLoss},
		{"burst", w.faultBurst},
		{"reorder", func(d time.Duration) {
			w.net.slow, w.net.dup = 600*time.Millisecond, 0.3
			w.at(w.now+d, func() { w.net.slow, w.net.dup = 0, 0 })
		}},
		{"store away", func(d time.Duration) {
			w.boss.away++
			w.at(w.now+d, func() { w.boss.away-- })
		}},
		{"move", func(time.Duration) { w.boss.shuffle(w) }},
		{"voters change", func(time.Duration) { w.boss.changeVoters(w) }},
		{"TTL change", func(time.Duration) { w.boss.changeTTL(w) }},
		{"restart all", w.faultRestartAll},
	}
	f := faults[w.rng.IntN(len(faults))]
	length := time.Duration(w.rng.Int64N(int64(8 * time.Second)))
	w.result.Faults[f.name]++
	w.trace("fault: %s for %s", f.name, length.Round(time.Millisecond))
	f.do(length)
}

func (w *world) pick() *host { return w.nodes[w.rng.IntN(len(w.nodes))] }

func (w *world) faultCrash(d time.Duration) {
	h := w.pick()
	if !h.up {
		return
	}
	w.trace("node %d crashed", h.slot)
	w.crash(h)
	w.at(w.now+d, func() {
		if !h.up {
			w.boot(h)
		}
	})
}

func (w *world) faultRestart(time.Duration) {
	if h := w.pick(); h.up {
		w.trace("node %d restarted", h.slot)
		w.crash(h)
		w.boot(h)
	}
}

func (w *world) faultRestartAll(time.Duration) {
	for _, h := range w.nodes {
		if h.up {
			w.crash(h)
		}
		w.at(w.now+time.Duration(w.rng.Int64N(int64(2*time.Second))), func() {
			if !h.up {
				w.boot(h)
			}
		})
	}
}

func (w *world) faultPause(d time.Duration) {
	h := w.pick()
	if !h.up || h.paused {
		return
	}
	w.trace("node %d paused", h.slot)
	h.paused = true
	inc := h.inc
	w.at(w.now+d, func() {
		if h.up && h.inc == inc {
			h.paused = false
			w.trace("node %d resumed", h.slot)
			w.step(h)
		}
	})
}

func (w *world) block(from, to uint8, d time.Duration) {
	w.net.cut[from][to]++
	w.at(w.now+d, func() { w.net.cut[from][to]-- })
}

func (w *world) faultIsolate(d time.Duration) {
	h := w.pick()
	for _, o := range w.nodes {
		if o != h {
			w.block(h.slot, o.slot, d)
			w.block(o.slot, h.slot, d)
		}
	}
}

func (w *world) faultOneWay(d time.Duration) {
	if a, b := w.pick(), w.pick(); a != b {
		w.block(a.slot, b.slot, d)
	}
}

func (w *world) faultPartition(d time.Duration) {
	side := make([]bool, len(w.nodes))
	for i := range side {
		side[i] = w.rng.IntN(2) == 0
	}
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if side[a.slot] != side[b.slot] {
				w.block(a.slot, b.slot, d)
			}
		}
	}
}

func (w *world) faultLoss(d time.Duration) {
	p := 0.05 + 0.4*w.rng.Float64()
	w.net.loss += p
	w.at(w.now+d, func() { w.net.loss -= p })
}

func (w *world) faultBurst(time.Duration) {
	w.net.burst[w.pick().slot] = w.now + time.Duration(w.rng.Int64N(int64(900*time.Millisecond)))
}

// healAll ends what has not ended by itself.
func (w *world) healAll() {
	w.trace("all faults healed")
	w.net.init(0)
	w.boss.away = 0
	for _, h := range w.nodes {
		if !h.up {
			w.boot(h)
		} else if h.paused {
			h.paused = false
			w.step(h)
		}
	}
	// A fault that was still to end must not end twice.
	w.queue = slices.Clone(w.queue)
}

// controller stands in for the config plane: it hands out duties, slowly, and
// only while the store answers.
type controller struct {
	away    int
	config  quorum.Config
	ceiling uint64
	changed time.Duration
	orders  map[lease.ID][]uint8
	ttls    map[lease.ID]time.Duration
}

const longest = 1500 * time.Millisecond

func (c *controller) init(w *world) {
	c.ceiling = 1000
	c.config = quorum.Config{Version: 1}
	for i := range min(len(w.nodes), 3) {
		c.config.Voters |= 1 << i
	}
	c.orders, c.ttls = map[lease.ID][]uint8{}, map[lease.ID]time.Duration{}
	for id := lease.ID(1); int(id) <= w.opts.Services; id++ {
		c.ttls[id] = 400 * time.Millisecond * time.Duration(1+int(id)%3)
		for i := range w.nodes {
			c.orders[id] = append(c.orders[id], uint8((i+int(id))%len(w.nodes)))
		}
	}
}

// joined gives a host that starts without memory its first duty, as soon as
// the store answers: the ceiling it finds is its floor, and is raised first.
func (c *controller) joined(w *world, h *host) {
	inc := h.inc
	w.at(w.now+time.Duration(w.rng.Int64N(int64(300*time.Millisecond))), func() {
		if !h.up || h.inc != inc {
			return
		}
		if c.away > 0 {
			c.joined(w, h)
			return
		}
		floor := c.ceiling
		c.ceiling += 1000
		h.duty = c.duty(w)
		h.duty.Floor = floor
		c.hand(w, h)
	})
}

func (c *controller) duty(w *world) plane.Duty {
	d := plane.Duty{Members: w.members(), Config: c.config, Ceiling: c.ceiling, Longest: longest}
	for id := lease.ID(1); int(id) <= w.opts.Services; id++ {
		d.Seeks = append(d.Seeks, plane.Seek{ID: id, TTL: c.ttls[id], Order: slices.Clone(c.orders[id]), Claim: true})
	}
	return d
}

func (c *controller) hand(w *world, h *host) {
	if h.paused {
		return
	}
	h.node.SetDuty(h.local(w.now), h.duty)
	w.collect(h)
}

// step sends the newest duty to hosts that have had one, each with some luck,
// so that hosts differ for a while; and ends a change of voters in time.
func (c *controller) step(w *world) {
	if c.away > 0 {
		return
	}
	if c.config.Prior != 0 && w.now > c.changed+2*longest && c.settled(w) {
		c.config.Version++
		c.config.Prior = 0
	}
	for _, h := range w.nodes {
		if h.up && h.duty.Longest > 0 && w.rng.IntN(3) == 0 {
			floor := h.duty.Floor
			h.duty = c.duty(w)
			h.duty.Floor = floor
			c.hand(w, h)
		}
	}
}

// settled reports whether a majority of the old and of the new voters use the
// joint configuration. The moment from which on this was so is kept in changed.
func (c *controller) settled(w *world) bool {
	var have quorum.Set
	for _, h := range w.nodes {
		if h.up && h.node.View(h.local(w.now)).Version >= c.config.Version {
			have |= 1 << h.slot
		}
	}
	if !c.config.Reached(have) {
		c.changed = w.now
		return false
	}
	return true
}

func (c *controller) shuffle(w *world) {
	if c.away > 0 {
		return
	}
	id := lease.ID(1 + w.rng.IntN(w.opts.Services))
	order := c.orders[id]
	w.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	// The holder's agent stops the instance and gives the lease back, as after
	// a planned move.
	for _, h := range w.nodes {
		if !h.up || h.paused || h.slot == order[0] {
			continue
		}
		for _, hold := range h.node.Holds(h.local(w.now), nil) {
			if hold.ID == id {
				h.node.Release(h.local(w.now), id, hold.Number)
				w.collect(h)
			}
		}
	}
}

// changeTTL gives one service another TTL, up to the longest there may be.
func (c *controller) changeTTL(w *world) {
	if c.away == 0 {
		c.ttls[lease.ID(1+w.rng.IntN(w.opts.Services))] = 300*time.Millisecond + time.Duration(w.rng.Int64N(int64(longest-300*time.Millisecond)))
	}
}

// changeVoters swaps one voter for another node, by a joint configuration.
func (c *controller) changeVoters(w *world) {
	if c.away > 0 || c.config.Prior != 0 || len(w.nodes) <= 3 {
		return
	}
	in, out := w.pick().slot, w.pick().slot
	if c.config.Voters.Has(in) || !c.config.Voters.Has(out) {
		return
	}
	c.config.Version++
	c.config.Prior = c.config.Voters
	c.config.Voters = c.config.Voters&^(1<<out) | 1<<in
	c.changed = w.now
}
