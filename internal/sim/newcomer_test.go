package sim

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/core/quorum"
)

// newcomer is a history that aims at the vote of a node that had none before. Around
// the change of the voters one lease becomes as long as any may be; its holder keeps
// it by the newcomer's vote alone, for it does not reach the voter that stays. Then
// the newcomer's guard begins without memory, the holder is cut off, and the voter
// that stays wants the lease: with the newcomer it is a majority. With forgetful the
// newcomer is silent only for the longest lease that there was before.
type newcomer struct {
	*world
	dice
	forgetful bool
}

// Who plays which role, and how long leases are before.
const (
	keeps     = 0 // holds the service
	stays     = 1 // a voter before and after
	leaves    = 2 // a voter before
	joins     = 3 // a voter after
	shortTTL  = 400 * time.Millisecond
	longTTL   = 3 * time.Second
	newVoters = quorum.Set(1<<keeps | 1<<stays | 1<<joins)
)

func (n *newcomer) play(seed uint64) Result {
	n.dice = dice{newDice(seed)}
	p := plan{
		seed: seed, nodes: 4, voters: 1<<keeps | 1<<stays | 1<<leaves, longest: longTTL, external: true, replan: 20 * time.Second,
		length: 40 * time.Second, settle: 2*latest + serveBound(longTTL) + 10*time.Second,
	}
	for i := range 2 {
		p.services = append(p.services, service{
			id: 1 + uint32(i), ttl: shortTTL, start: 20 * ms, stop: 10 * ms, agentLoss: 30 * time.Second,
		})
	}
	n.rates(&p)
	const everyone = quorum.Set(1<<keeps | 1<<stays | 1<<leaves | 1<<joins)
	fault := func(k kind, at, length time.Duration, from, to quorum.Set) *fault {
		p.faults = append(p.faults, fault{kind: k, at: at, length: length, scene: nobody, from: from, to: to})
		return &p.faults[len(p.faults)-1]
	}
	change := 8 * time.Second
	fault(voters, change, 0, newVoters, 0)
	fault(ttl, change+n.between(-2*time.Second, 6*time.Second), 0, 0, 0).by = longTTL
	fault(split, change+n.between(-time.Second, 6*time.Second), 25*time.Second, 1<<keeps, 1<<stays)
	crisis := change + n.between(2*time.Second, 18*time.Second)
	fault(stopAgent, crisis-n.between(0, 300*ms), 15*time.Second, 1<<keeps, 0)
	fault(move, crisis-n.between(0, 250*ms), 0, 1<<stays, 0)
	fault(split, crisis+n.between(0, 60*ms), n.between(2*time.Second, 8*time.Second), 1<<keeps, everyone&^(1<<keeps))
	restarts := crisis + n.between(0, 100*ms)

	n.world = new(world)
	n.reset(p)
	for _, h := range n.hosts {
		n.boot(h)
	}
	for i := range p.faults {
		n.arm(&p.faults[i])
	}
	n.after(restarts, func() { n.restart(n.hosts[joins]) })
	n.every(bossStep, n.world.boss.step)
	n.every(lookEvery, n.watch.look)
	for end := p.length + p.settle; n.result.Violation == nil && n.next() <= end; {
		n.advance()
	}
	return n.result
}

// restart lets a guard begin without memory. One that is forgetful has its first duty
// from somebody who has not heard of the long lease.
func (n *newcomer) restart(h *host) {
	n.hit(h, restart, 0)
	if !n.forgetful {
		return
	}
	b := &n.world.boss
	h.duty = b.duty(n.world)
	h.duty.Floor, h.duty.Longest, h.duty.Seeks = b.ceiling, shortTTL, []plane.Seek{}
	b.ceiling += ceilingStep
	h.duty.Ceiling, h.joined = b.ceiling, true
	n.tell(h)
}

// TestAVoteThatIsNewGrantsNothingBesideALongerLease is about a change of the voters
// while another lease, that is longer than all before, comes into use.
func TestAVoteThatIsNewGrantsNothingBesideALongerLease(t *testing.T) {
	histories := 150
	if testing.Short() {
		histories = 60
	}
	broken, takeovers := 0, 0
	for seed := range uint64(histories) {
		n := newcomer{}
		r := n.play(seed)
		if v := r.Violation; v != nil {
			t.Fatalf("seed %d: at %s: %s: %s", seed, v.At, v.Invariant, v.Text)
		}
		if n.hosts[stays].stakes[0].number > 0 {
			takeovers++
		}
		n = newcomer{forgetful: true}
		if r := n.play(seed); r.Violation != nil && r.Violation.Invariant == "one-holder" {
			broken++
		}
	}
	t.Logf("in %d of %d histories the voter that stays took over; a newcomer that is silent for a short lease only breaks %d", takeovers, histories, broken)
	if takeovers < histories/3 || broken < 10 {
		t.Errorf("only %d takeovers, and a newcomer without the silence breaks %d of %d histories", takeovers, broken, histories)
	}
}
