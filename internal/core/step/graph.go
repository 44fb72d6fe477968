package step

import (
	"cmp"
	"slices"

	"github.com/keelson/keelson/internal/core/place"
)

// final says where an item is when all is done.
func (w *work) final(i int) []Seat {
	a := &w.acts[i]
	if !a.leaf {
		return nil
	}
	var out []Seat
	stopped := a.stop && !a.noStop
	role := a.now
	if a.demote && !a.noDemote && role == place.Primary {
		role = place.Replica
	}
	for _, n := range a.at {
		if w.Nodes[n].Fenced || stopped {
			continue
		}
		out = append(out, Seat{n, role})
	}
	if a.fixed || a.to == place.Nowhere {
		return out
	}
	here := slices.IndexFunc(out, func(s Seat) bool { return s.Node == a.to })
	if here < 0 && a.start && !a.noStart && (len(out) == 0) {
		role = a.next
		if role == place.Primary {
			role = place.Replica
		}
		out = append(out, Seat{a.to, role})
		here = len(out) - 1
	}
	if here >= 0 && a.next == place.Primary && a.promote && !a.noPromote {
		out[here].Role = place.Primary
	}
	return out
}

// key finds a step.
type key struct {
	verb Verb
	item int
}

// steps returns what is to be done, in the order of items, with what each step
// waits for.
func (w *work) steps() []Step {
	var out []Step
	index := map[key][]int{}
	add := func(v Verb, item, node int) {
		index[key{v, item}] = append(index[key{v, item}], len(out))
		out = append(out, Step{Verb: v, Item: item, Node: node})
	}
	fences := map[int]int{}
	for n := range w.Nodes {
		if w.Nodes[n].Fenced {
			fences[n] = len(out)
			add(Fence, place.Nowhere, n)
		}
	}
	for i := range w.acts {
		a := &w.acts[i]
		if !a.leaf || a.fixed {
			continue
		}
		stops := a.stop && !a.noStop
		for _, n := range a.at {
			if w.Nodes[n].Fenced {
				continue
			}
			if a.demote && !a.noDemote {
				add(Demote, i, n)
			}
			if stops {
				add(Stop, i, n)
			}
		}
		if a.start && !a.noStart && (stops || len(a.at) == 0 || w.allFenced(a.at)) {
			add(Start, i, a.to)
		}
		if a.promote && !a.noPromote && !a.noStart {
			add(Promote, i, a.to)
		}
	}
	w.link(out, index, fences)
	return out
}

func (w *work) allFenced(nodes []int) bool {
	return !slices.ContainsFunc(nodes, func(n int) bool { return !w.Nodes[n].Fenced })
}

// link says what each step waits for.
func (w *work) link(steps []Step, index map[key][]int, fences map[int]int) {
	wait := func(after key, before key) {
		for _, s := range index[after] {
			for _, b := range index[before] {
				if s != b {
					steps[s].After = append(steps[s].After, b)
				}
			}
		}
	}
	for i := range w.acts {
		wait(key{Stop, i}, key{Demote, i})
		wait(key{Start, i}, key{Stop, i})
		wait(key{Start, i}, key{Demote, i})
		wait(key{Promote, i}, key{Start, i})
		wait(key{Promote, i}, key{Demote, i})
		for _, n := range w.acts[i].at {
			if f, fenced := fences[n]; fenced {
				for _, s := range index[key{Start, i}] {
					steps[s].After = append(steps[s].After, f)
				}
			}
		}
	}
	between := func(first, then int, fDo, tDo Verb) {
		for _, f := range w.leaves[first] {
			for _, t := range w.leaves[then] {
				if f != t {
					wait(key{tDo, t}, key{fDo, f})
				}
			}
		}
	}
	for _, o := range w.Orders {
		for _, t := range w.thens(o) {
			firsts, _ := w.firsts(o, t)
			for _, f := range firsts {
				between(f, t, o.FirstDo, o.ThenDo)
				if o.Symmetric && !o.Apart {
					between(t, f, o.ThenDo.undo(), o.FirstDo.undo())
				}
			}
		}
	}
	for i, item := range w.Place.Items {
		if item.Kind == place.Copies && item.Set.Roles {
			// Never two primaries where one may be: all that give way do so first.
			between(i, i, Demote, Promote)
			between(i, i, Stop, Promote)
		}
		if item.Kind != place.Stack {
			continue
		}
		for k := 1; k < len(item.Children); k++ {
			between(item.Children[k-1], item.Children[k], Start, Start)
			between(item.Children[k], item.Children[k-1], Stop, Stop)
		}
	}
	for i := range steps {
		slices.Sort(steps[i].After)
		steps[i].After = slices.Compact(steps[i].After)
	}
}

// Waves returns the steps in the order in which they can be carried out, as
// indexes: each wave holds steps that wait only for earlier waves, and at most
// perNode of them on one node (0: no limit). A circle, which valid orders do
// not make, ends it; what is on the circle is left out.
func Waves(steps []Step, perNode int) [][]int {
	done := make([]bool, len(steps))
	var waves [][]int
	for {
		var wave []int
		used := map[int]int{}
		for i, s := range steps {
			ready := !done[i] && !slices.ContainsFunc(s.After, func(b int) bool { return !done[b] })
			if !ready || perNode > 0 && used[s.Node] >= perNode {
				continue
			}
			used[s.Node]++
			wave = append(wave, i)
		}
		if len(wave) == 0 {
			return waves
		}
		for _, i := range wave {
			done[i] = true
		}
		slices.SortFunc(wave, func(a, b int) int { return cmp.Compare(a, b) })
		waves = append(waves, wave)
	}
}
