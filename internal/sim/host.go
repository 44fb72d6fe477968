package sim

import (
	"math"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/core/quorum"
)

// Boot is a moment on a host's CLOCK_BOOTTIME.
type Boot = time.Duration

// never is a moment that does not come.
const never = time.Duration(math.MaxInt64)

// Timing of the guard and the agent, as packages guard and agent have it.
const (
	cutMargin  = 40 * time.Millisecond // how long before a lease's end the cut begins
	renewAfter = 2                     // part of a lease after which the kernel hears of a renewal, as a divisor
	killTime   = 20 * time.Millisecond // how long a cut takes, at most
	agentLook  = 250 * time.Millisecond
	agentDelay = 5 * time.Millisecond  // how late the agent hears of its guard, at most
	stopAhead  = 50 * time.Millisecond // how long before a lease's end the agent starts nothing any more
	// thawGap is how late the guard runs after its host slept, at most. For so
	// long a program may answer that should not: nothing on the host can help.
	thawGap = 5 * time.Millisecond
	// upgradeGap is how long nobody guards during an upgrade, at most.
	upgradeGap = 40 * time.Millisecond
)

// clock is a host's CLOCK_BOOTTIME. It counts the time the host sleeps.
type clock struct {
	base, origin time.Duration // local and true time of one moment
	rate         float64
}

// local is what the clock shows at true time t.
func (c *clock) local(t time.Duration) Boot {
	return c.base + time.Duration(float64(t-c.origin)*c.rate)
}

// trueAt is the true time at which the clock shows at least local.
func (c *clock) trueAt(local Boot) time.Duration {
	return c.origin + time.Duration(math.Ceil(float64(local-c.base)/c.rate))
}

func (c *clock) setRate(now time.Duration, rate float64) {
	c.base, c.origin, c.rate = c.local(now), now, rate
}

// host is one node: the real lease plane, and a model of the rest of its guard,
// its agent, its programs and its kernel.
type host struct {
	slot  uint8
	up    bool
	inc   uint64 // of the guard
	node  *plane.Node
	clock clock
	inbox []int32 // packets that wait for a guard that does not read

	plight
	wake, look time.Duration // true times at which the guard and the agent act next
	joined     bool          // the guard has had a duty
	untold     bool          // the agent has one for it
	thawing    bool          // the host has slept and the guard has not run since
	probed     time.Duration // when it last asked the kernels of silent nodes
	alone      time.Duration // since when it hears nobody; 0: it does
	calm       bool          // the guard leaves what arrives to its next tick
	duty       plane.Duty
	revision   uint64 // of the plan that duty is of
	missed     int    // turns of the controller since there is a newer one
	heard      Boot   // when the guard last heard its agent, if that stands still
	stakes     []stake
}

// plight is how many faults keep a host from acting, and how many of them are to
// be borne.
type plight struct{ stopped, agentStopped, agentHangs, asleep, cutOff, excused, patient int }

// stake is what one host has to do with one service.
type stake struct {
	// The lease, as the guard last saw it.
	held   bool
	number uint64
	until  Boot
	won    time.Duration // true time
	wanted time.Duration // the TTL of the duty
	ttl    time.Duration // longest TTL that this lease may have had
	stamp  uint64        // of the look at which it was held

	// The instance.
	state    state
	due      time.Duration // when its start or stop is done
	pass     Boot          // until when the kernel lets its address pass
	passing  bool          // the guard has told the kernel so
	away     bool          // it is to stop here and run elsewhere
	forsaken bool          // the guard gives it up because the agent is away
	proof    Boot          // from when on it is proven off then
	dropped  bool          // and has given its lease back
	told     Boot          // until when the agent was told that it may run
	midway   bool          // the agent stands still right before it starts it
	kept     bool          // it goes on without its lease
}

// state is that of an instance.
type state uint8

const (
	gone state = iota
	starting
	running
	stopping
)

// boot starts a host that remembers nothing.
func (w *world) boot(h *host) {
	h.up, h.thawing = true, false
	h.clock = clock{base: time.Second + w.random(time.Hour/64)*64, origin: w.now, rate: w.plan.rates[h.slot]}
	clear(h.stakes)
	w.startGuard(h)
}

// startGuard begins a guard without memory, which does nothing before its first
// duty. What runs goes on running.
func (w *world) startGuard(h *host) {
	for _, i := range h.inbox {
		w.queue.Free(i)
	}
	h.inbox = h.inbox[:0]
	h.inc = uint64(w.now) + uint64(w.queue.Planned()) + 1
	h.node = plane.New(h.slot, h.inc)
	h.duty, h.joined, h.untold, h.calm, h.revision = plane.Duty{}, false, false, false, 0
	for i := range h.stakes {
		x := &h.stakes[i]
		x.held, x.passing, x.forsaken, x.dropped = false, false, false, false
	}
	h.wake, h.look = never, w.now+agentLook
	if h.agentStopped > 0 {
		h.look = never
	}
	w.watch.disturbed(w)
	w.boss.join(w, h)
}

// hit lets a fault of a host happen.
func (w *world) hit(h *host, k kind, d time.Duration) {
	if !h.up || h.asleep > 0 || h.thawing {
		return
	}
	w.watch.disturbed(w)
	switch k {
	case crash:
		h.up, h.wake, h.look, h.node = false, never, never, nil
		w.after(d, func() { w.boot(h) })
	case restart:
		w.startGuard(h)
	case upgrade:
		w.upgrade(h)
	case stopGuard:
		w.stop(h, d)
	case stopAgent:
		w.silence(h, &h.agentStopped, d)
		h.look = never
		w.stopMidway(h)
	case hangAgent:
		w.silence(h, &h.agentHangs, d)
	case suspend:
		w.suspend(h, d)
	default:
	}
}

// silent reports whether the guard hears nothing of its agent.
func (h *host) silent() bool { return h.agentStopped > 0 || h.agentHangs > 0 }

// silence keeps the agent from saying anything for a while; count is how many
// faults of that kind do.
func (w *world) silence(h *host, count *int, d time.Duration) {
	if !h.silent() {
		h.heard = h.clock.local(w.now)
	}
	*count++
	w.after(d, func() {
		*count--
		w.watch.disturbed(w)
		if h.agentStopped > 0 || !h.up {
			return
		}
		h.look = w.now // it goes on with what it knew
		w.after(w.random(agentDelay), func() {
			if !h.silent() && h.up {
				w.tell(h)
			}
		})
	})
}

// stop lets the guard stand still for a while.
func (w *world) stop(h *host, d time.Duration) {
	h.stopped++
	h.wake = never
	w.after(d, func() {
		if h.stopped--; h.stopped == 0 && h.up && h.asleep == 0 {
			h.wake = w.now
		}
		w.watch.disturbed(w)
	})
}

// suspend lets a host sleep. Its kernel's timeouts do not count the sleep. A
// host whose guard stands still, or has not had a duty since its start, is left
// awake: one fault more than the design can bear, since nobody is there to look
// at the clock when it wakes.
func (w *world) suspend(h *host, d time.Duration) {
	if h.stopped > 0 || !h.joined {
		return
	}
	before := h.clock.local(w.now)
	h.asleep++
	h.wake, h.look = never, never
	w.after(d, func() {
		h.asleep--
		slept := h.clock.local(w.now) - before
		for i := range h.stakes {
			h.stakes[i].pass += slept
			h.stakes[i].due += d
		}
		h.heard += slept
		h.thawing = true
		h.wake, h.look = w.now+w.random(thawGap), w.now+thawGap
		if h.agentStopped > 0 {
			h.look = never
		}
		w.watch.disturbed(w)
	})
}

// upgrade replaces the guard by another that goes on from its state.
func (w *world) upgrade(h *host) {
	if h.stopped > 0 || !h.joined {
		return
	}
	next := plane.New(h.slot, h.inc)
	if err := next.Restore(h.node.State()); err != nil {
		w.violate("readable", "node %d could not go on from its own state: %v", h.slot, err)
		return
	}
	h.node = next
	w.stop(h, w.random(upgradeGap))
}

// driftApart makes the clocks of fast go as fast as they may, and all others as
// slowly, for a while.
func (w *world) driftApart(fast quorum.Set, d time.Duration, low, high float64) {
	set := func(h *host, rate float64) {
		h.clock.setRate(w.now, rate)
		if h.wake != never {
			h.wake = w.now
		}
	}
	for _, h := range w.hosts {
		if fast.Has(h.slot) {
			set(h, high)
		} else {
			set(h, low)
		}
	}
	w.after(d, func() {
		for _, h := range w.hosts {
			set(h, w.plan.rates[h.slot])
		}
	})
}

// step lets the guard act: what has arrived is read first.
func (w *world) step(h *host) {
	h.wake = never
	if !h.up || h.asleep > 0 || h.stopped > 0 || !h.joined {
		return
	}
	local := h.clock.local(w.now)
	for _, i := range h.inbox {
		w.read(h, local, w.queue.Packet(i))
		w.queue.Free(i)
	}
	h.inbox = h.inbox[:0]
	h.node.Tick(local)
	w.judgeVerdict(h)
	w.settle(h, local)
	w.probe(h, local)
	if h.thawing {
		h.thawing = false
		for s := range h.stakes {
			w.watch.served(w, h, s)
		}
	}
}

// settle sends what the plane wants sent, looks at what it says and believes,
// and enforces it.
func (w *world) settle(h *host, local Boot) {
	packets := h.node.Packets()
	for i := range packets {
		w.send(h, &packets[i])
	}
	notes := h.node.Notes()
	for i := range notes {
		w.watch.noted(w, h, &notes[i])
		if len(w.armed) > 0 {
			w.noted(h, &notes[i])
		}
		h.look = min(h.look, w.now+w.random(agentDelay))
	}
	if h.agentStopped > 0 {
		h.look = never
	}
	next := min(h.node.Next(), w.enforce(h, local))
	h.wake = max(h.clock.trueAt(next), w.now+50*time.Microsecond)
	if h.calm = h.node.Calm(local); !h.calm && len(h.inbox) > 0 {
		h.wake = w.now
	}
	if h.silent() {
		w.agentLoss(h, local)
	}
}

// enforce makes what the plane holds true on the host, and returns when to look
// again.
func (w *world) enforce(h *host, local Boot) Boot {
	again := never
	w.watch.stamp++
	held := h.node.Holds(local, w.watch.held[:0])
	w.watch.held = held
	for i := range held {
		if s := w.index(held[i].ID); held[i].Until > local {
			w.watch.holds(w, h, s, &held[i])
		} else {
			w.watch.keeps(w, h, s)
		}
	}
	for s := range h.stakes {
		x := &h.stakes[s]
		if x.stamp != w.watch.stamp {
			x.held, x.kept = false, false
		}
		until := x.until
		if x.kept {
			until = local + x.wanted // a lease at a time
		}
		if end := until - cutMargin; (x.held || x.kept) && !x.forsaken && local < end {
			if h.agentStopped == 0 {
				x.told = until
			}
			again = min(again, end)
			passes := until - cutMargin/2
			if !x.passing || passes > x.pass && x.pass-local < (passes-local)*(renewAfter-1)/renewAfter {
				x.pass, x.passing = passes, true
				w.watch.served(w, h, s)
			}
			continue
		}
		if !h.silent() { // one that hangs may not have read the last word
			x.told = min(x.told, local)
		}
		x.pass, x.passing = 0, false // also what a guard before this one let pass
		if h.joined {
			w.kill(h, x)
		}
	}
	return again
}

// kill is the guard's cut. A start that a stopped agent has begun finds no control
// group any more when it goes on.
func (w *world) kill(h *host, x *stake) {
	if !planted(cutMissesStart) {
		x.midway = false
	}
	switch x.state {
	case running:
		x.state, x.due = stopping, w.now+w.random(killTime)
	case starting:
		if h.agentStopped == 0 {
			x.state = gone
			return
		}
		x.state, x.due = stopping, w.now+w.random(killTime)
	case gone, stopping:
	}
}

// stopMidway lets an agent stand still in the middle of some of its starts: it has
// found that it may, and goes on from there.
func (w *world) stopMidway(h *host) {
	for s := range h.stakes {
		if x := &h.stakes[s]; x.state == starting && w.chance(0.75) {
			x.state, x.midway = gone, true
			w.trace("node %d: its agent stands still right before it starts service %d", h.slot, w.plan.services[s].id)
		}
	}
}

// agentLoss gives up what the agent has not looked after for too long: the cut
// comes first, then the release.
func (w *world) agentLoss(h *host, local Boot) {
	for s := range h.stakes {
		x := &h.stakes[s]
		if !x.held && !x.kept || local-h.heard <= w.plan.services[s].agentLoss {
			continue
		}
		w.watch.caused(w, s)
		if !x.forsaken {
			x.forsaken, x.proof = true, max(x.until, x.told)
			h.wake = w.now + killTime
			w.trace("node %d: the guard gives up service %d, its agent is away", h.slot, w.plan.services[s].id)
		}
		if x.state == stopping && w.now >= x.due {
			x.state = gone
		}
		if x.state != gone || local < x.proof && !planted(releaseBeforeProof) {
			continue
		}
		id := w.plan.services[s].id
		x.dropped = true
		rest := h.duty
		rest.Seeks = slices.DeleteFunc(slices.Clone(rest.Seeks), func(k plane.Seek) bool { return h.stakes[w.index(k.ID)].dropped })
		h.node.Release(local, id, x.number)
		h.node.SetDuty(local, rest)
		w.settle(h, local)
		return
	}
}

// agent lets the agent look after its instances.
func (w *world) agent(h *host) {
	h.look = never
	if !h.up || h.asleep > 0 || h.agentStopped > 0 {
		return
	}
	h.look = w.now + agentLook
	if h.untold && h.agentHangs == 0 {
		w.tell(h)
	}
	for s := range h.stakes {
		x := &h.stakes[s]
		if x.midway {
			x.midway = false
			w.start(h, s)
		}
		if x.state == starting && w.now >= x.due {
			x.state = running
			w.watch.served(w, h, s)
		}
		if x.state == stopping && w.now >= x.due {
			x.state = gone
		}
		switch {
		case x.away && x.held && !x.forsaken && h.stopped == 0 && h.agentHangs == 0 && w.firstAlive(h, s):
			w.giveWay(h, s)
		case x.state == gone && !x.kept && x.told-stopAhead > h.clock.local(w.now):
			w.start(h, s)
		}
		if x.state == starting || x.state == stopping {
			h.look = min(h.look, max(x.due, w.now+time.Millisecond))
		}
	}
}

// start begins a program.
func (w *world) start(h *host, s int) {
	h.stakes[s].state, h.stakes[s].due = starting, w.now+w.plan.services[s].start
	w.watch.started(w, h, s)
}

// firstAlive reports whether h hears the node that is to run service s.
func (w *world) firstAlive(h *host, s int) bool {
	return h.node.View(h.clock.local(w.now)).Alive.Has(h.duty.Seeks[s].Order[0])
}

// giveWay stops an instance that is to run elsewhere, then gives its lease back.
func (w *world) giveWay(h *host, s int) {
	x := &h.stakes[s]
	w.watch.caused(w, s)
	switch x.state {
	case running:
		x.state, x.due = stopping, w.now+w.plan.services[s].stop
	case gone:
		x.away = false
		local := h.clock.local(w.now)
		h.node.Release(local, w.plan.services[s].id, x.number)
		w.settle(h, local)
	case starting, stopping:
	}
}

// giveBack lets the holder's agent stop a service at once and release its lease,
// though the plan wants it there.
func (w *world) giveBack(s int) {
	slot := w.holder(s)
	if slot < 0 {
		return
	}
	h := w.hosts[slot]
	if h.stopped > 0 || h.silent() || h.asleep > 0 || !h.joined {
		return
	}
	w.watch.caused(w, s)
	x := &h.stakes[s]
	x.state, x.told = gone, 0
	local := h.clock.local(w.now)
	h.node.Release(local, w.plan.services[s].id, x.number)
	w.settle(h, local)
}

// holder is the node whose lease for service s is valid, the newest if there are
// two, or -1.
func (w *world) holder(s int) int {
	best := -1
	for i, h := range w.hosts {
		if h.holds(w.now, s) && (best < 0 || h.stakes[s].number > w.hosts[best].stakes[s].number) {
			best = i
		}
	}
	return best
}

// holds reports whether h's lease for service s is valid.
func (h *host) holds(now time.Duration, s int) bool {
	return h.up && h.stakes[s].held && h.clock.local(now) < h.stakes[s].until
}

// serves reports whether the host's instance of service s answers.
func (h *host) serves(now time.Duration, s int) bool {
	x := &h.stakes[s]
	return h.up && h.asleep == 0 && !h.thawing && x.pass > h.clock.local(now) &&
		(x.state == running || x.state == stopping && now < x.due)
}
