// Package audit looks at a finished plan with fresh eyes: it reads the specs and
// the snapshot, and nothing of what the decision noted for itself.
//
// Its main rule: what is left as it is, for maintenance, is held to exactly that
// and to no other rule; everything else is held to every rule of its spec, copies
// and those who follow included. It judges and mends nothing: whoever asks is told
// which service breaks what, and leaves that one as it is. The package is pure.
package audit

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Fault is a rule that a plan breaks, and the service that does.
type Fault struct {
	Service spec.ServiceName
	Text    string // a sentence without its full stop
}

// Check returns the faults of a plan, at most one for each service, in the order of
// the plan's placements. Nil: it breaks no rule. Of two services that break a rule
// between them, the one that is not left as it is has the fault, and else the one
// that the plan moves.
func Check(s fact.Snapshot, plan action.Plan) []Fault {
	a := newAudit(s, plan)
	for i := range plan.Placements {
		p := &plan.Placements[i]
		svc, known := a.services[p.Service]
		switch {
		case !known:
			a.blame(p.Service, "%s has a place and is not known", p.Service)
			continue
		case a.left[p.Service]:
			a.checkLeft(svc, p)
			continue
		}
		a.checkNodes(svc, p)
		if svc.Spec.HasRoles() {
			a.checkRoles(p, svc.Spec.Primaries())
		}
		a.checkApart(svc)
		a.checkTogether(svc)
		a.checkNear(svc)
	}
	a.checkRoom(plan)
	var out []Fault
	for _, p := range plan.Placements {
		if text, is := a.faults[p.Service]; is {
			out = append(out, Fault{p.Service, text})
		}
	}
	return out
}

// seat is where a service is to run, in which role.
type seat struct {
	node spec.NodeName
	role spec.Role
}

type audit struct {
	nodes    map[spec.NodeName]fact.Node
	services map[spec.ServiceName]fact.Service
	seats    map[spec.ServiceName][]seat
	moved    map[spec.ServiceName]bool // it is to be where it is not now
	left     map[spec.ServiceName]bool // it is to be left as it is
	faults   map[spec.ServiceName]string
}

func newAudit(s fact.Snapshot, plan action.Plan) *audit {
	a := &audit{
		nodes:    make(map[spec.NodeName]fact.Node, len(s.Nodes)),
		services: make(map[spec.ServiceName]fact.Service, len(s.Services)),
		seats:    make(map[spec.ServiceName][]seat, len(s.Services)),
		moved:    make(map[spec.ServiceName]bool),
		left:     make(map[spec.ServiceName]bool),
		faults:   make(map[spec.ServiceName]string),
	}
	for _, n := range s.Nodes {
		a.nodes[n.Name] = n
	}
	for _, svc := range s.Services {
		a.services[svc.Spec.Name] = svc
	}
	for _, p := range plan.Placements {
		svc := a.services[p.Service]
		var to []seat
		if svc.Spec.Copies == nil && len(p.Order) > 0 {
			to = append(to, seat{node: p.Order[0]})
		}
		for _, c := range p.Copies {
			to = append(to, seat{c.Node, c.Role})
		}
		a.seats[p.Service] = to
		a.moved[p.Service] = slices.ContainsFunc(to, func(at seat) bool { return !runsOn(svc, at.node) })
		if p.Held != "" {
			a.left[p.Service] = true
		}
	}
	a.leave(s)
	for _, p := range plan.Placements { // what is left is where it is, whoever is first in its order
		if svc := a.services[p.Service]; a.left[p.Service] && svc.Spec.Copies == nil {
			a.seats[p.Service] = nil
			if at := a.home(svc); at != "" {
				a.seats[p.Service] = []seat{{node: at}}
			}
		}
	}
	return a
}

// leave finds the services that are left as they are, for maintenance: their own,
// the cell's, that of the node they are on, or that of one they are together with.
func (a *audit) leave(s fact.Snapshot) {
	var next []spec.ServiceName
	mates := make(map[spec.ServiceName][]spec.ServiceName)
	for _, svc := range s.Services {
		name := svc.Spec.Name
		if !active(svc) {
			continue
		}
		if s.Maintenance || svc.Spec.Maintenance || svc.Spec.Copies == nil && a.nodes[a.home(svc)].Maintenance {
			next = append(next, name)
		}
		for _, other := range svc.Spec.Place.Together {
			if o, known := a.services[other]; known && active(o) && o.Spec.Copies == nil && svc.Spec.Copies == nil {
				mates[name], mates[other] = append(mates[name], other), append(mates[other], name)
			}
		}
	}
	for len(next) > 0 {
		name := next[0]
		a.left[name] = true
		next = append(next[1:], mates[name]...)
		delete(mates, name)
	}
}

// home is the node that has a service for itself now: its holder, or the first of
// its list while nobody holds it.
func (a *audit) home(svc fact.Service) spec.NodeName {
	at := svc.Holder
	if n, known := a.nodes[at]; !known || n.Liveness == fact.Lost {
		if at = ""; len(svc.Order) > 0 {
			at = svc.Order[0]
		}
	}
	if a.nodes[at].Liveness == fact.Lost {
		return ""
	}
	return at
}

func active(svc fact.Service) bool { return !svc.Deleting && !svc.Spec.Stopped }

// runsOn reports whether a service is on a node now.
func runsOn(svc fact.Service, node spec.NodeName) bool {
	return svc.Holder == node || svc.Holder == "" && len(svc.Order) > 0 && svc.Order[0] == node || slices.Contains(svc.Copies, node)
}

func (a *audit) blame(name spec.ServiceName, format string, args ...any) {
	if _, already := a.faults[name]; !already {
		a.faults[name] = fmt.Sprintf(format, args...)
	}
}

// between has one of two services answer for what they break together; none if
// both are left as they are.
func (a *audit) between(name, other spec.ServiceName, format string, args ...any) {
	switch {
	case a.left[name] && a.left[other]:
	case a.left[name] || !a.left[other] && !a.moved[name] && a.moved[other]:
		a.blame(other, format, args...)
	default:
		a.blame(name, format, args...)
	}
}

// checkLeft looks whether what is to be left as it is is.
func (a *audit) checkLeft(svc fact.Service, p *action.Placement) {
	order := slices.DeleteFunc(slices.Clone(svc.Order), func(n spec.NodeName) bool { _, known := a.nodes[n]; return !known })
	if !slices.Equal(order, p.Order) {
		a.blame(p.Service, "%s is to be left as it is, and who follows on it changes from %s to %s", p.Service, list(order), list(p.Order))
	}
	for _, n := range svc.Copies {
		_, known := a.nodes[n]
		if known && !slices.ContainsFunc(p.Copies, func(c action.Copy) bool { return c.Node == n }) {
			a.blame(p.Service, "%s is to be left as it is, and loses its copy on %s", p.Service, n)
		}
	}
}

// checkNodes looks whether each node of a placement may run the service.
func (a *audit) checkNodes(svc fact.Service, p *action.Placement) {
	name := svc.Spec.Name
	if len(p.Order)+len(p.Copies) > 0 && !active(svc) {
		a.blame(name, "%s is not to run and has a place", name)
		return
	}
	for i, at := range p.Order {
		if !a.kept(svc, at) {
			a.checkNode(svc, at)
		}
		if slices.Contains(p.Order[:i], at) {
			a.blame(name, "%s is placed on %s twice", name, at)
		}
	}
	per := make(map[spec.NodeName]int)
	for _, c := range p.Copies {
		per[c.Node]++
		switch {
		case a.kept(svc, c.Node):
		case per[c.Node] > max(1, svc.Spec.Copies.PerNode) && !slices.Contains(svc.Copies, c.Node):
			a.blame(name, "%s is placed on %s %d times", name, c.Node, per[c.Node])
		default:
			a.checkNode(svc, c.Node)
		}
	}
}

func (a *audit) checkNode(svc fact.Service, at spec.NodeName) {
	name, place := svc.Spec.Name, svc.Spec.Place
	n, known := a.nodes[at]
	switch {
	case !known || n.Witness || n.Leaving || n.Drain || n.Liveness == fact.Lost:
		a.blame(name, "%s is placed on %s, which may run nothing", name, at)
	case n.Maintenance && !runsOn(svc, at):
		a.blame(name, "%s is placed on %s, which is under maintenance", name, at)
	case slices.Contains(place.Never, at) || len(place.On) > 0 && !slices.Contains(place.On, at):
		a.blame(name, "%s is placed on %s, where its spec forbids it", name, at)
	}
}

// checkRoles looks whether only copies become primary, who is meant to be is, and each
// of the leases is another's.
func (a *audit) checkRoles(p *action.Placement, primaries int) {
	first := make(map[spec.NodeName]bool)
	for _, order := range append([][]spec.NodeName{p.Order}, p.Orders...) {
		for i, n := range order {
			at := slices.IndexFunc(p.Copies, func(c action.Copy) bool { return c.Node == n })
			switch {
			case at < 0:
				a.blame(p.Service, "%s is to become primary of %s without a copy", n, p.Service)
			case i == 0 && p.Copies[at].Role != spec.RolePrimary:
				a.blame(p.Service, "%s is first in line for %s and is to be a %s", n, p.Service, p.Copies[at].Role)
			case i == 0 && first[n]:
				a.blame(p.Service, "%s is to be primary of %s twice", n, p.Service)
			case i == 0:
				first[n] = true
			}
		}
	}
	if len(p.Orders)+1 > max(1, primaries) {
		a.blame(p.Service, "%s is to have %d primaries and is given %d leases", p.Service, primaries, len(p.Orders)+1)
	}
}

// checkApart looks at who must not share a node, copies included. It holds both
// ways.
func (a *audit) checkApart(svc fact.Service) {
	name := svc.Spec.Name
	for _, other := range svc.Spec.Place.Apart {
		for _, at := range a.seats[name] {
			if other != name && slices.ContainsFunc(a.seats[other], func(o seat) bool { return o.node == at.node }) && (!a.settled(svc, at.node) || !a.settled(a.services[other], at.node)) {
				a.between(name, other, "%s and %s are to be apart and share %s", name, other, at.node)
			}
		}
	}
}

// settled reports whether a service, or its copy on that node, is left as it is.
func (a *audit) settled(svc fact.Service, node spec.NodeName) bool {
	return a.left[svc.Spec.Name] || a.kept(svc, node)
}

// kept reports whether a copy is left as it is, on a node under maintenance.
func (a *audit) kept(svc fact.Service, node spec.NodeName) bool {
	n := a.nodes[node]
	return svc.Spec.Copies != nil && n.Maintenance && (slices.Contains(svc.Copies, node) || slices.ContainsFunc(n.Instances, func(i fact.Instance) bool {
		return i.Service == svc.Spec.Name && (i.Phase == fact.Starting || i.Phase == fact.Running)
	}))
}

// checkTogether looks at who must share a node: each copy with one that runs once,
// and what runs once with one of the copies.
func (a *audit) checkTogether(svc fact.Service) {
	name := svc.Spec.Name
	for _, other := range svc.Spec.Place.Together {
		with := a.seats[other]
		for _, at := range a.seats[name] {
			if len(with) > 0 && !slices.ContainsFunc(with, func(o seat) bool { return o.node == at.node }) && !a.kept(svc, at.node) {
				a.between(name, other, "%s and %s are to be together and are on %s and %s", name, other, at.node, with[0].node)
			}
		}
	}
}

// checkNear looks at the rules of place.near, which are those whose score is the
// highest or the lowest.
func (a *audit) checkNear(svc fact.Service) {
	for _, near := range svc.Spec.Place.Near {
		other, known := a.services[near.Service]
		if !known || other.Deleting || near.Service == svc.Spec.Name || near.Score > -spec.MaxScore && near.Score < spec.MaxScore {
			continue
		}
		if near.Role != "" && !other.Spec.HasRoles() || near.As != "" && !svc.Spec.HasRoles() {
			continue // nobody is in that role
		}
		a.checkRule(svc, near)
	}
}

func (a *audit) checkRule(svc fact.Service, near spec.Near) {
	name := svc.Spec.Name
	for _, at := range a.seats[name] {
		if near.As != "" && at.role != near.As || a.kept(svc, at.node) {
			continue
		}
		found := slices.ContainsFunc(a.seats[near.Service], func(o seat) bool {
			return (near.Role == "" || o.role == near.Role) && a.same(near.Same, at.node, o.node)
		})
		switch {
		case near.Score > 0 && !found:
			a.between(name, near.Service, "%s is to be near %s and is on %s without it", name, near.Service, at.node)
		case near.Score < 0 && found:
			a.between(name, near.Service, "%s is to be away from %s and is on %s with it", name, near.Service, at.node)
		}
	}
}

// same reports whether two nodes count as one place.
func (a *audit) same(label string, x, y spec.NodeName) bool {
	if label == "" {
		return x == y
	}
	v, hasX := a.nodes[x].Labels[label]
	w, hasY := a.nodes[y].Labels[label]
	return hasX && hasY && v == w
}

func list(nodes []spec.NodeName) string {
	out := ""
	for i, n := range nodes {
		if i > 0 {
			out += ", "
		}
		out += string(n)
	}
	return cmp.Or(out, "nobody")
}
