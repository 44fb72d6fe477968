package place

import (
	"cmp"
	"slices"
)

// choose returns the best node for the item, Nowhere if it may run on none.
func (s *solver) choose(i, prefer int) int {
	c := &s.cells[i]
	freest := s.keepToRoom(i)
	if len(s.Nodes) == 0 {
		return Nowhere
	}
	if prefer == Nowhere {
		prefer = freest
	}
	here := s.at(i)
	if s.Explain {
		s.explain(i)
	}
	for {
		chosen := s.pick(i, here, prefer)
		if chosen == Nowhere || !s.taken(i, chosen) {
			return chosen
		}
		c.score[chosen] = -Inf
	}
}

// pick returns the best node for the item as the scores are, Nowhere if it may run on
// none.
func (s *solver) pick(i, here, prefer int) int {
	c := &s.cells[i]
	best := 0
	for n := 1; n < len(s.Nodes); n++ {
		if s.better(i, here, n, best) < 0 {
			best = n
		}
	}
	chosen := Nowhere
	if prefer != Nowhere && c.score[prefer] >= c.score[best] && s.usable(i, prefer) {
		chosen = prefer
	}
	if chosen == Nowhere {
		chosen = best
		if !s.Soft && !s.isUnique(i) && here != Nowhere && c.score[best] > 0 && s.Nodes[best].Open && s.usable(i, here) &&
			c.score[here] == c.score[best] && s.rankOf(i, here) == s.rankOf(i, best) {
			chosen = here
		}
	}
	if !s.usable(i, chosen) {
		return Nowhere
	}
	return chosen
}

// explain keeps what the item is placed by.
func (s *solver) explain(i int) {
	nodes, units := len(s.Nodes), 0
	if s.Heed {
		units = len(s.free[0])
	}
	own := s.ints(nodes * (2 + units))
	c := &Choice{Load: own[:nodes:nodes], Crowd: own[nodes : 2*nodes : 2*nodes]}
	for n := range s.Nodes {
		c.Load[n] = s.load[n] - s.own(i, n)
		if len(s.mine[i])+len(s.onto[i]) > 0 {
			c.Crowd[n] = s.crowd(i, n)
		}
	}
	if s.Heed {
		c.Free = own[2*nodes : 2*nodes]
		for n := range s.Nodes {
			c.Free = append(c.Free, s.free[n]...)
		}
	}
	s.cells[i].choice = c
}

// ints returns a slice of zeros out of a larger one.
func (s *solver) ints(n int) []int {
	if len(s.slab) < n {
		s.slab = make([]int, n*len(s.Items))
	}
	out := s.slab[:n:n]
	s.slab = s.slab[n:]
	return out
}

// usable reports whether the item may run on the node.
func (s *solver) usable(i, node int) bool {
	return s.Nodes[node].Open && s.allowed(s.cells[i].score[node])
}

// allowed reports whether a score is no ban.
func (s *solver) allowed(score int) bool { return score >= 0 || s.Soft && score > -Inf }

func (s *solver) isUnique(i int) bool {
	up := s.Items[i].Parent
	return up != Nowhere && s.Items[up].Kind == Copies && s.Items[up].Set.Unique
}

func (s *solver) rankOf(i, node int) int {
	if s.Items[i].Rank == nil {
		return 0
	}
	return s.Items[i].Rank[node]
}

// ranked returns all nodes, the best for the item first.
func (s *solver) ranked(i, here int) []int {
	nodes := s.order[:0]
	for n := range s.Nodes {
		nodes = append(nodes, n)
	}
	slices.SortStableFunc(nodes, func(a, b int) int { return s.better(i, here, a, b) })
	return nodes
}

// better is negative if the node a is better for the item than b.
func (s *solver) better(i, here, a, b int) int {
	score := s.cells[i].score
	va, vb := score[a], score[b]
	if !s.Nodes[a].Open {
		va = -Inf
	}
	if !s.Nodes[b].Open {
		vb = -Inf
	}
	if s.allowed(va) != s.allowed(vb) {
		return cmp.Compare(vb, va)
	}
	if d := cmp.Compare(s.rankOf(i, a), s.rankOf(i, b)); d != 0 {
		return d
	}
	if va != vb {
		return cmp.Compare(vb, va)
	}
	return s.tied(i, here, a, b)
}

// tied compares two nodes of the same score.
func (s *solver) tied(i, here, a, b int) int {
	for _, t := range s.Ties {
		if d := s.byTie(t, i, here, a, b); d != 0 {
			return d
		}
	}
	return 0
}

// byTies compares two nodes for no item.
func (s *solver) byTies(i, a, b int) int {
	if s.Nodes[a].Open != s.Nodes[b].Open {
		if s.Nodes[a].Open {
			return -1
		}
		return 1
	}
	return s.tied(i, Nowhere, a, b)
}

func (s *solver) byTie(t Tie, i, here, a, b int) int {
	switch t {
	case ByRoom:
		return s.moreRoom(a, b)
	case ByCount:
		return cmp.Compare(s.count[a], s.count[b])
	case ByLoad:
		return cmp.Compare(s.load[a]-s.own(i, a), s.load[b]-s.own(i, b))
	case ByFresh:
		return cmp.Compare(s.fresh[a], s.fresh[b])
	case ByCrowd:
		return cmp.Compare(s.crowd(i, a), s.crowd(i, b))
	case ByStay:
		if i != Nowhere && s.Items[i].State.Share != nil {
			return cmp.Compare(s.Items[i].State.Share[b], s.Items[i].State.Share[a])
		}
		return yes(a == here && here != Nowhere, b == here && here != Nowhere)
	case ByNaming:
		if i == Nowhere || s.Items[i].Named == nil {
			return 0
		}
		return yes(s.Items[i].Named[a], s.Items[i].Named[b])
	}
	return 0
}

// own is how much of a node's load is the item itself.
func (s *solver) own(i, node int) int {
	if i == Nowhere || s.cells[i].done {
		return 0
	}
	if share := s.Items[i].State.Share; share != nil {
		return share[node]
	}
	if !slices.Contains(s.Items[i].State.At, node) {
		return 0
	}
	return s.weightOf(i)
}

// crowd counts the instances that may not share a node with the item, are not
// placed yet, and are on the node or have no other to go to.
func (s *solver) crowd(i, node int) int {
	if i == Nowhere {
		return 0
	}
	n := 0
	for _, k := range s.mine[i] {
		if s.Pulls[k].Score <= -Inf {
			n += s.displaced(s.Pulls[k].With, node)
		}
	}
	for _, k := range s.onto[i] {
		if s.Pulls[k].Score <= -Inf && !s.mutual(i, s.Pulls[k].Item) {
			n += s.displaced(s.Pulls[k].Item, node)
		}
	}
	return n
}

// mutual reports whether a keeps away from b by a pull of its own.
func (s *solver) mutual(a, b int) bool {
	return slices.ContainsFunc(s.mine[a], func(k int) bool { return s.Pulls[k].With == b && s.Pulls[k].Score <= -Inf })
}

func (s *solver) displaced(other, node int) int {
	c := &s.cells[other]
	if c.done || !s.usable(other, node) {
		return 0
	}
	if s.own(other, node) > 0 || s.at(other) == node {
		return max(1, s.weightOf(other))
	}
	for n := range s.Nodes {
		if n != node && s.usable(other, n) {
			return 0
		}
	}
	return max(1, s.weightOf(other))
}

// moreRoom is negative if a has more free room than b, in more kinds of unit
// than it has less.
func (s *solver) moreRoom(a, b int) int {
	d := 0
	for u := range s.free[a] {
		d += cmp.Compare(s.free[b][u], s.free[a][u])
	}
	return d
}

// take uses room of the node, or gives it back if sign is -1.
func (s *solver) take(node int, demand []int, sign int) {
	for u, n := range demand {
		s.free[node][u] -= sign * n
	}
}

func (s *solver) fits(node int, demand []int) bool {
	for u, n := range demand {
		if n > 0 && n > s.free[node][u] { // who needs none of it fits where there is too little
			return false
		}
	}
	return true
}

// keepToRoom forbids nodes without room for the item. Those without room for
// all that must come with it are forbidden too, unless that leaves none; then
// the node with most room is returned, as one to prefer.
func (s *solver) keepToRoom(i int) int {
	if !s.Heed {
		return Nowhere
	}
	alone := s.Items[i].Demand
	all := s.jointDemand(i)
	freest, anyFits := Nowhere, false
	for n := range s.Nodes {
		if !s.usable(i, n) {
			continue
		}
		anyFits = anyFits || s.fits(n, all)
		if freest == Nowhere || s.moreRoom(n, freest) < 0 {
			freest = n
		}
	}
	need := alone
	if anyFits {
		need, freest = all, Nowhere
	}
	for n := range s.Nodes {
		if s.usable(i, n) && !s.fits(n, need) {
			s.cells[i].score[n] = -Inf
		}
	}
	return freest
}

// jointDemand sums what the item needs and what all not yet placed items need
// that must share its node.
func (s *solver) jointDemand(i int) []int {
	seen := []int{}
	s.joined(i, &seen)
	var sum []int
	for _, k := range seen {
		if s.cells[k].done && k != i {
			continue
		}
		for len(sum) < len(s.Items[k].Demand) {
			sum = append(sum, 0)
		}
		for u, n := range s.Items[k].Demand {
			sum[u] += n
		}
	}
	return sum
}

// joined collects the items that must share a node with the item.
func (s *solver) joined(i int, seen *[]int) {
	if slices.Contains(*seen, i) {
		return
	}
	*seen = append(*seen, i)
	item := &s.Items[i]
	if item.Kind == Stack && !item.Loose {
		for _, c := range item.Children {
			s.joined(c, seen)
		}
	}
	if up := item.Parent; up != Nowhere && s.Items[up].Kind == Stack && !s.Items[up].Loose {
		s.joined(up, seen)
	}
	for _, k := range s.mine[i] {
		if p := s.Pulls[k]; p.Score >= Inf && p.Class == nil && p.ItemRole == Any && s.Items[p.With].Kind != Copies {
			s.joined(p.With, seen)
		}
	}
	for _, k := range s.onto[i] {
		if p := s.Pulls[k]; p.Score >= Inf && p.Class == nil && p.WithRole == Any && s.Items[p.Item].Kind != Copies {
			s.joined(p.Item, seen)
		}
	}
}

// yes compares two statements: the true one comes first.
func yes(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
