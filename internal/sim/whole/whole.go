// Package whole plays histories of whole nodes: the real decision, succession
// lists, agents' and guards' rules and lease plane of a cell, with programs that
// take time, fail, hang and die.
//
// Its sibling sim plays the lease plane alone, with more and harder faults of
// clocks and of the network, and stands for the rest with a few lines. Here that
// rest is real: package decide makes the plan from a snapshot that package survey
// put together out of what simulated agents report; packages mandate and
// supervise say what each agent does; package custody says what each guard cuts
// off. What is made up is what those touch: programs, kernels, processes that are
// killed and stopped, sockets, the store and the network. Nothing here decides
// what the product decides.
//
// One seed is one history of about two minutes with ten faults and more that
// overlap, some of machines, some of programs, some of operators; then all faults
// end. A seed that fails, fails again the same way.
//
// The invariants, by name:
//
//	one-running    an exclusive service runs and can be reached on at most one
//	               node, as far as guards are there to cut off what is not to run
//	one-primary    so does the primary of a service that has one
//	under-lease    what runs by a lease runs under one, where a guard works: it is
//	               cut off in time otherwise
//	no-late-start  nothing exclusive starts, and nothing is promoted, while another
//	               node has the lease
//	in-order       nothing starts long after what it is after has stopped
//	copies-fit     no node runs more copies of a service than it may
//	apart          nothing starts on a node where what it is to be apart from runs
//	room           nothing starts on a node without the room that it needs
//	all-run        after the last fault, everything runs that has a home, there and
//	               nowhere else
//	nothing-to-do  and the decision has nothing to change
//	no-flapping    and nothing starts, stops or is decided anew
//	comes-to-rest  nobody asks again and again what to do
//	readable       a node can read what another of its version says
package whole

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/keelson/keelson/internal/sim/agenda"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// Options choose the kind of history.
type Options = script.Options

// Kinds returns what the kinds of faults are called, in the order of
// [Result.Faults].
func Kinds() []string { return script.Kinds() }

// Result is what a history showed.
type Result struct {
	Seed      uint64
	Nodes     int
	Length    time.Duration     // cell time that was played
	Violation *Violation        // nil: every invariant held
	Faults    [script.Count]int // that happened, by kind
	Starts    int               // of programs
	Plans     int               // placements written
	Cuts      int               // programs that a guard ended
	Packets   int
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
func Run(seed uint64, opts Options) Result { return new(world).run(script.Write(seed, opts)) }

// world is the omniscient view of the cell. Its time is the true one.
type world struct {
	plan   script.Plan
	dice   *rand.Rand
	now    time.Duration
	agenda agenda.Queue
	added  uint64 // to the agenda
	nodes  []*node
	net    network
	store  store
	office office
	ills   []illness
	watch  watch

	tracing bool
	said    []string
	fired   []string
	result  Result
}

// after plans something.
func (w *world) after(d time.Duration, do func()) {
	w.added++
	w.agenda.Call(w.now+max(d, 0), do)
}

// every does something again and again.
func (w *world) every(d time.Duration, do func()) {
	w.after(d, func() {
		do()
		w.every(d, do)
	})
}

// random is a duration below d, which must be positive.
func (w *world) random(d time.Duration) time.Duration { return time.Duration(w.dice.Int64N(int64(d))) }

// between is a duration from low to below high.
func (w *world) between(low, high time.Duration) time.Duration { return low + w.random(high-low) }

// chance is true with probability p.
func (w *world) chance(p float64) bool { return w.dice.Float64() < p }

// run plays p to its end, or to the first violation.
func (w *world) run(p script.Plan) Result {
	*w = world{
		plan: p, dice: rand.New(rand.NewPCG(p.Seed, 0x77686f6c65)), tracing: w.tracing,
		result: Result{Seed: p.Seed, Nodes: p.Nodes},
	}
	w.office.holder = nobody
	w.watch.begin(w)
	for slot := range p.Nodes {
		w.nodes = append(w.nodes, newNode(w, uint8(slot)))
	}
	w.store.begin(w)
	for _, n := range w.nodes {
		w.boot(n)
	}
	for i := range p.Faults {
		f := p.Faults[i]
		w.after(f.At, func() { w.strike(&f) })
	}
	w.every(officeEvery, func() { w.campaign() })
	w.every(lookEvery, func() { w.watch.look(w) })
	w.after(p.Length, func() { w.mend() })
	end := p.Length + script.Settle
	for w.result.Violation == nil {
		if w.agenda.Next() > end {
			w.now = end
			w.watch.last(w)
			break
		}
		e := w.agenda.Pop()
		w.now = max(w.now, e.At)
		w.agenda.Called(e.What)()
		w.watch.check(w)
	}
	w.result.Length = w.now
	return w.result
}

// violate records the first broken invariant.
func (w *world) violate(invariant, format string, args ...any) {
	if w.result.Violation != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	w.trace("%s: %s", invariant, text)
	w.result.Violation = &Violation{Invariant: invariant, At: w.now, Text: text, Faults: w.fired, Trace: w.said}
}

// maxTrace bounds the steps kept for a report.
const maxTrace = 300

func (w *world) trace(format string, args ...any) {
	if !w.tracing {
		return
	}
	if len(w.said) >= maxTrace {
		w.said = w.said[1:]
	}
	w.said = append(w.said, fmt.Sprintf("%11.4fs  ", w.now.Seconds())+fmt.Sprintf(format, args...))
}
