package decide

import (
	"slices"

	"github.com/keelson/keelson/internal/core/decide/restrain"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// copiesLeave returns, for each node, how many copies of a unit newly leave it.
// Those of a node that is lost count, as far as others take their place, and are
// not asked to wait.
func (p *planner) copiesLeave(u *unit) []restrain.Departure {
	s := &u.members[0]
	then := map[spec.NodeName]int{}
	for _, c := range u.places {
		then[c.Node]++
	}
	now := map[spec.NodeName]int{}
	for _, n := range s.Copies {
		now[n]++
	}
	came := 0
	for n, k := range then {
		came += max(0, k-now[n])
	}
	var out []restrain.Departure
	for i := range p.Nodes {
		n := &p.Nodes[i]
		gone := now[n.Name] - then[n.Name]
		if gone <= 0 && then[n.Name] == 0 && restrain.GaveUp(p.Past[s.Spec.Name], n.Name) && !p.runsAt(*s, n.Name) {
			gone = 1 // it was taken away when it failed, and what comes now takes its place
		}
		if gone <= 0 || n.Witness || n.Drain || n.Leaving || n.Maintenance {
			continue
		}
		d := restrain.Departure{Unit: u.name(), Members: u.members, From: n.Name, Copies: gone, Several: true, Lost: n.Liveness == fact.Lost}
		d.Down = !d.Lost && restrain.GaveUp(p.Past[s.Spec.Name], n.Name) && !p.runsAt(*s, n.Name)
		d.Ill = !d.Lost && (d.Down || n.Health < 0)
		switch {
		case d.Lost || d.Down:
			// One that runs nowhere is no move until another takes its place.
			d.Copies = min(gone, came)
			came -= d.Copies
		case !p.onlyIll(u, n):
			continue // another rule takes its place away
		}
		if d.Copies > 0 {
			out = append(out, d)
		}
	}
	return slices.Clip(out)
}
