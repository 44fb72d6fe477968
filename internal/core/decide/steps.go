package decide

import (
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/core/step"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// graph asks the engine what has to be done for the units' places.
func (p *planner) graph() (step.Result, []*unit) {
	q := step.Problem{Place: p.problemNow(), Placed: make([]place.Placed, len(p.problem.Items)), Mays: make([]step.May, len(p.problem.Items))}
	for i := range q.Placed {
		q.Placed[i] = place.Placed{Node: place.Nowhere, Role: place.Stopped}
	}
	for _, n := range p.Nodes {
		q.Nodes = append(q.Nodes, step.Node{Reached: n.Liveness != fact.Lost, Fenced: n.Liveness == fact.Lost})
	}
	owner := make([]*unit, len(p.problem.Items))
	for _, u := range p.units {
		owner[u.item] = u
		if len(u.order) > 0 {
			q.Placed[u.item] = place.Placed{Node: p.Index(u.order[0]), Role: place.Started}
		}
		p.placeCopies(u, q.Placed, owner, q.Place.Items)
	}
	for _, u := range p.units {
		for _, s := range u.members {
			for _, after := range s.Spec.After {
				if first := p.unitOf[after.Service]; first != nil && first != u {
					q.Orders = append(q.Orders, order(first.item, u.item, after))
				}
			}
		}
	}
	q.Orders = append(q.Orders, step.Turns(q)...)
	return step.Plan(q), owner
}

// halt adds to halted the units that cannot start, because what they are after
// cannot, and reports whether there were any that it did not know.
func (p *planner) halt(halted map[spec.ServiceName]string) bool {
	found := false
	add := func(u *unit, why string) {
		if halted[u.name()] == "" && !u.left {
			halted[u.name()], found = why, true
		}
	}
	ordered := false
	for _, u := range p.units {
		for _, s := range u.members {
			for _, after := range s.Spec.After {
				ordered = true
				if !after.Optional && p.unitOf[after.Service] == nil && p.known(after.Service) != nil {
					add(u, fmt.Sprintf("%s is after %s, which is not to run", s.Spec.Name, after.Service))
				}
			}
		}
	}
	if found || !ordered {
		return found
	}
	result, _ := p.graph()
	for _, u := range p.units {
		if len(u.order)+len(u.places) > 0 && !p.runsIn(u, result) {
			add(u, fmt.Sprintf("%s is after a service that cannot run", u.name()))
		}
	}
	return found
}

// runsIn reports whether the unit, or a copy of it, runs when all is done.
func (p *planner) runsIn(u *unit, result step.Result) bool {
	if len(result.Final[u.item]) > 0 {
		return true
	}
	return slices.ContainsFunc(p.problem.Items[u.item].Children, func(c int) bool { return len(result.Final[c]) > 0 })
}

// steps returns what has to be done for the plan, as an ordered graph. A unit's
// step stands for each of its members. Agents follow the succession lists; the
// graph says what that comes to, and in which order it may happen.
func (p *planner) steps() []action.Step {
	result, owner := p.graph()
	var out []action.Step
	old := map[int][]int{} // the indexes that a step has become
	for i, s := range result.Steps {
		if s.Item == place.Nowhere {
			continue
		}
		for _, m := range owner[s.Item].members {
			one := action.Step{Verb: s.Verb.String(), Service: m.Spec.Name, Node: p.Nodes[s.Node].Name, After: slices.Clone(s.After)}
			old[i] = append(old[i], len(out))
			out = append(out, one)
		}
	}
	for i := range out {
		var after []int
		for _, k := range out[i].After {
			after = append(after, old[k]...)
		}
		slices.Sort(after)
		out[i].After = after
	}
	return out
}

// placeCopies hands each copy that runs a place that it has already, if there is
// one, and the others the rest.
func (p *planner) placeCopies(u *unit, placed []place.Placed, owner []*unit, items []place.Item) {
	if u.copies == nil {
		return
	}
	left := slices.Clone(u.places)
	take := func(item int, fits func(action.Copy) bool) {
		at := slices.IndexFunc(left, fits)
		if at < 0 || placed[item].Node != place.Nowhere {
			return
		}
		role := place.Started
		switch left[at].Role {
		case spec.RolePrimary:
			role = place.Primary
		case spec.RoleReplica:
			role = place.Replica
		}
		placed[item] = place.Placed{Node: p.Index(left[at].Node), Role: role}
		left = slices.Delete(left, at, at+1)
	}
	children := items[u.item].Children
	for _, c := range children {
		owner[c] = u
		for _, n := range items[c].State.At {
			take(c, func(o action.Copy) bool { return o.Node == p.Nodes[n].Name })
		}
	}
	for _, c := range children {
		take(c, func(action.Copy) bool { return true })
	}
}

func order(first, then int, a spec.After) step.Order {
	o := step.Order{First: []int{first}, Then: then, FirstDo: step.Start, ThenDo: step.Start, Optional: a.Optional, Symmetric: !a.OneWay}
	if a.Role == spec.RolePrimary {
		o.FirstDo = step.Promote
	}
	return o
}

// realAt keeps where an item is, where it is taken to be elsewhere while placing.
func (p *planner) realAt(item int, state place.State) {
	for len(p.real) <= item {
		p.real = append(p.real, place.State{Role: place.Stopped})
	}
	p.real[item] = state
}

// problemNow is the engine's problem with everything where it is.
func (p *planner) problemNow() place.Problem {
	q := p.problem
	if p.sitting == nil {
		return q
	}
	q.Items = slices.Clone(q.Items)
	for _, u := range p.units {
		if u.left {
			continue
		}
		if u.copies == nil {
			q.Items[u.item].State = place.State{Role: place.Stopped}
			nodes := make([]spec.NodeName, 0, len(u.members))
			for k := range u.members {
				nodes = append(nodes, p.Sits(&u.members[k]))
			}
			p.stand(&q.Items[u.item].State, nodes)
		}
		for _, c := range q.Items[u.item].Children {
			state := &q.Items[c].State
			if *state = (place.State{Role: place.Stopped}); c < len(p.real) {
				*state = p.real[c]
			}
			stays := len(state.At) > 0 && p.Nodes[state.At[0]].Maintenance
			state.Fixed, state.Unmanaged = stays, stays
		}
	}
	return q
}
