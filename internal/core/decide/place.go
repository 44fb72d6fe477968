package decide

import (
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// placeFirst chooses the node that is to hold the unit.
func (p *planner) placeFirst(u *unit) {
	for _, c := range u.candidates {
		p.load[c.node] -= c.sitting
	}
	p.keepApart(u)
	for i := range u.candidates {
		c := &u.candidates[i]
		c.load = p.load[c.node]
		c.crowd = p.crowd(u, c.node)
	}
	p.obey(u)
	if len(u.candidates) == 0 {
		u.why = append(u.why, fmt.Sprintf("%s has no place: no node may run it", u.name()))
		return
	}
	slices.SortFunc(u.candidates, rank)
	best := u.candidates[0]
	u.order = []spec.NodeName{best.node}
	p.load[best.node] += len(u.members)
	if len(u.candidates) == 1 {
		u.why = append(u.why, fmt.Sprintf("%s belongs on %s: no other node may run it", u.name(), best.node))
		return
	}
	u.why = append(u.why, fmt.Sprintf("%s belongs on %s: %s", u.name(), best.node, best.sum()))
	second := u.candidates[1]
	u.why = append(u.why, fmt.Sprintf("%s before %s: %s", best.node, second.node, reason(best, second)))
	u.foresee(best)
}

// foresee says when a service that an operator moves will not stay there.
func (u *unit) foresee(to candidate) {
	if !to.wanted {
		return
	}
	staying := 0
	for _, s := range u.members {
		staying += s.Spec.Place.EffectiveStickiness()
	}
	for _, c := range u.candidates[1:] {
		if c.refuge() && c.score-c.sticky > to.score-to.sticky+staying {
			u.why = append(u.why, fmt.Sprintf("after that it will return to %s, whose preferences outweigh staying", c.node))
			return
		}
	}
}

// placeSuccessors chooses who follows, in which order. All units have their
// first node by now, so a list holds for the death of any one node: nobody
// follows to where a service is that it must be apart from, and a dying node's
// services spread over the others.
func (p *planner) placeSuccessors(u *unit) {
	if len(u.order) == 0 {
		return
	}
	holder := u.candidates[0]
	u.candidates = u.candidates[1:]
	p.keepApart(u)
	for i, c := range u.candidates {
		c = c.successor()
		c.takeover = p.takeovers[[2]spec.NodeName{holder.node, c.node}]
		c.load = p.load[c.node] + c.takeover
		u.candidates[i] = c
	}
	slices.SortFunc(u.candidates, rank)
	for i, c := range u.candidates {
		u.order = append(u.order, c.node)
		if i > 0 {
			before := u.candidates[i-1]
			u.why = append(u.why, fmt.Sprintf("then %s before %s: %s", before.node, c.node, reason(before, c)))
		}
	}
	if len(u.candidates) > 0 {
		p.takeovers[[2]spec.NodeName{holder.node, u.candidates[0].node}] += len(u.members)
	}
}

// keepApart takes out the nodes of placed units that this one must be apart
// from.
func (p *planner) keepApart(u *unit) {
	taken := make(map[spec.NodeName]enemy)
	for _, e := range u.enemies {
		if len(e.unit.order) > 0 {
			taken[e.unit.order[0]] = e
		}
	}
	u.candidates = slices.DeleteFunc(u.candidates, func(c candidate) bool {
		e, is := taken[c.node]
		if is {
			u.refuse(c.node, "%s belongs there, and %s is to be apart from it", e.theirs, e.mine)
		}
		return is
	})
}

// crowd counts the services that must be apart from u, are not placed yet, and
// sit on the node or have no other to go to.
func (p *planner) crowd(u *unit, node spec.NodeName) int {
	n := 0
	for _, e := range u.enemies {
		other := e.unit
		if len(other.order) > 0 {
			continue
		}
		at := slices.IndexFunc(other.candidates, func(c candidate) bool { return c.node == node })
		if at >= 0 && (other.candidates[at].sitting > 0 || len(other.candidates) == 1) {
			n += len(other.members)
		}
	}
	return n
}

// obey marks what an operator asked for in the candidates. Of several members'
// wishes for a node the first that is possible counts.
func (p *planner) obey(u *unit) {
	granted := false
	for _, s := range u.members {
		switch {
		case s.MoveTo != "":
			granted = p.obeyTo(u, s, granted) || granted
		case s.MoveFrom != "":
			p.obeyFrom(u, s)
		}
	}
}

// obeyTo marks the node that an operator asked for and reports whether the wish
// is granted.
func (p *planner) obeyTo(u *unit, s fact.Service, taken bool) bool {
	name, to := s.Spec.Name, s.MoveTo
	at := slices.IndexFunc(u.candidates, func(c candidate) bool { return c.node == to })
	switch {
	case at >= 0 && u.candidates[at].suspect && s.Holder != to:
		u.why = append(u.why, fmt.Sprintf("the wish to move %s to %s waits: %s is suspect", name, to, to))
		return false
	case at >= 0 && taken && !u.candidates[at].wanted:
		u.void(name, fmt.Sprintf("the wish to move %s to %s is void: what it is together with goes elsewhere", name, to))
		return false
	case at >= 0:
		u.candidates[at].wanted = true
		if s.Holder == to {
			u.moves[name] = true
		}
		return true
	}
	if _, known := p.node(to); !known {
		u.void(name, fmt.Sprintf("the wish to move %s to %s is void: the cell has no node %s", name, to, to))
		return false
	}
	for _, r := range u.refusals {
		if r.Node == to {
			u.void(name, fmt.Sprintf("the wish to move %s to %s is void: %s", name, to, r.Why))
			break
		}
	}
	return false
}

// obeyFrom marks the node that an operator asked to leave.
func (p *planner) obeyFrom(u *unit, s fact.Service) {
	name, from := s.Spec.Name, s.MoveFrom
	elsewhere := slices.ContainsFunc(u.candidates, func(c candidate) bool { return c.node != from && c.refuge() })
	at := slices.IndexFunc(u.candidates, func(c candidate) bool { return c.node == from })
	switch {
	case !elsewhere && at >= 0:
		u.void(name, fmt.Sprintf("the wish to move %s away from %s is void: no other node may run it now", name, from))
		return
	case s.Holder != "" && s.Holder != from && p.alive(s.Holder):
		u.moves[name] = true
	}
	if at >= 0 {
		u.candidates[at].unwanted = true
	}
}

func (u *unit) void(s spec.ServiceName, why string) {
	u.moves[s] = true
	u.why = append(u.why, why)
}
