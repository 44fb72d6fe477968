package decide

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// spreadScore is what two copies on the same value of the first label of
// place.spread cost; each further label costs a tenth of the one before it.
const spreadScore = -10_000

// compileCopies writes a unit that runs several times: the set, then its copies.
func (p *planner) compileCopies(u *unit) {
	s := u.members[0]
	p.wishRoles(u)
	perNode := max(1, u.copies.PerNode)
	count := u.copies.Count
	if count == 0 {
		count = len(u.candidates) * perNode
	}
	count = max(0, count-p.Held[u.name()].Fewer)
	base := p.item(u)
	where, now := p.copiesNow(&s), []seat(nil)
	if p.sitting != nil {
		now = p.copiesThere(&s)
	}
	if u.left {
		count = len(where) // none is added to what is left as it is
	}
	if len(where) > 0 && !u.stays() {
		base.Priority++
	}
	base.Kind, base.Demand, base.Rank = place.Copies, nil, nil
	base.State = place.State{}
	base.Set = place.Set{Max: count, PerNode: perNode, Unique: u.copies.Unique, Spread: p.spread(s)}
	if u.copies.Primaries > 0 {
		base.Set.Roles, base.Set.Primaries, base.Set.PrimariesPerNode = true, u.copies.Primaries, 1
		base.Set.Promotion = make([]int, len(p.Nodes))
		base.Set.PrimaryScore = p.primaryScore(s, p.seatsOf(&s))
	}
	p.problem.Items = append(p.problem.Items, base)
	for k := range max(count, len(where), len(now)) {
		child := place.Item{
			Name: fmt.Sprintf("%s:%d", s.Spec.Name, k), Parent: u.item, Priority: base.Priority, Demand: u.demand,
			Score: slices.Clone(base.Score), State: place.State{Role: place.Stopped},
		}
		if k < len(where) {
			at := where[k].node
			child.State.At, child.State.Role = []int{at}, where[k].role
			if child.Score[at] > -place.Inf {
				child.Score[at] = place.Sum(child.Score[at], s.Spec.Place.EffectiveStickiness())
			}
			if p.calm || p.Frozen {
				child.Rank = make([]int, len(p.Nodes))
				child.Rank[at] = -1
			}
			if u.left || p.Nodes[at].Maintenance {
				child.State.Unmanaged, child.State.Fixed = true, true
			}
		}
		if k < len(now) {
			p.realAt(len(p.problem.Items), place.State{At: []int{now[k].node}, Role: now[k].role})
		}
		p.problem.Items[u.item].Children = append(p.problem.Items[u.item].Children, len(p.problem.Items))
		p.problem.Items = append(p.problem.Items, child)
	}
}

// primaryScore is what speaks for a primary on each node, with the copies that are
// somewhere now. Without any it does not count who is primary, nor what an operator
// asks for at the moment.
func (p *planner) primaryScore(s fact.Service, seats []action.Copy) []int {
	out := make([]int, len(p.Nodes))
	now := seats != nil
	for i, n := range p.Nodes {
		for _, pref := range s.Spec.Place.Prefer {
			key, value, isLabel := spec.SplitLabel(pref.Label)
			got, has := n.Labels[key]
			if pref.Role == spec.RolePrimary && pref.Holds(p.snapshot.Now) && (pref.Node == n.Name || isLabel && has && got == value) {
				out[i] = place.Sum(out[i], pref.Score)
			}
		}
		if now && slices.Contains(seats, action.Copy{Node: n.Name, Role: spec.RolePrimary}) {
			out[i] = place.Sum(out[i], s.Spec.Place.EffectiveStickiness())
		}
		if now && s.MoveTo == n.Name {
			out[i] = place.Sum(out[i], wished)
		}
		if now && s.MoveFrom == n.Name && s.MoveTo == "" {
			out[i] = place.Sum(out[i], -wished)
		}
	}
	return out
}

// seat is a copy that is somewhere now.
type seat struct {
	node int
	role place.Role
}

// copiesNow lists the copies that are taken to be somewhere while placing, by node.
func (p *planner) copiesNow(s *fact.Service) []seat {
	if p.sitting == nil || p.unitOf[s.Spec.Name].left {
		return p.copiesThere(s)
	}
	var out []seat
	for _, c := range p.sitting[s.Spec.Name] {
		out = append(out, seat{p.Index(c.Node), playing(c.Role)})
	}
	return out
}

// seatsOf is the same in the words of a plan.
func (p *planner) seatsOf(s *fact.Service) []action.Copy { return p.listed(p.copiesNow(s)) }

// listed writes copies as a plan lists them: by node, then by role. It is never nil.
func (p *planner) listed(seats []seat) []action.Copy {
	out := make([]action.Copy, 0, len(seats))
	for _, at := range seats {
		one := action.Copy{Node: p.Nodes[at.node].Name}
		switch at.role {
		case place.Primary:
			one.Role = spec.RolePrimary
		case place.Replica:
			one.Role = spec.RoleReplica
		default:
		}
		out = append(out, one)
	}
	slices.SortStableFunc(out, func(a, b action.Copy) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role))
	})
	return out
}

func playing(r spec.Role) place.Role {
	if r == "" {
		return place.Started
	}
	return roleOf(r)
}

// copiesThere lists the copies that are somewhere: those that run, and those that
// are to be there and have not failed, such as one that waits for another service.
// Of what is left as it is it lists those that failed and on lost nodes too.
func (p *planner) copiesThere(s *fact.Service) []seat {
	var out []seat
	primaries := p.primariesNow(s)
	left := p.unitOf[s.Spec.Name].left
	if left && len(s.Order) > 0 {
		primaries = []spec.NodeName{s.Order[0]}
		for _, r := range s.Rights {
			primaries = append(primaries, r.Order[:min(1, len(r.Order))]...)
		}
	}
	for i, n := range p.Nodes {
		if n.Liveness == fact.Lost && !left {
			continue
		}
		runs, meant, failed := 0, 0, false
		for _, in := range n.Instances {
			if in.Service == s.Spec.Name && n.Liveness != fact.Lost {
				failed = failed || in.Phase == fact.Failed || in.Phase == fact.Stuck
				if running(in) {
					runs++
				}
			}
		}
		for _, at := range s.Copies {
			if at == n.Name && (left || !failed) {
				meant++
			}
		}
		for range max(runs, meant) {
			role := place.Started
			if s.Spec.HasRoles() {
				role = place.Replica
				if slices.Contains(primaries, n.Name) {
					role = place.Primary
				}
			}
			out = append(out, seat{i, role})
		}
	}
	return out
}

// spread keeps copies apart by label.
func (p *planner) spread(s fact.Service) []place.Spread {
	var out []place.Spread
	score := spreadScore
	for _, label := range s.Spec.Place.Spread {
		out = append(out, place.Spread{Score: score, Class: p.Classes(label)})
		score = min(-1, score/10)
	}
	return out
}

// copiesIn is where an outcome puts the copies of a unit, as a plan lists them.
func (p *planner) copiesIn(u *unit, placed []place.Placed) []action.Copy {
	var out []seat
	for _, c := range p.problem.Items[u.item].Children {
		if placed[c].Node != place.Nowhere {
			out = append(out, seat{placed[c].Node, placed[c].Role})
		}
	}
	return p.listed(out)
}

// settleCopies takes over where the engine put the copies.
func (p *planner) settleCopies(u *unit, placed []place.Placed) {
	u.places = p.copiesIn(u, placed)
	for _, one := range u.places {
		p.load[p.Index(one.Node)]++
	}
	want := p.problem.Items[u.item].Set.Max
	u.why = append(u.why, fmt.Sprintf("%s runs %d of %d copies", u.name(), len(u.places), want))
	u.refusals = slices.DeleteFunc(u.refusals, func(r action.Refusal) bool { return u.holds(r.Node) }) // a copy stays under maintenance
	p.obeyRoles(u)
	for _, c := range u.candidates {
		if !u.holds(c.Node) {
			u.refuse(c.Node, "it has its copies elsewhere")
		}
	}
	u.candidates = nil
}
