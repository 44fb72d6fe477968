package script

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// unit is the kind of unit that nodes have and services need.
const unit = "cpu"

// room is how much of the unit a node has, if nodes say so at all.
func (p *Plan) room(slot uint8) (has int, bounded bool) {
	text, bounded := p.Labels[slot][spec.CapacityLabel+"/"+unit]
	has, err := strconv.Atoi(text)
	return has, bounded && err == nil
}

// Beside says which invariant is broken if a service starts on a node where others run,
// itself among them, and why; empty: none. Labels, and who is to be apart from whom, do
// not change in a history, so it does not matter who has heard of what.
func (p *Plan) Beside(slot uint8, s *spec.Service, there map[instance.Name]*spec.Service) (invariant, why string) {
	used, names := 0, slices.Sorted(maps.Keys(there))
	for _, name := range names {
		o := there[name]
		if slices.Contains(s.Place.Apart, o.Name) || slices.Contains(o.Place.Apart, s.Name) {
			return "apart", fmt.Sprintf("%s runs there, and they are to be apart", name)
		}
		used += o.Needs[unit]
	}
	if has, bounded := p.room(slot); bounded && used > has && s.Needs[unit] > 0 {
		return "room", fmt.Sprintf("it has %d of %s, and %v need %d", has, unit, names, used)
	}
	return "", ""
}

// MayLackRoom reports whether a service may have no home in a cell that is well: for
// want of room, or since too many are to be apart.
func (p *Plan) MayLackRoom(s *spec.Service) bool {
	hated := slices.ContainsFunc(p.Services, func(o Served) bool { return slices.Contains(o.Spec.Place.Apart, s.Name) })
	_, bounded := p.room(0)
	return len(s.Place.Apart) > 0 || hated || bounded && s.Needs[unit] > 0
}
