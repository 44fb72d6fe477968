package lease

import (
	"cmp"
	"slices"
	"time"
)

// KeepPatience is how long a node that is in touch with a majority again goes on
// with what it keeps, while it can neither win the lease nor hears who has it.
const KeepPatience = 10 * time.Second

// keeper is what this node goes on with after its soft lease has lapsed. It is
// no lease: nobody has promised it, it is not renewed, and another node may hold
// the lease meanwhile. Whoever keeps something claims its lease again; that ends
// it by a lease of another number, or by the news of who holds it.
type keeper struct {
	inTouch bool
	entries []keptEntry // sorted by id
}

// keptEntry is one lease that has lapsed.
type keptEntry struct {
	Entry
	until Boot // when it lapsed
	touch Boot // since when the node is in touch again, -1: it is not
}

// Keeps reports whether this node goes on with a service whose lease has lapsed.
func (n *Node) Keeps(id ID) bool {
	_, ok := n.keeper.find(id)
	return ok
}

// Keeping reports whether this node goes on with anything whose lease has
// lapsed.
func (n *Node) Keeping() bool { return len(n.keeper.entries) > 0 }

// SetInTouch tells whether this node is in touch with a majority of the voters.
// Only what is kept depends on it.
func (n *Node) SetInTouch(yes bool) { n.keeper.inTouch = yes }

func (k *keeper) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(k.entries, id, func(e keptEntry, id ID) int { return cmp.Compare(e.ID, id) })
}

// take keeps what has just lapsed.
func (k *keeper) take(n *Node, now Boot, e *heldEntry) {
	i, ok := k.find(e.ID)
	if !ok {
		k.entries = slices.Insert(k.entries, i, keptEntry{})
	}
	k.entries[i] = keptEntry{Entry: e.Entry, until: e.until, touch: -1}
	n.note(Kept, now, e.ID, e.Number)
}

// remove forgets a service, if it is kept under that number or number is 0, and
// reports whether it was.
func (k *keeper) remove(id ID, number uint64) bool {
	i, ok := k.find(id)
	if !ok || number != 0 && k.entries[i].Number != number {
		return false
	}
	k.entries = slices.Delete(k.entries, i, i+1)
	return true
}

// taken ends what is kept and is known to be held by the node in slot.
func (k *keeper) taken(n *Node, now Boot, id ID, slot uint8) {
	if slot == NoSlot || slot == n.self || planted(keepForEver) {
		return
	}
	if i, ok := k.find(id); ok {
		n.note(Unkept, now, id, k.entries[i].Number)
		k.remove(id, 0)
	}
}

// tick ends what this node is not to keep any more, or has kept for long enough.
func (k *keeper) tick(n *Node, now Boot) {
	for i := range k.entries {
		switch e := &k.entries[i]; {
		case !k.inTouch:
			e.touch = -1
		case e.touch < 0:
			e.touch = now
		}
	}
	k.entries = slices.DeleteFunc(k.entries, func(e keptEntry) bool {
		over := k.over(n, now, &e)
		if over {
			n.note(Unkept, now, e.ID, e.Number)
		}
		return over
	})
}

func (k *keeper) over(n *Node, now Boot, e *keptEntry) bool {
	i, ok := n.claimant.find(e.ID)
	if !ok || !n.claimant.claims[i].keeps() {
		return true
	}
	if planted(keepForEver) {
		return false
	}
	if holder := n.voter.holderOf(now, e.ID); holder != NoSlot && holder != n.self {
		return true
	}
	return e.touch >= 0 && now >= e.touch+KeepPatience
}

// next is when patience ends, or a negative value.
func (k *keeper) next() Boot {
	next := Boot(-1)
	for i := range k.entries {
		if e := &k.entries[i]; e.touch >= 0 && (next < 0 || e.touch+KeepPatience < next) {
			next = e.touch + KeepPatience
		}
	}
	return next
}

// keeps reports whether what is sought may go on when its lease lapses. Whatever
// is not soft never may.
func (s *Seek) keeps() bool { return s.Keep && s.Soft || planted(keepExclusive) }

// KeeperState is what a node goes on with without a lease.
type KeeperState struct {
	InTouch bool
	Entries []KeptState // sorted by service
}

// KeptState is one lease that has lapsed.
type KeptState struct {
	Entry
	Until Boot
	Touch Boot
}

func (k *keeper) state() KeeperState {
	s := KeeperState{InTouch: k.inTouch}
	for _, e := range k.entries {
		s.Entries = append(s.Entries, KeptState{Entry: e.Entry, Until: e.until, Touch: e.touch})
	}
	return s
}

// restore fills a keeper that was just made.
func (k *keeper) restore(s KeeperState) {
	k.inTouch = s.InTouch
	for _, e := range s.Entries {
		k.entries = append(k.entries, keptEntry{Entry: e.Entry, until: e.Until, touch: e.Touch})
	}
}
