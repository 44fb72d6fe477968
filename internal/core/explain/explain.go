// Package explain answers questions about decisions: why a service is where it
// is, what would happen after a change or a loss, and whether a past decision
// would be taken again.
//
// Its main rule: nothing is guessed. Every answer comes out of [decide.Decide],
// asked about the snapshot as it is or as it would be; what would move a service
// was tried. The package is pure, like the core that it asks. It refuses nothing:
// what cannot be decided is told as a hold.
package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
)

// find returns the service of that name.
func find(s fact.Snapshot, name spec.ServiceName) (fact.Service, bool) {
	i := slices.IndexFunc(s.Services, func(svc fact.Service) bool { return svc.Spec.Name == name })
	if i < 0 {
		return fact.Service{}, false
	}
	return s.Services[i], true
}

// placed returns what a plan says of a service.
func placed(plan action.Plan, name spec.ServiceName) action.Placement {
	for _, p := range plan.Placements {
		if p.Service == name {
			return p
		}
	}
	return action.Placement{Service: name}
}

// seatsNow returns where a service runs, as far as is known; nodes that are lost
// do not count.
func seatsNow(s fact.Snapshot, svc fact.Service) []reason.Seat {
	if svc.Spec.Copies == nil {
		if n, known := node(s, svc.Holder); known && n.Liveness != fact.Lost {
			return []reason.Seat{{Node: svc.Holder}}
		}
		return nil
	}
	var out []reason.Seat
	for _, n := range s.Nodes {
		for _, in := range n.Instances {
			if n.Liveness != fact.Lost && in.Service == svc.Spec.Name && (in.Phase == fact.Starting || in.Phase == fact.Running) {
				out = append(out, reason.Seat{Node: n.Name, Role: in.Role})
			}
		}
	}
	sortSeats(out)
	return out
}

func sortSeats(list []reason.Seat) {
	slices.SortStableFunc(list, func(a, b reason.Seat) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role))
	})
}

func node(s fact.Snapshot, name spec.NodeName) (fact.Node, bool) {
	i := slices.IndexFunc(s.Nodes, func(n fact.Node) bool { return n.Name == name })
	if i < 0 {
		return fact.Node{}, false
	}
	return s.Nodes[i], true
}

// seatsOf returns where a placement puts a service.
func seatsOf(p action.Placement) []reason.Seat {
	var out []reason.Seat
	if len(p.Copies) == 0 && len(p.Order) > 0 {
		out = append(out, reason.Seat{Node: p.Order[0]})
	}
	for _, c := range p.Copies {
		out = append(out, reason.Seat{Node: c.Node, Role: c.Role})
	}
	return out
}

// nextOf returns who takes over from a placement's first node.
func nextOf(p action.Placement) []spec.NodeName {
	if len(p.Order) < 2 {
		return nil
	}
	return slices.Clone(p.Order[1:])
}

// refusals are what forbids each node that a placement names.
func refusals(p action.Placement) []reason.Verdict {
	var out []reason.Verdict
	for _, r := range p.Refusals {
		if slices.ContainsFunc(out, func(v reason.Verdict) bool { return v.Node == r.Node }) {
			continue
		}
		out = append(out, reason.Verdict{Node: r.Node, Stand: reason.Never, By: reason.ByRule, Why: bare(r.Why, r.Node)})
	}
	return out
}

// bare takes off a refusal what a table has in its columns already.
func bare(why string, node spec.NodeName) string {
	if _, rule, is := strings.Cut(why, fmt.Sprintf(" may not run on %s: ", node)); is {
		return rule
	}
	return why
}

// withNodes returns the snapshot with f applied to a copy of each node.
func withNodes(s fact.Snapshot, f func(*fact.Node)) fact.Snapshot {
	s.Nodes = slices.Clone(s.Nodes)
	for i := range s.Nodes {
		f(&s.Nodes[i])
	}
	return s
}

// withService returns the snapshot with f applied to a copy of one service.
func withService(s fact.Snapshot, name spec.ServiceName, f func(*fact.Service)) fact.Snapshot {
	s.Services = slices.Clone(s.Services)
	for i := range s.Services {
		if s.Services[i].Spec.Name == name {
			f(&s.Services[i])
		}
	}
	return s
}

// lose marks a node as lost, as it would be seen shortly after.
func lose(n *fact.Node) { n.Liveness = fact.Lost }

func sameSeats(a, b []reason.Seat) bool { return slices.Equal(a, b) }

// names writes where a service is.
func names(seats []reason.Seat) string {
	if len(seats) == 0 {
		return "nowhere"
	}
	list := make([]string, 0, len(seats))
	for _, s := range seats {
		text := string(s.Node)
		if s.Role != "" {
			text += " (" + string(s.Role) + ")"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

func decideOn(s fact.Snapshot) action.Plan { return decide.Decide(s) }
