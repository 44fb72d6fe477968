package decide

import (
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// breach adds to halted the units that were placed against a rule of place.near of
// their own, and reports whether there were any that it did not know. Placing goes
// through the units one after the other: of some that need each other in a circle,
// the first has no place that suits the last, or none that the last may use.
func (p *planner) breach(halted map[spec.ServiceName]string) bool {
	found := false
	for _, u := range p.units {
		if u.left || u.nowhere() || halted[u.name()] != "" {
			continue
		}
		for k := range u.members {
			if why := p.broken(u, &u.members[k]); why != "" {
				halted[u.name()], found = why, true
				break
			}
		}
	}
	return found
}

// broken says which rule of place.near a service does not keep, empty if none.
func (p *planner) broken(u *unit, s *fact.Service) string {
	rules := s.Spec.Place.Near
	for _, name := range s.Spec.Place.Together { // of those that run once it is one unit
		rules = append(slices.Clip(rules), spec.Near{Service: name, Score: place.Inf})
	}
	for _, near := range rules {
		other := p.unitOf[near.Service]
		if near.Score > -place.Inf && near.Score < place.Inf || other == nil || other == u ||
			near.As != "" && !u.hasRoles() || near.Role != "" && !other.hasRoles() {
			continue
		}
		for _, at := range u.seated() {
			if near.As != "" && at.Role != near.As || u.copies != nil && p.Nodes[p.Index(at.Node)].Maintenance {
				continue
			}
			switch there := p.isNear(other, near, p.Index(at.Node)); {
			case near.Score > 0 && !there && other.nowhere():
				return fmt.Sprintf("%s is to be near %s, which runs nowhere", s.Spec.Name, near.Service)
			case near.Score > 0 && !there:
				return fmt.Sprintf("%s is to be near %s, which belongs where it may not be", s.Spec.Name, near.Service)
			case near.Score < 0 && there:
				return fmt.Sprintf("%s is to be away from %s, and no place was found for both", s.Spec.Name, near.Service)
			}
		}
	}
	return ""
}
