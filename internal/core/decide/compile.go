package decide

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// compile writes the units in the engine's language.
func (p *planner) compile() {
	p.kinds = p.capacityKinds()
	p.problem = place.Problem{
		Ties: []place.Tie{place.ByStay, place.ByCrowd, place.ByRoom, place.ByLoad, place.ByNaming},
		Heed: len(p.kinds) > 0, Soft: true, Explain: true, MandatoryFirst: true, Keep: true,
		Items: make([]place.Item, 0, len(p.units)),
	}
	for i := range p.Nodes {
		p.problem.Nodes = append(p.problem.Nodes, place.Node{Name: string(p.Nodes[i].Name), Open: true, Room: p.room(&p.Nodes[i])})
	}
	for _, u := range p.units {
		u.item = len(p.problem.Items)
		u.demand = p.demand(u)
		if u.copies != nil {
			p.compileCopies(u)
			continue
		}
		p.wish(u)
		p.problem.Items = append(p.problem.Items, p.item(u))
	}
	for _, u := range p.units {
		p.compilePulls(u)
	}
}

// absent returns an item that stands for a service that is known and stopped: it runs
// nowhere, as one does that has no home. Nowhere: the service is not known or is being
// deleted, and does not count.
func (p *planner) absent(name spec.ServiceName) int {
	if !p.counts(name) {
		return place.Nowhere
	}
	p.problem.Items = append(p.problem.Items, place.Item{
		Name: string(name), Parent: place.Nowhere, Score: slices.Repeat([]int{-place.Inf}, len(p.Nodes)),
		State: place.State{Role: place.Stopped, Fixed: true},
	})
	return len(p.problem.Items) - 1
}

// stays reports whether the unit is on a node where it may run.
func (u *unit) stays() bool {
	return slices.ContainsFunc(u.candidates, func(c rank.Candidate) bool { return c.Sitting > 0 })
}

// capacityKinds returns the kinds of unit that are needed and that some node
// has, sorted. What no node knows of bounds nothing.
func (p *planner) capacityKinds() []string {
	known, needed := p.Kinds(), map[string]bool{}
	for _, u := range p.units {
		for k := range u.members {
			for kind := range u.members[k].Spec.Needs {
				needed[kind] = known[kind]
			}
		}
	}
	maps.DeleteFunc(needed, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(needed))
}

func (p *planner) room(n *fact.Node) []int {
	out := make([]int, len(p.kinds))
	for i, kind := range p.kinds {
		if v, err := strconv.Atoi(n.Labels[spec.CapacityLabel+"/"+kind]); err == nil {
			out[i] = v
		}
		for _, name := range p.stuck[n.Name] { // it needs its room, wherever it is to be
			if s := p.known(name); s != nil && !p.leftOn(s, n.Name) {
				out[i] -= s.Spec.Needs[kind]
			}
		}
	}
	return out
}

// leftOn reports whether a service is left as it is on that node, and has its room
// there by that.
func (p *planner) leftOn(s *fact.Service, node spec.NodeName) bool {
	switch u := p.unitOf[s.Spec.Name]; {
	case u == nil || !u.left:
		return false
	case u.copies != nil:
		return slices.Contains(s.Copies, node)
	}
	return p.Home(s) == node
}

func (p *planner) demand(u *unit) []int {
	if len(p.kinds) == 0 {
		return nil
	}
	out := make([]int, len(p.kinds))
	for m := range u.members {
		for i, kind := range p.kinds {
			out[i] += u.members[m].Spec.Needs[kind]
		}
	}
	return out
}

// item writes a unit that runs once.
func (p *planner) item(u *unit) place.Item {
	n := len(p.Nodes)
	own := p.ints(3 * n)
	item := place.Item{
		Name: string(u.name()), Parent: place.Nowhere, Weight: len(u.members), Priority: u.priority, Demand: u.demand,
		Score: own[:n:n], Rank: own[n : 2*n : 2*n], Named: p.bools(n),
		State: place.State{Share: own[2*n:], Role: place.Stopped},
	}
	item.Priority = 2 * u.priority
	if u.stays() {
		item.Priority++ // among equals who runs is placed first
	}
	for i := range p.Nodes {
		item.Score[i] = -place.Inf
	}
	for k := range u.candidates {
		c := &u.candidates[k]
		i := c.Index
		item.Score[i], item.Rank[i], item.Named[i] = max(-place.Inf+1, min(place.Inf, c.Score)), p.rankOf(c), c.Named
		item.State.Share[i] = c.Sitting
	}
	p.stand(&item.State, u.at)
	if u.left {
		item.State.Fixed, item.State.Unmanaged = true, true
	}
	return item
}

// stand writes where a unit that runs once is.
func (p *planner) stand(state *place.State, nodes []spec.NodeName) {
	for _, name := range nodes {
		if at := p.Index(name); at != place.Nowhere && !slices.Contains(state.At, at) {
			state.At = append(state.At, at)
			state.Role = place.Started
		}
	}
}

// rankOf is the rank of a candidate. Where all that may stay is to stay, it does.
func (p *planner) rankOf(c *rank.Candidate) int {
	if (p.calm || p.Frozen) && c.Sitting > 0 {
		return -1
	}
	return c.Class()
}

// ints returns zeros, and bools falsehoods.
func (p *planner) ints(n int) []int   { return p.spare.ints.Take(n, len(p.units)) }
func (p *planner) bools(n int) []bool { return p.spare.bools.Take(n, len(p.units)) }

// compilePulls writes what draws the unit's members to others.
func (p *planner) compilePulls(u *unit) {
	for _, e := range u.enemies {
		if e.unit != u && u.item < e.unit.item {
			p.problem.Pulls = append(p.problem.Pulls, place.Pull{Item: u.item, With: e.unit.item, Score: -place.Inf, Mutual: true})
		}
	}
	for _, s := range u.members {
		for _, name := range s.Spec.Place.Together {
			// Two that run once are one unit; copies are where the other is.
			if other := p.unitOf[name]; other != nil && other != u {
				p.problem.Pulls = append(p.problem.Pulls, place.Pull{Name: string(s.Spec.Name) + " " + string(name), Item: u.item, With: other.item, Score: place.Inf})
			}
		}
		for _, near := range s.Spec.Place.Near {
			other, with, role := p.unitOf[near.Service], place.Nowhere, roleOf(near.Role)
			switch {
			case other != nil && other != u && !p.drawnToEnemy(u, other, near):
				with = other.item
			case other == nil && near.Score >= place.Inf:
				with, role = p.absent(near.Service), place.Any
			}
			if with == place.Nowhere {
				continue
			}
			if other != nil && near.Score <= -place.Inf && near.Role == "" {
				p.avoid(other, avoider{u, s.Spec.Name, near})
			}
			p.problem.Pulls = append(p.problem.Pulls, place.Pull{
				Name: string(s.Spec.Name) + " " + string(near.Service), Item: u.item, With: with,
				Score: max(-place.Inf, min(place.Inf, near.Score)), ItemRole: roleOf(near.As), WithRole: role,
				Class: p.Classes(near.Same),
			})
		}
	}
}

func (p *planner) avoid(u *unit, by avoider) {
	if p.avoiding == nil {
		p.avoiding = make(map[*unit][]avoider)
	}
	p.avoiding[u] = append(p.avoiding[u], by)
}

// drawnToEnemy reports whether a unit would like to be on the very node of one that
// it must be apart from: that can never be, and must not have it follow the other
// around.
func (p *planner) drawnToEnemy(u, other *unit, near spec.Near) bool {
	return near.Score > 0 && near.Score < place.Inf && near.Same == "" &&
		slices.ContainsFunc(u.enemies, func(e enemy) bool { return e.unit == other })
}

func roleOf(r spec.Role) place.Role {
	switch r {
	case spec.RolePrimary:
		return place.Primary
	case spec.RoleReplica:
		return place.Replica
	}
	return place.Any
}

// place lets the engine choose, and takes over what it chose.
func (p *planner) place() {
	p.placed = place.Solve(p.problem)
	for _, u := range p.units {
		switch {
		case u.left:
			p.leave(u)
		case u.copies != nil:
			p.settleCopies(u, p.placed)
		default:
			p.settle(u, p.placed[u.item])
		}
	}
}

// leave keeps a unit as it is: where it is, and who would follow, though it cannot
// be now. Nodes that the cell has no more are left out.
func (p *planner) leave(u *unit) {
	s := &u.members[0]
	u.candidates = nil
	known := func(n spec.NodeName) bool { _, known := p.Node(n); return known }
	for _, n := range s.Order {
		if known(n) {
			u.order = append(u.order, n)
		}
	}
	if u.copies != nil {
		u.places, u.succession, u.order = p.seatsOf(s), u.order, nil
		for _, r := range s.Rights {
			u.rights = append(u.rights, slices.DeleteFunc(slices.Clone(r.Order), func(n spec.NodeName) bool { return !known(n) }))
		}
	}
	listed := func(n spec.NodeName) bool { return slices.Contains(u.order, n) || u.copies != nil && u.holds(n) }
	u.refusals = slices.DeleteFunc(u.refusals, func(r action.Refusal) bool { return listed(r.Node) })
	for _, n := range p.Nodes {
		if !listed(n.Name) && !slices.ContainsFunc(u.refusals, func(r action.Refusal) bool { return r.Node == n.Name }) {
			u.refuse(n.Name, fmt.Sprintf("it is left as it is, %s", p.leftFor(u)))
		}
	}
	u.why = append(u.why, fmt.Sprintf("%s is left as it is, %s", u.name(), p.leftFor(u)))
}

// leftFor says why a unit is left as it is.
func (p *planner) leftFor(u *unit) string {
	s := &u.members[0]
	switch at := p.Home(s); {
	case u.fault != "":
		return "for a fault in Keelson: the plan would break a rule, that " + u.fault
	case s.Spec.Maintenance:
		return "for maintenance"
	case p.snapshot.Maintenance:
		return "for the maintenance of the cell"
	case p.inMaintenance(s):
		return fmt.Sprintf("for the maintenance of %s", at)
	}
	return "for the maintenance of what it is together with"
}

// inMaintenance reports whether the service is on a node under maintenance.
func (p *planner) inMaintenance(s *fact.Service) bool {
	n, known := p.Node(p.Home(s))
	return known && n.Maintenance
}
