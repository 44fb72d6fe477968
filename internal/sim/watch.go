package sim

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// watch compares what the hosts believe with what the others believe.
type watch struct {
	stamp  uint64
	held   []lease.Hold    // room for what one host holds
	epochs []uint64        // highest number won, by service
	won    [][]uint64      // all numbers won, of services that are not exclusive
	cause  []time.Duration // when there was last a reason to move a service

	noise int        // faults that touch everyone
	calm  quorum.Set // a majority in touch that nothing touches; 0: there is none
	since time.Duration
	odd   time.Duration // since when the store is away and plans differ; never: they do not
}

const (
	lookEvery = 50 * time.Millisecond
	// moveBound is how long a planned change may take, with all that it entails.
	moveBound = 5 * time.Second
)

// serveBound is how long a majority may need, from the moment nothing touches it
// any more, until it serves everything: the leases of those who are not in it
// run out, meanwhile the detector's longest timeout passes, then claims are made,
// a round or two of them, and the programs start.
func serveBound(longest time.Duration) time.Duration { return longest + 1500*time.Millisecond }

func (c *watch) begin(w *world) {
	n := len(w.plan.services)
	*c = watch{epochs: make([]uint64, n), won: make([][]uint64, n), cause: make([]time.Duration, n), odd: never}
}

// caused notes a reason for service s to move.
func (c *watch) caused(w *world, s int) { c.cause[s] = w.now }

// disturbed notes that something touched the cell.
func (c *watch) disturbed(w *world) { c.calm, c.since = 0, w.now }

// settled reports whether the calm has lasted for so long that all must be in
// order, and h is part of it.
func (c *watch) settled(w *world, h *host) bool {
	return c.calm.Has(h.slot) && w.now-c.since > serveBound(w.plan.longest)
}

// noted looks at what a host's plane said.
func (c *watch) noted(w *world, h *host, note *lease.Note) {
	s := w.index(note.ID)
	w.trace("node %d: %s lease %d number %d", h.slot, noteWord(note.Kind), note.ID, note.Number)
	w.judgeNote(h, note)
	switch note.Kind {
	case lease.Won:
		w.result.Wins++
		c.grow(w, h, s, note.Number)
	case lease.Ended, lease.Released:
	case lease.Unkept:
		if h.alone > 0 && w.deaf(h) && w.now-h.alone > 2*w.plan.longest+time.Second && w.now-c.cause[s] > moveBound {
			w.violate("kept-goes-on", "service %d goes on no more at node %d, which was alone for %s", note.ID, h.slot, w.now-h.alone)
		}
		return
	default:
		return
	}
	if c.settled(w, h) && w.now-c.cause[s] > moveBound {
		w.violate("no-flapping", "node %d %s the lease of service %d, though nothing had happened to %s for %s",
			h.slot, noteWord(note.Kind), note.ID, names(c.calm), w.now-c.since)
	}
}

// grow checks epochs-grow.
func (c *watch) grow(w *world, h *host, s int, number uint64) {
	id := w.plan.services[s].id
	switch {
	case w.plan.services[s].soft:
		if slices.Contains(c.won[s], number) {
			w.violate("epochs-grow", "node %d won service %d with number %d, which was won before", h.slot, id, number)
		}
		c.won[s] = append(c.won[s], number)
	case number <= c.epochs[s]:
		w.violate("epochs-grow", "node %d won service %d with number %d, after %d was won", h.slot, id, number, c.epochs[s])
	}
	c.epochs[s] = max(c.epochs[s], number)
}

// holds looks at a lease that h holds now.
func (c *watch) holds(w *world, h *host, s int, hold *lease.Hold) {
	x := &h.stakes[s]
	x.stamp, x.kept = c.stamp, false
	same := x.number == hold.Number
	if same && (!x.held || x.until <= h.clock.local(w.now)) {
		w.violate("no-second-life", "the lease of service %d with number %d, which lapsed on node %d, is valid again", hold.ID, hold.Number, h.slot)
	}
	if !same {
		x.number, x.held, x.won, x.ttl = hold.Number, true, w.now, x.wanted
	}
	x.until = hold.Until
	for _, o := range w.hosts {
		if o != h && o.holds(w.now, s) {
			c.two(w, s, h, o)
		}
	}
}

// keeps looks at what goes on at h without its lease.
func (c *watch) keeps(w *world, h *host, s int) {
	x := &h.stakes[s]
	x.stamp, x.held, x.kept = c.stamp, false, true
	if !w.plan.services[s].keep {
		w.violate("never-kept", "service %d goes on at node %d without its lease", w.plan.services[s].id, h.slot)
	}
}

// started checks no-late-start when h begins to start service s. Whose guard
// cannot act has nobody to stop it.
func (c *watch) started(w *world, h *host, s int) {
	if w.plan.services[s].soft || h.holds(w.now, s) || h.stopped > 0 || h.thawing || !h.joined {
		return
	}
	for _, o := range w.hosts {
		if o != h && o.holds(w.now, s) {
			w.violate("no-late-start", "node %d starts service %d, and node %d holds it (number %d)", h.slot, w.plan.services[s].id, o.slot, o.stakes[s].number)
		}
	}
}

// two checks one-holder and soft-overlap for two nodes that both hold a lease.
func (c *watch) two(w *world, s int, a, b *host) {
	x, y := &a.stakes[s], &b.stakes[s]
	if !w.plan.services[s].soft {
		w.violate("one-holder", "service %d is held by node %d (number %d) and node %d (number %d), for %s more",
			w.plan.services[s].id, a.slot, x.number, b.slot, y.number,
			min(a.clock.trueAt(x.until), b.clock.trueAt(y.until))-w.now)
		return
	}
	older, newer := x, y
	if y.won < x.won {
		older, newer = y, x
	}
	if both := w.now - newer.won; both > older.ttl {
		w.violate("soft-overlap", "service %d is held by nodes %d and %d for %s, the bound is %s", w.plan.services[s].id, a.slot, b.slot, both, older.ttl)
	}
}

// served checks one-running when the instance of service s may just have begun
// to answer on h.
func (c *watch) served(w *world, h *host, s int) {
	if w.plan.services[s].soft || !h.serves(w.now, s) {
		return
	}
	for _, o := range w.hosts {
		if o != h && o.serves(w.now, s) {
			w.violate("one-running", "service %d answers on node %d (number %d) and on node %d (number %d)",
				w.plan.services[s].id, o.slot, o.stakes[s].number, h.slot, h.stakes[s].number)
		}
	}
}

// look is taken often. It finds who is calm, and checks majority-serves and
// right-opinion.
func (c *watch) look(w *world) {
	w.judgeCore()
	for _, h := range w.hosts {
		switch {
		case !h.up || !w.deaf(h) || h.stopped > 0: // it may have been told what it has not read
			h.alone = 0
		case h.alone == 0:
			h.alone = w.now
		}
	}
	calm := c.quiet(w)
	if calm != c.calm {
		c.calm, c.since = calm, w.now
	}
	if calm == 0 || w.now-c.since <= serveBound(w.plan.longest) {
		return
	}
	for s := range w.plan.services {
		if w.now-c.cause[s] <= moveBound {
			continue
		}
		on := 0
		for _, h := range w.hosts {
			if calm.Has(h.slot) && h.serves(w.now, s) {
				on++
			}
		}
		if on != 1 {
			w.violate("majority-serves", "service %d answers on %d of %s, though nothing touched them for %s",
				w.plan.services[s].id, on, names(calm), w.now-c.since)
		}
	}
	for _, h := range w.hosts {
		if !calm.Has(h.slot) {
			continue
		}
		for s := range h.stakes {
			if h.stakes[s].kept && w.now-c.since > serveBound(w.plan.longest)+lease.KeepPatience {
				w.violate("kept-ends", "service %d goes on at node %d without a lease, though %s were in touch for %s", w.plan.services[s].id, h.slot, names(calm), w.now-c.since)
			}
		}
		if v := h.node.View(h.clock.local(w.now)); v.Alive != calm || v.Lost != w.members()&^calm || !v.Quorate {
			w.violate("right-opinion", "node %d holds %b for alive and %b for lost (quorate: %v), though %s were in touch for %s",
				h.slot, v.Alive, v.Lost, v.Quorate, names(calm), w.now-c.since)
		}
	}
}

// quiet is the majority that is whole and in touch, and cut off from everyone
// else, or 0.
func (c *watch) quiet(w *world) quorum.Set {
	if c.noise > 0 {
		return 0
	}
	var well quorum.Set
	for _, h := range w.hosts {
		if c.well(w, h) {
			well |= 1 << h.slot
		}
	}
	for _, h := range w.hosts {
		if !well.Has(h.slot) {
			continue
		}
		set := w.linked(h) & well
		if w.boss.config.Reached(set) && c.apart(w, set) && c.able(w, set) {
			return set
		}
	}
	return 0
}

// well reports whether all of a node works, and it is not one of the voters that
// are silent since they began without memory.
func (c *watch) well(w *world, h *host) bool {
	if !h.up || !h.joined || h.asleep > 0 || h.thawing || h.stopped > 0 || h.silent() {
		return false
	}
	v := h.node.View(h.clock.local(w.now))
	return v.Voting || v.Version != w.boss.config.Version || !w.boss.config.All().Has(h.slot)
}

// apart reports whether all of a set are in touch with each other, and with
// nobody else.
func (c *watch) apart(w *world, set quorum.Set) bool {
	for _, a := range w.hosts {
		for _, b := range w.hosts {
			if a == b || !set.Has(a.slot) {
				continue
			}
			out, in := w.net.cut[a.slot][b.slot] > 0, w.net.cut[b.slot][a.slot] > 0
			silent := !b.up || b.asleep > 0 || b.stopped > 0
			if set.Has(b.slot) {
				if out || in {
					return false
				}
			} else if !silent && (!out || !in) {
				return false
			}
		}
	}
	return true
}

// able reports whether the nodes of a set may do what they have to: they go by
// the same plan, and one of them at least knows, or can read, who the voters are.
// Without the store that can be otherwise for long, and nobody is to blame.
func (c *watch) able(w *world, set quorum.Set) bool {
	knows, behind := false, false
	for _, h := range w.hosts {
		if !set.Has(h.slot) {
			continue
		}
		reads := w.reach(h)
		knows = knows || reads || h.node.View(h.clock.local(w.now)).Version == w.boss.config.Version
		behind = behind || h.revision != w.boss.revision && !reads
	}
	return knows && (!behind || w.boss.agreed(w, set))
}

// checkWell demands that all nodes are in touch and serve when no fault has been
// there for long, and that every voter renews what is held.
func (c *watch) checkWell(w *world) {
	if c.calm != w.members() || w.now-c.since <= serveBound(w.plan.longest) {
		w.violate("all-well", "%s after the last fault only %b of %b are well and in touch, since %s",
			w.plan.settle, c.calm, w.members(), w.now-c.since)
	}
	for _, h := range w.hosts {
		if by := h.node.Denied(); by != 0 {
			w.violate("none-denied", "%s after the last fault %s still refuse what node %d holds", w.plan.settle, names(by), h.slot)
		}
	}
}

func noteWord(k lease.NoteKind) string {
	switch k {
	case lease.Won:
		return "won"
	case lease.Ended:
		return "lost"
	case lease.Released:
		return "gave back"
	case lease.Free:
		return "found free"
	case lease.Exhausted:
		return "has no number left for"
	case lease.Kept:
		return "goes on without"
	case lease.Unkept:
		return "goes on no more without"
	}
	return "did something to"
}
