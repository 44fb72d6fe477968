package contradict

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// addPrimaries adds, for each service with one primary, that primary as one more
// thing that has a place: near and apart may be about it alone.
func (f *finder) addPrimaries() {
	f.primary = map[spec.ServiceName]int{}
	for _, s := range f.services {
		if s.Primaries() != 1 {
			continue
		}
		f.primary[s.Name] = len(f.services)
		f.services = append(f.services, spec.Service{
			Name: "the primary of " + s.Name, Place: spec.Place{On: s.Place.On, Never: s.Place.Never}, Needs: s.Needs,
		})
	}
}

// isPrimary reports whether i is a primary that [finder.addPrimaries] added: its
// needs are those of a copy that is counted already.
func (f *finder) isPrimary(i int) bool {
	for _, at := range f.primary {
		if at == i {
			return true
		}
	}
	return false
}

// subject is what a service, or the one of its copies that has the role, stands for
// here: something that is on one node.
func (f *finder) subject(name spec.ServiceName, role spec.Role) (int, bool) {
	if role == spec.RolePrimary {
		i, is := f.primary[name]
		return i, is
	}
	if role != "" {
		return 0, false
	}
	return f.once(name)
}

// rule is a place.near that is a rule between two subjects.
type rule struct {
	from, to int
	spec.Near
	text string
}

// rules are those of a service.
func (f *finder) rules(s spec.Service) []rule {
	var out []rule
	for _, n := range s.Place.Near {
		from, is := f.subject(s.Name, n.As)
		to, also := f.subject(n.Service, n.Role)
		if !is || !also || from == to || n.Score < spec.MaxScore && n.Score > -spec.MaxScore {
			continue
		}
		what := "near"
		if n.Score < 0 {
			what = "away from"
		}
		text := fmt.Sprintf("%s is to be %s %s (place.near %d)", f.services[from].Name, what, f.services[to].Name, n.Score)
		if n.Same != "" {
			text = strings.TrimSuffix(text, ")") + ", same " + n.Same + ")"
		}
		out = append(out, rule{from, to, n, text})
	}
	return out
}

// same finds who is to be within one value of a label, such as a rack, and is not
// to be. On one node is within one value too, if every node there has one.
func (f *finder) same() {
	within := map[string][]rule{}
	for _, s := range f.services {
		for _, r := range f.rules(s) {
			if r.Same != "" {
				within[r.Same] = append(within[r.Same], r)
			}
		}
	}
	nodes := f.links
	for _, label := range slices.Sorted(maps.Keys(within)) {
		rules := within[label]
		f.links = make([][]link, len(nodes))
		for i := range nodes {
			f.links[i] = slices.Clone(nodes[i])
		}
		for _, r := range rules {
			if r.Score > 0 {
				f.links[r.from] = append(f.links[r.from], link{r.to, r.text})
				f.links[r.to] = append(f.links[r.to], link{r.from, r.text})
			}
		}
		for _, r := range rules {
			if r.Score > 0 || !f.reaches(r.to, r.from) {
				continue
			}
			way := f.way(r.to, r.from)
			if !slices.ContainsFunc(way, func(text string) bool { return strings.Contains(text, ", same "+label+")") }) && !f.labeled(r.from, label) {
				continue
			}
			a, b := min(r.from, r.to), max(r.from, r.to)
			f.say(fmt.Sprintf("same %s %s %s", label, f.services[a].Name, f.services[b].Name), 0, "%s, and %s", strings.Join(way, ", "), r.text)
		}
	}
	f.links = nodes
}

// reaches reports whether links lead from one to another.
func (f *finder) reaches(from, to int) bool {
	seen := map[int]bool{from: true}
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		for _, l := range f.links[queue[0]] {
			if !seen[l.to] {
				seen[l.to] = true
				queue = append(queue, l.to)
			}
		}
	}
	return seen[to]
}

// labeled reports whether every node that may run it has the label.
func (f *finder) labeled(i int, label string) bool {
	for _, name := range f.allowed(i) {
		at := -1
		for k, n := range f.nodes {
			if n.Name == name {
				at = k
			}
		}
		if at < 0 {
			return false // it may join without
		}
		if _, has := f.nodes[at].Labels[label]; !has {
			return false
		}
	}
	return true
}

// roles finds who needs a role of a service that has none, or not that one.
func (f *finder) roles() {
	for _, s := range f.services {
		for _, a := range s.After {
			if why := f.noRole(a.Service, a.Role); why != "" && !a.Optional {
				f.say(fmt.Sprintf("role after %s %s", s.Name, a.Service), 0, "%s is after the %s of %s (after), and %s", s.Name, a.Role, a.Service, why)
			}
		}
		for _, n := range s.Place.Near {
			if why := f.noRole(n.Service, n.Role); why != "" && n.Score >= spec.MaxScore {
				f.say(fmt.Sprintf("role near %s %s", s.Name, n.Service), 0, "%s is to be near the %s of %s (place.near %d), and %s", s.Name, n.Role, n.Service, n.Score, why)
			}
		}
	}
}

// noRole says why no copy of a service ever has the role; empty if one may.
func (f *finder) noRole(name spec.ServiceName, role spec.Role) string {
	i, known := f.at[name]
	if !known || role == "" {
		return ""
	}
	s := f.services[i]
	switch {
	case !s.HasRoles():
		return fmt.Sprintf("%s has no roles (copies.primaries)", name)
	case role == spec.RoleReplica && s.Copies.Count == s.Copies.Primaries:
		return fmt.Sprintf("all %d copies of %s are primary (copies)", s.Copies.Count, name)
	}
	return ""
}

// everywhere finds who is to be apart from what has a copy on every node that may
// run it.
func (f *finder) everywhere() {
	look := func(one, all spec.ServiceName, text string) {
		i, is := f.once(one)
		j, known := f.at[all]
		if !is || !known || f.services[j].Copies == nil || f.services[j].Copies.Count > 0 {
			return
		}
		theirs, mine := f.allowed(j), f.allowed(i)
		if len(mine) == 0 || slices.ContainsFunc(mine, func(n spec.NodeName) bool { return !slices.Contains(theirs, n) }) {
			return
		}
		f.say(fmt.Sprintf("everywhere %s %s", one, all), 0, "%s, and %s has a copy on every node that may run it (copies.count): %s", text, all, list(theirs))
	}
	for _, s := range f.services {
		for _, other := range s.Place.Apart {
			text := fmt.Sprintf("%s is apart from %s (place.apart)", s.Name, other)
			look(s.Name, other, text)
			look(other, s.Name, text)
		}
		for _, n := range s.Place.Near {
			if n.Score <= -spec.MaxScore && n.Same == "" && n.Role == "" && n.As == "" {
				look(s.Name, n.Service, fmt.Sprintf("%s is to be away from %s (place.near %d)", s.Name, n.Service, n.Score))
			}
		}
	}
}
