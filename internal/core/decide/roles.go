package decide

import (
	"cmp"
	"fmt"
	"slices"

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
	case s.MoveTo != "" && s.Holder == s.MoveTo:
		u.moved(name)
	case s.MoveTo == "" && s.Holder != "" && s.Holder != s.MoveFrom && p.Alive(s.Holder):
		u.moved(name)
	case s.MoveTo == "" && u.primary() == s.MoveFrom:
		u.void(name, fmt.Sprintf("the wish to move the primary of %s away from %s is void: no other copy may be primary", name, s.MoveFrom))
	}
}

// primary is the node whose copy is to be primary, empty if none is.
func (u *unit) primary() spec.NodeName {
	for _, c := range u.places {
		if c.Role == spec.RolePrimary {
			return c.Node
		}
	}
	return ""
}

// hasRoles reports whether the unit's copies are primary and replicas.
func (u *unit) hasRoles() bool { return u.copies != nil && u.copies.Primaries > 0 }

// loseRoles writes a unit with roles for the loss of nodes, and reports whether its
// primary is on one of them: its other copies stay, and one of them becomes it.
func (p *planner) loseRoles(u *unit, items []place.Item, lost []spec.NodeName) bool {
	p.pin(u, items, lost)
	if !u.hasRoles() || u.left || !slices.Contains(lost, u.primary()) {
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
	scores := p.primaryScore(u.members[0], nil)
	var rest []rank.Candidate
	for _, c := range u.places {
		if n, known := p.Node(c.Node); known && c.Node != first && !hopeless(followers) {
			i := p.Index(c.Node)
			rest = append(rest, rank.Candidate{Node: c.Node, Index: i, Suspect: n.Liveness != fact.Alive, Score: scores[i]})
		}
	}
	slices.SortStableFunc(rest, func(a, b rank.Candidate) int {
		return cmp.Or(yes(!a.Suspect, !b.Suspect), cmp.Compare(b.Score, a.Score), cmp.Compare(a.Node, b.Node))
	})
	u.candidates = rest
	why := p.decided(u, followers)
	u.succession = []spec.NodeName{first}
	u.why = append(u.why, fmt.Sprintf("%s is to be primary of %s", first, u.name()))
	for _, c := range u.candidates {
		u.succession = append(u.succession, c.Node)
		u.why = append(u.why, cmp.Or(why[c.Node], fmt.Sprintf("then %s becomes it", c.Node)))
	}
	u.candidates = nil
}

// hopeless reports whether no copy may be primary once the first is lost.
func hopeless(followers []follower) bool {
	return slices.ContainsFunc(followers, func(f follower) bool { return len(f.lost) == 1 && f.to == "" })
}
