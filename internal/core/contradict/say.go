package contradict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// A sentence names this many links of a way, and this many names of one kind, and
// how many more there are.
const (
	maxLinks = 12
	maxNames = 8
)

// some joins the first words of a list.
func some(words []string, most int, between, what string) string {
	if len(words) <= most {
		return strings.Join(words, between)
	}
	return fmt.Sprintf("%s and %d more%s", strings.Join(words[:most], between), len(words)-most, what)
}

func list[T ~string](names []T) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return some(words, maxNames, ", ", "")
}

func (f *finder) nodeNames(of set) []spec.NodeName {
	var out []spec.NodeName
	for n := of.after(0); n >= 0; n = of.after(n + 1) {
		out = append(out, f.names[n])
	}
	slices.Sort(out)
	return out
}

func (f *finder) serviceNames(members []int) string {
	names := make([]spec.ServiceName, 0, len(members))
	for _, i := range members {
		names = append(names, f.services[i].Name)
	}
	return list(names)
}

// tree finds the shortest ways from one service to all of its group: by service,
// the link that leads to it.
func (f *finder) tree(from int) map[int]link {
	came := map[int]link{from: {to: -1}}
	queue := []int{from}
	for k := 0; k < len(queue); k++ {
		for _, l := range f.links[queue[k]] {
			if _, seen := came[l.to]; !seen {
				came[l.to] = link{queue[k], l.text}
				queue = append(queue, l.to)
			}
		}
	}
	return came
}

// way returns the links of a tree that lead from its root to a service.
func way(tree map[int]link, to int) []string {
	var out []string
	for at := to; tree[at].to >= 0; at = tree[at].to {
		out = append(out, tree[at].text)
	}
	slices.Reverse(out)
	return out
}

// between are the links between some services of a group, each once.
func (f *finder) between(members []int) []string {
	tree := f.tree(members[0])
	seen := map[int]bool{members[0]: true}
	var out []string
	for _, i := range members[1:] {
		from := len(out)
		for at := i; !seen[at]; at = tree[at].to {
			seen[at] = true
			out = append(out, tree[at].text)
		}
		slices.Reverse(out[from:])
	}
	return out
}

// quarrel says why two services are to share a node, and not.
func (f *finder) quarrel(p pair) string {
	a, b := f.group[p.a], f.group[p.b]
	var links []string
	if a == b {
		links = way(f.tree(p.b), p.a)
	} else {
		t := f.shares[[2]int{a, b}]
		links = append(append(f.between([]int{p.a, t.from}), t.text), f.between([]int{t.to, p.b})...)
	}
	return fmt.Sprintf("%s, and %s", some(links, maxLinks, ", ", " links"), f.away(p))
}

// away says that two services are apart.
func (f *finder) away(p pair) string {
	said := "%s is apart from %s (place.apart)"
	if p.near {
		said = "%s is to be away from %s (place.near -1000000)"
	}
	return fmt.Sprintf(said, f.services[p.a].Name, f.services[p.b].Name)
}

// homeless says why services that are to be on one node have none in common: two
// of them, if two are enough.
func (f *finder) homeless(members []int) string {
	may := make([]set, len(members))
	for k, i := range members {
		may[k] = f.anywhere()
		f.confine(may[k], i)
	}
	for k, i := range members {
		for l := k; l < len(members); l++ {
			if f.possible(may[k], may[l], members[k], members[l]) {
				continue
			}
			said := []string{f.confined(i)}
			if k != l {
				links := some(way(f.tree(i), members[l]), maxLinks, ", and ", " links")
				said = []string{links, f.confined(i), f.confined(members[l])}
			}
			said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
			return fmt.Sprintf("%s: no node is left", strings.Join(said, ", and "))
		}
	}
	return f.crossed(members, may)
}

// possible reports whether two services have a node in common.
func (f *finder) possible(a, b set, i, j int) bool {
	if len(f.services[i].Place.On) > 0 || len(f.services[j].Place.On) > 0 {
		return a.meets(b)
	}
	present := newSet(len(f.names))
	for n := range f.nodes {
		present.add(n)
	}
	present.keep(a)
	return present.meets(b)
}

// crossed says why more than two services have no node in common, by as few of
// them as leave none in the order of their names.
func (f *finder) crossed(members []int, may []set) string {
	left, size := f.anywhere(), len(f.names)+1
	var few []int
	var confined []string
	for k, i := range members {
		left.keep(may[k])
		if n := left.size(); n < size && f.confined(i) != "" {
			few, size = append(few, i), n
			confined = append(confined, f.confined(i))
		}
	}
	return fmt.Sprintf("%s, and %s: no node is left for all of them",
		some(f.between(few), maxLinks, ", and ", " links"), some(confined, maxNames, ", and ", ""))
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

// tooBig says that no node that may run a group has what it needs.
func (f *finder) tooBig(g *group, kind string, missing, most int) string {
	who := f.serviceNames(g.members) + " needs"
	if len(g.members) > 1 {
		who = fmt.Sprintf("%s: %s need", some(f.between(g.members), maxLinks, ", ", " links"), f.serviceNames(g.members))
	}
	return fmt.Sprintf("%s %d of %s, and no node that may run it has more than %d: %d missing", who, g.needs[kind], kind, most, missing)
}

// crowd says who is apart from whom, and which nodes there are.
func (f *finder) crowd(crowd []int, room set) string {
	var who []string
	for _, g := range crowd {
		text := f.serviceNames(f.groups[g].members)
		if c := f.services[f.groups[g].members[0]].Copies; c != nil && c.Count == 0 {
			text += " (a copy on every node)"
		} else if c != nil {
			text += fmt.Sprintf(" (%d copies)", c.Count)
		}
		who = append(who, text)
	}
	return fmt.Sprintf("%s are all apart from each other (place.apart), and only %d nodes may run them: %s",
		some(who, maxNames, ", ", ""), room.size(), list(f.nodeNames(room)))
}
