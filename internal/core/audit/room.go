package audit

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// checkRoom looks whether what is placed on a node fits there. What is left as it
// is needs its room and answers for nothing: who comes beside it does.
func (a *audit) checkRoom(plan action.Plan) {
	for _, kind := range a.bounded() {
		used := make(map[spec.NodeName]int)
		for _, p := range plan.Placements {
			for _, at := range a.seats[p.Service] {
				used[at.node] += a.services[p.Service].Spec.Needs[kind]
			}
		}
		for _, p := range plan.Placements {
			svc := a.services[p.Service]
			for _, at := range a.seats[p.Service] {
				has, _ := strconv.Atoi(a.nodes[at.node].Labels[spec.CapacityLabel+"/"+kind])
				if used[at.node] > has && a.answers(svc, at.node, kind, plan) {
					a.blame(p.Service, "%s has %d of %s and is given %d, with %s", at.node, has, kind, used[at.node], p.Service)
				}
			}
		}
	}
}

// answers reports whether a service answers for a node's having too little: it
// needs some, it is not left as it is, and it comes there or nobody else does.
func (a *audit) answers(svc fact.Service, node spec.NodeName, kind string, plan action.Plan) bool {
	loose := func(s fact.Service) bool {
		return s.Spec.Needs[kind] > 0 && !a.left[s.Spec.Name] && !a.kept(s, node)
	}
	if !loose(svc) {
		return false
	}
	return !runsOn(svc, node) || !slices.ContainsFunc(plan.Placements, func(p action.Placement) bool {
		s := a.services[p.Service]
		return loose(s) && !runsOn(s, node) && slices.ContainsFunc(a.seats[p.Service], func(o seat) bool { return o.node == node })
	})
}

// bounded lists the units of which some node says how many it has, sorted.
func (a *audit) bounded() []string {
	kinds := make(map[string]bool)
	for _, n := range a.nodes {
		for label := range n.Labels {
			if kind, is := strings.CutPrefix(label, spec.CapacityLabel+"/"); is {
				kinds[kind] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}
