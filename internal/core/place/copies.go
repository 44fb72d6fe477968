package place

import (
	"cmp"
	"slices"
)

// assignCopies spreads the copies of a set over the nodes, and chooses the
// primaries among them.
func (s *solver) assignCopies(i int) {
	c, item := &s.cells[i], &s.Items[i]
	if c.done || c.busy {
		return
	}
	c.busy = true
	if item.Set.Roles {
		s.addPromotion(i)
	}
	for _, k := range s.mine[i] {
		if p := s.Pulls[k]; !p.Mutual && (p.mandatory() || !s.waitsFor(p.With, i)) {
			s.assign(p.With, Nowhere)
		}
	}
	for _, k := range s.onto[i] {
		s.heed(i, k)
	}
	children := slices.Clone(item.Children)
	slices.SortStableFunc(children, s.byState)
	c.kids = children
	s.seat(i, children)
	c.done = true
	if item.Set.Roles {
		s.choosePrimaries(i, children)
	}
	c.busy = false
}

// seat gives each copy a node: first those that are well where they are.
func (s *solver) seat(i int, children []int) {
	c, set := &s.cells[i], &s.Items[i].Set
	c.seats = make([]int, len(s.Nodes))
	open := 0
	for n := range s.Nodes {
		if s.usable(i, n) {
			open++
		}
	}
	perNode := 1
	if open > 0 {
		perNode = max(1, set.Max/open)
	}
	c.all = set.Max < open
	assigned := 0
	for _, child := range children {
		if n := s.cells[child].node; n != Nowhere && s.Items[child].State.Fixed {
			assigned++
			c.seats[n]++
		}
		if assigned >= set.Max || s.cells[child].done {
			continue
		}
		at := s.at(child)
		if at == Nowhere || s.hasFailed(child) || !s.Nodes[at].Open || c.seats[at] >= perNode {
			continue
		}
		if s.sit(i, child, at) {
			assigned++
		}
	}
	for _, child := range children {
		if s.cells[child].done {
			continue
		}
		if assigned >= set.Max {
			s.banAll(child)
			if s.isLate(child) {
				s.spare(child)
				continue
			}
		}
		if s.sit(i, child, Nowhere) {
			assigned++
		}
	}
}

// isLate reports whether the copy, or each of its parts, ceases to be managed only
// once it is placed. A part that is not managed before keeps it where it is.
func (s *solver) isLate(child int) bool {
	parts := s.Items[child].Children
	if len(parts) == 0 {
		return s.Items[child].State.Late
	}
	return !slices.ContainsFunc(parts, func(part int) bool { return !s.isLate(part) })
}

// spare leaves a copy out that is one too many.
func (s *solver) spare(child int) {
	c := &s.cells[child]
	c.spare, c.done, c.next = true, true, Stopped
	for _, part := range s.Items[child].Children {
		s.spare(part)
	}
}

func (s *solver) banAll(i int) {
	s.ban(i)
	for _, c := range s.Items[i].Children {
		s.banAll(c)
	}
}

// hasFailed reports whether the item or a part of it failed where it is.
func (s *solver) hasFailed(i int) bool {
	return s.Items[i].State.Failed || slices.ContainsFunc(s.Items[i].Children, s.hasFailed)
}

// sit places one copy, and reports whether it has a node then. With a node
// to prefer it takes only that.
func (s *solver) sit(set, child, prefer int) bool {
	c := &s.cells[set]
	if s.cells[child].busy || prefer != Nowhere && s.cells[child].score[prefer] < 0 {
		return false
	}
	if !s.Soft {
		s.cells[child].tries++
	}
	s.narrow(set, child)
	first := s.first(child)
	backup := s.scoresOf(child, nil)
	s.spread(set, first)
	node := s.assign(child, prefer)
	if prefer != Nowhere && node != Nowhere && node != prefer {
		s.unsettle(child)
		s.restore(child, backup)
		return false
	}
	if node == Nowhere {
		return false
	}
	c.seats[node]++
	return true
}

// scoresOf adds the scores of the item's parts, or its own, as they are now.
func (s *solver) scoresOf(i int, to [][]int) [][]int {
	if len(s.Items[i].Children) == 0 {
		return append(to, slices.Clone(s.cells[i].score))
	}
	for _, part := range s.Items[i].Children {
		to = s.scoresOf(part, to)
	}
	return to
}

// restore gives the item's parts, or itself, the scores that they had, and returns
// those that are left.
func (s *solver) restore(i int, from [][]int) [][]int {
	if len(s.Items[i].Children) == 0 {
		s.cells[i].score = from[0]
		return from[1:]
	}
	for _, part := range s.Items[i].Children {
		from = s.restore(part, from)
	}
	return from
}

// spread speaks against the nodes that count as the same place as one of a copy that
// is placed already.
func (s *solver) spread(set, first int) {
	score, seats := s.cells[first].score, s.cells[set].seats
	for _, by := range s.Items[set].Set.Spread {
		for n := range score {
			if score[n] <= -Inf || by.Class[n] < 0 {
				continue
			}
			others := 0
			for m, k := range seats {
				if by.Class[m] == by.Class[n] {
					others += k
				}
			}
			score[n] = max(-Inf+1, score[n]+others*by.Score)
		}
	}
}

// first is the item whose scores decide where a copy goes.
func (s *solver) first(i int) int {
	for s.Items[i].Kind == Stack && len(s.Items[i].Children) > 0 {
		i = s.Items[i].Children[0]
	}
	return i
}

// narrow forbids a copy the nodes that its set may not use or that are full.
func (s *solver) narrow(set, child int) {
	c := &s.cells[set]
	for _, k := range [...]int{child, s.first(child)} {
		score := s.cells[k].score
		for n := range score {
			switch {
			case score[n] < 0 && score[n] <= -Inf:
			case !s.allowed(c.score[n]):
				score[n] = -Inf
			case c.seats[n] >= s.Items[set].Set.PerNode:
				score[n] = -Inf
			}
		}
	}
}

// byState puts the copy first that has more reason to be placed: one that runs
// where it may, before one that does not run.
func (s *solver) byState(a, b int) int {
	na, nb := s.spreadOf(a), s.spreadOf(b)
	if na > 0 && nb > 0 && na != nb {
		return cmp.Compare(na, nb)
	}
	ca, cb := s.wellAt(a), s.wellAt(b)
	if d := yes(!s.unfit(a), !s.unfit(b)); d != 0 && !s.Soft {
		return d // one that cannot stay gives its place to one that does not run
	}
	if d := yes(ca != Nowhere, cb != Nowhere); d != 0 {
		return d
	}
	if d := cmp.Compare(s.cells[b].priority, s.cells[a].priority); d != 0 {
		return d
	}
	if ca == Nowhere || cb == Nowhere {
		return 0
	}
	if d := yes(s.Nodes[ca].Open, s.Nodes[cb].Open); d != 0 {
		return d
	}
	if d := yes(!s.hasFailed(a), !s.hasFailed(b)); d != 0 {
		return d
	}
	return s.byLiking(a, b, ca, cb)
}

// byLiking compares two running copies by what speaks for their nodes.
func (s *solver) byLiking(a, b, at, bt int) int {
	up := s.Items[a].Parent
	liking := func(i, n int) int {
		s.patience = maxAsked
		work := slices.Clone(s.cells[s.first(i)].score)
		if !s.Soft {
			clear(work)
		}
		if up != Nowhere {
			for _, k := range s.mine[up] {
				if !s.Soft {
					work = s.collectInto(work, s.Pulls[k].With, k, collecting{factor: float32(s.Pulls[k].Score) / Inf})
				}
			}
			for _, k := range s.onto[up] {
				if !s.Pulls[k].Weak {
					work = s.collectInto(work, s.Pulls[k].Item, k, collecting{factor: float32(s.Pulls[k].Score) / Inf, back: true})
				}
			}
		}
		return work[n]
	}
	return cmp.Compare(liking(b, bt), liking(a, at))
}

// spreadOf is on how many nodes the copy runs.
func (s *solver) spreadOf(i int) int {
	n := len(s.Items[i].State.At)
	for _, c := range s.Items[i].Children {
		n = max(n, s.spreadOf(c))
	}
	return n
}

// wellAt is where the copy runs, if it may stay.
func (s *solver) wellAt(i int) int {
	decides := i
	if s.Soft {
		decides = s.first(i)
	}
	at := s.at(i)
	if at == Nowhere || s.cells[decides].score[at] < 0 {
		return Nowhere
	}
	return at
}

// unfit reports whether the copy runs where it may not stay, as the rules on the whole
// of it are.
func (s *solver) unfit(i int) bool {
	at := s.at(i)
	return at != Nowhere && s.cells[i].score[at] < 0
}

// addPromotion makes copies prefer the nodes where they could be primary.
func (s *solver) addPromotion(i int) {
	c, set := &s.cells[i], &s.Items[i].Set
	if c.promoted {
		return
	}
	c.promoted = true
	for _, child := range s.Items[i].Children {
		for n := range s.Nodes {
			score := s.promotion(set, child, n)
			if score <= 0 || !s.Nodes[n].Open || s.cells[child].score[n] < 0 {
				continue
			}
			for _, k := range s.pair(child) {
				s.cells[k].score[n] = Sum(s.cells[k].score[n], score)
				s.cells[k].priority = max(s.cells[k].priority, score)
			}
		}
	}
}

// pair is the copy and, where a negative score is no ban, the item whose scores
// decide for it if that is another.
func (s *solver) pair(child int) []int {
	if first := s.first(child); first != child && s.Soft {
		return []int{child, first}
	}
	return []int{child}
}

// promotion is what speaks for a primary copy on a node: the sum of what does for
// its parts, if it has any and a negative score is a ban.
func (s *solver) promotion(set *Set, child, node int) int {
	if set.Parts == nil {
		if set.Promotion == nil || set.Promotion[node] == NoPromotion || !s.promotes(child, child, nil, node) {
			return NoPromotion
		}
		return set.Promotion[node]
	}
	sum := NoPromotion
	for k, part := range s.Items[child].Children {
		if k >= len(set.Parts) || set.Parts[k][node] == NoPromotion || !s.promotes(child, part, &k, node) {
			continue
		}
		if sum == NoPromotion {
			sum = 0
		}
		sum = Sum(sum, set.Parts[k][node])
	}
	return sum
}

// promotes reports whether what was said for a primary on a node counts for a copy,
// or a part of it: for the one that runs there; if none does, for all if any was
// looked at there; and for one that was looked at nowhere.
func (s *solver) promotes(child, i int, part *int, node int) bool {
	own := &s.Items[s.first(i)].State
	if slices.Contains(own.At, node) {
		return true
	}
	active, known := false, false
	for _, other := range s.Items[s.Items[child].Parent].Children {
		if part != nil && *part < len(s.Items[other].Children) {
			other = s.Items[other].Children[*part]
		}
		state := &s.Items[s.first(other)].State
		active = active || slices.Contains(state.At, node)
		known = known || len(state.Known) > 0 && state.Known[node]
	}
	switch {
	case s.Soft:
		return !active
	case !active && known, len(own.At) == 0 && !slices.Contains(own.Known, true):
		return true
	}
	return len(own.Known) > 0 && own.Known[node]
}

// choosePrimaries gives the placed copies their roles.
func (s *solver) choosePrimaries(i int, children []int) {
	c, set := &s.cells[i], &s.Items[i].Set
	clear(c.seats)
	for _, child := range children {
		s.weigh(i, child)
	}
	work := slices.Clone(c.score)
	for _, child := range children {
		if n := s.cells[child].node; n != Nowhere && s.weighs(child) {
			work[n] = Sum(work[n], s.cells[child].weight)
		}
	}
	work = s.weighByPulls(i, work)
	for _, child := range children {
		if n := s.cells[child].node; n != Nowhere && s.weighs(child) {
			s.cells[child].weight = work[n]
		}
		if s.Items[child].State.Unmanaged && s.roleNow(child) == Primary {
			s.cells[child].weight = Inf
		}
	}
	slices.SortStableFunc(children, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(s.cells[b].weight, s.cells[a].weight),
			cmp.Compare(s.roleNow(b), s.roleNow(a)), s.byState(a, b))
	})
	promoted := 0
	for _, child := range children {
		role := Replica
		if (promoted < set.Primaries || s.unmanaged(child)) && s.promotable(i, child) {
			c.seats[s.cells[child].node]++
			promoted++
			role = Primary
		}
		s.setRole(child, role)
	}
}

// weighs reports whether the preferences of others can add to what speaks for a
// copy to be primary: where a negative score is a ban, they do not lift it.
func (s *solver) weighs(child int) bool { return s.Soft || s.cells[child].weight >= 0 }

func (s *solver) unmanaged(i int) bool { return s.Items[s.first(i)].State.Unmanaged }

// roleNow is the role that the copy has now: that of its first part, or, where the
// incumbent's ways are asked for, the highest of its parts.
func (s *solver) roleNow(i int) Role {
	if s.Soft || len(s.Items[i].Children) == 0 {
		return s.Items[s.first(i)].State.Role
	}
	role := Stopped
	for _, part := range s.Items[i].Children {
		role = max(role, s.roleNow(part))
	}
	return role
}

// setRole sets the role of the item and all of its parts that have a node.
func (s *solver) setRole(i int, r Role) {
	for _, child := range s.Items[i].Children {
		s.setRole(child, r)
	}
	c := &s.cells[i]
	switch {
	case c.node == Nowhere:
		c.next = Stopped
	case s.Items[i].State.Unmanaged:
		c.next = s.Items[i].State.Role
	default:
		c.next = r
	}
}

// weigh finds what speaks for a placed copy to be primary.
func (s *solver) weigh(i, child int) {
	c, set := &s.cells[child], &s.Items[i].Set
	n := c.node
	if n == Nowhere || c.next == Replica || c.next == Stopped || s.cells[i].next == Replica {
		c.priority, c.weight = -Inf, -Inf
		if n != Nowhere && s.unmanaged(child) && s.roleNow(child) == Primary {
			c.weight = Inf
		}
		return
	}
	c.priority = -1
	if s.Soft {
		c.priority = 0
	}
	if score := s.promotion(set, child, n); score != NoPromotion {
		c.priority = score
	}
	if set.PrimaryScore != nil {
		c.priority = Sum(c.priority, set.PrimaryScore[n])
	}
	for _, k := range s.mine[i] {
		if p := s.Pulls[k]; p.ItemRole == Primary && s.counts(i, p) {
			s.apply(child, p.With, p)
		}
	}
	c.weight = c.priority
}

// counts reports whether what draws the set's primary speaks for a copy: a rule
// does, and what is no more than a preference only where there are fewer copies
// than nodes; a dislike always does.
func (s *solver) counts(i int, p Pull) bool {
	return s.Soft || s.cells[i].all || p.Score < 0 || p.Score >= Inf
}

// weighByPulls adds what draws the set's primary, and what is drawn to it.
func (s *solver) weighByPulls(i int, work []int) []int {
	s.cells[i].merging = true
	defer func() { s.cells[i].merging = false }()
	s.patience = maxAsked
	for _, k := range s.mine[i] {
		if p := s.Pulls[k]; p.ItemRole == Primary && !p.Weak {
			work = s.collectInto(work, p.With, k, collecting{factor: float32(p.Score) / Inf, back: p.Score < Inf})
		}
	}
	for _, k := range s.onto[i] {
		if p := s.Pulls[k]; p.WithRole == Primary && !p.Weak {
			work = s.collectInto(work, p.Item, k, collecting{factor: float32(p.Score) / Inf, back: true, positive: true})
		}
	}
	return work
}

// promotable reports whether the copy can be primary where it is.
func (s *solver) promotable(i, child int) bool {
	c := &s.cells[child]
	n := c.node
	if n == Nowhere || s.Freeze && s.roleNow(child) != Primary {
		return false
	}
	if s.unmanaged(child) {
		return s.roleNow(child) == Primary
	}
	for _, part := range s.Items[child].Children {
		if s.cells[part].node == Nowhere || s.unmanaged(part) && s.roleNow(part) != Primary {
			return false
		}
	}
	return s.allowed(c.priority) && s.allowed(c.weight) && s.Nodes[n].Open && s.cells[i].seats[n] < s.Items[i].Set.PrimariesPerNode
}
