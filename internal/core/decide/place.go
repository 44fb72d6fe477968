package decide

import (
	"fmt"
	"slices"
	"sort"

	"github.com/keelson/keelson/internal/core/decide/ground"
	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// settle takes over which node the engine chose for the unit.
func (p *planner) settle(u *unit, chosen place.Placed) {
	if chosen.Choice == nil || chosen.Node == place.Nowhere {
		return
	}
	u.order = []spec.NodeName{p.Nodes[chosen.Node].Name}
	p.load[chosen.Node] += len(u.members)
}

// tell says why the units that run once are where they are, and what keeps them from
// other nodes. It is asked once, when no other plan will be made.
func (p *planner) tell() {
	for _, u := range p.units {
		if !u.left && u.copies == nil {
			p.account(u, p.placed[u.item])
		}
	}
}

// account tells it of one unit, and puts its candidates in order.
func (p *planner) account(u *unit, chosen place.Placed) {
	p.weigh(u, chosen)
	p.obey(u)
	if len(u.candidates) == 0 || len(u.order) == 0 {
		u.why = append(u.why, fmt.Sprintf("%s has no place: no node may run it", u.name()))
		u.candidates = nil
		return
	}
	best := &u.candidates[0]
	if len(u.candidates) == 1 {
		u.why = append(u.why, fmt.Sprintf("%s belongs on %s: no other node may run it", u.name(), best.Node))
		return
	}
	second := &u.candidates[1]
	u.why = append(u.why, string(u.name())+" belongs on "+string(best.Node)+": "+best.Sum(),
		string(best.Node)+" before "+string(second.Node)+": "+rank.Reason(best, second))
	u.foresee(best)
}

// weigh takes out the candidates that the engine may not use, and puts the one
// that it chose first and the next best one second.
func (p *planner) weigh(u *unit, chosen place.Placed) {
	if chosen.Choice == nil {
		u.candidates = nil
		return
	}
	in := u.candidates[:0]
	best, second := -1, -1
	for i := range u.candidates {
		n := u.candidates[i].Index
		score := chosen.Score[n]
		if score <= -place.Inf {
			u.refuse(u.candidates[i].Node, p.hindrance(u, n, chosen))
			u.barred = append(u.barred, u.candidates[i])
			continue
		}
		at := len(in)
		if in = in[:at+1]; at != i {
			in[at] = u.candidates[i]
		}
		c := &in[at]
		if score != c.Score {
			c.Made = slices.Clip(c.Made)
			c.Others = score - c.Score
			c.Add(c.Others, "other services")
		}
		c.Load, c.Crowd = chosen.Choice.Load[n], chosen.Choice.Crowd[n]
		c.Free = p.freeThen(chosen, n)
		switch {
		case n == chosen.Node:
			best = at
		case second < 0 || rank.Compare(&in[at], &in[second]) < 0:
			second = at
		}
	}
	u.candidates = in
	if best < 0 {
		return
	}
	in[0], in[best] = in[best], in[0]
	if second == 0 {
		second = best
	}
	if second > 0 {
		in[1], in[second] = in[second], in[1]
	}
}

// freeThen is the room that was left on a node when the engine chose.
func (p *planner) freeThen(chosen place.Placed, n int) []int {
	k := len(p.kinds)
	if k == 0 || chosen.Choice.Free == nil {
		return nil
	}
	return chosen.Choice.Free[n*k : (n+1)*k]
}

// hindrance says what of the other units keeps the unit from the node.
func (p *planner) hindrance(u *unit, n int, chosen place.Placed) string {
	if why := p.ruledOut(u, n); why != "" {
		return why
	}
	for k := range p.kinds {
		if free := p.freeThen(chosen, n)[k]; u.demand != nil && u.demand[k] > free {
			return ground.Short(&p.Nodes[n], p.kinds[k], u.demand[k], free)
		}
	}
	for _, e := range u.enemies {
		if slices.Contains(e.unit.at, p.Nodes[n].Name) {
			return fmt.Sprintf("%s is there and keeps its place, and %s is to be apart from it", e.theirs, e.mine)
		}
	}
	if u.demand != nil {
		return "who is there keeps its room, and there is not enough for both"
	}
	return "a rule of place.near forbids it, its own or another service's"
}

// ruledOut says which rule between services keeps the unit from a node, with all
// others where they are to be; empty: none.
func (p *planner) ruledOut(u *unit, n int) string {
	at := p.Nodes[n].Name
	for _, e := range u.enemies {
		if e.unit.holds(at) {
			return fmt.Sprintf("%s belongs there, and %s is to be apart from it", e.theirs, e.mine)
		}
	}
	for k := range u.members {
		s := &u.members[k].Spec
		for _, near := range s.Place.Near {
			if near.Score > -place.Inf && near.Score < place.Inf || near.As != "" {
				continue
			}
			other := p.unitOf[near.Service]
			switch there := p.isNear(other, near, n); {
			case other == u:
			case near.Score > 0 && (other == nil || other.nowhere()) && p.counts(near.Service):
				return fmt.Sprintf("%s is to be near %s, which runs nowhere", s.Name, near.Service)
			case near.Score > 0 && other != nil && !there:
				return fmt.Sprintf("%s is to be near %s, which is not there", s.Name, near.Service)
			case near.Score < 0 && there:
				return fmt.Sprintf("%s is to be away from %s", s.Name, near.Service)
			}
		}
	}
	for _, r := range p.avoiding[u] {
		if p.isNear(r.unit, spec.Near{Same: r.near.Same, Role: r.near.As}, n) {
			return fmt.Sprintf("%s belongs there, and is to be away from %s", r.name, r.near.Service)
		}
	}
	return ""
}

// avoider is a service that is to be away from a unit by a rule of its own.
type avoider struct {
	unit *unit
	name spec.ServiceName
	near spec.Near
}

// known returns the service of that name, nil if the cell has none.
func (p *planner) known(name spec.ServiceName) *fact.Service {
	at := sort.Search(len(p.services), func(i int) bool { return p.services[i].Spec.Name >= name })
	if at == len(p.services) || p.services[at].Spec.Name != name {
		return nil
	}
	return &p.services[at]
}

// counts reports whether the cell has a service of that name that is to stay.
func (p *planner) counts(name spec.ServiceName) bool {
	s := p.known(name)
	return s != nil && !s.Deleting
}

// isNear reports whether a rule finds the other unit where it looks for it.
func (p *planner) isNear(other *unit, near spec.Near, node int) bool {
	if other == nil {
		return false
	}
	classes := p.Classes(near.Same)
	for i, n := range p.Nodes {
		if other.holdsAs(n.Name, near.Role) && (classes == nil && i == node || classes != nil && classes[i] >= 0 && classes[i] == classes[node]) {
			return true
		}
	}
	return false
}

// holdsAs reports whether the unit, or a copy of it in that role, is to be on the node.
func (u *unit) holdsAs(node spec.NodeName, role spec.Role) bool {
	return slices.ContainsFunc(u.seated(), func(c action.Copy) bool { return c.Node == node && (role == "" || c.Role == role) })
}

// seated is where the unit is to be, and what is left as it is, is; what runs once has
// no role.
func (u *unit) seated() []action.Copy {
	switch {
	case u.copies != nil:
		return u.places
	case u.left && u.at[0] != "":
		return []action.Copy{{Node: u.at[0]}}
	case !u.left && len(u.order) > 0:
		return []action.Copy{{Node: u.order[0]}}
	}
	return nil
}

// nowhere reports whether the unit has no place.
func (u *unit) nowhere() bool { return len(u.order)+len(u.places) == 0 }

// foresee says when a service that an operator moves will not stay there.
func (u *unit) foresee(to *rank.Candidate) {
	if !to.Wanted {
		return
	}
	staying := 0
	for _, s := range u.members {
		staying += s.Spec.Place.EffectiveStickiness()
	}
	for _, c := range u.candidates[1:] {
		if c.Refuge() && c.Score-c.Sticky > to.Score-to.Sticky+staying {
			u.why = append(u.why, fmt.Sprintf("after that it will return to %s, whose preferences outweigh staying", c.Node))
			return
		}
	}
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
	at := slices.IndexFunc(u.candidates, func(c rank.Candidate) bool { return c.Node == to })
	switch {
	case at >= 0 && u.candidates[at].Suspect && s.Holder != to:
		u.why = append(u.why, fmt.Sprintf("the wish to move %s to %s waits: %s is suspect", name, to, to))
		return false
	case at >= 0 && taken && !u.candidates[at].Wanted:
		u.void(name, fmt.Sprintf("the wish to move %s to %s is void: what it is together with goes elsewhere", name, to))
		return false
	case at >= 0:
		u.candidates[at].Wanted = true
		if s.Holder == to {
			u.moved(name)
		}
		return true
	}
	if _, known := p.Node(to); !known {
		u.void(name, fmt.Sprintf("the wish to move %s to %s is void: the cell has no node %s", name, to, to))
		return false
	}
	for _, r := range u.refusals {
		if r.Node == to {
			u.void(name, fmt.Sprintf("the wish to move %s to %s is void: %s", name, to, u.told(r)))
			break
		}
	}
	return false
}

// obeyFrom marks the node that an operator asked to leave.
func (p *planner) obeyFrom(u *unit, s fact.Service) {
	name, from := s.Spec.Name, s.MoveFrom
	elsewhere := slices.ContainsFunc(u.candidates, func(c rank.Candidate) bool { return c.Node != from && c.Refuge() })
	at := slices.IndexFunc(u.candidates, func(c rank.Candidate) bool { return c.Node == from })
	switch {
	case !elsewhere && at >= 0:
		u.void(name, fmt.Sprintf("the wish to move %s away from %s is void: no other node may run it now", name, from))
		return
	case s.Holder != "" && s.Holder != from && p.Alive(s.Holder):
		u.moved(name)
	}
	if at >= 0 {
		u.candidates[at].Unwanted = true
	}
}

// moved notes that a wish to move a service is fulfilled or void.
func (u *unit) moved(s spec.ServiceName) {
	if u.moves == nil {
		u.moves = make(map[spec.ServiceName]bool)
	}
	u.moves[s] = true
}

func (u *unit) void(s spec.ServiceName, why string) {
	u.moved(s)
	u.why = append(u.why, why)
}
