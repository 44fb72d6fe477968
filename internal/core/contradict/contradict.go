// Package contradict finds what the services of a cell demand that cannot all be,
// before anything is placed by it.
//
// Its main rule is that only what a change of specs makes new, or worse, counts
// against the change: a node that leaves or is drained may leave contradictions
// behind, and they must not stand in the way of the next apply, least of all of
// one that relaxes them. Nothing is new that held of the same services before, or
// of more of them. Each one names the links of the way that leads to it, the first
// dozen of them if there are more.
//
// The package is pure, and its time grows little faster than what it is given. It
// finds what no placement could ever satisfy: services that are to be together and
// apart, have no node in common, need more than any node or the whole cell has,
// are to run more often than there are nodes, or wait for a role that nobody has.
// What there is counts as it is now, with the nodes that place.on names though the
// cell has lost them since: they may join again. It does not search all placements, so that specs without a finding may
// still have none.
package contradict

import (
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Contradiction is one thing that cannot be.
type Contradiction struct {
	// Text is a sentence without a full stop.
	Text string
}

// New returns what after demands that cannot be and that before did not demand,
// or not as much, in a defined order, at most [spec.MaxProblems]. Services that
// are stopped demand nothing. The nodes are those of the cell, whatever their
// state.
func New(before, after []spec.Service, nodes []fact.Node) []Contradiction {
	f := read(after, nodes)
	f.before = read(before, nodes)
	for i := range f.groups {
		f.groups[i].was = f.before.groupOf(f, f.groups[i].members)
	}
	f.together()
	f.everywhere()
	f.rooms()
	f.crowds()
	f.copies()
	f.roles()
	f.same()
	return f.found
}

// Lines returns the sentences of contradictions, each a line.
func Lines(found []Contradiction) string {
	lines := make([]string, 0, len(found))
	for _, c := range found {
		lines = append(lines, c.Text)
	}
	return strings.Join(lines, "\n")
}

// finder is one search.
type finder struct {
	services []spec.Service // that are to run, sorted by name, then their primaries
	real     int            // how many of them are no primaries
	at       map[spec.ServiceName]int
	nodes    []fact.Node           // that run services, sorted by name
	names    []spec.NodeName       // theirs first, then those that place.on names
	index    map[spec.NodeName]int // of names
	links    [][]link              // by service: what must be on the same node
	group    []int                 // by service
	groups   []group
	apart    []pair          // who must not share a node, each pair once
	isApart  map[[2]int]bool // the same
	rules    []rule
	ties     []tie          // where one of the two runs copies
	shares   map[[2]int]tie // the same by groups: who must share a node
	before   *finder        // nil: this is what was before
	found    []Contradiction
	said     map[string]bool
}

// link binds a service to another.
type link struct {
	to   int
	text string
}

// pair is two services that are apart, as a says or both do.
type pair struct {
	a, b int
	near bool // by place.near, not place.apart
}

// tie is the link from a service to one of another group.
type tie struct {
	from, to int
	text     string
}

// group is services that must be on one node, or one that runs copies.
type group struct {
	members []int
	allowed set            // of names: nodes that may run all of them
	needs   map[string]int // of one copy
	hates   set            // of groups; itself, if its own members are apart
	was     int            // the group before that had all of them, -1 if none had
}

// read sorts what services demand.
func read(services []spec.Service, nodes []fact.Node) *finder {
	f := &finder{at: map[spec.ServiceName]int{}, index: map[spec.NodeName]int{}, isApart: map[[2]int]bool{}, shares: map[[2]int]tie{}, said: map[string]bool{}}
	for _, s := range services {
		if !s.Stopped {
			f.services = append(f.services, s)
		}
	}
	slices.SortFunc(f.services, func(a, b spec.Service) int { return strings.Compare(string(a.Name), string(b.Name)) })
	for i, s := range f.services {
		f.at[s.Name] = i
	}
	f.real = len(f.services)
	f.addPrimaries()
	for _, n := range nodes {
		if !n.Witness {
			f.nodes = append(f.nodes, n)
		}
	}
	slices.SortFunc(f.nodes, func(a, b fact.Node) int { return strings.Compare(string(a.Name), string(b.Name)) })
	for _, n := range f.nodes {
		f.name(n.Name)
	}
	for _, s := range f.services {
		for _, n := range s.Place.On {
			f.name(n)
		}
	}
	f.bind()
	f.gather()
	f.part()
	return f
}

func (f *finder) name(n spec.NodeName) {
	if _, known := f.index[n]; !known {
		f.index[n] = len(f.names)
		f.names = append(f.names, n)
	}
}

// once reports whether a service runs once.
func (f *finder) once(i int) bool { return f.services[i].Copies == nil }

// bind finds who must be where another is.
func (f *finder) bind() {
	f.links = make([][]link, len(f.services))
	for i, s := range f.services {
		for _, with := range s.Place.Together {
			if j, ok := f.at[with]; ok && i != j {
				f.link(i, j, string(s.Name)+" is together with "+string(with)+" (place.together)")
			}
		}
	}
	f.readRules()
	for _, r := range f.rules {
		if r.score > 0 && r.same == "" {
			f.link(r.from, r.to, r.text(f))
		}
	}
	for i := f.real; i < len(f.services); i++ {
		f.link(i, f.at[f.of(i)], string(f.services[i].Name)+" is one of its copies")
	}
}

// link notes that two services must share a node. What runs several times binds
// nobody to third ones: each may have a copy of its own.
func (f *finder) link(i, j int, text string) {
	if f.once(i) && f.once(j) {
		f.links[i], f.links[j] = append(f.links[i], link{j, text}), append(f.links[j], link{i, text})
		return
	}
	f.ties = append(f.ties, tie{i, j, text})
}

// gather makes groups of the services that links hold together.
func (f *finder) gather() {
	f.group = make([]int, len(f.services))
	for i := range f.group {
		f.group[i] = -1
	}
	for i := range f.services {
		if f.group[i] >= 0 {
			continue
		}
		g := len(f.groups)
		members := []int{i}
		f.group[i] = g
		for k := 0; k < len(members); k++ {
			for _, l := range f.links[members[k]] {
				if f.group[l.to] < 0 {
					f.group[l.to] = g
					members = append(members, l.to)
				}
			}
		}
		slices.Sort(members)
		f.groups = append(f.groups, group{members: members, was: -1})
	}
	for g := range f.groups {
		f.sum(&f.groups[g])
	}
	for _, t := range f.ties {
		for _, t := range [...]tie{t, {t.to, t.from, t.text}} {
			key := [2]int{f.group[t.from], f.group[t.to]}
			if _, has := f.shares[key]; !has {
				f.shares[key] = t
			}
		}
	}
}

// sum finds where a group may run and what it needs.
func (f *finder) sum(g *group) {
	g.allowed, g.needs = f.anywhere(), map[string]int{}
	joins := false
	for _, i := range g.members {
		s := f.services[i]
		joins = joins || len(s.Place.On) > 0
		f.confine(g.allowed, i)
		for kind, n := range s.Needs {
			g.needs[kind] += n
		}
	}
	if !joins { // only nodes that one of them names may join for them
		for n := len(f.nodes); n < len(f.names); n++ {
			g.allowed.drop(n)
		}
	}
}

func (f *finder) anywhere() set {
	all := newSet(len(f.names))
	for n := range f.names {
		all.add(n)
	}
	return all
}

// confine takes the nodes out of a set that may not run the service.
func (f *finder) confine(to set, i int) {
	place := f.services[i].Place
	if len(place.On) > 0 {
		on := newSet(len(f.names))
		for _, n := range place.On {
			on.add(f.index[n])
		}
		to.keep(on)
	}
	for _, n := range place.Never {
		if k, known := f.index[n]; known {
			to.drop(k)
		}
	}
}

// part finds who must not share a node.
func (f *finder) part() {
	for g := range f.groups {
		f.groups[g].hates = newSet(len(f.groups))
	}
	add := func(i, j int, near bool) {
		key := [2]int{min(i, j), max(i, j)}
		if i == j || f.isApart[key] {
			return
		}
		f.isApart[key] = true
		f.apart = append(f.apart, pair{i, j, near})
		f.groups[f.group[i]].hates.add(f.group[j])
		f.groups[f.group[j]].hates.add(f.group[i])
	}
	for i, s := range f.services {
		for _, from := range s.Place.Apart {
			if j, known := f.at[from]; known {
				add(i, j, false)
			}
		}
	}
	for _, r := range f.rules {
		if r.score < 0 && r.same == "" {
			add(r.from, r.to, true)
		}
	}
}

// groupOf returns the group that has all of the services of another finder, -1 if
// none has.
func (f *finder) groupOf(of *finder, members []int) int {
	g := -1
	for _, i := range members {
		at, known := f.at[of.services[i].Name]
		if !known || g >= 0 && f.group[at] != g {
			return -1
		}
		g = f.group[at]
	}
	return g
}
