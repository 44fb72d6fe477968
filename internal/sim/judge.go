package sim

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/core/detect"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/truth"
)

// lossAllowance is what packets that are lost by chance add to a bound: it counts
// with one.
const lossAllowance = 400 * time.Millisecond

// boundMargin is what the model of the agent adds to a bound: how late it hears
// of its guard, and its steps of a millisecond.
const boundMargin = agentDelay + 2*time.Millisecond

// stand is how things stand with the cell.
func (w *world) stand() truth.Cell {
	c := truth.Cell{Members: w.members(), Config: w.boss.config}
	for _, h := range w.hosts {
		bit := quorum.Of(h.slot)
		if !h.up || !h.joined {
			continue
		}
		c.Up |= bit
		if h.asleep == 0 && h.stopped == 0 {
			c.Awake |= bit
		}
		if h.excused > 0 {
			c.Excused |= bit
		}
		if h.patient > 0 {
			c.Patient |= bit
		}
		if h.node.Voting(h.clock.local(w.now)) {
			c.Voting |= bit
		}
		for _, o := range w.hosts {
			if w.net.cut[h.slot][o.slot] > 0 {
				c.Parted[h.slot] |= 1 << o.slot
			}
		}
	}
	return c
}

// judgeVerdict checks no-false-loss when h has just judged anew.
func (w *world) judgeVerdict(h *host) {
	if !w.plan.trials {
		return
	}
	w.judge.See(w.now, w.stand())
	if wrong := w.judge.Verdict(w.now, h.slot, h.node.Lost()); wrong != "" {
		w.violate("no-false-loss", "%s", wrong)
	}
}

// judgeNote checks moves-have-causes.
func (w *world) judgeNote(h *host, note *lease.Note) {
	if !w.plan.trials {
		return
	}
	w.judge.See(w.now, w.stand())
	wrong := ""
	switch note.Kind {
	case lease.Won:
		wrong = w.judge.Won(w.now, w.index(note.ID), h.slot)
	case lease.Ended:
		wrong = w.judge.Ended(w.now, h.slot)
	default:
	}
	if wrong != "" {
		w.violate("moves-have-causes", "service %d: %s", note.ID, wrong)
	}
}

// judgeCore checks core-serves and cut-is-right: what the nodes that have a
// majority in both directions are to do, whatever the shape of the partition.
func (w *world) judgeCore() {
	if !w.plan.trials {
		return
	}
	w.judge.See(w.now, w.stand())
	core, since := w.judge.Core()
	if core == 0 || slices.ContainsFunc(w.hosts, func(h *host) bool { return h.excused > 0 }) || w.now-since <= serveBound(w.plan.longest) {
		return
	}
	// With fewer voters than there are each packet counts.
	sure := core == w.members() || w.net.loss <= someLoss
	for s := range w.plan.services {
		on := 0
		for _, h := range w.hosts {
			if core.Has(h.slot) && h.serves(w.now, s) {
				on++
			}
		}
		if on != 1 && sure {
			w.violate("core-serves", "service %d answers on %d of %s, which have a majority in touch for %s",
				w.plan.services[s].id, on, names(core), w.now-since)
		}
	}
	for _, h := range w.hosts {
		if core.Has(h.slot) {
			if wrong := w.judge.Opinion(h.slot, h.node.Lost()); wrong != "" {
				w.violate("cut-is-right", "%s, for %s", wrong, w.now-since)
			}
		}
	}
}

// expect checks takeover-in-bound: some hosts are lost right now, and what they
// serve answers elsewhere when the product's own figure says so.
func (w *world) expect(dead quorum.Set) {
	if dead.Len() != 1 || !w.judge.Whole(w.now, serveBound(w.plan.longest)) {
		return
	}
	x := w.hosts[dead.First()]
	hosts, timeout := w.measured()
	for s := range w.plan.services {
		if !x.serves(w.now, s) || !x.holds(w.now, s) {
			continue
		}
		p := &w.plan.services[s]
		f, ok := bound.Exclusive(p.ttl, hosts, p.start)
		if p.soft {
			f, ok = bound.Shared(p.ttl, timeout, hosts, p.start)
		}
		if !ok {
			continue
		}
		limit := time.Duration(float64(f.Total)/slowest) + boundMargin
		if w.net.loss > 0 {
			limit += lossAllowance
		}
		began := w.now
		w.after(limit, func() {
			for _, h := range w.hosts {
				if h.serves(w.now, s) {
					w.result.Takeovers++
					return
				}
			}
			w.violate("takeover-in-bound", "service %d is not served since node %d was lost, %s ago (lease %s, claim %s, start %s)",
				p.id, x.slot, w.now-began, f.Lease, f.Claim, f.Start)
		})
	}
}

// measured is what package cell would know of the hosts.
func (w *world) measured() (hosts []bound.Host, timeout time.Duration) {
	for _, h := range w.hosts {
		v := h.node.View(h.clock.local(w.now))
		hosts = append(hosts, bound.Host{
			Name: spec.NodeName(names(quorum.Of(h.slot))), Stall: v.Late, Known: v.Measured >= bound.Enough,
			Votes: w.boss.config.Voters.Has(h.slot), Runs: true,
		})
		timeout = max(timeout, detect.Patience(v.Late), v.Waits)
	}
	return hosts, timeout
}
