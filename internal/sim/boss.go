package sim

import (
	"math/bits"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/core/quorum"
)

// boss stands in for the config plane and the controller: it keeps the voters,
// the ceiling of ballot numbers and the succession lists, and hands them out,
// slowly, to the agents that can reach the store.
type boss struct {
	away     int // faults that keep the store from everyone
	config   quorum.Config
	wanted   quorum.Set    // who shall vote; 0: no wish
	users    quorum.Set    // have been seen to use config
	adopted  time.Duration // since when a majority uses config; -1: not yet
	ceiling  uint64
	floor    uint64 // the ceiling from before config
	revision uint64 // grows with every change that agents shall hear of
	placed   []placement
	seeks    []plane.Seek // of revision built
	built    uint64
	longest  time.Duration // the longest TTL that may be used, and for which voters that start are silent
	unused   time.Duration // since when nobody uses more than a shorter one that would do; -1: somebody does
}

// placement is what the controller wants of one service.
type placement struct {
	order  []uint8 // never changed in place: duties share it
	moving bool    // the holder is to stop and give way to the first
	ttl    time.Duration
	hard   bool          // it is to be exclusive from now on, see harden_test.go
	odd    time.Duration // since when it is not held by the first; -1: it is
}

const (
	bossStep    = 100 * time.Millisecond
	ceilingStep = 1000
	ceilingRoom = 500
	// prompt is how many turns of the controller an agent that it reaches can miss.
	prompt = 8
	// mute is how long a node that nobody hears stays first in a plan.
	mute = 3 * time.Second
)

func (b *boss) begin(w *world) {
	*b = boss{config: quorum.Config{Version: 1, Voters: w.plan.voters}, ceiling: firstNumber, revision: 1, adopted: -1, unused: -1}
	for i := range w.plan.services {
		p := placement{ttl: w.plan.services[i].ttl, odd: -1}
		for j := range w.hosts {
			turn := i
			if len(w.plan.services) > 8 {
				turn = 0 // a crowd begins on one node
			}
			p.order = append(p.order, uint8((turn+j)%len(w.hosts)))
		}
		b.placed = append(b.placed, p)
		b.longest = max(b.longest, p.ttl)
	}
}

// reach reports whether h's agent can read and write the store.
func (w *world) reach(h *host) bool {
	if !h.up || h.asleep > 0 || h.silent() || w.boss.away > 0 || h.cutOff > 0 {
		return false
	}
	return w.plan.external || w.boss.config.Reached(w.linked(h))
}

// linked is the set of nodes that h can exchange packets with.
func (w *world) linked(h *host) quorum.Set {
	s := quorum.Of(h.slot)
	for _, o := range w.hosts {
		if o.up && o.asleep == 0 && w.net.cut[h.slot][o.slot] == 0 && w.net.cut[o.slot][h.slot] == 0 {
			s |= 1 << o.slot
		}
	}
	return s
}

// deaf reports whether h is cut off from all that others say.
func (w *world) deaf(h *host) bool {
	for _, o := range w.hosts {
		if o != h && o.up && o.asleep == 0 && w.net.cut[o.slot][h.slot] == 0 {
			return false
		}
	}
	return true
}

// step is one turn of the controller, if there is one.
func (b *boss) step(w *world) {
	var can quorum.Set
	for _, h := range w.hosts {
		if w.reach(h) {
			can |= 1 << h.slot
		}
	}
	if can == 0 {
		return
	}
	b.revise(w, can)
	b.limit(w)
	for s := range b.placed {
		b.replan(w, s, can)
	}
	for _, h := range w.hosts {
		if !can.Has(h.slot) || !h.joined || h.revision == b.revision {
			h.missed = 0
			continue
		}
		if h.missed++; w.random(3) == 0 || h.missed > prompt {
			b.hand(w, h)
		}
	}
}

// revise keeps the ceiling ahead of its use and brings the voters closer to what
// was wished for, as package member does, or by leaps that it would not dare.
func (b *boss) revise(w *world, can quorum.Set) {
	for _, h := range w.hosts {
		if !can.Has(h.slot) || h.stopped > 0 {
			continue
		}
		v := h.node.View(h.clock.local(w.now))
		if v.Highest+ceilingRoom >= b.ceiling {
			b.ceiling += ceilingStep
			b.revision++
		}
		if v.Version >= b.config.Version {
			b.users |= 1 << h.slot
		}
	}
	switch {
	case b.adopted < 0 && b.config.Reached(b.users):
		b.adopted = w.now
	case b.adopted < 0 || w.now-b.adopted < time.Duration(float64(b.longest)/(1+mostOff/2)):
		return // the wait is measured by a clock that may be a fast one
	case b.config.Prior != 0:
		b.change(w, b.config.Voters, 0)
	case b.wanted != 0 && b.wanted != b.config.Voters:
		next := b.wanted
		if w.plan.seed%2 == 0 {
			next = step(b.config.Voters, b.wanted)
		}
		b.change(w, next, b.config.Voters)
	default:
		b.wanted = 0
	}
}

// limit keeps the longest TTL in use. A longer one counts at once, a shorter one
// when nobody has used the old one for twice its length. The product cannot see
// everybody; it waits for another ten minutes, in which each node is taken to hear
// of the change.
func (b *boss) limit(w *world) {
	wanted := time.Duration(0)
	for i := range b.placed {
		wanted = max(wanted, b.placed[i].ttl)
	}
	used := false
	for _, h := range w.hosts {
		for i := range h.duty.Seeks {
			used = used || h.duty.Seeks[i].TTL > wanted || h.untold
		}
	}
	switch {
	case wanted >= b.longest:
		b.unused = -1
	case used && !planted(limitAtOnce):
		b.unused = -1
		return
	case b.unused < 0:
		b.unused = w.now
		return
	case w.now-b.unused < time.Duration(float64(2*b.longest)/(1+mostOff/2)) && !planted(limitAtOnce):
		return
	}
	if wanted != b.longest {
		w.trace("the longest TTL is to be %s, before %s", wanted, b.longest)
		b.longest, b.unused = wanted, -1
		b.revision++
	}
}

// step adds one voter, or removes one if none is to be added.
func step(now, wanted quorum.Set) quorum.Set {
	if missing := wanted &^ now; missing != 0 {
		return now | 1<<bits.TrailingZeros32(uint32(missing))
	}
	return now &^ (1 << bits.TrailingZeros32(uint32(now&^wanted)))
}

func (b *boss) change(w *world, voters, prior quorum.Set) {
	b.config = quorum.Config{Version: b.config.Version + 1, Voters: voters, Prior: prior}
	b.users, b.adopted = 0, -1
	// What was used before need not be known to those who vote now.
	b.floor, b.ceiling = b.ceiling, b.ceiling+ceilingStep
	b.revision++
	w.trace("the voters are to be %s, before %b (version %d)", names(voters), prior, b.config.Version)
}

// wish asks for other voters.
func (b *boss) wish(voters quorum.Set) {
	if voters != 0 {
		b.wanted = voters
	}
}

// replan lets the plan of service s follow what is.
func (b *boss) replan(w *world, s int, can quorum.Set) {
	p := &b.placed[s]
	holder := w.holder(s)
	if holder == int(p.order[0]) || holder < 0 && can.Has(p.order[0]) {
		p.odd = -1
		p.moving = p.moving && holder < 0
		return
	}
	if p.odd < 0 {
		p.odd = w.now
	}
	switch waited := w.now - p.odd; {
	case holder < 0 && waited > mute:
		for slot := range uint8(len(w.hosts)) {
			if can.Has(slot) {
				b.reorder(w, s, slot)
				break
			}
		}
	case holder >= 0 && can.Has(uint8(holder)) && waited > w.plan.replan && (!p.moving || !can.Has(p.order[0])):
		b.reorder(w, s, uint8(holder))
	}
}

// reorder puts first at the head of the succession list.
func (b *boss) reorder(w *world, s int, first uint8) {
	p := &b.placed[s]
	order := []uint8{first}
	for _, slot := range p.order {
		if slot != first {
			order = append(order, slot)
		}
	}
	p.order, p.moving, p.odd = order, false, -1
	b.revision++
	w.watch.caused(w, s)
	w.trace("service %d is to run on node %d", w.plan.services[s].id, first)
}

// move wants a service on the first node of a set.
func (b *boss) move(w *world, s int, to quorum.Set) {
	if b.away > 0 || to == 0 {
		return
	}
	if first := uint8(bits.TrailingZeros32(uint32(to))); first != b.placed[s].order[0] {
		b.reorder(w, s, first)
		b.placed[s].moving = true
	}
}

// changeTTL gives a service another TTL; its holder hears of it at once.
func (b *boss) changeTTL(w *world, s int, ttl time.Duration) {
	if b.away > 0 {
		return
	}
	b.placed[s].ttl = ttl
	b.revision++
	b.limit(w)
	if holder := w.holder(s); holder >= 0 && w.reach(w.hosts[holder]) && w.hosts[holder].joined {
		b.hand(w, w.hosts[holder])
	}
}

// duty is what every agent makes of the plan, but for the floor.
func (b *boss) duty(w *world) plane.Duty {
	if b.built != b.revision {
		b.built, b.seeks = b.revision, make([]plane.Seek, len(b.placed))
		for i := range b.placed {
			s := &w.plan.services[i]
			b.seeks[i] = plane.Seek{ID: s.id, TTL: min(b.placed[i].ttl, b.longest), Soft: s.soft && !b.placed[i].hard, Keep: s.keep, Order: b.placed[i].order, Claim: true}
		}
	}
	return plane.Duty{Members: w.members(), Config: b.config, Ceiling: b.ceiling, Longest: b.longest, Seeks: b.seeks}
}

// hand gives h the newest duty.
func (b *boss) hand(w *world, h *host) {
	if h.stopped > 0 {
		return
	}
	floor := h.duty.Floor
	h.duty = b.duty(w)
	h.duty.Floor, h.revision = max(floor, b.floor), b.revision
	for s := range h.stakes {
		x, p := &h.stakes[s], &b.placed[s]
		if x.away = p.moving && p.order[0] != h.slot; x.away || p.moving {
			w.watch.caused(w, s)
		}
		x.wanted = p.ttl
		x.ttl = max(x.ttl, p.ttl)
	}
	w.tell(h)
}

// tell gives the guard the duty that its agent knows of, as soon as it listens.
func (w *world) tell(h *host) {
	if h.untold = !h.up || h.asleep > 0 || h.stopped > 0 || !h.joined; h.untold {
		return
	}
	for s := range h.stakes {
		h.stakes[s].forsaken, h.stakes[s].dropped = false, false
	}
	local := h.clock.local(w.now)
	h.node.SetDuty(local, h.duty)
	h.look = min(h.look, w.now+time.Millisecond)
	w.settle(h, local)
}

// join gives a guard without memory its first duty, as soon as its agent runs
// and the store answers: the ceiling it finds is its floor, and is raised first.
func (b *boss) join(w *world, h *host) {
	inc := h.inc
	w.after(5*time.Millisecond+w.random(250*time.Millisecond), func() {
		switch {
		case !h.up || h.inc != inc:
		case !w.reach(h) || h.stopped > 0:
			b.join(w, h)
		default:
			floor := b.ceiling
			b.ceiling += ceilingStep
			b.revision++
			h.duty = plane.Duty{Floor: floor}
			h.joined = true
			b.hand(w, h)
		}
	})
}

// agreed reports whether the lists that the nodes of a set go by are the same.
func (b *boss) agreed(w *world, set quorum.Set) bool {
	var first *host
	for _, h := range w.hosts {
		switch {
		case !set.Has(h.slot):
		case first == nil:
			first = h
		case !slices.EqualFunc(first.duty.Seeks, h.duty.Seeks, sameSeek):
			return false
		}
	}
	return true
}

func sameSeek(a, b plane.Seek) bool { return a.ID == b.ID && slices.Equal(a.Order, b.Order) }
