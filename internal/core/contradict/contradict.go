// Package contradict finds what the services of a cell demand that cannot all be,
// before anything is placed by it.
//
// Its main rule is that only what a change of specs makes new, or worse, counts
// against the change: a node that leaves or is drained may leave contradictions
// behind, and they must not stand in the way of the next apply. Each one names
// every link of the way that leads to it.
//
// The package is pure. It finds what no placement could ever satisfy: services
// that are to be together and apart, have no node in common, need more than any
// node or the whole cell has. It does not search all placements, so that specs
// without a finding may still have none.
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

// Contradiction is one thing that cannot be.
type Contradiction struct {
	// Key tells it apart from others, whatever its numbers are, and Size says how
	// bad it is, where that can be said.
	Key  string
	Size int
	// Text is a sentence without a full stop that names every link of the way.
	Text string
}

// New returns what after demands that cannot be and that before did not demand,
// or not as much, in a defined order. Services that are stopped demand nothing.
// The nodes are those of the cell, whatever their state.
func New(before, after []spec.Service, nodes []fact.Node) []Contradiction {
	known := make(map[string]int)
	for _, c := range find(before, nodes) {
		known[c.Key] = c.Size
	}
	return slices.DeleteFunc(find(after, nodes), func(c Contradiction) bool {
		size, was := known[c.Key]
		return was && size >= c.Size
	})
}

// Unknown returns what a service says of nodes that the cell does not have, as
// sentences: it counts once they join.
func Unknown(s spec.Service, nodes []fact.Node) []string {
	has := func(name spec.NodeName) bool {
		return slices.ContainsFunc(nodes, func(n fact.Node) bool { return n.Name == name })
	}
	var out []string
	say := func(path string, name spec.NodeName) {
		if !has(name) {
			out = append(out, fmt.Sprintf("%s: the cell has no node %q yet: it counts once that node joins", path, string(name)))
		}
	}
	for i, n := range s.Place.On {
		say(fmt.Sprintf("place.on[%d]", i), n)
	}
	for i, n := range s.Place.Never {
		say(fmt.Sprintf("place.never[%d]", i), n)
	}
	for i, p := range s.Place.Prefer {
		if p.Node != "" {
			say(fmt.Sprintf("place.prefer[%d].node", i), p.Node)
		}
	}
	return out
}

// finder is one search.
type finder struct {
	services []spec.Service // that are to run, sorted by name
	at       map[spec.ServiceName]int
	nodes    []fact.Node // that run services, sorted by name
	links    [][]link    // by service: what must be on the same node
	group    []int       // by service: the first of those that must be on one node
	found    []Contradiction
	primary  map[spec.ServiceName]int // of services with one primary: that, among services
}

// link binds a service to another.
type link struct {
	to   int
	text string
}

func find(services []spec.Service, nodes []fact.Node) []Contradiction {
	f := &finder{at: make(map[spec.ServiceName]int)}
	for _, s := range services {
		if !s.Stopped {
			f.services = append(f.services, s)
		}
	}
	slices.SortFunc(f.services, func(a, b spec.Service) int { return strings.Compare(string(a.Name), string(b.Name)) })
	for i, s := range f.services {
		f.at[s.Name] = i
	}
	for _, n := range nodes {
		if !n.Witness {
			f.nodes = append(f.nodes, n)
		}
	}
	slices.SortFunc(f.nodes, func(a, b fact.Node) int { return strings.Compare(string(a.Name), string(b.Name)) })
	f.addPrimaries()
	f.bind()
	f.together()
	f.rooms()
	f.crowds()
	f.primaries()
	f.roles()
	f.everywhere()
	f.same()
	return f.found
}

func (f *finder) say(key string, size int, format string, args ...any) {
	if !slices.ContainsFunc(f.found, func(c Contradiction) bool { return c.Key == key }) {
		f.found = append(f.found, Contradiction{Key: key, Size: size, Text: fmt.Sprintf(format, args...)})
	}
}

// once reports whether the service is known, runs once and is to run.
func (f *finder) once(name spec.ServiceName) (int, bool) {
	i, known := f.at[name]
	return i, known && f.services[i].Copies == nil
}

// bind finds who must be where another is. What runs several times binds nobody:
// each may have a copy of its own.
func (f *finder) bind() {
	f.links, f.group = make([][]link, len(f.services)), make([]int, len(f.services))
	both := func(i, j int, text string) {
		f.links[i], f.links[j] = append(f.links[i], link{j, text}), append(f.links[j], link{i, text})
	}
	for i, s := range f.services {
		if s.Copies != nil {
			continue
		}
		for _, with := range s.Place.Together {
			if j, ok := f.once(with); ok && i != j {
				both(i, j, fmt.Sprintf("%s is together with %s (place.together)", s.Name, with))
			}
		}
	}
	for _, s := range f.services {
		for _, r := range f.rules(s) {
			if r.Score > 0 && r.Same == "" {
				both(r.from, r.to, r.text)
			}
		}
	}
	for i := range f.group {
		f.group[i] = -1
	}
	for i := range f.services {
		if f.group[i] >= 0 {
			continue
		}
		for queue := []int{i}; len(queue) > 0; queue = queue[1:] {
			if f.group[queue[0]] >= 0 {
				continue
			}
			f.group[queue[0]] = i
			for _, l := range f.links[queue[0]] {
				queue = append(queue, l.to)
			}
		}
	}
}

// way returns the links that lead from one service to another of its group.
func (f *finder) way(from, to int) []string {
	came := map[int]link{from: {to: -1}}
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		for _, l := range f.links[queue[0]] {
			if _, seen := came[l.to]; !seen {
				came[l.to] = link{queue[0], l.text}
				queue = append(queue, l.to)
			}
		}
	}
	var out []string
	for at := to; at != from; at = came[at].to {
		out = append(out, came[at].text)
	}
	slices.Reverse(out)
	return out
}

// members returns the services of the group that begins with the service i.
func (f *finder) members(i int) []int {
	var out []int
	for j := range f.services {
		if f.group[j] == i {
			out = append(out, j)
		}
	}
	return out
}

// apart calls use for every two services that must not share a node.
func (f *finder) apart(use func(i, j int, text string)) {
	for i, s := range f.services {
		if s.Copies != nil {
			continue
		}
		for _, from := range s.Place.Apart {
			if j, ok := f.once(from); ok && i != j {
				use(i, j, fmt.Sprintf("%s is apart from %s (place.apart)", s.Name, from))
			}
		}
	}
	for _, s := range f.services {
		for _, r := range f.rules(s) {
			if r.Score < 0 && r.Same == "" {
				use(r.from, r.to, r.text)
			}
		}
	}
}

// together finds who is to be on one node and cannot.
func (f *finder) together() {
	f.apart(func(i, j int, text string) {
		if f.group[i] != f.group[j] {
			return
		}
		a, b := min(i, j), max(i, j)
		f.say(fmt.Sprintf("apart %s %s", f.services[a].Name, f.services[b].Name), 0, "%s, and %s", strings.Join(f.way(j, i), ", "), text)
	})
	for i := range f.services {
		if members := f.members(i); len(members) > 0 && (len(members) > 1 || !f.isPrimary(i)) && len(f.allowed(members...)) == 0 && len(f.nodes) > 0 {
			f.homeless(members)
		}
	}
}

// homeless says why services that are to be on one node have none in common: two
// of them, if two are enough.
func (f *finder) homeless(members []int) {
	for k, i := range members {
		for _, j := range members[k:] {
			if len(f.allowed(i, j)) > 0 {
				continue
			}
			said := append(f.way(i, j), f.confined(i))
			if i != j {
				said = append(said, f.confined(j))
			}
			f.say(fmt.Sprintf("homeless %s %s", f.services[i].Name, f.services[j].Name), 0,
				"%s: no node is left", strings.Join(said, ", and "))
			return
		}
	}
	said := f.ties(members)
	for _, i := range members {
		if text := f.confined(i); text != "" {
			said = append(said, text)
		}
	}
	f.say("homeless "+f.names(members), 0, "%s: no node is left for all of them", strings.Join(said, ", and "))
}

// ties are the links that hold a group together.
func (f *finder) ties(members []int) []string {
	var out []string
	for _, i := range members[1:] {
		for _, text := range f.way(members[0], i) {
			if !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}

func (f *finder) names(members []int) string {
	var list []string
	for _, i := range members {
		list = append(list, string(f.services[i].Name))
	}
	return strings.Join(list, ", ")
}

// confined says where a service may run, empty if anywhere.
func (f *finder) confined(i int) string {
	s, said := f.services[i], []string{}
	if len(s.Place.On) > 0 {
		said = append(said, fmt.Sprintf("may run only on %s (place.on)", list(s.Place.On)))
	}
	if len(s.Place.Never) > 0 {
		said = append(said, fmt.Sprintf("may not run on %s (place.never)", list(s.Place.Never)))
	}
	if len(said) == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s", s.Name, strings.Join(said, " and "))
}

func list[T ~string](names []T) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}

// allowed returns the nodes that may run all of the services, sorted: of the cell,
// and of those that place.on names and that may join.
func (f *finder) allowed(services ...int) []spec.NodeName {
	all := map[spec.NodeName]bool{}
	for _, n := range f.nodes {
		all[n.Name] = true
	}
	for _, i := range services {
		for _, n := range f.services[i].Place.On {
			all[n] = true
		}
	}
	for _, i := range services {
		place := f.services[i].Place
		maps.DeleteFunc(all, func(n spec.NodeName, _ bool) bool {
			return len(place.On) > 0 && !slices.Contains(place.On, n) || slices.Contains(place.Never, n)
		})
	}
	return slices.Sorted(maps.Keys(all))
}

// rooms finds what needs more than any node has, or than the cell has.
func (f *finder) rooms() {
	kinds := map[string]int{} // what the whole cell has
	for _, n := range f.nodes {
		for label := range n.Labels {
			if kind, is := strings.CutPrefix(label, spec.CapacityLabel+"/"); is {
				kinds[kind] += capacity(n, kind)
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		total := 0
		for i := range f.services {
			members := f.members(i)
			need := 0
			for _, j := range members {
				one := f.services[j].Needs[kind]
				need += one
				if k := f.services[j].Copies; k != nil {
					one *= max(1, k.Count)
				}
				if !f.isPrimary(j) {
					total += one
				}
			}
			f.tooBig(members, kind, need)
		}
		if missing := total - kinds[kind]; missing > 0 {
			f.say("total "+kind, missing, "all services together need %d of %s, and the nodes of the cell have %d: %d missing",
				total, kind, kinds[kind], missing)
		}
	}
}

func capacity(n fact.Node, kind string) int {
	v, err := strconv.Atoi(n.Labels[spec.CapacityLabel+"/"+kind])
	if err != nil {
		return 0
	}
	return v
}

// tooBig says so if no node that may run the services has what they need.
func (f *finder) tooBig(members []int, kind string, need int) {
	if need == 0 {
		return
	}
	most := 0
	for _, name := range f.allowed(members...) {
		at := slices.IndexFunc(f.nodes, func(n fact.Node) bool { return n.Name == name })
		if at < 0 {
			return // it may join with as much
		}
		most = max(most, capacity(f.nodes[at], kind))
	}
	if need <= most {
		return
	}
	who := f.names(members) + " needs"
	if len(members) > 1 {
		who = fmt.Sprintf("%s: %s need", strings.Join(f.ties(members), ", "), f.names(members))
	}
	f.say(fmt.Sprintf("big %s %s", kind, f.names(members)), need-most,
		"%s %d of %s, and no node that may run it has more than %d: %d missing", who, need, kind, most, need-most)
}

// crowds finds services that are all apart from each other and more than the nodes
// that may run them. It does not look at every such set.
func (f *finder) crowds() {
	hates := make(map[int]map[int]bool)
	add := func(a, b int) {
		if hates[a] == nil {
			hates[a] = map[int]bool{}
		}
		hates[a][b] = true
	}
	f.apart(func(i, j int, _ string) {
		if a, b := f.group[i], f.group[j]; a != b {
			add(a, b)
			add(b, a)
		}
	})
	for _, i := range slices.Sorted(maps.Keys(hates)) {
		crowd := []int{i}
		for _, j := range slices.Sorted(maps.Keys(hates[i])) {
			if !slices.ContainsFunc(crowd, func(k int) bool { return !hates[k][j] }) {
				crowd = append(crowd, j)
			}
		}
		slices.Sort(crowd)
		room := map[spec.NodeName]bool{}
		for _, k := range crowd {
			for _, n := range f.allowed(f.members(k)...) {
				room[n] = true
			}
		}
		if len(room) > 0 && len(crowd) > len(room) {
			f.say("crowd "+f.names(crowd), len(crowd)-len(room), "%s are all apart from each other (place.apart), and only %d nodes may run them: %s",
				f.names(crowd), len(room), list(slices.Sorted(maps.Keys(room))))
		}
	}
}

// primaries finds services that are to have more primaries than nodes.
func (f *finder) primaries() {
	for i, s := range f.services {
		if s.Copies == nil || s.Copies.Primaries == 0 {
			continue
		}
		if nodes := f.allowed(i); len(nodes) > 0 && s.Copies.Primaries > len(nodes) {
			f.say("primaries "+string(s.Name), s.Copies.Primaries-len(nodes), "%s is to have %d primaries (copies.primaries), and only %d nodes may run it: %s",
				s.Name, s.Copies.Primaries, len(nodes), list(nodes))
		}
	}
}
