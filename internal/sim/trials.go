package sim

import (
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/truth"
)

// Every third history is a trial: packets are lost, by up to mostLoss, and one
// thing at a time happens, so that there is no doubt what the cell has to make of
// it.
const (
	trialOf  = 3
	mostLoss = 0.20
	// With one voter of three away all depends on one path, and the shortest lease
	// on a dozen packets there; that is no promise.
	wornLoss  = 0.14
	someLoss  = 0.05
	trialSlot = 13 * time.Second
	trialRest = 6 * time.Second // before the first
)

// attempts are all that is tried, and how many packets are lost meanwhile, at most.
// Two that go wrong at once are for luck to decide; what is lost on top of them is
// less, or nothing.
var attempts = []struct {
	play func(*scene)
	loss float64
}{
	{(*scene).weather, mostLoss},
	{(*scene).death, wornLoss},
	{(*scene).worn, wornLoss},
	{(*scene).knownStall, someLoss},
	{(*scene).dozeTogether, someLoss},
	{(*scene).brokenLink, someLoss},
	{(*scene).dozeApart, someLoss},
	{(*scene).halfDeaf, someLoss},
	{(*scene).frozen, 0},
	{(*scene).learning, 0},
}

// trials makes p a trial.
func (d dice) trials(p *plan) {
	p.trials, p.patient = true, d.IntN(2) == 0
	if p.nodes < 3 {
		p.nodes = 3 + d.IntN(3)
	}
	p.voters = 1<<(p.nodes-1+p.nodes%2) - 1 // an odd number of them
	stall := d.between(30*ms, 450*ms)
	p.longest = d.between(minTTL+ms, []time.Duration{minTTL + 2*ms, 1500 * ms}[d.IntN(2)])
	d.services(p)
	if p.patient {
		p.longest = autoTTL(p.nodes, stall)
		for i := range p.services {
			p.services[i].ttl = p.longest
		}
	}
	d.rates(p)
	for i := range 4 {
		s := &scene{dice: d, p: p, index: int8(i), service: d.IntN(len(p.services)), begin: trialRest + time.Duration(i)*trialSlot, stall: stall}
		a := attempts[d.IntN(len(attempts))]
		if a.loss <= wornLoss && p.nodes == 4 {
			a.loss = min(a.loss, someLoss/2) // one has no vote, and all depends on two paths
		}
		if a.loss > 0 && d.IntN(5) > 1 {
			s.add(loss, 0, trialSlot-time.Second, 0, 0).share = a.loss * max(d.Float64(), float64(d.IntN(2)))
		}
		s.begin += d.between(time.Second, 1200*ms)
		a.play(s)
	}
}

// autoTTL is the length that the product gives leases in a cell whose hosts are
// known to stall.
func autoTTL(nodes int, stall time.Duration) time.Duration {
	var hosts []bound.Host
	for slot := range nodes {
		hosts = append(hosts, bound.Host{Name: spec.NodeName(fmt.Sprint(slot)), Stall: stall, Known: true, Votes: true, Runs: true})
	}
	return bound.Auto(hosts).TTL
}

// tried reports whether a history of so many nodes is a trial.
func tried(seed uint64, opts Options) bool {
	return seed%trialOf == 2 && (opts.Nodes == 0 || opts.Nodes >= 3 && opts.Nodes <= truth.MaxNodes)
}

// weather: packets are lost, and nothing else happens (no-false-loss,
// moves-have-causes).
func (s *scene) weather() {}

// death: the holder dies, or is cut off from everyone (takeover-in-bound).
func (s *scene) death() {
	if s.IntN(2) == 0 {
		s.add(split, 0, s.between(9*time.Second, 10*time.Second), holder, others).dies = true
		return
	}
	s.add(crash, 0, s.between(3*time.Second, 4*time.Second), holder, 0).dies = true
}

// worn: a node is away for long, and leases are as short as they may be
// (moves-have-causes).
func (s *scene) worn() {
	s.p.patient = false
	for i := range s.p.services {
		s.p.services[i].ttl = minTTL
	}
	s.add(split, 0, s.between(10*time.Second, 10500*ms), holder, others).dies = true
}

// knownStall: the holder's host stands still again and again for no longer than
// it once did, then it dies: the others wait for it that long, and the lease of
// who dies is not waited for any longer (no-false-loss, moves-have-causes,
// takeover-in-bound).
func (s *scene) knownStall() {
	s.add(suspend, 0, s.stall, holder, 0)
	for at := 3 * time.Second; at < 6*time.Second; at += s.between(time.Second, 2*time.Second) {
		s.add(suspend, at, s.between(s.stall/2, s.stall), holder, 0).bear = leases
	}
	if s.IntN(2) == 0 {
		s.add(crash, 11*time.Second, time.Second, holder, 0).dies = true
	}
}

// dozeTogether: the others' hosts stand still at the same time, and must not take
// that for the silence of who goes on (no-false-loss).
func (s *scene) dozeTogether() {
	for at := time.Duration(0); at < 7*time.Second; at += 2500 * ms {
		s.add(suspend, at, s.nap(), others, 0)
	}
}

// nap is as long as deadlines are stretched for, or longer.
func (s *scene) nap() time.Duration {
	if s.IntN(2) == 0 {
		return s.between(90*ms, 200*ms)
	}
	return s.between(1150*ms, 1900*ms)
}

// brokenLink: two nodes do not hear each other, and each hears all others
// (no-false-loss, cut-is-right).
func (s *scene) brokenLink() {
	s.add(split, 0, 10*time.Second, holder, second)
	if s.IntN(2) == 0 {
		s.add(cut, 0, 10*time.Second, second, holder)
	}
}

// dozeApart: while that is so, the others' hosts stand still (no-false-loss).
func (s *scene) dozeApart() {
	s.brokenLink()
	for at := time.Second; at < 5*time.Second; at += 2500 * ms {
		s.add(suspend, at, s.nap(), others&^second, 0)
	}
}

// halfDeaf: of what the holder says and hears only some passes, not enough for a
// majority in both directions (cut-is-right, core-serves).
func (s *scene) halfDeaf() {
	length := s.between(8*time.Second, 10*time.Second)
	switch s.IntN(4) {
	case 0:
		s.add(cut, 0, length, others, holder)
		s.add(burst, s.between(4*time.Second, 7*time.Second), 500*ms, holder, 0) // and then it is silent for a while
	case 1:
		s.add(cut, 0, length, holder, others)
	case 2: // each hears it, or is heard by it
		s.add(cut, 0, length, holder, second|8)
		s.add(cut, 0, length, others&^(second|8), holder)
	default: // it is in touch with one; where that is enough, nobody is to be cut
		s.add(split, 0, length, holder, others&^second)
	}
}

// frozen: the holder's guard stands still and its kernel answers, for less than
// what makes that a loss (no-false-loss); or for longer (cut-is-right).
func (s *scene) frozen() {
	for at := time.Duration(0); at < 4*time.Second; at += 2 * time.Second {
		s.add(stopGuard, at, s.between(100*ms, 450*ms), holder, 0).bear = verdicts
	}
	s.add(stopGuard, 6*time.Second, 6*time.Second, holder, 0)
}

// learning: what a node says takes longer, by leaps, which are gaps in which nothing
// is lost. Each is longer than the one before, by less than what the others have
// learned to bear; who is calm reads up to an interval late, and may have seen a gap
// shorter by that (no-false-loss). Then it dies, and nobody who may take over waits
// for as long as that to claim (takeover-in-bound).
func (s *scene) learning() {
	for i, gap := range []time.Duration{145, 155, 170, 193, 227, 278, 355} {
		f := s.add(slow, time.Duration(i)*1400*ms, 700*ms, holder, others)
		f.by, f.bear = gap*ms-plane.Interval(s.p.nodes), verdicts
	}
	s.add(crash, 11400*ms, 600*ms, holder, 0).dies = true
}

// bear is what a fault must not cause.
type bear uint8

const (
	nothing  bear = iota
	verdicts      // nobody counts as lost for it
	leases        // and, where they were made as long as that takes, no lease ends
)

// excuse notes that hosts stand still in a way that the others are to bear.
func (w *world) excuse(set quorum.Set, b bear, d time.Duration) {
	if b == nothing {
		return
	}
	w.each(set, func(h *host) {
		patient := 0
		if b == leases && w.plan.patient {
			patient = 1
		}
		h.excused++
		h.patient += patient
		w.after(d+excuseAfter, func() {
			h.excused--
			h.patient -= patient
		})
	})
}

// excuseAfter is how long what was to be borne may show its effects.
const excuseAfter = 300 * time.Millisecond
