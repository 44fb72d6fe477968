package contradict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

const primaryOf = "the primary of "

// addPrimaries adds, for each service with one primary, that primary as one more
// thing that has a place: near and apart may be about it alone.
func (f *finder) addPrimaries() {
	for _, s := range f.services[:f.real] {
		if s.Primaries() == 1 {
			f.at[primaryOf+s.Name] = len(f.services)
			f.services = append(f.services, spec.Service{
				Name: primaryOf + s.Name, Place: spec.Place{On: s.Place.On, Never: s.Place.Never}, Needs: s.Needs,
			})
		}
	}
}

// of returns the service whose primary i is.
func (f *finder) of(i int) spec.ServiceName {
	return spec.ServiceName(strings.TrimPrefix(string(f.services[i].Name), primaryOf))
}

// rule is a place.near that is a rule between two that have a place.
type rule struct {
	from, to, score int
	same            string
}

// readRules reads those of all services.
func (f *finder) readRules() {
	for _, s := range f.services[:f.real] {
		for _, n := range s.Place.Near {
			from, is := f.subject(s.Name, n.As)
			to, also := f.subject(n.Service, n.Role)
			if is && also && from != to && (n.Score >= spec.MaxScore || n.Score <= -spec.MaxScore) {
				f.rules = append(f.rules, rule{from, to, n.Score, n.Same})
			}
		}
	}
}

// subject is what a service, or the one of its copies that has the role, stands for
// here. Of several primaries or replicas each may be elsewhere.
func (f *finder) subject(name spec.ServiceName, role spec.Role) (int, bool) {
	switch role {
	case spec.RolePrimary:
		name = primaryOf + name
	case spec.RoleReplica:
		return 0, false
	}
	i, known := f.at[name]
	return i, known
}

func (r rule) text(f *finder) string {
	what, same := "near", ""
	if r.score < 0 {
		what = "away from"
	}
	if r.same != "" {
		same = ", same " + r.same
	}
	return fmt.Sprintf("%s is to be %s %s (place.near %d%s)", f.services[r.from].Name, what, f.services[r.to].Name, r.score, same)
}

// same finds who is to be within one value of a label, such as a rack, and is not
// to be. On one node is within one value too, if every node there has one.
func (f *finder) same() {
	links := f.links
	for _, label := range f.labels() {
		was := map[[2]spec.ServiceName]bool{}
		for _, r := range f.before.bound(label) {
			was[f.before.both(r)] = true
		}
		for _, r := range f.bound(label) {
			if was[f.both(r)] {
				continue
			}
			f.say(fmt.Sprintf("same %s %d %d", label, min(r.from, r.to), max(r.from, r.to)), func() string {
				f.links = make([][]link, len(links))
				for i := range links {
					f.links[i] = slices.Clone(links[i])
				}
				for _, to := range f.rules {
					if to.same == label && to.score > 0 {
						f.link(to.from, to.to, to.text(f))
					}
				}
				path := way(f.tree(r.to), r.from)
				f.links = links
				return fmt.Sprintf("%s, and %s", some(path, maxLinks, ", ", " links"), r.text(f))
			})
		}
	}
}

// labels are those within whose values somebody is to be away from another, sorted.
func (f *finder) labels() []string {
	var out []string
	for _, r := range f.rules {
		if r.same != "" && r.score < 0 {
			out = append(out, r.same)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// within returns, by group, the first of those that must be within one value of a
// label. Whatever runs several times may be in several.
func (f *finder) within(label string) []int {
	root := make([]int, len(f.groups))
	for g := range root {
		root[g] = g
	}
	find := func(g int) int {
		for root[g] != g {
			root[g] = root[root[g]]
			g = root[g]
		}
		return g
	}
	for _, r := range f.rules {
		if r.same == label && r.score > 0 && f.once(r.from) && f.once(r.to) {
			a, b := find(f.group[r.from]), find(f.group[r.to])
			root[max(a, b)] = min(a, b)
		}
	}
	for g := range root {
		root[g] = find(g)
	}
	return root
}

// bound returns the rules of a label by which two are not to be within one value of
// it that have to be.
func (f *finder) bound(label string) []rule {
	within := f.within(label)
	drawn := map[[2]spec.ServiceName]bool{}
	var out []rule
	for _, r := range f.rules {
		if r.same == label && r.score > 0 {
			drawn[f.both(r)] = true
		}
	}
	for _, r := range f.rules {
		if r.same != label || r.score > 0 || !f.once(r.from) || !f.once(r.to) {
			continue
		}
		a, b := f.group[r.from], f.group[r.to]
		if within[a] == within[b] && (a != b || drawn[f.both(r)] || f.labeled(&f.groups[a], label)) {
			out = append(out, r)
		}
	}
	return out
}

// both are the names of the two that a rule is about, sorted.
func (f *finder) both(r rule) [2]spec.ServiceName {
	a, b := f.services[r.from].Name, f.services[r.to].Name
	return [2]spec.ServiceName{min(a, b), max(a, b)}
}

// labeled reports whether every node that may run a group has the label.
func (f *finder) labeled(g *group, label string) bool {
	for n := g.allowed.after(0); n >= 0; n = g.allowed.after(n + 1) {
		if n >= len(f.nodes) {
			return false // it may join without
		}
		if _, has := f.nodes[n].Labels[label]; !has {
			return false
		}
	}
	return true
}

// roles finds who needs a role of a service that has none, or not that one.
func (f *finder) roles() {
	for i, s := range f.services {
		for _, a := range s.After {
			if why := f.noRole(a.Service, a.Role); why != "" && !a.Optional && !f.before.lacked(s.Name, a.Service, a.Role) {
				f.say(fmt.Sprintf("after %d %s %s", i, a.Service, a.Role), func() string {
					return fmt.Sprintf("%s is after the %s of %s (after), and %s", s.Name, a.Role, a.Service, why)
				})
			}
		}
		for _, n := range s.Place.Near {
			if why := f.noRole(n.Service, n.Role); why != "" && n.Score >= spec.MaxScore && !f.before.lacked(s.Name, n.Service, n.Role) {
				f.say(fmt.Sprintf("near %d %s %s", i, n.Service, n.Role), func() string {
					return fmt.Sprintf("%s is to be near the %s of %s (place.near %d), and %s", s.Name, n.Role, n.Service, n.Score, why)
				})
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

// lacked reports whether a service needed a role before that the other did not have.
func (f *finder) lacked(name, other spec.ServiceName, role spec.Role) bool {
	i, known := f.at[name]
	if !known || f.noRole(other, role) == "" {
		return false
	}
	return slices.ContainsFunc(f.services[i].After, func(a spec.After) bool {
		return a.Service == other && a.Role == role && !a.Optional
	}) || slices.ContainsFunc(f.services[i].Place.Near, func(n spec.Near) bool {
		return n.Service == other && n.Role == role && n.Score >= spec.MaxScore
	})
}

// everywhere finds who is to be apart from what has a copy on every node that may
// run it.
func (f *finder) everywhere() {
	for _, p := range f.apart {
		one, all, is := f.cramped(p.a, p.b)
		if !is || f.before.crampedAlso(f, p) {
			continue
		}
		f.say(fmt.Sprintf("everywhere %d %d", one, all), func() string {
			return fmt.Sprintf("%s, and %s has a copy on every node that may run it (copies.count): %s",
				f.away(p), f.services[all].Name, list(f.nodeNames(f.groups[f.group[all]].allowed)))
		})
	}
}

// cramped reports whether one of two services runs on every node on which the
// other, or what is together with it, may run.
func (f *finder) cramped(a, b int) (one, all int, is bool) {
	for _, p := range [...][2]int{{a, b}, {b, a}} {
		one, all := p[0], p[1]
		if c := f.services[all].Copies; c == nil || c.Count > 0 {
			continue
		}
		mine := slices.Clone(f.groups[f.group[one]].allowed)
		if n := mine.size(); n > 0 {
			mine.keep(f.groups[f.group[all]].allowed)
			if mine.size() == n {
				return one, all, true
			}
		}
	}
	return 0, 0, false
}

// crampedAlso is [finder.cramped] for a pair of the finder after.
func (f *finder) crampedAlso(after *finder, p pair) bool {
	a, is := f.at[after.services[p.a].Name]
	b, also := f.at[after.services[p.b].Name]
	if !is || !also || !f.isApart[[2]int{min(a, b), max(a, b)}] {
		return false
	}
	_, _, cramped := f.cramped(a, b)
	return cramped
}

// covered reports whether a crowd is said already, since one of it is everywhere.
func (f *finder) covered(crowd []int) bool {
	for _, a := range crowd {
		if c := f.services[f.groups[a].members[0]].Copies; c == nil || c.Count > 0 {
			continue
		}
		for _, b := range crowd {
			if _, _, is := f.cramped(f.groups[b].members[0], f.groups[a].members[0]); a != b && is {
				return true
			}
		}
	}
	return false
}
