package lease

import (
	"cmp"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// claimant tries to win leases that this node seeks and does not hold.
type claimant struct {
	admitted       bool
	floor, ceiling uint64
	highestSeen    uint64
	claims         []claim // sorted by service
}

type phase uint8

const (
	resting phase = iota
	preparing
	proposing
)

// claim is the attempt to win one lease.
type claim struct {
	Seek
	phase    phase
	number   uint64
	asked    Entry  // what was proposed; a wish that changes meanwhile waits
	highest  uint64 // the highest number seen for this service
	promises quorum.Set
	accepts  quorum.Set
	nacks    quorum.Set
	waits    quorum.Set // voters at which the claim waits for a lease to end
	sent     Boot       // when the proposal was sent
	retry    Boot       // when to act again
	attempt  int
}

// Timing of attempts.
const (
	duelStep      = 15 * time.Millisecond // times slot and attempt: who backs off less
	maxDuel       = 8
	exhaustedWait = time.Second
)

// raise takes a higher floor and ceiling. What is claimed with a number that is
// not above the floor is claimed anew (one-number).
func (c *claimant) raise(n *Node, now Boot, floor, ceiling uint64) {
	c.ceiling = max(c.ceiling, ceiling)
	if floor <= c.floor {
		return
	}
	c.floor = floor
	for i := range c.claims {
		if x := &c.claims[i]; x.phase != resting && x.number <= floor {
			c.abandon(n, x)
			x.retry = now
		}
	}
}

func (c *claimant) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(c.claims, id, func(x claim, id ID) int { return cmp.Compare(x.ID, id) })
}

func (c *claimant) seek(n *Node, now Boot, seeks []Seek) {
	next := make([]claim, 0, min(len(seeks), MaxServices))
	for _, s := range seeks[:min(len(seeks), MaxServices)] {
		var x claim
		if i, ok := c.find(s.ID); ok {
			x = c.claims[i]
		} else {
			// one-number: a service that was sought before, and forgotten since, has
			// been claimed with no number above this.
			x.retry, x.highest = now, c.highestSeen
		}
		if s.Claim && !x.Claim {
			x.retry, x.attempt = now, 0 // a duel of before says nothing of who claims now
		}
		x.Seek = s
		next = append(next, x)
	}
	slices.SortFunc(next, func(a, b claim) int { return cmp.Compare(a.ID, b.ID) })
	next = slices.CompactFunc(next, func(a, b claim) bool { return a.ID == b.ID })
	for i := range c.claims {
		x := &c.claims[i]
		j, ok := slices.BinarySearchFunc(next, x.ID, func(y claim, id ID) int { return cmp.Compare(y.ID, id) })
		if ok && next[j].Claim {
			continue
		}
		c.abandon(n, x)
		if ok {
			next[j].phase = resting
		}
	}
	c.claims = next
	c.renewTTLs(n)
	c.tick(n, now)
}

// renewTTLs carries changed TTLs over to what is held. A longer one counts
// from the next renewal on, a shorter one binds the voters only after it was
// installed there.
func (c *claimant) renewTTLs(n *Node) {
	for i := range c.claims {
		c.renewTTL(n, &c.claims[i])
	}
}

func (c *claimant) renewTTL(n *Node, x *claim) {
	j, ok := n.holder.find(x.ID)
	if !ok {
		return
	}
	if e := &n.holder.entries[j]; e.TTL != x.TTL || e.Soft != x.Soft {
		n.holder.set++
		e.TTL, e.Soft, e.since = x.TTL, x.Soft, n.holder.set
	}
	n.holder.entries[j].keep = x.keeps()
}

// abandon ends an attempt. What voters may have accepted of it is given back.
func (c *claimant) abandon(n *Node, x *claim) {
	if x.phase == proposing {
		n.sendVoters(Message{Kind: KindRelease, ID: x.ID, Number: x.number})
	}
	x.phase = resting
}

func (c *claimant) wants(n *Node, x *claim) bool {
	return c.admitted && x.Claim && x.TTL > 0 && !n.holder.holds(x.ID) && !n.skewed.Has(n.self)
}

// idle reports whether x is not to be acted on. held are the leases of this
// node that were not passed yet, in the order of services like the claims.
func (c *claimant) idle(n *Node, x *claim, held *[]heldEntry) bool {
	for len(*held) > 0 && (*held)[0].ID < x.ID {
		*held = (*held)[1:]
	}
	return !c.admitted || !x.Claim || x.TTL <= 0 || n.skewed.Has(n.self) || len(*held) > 0 && (*held)[0].ID == x.ID
}

func (c *claimant) tick(n *Node, now Boot) {
	held := n.holder.entries
	for i := range c.claims {
		x := &c.claims[i]
		if c.idle(n, x, &held) || now < x.retry {
			continue
		}
		switch x.phase {
		case resting:
			c.start(n, now, x)
		case preparing:
			if n.reached(x.promises) {
				// The voters have changed: those that promised are a majority now.
				c.free(n, now, x)
				continue
			}
			if x.nacks != 0 {
				// One refused this number and the others have not come to a
				// majority; if one of them is dead they never will.
				c.giveWay(n, now, x)
				continue
			}
			c.prepare(n, now, x)
		case proposing:
			if now >= x.sent+x.asked.TTL/2 {
				c.abandon(n, x)
				c.start(n, now, x)
				continue
			}
			c.propose(n, now, x)
		}
	}
}

func (c *claimant) start(n *Node, now Boot, x *claim) {
	number := max(x.highest, c.floor) + 1
	if number > c.ceiling {
		n.note(Exhausted, now, x.ID, number)
		x.retry = now + exhaustedWait
		return
	}
	x.phase, x.number = preparing, number
	x.promises, x.accepts, x.nacks, x.waits = 0, 0, 0, 0
	c.see(x, number)
	if planted(noPrepare) {
		x.promises = n.config.All()
		c.open(n, now, x)
		return
	}
	c.prepare(n, now, x)
}

func (c *claimant) see(x *claim, number uint64) {
	x.highest = max(x.highest, number)
	c.highestSeen = max(c.highestSeen, number)
}

func (c *claimant) prepare(n *Node, now Boot, x *claim) {
	x.retry = now + Resend
	if x.waits != 0 {
		x.retry += Resend
	}
	for all, slot := n.config.All()&^x.promises, uint8(0); slot < 32; slot++ {
		if all.Has(slot) {
			n.send(slot, Message{Kind: KindPrepare, ID: x.ID, Number: x.number, Rank: x.Rank, Soft: x.Soft})
		}
	}
}

func (c *claimant) propose(n *Node, now Boot, x *claim) {
	x.retry = now + Resend
	for slot := uint8(0); slot < 32; slot++ {
		if (x.promises &^ x.accepts).Has(slot) {
			n.send(slot, Message{Kind: KindPropose, ID: x.ID, Number: x.number, TTL: x.asked.TTL, Soft: x.asked.Soft, Sent: x.sent})
		}
	}
}

func (c *claimant) answered(n *Node, now Boot, from uint8, m *Message) {
	i, ok := c.find(m.ID)
	if !ok {
		return
	}
	x := &c.claims[i]
	c.see(x, m.Highest)
	if x.phase == resting || m.Number != x.number || !c.wants(n, x) {
		return
	}
	if m.Kind == KindNack {
		n.keeper.taken(n, now, x.ID, m.Holder)
	}
	switch m.Kind {
	case KindPromise:
		c.promised(n, now, x, from)
	case KindAccept:
		c.accepted(n, now, x, from, m.Sent)
	case KindNack:
		if m.Highest == 0 {
			x.waits |= 1 << from
			return
		}
		x.nacks |= 1 << from
		if n.reached(n.config.All() &^ x.nacks) {
			return
		}
		c.giveWay(n, now, x)
	default: // Receive passes on nothing else
	}
}

// giveWay ends an attempt that was refused. The next has a higher number.
func (c *claimant) giveWay(n *Node, now Boot, x *claim) {
	c.abandon(n, x)
	x.attempt = min(x.attempt+1, maxDuel)
	x.retry = now + time.Duration(int(n.self)+1)*time.Duration(x.attempt)*duelStep/2
	if x.attempt == 1 {
		// The first refusal only says that others are further ahead.
		x.retry = now
	}
}

func (c *claimant) promised(n *Node, now Boot, x *claim, from uint8) {
	x.promises |= 1 << from
	x.waits &^= 1 << from
	switch {
	case x.phase == proposing:
		n.send(from, Message{Kind: KindPropose, ID: x.ID, Number: x.number, TTL: x.asked.TTL, Soft: x.asked.Soft, Sent: x.sent})
	case n.reached(x.promises):
		c.free(n, now, x)
	}
}

// free notes that a majority has promised, and goes on to propose.
func (c *claimant) free(n *Node, now Boot, x *claim) {
	n.note(Free, now, x.ID, x.number)
	c.open(n, now, x)
}

// open begins to propose what a majority promised.
func (c *claimant) open(n *Node, now Boot, x *claim) {
	x.phase, x.sent = proposing, now
	x.asked = Entry{ID: x.ID, Number: x.number, TTL: x.TTL, Soft: x.Soft}
	c.propose(n, now, x)
}

func (c *claimant) accepted(n *Node, now Boot, x *claim, from uint8, sent Boot) {
	if x.phase != proposing || sent != x.sent {
		return
	}
	x.accepts |= 1 << from
	// count-from-send, and by the TTL that the voters accepted.
	until := x.sent + valid(x.asked.TTL)
	if planted(countFromArrival) {
		until = now + valid(x.asked.TTL)
	}
	if !n.reached(x.accepts) || now >= until {
		return
	}
	x.phase, x.attempt = resting, 0
	n.keeper.remove(x.ID, 0)
	n.holder.add(x.asked, until)
	c.renewTTL(n, x)
	n.note(Won, now, x.ID, x.number)
	n.holder.beat(n, now, true)
}

func (c *claimant) next(n *Node) Boot {
	next, held := Boot(-1), n.holder.entries
	for i := range c.claims {
		x := &c.claims[i]
		if !c.idle(n, x, &held) && (next < 0 || x.retry < next) {
			next = x.retry
		}
	}
	return next
}
