package detect

import "github.com/keelson/keelson/internal/core/quorum"

// cutOff is the set of nodes that the reachability matrix cuts off: those that
// are not in the largest set of nodes of which each has contact in both
// directions with a majority of the voters within the set. There is one such set
// (the union of two is another), so all observers with the same matrix cut the
// same nodes, all of them as one change, and no more than it takes. A link that
// fails between two nodes that both keep a majority cuts nobody.
//
// A node must be cut off for a shortest timeout until it counts, and one that is
// new for a longest. What is assumed in favour of one that is silent does not end
// that: else who hears nobody would be back for a moment whenever a few of its
// heartbeats are lost. A node that is not in the set itself judges nobody.
func (d *Detector) cutOff(now Boot) quorum.Set {
	var rows [32]quorum.Set
	d.matrix(&rows)
	whole := d.largest(&rows)
	if planted(noCut) {
		whole = d.members
	}
	in := whole.Has(d.self)
	d.outside = !in
	var cut quorum.Set
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		p := &d.peers[slot]
		switch {
		case !p.known:
		case in && whole.Has(slot) && d.silent.Has(slot) && !planted(silenceHeals):
		case !in || whole.Has(slot) || now-p.since < Cap:
			p.cut = 0
		case p.cut == 0:
			p.cut = now
		case now-p.cut > Floor+d.slack(now):
			cut |= 1 << slot
		}
	}
	return cut
}

// matrix fills rows with whom each node hears, by its last word, which counts for
// as long as the node may be silent. Of a node that is silent it is assumed that it
// hears everybody: whether it is heard is seen in the rows of the others.
func (d *Detector) matrix(rows *[32]quorum.Set) {
	rows[d.self] = d.hears()
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		p := &d.peers[slot]
		switch {
		case p.known && p.heard && !d.silent.Has(slot):
			rows[slot] = p.beat.Heard
		case p.known:
			rows[slot] = ^quorum.Set(0)
		}
	}
}

// largest is the largest set of nodes of which each has contact in both
// directions with a majority of the voters within the set.
func (d *Detector) largest(rows *[32]quorum.Set) quorum.Set {
	whole := d.members | 1<<d.self
	for {
		next := whole
		for rest := whole; rest != 0; rest &= rest - 1 {
			slot := rest.First()
			touch := contacts(rows, slot, whole)
			if !d.voters.Reached(touch) || planted(cutsTooMany) && touch != whole {
				next &^= 1 << slot
			}
		}
		if next == whole {
			return whole
		}
		whole = next
	}
}

// contacts is the set of those nodes of a set, itself included, with which a node
// has contact in both directions.
func contacts(rows *[32]quorum.Set, slot uint8, among quorum.Set) quorum.Set {
	both := quorum.Set(1) << slot
	for rest := rows[slot] & among; rest != 0; rest &= rest - 1 {
		if other := rest.First(); rows[other].Has(slot) || planted(oneWayIsContact) {
			both |= 1 << other
		}
	}
	return both
}
