package decide

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/decide/ground"
	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/core/recovery"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// consider sorts the nodes into those that may run the unit and those that may
// not, by rules that need no other unit.
func (p *planner) consider(u *unit) {
	u.at = make([]spec.NodeName, len(u.members))
	for k := range u.members {
		u.at[k] = p.seat(&u.members[k])
	}
	u.ranks.likings = make([]rank.Likings, len(u.members))
	for k := range u.members {
		u.ranks.likings[k] = rank.LikingsOf(&u.members[k].Spec, p.snapshot.Now)
	}
	self := slices.IndexFunc(u.enemies, func(e enemy) bool { return e.unit == u })
	halted := cmp.Or(u.torn(), p.halted[u.name()])
	u.candidates = p.spare.candidates.Take(len(p.Nodes), len(p.units))[:0]
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if self >= 0 {
			u.refuse(n.Name, fmt.Sprintf("%s and %s are to be apart and together at once", u.enemies[self].mine, u.enemies[self].theirs))
			continue
		}
		if halted != "" {
			u.refuse(n.Name, halted)
			continue
		}
		kept, why := p.holdsBack(u, n)
		if why == "" && !kept {
			why = p.forbidden(u, n, p.shut[i])
		}
		if why != "" {
			u.refuse(n.Name, why)
			continue
		}
		u.candidates = u.candidates[:len(u.candidates)+1] // all zero
		p.rate(u, &u.candidates[len(u.candidates)-1], i, kept)
	}
	p.isolate(u)
}

// rate says what speaks for a node, whoever else is where.
func (p *planner) rate(u *unit, c *rank.Candidate, i int, kept bool) {
	n := &p.Nodes[i]
	c.Node, c.Index, c.Suspect = n.Name, i, n.Liveness != fact.Alive
	for _, l := range u.ranks.likings {
		c.Rate(l, n)
	}
	c.Ail(n)
	c.Kept, c.Doubt = kept, p.Doubt(u.members, n)
	if kept && u.copies != nil {
		c.Score = wished
	}
	for k := range u.members {
		if u.copies == nil && u.at[k] == n.Name {
			c.Sitting++
			c.Stay(u.members[k].Spec.Place.EffectiveStickiness(), p.sitting == nil || n.Name == p.Sits(&u.members[k]))
		}
	}
}

// torn says that members of the unit are to be away from each other; empty: none are.
func (u *unit) torn() string {
	if len(u.members) == 1 {
		return ""
	}
	for k := range u.members {
		for _, near := range u.members[k].Spec.Place.Near {
			with := func(s fact.Service) bool {
				return s.Spec.Name == near.Service && near.Service != u.members[k].Spec.Name
			}
			if near.Score <= -place.Inf && near.As == "" && near.Role == "" && slices.ContainsFunc(u.members, with) {
				return fmt.Sprintf("%s is to be away from %s and together with it at once", u.members[k].Spec.Name, near.Service)
			}
		}
	}
	return ""
}

// trouble notes the services of which an instance failed or would not stop anywhere:
// of the others nothing has to be looked up on each node.
func (p *planner) trouble() {
	p.stuck = p.Stuck()
	for k := range p.Nodes {
		for i := range p.Nodes[k].Instances {
			in := &p.Nodes[k].Instances[i]
			if in.Phase != fact.Stuck && in.Phase != fact.Failed && in.FailedUntil.IsZero() {
				continue
			}
			if p.troubled == nil {
				p.troubled = make(map[spec.ServiceName]bool)
			}
			p.troubled[in.Service] = true
		}
	}
}

// forbidden returns the rule that keeps the unit from the node, empty if none
// does. Shut is the one that holds for all units.
func (p *planner) forbidden(u *unit, n *fact.Node, shut string) string {
	switch {
	case shut != "":
		return shut
	case n.Mute && !slices.ContainsFunc(u.members, func(s fact.Service) bool { return p.isOn(&s, n.Name) }):
		return fmt.Sprintf("%s is mute: its agent does not run or does not reach the store", n.Name)
	}
	for k := range u.members {
		s := &u.members[k]
		if why := p.forbiddenTo(s, u.ranks.likings[k], n); why != "" {
			if s.Spec.Name != u.name() {
				why = fmt.Sprintf("it is together with %s, and %s", s.Spec.Name, why)
			}
			return why
		}
	}
	return ""
}

func (p *planner) forbiddenTo(s *fact.Service, likings rank.Likings, n *fact.Node) string {
	place := &s.Spec.Place
	switch {
	case len(place.On) > 0 && !slices.Contains(place.On, n.Name):
		return fmt.Sprintf("place.on allows only %s", ground.Names(place.On))
	case slices.Contains(place.Never, n.Name):
		return fmt.Sprintf("place.never names %s", n.Name)
	}
	if rule := likings.Shuns(n); rule != "" {
		return rule
	}
	if why := p.StoppedOn(s, n.Name); why != "" {
		return why
	}
	for _, name := range p.stuck[n.Name] {
		other := &spec.Service{Name: name} // of one that is forgotten nothing else is known
		if known := p.known(name); known != nil {
			other = &known.Spec
		}
		if ground.Foes(&s.Spec, other, n) {
			return fmt.Sprintf("a part of %s would not stop there, and they are to be apart", name)
		}
	}
	if !p.troubled[s.Spec.Name] {
		return ""
	}
	i := ground.Instance(n, s.Spec.Name)
	switch {
	case i == nil:
		return ""
	case i.Phase == fact.Stuck:
		return fmt.Sprintf("a part of %s would not stop there", s.Spec.Name)
	case !recovery.Counts(*s, n.Name, *i):
		return "" // an older spec failed, or an operator cleared it; it gets its chance
	case i.FailedUntil.After(p.snapshot.Now):
		return fmt.Sprintf("%s failed there and may return at %s", s.Spec.Name, i.FailedUntil.UTC().Format(time.RFC3339))
	case i.Phase == fact.Failed && i.FailedUntil.IsZero():
		return fmt.Sprintf("%s failed there", s.Spec.Name)
	}
	return ""
}
