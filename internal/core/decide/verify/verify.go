// Package verify looks at a finished plan with fresh eyes: through the specs, and
// not through the notes of the planner that made it.
//
// Its main rule is that a plan that breaks a rule is not carried out, whatever the
// planner thought. It places nothing and repairs nothing: it says what is wrong.
package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Plan returns the first rule that a plan for the snapshot breaks, in a sentence
// without a full stop; empty if it breaks none.
func Plan(s fact.Snapshot, plan action.Plan) string {
	nodes := make(map[spec.NodeName]fact.Node, len(s.Nodes))
	for _, n := range s.Nodes {
		nodes[n.Name] = n
	}
	services := make(map[spec.ServiceName]fact.Service, len(s.Services))
	for _, svc := range s.Services {
		services[svc.Spec.Name] = svc
	}
	holders := make(map[spec.ServiceName]spec.NodeName)
	for _, p := range plan.Placements {
		if fault := checkOrder(services[p.Service], p.Order, nodes); fault != "" {
			return fault
		}
		if len(p.Order) > 0 && services[p.Service].Spec.Copies == nil {
			holders[p.Service] = p.Order[0]
		}
	}
	for _, p := range plan.Placements {
		if fault := checkRoles(p, services[p.Service].Spec.Primaries()); fault != "" && services[p.Service].Spec.HasRoles() {
			return fault
		}
		if fault := checkNeighbors(services[p.Service], holders); fault != "" {
			return fault
		}
	}
	return checkRoom(plan, services, nodes)
}

// checkRoles looks whether only copies become primary, and who is meant to be is.
func checkRoles(p action.Placement, primaries int) string {
	first := map[spec.NodeName]bool{}
	for _, order := range append([][]spec.NodeName{p.Order}, p.Orders...) {
		for i, n := range order {
			at := slices.IndexFunc(p.Copies, func(c action.Copy) bool { return c.Node == n })
			switch {
			case at < 0:
				return fmt.Sprintf("%s is to become primary of %s without a copy", n, p.Service)
			case i == 0 && p.Copies[at].Role != spec.RolePrimary:
				return fmt.Sprintf("%s is first in line for %s and is to be a %s", n, p.Service, p.Copies[at].Role)
			case i == 0 && first[n]:
				return fmt.Sprintf("%s is to be primary of %s twice", n, p.Service)
			case i == 0:
				first[n] = true
			}
		}
	}
	if len(p.Orders)+1 > max(1, primaries) {
		return fmt.Sprintf("%s is to have %d primaries and is given %d leases", p.Service, primaries, len(p.Orders)+1)
	}
	return ""
}

func checkOrder(s fact.Service, order []spec.NodeName, nodes map[spec.NodeName]fact.Node) string {
	name, place := s.Spec.Name, s.Spec.Place
	if len(order) > 0 && (s.Deleting || s.Spec.Stopped) {
		return fmt.Sprintf("%s is not to run and has a place", name)
	}
	for i, at := range order {
		n, known := nodes[at]
		switch {
		case !known || n.Witness || n.Leaving || n.Drain || n.Liveness == fact.Lost:
			return fmt.Sprintf("%s is placed on %s, which may run nothing", name, at)
		case slices.Contains(place.Never, at) || len(place.On) > 0 && !slices.Contains(place.On, at):
			return fmt.Sprintf("%s is placed on %s, where its spec forbids it", name, at)
		case slices.Contains(order[:i], at):
			return fmt.Sprintf("%s is placed on %s twice", name, at)
		}
	}
	return ""
}

func checkNeighbors(s fact.Service, holders map[spec.ServiceName]spec.NodeName) string {
	name := s.Spec.Name
	at, placed := holders[name]
	if !placed {
		return ""
	}
	for _, other := range s.Spec.Place.Apart {
		if other != name && holders[other] == at {
			return fmt.Sprintf("%s and %s are to be apart and share %s", name, other, at)
		}
	}
	for _, other := range s.Spec.Place.Together {
		if with, placed := holders[other]; placed && with != at {
			return fmt.Sprintf("%s and %s are to be together and are on %s and %s", name, other, at, with)
		}
	}
	return ""
}

// checkRoom looks whether what is placed on a node fits there. A service under
// maintenance is left where it is, room or not.
func checkRoom(plan action.Plan, services map[spec.ServiceName]fact.Service, nodes map[spec.NodeName]fact.Node) string {
	type kindOn struct {
		node spec.NodeName
		kind string
	}
	bounded := make(map[string]bool)
	for _, n := range nodes {
		for label := range n.Labels {
			if kind, is := strings.CutPrefix(label, spec.CapacityLabel+"/"); is {
				bounded[kind] = true
			}
		}
	}
	used := make(map[kindOn]int)
	for _, p := range plan.Placements {
		at := p.Order[:min(1, len(p.Order))]
		if services[p.Service].Spec.Copies != nil {
			at = nil
		}
		for _, c := range p.Copies {
			at = append(slices.Clone(at), c.Node)
		}
		for kind, need := range services[p.Service].Spec.Needs {
			for _, node := range at {
				used[kindOn{node, kind}] += need
				has, _ := strconv.Atoi(nodes[node].Labels[spec.CapacityLabel+"/"+kind])
				if bounded[kind] && used[kindOn{node, kind}] > has && !services[p.Service].Spec.Maintenance && !nodes[node].Maintenance {
					return fmt.Sprintf("%s has %d of %s and is given more, with %s", node, has, kind, p.Service)
				}
			}
		}
	}
	return ""
}
