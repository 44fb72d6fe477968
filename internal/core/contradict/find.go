package contradict

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// say adds a finding that is new. The text is only asked for if it is.
func (f *finder) say(key string, text func() string) {
	if len(f.found) < spec.MaxProblems && !f.said[key] {
		f.said[key] = true
		f.found = append(f.found, Contradiction{Text: text()})
	}
}

// together finds who is to be on one node and cannot.
func (f *finder) together() {
	for _, p := range f.apart {
		a, b := f.group[p.a], f.group[p.b]
		_, share := f.shares[[2]int{a, b}]
		if a != b && !share || f.quarrelled(p) {
			continue
		}
		f.say(fmt.Sprintf("apart %d %d", p.a, p.b), func() string { return f.quarrel(p) })
	}
	for i := range f.groups {
		g := &f.groups[i]
		if len(f.nodes) == 0 || g.allowed.size() > 0 || g.members[0] >= f.real || g.was >= 0 && f.before.groups[g.was].allowed.size() == 0 {
			continue
		}
		f.say(fmt.Sprintf("homeless %d", i), func() string { return f.homeless(g.members) })
	}
}

// quarrelled reports whether two services were to be together and apart before,
// with all that are together with them.
func (f *finder) quarrelled(p pair) bool {
	a, b := f.groups[f.group[p.a]].was, f.groups[f.group[p.b]].was
	if a < 0 || b < 0 {
		return false
	}
	i, j := f.before.at[f.services[p.a].Name], f.before.at[f.services[p.b].Name]
	_, share := f.before.shares[[2]int{a, b}]
	return (a == b || share) && f.before.isApart[[2]int{min(i, j), max(i, j)}]
}

// rooms finds what needs more than any node has, or than the cell has.
func (f *finder) rooms() {
	for _, kind := range f.kinds() {
		for i := range f.groups {
			g := &f.groups[i]
			missing, most := f.missing(g, kind)
			if missing <= 0 {
				continue
			}
			if was, _ := f.before.missing(f.before.groupAt(g.was), kind); was >= missing {
				continue
			}
			f.say(fmt.Sprintf("big %s %d", kind, i), func() string { return f.tooBig(g, kind, missing, most) })
		}
		need, has := f.total(kind)
		if was, _ := f.before.total(kind); need <= has || was >= need {
			continue
		}
		f.say("total "+kind, func() string {
			return fmt.Sprintf("all services together need %d of %s, and the nodes of the cell have %d: %d missing", need, kind, has, need-has)
		})
	}
}

// groupAt returns a group, nil for -1.
func (f *finder) groupAt(g int) *group {
	if g < 0 {
		return nil
	}
	return &f.groups[g]
}

// kinds are the units that some node says it has, sorted.
func (f *finder) kinds() []string {
	known := map[string]bool{}
	for _, n := range f.nodes {
		for label := range n.Labels {
			if kind, is := strings.CutPrefix(label, spec.CapacityLabel+"/"); is {
				known[kind] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(known))
}

func capacity(n fact.Node, kind string) int {
	v, err := strconv.Atoi(n.Labels[spec.CapacityLabel+"/"+kind])
	if err != nil {
		return 0
	}
	return v
}

// total is what all services together need of a unit, and what the cell has.
func (f *finder) total(kind string) (need, has int) {
	for _, n := range f.nodes {
		has += capacity(n, kind)
	}
	for i := range f.services[:f.real] { // a primary is one of the copies
		s := &f.services[i]
		one := s.Needs[kind]
		if c := s.Copies; c != nil && one > 0 {
			times := c.Count
			if times == 0 {
				times = f.present(&f.groups[f.group[i]]) * max(1, c.PerNode)
			}
			one *= max(1, times)
		}
		need += one
	}
	return need, has
}

// present is how many nodes of the cell may run a group.
func (f *finder) present(g *group) int {
	n := 0
	for k := range f.nodes {
		if g.allowed.has(k) {
			n++
		}
	}
	return n
}

// missing is how much of a unit is missing on the node that has most of it, and
// how much that one has. A node that may join may have as much as is needed.
func (f *finder) missing(g *group, kind string) (missing, most int) {
	if g == nil || g.needs[kind] == 0 || f.present(g) < g.allowed.size() {
		return 0, 0
	}
	for k, n := range f.nodes {
		if g.allowed.has(k) {
			most = max(most, capacity(n, kind))
		}
	}
	return g.needs[kind] - most, most
}

// crowds finds groups that are all apart from each other and more than the nodes
// that may run them. It does not look at every such set: it begins with each group
// and adds those that fit, by name.
func (f *finder) crowds() {
	for i := range f.groups {
		if f.groups[i].hates.size() == 0 {
			continue
		}
		crowd, others := []int{i}, slices.Clone(f.groups[i].hates)
		others.drop(i)
		for j := others.after(0); j >= 0; j = others.after(j + 1) {
			crowd = append(crowd, j)
			others.keep(f.groups[j].hates)
		}
		slices.Sort(crowd)
		room := f.room(crowd)
		excess := f.width(crowd) - room.size()
		if len(crowd) == 1 || room.size() == 0 || f.covered(crowd) || excess <= 0 || f.crowded(crowd) >= excess {
			continue
		}
		f.say(fmt.Sprintf("crowd %v", crowd), func() string { return f.crowd(crowd, room) })
	}
}

// width is how many nodes groups need that are apart from each other.
func (f *finder) width(crowd []int) int {
	n := 0
	for _, g := range crowd {
		n += f.breadth(&f.groups[g])
	}
	return n
}

// breadth is how many nodes one group needs.
func (f *finder) breadth(g *group) int {
	c := f.services[g.members[0]].Copies
	switch {
	case c == nil:
		return 1
	case c.Count == 0:
		return g.allowed.size()
	}
	each := max(1, c.PerNode)
	return (c.Count + each - 1) / each
}

// room is where some of the groups may run.
func (f *finder) room(crowd []int) set {
	out := newSet(len(f.names))
	for _, g := range crowd {
		out.join(f.groups[g].allowed)
	}
	return out
}

// crowded is by how much the same groups, or larger ones, were too many before; 0
// if they were not all apart.
func (f *finder) crowded(crowd []int) int {
	old := make([]int, 0, len(crowd))
	for _, g := range crowd {
		if f.groups[g].was < 0 {
			return 0
		}
		old = append(old, f.groups[g].was)
	}
	for i, a := range old {
		for _, b := range old[i+1:] {
			if !f.before.groups[a].hates.has(b) {
				return 0
			}
		}
	}
	return f.before.width(old) - f.before.room(old).size()
}

// copies finds services that are to run more often than there are nodes, or to
// have more primaries.
func (f *finder) copies() {
	for i := range f.groups {
		g := &f.groups[i]
		primaries, copies := f.excess(g)
		wasPrimaries, wasCopies := f.before.excess(f.before.groupAt(g.was))
		s := f.services[g.members[0]]
		switch nodes := f.nodeNames(g.allowed); {
		case primaries > 0 && primaries > wasPrimaries:
			f.say(fmt.Sprintf("primaries %d", i), func() string {
				return fmt.Sprintf("%s is to have %d primaries (copies.primaries), and only %d nodes may run it: %s", s.Name, s.Copies.Primaries, len(nodes), list(nodes))
			})
		case primaries <= 0 && copies > 0 && copies > wasCopies:
			f.say(fmt.Sprintf("copies %d", i), func() string {
				each := ""
				if s.Copies.PerNode > 1 {
					each = fmt.Sprintf(", %d on each (copies.per_node)", s.Copies.PerNode)
				}
				return fmt.Sprintf("%s is to have %d copies (copies.count), and only %d nodes may run it%s: %s", s.Name, s.Copies.Count, len(nodes), each, list(nodes))
			})
		}
	}
}

// excess is how many more primaries and copies a group is to have than fit on the
// nodes; 0 if no node may run it at all, which is said already.
func (f *finder) excess(g *group) (primaries, copies int) {
	if g == nil || g.allowed.size() == 0 {
		return 0, 0
	}
	c := f.services[g.members[0]].Copies
	if c == nil {
		return 0, 0
	}
	n := g.allowed.size()
	return c.Primaries - n, c.Count - n*max(1, c.PerNode)
}
