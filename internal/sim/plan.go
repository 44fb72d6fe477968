package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// plan is all of a history that its seed decides beforehand. What happens to a
// packet is drawn while it is played, from a stream of its own, so that the same
// plan with fewer faults is still a history.
type plan struct {
	seed     uint64
	nodes    int
	voters   quorum.Set
	services []service
	longest  time.Duration // longest TTL in use
	external bool          // the store is elsewhere: partitions of the cell do not touch it
	replan   time.Duration // how long a successor holds until the plan follows it
	rates    [MaxNodes]float64
	faults   []fault
	length   time.Duration // with faults
	settle   time.Duration // without, after which all must be well
	trials   bool          // see trials.go
	patient  bool          // its leases are as long as the stalls ask for that are known
}

// service is one service of the cell.
type service struct {
	id          lease.ID
	ttl         time.Duration
	soft        bool
	keep        bool          // see lease.Seek; only for what is soft
	start, stop time.Duration // how long its program takes
	agentLoss   time.Duration // see spec.Failover
}

// Clocks that are good differ in rate by less than 1 %: slowest and fastest are
// apart by 0.985 %. In some histories they go further apart for a while, by
// leastOff to mostOff: some of that the detectors find, and all of it leases must
// bear (lease.DriftBound).
const (
	slowest  = 1 - 0.0049
	fastest  = 1 + 0.0049
	leastOff = 0.011
	mostOff  = 0.0195
	// foundFor is how long a clock may count as one of another rate after it runs
	// at that of the others again.
	foundFor = 70 * time.Second
)

const (
	historyLength = time.Minute
	minFaults     = 10
	moreFaults    = 10 // so many more at most
	minTTL        = 300 * time.Millisecond
	latest        = 3 * time.Second // half of how late packets may come
	firstNumber   = uint64(1) << 40 // ballots of a cell that has lived for long
)

// write makes the plan of a seed.
func write(seed uint64, opts Options) plan {
	d := dice{newDice(seed)}
	p := plan{seed: seed, nodes: opts.Nodes, length: historyLength}
	if p.nodes == 0 {
		p.nodes = []int{3, 3, 5, 3, 3, 2, 3, 5, 3, 1}[seed%10]
	}
	if tried(seed, opts) {
		d.trials(&p)
		p.settle = max(p.longest, 2*latest) + serveBound(p.longest) + 3*time.Second
		return p
	}
	count := []int{1, 2, 3, 5}[min(d.IntN(4), (p.nodes+1)/2)]
	for p.voters.Len() < min(count, p.nodes) {
		p.voters |= 1 << d.IntN(p.nodes)
	}
	if p.nodes == 3 && d.IntN(5) > 0 || p.nodes == 5 && d.IntN(3) > 0 {
		p.voters = 1<<p.nodes - 1 // as the product would have it
	}
	p.longest = d.between(800*time.Millisecond, 3*time.Second)
	p.external = d.IntN(2) == 0
	p.replan = d.between(300*time.Millisecond, 6*time.Second)
	d.services(&p)
	d.rates(&p)
	d.scatter(&p, minFaults+d.IntN(moreFaults))
	if p.nodes > 1 && d.IntN(3) > 0 {
		d.scenes(&p, 1+d.IntN(3))
	}
	// Who starts anew at the last moment is silent for the longest TTL, and what was
	// held back comes later still.
	p.settle = max(p.longest, 2*latest) + serveBound(p.longest) + 3*time.Second
	if slices.ContainsFunc(p.faults, func(f fault) bool { return f.kind == driftFar }) {
		p.settle += foundFor
	}
	return p
}

// dice decide what a seed means.
type dice struct{ *rand.Rand }

func newDice(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x706c616e)) }

func (d dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.Int64N(int64(high-low)))
}

// slots is a random set of nodes, neither empty nor whole if that can be.
func (d dice) slots(n int) quorum.Set {
	if n == 1 {
		return 1
	}
	return quorum.Set(1 + d.IntN(1<<n-2))
}

func (d dice) services(p *plan) {
	for i := range 3 + d.IntN(3) {
		s := service{
			id: lease.ID(1 + i), soft: i%3 == 2, ttl: d.between(minTTL, p.longest),
			start: d.between(10*time.Millisecond, 200*time.Millisecond), stop: d.between(5*time.Millisecond, 100*time.Millisecond),
			agentLoss: 30 * time.Second,
		}
		if d.IntN(3) == 0 {
			s.agentLoss = d.between(2*time.Second, 15*time.Second)
		}
		if i == 0 {
			s.ttl = p.longest
		}
		s.keep = s.soft && d.IntN(2) == 0
		p.services = append(p.services, s)
	}
}

func (d dice) rates(p *plan) {
	kind := d.IntN(4)
	for i := range p.rates {
		switch {
		case kind == 0:
			p.rates[i] = 1
		case kind == 1:
			p.rates[i] = slowest + d.Float64()*(fastest-slowest)
		case d.IntN(2) == 0:
			p.rates[i] = slowest
		default:
			p.rates[i] = fastest
		}
	}
}

// scatter lets n faults fall anywhere.
func (d dice) scatter(p *plan, n int) {
	for range n {
		f := fault{kind: kind(d.IntN(int(scattered))), at: d.between(0, p.length), length: d.between(0, 8*time.Second), scene: nobody}
		f.from, f.to = d.slots(p.nodes), d.slots(p.nodes)
		if d.IntN(2) == 0 {
			f.from = 1 << d.IntN(p.nodes) // one alone is the usual case
		}
		if f.kind == split || f.kind == cut {
			f.to = p.everyone() &^ f.from
			if d.IntN(3) == 0 {
				f.to = d.slots(p.nodes) &^ f.from
			}
		}
		f.service = d.IntN(len(p.services))
		switch f.kind {
		case slow:
			f.by = d.between(20*time.Millisecond, 900*time.Millisecond)
		case late:
			f.by = d.between(200*time.Millisecond, latest)
		case reorder:
			f.by = d.between(5*time.Millisecond, 600*time.Millisecond)
		case ttl:
			f.by = d.between(minTTL, p.longest)
		case burst:
			f.length /= 8
		case stopAgent, hangAgent:
			f.length *= 3
		case loss, double:
			f.share = 0.05 + 0.45*d.Float64()
		default:
		}
		p.faults = append(p.faults, f)
	}
}

func (p *plan) everyone() quorum.Set { return 1<<p.nodes - 1 }
