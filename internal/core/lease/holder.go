package lease

import (
	"cmp"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// holder keeps the leases that this node holds, as one numbered set.
type holder struct {
	set      uint64 // grows with every change of entries
	entries  []heldEntry
	acks     [32]ackView
	releases []pendingRelease
}

// heldEntry is one lease held.
type heldEntry struct {
	Entry
	until Boot
	since uint64 // the set that it came with
	keep  bool   // what it is for goes on when it lapses
}

// ackView is the newest acknowledgement of one voter.
type ackView struct {
	sent    Boot // -1: none
	set     uint64
	refused []ID // sorted
	all     bool // everything is refused
	partsAt Boot // when the set was last sent to it
}

type pendingRelease struct {
	id     ID
	number uint64
	left   int
}

// releaseSends is how many times a release is sent; the lease's end does the
// rest if all are lost.
const releaseSends = 3

func (h *holder) init() {
	for i := range h.acks {
		h.acks[i] = ackView{sent: -1, partsAt: -Resend}
	}
}

func (h *holder) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(h.entries, id, func(e heldEntry, id ID) int { return cmp.Compare(e.ID, id) })
}

func (h *holder) holds(id ID) bool {
	_, ok := h.find(id)
	return ok
}

// valid is how long a lease of ttl lasts for its holder, from the moment it
// asked for it (count-from-send).
func valid(ttl time.Duration) time.Duration {
	if planted(noDriftBound) {
		return ttl
	}
	if planted(narrowDriftBound) {
		return ttl - ttl/100
	}
	return ttl - ttl/DriftBound
}

func (h *holder) add(e Entry, until Boot) {
	i, ok := h.find(e.ID)
	h.set++
	held := heldEntry{Entry: e, until: until, since: h.set}
	if ok {
		h.entries[i] = held
		return
	}
	h.entries = slices.Insert(h.entries, i, held)
}

// expire drops what has lapsed. What lapsed is not renewed (no-second-life).
func (h *holder) expire(n *Node, now Boot) {
	if planted(secondLife) {
		return
	}
	dropped := false
	h.entries = slices.DeleteFunc(h.entries, func(e heldEntry) bool {
		if now < e.until {
			return false
		}
		dropped = true
		n.note(Ended, now, e.ID, e.Number)
		if e.keep {
			n.keeper.take(n, now, &e)
		}
		return true
	})
	if dropped {
		h.set++
	}
}

func (h *holder) release(n *Node, now Boot, id ID, number uint64) {
	i, ok := h.find(id)
	switch {
	case ok && h.entries[i].Number == number:
		h.entries = slices.Delete(h.entries, i, i+1)
		h.set++
	case !n.keeper.remove(id, number):
		return
	}
	n.note(Released, now, id, number)
	n.sendVoters(Message{Kind: KindRelease, ID: id, Number: number})
	h.releases = append(h.releases, pendingRelease{id: id, number: number, left: releaseSends - 1})
}

func (h *holder) beat(n *Node, now Boot, ask bool) {
	h.expire(n, now)
	h.releases = slices.DeleteFunc(h.releases, func(r pendingRelease) bool { return r.left == 0 })
	for i := range h.releases {
		r := &h.releases[i]
		r.left--
		n.sendVoters(Message{Kind: KindRelease, ID: r.id, Number: r.number})
	}
	if !ask || len(h.entries) == 0 || n.skewed.Has(n.self) {
		return
	}
	all := n.config.All()
	for slot := uint8(0); slot < 32; slot++ {
		if !all.Has(slot) {
			continue
		}
		if a := &h.acks[slot]; a.set != h.set && now >= a.partsAt+Resend {
			a.partsAt = now
			h.sendSet(n, slot)
		}
		n.send(slot, Message{Kind: KindBeat, Sent: now, Set: h.set})
	}
}

func (h *holder) sendSet(n *Node, to uint8) {
	parts := (len(h.entries) + PartEntries - 1) / PartEntries
	for p := range parts {
		chunk := h.entries[p*PartEntries : min((p+1)*PartEntries, len(h.entries))]
		entries := make([]Entry, len(chunk))
		for i := range chunk {
			entries[i] = chunk[i].Entry
		}
		n.send(to, Message{Kind: KindSet, Set: h.set, Part: uint8(p), Parts: uint8(parts), Entries: entries})
	}
}

// acked takes a voter's answer to a beat and extends what a majority renewed.
func (h *holder) acked(n *Node, now Boot, from uint8, m *Message) {
	h.expire(n, now)
	a := &h.acks[from]
	if m.Sent < a.sent && !planted(countFromArrival) || m.Sent > now || m.Set > h.set {
		return
	}
	a.sent, a.set, a.all = m.Sent, m.Set, m.RefusedAll
	if planted(countFromArrival) {
		a.sent = now
	}
	a.refused = append(a.refused[:0], m.Refused...)
	slices.Sort(a.refused)
	h.extend(n)
}

// extend counts, for each lease, the newest moment of sending that a majority
// has acknowledged.
func (h *holder) extend(n *Node) {
	var order [32]uint8
	voters := order[:0]
	all := n.config.All()
	for slot := uint8(0); slot < 32; slot++ {
		if all.Has(slot) && h.acks[slot].sent >= 0 {
			voters = append(voters, slot)
		}
	}
	slices.SortFunc(voters, func(a, b uint8) int { return cmp.Compare(h.acks[b].sent, h.acks[a].sent) })
	for i := range h.entries {
		e := &h.entries[i]
		var yes quorum.Set
		for _, slot := range voters {
			a := &h.acks[slot]
			if !a.renews(e) {
				continue
			}
			yes |= 1 << slot
			if n.reached(yes) {
				e.until = max(e.until, a.sent+valid(e.TTL))
				break
			}
		}
	}
}

// Denied is the set of voters that refuse a lease that this node holds, by their
// newest answers.
func (n *Node) Denied() quorum.Set {
	var by quorum.Set
	all := n.config.All()
	for slot := range n.holder.acks {
		if a := &n.holder.acks[slot]; all.Has(uint8(slot)) && slices.ContainsFunc(n.holder.entries, func(e heldEntry) bool {
			return a.sent >= 0 && a.set >= e.since && !a.renews(&e)
		}) {
			by |= 1 << slot
		}
	}
	return by
}

// renews reports whether the acknowledgement is good for e.
func (a *ackView) renews(e *heldEntry) bool {
	if planted(noRefusals) {
		return a.set >= e.since
	}
	if a.all || a.set < e.since && !planted(ackOfAnySet) {
		return false
	}
	_, refused := slices.BinarySearch(a.refused, e.ID)
	return !refused
}
