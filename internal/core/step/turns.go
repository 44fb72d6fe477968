package step

import (
	"slices"

	"github.com/keelson/keelson/internal/core/place"
)

// Turns returns the orders that have what comes to a node wait for those to leave it
// that must not be there with it, by the rule of either, and for those whose room it
// needs. They are optional: they say only what comes first.
func Turns(p Problem) []Order {
	t := turns{Problem: &p, leaving: make([][]int, len(p.Nodes)), coming: make([][]int, len(p.Nodes))}
	for i, item := range p.Place.Items {
		if item.Kind != place.One || item.State.Unmanaged {
			continue
		}
		to := p.Placed[i].Node
		for _, n := range item.State.At {
			if n != to && !p.Nodes[n].Fenced {
				t.leaving[n] = append(t.leaving[n], i)
			}
		}
		if to != place.Nowhere && !slices.Contains(item.State.At, to) {
			t.coming[to] = append(t.coming[to], i)
		}
	}
	var out []Order
	for n := range p.Nodes {
		if len(t.leaving[n]) == 0 || len(t.coming[n]) == 0 {
			continue
		}
		short := t.short(n)
		for _, then := range t.coming[n] {
			foes := t.foes(then)
			for _, first := range t.leaving[n] {
				if t.top(first) != t.top(then) && (slices.Contains(foes, t.top(first)) || t.awaits(short, then, first)) {
					out = append(out, Order{First: []int{first}, Then: then, FirstDo: Stop, ThenDo: Start, Optional: true})
				}
			}
		}
	}
	return out
}

type turns struct {
	*Problem
	leaving, coming [][]int // items, by node
}

// top is the set that an item is a copy of, or the item.
func (t *turns) top(i int) int {
	if up := t.Place.Items[i].Parent; up != place.Nowhere {
		return up
	}
	return i
}

// foes are the items that one must be apart from.
func (t *turns) foes(i int) []int {
	var out []int
	i = t.top(i)
	for _, p := range t.Place.Pulls {
		switch {
		case p.Score > -place.Inf || p.Class != nil || p.ItemRole != place.Any || p.WithRole != place.Any:
		case p.Item == i:
			out = append(out, p.With)
		case p.With == i:
			out = append(out, p.Item)
		}
	}
	return out
}

// short tells of each kind of unit whether a node has too little of it while those who
// leave it are still there.
func (t *turns) short(n int) []bool {
	free := slices.Clone(t.Place.Nodes[n].Room)
	take := func(i int) {
		for k, need := range t.Place.Items[i].Demand {
			free[k] -= need
		}
	}
	for i := range t.Place.Items {
		if t.Placed[i].Node == n && t.Place.Items[i].Kind == place.One {
			take(i)
		}
	}
	for _, i := range t.leaving[n] {
		take(i)
	}
	out := make([]bool, len(free))
	for k, left := range free {
		out[k] = left < 0
	}
	return out
}

// awaits reports whether one item needs what another gives up and what is short.
func (t *turns) awaits(short []bool, to, from int) bool {
	needs, gives := t.Place.Items[to].Demand, t.Place.Items[from].Demand
	for k, is := range short {
		if is && k < len(needs) && k < len(gives) && needs[k] > 0 && gives[k] > 0 {
			return true
		}
	}
	return false
}
