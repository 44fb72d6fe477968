// Package sim runs the real lease plane of a whole cell under virtual clocks and
// a virtual network, from a seed.
//
// One seed is one history, a minute or more with at least ten faults that
// overlap: clocks that drift apart as far as they may, hosts that sleep, packets
// that are lost, doubled, held back and reordered, partitions of every shape,
// crashes, restarts, a guard or an agent that stands still, changes of the
// voters, of leases and of the plan, a store that does not answer, clocks of
// another rate than the detectors allow for and leases still bear. Some faults
// fall anywhere; others follow a script that aims at one promise of the protocol
// (see scenes.go). The invariants are checked at every step, from outside, by
// someone who sees all clocks at once. A seed that fails, fails again the same
// way.
//
// What is real is package plane, and all below it. Around it stands a model of
// what the guard and the agent do with a lease: programs that take time to start
// and to stop, the cut before the lease's end, the kernel's own timeout for
// addresses (host.go). The controller is a model too (boss.go). Nothing here
// decides what the product decides. The models have planted faults of their own
// (mutation.go).
//
// The invariants, by name:
//
//	one-holder       an exclusive service has at most one valid lease
//	one-running      an exclusive service answers on at most one node
//	soft-overlap     a service that is not exclusive is held by two nodes for one
//	                 TTL of the older one at most
//	epochs-grow      every lease has a number above all before it; no number of a
//	                 service that is not exclusive is won twice
//	no-second-life   a lease that lapsed is not valid again
//	no-late-start    an exclusive service is not started on a node whose guard
//	                 works while another node holds it
//	never-kept       nothing but what may goes on without its lease
//	kept-goes-on     that goes on while its node is alone
//	kept-ends        and no longer, once it is in touch for a while
//	majority-serves  while a majority is in touch and nothing touches it, it
//	                 serves every service, all the time, from serveBound on
//	no-flapping      and no lease ends or changes hands without a cause
//	right-opinion    and everyone in it knows who is there and who is not
//	all-well         after the last fault, all nodes are such a majority
//	none-denied      and no voter refuses what is held
//	readable         a node can read what another of its version says
//
// In every third history, a trial, one thing at a time happens while packets are
// lost, and there is no doubt what the cell has to make of it (trials.go, judge.go,
// package truth):
//
//	no-false-loss       nobody counts as lost who is there and in touch with a
//	                    majority: not for loss up to 20 %, a broken link, a stall
//	                    of whoever watches, or one that is known of
//	moves-have-causes   no lease ends or changes hands but of who was away, and
//	                    where leases are as long as package bound makes them, not
//	                    for a stall that is known
//	takeover-in-bound   what a node served that dies is served again within what
//	                    package bound says
//	core-serves         the largest set of which each has a majority in both
//	                    directions serves everything, whatever else is torn
//	cut-is-right        and it counts all others as lost
package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/sim/agenda"
	"github.com/keelson/keelson/internal/sim/truth"
)

// MaxNodes is how many nodes a cell may have.
const MaxNodes = 32

// Options choose the kind of history.
type Options struct {
	// Nodes is the size of the cell, 1 to MaxNodes. 0 lets the seed choose: 3
	// more often than not, else 1, 2 or 5.
	Nodes int
}

// Result is what a history showed.
type Result struct {
	Seed      uint64
	Nodes     int
	Length    time.Duration // cell time that was played
	Violation *Violation    // nil: every invariant held
	Faults    [kinds]int    // that happened, by kind
	Wins      int           // leases won
	Packets   int
	Takeovers int // that were timed, and were within their bound
}

// Violation is a broken invariant.
type Violation struct {
	Invariant string
	At        time.Duration
	Text      string   // who and what
	Faults    []string // that happened until then, in order
	Trace     []string // the last steps before it; only of [Shrink]
}

// Run plays the history of seed.
func Run(seed uint64, opts Options) Result { return new(world).run(write(seed, opts)) }

// world is the omniscient view of the cell. Its time is the true one.
type world struct {
	plan    plan
	pcg     rand.PCG
	now     time.Duration
	queue   agenda.Queue
	hosts   []*host
	net     network
	boss    boss
	watch   watch
	judge   truth.Judge
	casts   [maxScenes]*cast
	armed   []*fault // wait for what triggers them
	tracing bool
	said    []string
	fired   []string // faults, if tracing
	result  Result
}

// reset makes w the beginning of a history. It keeps room that was used before.
func (w *world) reset(p plan) {
	q, old := w.queue, w.hosts
	q.Reset()
	*w = world{plan: p, queue: q, tracing: w.tracing, judge: truth.Judge{Longest: p.longest}, result: Result{Seed: p.seed, Nodes: p.nodes}}
	w.pcg.Seed(p.seed, 0x6b65656c)
	w.watch.begin(w)
	for slot := range p.nodes {
		var h *host
		if slot < len(old) {
			h = old[slot]
		} else {
			h = &host{}
		}
		*h = host{slot: uint8(slot), inbox: h.inbox[:0], stakes: make([]stake, len(p.services))}
		w.hosts = append(w.hosts, h)
	}
	w.boss.begin(w)
}

// run plays p to its end, or to the first violation.
func (w *world) run(p plan) Result {
	w.reset(p)
	for _, h := range w.hosts {
		w.boot(h)
	}
	for i := range p.faults {
		w.arm(&p.faults[i])
	}
	w.every(bossStep, w.boss.step)
	w.every(lookEvery, w.watch.look)
	end := p.length + p.settle
	for w.result.Violation == nil {
		if w.next() > end {
			w.now = end
			w.watch.checkWell(w)
			break
		}
		w.advance()
	}
	w.result.Length = w.now
	return w.result
}

// next is when the next thing happens.
func (w *world) next() time.Duration {
	at := w.queue.Next() // the boss and the watch always have something planned
	for _, h := range w.hosts {
		at = min(at, h.wake, h.look)
	}
	return at
}

// advance lets the next thing happen.
func (w *world) advance() {
	at := w.queue.Next()
	var who *host
	for _, h := range w.hosts {
		if next := min(h.wake, h.look); next < at {
			at, who = next, h
		}
	}
	w.now = max(w.now, at)
	switch {
	case who != nil && who.wake <= who.look:
		w.step(who)
	case who != nil:
		w.agent(who)
	default:
		if e := w.queue.Pop(); e.What >= 0 {
			w.deliver(e.What)
		} else {
			w.queue.Called(e.What)()
		}
	}
}

// random is a number below n, which must be positive.
func (w *world) random(n time.Duration) time.Duration {
	// The top bits scaled: a bias of 2^-24 at most, for times below a minute.
	return time.Duration((w.pcg.Uint64() >> 36) * uint64(n) >> 28)
}

// chance is true with probability p.
func (w *world) chance(p float64) bool { return float64(w.pcg.Uint64()>>11) < p*(1<<53) }

// after plans something rare.
func (w *world) after(d time.Duration, do func()) { w.queue.Call(w.now+max(d, 0), do) }

func (w *world) every(d time.Duration, do func(*world)) {
	var again func()
	again = func() {
		do(w)
		w.after(d, again)
	}
	w.after(d, again)
}

// violate records the first broken invariant.
func (w *world) violate(invariant, format string, args ...any) {
	if w.result.Violation == nil {
		w.result.Violation = &Violation{
			Invariant: invariant, At: w.now, Text: fmt.Sprintf(format, args...), Faults: w.fired, Trace: w.said,
		}
		w.trace("%s: %s", invariant, w.result.Violation.Text)
		w.result.Violation.Trace = w.said
	}
}

// maxTrace bounds the steps kept for a report.
const maxTrace = 200

func (w *world) trace(format string, args ...any) {
	if !w.tracing {
		return
	}
	if len(w.said) >= maxTrace {
		w.said = w.said[1:]
	}
	w.said = append(w.said, fmt.Sprintf("%11.4fs  ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) members() quorum.Set { return 1<<len(w.hosts) - 1 }

// index is the place of a service in the plan.
func (w *world) index(id lease.ID) int { return int(id - w.plan.services[0].id) }
