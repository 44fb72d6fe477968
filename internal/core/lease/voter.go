package lease

import (
	"slices"
	"time"
)

// voter is the memory of a node's vote. It is lost with the process, which is
// why a new one stays silent (silent-restart).
type voter struct {
	admitted    bool
	silentUntil Boot
	floor       uint64

	records []voteRecord // sorted by id
	queued  int          // claims that wait, in all records
	holders [32]holderView
}

// voteRecord is what a voter has promised and accepted for one service.
type voteRecord struct {
	id ID

	// The newest promise.
	promised     uint64
	promisedTo   peer
	promisedRank uint8
	promisedAt   Boot

	// The accepted lease; by is nobody if there is none.
	by     peer
	number uint64
	ttl    time.Duration
	soft   bool
	at     Boot // when it was accepted
	inSet  bool // renewed by the heartbeats of by
	keep   Boot // it does not expire before this moment
	// owed is until when a lease that was taken from its holder here before it
	// expired, as that of a soft one that is lost, may be valid there.
	owed Boot

	queue []waiting
}

// waiting is a claim that came too early.
type waiting struct {
	from   peer
	number uint64
	rank   uint8
	soft   bool
	at     Boot
}

// holderView is what a voter knows of one holder's set.
type holderView struct {
	inc      uint64
	set      uint64
	entries  []Entry
	lastBeat Boot
	lastSent Boot

	refused []ID // see refusals
	changed bool // something of it may be another: it is to be listed anew

	assembling uint64
	have       uint64 // bit set of parts
	parts      [][]Entry
}

func (v *voter) init() {
	for i := range v.holders {
		v.holders[i].lastSent = -1
	}
}

func (v *voter) admit(now Boot, longest time.Duration) {
	if v.admitted {
		return
	}
	v.admitted = true
	v.silentUntil = now + longest + longest/DriftBound + time.Millisecond
	if planted(noSilence) {
		v.silentUntil = now
	}
}

func (v *voter) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(v.records, id, func(r voteRecord, id ID) int {
		switch {
		case r.id < id:
			return -1
		case r.id > id:
			return 1
		}
		return 0
	})
}

// record returns the record of id, made if it is new, or nil if there are too
// many. A new one promises no number up to the highest that this voter has
// accepted of any service: a service that was deleted and applied again may have
// another id, and its numbers go on growing (one-number). Whoever won the old one
// was accepted by a majority, of which one is in every other.
func (v *voter) record(now Boot, id ID) *voteRecord {
	i, ok := v.find(id)
	if !ok {
		if len(v.records) >= MaxServices && !v.evict(now) {
			return nil
		}
		i, _ = v.find(id)
		v.records = slices.Insert(v.records, i, voteRecord{id: id, by: nobody, promised: v.accepted(), promisedTo: nobody})
	}
	return &v.records[i]
}

// accepted is the highest number that this voter has accepted and remembers; the
// floor stands for the others. It was won, or claimed, under a ceiling that was
// in force, so a claimant can always go above it.
func (v *voter) accepted() uint64 {
	var highest uint64
	for i := range v.records {
		highest = max(highest, v.records[i].number)
	}
	return highest
}

// evict forgets the record that was promised longest ago and that binds nobody: it
// has expired, and so has what was taken from somebody early. Its numbers are kept
// from being promised again by the floor (one-number), and who held it is refused.
func (v *voter) evict(now Boot) bool {
	oldest := -1
	for i := range v.records {
		r := &v.records[i]
		if now < max(v.expiry(r), r.owed) || len(r.queue) > 0 {
			continue
		}
		if oldest < 0 || r.promisedAt < v.records[oldest].promisedAt {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	r := &v.records[oldest]
	v.drop(r)
	v.floor = max(v.floor, r.promised, r.number)
	v.records = slices.Delete(v.records, oldest, oldest+1)
	return true
}

func (v *voter) holderOf(now Boot, id ID) uint8 {
	i, ok := v.find(id)
	if !ok {
		return NoSlot
	}
	if r := &v.records[i]; now < v.expiry(r) {
		return r.by.slot
	}
	return NoSlot
}

// expiry is the moment from which r binds this voter no more.
func (v *voter) expiry(r *voteRecord) Boot {
	if r.by == nobody {
		return 0
	}
	from := r.at
	if h := &v.holders[r.by.slot]; r.inSet && h.inc == r.by.inc && (!planted(queueFirst) || len(r.queue) == 0) {
		from = max(from, h.lastBeat)
	}
	return max(r.keep, from+r.ttl)
}

func (v *voter) receive(n *Node, now Boot, from peer, m *Message) {
	switch m.Kind {
	case KindBeat:
		v.beat(n, now, from, m)
	case KindSet:
		v.part(n, now, from, m)
	case KindPrepare:
		v.prepare(n, now, from, m)
	case KindPropose:
		v.propose(n, now, from, m)
	case KindRelease:
		if i, ok := v.find(m.ID); ok {
			if r := &v.records[i]; r.by == from && (r.number == m.Number || planted(anyRelease)) {
				r.by, r.inSet, r.keep = nobody, false, 0
				h := &v.holders[from.slot]
				h.entries = slices.DeleteFunc(h.entries, func(e Entry) bool { return e.ID == r.id && e.Number == r.number })
				v.refuse(from.slot)
				v.serve(n, now, r)
			}
		}
	default: // Receive passes on nothing else
	}
}

// view returns what is known of the holder from, or nil if from is an old
// incarnation of it.
func (v *voter) view(from peer) *holderView {
	h := &v.holders[from.slot]
	if h.inc == from.inc {
		return h
	}
	if h.inc > from.inc {
		return nil
	}
	v.forget(from.slot)
	h.inc = from.inc
	return h
}

// forget forgets who is in a slot. Its leases run out; they are not renewed.
func (v *voter) forget(slot uint8) {
	for i := range v.records {
		if r := &v.records[i]; r.by.slot == slot && r.inSet {
			r.keep, r.inSet = v.expiry(r), false
		}
	}
	v.holders[slot] = holderView{lastSent: -1}
}

func (v *voter) beat(n *Node, now Boot, from peer, m *Message) {
	h := v.view(from)
	if h == nil {
		return
	}
	h.lastBeat = now
	h.lastSent = max(h.lastSent, m.Sent)
	if !n.Voting(now) {
		return
	}
	if n.claimant.highestSeen > n.claimant.ceiling {
		n.sendCeiling(from.slot) // it may know one above the numbers in use, and says so
	}
	if len(v.refusals(from.slot)) > 0 {
		v.takeBack(now, from, h, m.Set == h.set)
	}
	ack := Message{Kind: KindAck, Inc: from.inc, Sent: h.lastSent, Set: h.set, Refused: v.refusals(from.slot)}
	if len(ack.Refused) > PartEntries {
		ack.Refused, ack.RefusedAll = nil, true
	}
	n.send(from.slot, ack)
}

// takeBack lets a holder have again what this voter does not renew for it, if it
// may. There are three cases.
//
// It ended at this voter alone: the voter was cut off, or slept, and has promised
// it to somebody who never won it. Whoever does win it must be accepted first, by
// voters whom nothing binds (promise-kept).
//
// This voter has accepted it from somebody under a higher number. If that was
// won, the holder's lease had lapsed before; so while the holder goes on with it,
// by the set that this voter knows, it was not, and what was accepted binds
// nobody any more once it has expired here.
//
// This voter holds somebody to it under a lower number, or nobody: after the second
// case for a late heartbeat of one whose lease had lapsed, after the holder was
// gone from here for a while. The numbers under which a service is won grow
// (one-number), and what is in a set was won: each lease with a lower number had
// lapsed by then and has no second life. So nobody counts on what this voter lets
// go, as with a set that is new ([voter.install]). A late heartbeat of one whose
// lease has lapsed since binds this voter too, for a TTL, and helps nobody.
func (v *voter) takeBack(now Boot, from peer, h *holderView, current bool) {
	for _, e := range h.entries {
		if e.TTL <= 0 {
			continue
		}
		r := v.record(now, e.ID)
		if r == nil {
			continue
		}
		switch {
		case r.by == nobody && r.number == e.Number:
			v.bind(r, from, e, now)
		case current && r.number > e.Number && (now >= max(v.expiry(r), r.owed) || planted(takeBackAtOnce)):
			if r.promised == r.number {
				r.promisedTo = nobody // a late double of its proposal is not accepted again
			}
			v.drop(r)
			v.bind(r, from, e, now)
		case r.by != from && e.Number > r.number:
			v.drop(r)
			v.bind(r, from, e, now)
		}
	}
	v.refuse(from.slot)
}

// bind makes r a lease of from's set.
func (v *voter) bind(r *voteRecord, from peer, e Entry, now Boot) {
	r.by, r.number, r.at, r.keep = from, e.Number, now, 0
	r.ttl, r.soft, r.inSet = e.TTL, e.Soft, true
	if e.Number > r.promised {
		r.promised, r.promisedTo, r.promisedAt = e.Number, from, now
	}
}

// part takes one part of a holder's set, and the set when it is whole.
func (v *voter) part(n *Node, now Boot, from peer, m *Message) {
	h := v.view(from)
	if h == nil || m.Set <= h.set || m.Parts == 0 || m.Part >= m.Parts || m.Parts > 64 || len(m.Entries) > PartEntries {
		return
	}
	if m.Set < h.assembling {
		return
	}
	if m.Set > h.assembling || len(h.parts) != int(m.Parts) {
		h.assembling, h.have, h.parts = m.Set, 0, make([][]Entry, m.Parts)
	}
	h.have |= 1 << m.Part
	h.parts[m.Part] = slices.Clone(m.Entries)
	if h.have != 1<<m.Parts-1 {
		return
	}
	h.set, h.entries = m.Set, slices.Concat(h.parts...)
	h.assembling, h.have, h.parts = 0, 0, nil
	v.install(n, now, from, h)
}

// install makes a holder's set the one that its heartbeats renew.
func (v *voter) install(n *Node, now Boot, from peer, h *holderView) {
	for i := range v.records {
		if r := &v.records[i]; r.by == from && r.inSet {
			r.keep, r.inSet = v.expiry(r), false
		}
	}
	for _, e := range h.entries {
		r := v.record(now, e.ID)
		if r == nil || e.TTL <= 0 {
			continue
		}
		n.claimant.highestSeen = max(n.claimant.highestSeen, e.Number)
		same := r.by == from && r.number == e.Number
		// A number above all that this voter has accepted was won with a majority
		// of others; what this voter accepted before it has lapsed there. What it
		// has only promised, even a higher number, does not stand in the way: a
		// proposal is looked at again when it comes (promise-kept), and a node
		// that was cut off for a while promises itself much that it never wins.
		newer := e.Number > r.number || e.Number == r.number && r.by == nobody // see takeBack
		switch {
		case same:
			// promise-kept: a shorter TTL takes effect only after what was
			// promised under the longer one.
			r.keep = max(r.keep, v.expiry(r))
			if planted(shorterAtOnce) {
				r.keep = 0
			}
		case newer:
			if r.by != nobody && r.by != from {
				v.drop(r)
			}
			r.by, r.number, r.keep, r.at = from, e.Number, 0, now
			if e.Number > r.promised {
				r.promised, r.promisedTo, r.promisedAt = e.Number, from, now
			}
		default:
			continue
		}
		r.ttl, r.soft, r.inSet = e.TTL, e.Soft, true
	}
	v.refuse(from.slot)
}

// drop takes the lease of r from its holder, which learns of it by Refused.
func (v *voter) drop(r *voteRecord) {
	slot := r.by.slot
	r.owed = max(r.owed, v.expiry(r))
	r.by, r.inSet, r.keep = nobody, false, 0
	if slot != NoSlot {
		v.refuse(slot)
	}
}

// refuse notes that what this voter does not renew of a holder's set is to be
// listed anew. Many leases may change at a time, as when their holder dies.
func (v *voter) refuse(slot uint8) { v.holders[slot].changed = true }

// refusals is what this voter does not renew of a holder's set.
func (v *voter) refusals(slot uint8) []ID {
	h := &v.holders[slot]
	if !h.changed {
		return h.refused
	}
	h.refused, h.changed = nil, false
	for _, e := range h.entries {
		i, ok := v.find(e.ID)
		if ok {
			if r := &v.records[i]; r.by == (peer{slot, h.inc}) && r.number == e.Number && r.inSet {
				continue
			}
		}
		h.refused = append(h.refused, e.ID)
	}
	return h.refused
}

// binds reports whether r's lease stands in the way of a claim.
func (v *voter) binds(n *Node, now Boot, r *voteRecord, from peer, soft bool) bool {
	if r.by == from || now >= v.expiry(r) || planted(promiseBroken) {
		return false
	}
	return !r.soft || !soft || !n.lost.Has(r.by.slot)
}

func (v *voter) prepare(n *Node, now Boot, from peer, m *Message) {
	if !n.Voting(now) {
		return
	}
	r := v.record(now, m.ID)
	if r == nil {
		return
	}
	n.claimant.highestSeen = max(n.claimant.highestSeen, m.Number)
	again := m.Number == r.promised && from == r.promisedTo && r.number != m.Number
	if r.by == from && r.number == m.Number {
		return // a late double: the proposal was accepted long since
	}
	// one-number: a number that was promised or held is not promised again. The
	// one exception is a promise that its claimant has not heard of.
	if bar := max(r.promised, r.number, v.floor); m.Number <= bar && !again {
		v.unqueue(r, from)
		// Who claims with such a number may not have heard of the ceiling that others
		// use, and have no number left.
		n.sendCeiling(from.slot)
		n.send(from.slot, Message{Kind: KindNack, ID: m.ID, Number: m.Number, Inc: from.inc, Highest: bar, Holder: NoSlot})
		return
	}
	w := waiting{from: from, number: m.Number, rank: m.Rank, soft: m.Soft, at: now}
	if v.mustWait(n, now, r, w) {
		v.enqueue(r, w)
		n.send(from.slot, Message{Kind: KindNack, ID: m.ID, Number: m.Number, Inc: from.inc, Holder: r.by.slot})
		return
	}
	v.unqueue(r, from)
	v.promise(n, now, r, w)
}

// mustWait says whether the claim w has to wait: for a lease to end
// (promise-kept), or for a claimant of a better rank that was just promised.
func (v *voter) mustWait(n *Node, now Boot, r *voteRecord, w waiting) bool {
	if v.binds(n, now, r, w.from, w.soft) {
		return true
	}
	return r.promisedTo != nobody && r.promisedTo != w.from && r.by != r.promisedTo &&
		now < r.promisedAt+PromiseHold && r.promisedRank <= w.rank
}

func (v *voter) promise(n *Node, now Boot, r *voteRecord, w waiting) {
	if r.by != w.from {
		// The lease that was here has expired, or is soft and its holder lost.
		v.drop(r)
	} else {
		// The holder's own incarnation claims again: the old number is dead to
		// it, and still binds this voter towards others until it expires.
		r.keep, r.inSet = v.expiry(r), false
		v.refuse(r.by.slot)
	}
	if r.promised != w.number || r.promisedTo != w.from {
		// One that only asks again, because it hears no answer, gets no more time.
		r.promisedAt = now
	}
	r.promised, r.promisedTo, r.promisedRank = w.number, w.from, w.rank
	n.send(w.from.slot, Message{Kind: KindPromise, ID: r.id, Number: w.number, Inc: w.from.inc})
}

func (v *voter) propose(n *Node, now Boot, from peer, m *Message) {
	if !n.Voting(now) || m.TTL <= 0 {
		return
	}
	r := v.record(now, m.ID)
	if r == nil {
		return
	}
	// exact-promise. A lease that has ended is not accepted again, however late its
	// proposal comes, nor one under a floor that has risen since (one-number).
	late := r.number == m.Number && r.by != from || r.number != m.Number && m.Number <= v.floor
	if late || (r.promised != m.Number || r.promisedTo != from) && !planted(anyPromise) && !planted(noPrepare) {
		n.send(from.slot, Message{
			Kind: KindNack, ID: m.ID, Number: m.Number, Inc: from.inc,
			Highest: max(r.promised, r.number, v.floor, m.Number), Holder: NoSlot,
		})
		return
	}
	if v.binds(n, now, r, from, m.Soft) {
		return
	}
	if r.by != from || r.number != m.Number {
		r.keep = max(r.keep, v.expiry(r))
		if r.by != from {
			v.drop(r)
		}
		r.by, r.number, r.inSet, r.ttl, r.at = from, m.Number, false, 0, 0
	}
	if r.number == m.Number && r.inSet && !planted(lateDoubleShortens) {
		// A late double: the set says what is renewed now, and for how long.
		n.send(from.slot, Message{Kind: KindAccept, ID: m.ID, Number: m.Number, Inc: from.inc, Sent: m.Sent})
		return
	}
	// promise-kept: what was accepted before is not shortened.
	r.keep = max(r.keep, v.expiry(r))
	r.ttl, r.soft, r.at = m.TTL, m.Soft, now
	n.send(from.slot, Message{Kind: KindAccept, ID: m.ID, Number: m.Number, Inc: from.inc, Sent: m.Sent})
}

func (v *voter) enqueue(r *voteRecord, w waiting) {
	for i := range r.queue {
		if r.queue[i].from.slot == w.from.slot {
			r.queue[i] = w
			return
		}
	}
	if len(r.queue) < MaxQueue {
		r.queue = append(r.queue, w)
		v.queued++
	}
}

func (v *voter) unqueue(r *voteRecord, from peer) {
	for i := range r.queue {
		if r.queue[i].from.slot == from.slot {
			r.queue = slices.Delete(r.queue, i, i+1)
			v.queued--
			return
		}
	}
}

// serveQueues answers the claims whose time has come.
func (v *voter) serveQueues(n *Node, now Boot) {
	if v.queued == 0 || !n.Voting(now) {
		return
	}
	for i := range v.records {
		if len(v.records[i].queue) > 0 {
			v.serve(n, now, &v.records[i])
		}
	}
}

// serve promises the best of the claims that wait for r, if one may be.
func (v *voter) serve(n *Node, now Boot, r *voteRecord) {
	if !n.Voting(now) {
		return
	}
	before := len(r.queue)
	r.queue = slices.DeleteFunc(r.queue, func(w waiting) bool { return now >= w.at+QueueLife })
	v.queued -= before - len(r.queue)
	best := -1
	for i, w := range r.queue {
		if v.mustWait(n, now, r, w) {
			continue
		}
		if best < 0 || w.rank < r.queue[best].rank || w.rank == r.queue[best].rank && w.from.slot < r.queue[best].from.slot {
			best = i
		}
	}
	if best < 0 {
		return
	}
	w := r.queue[best]
	r.queue = slices.Delete(r.queue, best, best+1)
	v.queued--
	if bar := max(r.promised, r.number, v.floor); w.number <= bar {
		n.send(w.from.slot, Message{Kind: KindNack, ID: r.id, Number: w.number, Inc: w.from.inc, Highest: bar, Holder: NoSlot})
		return
	}
	v.promise(n, now, r, w)
}

// nextQueue is the moment at which a waiting claim can be answered or dies.
func (v *voter) nextQueue(n *Node) Boot {
	next := Boot(-1)
	if v.queued == 0 || !n.config.All().Has(n.self) {
		return next
	}
	for i := range v.records {
		r := &v.records[i]
		for _, w := range r.queue {
			t := v.expiry(r)
			if r.promisedTo != nobody && r.promisedTo != w.from && r.by != r.promisedTo && r.promisedRank <= w.rank {
				t = max(t, r.promisedAt+PromiseHold)
			}
			t = max(min(t, w.at+QueueLife), v.silentUntil)
			if next < 0 || t < next {
				next = t
			}
		}
	}
	return next
}
