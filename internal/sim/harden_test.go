package sim

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// harden is a history in which a service that is not exclusive is made exclusive,
// which each node hears at another time, while its holder is cut off.
type harden struct {
	*world
	dice
	counts func(h *harden) bool // from when on it counts as exclusive
	heard  time.Duration        // when the last node had heard, 0: not yet
}

func (x *harden) play(seed uint64) Result {
	x.dice = dice{newDice(seed)}
	p := plan{
		seed: seed, nodes: 3 + 2*x.IntN(2), longest: 2 * time.Second, external: true, replan: 5 * time.Second,
		length: 40 * time.Second,
	}
	p.voters, p.settle = 0b111, 2*latest+serveBound(p.longest)+10*time.Second
	for i := range 2 {
		p.services = append(p.services, service{
			id: 1 + uint32(i), ttl: p.longest, soft: i == 0, start: 20 * ms, stop: 10 * ms, agentLoss: 30 * time.Second,
		})
	}
	x.rates(&p)
	everyone := p.everyone()
	fault := func(k kind, at, length time.Duration, from, to quorum.Set) {
		p.faults = append(p.faults, fault{kind: k, at: at, length: length, scene: nobody, from: from, to: to})
	}
	const change = 8 * time.Second
	for at := change - time.Second; at < change+12*time.Second; at += x.between(ms, 4*time.Second) {
		who := quorum.Set(1) << x.IntN(p.nodes)
		switch x.IntN(6) {
		case 0, 1:
			fault(split, at, x.between(100*ms, 3*time.Second), who, everyone&^who)
		case 2:
			fault(storeCut, at, x.between(100*ms, 6*time.Second), who, 0)
		case 3:
			fault(stopAgent, at, x.between(100*ms, 6*time.Second), who, 0)
		case 4:
			fault(stopGuard, at, x.between(100*ms, time.Second), who, 0)
		default:
			fault(move, at, 0, who, 0)
		}
	}
	x.world = new(world)
	x.reset(p)
	for _, h := range x.hosts {
		x.boot(h)
	}
	for i := range p.faults {
		x.arm(&p.faults[i])
	}
	x.after(change, func() {
		x.world.boss.placed[0].hard = true
		x.world.boss.revision++
	})
	x.every(bossStep, x.world.boss.step)
	x.every(10*ms, func(*world) { x.look() })
	for end := p.length + p.settle; x.result.Violation == nil && x.next() <= end; {
		x.advance()
	}
	return x.result
}

// look finds out whether all have heard, and from when on it counts.
func (x *harden) look() {
	if !x.world.boss.placed[0].hard || !x.plan.services[0].soft {
		return
	}
	all := true
	for _, h := range x.hosts {
		all = all && h.up && h.joined && !h.untold && len(h.duty.Seeks) > 0 && !h.duty.Seeks[0].Soft
	}
	if all && x.heard == 0 {
		x.heard = x.now
	}
	x.plan.services[0].soft = !x.counts(x)
	for _, h := range x.hosts {
		for _, o := range x.hosts {
			if h != o && !x.plan.services[0].soft && h.holds(x.now, 0) && o.holds(x.now, 0) {
				x.watch.two(x.world, 0, h, o)
			}
		}
	}
}

// TestAServiceIsExclusiveOneLeaseAfterAllHaveHeard is about the moment from which on
// a service that was made exclusive has one holder.
func TestAServiceIsExclusiveOneLeaseAfterAllHaveHeard(t *testing.T) {
	histories := 120
	if testing.Short() {
		histories = 40
	}
	violated := func(counts func(*harden) bool) (count int, first *Violation) {
		for seed := range uint64(histories) {
			x := harden{counts: counts}
			r := x.play(seed)
			if r.Violation != nil {
				if count++; first == nil {
					first = r.Violation
				}
			}
			if r.Violation == nil && x.plan.services[0].soft {
				t.Fatalf("seed %d: it never counts as exclusive", seed)
			}
		}
		return count, first
	}
	if n, v := violated(func(x *harden) bool {
		return x.heard > 0 && x.now-x.heard > time.Duration(float64(x.plan.longest)/slowest)
	}); n > 0 {
		t.Errorf("%d of %d histories: %+v", n, histories, v)
	}
	early, _ := violated(func(*harden) bool { return true })
	if early == 0 {
		t.Errorf("had it counted from the change on, none of %d histories would have shown two holders", histories)
	}
	t.Logf("had it counted from the change on, %d of %d histories would have shown two holders", early, histories)
}
