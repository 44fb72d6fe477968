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
	count = max(0, count-p.held[u.name()].fewer)
	base := p.item(u)
	where := p.copiesNow(s)
	if len(p.kinds) > 0 && len(where) > 0 && !u.stays() {
		base.Priority++
	}
	base.Kind, base.Demand, base.Rank = place.Copies, nil, nil
	base.State = place.State{}
	base.Set = place.Set{Max: count, PerNode: perNode, Unique: u.copies.Unique}
	if u.copies.Primaries > 0 {
		base.Set.Roles, base.Set.Primaries, base.Set.PrimariesPerNode = true, u.copies.Primaries, 1
		base.Set.Promotion = make([]int, len(p.nodes))
		base.Set.PrimaryScore = p.primaryScore(s, true)
	}
	p.problem.Items = append(p.problem.Items, base)
	for k := range max(count, len(where)) {
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
			if u.left || p.nodes[at].Maintenance {
				child.State.Unmanaged = true
			}
		}
		p.problem.Items[u.item].Children = append(p.problem.Items[u.item].Children, len(p.problem.Items))
		p.problem.Items = append(p.problem.Items, child)
	}
	p.spread(s, p.problem.Items[u.item].Children)
}

// primaryScore is what speaks for a primary on each node; now tells whether it
// counts who is primary, and what an operator asks for at the moment.
func (p *planner) primaryScore(s fact.Service, now bool) []int {
	out := make([]int, len(p.nodes))
	primaries := p.primariesNow(&s)
	for i, n := range p.nodes {
		for _, pref := range s.Spec.Place.Prefer {
			key, value, isLabel := spec.SplitLabel(pref.Label)
			got, has := n.Labels[key]
			if pref.Role == spec.RolePrimary && pref.Holds(p.snapshot.Now) && (pref.Node == n.Name || isLabel && has && got == value) {
				out[i] = place.Sum(out[i], pref.Score)
			}
		}
		if now && slices.Contains(primaries, n.Name) {
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

// copiesNow lists the copies that are somewhere, by node: those that run, and
// those that are to be there and have not failed, such as one that waits for
// another service.
func (p *planner) copiesNow(s fact.Service) []seat {
	var out []seat
	primaries := p.primariesNow(&s)
	for i, n := range p.nodes {
		if n.Liveness == fact.Lost {
			continue
		}
		runs, meant, failed := 0, 0, false
		for _, in := range n.Instances {
			if in.Service == s.Spec.Name {
				failed = failed || in.Phase == fact.Failed || in.Phase == fact.Stuck
				if running(in) {
					runs++
				}
			}
		}
		for _, at := range s.Copies {
			if at == n.Name && !failed {
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
func (p *planner) spread(s fact.Service, copies []int) {
	score := spreadScore
	for _, label := range s.Spec.Place.Spread {
		classes := p.classes(label)
		for i, a := range copies {
			for _, b := range copies[i+1:] {
				p.problem.Pulls = append(p.problem.Pulls, place.Pull{Item: a, With: b, Score: score, Class: classes, Mutual: true})
			}
		}
		score = min(-1, score/10)
	}
}

// settleCopies takes over where the engine put the copies.
func (p *planner) settleCopies(u *unit, placed []place.Placed) {
	for _, c := range p.problem.Items[u.item].Children {
		if placed[c].Node == place.Nowhere {
			continue
		}
		one := action.Copy{Node: p.nodes[placed[c].Node].Name}
		switch placed[c].Role {
		case place.Primary:
			one.Role = spec.RolePrimary
		case place.Replica:
			one.Role = spec.RoleReplica
		default:
		}
		u.places = append(u.places, one)
		p.load[one.Node]++
	}
	slices.SortStableFunc(u.places, func(a, b action.Copy) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role))
	})
	want := p.problem.Items[u.item].Set.Max
	u.why = append(u.why, fmt.Sprintf("%s runs %d of %d copies", u.name(), len(u.places), want))
	p.obeyRoles(u)
	for _, c := range u.candidates {
		if !u.holds(c.node) {
			u.refuse(c.node, "it has its copies elsewhere")
		}
	}
	u.candidates = nil
}
