// Package sim runs the real lease plane of a whole cell under a virtual clock
// and a virtual network, from a seed.
//
// One seed is one history: nodes with clocks that drift and hosts that sleep,
// packets that are lost, doubled, delayed and reordered, partitions of every
// shape, crashes, restarts and pauses, changes of the voters, a store that does
// not answer. The invariants are checked at every step, from outside, by
// someone who sees all clocks at once. A seed that fails, fails again the same
// way. Nothing here decides anything: package plane does.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/core/quorum"
)

// Options choose the kind of history.
type Options struct {
	Nodes    int           // 1 to 32
	Services int           // exclusive services
	Length   time.Duration // with faults
	Settle   time.Duration // without faults, after which all must be well
	Faults   int           // how many are injected, overlapping
}

// Default is the history that the tests run: a minute with twelve faults.
var Default = Options{Nodes: 3, Services: 4, Length: time.Minute, Settle: 12 * time.Second, Faults: 12}

// Result is what a history showed.
type Result struct {
	Seed      uint64
	Violation string        // empty: every invariant held
	At        time.Duration // when it was violated
	Faults    map[string]int
	Wins      int // leases won
	Packets   int
	Trace     []string // the last steps before the violation
}

// world is the omniscient view of the cell. Its time is the true one.
type world struct {
	opts  Options
	rng   *rand.Rand
	now   time.Duration
	seq   int
	queue events
	nodes []*host
	net   network
	boss  controller

	grants map[lease.ID][]grant
	epochs map[lease.ID]uint64
	result Result
}

// grant is one node's valid lease, in true time.
type grant struct {
	node   int
	number uint64
	until  time.Duration
}

// host is one node: a plane and the machine around it.
type host struct {
	slot   uint8
	node   *plane.Node
	inc    uint64
	up     bool
	paused bool
	inbox  []packet // arrived while paused

	base    time.Duration // local clock at trueBase
	origin  time.Duration // true time of base
	rate    float64
	wake    int // number of the wake-up event that counts
	duty    plane.Duty
	holding map[lease.ID]uint64
}

type packet struct {
	from uint8
	inc  uint64
	data []byte
}

// local is the host's CLOCK_BOOTTIME at true time t.
func (h *host) local(t time.Duration) time.Duration {
	return h.base + time.Duration(float64(t-h.origin)*h.rate)
}

// true time at which the host's clock will show local.
func (h *host) trueAt(local time.Duration) time.Duration {
	return h.origin + time.Duration(float64(local-h.base)/h.rate)
}

// Run plays the history of seed and returns what it showed.
func Run(seed uint64, opts Options) Result {
	w := &world{
		opts: opts, rng: rand.New(rand.NewPCG(seed, 0x6b65656c)),
		grants: map[lease.ID][]grant{}, epochs: map[lease.ID]uint64{},
		result: Result{Seed: seed, Faults: map[string]int{}},
	}
	w.net.init(opts.Nodes)
	for slot := range opts.Nodes {
		w.nodes = append(w.nodes, &host{slot: uint8(slot), holding: map[lease.ID]uint64{}})
	}
	w.boss.init(w)
	for _, h := range w.nodes {
		w.boot(h)
	}
	for range opts.Faults {
		w.at(time.Duration(w.rng.Int64N(int64(opts.Length))), w.fault)
	}
	w.every(100*time.Millisecond, func() { w.boss.step(w) })
	w.at(opts.Length, w.healAll)
	w.runUntil(opts.Length + opts.Settle)
	w.checkWell()
	return w.result
}

func (w *world) runUntil(end time.Duration) {
	for len(w.queue) > 0 && w.result.Violation == "" {
		e := heap.Pop(&w.queue).(event)
		if e.at > end {
			return
		}
		w.now = e.at
		e.do()
	}
}

// violate records the first broken invariant.
func (w *world) violate(format string, args ...any) {
	if w.result.Violation == "" {
		w.result.Violation, w.result.At = fmt.Sprintf(format, args...), w.now
	}
}

// MaxTrace bounds the steps kept for a report.
const MaxTrace = 200

func (w *world) trace(format string, args ...any) {
	if len(w.result.Trace) >= MaxTrace {
		w.result.Trace = w.result.Trace[1:]
	}
	w.result.Trace = append(w.result.Trace, fmt.Sprintf("%12s  ", w.now.Round(time.Microsecond))+fmt.Sprintf(format, args...))
}

// boot starts a host whose guard remembers nothing.
func (w *world) boot(h *host) {
	h.up, h.paused, h.inbox = true, false, nil
	h.inc = uint64(w.now) + uint64(w.seq) + 1
	h.base, h.origin = time.Duration(w.rng.Int64N(int64(time.Hour))), w.now
	// Any two clocks differ in rate by less than one in a hundred.
	h.rate = 1 + (w.rng.Float64()-0.5)*0.0098
	h.node = plane.New(h.slot, h.inc)
	h.duty = plane.Duty{}
	clear(h.holding)
	w.boss.joined(w, h)
	w.step(h)
}

func (w *world) crash(h *host) {
	h.up, h.node = false, nil
	clear(h.holding)
	for id := range w.grants {
		w.ungrant(id, int(h.slot))
	}
}

// step lets a host act on its own clock, collects what it sends and says, and
// checks what it now believes.
func (w *world) step(h *host) {
	if !h.up || h.paused {
		return
	}
	local := h.local(w.now)
	for _, p := range h.inbox {
		if err := h.node.Receive(local, p.from, p.inc, p.data); err != nil {
			w.violate("node %d could not read its peer's packet: %v", h.slot, err)
		}
	}
	h.inbox = h.inbox[:0]
	h.node.Tick(local)
	w.collect(h)
}

func (w *world) collect(h *host) {
	for _, p := range h.node.Packets() {
		w.send(h, p)
	}
	w.observe(h)
	w.schedule(h)
}

func (w *world) schedule(h *host) {
	h.wake++
	mine := h.wake
	at := max(h.trueAt(h.node.Next()), w.now+50*time.Microsecond)
	w.at(at, func() {
		if h.wake == mine {
			w.step(h)
		}
	})
}

func (w *world) deliver(to *host, p packet) {
	if !to.up {
		return
	}
	if to.paused {
		if len(to.inbox) < 256 {
			to.inbox = append(to.inbox, p)
		}
		return
	}
	local := to.local(w.now)
	if err := to.node.Receive(local, p.from, p.inc, p.data); err != nil {
		w.violate("node %d could not read its peer's packet: %v", to.slot, err)
	}
	w.collect(to)
}

// event is something that happens at a true time; seq keeps equal times in the
// order in which they were planned.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for package heap.
func (q *events) Push(x any) { *q = append(*q, x.(event)) }

// Pop is for package heap.
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (w *world) at(t time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{at: max(t, w.now), seq: w.seq, do: do})
}

func (w *world) every(d time.Duration, do func()) {
	w.at(w.now+d, func() {
		do()
		w.every(d, do)
	})
}

func (w *world) members() quorum.Set {
	var s quorum.Set
	for _, h := range w.nodes {
		s |= 1 << h.slot
	}
	return s
}
