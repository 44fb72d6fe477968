package step

import (
	"slices"

	"github.com/keelson/keelson/internal/core/place"
)

// order applies one rule and reports whether something changed.
func (w *work) order(o Order) bool {
	if o.Optional || o.Apart {
		return false
	}
	changed := false
	for _, t := range w.thens(o) {
		if o.Symmetric {
			changed = w.mandatory(o, t) || changed
		} else {
			changed = w.oneWay(o, t) || changed
		}
	}
	return changed
}

// thens returns the items of Then that are treated for themselves: its copies,
// if the rule is by node, else all of it.
func (w *work) thens(o Order) []int {
	item := &w.Place.Items[o.Then]
	if item.Kind == place.Copies && item.Set.Interleave && w.pairs(o) {
		return item.Children
	}
	return []int{o.Then}
}

// pairs reports whether First is copies that go with those of Then by node.
func (w *work) pairs(o Order) bool {
	return len(o.First) == 1 && o.Least == 0 && w.Place.Items[o.First[0]].Kind == place.Copies &&
		w.Place.Items[o.First[0]].Set.PerNode == w.Place.Items[o.Then].Set.PerNode
}

// firsts returns the items that t waits for.
func (w *work) firsts(o Order, t int) ([]int, bool) {
	if t == o.Then {
		return o.First, true
	}
	node := w.nodeOf(t)
	for _, c := range w.Place.Items[o.First[0]].Children {
		if n := w.nodeOf(c); n != place.Nowhere && n == node {
			return []int{c}, true
		}
	}
	return nil, false
}

// nodeOf is where a copy is to be, or is.
func (w *work) nodeOf(i int) int {
	for _, l := range w.leaves[i] {
		if a := &w.acts[l]; a.to != place.Nowhere {
			return a.to
		}
	}
	for _, l := range w.leaves[i] {
		if a := &w.acts[l]; len(a.at) > 0 {
			return a.at[0]
		}
	}
	return place.Nowhere
}

func (w *work) mandatory(o Order, t int) bool {
	firsts, found := w.firsts(o, t)
	changed := false
	if o.FirstDo == Start || o.FirstDo == Promote {
		able := found
		if o.Any {
			able = slices.ContainsFunc(firsts, func(f int) bool { return w.able(f, o.FirstDo, o.Least) })
		} else {
			able = able && !slices.ContainsFunc(firsts, func(f int) bool { return !w.able(f, o.FirstDo, o.Least) })
		}
		if !able {
			changed = w.forbid(t, o.ThenDo) || changed
		}
	}
	if o.FirstDo == Stop && slices.ContainsFunc(firsts, func(f int) bool {
		return slices.ContainsFunc(w.leaves[f], func(l int) bool { return w.stuck(l, Stop) })
	}) {
		changed = w.forbid(t, o.ThenDo) || changed
	}
	for _, f := range firsts {
		if !o.Any && o.Least <= 1 && w.needed(f, o.FirstDo) && w.able(f, o.FirstDo, o.Least) {
			changed = w.redo(t, o.ThenDo) || changed
		}
		changed = w.inverse(f, t, o) || changed
	}
	return changed
}

// inverse applies the rule the other way round: before First undoes what Then
// relies on, Then has to undo it.
func (w *work) inverse(f, t int, o Order) bool {
	changed := false
	undoFirst, undoThen := o.FirstDo.undo(), o.ThenDo.undo()
	if o.Any || o.Least > 1 {
		return false
	}
	if w.needed(f, undoFirst) {
		for _, l := range w.leaves[t] {
			changed = w.need(l, undoThen) || changed
		}
	}
	// What cannot undo keeps the other from undoing; of copies the others may. Where
	// the incumbent's ways are asked for, that is so between single items alone.
	keeps := w.Place.Items[t].Kind != place.Copies
	if !w.Place.Soft {
		keeps = w.Place.Items[t].Kind == place.One && w.Place.Items[f].Kind == place.One
	}
	if keeps && (undoThen == Stop || undoThen == Demote) {
		if slices.ContainsFunc(w.leaves[t], func(l int) bool { return w.stuck(l, undoThen) }) {
			for _, l := range w.leaves[f] {
				changed = w.refuse(l, undoFirst) || changed
			}
		}
	}
	return changed
}

// oneWay applies a rule that is not symmetric: Then does not begin unless First
// can.
func (w *work) oneWay(o Order, t int) bool {
	firsts, _ := w.firsts(o, t)
	able := func(f int) bool { return w.able(f, o.FirstDo, o.Least) }
	ok := !slices.ContainsFunc(firsts, func(f int) bool { return !able(f) })
	if o.Any {
		ok = slices.ContainsFunc(firsts, able)
	}
	if ok {
		return false
	}
	changed := false
	for _, l := range w.leaves[t] {
		if w.required(l, o.ThenDo) {
			changed = w.refuse(l, o.ThenDo) || changed
		}
	}
	return changed
}

// pair applies a mandatory symmetric rule between two parts of a stack.
func (w *work) pair(f, t int, fDo, tDo Verb, strict bool) bool {
	o := Order{First: []int{f}, Then: t, FirstDo: fDo, ThenDo: tDo, Symmetric: true}
	if !strict {
		return false
	}
	return w.mandatory(o, t)
}

// able reports whether an item does or did what others wait for. Of copies at
// least one must, or as many as are asked for; of a stack all.
func (w *work) able(i int, v Verb, least int) bool {
	item := &w.Place.Items[i]
	switch item.Kind {
	case place.Copies:
		n := 0
		for _, c := range item.Children {
			if w.able(c, v, 0) {
				n++
			}
		}
		if v == Stop || v == Demote {
			return true
		}
		return n >= max(1, least)
	case place.Stack:
		for _, c := range item.Children {
			if !w.able(c, v, 0) {
				return false
			}
		}
		return true
	default:
	}
	a := &w.acts[i]
	switch v {
	case Start:
		if a.fixed {
			// Not able is what would have to be restarted and cannot, and for the incumbent
			// what was last seen where nobody answers.
			return len(a.at) > 0 && !a.stop && !a.cut && (w.Place.Soft || slices.ContainsFunc(a.at, func(n int) bool { return w.Nodes[n].Reached }))
		}
		return a.to != place.Nowhere && !a.noStart
	case Promote:
		if a.fixed {
			return a.now == place.Primary
		}
		return a.to != place.Nowhere && a.next == place.Primary && !a.noPromote && !a.noStart
	case Stop:
		return len(a.at) == 0 || !a.noStop
	case Demote:
		return a.now != place.Primary || !a.noDemote
	default:
	}
	return false
}

// required reports whether one item has to do something.
func (w *work) required(i int, v Verb) bool {
	a := &w.acts[i]
	switch v {
	case Start:
		return a.start
	case Stop:
		return a.stop
	case Promote:
		return a.promote
	case Demote:
		return a.demote
	default:
	}
	return false
}

// needed reports whether any part of the item has to do something.
func (w *work) needed(i int, v Verb) bool {
	return slices.ContainsFunc(w.leaves[i], func(l int) bool { return w.required(l, v) })
}

// need makes a step necessary.
func (w *work) need(i int, v Verb) bool {
	a := &w.acts[i]
	if a.fixed {
		return false
	}
	switch v {
	case Stop:
		return len(a.at) > 0 && set(&a.stop)
	case Demote:
		return a.now == place.Primary && set(&a.demote)
	case Start:
		return a.to != place.Nowhere && set(&a.start)
	case Promote:
		return a.next == place.Primary && set(&a.promote)
	default:
	}
	return false
}

// stuck reports whether an item would have to do something and cannot.
func (w *work) stuck(i int, v Verb) bool {
	a := &w.acts[i]
	switch v {
	case Stop:
		return len(a.at) > 0 && a.stop && a.noStop
	case Demote:
		return a.now == place.Primary && a.demote && a.noDemote
	default:
	}
	return false
}

// refuse makes a step impossible.
func (w *work) refuse(i int, v Verb) bool {
	a := &w.acts[i]
	switch v {
	case Start:
		return w.cannotStart(i, "what it waits for cannot start")
	case Stop:
		return set(&a.noStop)
	case Promote:
		return set(&a.noPromote)
	case Demote:
		return set(&a.noDemote)
	default:
	}
	return false
}

// forbid makes a step impossible for all parts of an item.
func (w *work) forbid(i int, v Verb) bool {
	changed := false
	for _, l := range w.leaves[i] {
		switch a := &w.acts[l]; {
		case !a.fixed:
			changed = w.refuse(l, v) || changed
		case v == Start:
			changed = set(&a.cut) || changed
		}
	}
	return changed
}

// redo makes an item that runs do again what it did: First starts anew.
func (w *work) redo(i int, v Verb) bool {
	changed := false
	for _, l := range w.leaves[i] {
		a := &w.acts[l]
		if a.fixed || a.to == place.Nowhere {
			continue
		}
		switch v {
		case Start:
			changed = set(&a.start) || changed
			if len(a.at) > 0 {
				changed = set(&a.stop) || changed
			}
		case Promote:
			if a.next == place.Primary {
				changed = set(&a.promote) || changed
				if a.now == place.Primary {
					changed = set(&a.demote) || changed
				}
			}
		default:
		}
	}
	return changed
}
