package place

import "slices"

// sits notes the items by the nodes on which they are.
func (s *solver) sits() {
	if !s.Keep {
		return
	}
	s.sitting = make([][]int, len(s.Nodes))
	for i := range s.Items {
		item := &s.Items[i]
		if item.Kind != One || item.State.Fixed {
			continue
		}
		for _, n := range item.State.At {
			s.sitting[n] = append(s.sitting[n], i)
		}
	}
}

// settleSets places the sets all of whose copies are fixed, or that have none, so that
// all others heed them.
func (s *solver) settleSets() {
	for i := range s.Items {
		item := &s.Items[i]
		fixed := func(c int) bool { return s.Items[c].State.Fixed }
		if s.Keep && item.Kind == Copies && !slices.ContainsFunc(item.Children, func(c int) bool { return !fixed(c) }) {
			s.assign(i, Nowhere)
		}
	}
}

// taken reports whether another item that is on the node, and may stay there, would
// have to leave it for this one, which is not there and has no more right to it.
func (s *solver) taken(i, node int) bool {
	if !s.Keep || s.isAt(i, node) {
		return false
	}
	rivals := false
	for _, j := range s.sitting[node] {
		if rivals = s.defends(j, i, node); rivals {
			break
		}
	}
	if !rivals {
		return false
	}
	for _, of := range [...]int{i, s.Items[i].Parent} {
		if of == Nowhere {
			continue
		}
		for _, k := range s.mine[of] {
			if p := &s.Pulls[k]; p.Score <= -Inf && p.ItemRole <= Started && p.WithRole <= Started && s.defended(p.With, i, node, p) {
				return true
			}
		}
		for _, k := range s.onto[of] {
			if p := &s.Pulls[k]; p.Score <= -Inf && p.ItemRole <= Started && p.WithRole <= Started && s.defended(p.Item, i, node, p) {
				return true
			}
		}
	}
	return s.crowded(i, node)
}

// isAt reports whether the item is on the node now.
func (s *solver) isAt(i, node int) bool {
	if share := s.Items[i].State.Share; share != nil && share[node] > 0 {
		return true
	}
	return slices.Contains(s.Items[i].State.At, node)
}

// defends reports whether j, which is on the node, keeps it against i, even where j is
// asked only after i, to which it is drawn.
func (s *solver) defends(j, i, node int) bool {
	return j != i && !s.cells[j].done && s.Items[j].Priority >= s.Items[i].Priority && s.usable(j, node)
}

// defended reports whether an item, or a copy of it, keeps the node, or one that
// counts as the same place, against i.
func (s *solver) defended(other, i, node int, p *Pull) bool {
	for _, c := range s.Items[other].Children {
		if s.defended(c, i, node, p) {
			return true
		}
	}
	for _, n := range s.Items[other].State.At {
		if (n == node || p.same(n, node)) && s.Items[other].Kind == One && s.defends(other, i, n) {
			return true
		}
	}
	return false
}

// crowded reports whether there is no room beside those who keep the node.
func (s *solver) crowded(i, node int) bool {
	if !s.Heed || len(s.Items[i].Demand) == 0 {
		return false
	}
	for u, n := range s.Items[i].Demand {
		if n == 0 {
			continue
		}
		free := s.free[node][u]
		for _, j := range s.sitting[node] {
			if u < len(s.Items[j].Demand) && s.defends(j, i, node) {
				free -= s.Items[j].Demand[u]
			}
		}
		if n > free {
			return true
		}
	}
	return false
}

// chooseAnew chooses for an item that nobody drawn to it may send away: where that
// leaves only nodes that others keep, it counts no more where those would have it.
func (s *solver) chooseAnew(i, prefer int) int {
	c := &s.cells[i]
	if c.unasked == nil {
		return Nowhere
	}
	c.score = c.unasked
	for _, k := range s.pullsOnto(i) {
		s.obey(i, s.Pulls[k])
	}
	for _, k := range s.pullsOf(i) {
		if !s.Pulls[k].mandatory() {
			s.follow(i, k)
		}
	}
	return s.choose(i, prefer)
}

// waitsFor reports whether the item, by mandatory pulls, is placed after another.
func (s *solver) waitsFor(i, other int) bool {
	if !s.Keep {
		return false
	}
	var seen []int
	var look func(i int) bool
	look = func(i int) bool {
		for _, k := range s.mine[i] {
			p := &s.Pulls[k]
			if p.Mutual || !p.mandatory() || slices.Contains(seen, p.With) {
				continue
			}
			if p.With == other {
				return true
			}
			if seen = append(seen, p.With); look(p.With) {
				return true
			}
		}
		return false
	}
	return look(i)
}

// obey lets a mandatory pull of an item that is placed already act on what it is
// drawn to, or keeps away from: whichever comes later heeds it. Roles are not
// decided yet; pulls between roles act when they are.
func (s *solver) obey(i int, p Pull) {
	if !s.Keep || p.Mutual || !p.mandatory() || p.ItemRole > Started || p.WithRole > Started || !s.cells[p.Item].done || s.cells[i].done {
		return
	}
	nodes := s.nodesOf(p.Item)
	if len(nodes) == 0 {
		return
	}
	score := s.cells[i].score
	for n := range score {
		near := slices.ContainsFunc(nodes, func(at int) bool { return p.same(n, at) })
		if near != (p.Score > 0) && (p.Score < 0 || s.Items[p.With].Kind == One) {
			score[n] = -Inf
		}
	}
}

// nodesOf are the nodes of an item, or of its copies.
func (s *solver) nodesOf(i int) []int {
	var out []int
	if n := s.cells[i].node; n != Nowhere && s.Items[i].Kind == One {
		out = append(out, n)
	}
	for _, c := range s.Items[i].Children {
		out = append(out, s.nodesOf(c)...)
	}
	return out
}
