package place

import (
	"cmp"
	"slices"
)

// cell is what is known of one item while placing.
type cell struct {
	score    []int
	node     int
	next     Role
	priority int
	weight   int // as primary, while primaries are chosen
	done     bool
	busy     bool // being placed; a second call is a circle
	merging  bool // its scores are being collected; a second call is a circle
	promoted bool // promotion scores were added
	seats    []int
	choice   *Choice
	kids     []int // the copies, in the order in which they were placed
	all      bool  // its copies heed all of its pulls
	tries    int   // how often it was tried as a copy
	spare    bool  // a copy too many, which was not placed
	unasked  []int // the scores before others that are drawn to it were asked; nil: none are
}

type solver struct {
	*Problem
	cells []cell
	count []int   // instances placed, by node
	load  []int   // instances placed, and those that are there and not placed yet
	fresh []int   // instances placed that are not fixed, by node
	free  [][]int // room left, by node
	// mine and onto are the pulls in which an item is Item, or With.
	mine, onto [][]int
	// patience and total are how many items may still be asked.
	patience, total int
	sitting         [][]int // items, by the node on which they are now
	order           []int   // room for sorting nodes
	slab            []int   // room for what choices hold
}

func newSolver(p *Problem) *solver {
	own := *p
	own.Pulls = withinStacks(p)
	s := &solver{
		Problem: &own,
		cells:   make([]cell, len(p.Items)),
		count:   make([]int, len(p.Nodes)),
		load:    make([]int, len(p.Nodes)),
		fresh:   make([]int, len(p.Nodes)),
		mine:    make([][]int, len(p.Items)),
		onto:    make([][]int, len(p.Items)),
		order:   make([]int, len(p.Nodes)),
		total:   maxAskedAll,
	}
	for _, n := range p.Nodes {
		s.free = append(s.free, slices.Clone(n.Room))
	}
	all := make([]int, len(p.Items)*len(p.Nodes))
	for i := range p.Items {
		item := &p.Items[i]
		score := all[i*len(p.Nodes) : (i+1)*len(p.Nodes) : (i+1)*len(p.Nodes)]
		copy(score, item.Score)
		s.cells[i] = cell{score: score, node: Nowhere, priority: item.Priority}
		if item.Target == Stopped || item.Target == Replica {
			s.cells[i].next = item.Target
		}
		s.seated(i, 1)
	}
	s.sits()
	for k, pull := range own.Pulls {
		s.mine[pull.Item] = append(s.mine[pull.Item], k)
		s.onto[pull.With] = append(s.onto[pull.With], k)
	}
	for i := range p.Items {
		s.sortPulls(s.mine[i], func(p Pull) int { return p.With })
		s.sortPulls(s.onto[i], func(p Pull) int { return p.Item })
	}
	return s
}

// withinStacks returns the pulls of the problem and those that hold the stacks
// together: each part is drawn to the one before it.
func withinStacks(p *Problem) []Pull {
	pulls := slices.Clone(p.Pulls)
	for _, pull := range p.Pulls {
		if pull.Mutual {
			pull.Item, pull.With = pull.With, pull.Item
			pull.ItemRole, pull.WithRole = pull.WithRole, pull.ItemRole
			pulls = append(pulls, pull)
		}
	}
	for i := range p.Items {
		item := &p.Items[i]
		if item.Kind != Stack || item.Loose {
			continue
		}
		for k := 1; k < len(item.Children); k++ {
			child, before := item.Children[k], item.Children[k-1]
			weak := p.Items[child].Minor && len(p.Items[before].State.At) > 0
			pulls = append(pulls, Pull{Name: "#stack", Item: child, With: before, Score: Inf, Weak: weak})
		}
	}
	return pulls
}

// weightOf is how many instances the item counts as.
func (s *solver) weightOf(i int) int {
	switch {
	case s.Items[i].Kind != One:
		return 0
	case s.Items[i].Weight == 0:
		return 1
	}
	return s.Items[i].Weight
}

// sequence returns the items that have no parent, in the order of placing.
func (s *solver) sequence() []int {
	var top []int
	for i := range s.Items {
		if s.Items[i].Parent == Nowhere {
			top = append(top, i)
		}
	}
	if !s.SortByScore {
		slices.SortStableFunc(top, func(a, b int) int { return cmp.Compare(s.Items[b].Priority, s.Items[a].Priority) })
		return top
	}
	merged := make([][]int, len(s.Items))
	for _, i := range top {
		merged[i] = s.collected(i)
	}
	nodes := make([]int, len(s.Nodes))
	for n := range nodes {
		nodes[n] = n
	}
	slices.SortStableFunc(nodes, func(a, b int) int { return s.byTies(Nowhere, a, b) })
	slices.SortStableFunc(top, func(a, b int) int {
		first := cmp.Or(
			cmp.Compare(s.Items[b].Priority, s.Items[a].Priority),
			cmp.Compare(s.scoreHere(b, merged[b]), s.scoreHere(a, merged[a])))
		if first != 0 {
			return first
		}
		for _, n := range nodes {
			if merged[a][n] != merged[b][n] {
				return cmp.Compare(merged[b][n], merged[a][n])
			}
		}
		return 0
	})
	return top
}

// scoreHere is the score where the item is now.
func (s *solver) scoreHere(i int, score []int) int {
	at := s.at(i)
	if at == Nowhere {
		return -Inf
	}
	return score[at]
}

// at returns the node where the item is now. A stack is where its first running
// child is.
func (s *solver) at(i int) int {
	item := &s.Items[i]
	if len(item.State.At) > 0 {
		return item.State.At[0]
	}
	for _, c := range item.Children {
		if at := s.at(c); at != Nowhere {
			return at
		}
	}
	return Nowhere
}

// assign places the item, preferably on the node prefer, and returns its node.
func (s *solver) assign(i, prefer int) int {
	switch s.Items[i].Kind {
	case Stack:
		return s.assignStack(i, prefer)
	case Copies:
		s.assignCopies(i)
		return Nowhere
	default:
	}
	return s.assignOne(i, prefer)
}

func (s *solver) assignStack(i, prefer int) int {
	c := &s.cells[i]
	if c.done || c.busy {
		return c.node
	}
	if up := s.Items[i].Parent; up != Nowhere && !s.cells[up].busy && !s.cells[up].done {
		s.assign(up, Nowhere)
		return c.node
	}
	c.busy = true
	for k, child := range s.Items[i].Children {
		node := s.assign(child, prefer)
		if k == 0 || c.node == Nowhere {
			c.node = node
		}
	}
	c.busy, c.done = false, true
	if s.Items[i].Loose {
		return Nowhere
	}
	return c.node
}

func (s *solver) assignOne(i, prefer int) int {
	c, item := &s.cells[i], &s.Items[i]
	if up := item.Parent; up != Nowhere && !s.cells[up].busy && !s.cells[up].done {
		s.assign(up, prefer)
	}
	if c.done || c.busy {
		return c.node
	}
	c.busy = true
	defer func() { c.busy = false }()
	s.pullAll(i)
	if c.done {
		return c.node
	}
	if c.next == Stopped {
		s.ban(i)
	}
	switch {
	case item.State.Unmanaged:
		s.settle(i, s.at(i))
		if c.node != Nowhere {
			c.next = item.State.Role
		}
	case s.StopAll:
		s.settle(i, Nowhere)
	default:
		node := s.choose(i, prefer)
		if node == Nowhere {
			node = s.chooseAnew(i, prefer)
		}
		s.settle(i, node)
	}
	return c.node
}

// pullAll lets all pulls act on the item.
func (s *solver) pullAll(i int) {
	c := &s.cells[i]
	mine, onto := s.pullsOf(i), s.pullsOnto(i)
	if !s.MandatoryFirst {
		for _, k := range mine {
			s.follow(i, k)
		}
		for _, k := range onto {
			s.heed(i, k)
		}
		return
	}
	// All that goes first is placed before any pull acts: a mutual one counts only
	// if the other has a place.
	for _, rule := range [...]bool{true, false} {
		for _, k := range mine {
			if p := s.Pulls[k]; !p.Mutual && p.mandatory() == rule && (rule || !s.waitsFor(p.With, i)) {
				s.assign(p.With, Nowhere)
			}
		}
	}
	for _, mandatory := range [...]bool{true, false} {
		for _, k := range mine {
			if s.Pulls[k].mandatory() == mandatory {
				s.follow(i, k)
			}
		}
		for _, k := range onto {
			if p := s.Pulls[k]; p.mandatory() == mandatory {
				if mandatory && s.Keep && !p.Mutual && c.unasked == nil {
					c.unasked = slices.Clone(c.score)
				}
				s.obey(i, p)
				s.heed(i, k)
			}
		}
	}
}

func (p Pull) mandatory() bool { return p.Score >= Inf || p.Score <= -Inf }

// ban forbids the item all nodes.
func (s *solver) ban(i int) {
	for n := range s.cells[i].score {
		s.cells[i].score[n] = -Inf
	}
}

// settle fixes the item's node.
func (s *solver) settle(i, node int) {
	c := &s.cells[i]
	c.done, c.node = true, node
	s.seated(i, -1)
	if node == Nowhere {
		c.next = Stopped
		return
	}
	s.count[node] += s.weightOf(i)
	if !s.Items[i].State.Fixed {
		s.fresh[node] += s.weightOf(i)
	}
	s.load[node] += s.weightOf(i)
	s.take(node, s.Items[i].Demand, 1)
}

// seated counts the item where it is now, or ceases to.
func (s *solver) seated(i, sign int) {
	if share := s.Items[i].State.Share; share != nil {
		for n, k := range share {
			s.load[n] += sign * k
		}
		return
	}
	for _, n := range s.Items[i].State.At {
		s.load[n] += sign * s.weightOf(i)
	}
}

// unsettle takes the item's node back.
func (s *solver) unsettle(i int) {
	c := &s.cells[i]
	for _, child := range s.Items[i].Children {
		s.unsettle(child)
	}
	if !c.done {
		return
	}
	if s.Items[i].Kind == One {
		s.seated(i, 1)
		if c.node != Nowhere {
			s.count[c.node] -= s.weightOf(i)
			s.fresh[c.node] -= s.weightOf(i)
			s.load[c.node] -= s.weightOf(i)
			s.take(c.node, s.Items[i].Demand, -1)
		}
	}
	c.done, c.node, c.next = false, Nowhere, Any
	if t := s.Items[i].Target; t == Stopped || t == Replica {
		c.next = t
	}
}

// withRoles reports whether the item is, or is in, a copy that has roles.
func (s *solver) withRoles(i int) bool {
	for ; i != Nowhere; i = s.Items[i].Parent {
		if s.Items[i].Kind == Copies {
			return s.Items[i].Set.Roles
		}
	}
	return false
}
