package decide

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/core/decide/ground"
	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// wished is the score of a node that an operator asked for. It beats every
// preference and breaks no rule.
const wished = place.Inf / 2

// wishRoles marks the node that an operator wants the primary on, so that a copy
// goes there.
func (p *planner) wishRoles(u *unit) {
	s := u.members[0]
	if !s.Spec.HasRoles() || s.MoveTo == "" {
		return
	}
	if at := slices.IndexFunc(u.candidates, func(c rank.Candidate) bool { return c.Node == s.MoveTo }); at >= 0 {
		u.candidates[at].Add(wished, "an operator's wish")
	}
}

// obeyRoles says what came of an operator's wish to move a service that has
// copies: only its primary can be moved.
func (p *planner) obeyRoles(u *unit) {
	s := u.members[0]
	name := s.Spec.Name
	switch {
	case s.MoveTo == "" && s.MoveFrom == "":
	case !s.Spec.HasRoles():
		u.void(name, fmt.Sprintf("the wish to move %s is void: it runs copies on several nodes", name))
	case s.MoveTo != "" && !u.holds(s.MoveTo):
		u.void(name, fmt.Sprintf("the wish to make %s the primary of %s is void: no copy may run there", s.MoveTo, name))
	case s.MoveTo != "" && held(s, s.MoveTo):
		u.moved(name)
	case s.MoveTo == "" && s.Holder != "" && !held(s, s.MoveFrom) && p.Alive(s.Holder):
		u.moved(name)
	case s.MoveTo == "" && slices.Contains(u.primaries(), s.MoveFrom):
		u.void(name, fmt.Sprintf("the wish to move the primary of %s away from %s is void: no other copy may be primary", name, s.MoveFrom))
	}
}

// held reports whether the node holds a lease of the service.
func held(s fact.Service, node spec.NodeName) bool {
	return s.Holder == node || slices.ContainsFunc(s.Rights, func(r fact.Right) bool { return r.Holder == node })
}

// primaries are the nodes whose copies are to be primary, sorted.
func (u *unit) primaries() []spec.NodeName {
	var out []spec.NodeName
	for _, c := range u.places {
		if c.Role == spec.RolePrimary {
			out = append(out, c.Node)
		}
	}
	return out
}

// primary is the only node whose copy is to be primary, or the first one by name;
// empty if none is.
func (u *unit) primary() spec.NodeName {
	if nodes := u.primaries(); len(nodes) > 0 {
		return nodes[0]
	}
	return ""
}

// primariesNow are the nodes where the service is primary now, or comes to be by
// itself, one for each of its leases; empty for one that nobody has.
func (p *planner) primariesNow(s *fact.Service) []spec.NodeName {
	out := []spec.NodeName{p.Sits(s)}
	for _, r := range s.Rights[:min(len(s.Rights), max(0, s.Spec.Primaries()-1))] {
		one := fact.Service{Holder: r.Holder, Order: slices.DeleteFunc(slices.Clone(r.Order), func(n spec.NodeName) bool { return slices.Contains(out, n) })}
		out = append(out, p.Sits(&one))
	}
	return out
}

// hasRoles reports whether the unit's copies are primary and replicas.
func (u *unit) hasRoles() bool { return u.copies != nil && u.copies.Primaries > 0 }

// loseRoles writes a unit with roles for the loss of nodes, and reports whether its
// primary is on one of them: its other copies stay, and one of them becomes it.
func (p *planner) loseRoles(u *unit, items []place.Item, lost []spec.NodeName) bool {
	p.pin(u, items, lost)
	if !u.hasRoles() || u.left || u.copies.Primaries > 1 || !slices.Contains(lost, u.primary()) {
		return false
	}
	set := &items[u.item].Set
	set.Max, set.PrimaryScore = 0, p.primaryScore(u.members[0], nil)
	for _, c := range items[u.item].Children {
		child := &items[c]
		child.Score = slices.Repeat([]int{-place.Inf}, len(p.Nodes))
		if len(child.State.At) == 0 {
			child.State = place.State{Role: place.Stopped}
			continue
		}
		set.Max++
		n := child.State.At[0]
		child.Score[n] = 0
		child.State = place.State{At: []int{n}, Role: place.Replica}
	}
	return true
}

// promoted is the node whose copy is primary in an outcome, Nowhere if none is.
func (p *planner) promoted(u *unit, placed []place.Placed) int {
	for _, c := range p.problem.Items[u.item].Children {
		if placed[c].Node != place.Nowhere && placed[c].Role == place.Primary {
			return placed[c].Node
		}
	}
	return place.Nowhere
}

// succeedPrimary puts the nodes of a unit with roles into the order in which they
// become primary.
func (p *planner) succeedPrimary(u *unit, followers []follower) {
	first := u.primary()
	if u.left {
		return
	}
	if first == "" {
		u.why = append(u.why, fmt.Sprintf("no copy of %s may be primary", u.name()))
		return
	}
	if u.copies.Primaries > 1 {
		p.succeedPrimaries(u)
		return
	}
	scores := p.primaryScore(u.members[0], nil)
	if !hopeless(followers) {
		u.candidates = p.replicas(u, scores)
	}
	why := p.decided(u, followers)
	u.succession = []spec.NodeName{first}
	u.why = append(u.why, fmt.Sprintf("%s is to be primary of %s", first, u.name()))
	for _, c := range u.candidates {
		u.succession = append(u.succession, c.Node)
		u.why = append(u.why, cmp.Or(why[c.Node], fmt.Sprintf("then %s becomes it", c.Node)))
	}
	u.candidates = nil
}

// replicas are the copies that are not primary, those first that would rather be.
func (p *planner) replicas(u *unit, scores []int) []rank.Candidate {
	var out []rank.Candidate
	for _, c := range u.places {
		if n, known := p.Node(c.Node); known && c.Role != spec.RolePrimary {
			i := p.Index(c.Node)
			out = append(out, rank.Candidate{Node: c.Node, Index: i, Suspect: n.Liveness != fact.Alive, Score: scores[i]})
		}
	}
	slices.SortStableFunc(out, func(a, b rank.Candidate) int {
		return cmp.Or(rank.Yes(!a.Suspect, !b.Suspect), cmp.Compare(b.Score, a.Score), cmp.Compare(a.Node, b.Node))
	})
	return out
}

// succeedPrimaries hands out the leases of several primaries: who has one keeps it.
// The replicas follow on each, on every one another first, so that two primaries
// that are lost at once are followed by two. A node never follows on one lease that
// is to be primary by another.
func (p *planner) succeedPrimaries(u *unit) {
	now, nodes := p.primariesNow(&u.members[0]), u.primaries()
	first := make([]spec.NodeName, u.copies.Primaries)
	var rest []spec.NodeName
	for _, n := range nodes {
		if at := slices.Index(now, n); at >= 0 && at < len(first) {
			first[at] = n
		} else {
			rest = append(rest, n)
		}
	}
	for i := range first {
		if first[i] == "" && len(rest) > 0 {
			first[i], rest = rest[0], rest[1:]
		}
	}
	follow := p.replicas(u, p.primaryScore(u.members[0], nil))
	u.rights = make([][]spec.NodeName, len(first))
	for i, n := range first {
		if n == "" {
			continue
		}
		u.rights[i] = []spec.NodeName{n}
		said := fmt.Sprintf("%s is to be primary %d of %s", n, i+1, u.name())
		for k := range follow {
			u.rights[i] = append(u.rights[i], follow[(i+k)%len(follow)].Node)
		}
		if len(follow) > 0 {
			said += ", followed by " + ground.Names(u.rights[i][1:])
		}
		u.why = append(u.why, said)
	}
	u.succession, u.rights, u.candidates = u.rights[0], u.rights[1:], nil
}

// hopeless reports whether no copy may be primary once the first is lost.
func hopeless(followers []follower) bool {
	return slices.ContainsFunc(followers, func(f follower) bool { return len(f.lost) == 1 && f.to == "" })
}
