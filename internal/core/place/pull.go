package place

import (
	"cmp"
	"math"
	"slices"
)

// pullsOf returns the pulls that draw the item somewhere, those of the stack or
// the set that it is part of included: a stack is drawn by its first child, and
// a copy heeds the set's preferences only where there are fewer copies than
// nodes, since else each copy would follow them to the same place.
func (s *solver) pullsOf(i int) []int {
	up := s.Items[i].Parent
	if up == Nowhere {
		return s.mine[i]
	}
	out := slices.Clone(s.mine[i])
	switch s.Items[up].Kind {
	case Stack:
		out = append(out, s.stackPulls(up, i)...)
	case Copies:
		for _, k := range s.mine[up] {
			if s.cells[up].all || s.Pulls[k].Score < 0 || s.Pulls[k].Score >= Inf {
				out = s.repeat(out, i, k)
			}
		}
	default:
	}
	s.sortPulls(out, func(p Pull) int { return p.With })
	return out
}

// repeat adds a pull of the set to those of a copy. Where a negative score is a
// ban, a copy that is tried again takes them on again: the incumbent does, and what
// it decides in the end depends on it.
func (s *solver) repeat(out []int, i, k int) []int {
	for range max(1, s.cells[i].tries) {
		out = append(out, k)
	}
	return out
}

// stackPulls returns the pulls of a stack that one of its children follows: the
// first follows all. The others go where it goes, except after one that is left
// where it is: that says nothing of where they should be.
func (s *solver) stackPulls(up, i int) []int {
	children := s.Items[up].Children
	all := s.pullsOf(up)
	if children[0] == i {
		return all
	}
	for _, c := range children {
		if c == i {
			return nil
		}
		if s.Items[c].State.Unmanaged {
			break
		}
	}
	var out []int
	for _, k := range all {
		if s.Pulls[k].Score >= Inf {
			out = append(out, k)
		}
	}
	return out
}

// sortPulls puts the pulls first whose other end has the higher priority, and
// among those the ones with copies, then with stacks.
func (s *solver) sortPulls(pulls []int, end func(Pull) int) {
	slices.SortStableFunc(pulls, func(a, b int) int {
		x, y := &s.Items[end(s.Pulls[a])], &s.Items[end(s.Pulls[b])]
		return cmp.Or(
			cmp.Compare(y.Priority, x.Priority), cmp.Compare(y.Kind, x.Kind), yes(x.Set.Roles, y.Set.Roles),
			s.byNames(x, y), cmp.Compare(s.Pulls[a].Name, s.Pulls[b].Name))
	})
}

// byNames compares items by name where a negative score is a ban.
func (s *solver) byNames(x, y *Item) int {
	if s.Soft {
		return 0
	}
	return cmp.Compare(x.Name, y.Name)
}

// pullsOnto returns the pulls that draw others to the item. Who is drawn to a
// stack is drawn to its last child, since it needs all of it.
func (s *solver) pullsOnto(i int) []int {
	up := s.Items[i].Parent
	if up == Nowhere {
		return s.onto[i]
	}
	out := slices.Clone(s.onto[i])
	switch s.Items[up].Kind {
	case Stack:
		if c := s.Items[up].Children; c[len(c)-1] == i {
			out = append(out, s.pullsOnto(up)...)
		}
	case Copies:
		for _, k := range s.onto[up] {
			if s.cells[up].all || s.Pulls[k].Score < 0 {
				out = s.repeat(out, i, k)
			}
		}
	default:
	}
	s.sortPulls(out, func(p Pull) int { return p.Item })
	return out
}

// follow places what the item is drawn to, then lets the pull act.
func (s *solver) follow(i, k int) {
	p := s.Pulls[k]
	if !p.Mutual && (p.mandatory() || !s.waitsFor(p.With, i)) {
		s.assign(p.With, Nowhere)
	}
	c := &s.cells[i]
	var before []int
	if p.ItemRole >= Primary || p.Score < 0 && p.Score > -Inf {
		before = slices.Clone(c.score)
	}
	s.apply(i, p.With, p)
	if before != nil && !s.anyUsable(c.score) {
		c.score = before
	}
}

// apply lets a pull act on the item i, where w is what draws it: With of the
// pull, or a part of it.
func (s *solver) apply(i, w int, p Pull) {
	switch s.Items[w].Kind {
	case Stack:
		s.applyStack(i, w, p)
	case Copies:
		s.applyCopies(i, w, p)
	default:
		s.applyOne(i, w, p)
	}
}

func (s *solver) applyStack(i, w int, p Pull) {
	children := s.Items[w].Children
	switch {
	case !s.cells[w].done || len(children) == 0:
	case s.Items[w].Loose:
		if p.Score < Inf {
			for _, c := range children {
				s.apply(i, c, p)
			}
		}
	case p.Score >= Inf:
		s.apply(i, children[len(children)-1], p)
	default:
		s.apply(i, children[0], p)
	}
}

func (s *solver) applyOne(i, w int, p Pull) {
	primary := &s.cells[w]
	if !primary.done {
		return
	}
	if s.cells[i].done {
		s.applyToRole(i, w, p)
		return
	}
	if !s.rolesMatch(i, w, p) {
		return
	}
	if primary.node == Nowhere && p.Score < 0 {
		return
	}
	work := slices.Clone(s.cells[i].score)
	for n := range work {
		switch {
		case primary.node == Nowhere:
			work[n] = Sum(work[n], -p.Score)
		case p.same(n, primary.node):
			if p.Score < Inf {
				work[n] = Sum(work[n], p.Score)
			}
		case p.Score >= Inf:
			work[n] = -Inf
		}
	}
	if p.mandatory() || s.anyUsable(work) {
		s.cells[i].score = work
	}
}

// rolesMatch reports whether the pull concerns the items in the roles that they
// are to have.
func (s *solver) rolesMatch(i, w int, p Pull) bool {
	if p.ItemRole != Any && !s.willBe(i, p.ItemRole) {
		return false
	}
	return p.WithRole == Any || s.willBe(w, p.WithRole)
}

// willBe reports whether the item is to have the role, as far as is known.
func (s *solver) willBe(i int, r Role) bool {
	next := s.cells[i].next
	if next == Any && s.cells[i].done {
		next = s.defaultRole(i)
	}
	return next == r || r == Started && next >= Started
}

// same reports whether two nodes count as one place.
func (p Pull) same(a, b int) bool {
	if p.Class == nil {
		return a == b
	}
	return p.Class[a] == p.Class[b] && p.Class[a] >= 0
}

// applyToRole lets a pull act on what speaks for a placed copy to be primary.
func (s *solver) applyToRole(i, w int, p Pull) {
	if p.ItemRole < Replica || !s.withRoles(i) {
		return
	}
	c, primary := &s.cells[i], &s.cells[w]
	if s.Keep && primary.node == Nowhere && p.Score >= Inf && p.ItemRole == Primary {
		c.priority = -Inf
	}
	if c.node == Nowhere || primary.node == Nowhere {
		return
	}
	if !p.same(c.node, primary.node) {
		if p.Score >= Inf && p.ItemRole == Primary {
			c.priority = -Inf
		}
		return
	}
	if p.WithRole != Any && !s.willBe(w, p.WithRole) {
		return
	}
	score := p.Score
	if p.ItemRole == Replica {
		score = -score
	}
	c.priority = Sum(c.priority, score)
}

// applyCopies lets a pull towards copies act on the item.
func (s *solver) applyCopies(i, w int, p Pull) {
	if !s.cells[w].done {
		if s.Keep && p.Score <= -Inf && p.WithRole == Any {
			for _, c := range s.Items[w].Children { // those that are fixed
				s.apply(i, c, p)
			}
		}
		return
	}
	set := &s.Items[w].Set
	if set.Roles && p.WithRole != Any {
		s.applyRoled(i, w, p)
		return
	}
	if s.interleaves(i, w, p) {
		mate := s.mate(i, w)
		switch {
		case mate != Nowhere:
			s.apply(i, mate, p)
		case p.Score >= Inf && !s.cells[i].done:
			s.ban(i)
			if !s.Soft {
				s.settle(i, Nowhere)
			}
		}
		return
	}
	if p.Score < Inf {
		for _, c := range s.cells[w].kids {
			s.apply(i, c, p)
		}
		return
	}
	if s.cells[i].done {
		if s.Soft {
			s.anyCopy(i, w, p)
		}
		return
	}
	s.restrict(i, w, p, func(c int) bool { return !s.isBlocked(c) })
}

// isBlocked reports whether the item, or a part of it, is blocked.
func (s *solver) isBlocked(i int) bool {
	return s.Items[i].State.Blocked || slices.ContainsFunc(s.Items[i].Children, s.isBlocked)
}

// anyCopy lets a pull towards copies act on what speaks for a placed copy to be
// primary: one of them on its node is enough.
func (s *solver) anyCopy(i, w int, p Pull) {
	at := s.cells[i].node
	for _, c := range s.Items[w].Children {
		if n := s.cells[c].node; n != Nowhere && at != Nowhere && p.same(n, at) {
			s.cells[i].priority = Sum(s.cells[i].priority, 0)
			return
		}
	}
	if p.ItemRole == Primary {
		s.cells[i].priority = -Inf
	}
}

// restrict forbids the item all nodes but those where a copy will be that
// counts.
func (s *solver) restrict(i, w int, p Pull, counts func(int) bool) {
	var where []int
	for _, c := range s.Items[w].Children {
		if n := s.cells[c].node; n != Nowhere && counts(c) {
			where = append(where, n)
		}
	}
	score := s.cells[i].score
	for n := range score {
		if !slices.ContainsFunc(where, func(at int) bool { return p.same(n, at) }) {
			score[n] = -Inf
		}
	}
}

// applyRoled lets a pull towards copies in one role act on the item.
func (s *solver) applyRoled(i, w int, p Pull) {
	var counting []int
	for _, c := range s.cells[w].kids {
		if s.cells[c].node != Nowhere && s.willBe(c, p.WithRole) {
			counting = append(counting, c)
		}
	}
	if s.cells[i].done {
		s.roledToRole(i, counting, p)
		return
	}
	if p.Score < Inf {
		for _, c := range counting {
			s.apply(i, c, p)
		}
		return
	}
	score := s.cells[i].score
	for n := range score {
		at := slices.IndexFunc(counting, func(c int) bool { return p.same(n, s.cells[c].node) })
		if at < 0 {
			score[n] = -Inf
			continue
		}
		c := &s.cells[counting[at]]
		score[n] = Sum(score[n], c.score[c.node])
	}
}

func (s *solver) roledToRole(i int, counting []int, p Pull) {
	if p.ItemRole < Replica {
		return
	}
	c := &s.cells[i]
	for _, k := range counting {
		if c.node != Nowhere && p.same(c.node, s.cells[k].node) {
			s.applyToRole(i, k, Pull{Item: p.Item, With: p.With, Score: p.Score, ItemRole: p.ItemRole, Class: p.Class})
			return
		}
	}
	if p.Score >= Inf && p.ItemRole == Primary {
		c.priority = -Inf
	}
}

// interleaves reports whether a pull between copies is by node.
func (s *solver) interleaves(i, w int, p Pull) bool {
	set := s.Items[p.Item]
	if s.Soft && p.Score < 0 {
		return false // who keeps away keeps away from all copies
	}
	return p.Item != i && set.Kind == Copies && set.Set.Interleave && set.Set.PerNode == s.Items[w].Set.PerNode
}

// mate returns the copy of w that is where the item is, or where it would like
// best to be.
func (s *solver) mate(i, w int) int {
	nodes := slices.Clone(s.ranked(i, Nowhere))
	if at := s.cells[i].node; at != Nowhere {
		nodes = []int{at}
	}
	for _, n := range nodes {
		if !s.cells[i].done && s.cells[i].score[n] < 0 {
			continue
		}
		for _, c := range s.cells[w].kids {
			if s.cells[c].node == n && s.cells[c].next != Stopped {
				return c
			}
		}
	}
	return Nowhere
}

func (s *solver) anyUsable(score []int) bool {
	for n, v := range score {
		if s.Nodes[n].Open && s.allowed(v) {
			return true
		}
	}
	return false
}

// heed lets what is drawn to the item act on it: where that would like to be
// counts in the measure of the pull.
func (s *solver) heed(i, k int) {
	p := s.Pulls[k]
	if p.Weak || p.Mutual || p.Score == 0 {
		return
	}
	s.collect(i, p.Item, k, collecting{factor: float32(p.Score) / Inf, back: true, positive: s.Items[i].Kind == Copies})
}

// Limits of how many items are asked where they would like to be: for the sake of
// one, and for all. A chain of pulls that is longer counts as far as it was
// followed; without a limit, many pulls in circles would be followed on every way
// that there is.
//
// With [Problem].Keep an item asks as many in all as maxAskedEach, and shares them out
// evenly to those that are drawn to it, each of which is asked at least.
const (
	maxAsked     = 2_000
	maxAskedAll  = 2_000_000
	maxAskedEach = 128
)

// collecting says how scores are collected.
type collecting struct {
	factor   float32
	back     bool // roll back what would leave no node
	positive bool // never make a node unusable
	onward   bool // go on to what the item is drawn to, not to what is drawn to it
}

// collect adds to the scores of i those of other, and of what is drawn to it in
// turn.
func (s *solver) collect(i, other, k int, how collecting) {
	s.patience = maxAsked
	if s.Keep {
		s.patience = max(1, maxAskedEach/max(1, len(s.onto[i])))
	}
	s.cells[i].score = s.collectInto(s.cells[i].score, other, k, how)
}

// speaker is what speaks for an item when items are sorted: of a stack its last
// part, which goes with all others.
func (s *solver) speaker(i int) int {
	if c := s.Items[i].Children; !s.Soft && s.Items[i].Kind == Stack && len(c) > 0 {
		return s.speaker(c[len(c)-1])
	}
	return i
}

// collected returns the item's scores with those of what it is drawn to.
func (s *solver) collected(i int) []int {
	s.patience = maxAsked
	i = s.speaker(i)
	return s.collectOn(slices.Clone(s.cells[i].score), i, collecting{factor: 1, onward: true})
}

func (s *solver) collectInto(into []int, other, k int, how collecting) []int {
	item := &s.Items[other]
	if item.Kind == Stack && len(item.Children) > 0 {
		c := &s.cells[other]
		if c.merging {
			return into
		}
		c.merging = true
		defer func() { c.merging = false }()
		child := item.Children[0]
		if how.onward {
			child = item.Children[len(item.Children)-1]
		}
		return s.collectInto(into, child, k, how)
	}
	if s.cells[other].merging || s.patience <= 0 || s.total <= 0 {
		return into
	}
	s.patience--
	s.total--
	work := slices.Clone(into)
	s.mix(work, other, k, how)
	if !s.anyUsable(work) && how.back {
		return into
	}
	return s.collectOn(work, other, how)
}

// collectOn goes on from an item whose scores are in work already.
func (s *solver) collectOn(work []int, from int, how collecting) []int {
	c := &s.cells[from]
	if c.merging {
		return work
	}
	c.merging = true
	defer func() { c.merging = false }()
	if s.anyUsable(work) {
		next := s.pullsOnto(from)
		if how.onward {
			next = s.pullsOf(from)
		}
		for _, k := range next {
			p := s.Pulls[k]
			to := p.Item
			if how.onward {
				to = p.With
			}
			if p.Weak || p.Mutual || p.Score == 0 {
				continue
			}
			further := how
			further.back = true
			// Each pull counts in its own measure; the one before it says only
			// whether for or against.
			further.factor = float32(p.Score) / Inf
			if how.factor < 0 {
				further.factor = -further.factor
			}
			work = s.collectInto(work, to, k, further)
		}
	}
	if how.positive {
		for n, v := range work {
			if v == spoiled {
				work[n] = 1
			}
		}
	}
	return work
}

// spoiled marks a node that was usable and would not be.
const spoiled = -100 * Inf

// mix adds the scores of other, times the factor.
func (s *solver) mix(work []int, other, k int, how collecting) {
	p := s.Pulls[k]
	score := s.cells[other].score
	for n := range work {
		v := s.bestOf(score, n, p)
		if how.factor < 0 && v < 0 || work[n] == spoiled {
			continue
		}
		delta := scaled(how.factor, v)
		sum := Sum(work[n], delta)
		switch {
		case how.positive && sum < 0 && work[n] > 0:
			work[n] = spoiled
		case how.positive && sum < 0 && work[n] == 0:
		default:
			work[n] = sum
		}
	}
}

// bestOf is the best score on a node, or on any that counts as the same place.
func (s *solver) bestOf(score []int, node int, p Pull) int {
	if p.Class == nil {
		if !s.Nodes[node].Open && score[node] > -Inf {
			return -Inf
		}
		return score[node]
	}
	best := -Inf
	for n, v := range score {
		if s.Nodes[n].Open && p.same(n, node) {
			best = max(best, v)
		}
	}
	return best
}

// scaled multiplies a score, and never makes nothing of something.
func scaled(factor float32, v int) int {
	f := float64(factor) * float64(v)
	delta := int(math.Trunc(f + math.Copysign(0.5, f)))
	if delta == 0 && v != 0 {
		switch {
		case factor > 0:
			return 1
		case factor < 0:
			return -1
		}
	}
	return max(-Inf, min(Inf, delta))
}
