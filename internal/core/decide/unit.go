package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// unit is what is placed as one: a service and all those it is together with.
type unit struct {
	members    []fact.Service   // sorted by name; not to be changed
	priority   int              // the highest of its members
	enemies    []enemy          // each unit once
	candidates []rank.Candidate // nodes that may run it, sorted by name
	barred     []rank.Candidate // nodes that the others' places kept from it when it was placed
	refusals   []action.Refusal
	order      []spec.NodeName
	why        []string
	moves      map[spec.ServiceName]bool // wishes to move that are fulfilled or void
	item       int                       // in the engine's problem
	demand     []int                     // by kind of unit
	at         []spec.NodeName           // where each member is
	base       []int                     // by node: the score but for staying; -Inf where a rule forbids it
	copies     *spec.Copies              // nil: it runs once
	left       bool                      // it is left as it is, for maintenance or a fault
	fault      string                    // the rule that the plan would have broken for it; empty: none
	ranks      struct {
		away, there []int          // by node: its rank if it is not there, and if it is
		doubtful    []bool         // by node: it is to come last
		likings     []rank.Likings // of each member
	}
	places     []action.Copy     // of its copies
	succession []spec.NodeName   // who is primary, then who becomes it
	rights     [][]spec.NodeName // the same for each further primary
}

// holds reports whether the unit, or a copy of it, is to be on the node.
func (u *unit) holds(node spec.NodeName) bool {
	if u == nil {
		return false
	}
	return slices.ContainsFunc(u.seated(), func(c action.Copy) bool { return c.Node == node })
}

// name is the first member's, which names the unit in orders and sentences.
func (u *unit) name() spec.ServiceName { return u.members[0].Spec.Name }

// refuse notes why a node may not run the unit. Who and where is added where it is told.
func (u *unit) refuse(node spec.NodeName, why string) {
	u.refusals = append(u.refusals, action.Refusal{Node: node, Why: why})
}

// told is a refusal as a sentence.
func (u *unit) told(r action.Refusal) string {
	return string(u.name()) + " may not run on " + string(r.Node) + ": " + r.Why
}

// active reports whether a service is to run at all.
func active(s *fact.Service) bool { return !s.Deleting && !s.Spec.Stopped }

// group makes the units out of the services that are to run, in the order in
// which they are placed: by priority, the highest first, then by name. Being
// together goes both ways and on to the next.
func (p *planner) group() {
	units := make([]unit, len(p.services))
	for i := range p.services {
		s := &p.services[i]
		if !active(s) {
			continue
		}
		u := &units[i]
		*u = unit{
			members: p.services[i : i+1 : i+1], priority: s.Spec.Priority,
			copies: s.Spec.Copies, left: s.Spec.Maintenance || p.snapshot.Maintenance,
		}
		// Of several copies only those on the node are left as they are.
		u.left = u.left || u.copies == nil && p.inMaintenance(s)
		u.fault = p.Faulty[s.Spec.Name]
		u.left = u.left || u.fault != ""
		p.unitOf[s.Spec.Name] = u
	}
	for i := range p.services {
		s := &p.services[i].Spec
		if len(s.Place.Together) == 0 || p.unitOf[s.Name] == nil {
			continue
		}
		for _, with := range s.Place.Together {
			p.merge(s.Name, with)
		}
	}
	p.part()
	for i := range p.services {
		name := p.services[i].Spec.Name
		u := p.unitOf[name]
		if u == nil || u.name() != name {
			continue
		}
		p.units = append(p.units, u)
	}
	slices.SortStableFunc(p.units, func(a, b *unit) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.name(), b.name()))
	})
}

// merge makes one unit of two services' units. A service that is not to run
// keeps nobody company.
func (p *planner) merge(a, b spec.ServiceName) {
	to, from := p.unitOf[a], p.unitOf[b]
	if from == nil || to == from || to.copies != nil || from.copies != nil {
		return // copies go with another service by place.near
	}
	to.members = append(to.members, from.members...)
	slices.SortFunc(to.members, func(a, b fact.Service) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) })
	to.priority = max(to.priority, from.priority)
	to.left = to.left || from.left
	for _, s := range from.members {
		p.unitOf[s.Spec.Name] = to
	}
}

// part makes units of their own of those that are left as they are with others:
// each stays where it is, and one that is nowhere stays that.
func (p *planner) part() {
	for i := range p.services {
		s := &p.services[i]
		name := s.Spec.Name
		u := p.unitOf[name]
		if u == nil || !u.left || len(u.members) == 1 {
			continue
		}
		p.unitOf[name] = &unit{members: p.services[i : i+1 : i+1], priority: s.Spec.Priority, left: true, fault: p.Faulty[name]}
	}
}

// enemy is a unit that must not share a node, for the sake of two members.
type enemy struct {
	unit         *unit
	mine, theirs spec.ServiceName
}

// setApart tells the units from whom they must be apart. Being apart goes both
// ways. A unit that is its own enemy contradicts itself.
func (p *planner) setApart() {
	for i := range p.services {
		s := &p.services[i]
		if len(s.Spec.Place.Apart) == 0 {
			continue
		}
		u := p.unitOf[s.Spec.Name]
		if u == nil {
			continue
		}
		for _, name := range s.Spec.Place.Apart {
			if other := p.unitOf[name]; other != nil && name != s.Spec.Name {
				u.hate(enemy{other, s.Spec.Name, name})
				other.hate(enemy{u, name, s.Spec.Name})
			}
		}
	}
}

// hate adds an enemy, each unit once.
func (u *unit) hate(e enemy) {
	if !slices.ContainsFunc(u.enemies, func(known enemy) bool { return known.unit == e.unit }) {
		u.enemies = append(u.enemies, e)
	}
}

// placement is the outcome for one service.
func (p *planner) placement(s fact.Service) action.Placement {
	name := s.Spec.Name
	u := p.unitOf[name]
	if u == nil {
		return p.idle(s)
	}
	out := action.Placement{
		Service:  name,
		Held:     u.fault,
		Left:     u.left,
		Order:    slices.Clone(u.order),
		Copies:   slices.Clone(u.places),
		MoveDone: u.moves[name],
	}
	for _, r := range u.refusals {
		out.Refusals = append(out.Refusals, action.Refusal{Node: r.Node, Why: u.told(r)})
	}
	if len(u.members) > 1 {
		var with []string
		for _, m := range u.members {
			if m.Spec.Name != name {
				with = append(with, string(m.Spec.Name))
			}
		}
		out.Why = append(out.Why, fmt.Sprintf("%s is placed together with %s", name, strings.Join(with, ", ")))
	}
	out.Why = append(out.Why, u.why...)
	slices.SortStableFunc(out.Refusals, func(a, b action.Refusal) int { return cmp.Compare(a.Node, b.Node) })
	if u.copies != nil {
		out.Order, out.Orders = slices.Clone(u.succession), slices.Clone(u.rights)
	}
	out.Changed = !slices.Equal(out.Order, s.Order) || !slices.EqualFunc(out.Orders, s.Rights, func(o []spec.NodeName, r fact.Right) bool { return slices.Equal(o, r.Order) })
	out.Waits = p.waiting(u)
	return out
}

// idle is the placement of a service that is not to run.
func (p *planner) idle(s fact.Service) action.Placement {
	out := action.Placement{Service: s.Spec.Name, Changed: len(s.Order) > 0}
	switch {
	case s.Deleting:
		out.Why = []string{fmt.Sprintf("%s is being deleted", s.Spec.Name)}
	default:
		out.Why = []string{fmt.Sprintf("%s is stopped by its spec", s.Spec.Name)}
	}
	if s.MoveTo != "" || s.MoveFrom != "" {
		out.MoveDone = true
		out.Why = append(out.Why, "the wish to move it is void: it runs nowhere")
	}
	return out
}
