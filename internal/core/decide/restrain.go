package decide

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/core/decide/ground"
	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/core/decide/restrain"
	"github.com/keelson/keelson/internal/core/recovery"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// waiting says why the unit is not where it is to be, or nowhere; empty: it is.
func (p *planner) waiting(u *unit) string {
	if u.left && (u.fault != "" || len(u.order)+len(u.places) == 0) {
		return fmt.Sprintf("%s is left as it is, %s", u.name(), p.leftFor(u))
	}
	if h, held := p.Held[u.name()]; held && (u.copies != nil || h.Keep == "" || u.holds(h.Keep)) {
		return h.Why
	}
	for _, s := range u.members {
		if h := p.Past[s.Spec.Name]; !h.Stopped.IsZero() && len(u.order)+len(u.places) == 0 {
			return recovery.Halted(h)
		}
	}
	return ""
}

// isolate takes out the nodes in quarantine, unless the unit is there. Where not
// even two others may run it they stay, and come last: better there than nowhere.
func (p *planner) isolate(u *unit) {
	if !p.Barred {
		return
	}
	barred := func(c rank.Candidate) bool {
		return c.Sitting == 0 && !c.Kept && p.Trust[c.Node].Trust == fact.Quarantined
	}
	others := 0
	for i, c := range u.candidates {
		if barred(c) {
			u.candidates[i].Doubt = fmt.Sprintf("%s is quarantined", c.Node)
		} else {
			others++
		}
	}
	if others < 2 {
		return
	}
	u.candidates = slices.DeleteFunc(u.candidates, func(c rank.Candidate) bool {
		if barred(c) {
			h := p.Trust[c.Node]
			u.refuse(c.Node, fmt.Sprintf("%s is quarantined until %s: %s", c.Node, restrain.Clock(h.Until), h.Why))
		}
		return barred(c)
	})
}

// holdsBack says what a hold makes of a node for a unit: that it stays there, or
// why it does not go there; neither: nothing.
func (p *planner) holdsBack(u *unit, n *fact.Node) (kept bool, why string) {
	if len(p.Held) == 0 {
		return false, ""
	}
	h, held := p.Held[u.name()]
	switch {
	case !held:
		return false, ""
	case u.copies != nil:
		return slices.Contains(h.Nodes, n.Name), ""
	case h.Keep == n.Name:
		return true, ""
	case h.Keep != "":
		return false, ""
	}
	if why := p.forbidden(u, n, ground.Shut(n)); why != "" {
		return false, why
	}
	return false, h.Why
}

// departures lists the units that are newly to leave a living node, and that no
// operator asked to: those that are down first, then in the order of placing.
func (p *planner) departures() []restrain.Departure {
	var out []restrain.Departure
	for _, u := range p.units {
		if u.left || p.asked(u) {
			continue
		}
		if u.copies != nil {
			out = append(out, p.copiesLeave(u)...)
			continue
		}
		if d, leaves := p.departure(u); leaves {
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b restrain.Departure) int { return cmp.Or(rank.Yes(a.Lost, b.Lost), rank.Yes(a.Down, b.Down)) })
	return out
}

// asked reports whether an operator asked for a move, or changed what decides
// where the unit is.
func (p *planner) asked(u *unit) bool {
	return slices.ContainsFunc(u.members, func(s fact.Service) bool {
		return s.MoveTo != "" || s.MoveFrom != "" || s.Planned != 0 && s.Planned != s.Generation
	})
}

// departure returns what the unit leaves, if it does.
func (p *planner) departure(u *unit) (restrain.Departure, bool) {
	to := spec.NodeName("")
	if len(u.order) > 0 {
		to = u.order[0]
	}
	for _, s := range u.members {
		at := p.Sits(&s)
		from, down := at, false
		if last, failed := restrain.LastTried(p.Past[s.Spec.Name]); failed && (from == "" || restrain.GaveUp(p.Past[s.Spec.Name], from)) && !p.runsAt(s, from) {
			from, down = last, true
		}
		decided := len(s.Order) > 0 && s.Order[0] == to
		if from == "" || from == to || decided || at == "" && p.followed(s) {
			continue
		}
		n, known := p.Node(from)
		// Whoever works on a node wants it empty.
		if !known || n.Liveness == fact.Lost || n.Witness || n.Drain || n.Leaving || n.Maintenance {
			continue
		}
		if to == "" && (down || n.Health > -spec.MaxScore) || !down && !p.onlyIll(u, n) {
			continue // another rule takes its place away
		}
		return restrain.Departure{Unit: u.name(), Members: u.members, From: from, Ill: down || n.Health < 0, Down: down}, true
	}
	return restrain.Departure{}, false
}

// onlyIll reports whether nothing but illness, if anything, keeps the unit from
// the node.
func (p *planner) onlyIll(u *unit, n *fact.Node) bool {
	well := *n
	well.Health = 0
	return p.halted[u.name()] == "" && p.forbidden(u, &well, ground.Shut(&well)) == ""
}

// followed reports whether a node of the service's list is lost: who follows is
// not moved away.
func (p *planner) followed(s fact.Service) bool {
	return slices.ContainsFunc(s.Order, func(n spec.NodeName) bool { return !p.Alive(n) })
}

// runsAt reports whether the service is up on the node, or coming up.
func (p *planner) runsAt(s fact.Service, at spec.NodeName) bool {
	n, known := p.Node(at)
	if !known {
		return false
	}
	i := ground.Instance(n, s.Spec.Name)
	return i != nil && recovery.Counts(s, at, *i) && !i.FailedUntil.After(p.snapshot.Now) && (running(*i) || i.Phase == fact.Backoff)
}

// restrain holds back what is too much at once, and reports whether that is more than
// before.
func (p *planner) restrain() bool { return p.Restrain(p.snapshot, p.departures()) }

// remember returns what is to be remembered of this decision, and tells of it.
func (p *planner) remember() (fact.History, []action.Note) {
	return p.Remember(p.snapshot, func(s fact.Service) (restrain.Hold, bool) {
		u := p.unitOf[s.Spec.Name]
		switch {
		case u == nil:
			return restrain.Hold{}, false
		case u.fault != "":
			return restrain.Hold{Why: p.waiting(u)}, true
		}
		h, held := p.Held[u.name()]
		return h, held
	})
}
