package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/core/decide/ground"
	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	why "github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
)

// Seats returns where the service is to be, without working out who follows.
// It is empty for a service that no node may run, that is not to run, or that the
// snapshot lacks.
func Seats(s fact.Snapshot, service spec.ServiceName) []why.Seat {
	if !s.Quorate {
		return nil
	}
	p, _ := settled(ground.Sorted(s), nil)
	u := p.unitOf[service]
	if u == nil {
		return nil
	}
	var out []why.Seat
	if u.copies == nil && len(u.order) > 0 {
		out = append(out, why.Seat{Node: u.order[0]})
	}
	for _, c := range u.places {
		out = append(out, why.Seat{Node: c.Node, Role: c.Role})
	}
	return out
}

// Weigh returns, for a service that runs several times, what speaks for each node that
// may run a copy and what put one there or kept it away; and for a service that runs once, how each node that may run it
// compares with the one that was chosen, which comes first. Its Stand is
// [why.Home] and it is compared with the next best; the others are sorted
// from better to worse. Nil: there is nothing to compare.
func Weigh(s fact.Snapshot, service spec.ServiceName) []why.Verdict {
	if !s.Quorate {
		return nil
	}
	p, _ := settled(ground.Sorted(s), nil)
	p.tell()
	u := p.unitOf[service]
	if u != nil && u.copies != nil && !u.left {
		return p.weighCopies(u)
	}
	if u == nil || len(u.order) == 0 || len(u.candidates) == 0 || u.candidates[0].Node != u.order[0] {
		return nil
	}
	all := slices.Clone(u.candidates)
	rank.Sort(all[1:])
	home := &all[0]
	out := make([]why.Verdict, 0, len(all))
	for i := range all {
		c := &all[i]
		v := why.Verdict{Node: c.Node, Stand: why.Next, Score: c.Score, Scores: p.scores(u, c)}
		switch {
		case i > 0:
			v.By, v.Why = p.compared(u, home, c)
		case len(all) > 1:
			v.Stand = why.Home
			v.By, v.Why = p.compared(u, home, &all[1])
		default:
			v.Stand, v.By = why.Home, why.ByOnly
			v.Why = "no other node may run it"
		}
		out = append(out, v)
	}
	return out
}

// weighCopies says of each node that a copy may run on why it has one, or has none.
func (p *planner) weighCopies(u *unit) []why.Verdict {
	var out []why.Verdict
	s := &u.members[0]
	now := p.seatsOf(s)
	for n, score := range p.problem.Items[u.item].Score {
		if score <= -place.Inf {
			continue
		}
		at := p.Nodes[n].Name
		c := rank.Candidate{Node: at, Index: n, Score: score}
		here := slices.ContainsFunc(now, func(o action.Copy) bool { return o.Node == at })
		if here {
			c.Stay(s.Spec.Place.EffectiveStickiness(), true)
		}
		v := why.Verdict{Node: at, Stand: why.Never, Score: c.Score, Scores: p.scores(u, &c)}
		label, shared := p.sharing(u, n)
		switch {
		case u.holds(at) && here:
			v.Stand, v.By, v.Why = why.Home, why.ByStickiness, "a copy is here and stays"
		case u.holds(at) && label != "" && !shared:
			v.Stand, v.By, v.Why = why.Home, why.BySpread, fmt.Sprintf("a copy belongs here: no other is at the same %s", label)
		case u.holds(at):
			v.Stand, v.By, v.Why = why.Home, why.ByPreference, "a copy belongs here"
		case shared:
			v.By, v.Why = why.BySpread, fmt.Sprintf("place.spread: another copy is at the same %s, and %d of %d copies have a place", label, len(u.places), p.problem.Items[u.item].Set.Max)
		default:
			v.By, v.Why = why.ByOnly, fmt.Sprintf("all %d copies have a place elsewhere", len(u.places))
			if len(u.places) < p.problem.Items[u.item].Set.Max {
				v.By, v.Why = why.ByRule, "a rule between services, or its room, keeps a copy from it"
			}
		}
		out = append(out, v)
	}
	return out
}

// sharing is the first label of place.spread, and whether another node at the same
// place has a copy.
func (p *planner) sharing(u *unit, n int) (label string, shared bool) {
	spread := u.members[0].Spec.Place.Spread
	if len(spread) == 0 {
		return "", false
	}
	classes := p.Classes(spread[0])
	for m, other := range p.Nodes {
		if m != n && classes[m] >= 0 && classes[m] == classes[n] && u.holds(other.Name) {
			return spread[0], true
		}
	}
	return spread[0], false
}

// compared says what put one candidate before another.
func (p *planner) compared(u *unit, better, worse *rank.Candidate) (why.By, string) {
	at := slices.IndexFunc(rank.Criteria[:], func(c rank.Criterion) bool { return c.Compare(better, worse) != 0 })
	if at < 0 || rank.Criteria[at].Compare(better, worse) > 0 {
		return why.ByCapacity, fmt.Sprintf("%s has more room for all that must come with it than %s", better.Node, worse.Node)
	}
	switch by := rank.Criteria[at].By; by {
	case why.ByPreference:
		return p.scored(u, better, worse)
	case why.ByCapacity:
		return by, fmt.Sprintf("the scores are equal, and %s has more room (%s) than %s (%s)", better.Node, p.roomIn(better), worse.Node, p.roomIn(worse))
	case why.ByPresence:
		return by, fmt.Sprintf("the scores are equal, and it is on %s now", better.Node)
	case why.ByDisplacing:
		return by, fmt.Sprintf("the scores are equal, and on %s it would displace %s", worse.Node, p.rivals(u, worse.Node))
	case why.ByLoad:
		return by, fmt.Sprintf("the scores are equal, and %s has fewer services than %s (%d against %d)", better.Node, worse.Node, better.Load, worse.Load)
	default:
		return by, rank.Criteria[at].Because(better, worse)
	}
}

// scored says what made the larger score larger.
func (p *planner) scored(u *unit, better, worse *rank.Candidate) (why.By, string) {
	health := func(c *rank.Candidate) int { return p.Nodes[c.Index].Health }
	kinds := []why.By{why.ByPreference, why.ByStickiness, why.ByAttraction, why.ByHealth}
	diff := []int{0, better.Sticky - worse.Sticky, better.Others - worse.Others, health(better) - health(worse)}
	diff[0] = better.Score - worse.Score - diff[1] - diff[2] - diff[3]
	most := 0
	for i := range diff {
		if diff[i] > diff[most] {
			most = i
		}
	}
	return kinds[most], fmt.Sprintf("%s scores %s, %s %s", better.Node, rank.Tally(better.Score, p.scores(u, better)), worse.Node, rank.Tally(worse.Score, p.scores(u, worse)))
}

// scores takes a candidate's score apart, by the rule that each part is from.
func (p *planner) scores(u *unit, c *rank.Candidate) []why.Score {
	n := p.Nodes[c.Index]
	var out []why.Score
	rest := c.Score
	add := func(rule string, score int) {
		if score != 0 {
			out = append(out, why.Score{Rule: rule, Score: score})
			rest -= score
		}
	}
	for _, s := range u.members {
		for _, pref := range s.Spec.Place.Prefer {
			key, value, isLabel := spec.SplitLabel(pref.Label)
			got, has := n.Labels[key]
			switch {
			case !pref.Holds(p.snapshot.Now) || pref.Role != "":
			case pref.Node == n.Name:
				add("place.prefer node "+string(n.Name), pref.Score)
			case isLabel && has && got == value:
				add("place.prefer "+pref.Label, pref.Score)
			}
		}
	}
	add("health of "+string(n.Name), n.Health)
	add("place.stickiness", c.Sticky)
	if c.Others == 0 {
		return out
	}
	before := rest - c.Others
	for _, s := range u.members {
		for _, near := range s.Spec.Place.Near {
			if p.nearTo(near, c.Index) {
				add("place.near "+string(near.Service), near.Score)
			}
		}
	}
	add(p.drawn(u), rest-before)
	return out
}

// nearTo reports whether the other service of a rule has been placed where the
// rule holds for the node.
func (p *planner) nearTo(near spec.Near, node int) bool {
	return near.Score < place.Inf && near.Score > -place.Inf && p.isNear(p.unitOf[near.Service], spec.Near{Same: near.Same}, node)
}

// drawn names the rules of other services that count for the unit.
func (p *planner) drawn(u *unit) string {
	var names []string
	for _, s := range p.services {
		for _, near := range s.Spec.Place.Near {
			if p.unitOf[near.Service] == u && p.unitOf[s.Spec.Name] != u && !slices.Contains(names, string(s.Spec.Name)) {
				names = append(names, string(s.Spec.Name))
			}
		}
	}
	if len(names) == 0 {
		return "place.near"
	}
	return "place.near of " + strings.Join(names, ", ")
}

// rivals names who may not share the node with the unit and is, or would have to
// be, there.
func (p *planner) rivals(u *unit, node spec.NodeName) string {
	var names []string
	for _, e := range u.enemies {
		if e.unit.holds(node) || slices.Contains(e.unit.at, node) {
			names = append(names, string(e.theirs))
		}
	}
	if len(names) == 0 {
		return "another service"
	}
	return strings.Join(names, ", ")
}

// roomIn writes the room that a candidate had.
func (p *planner) roomIn(c *rank.Candidate) string {
	var parts []string
	for k, kind := range p.kinds {
		if k < len(c.Free) {
			parts = append(parts, fmt.Sprintf("%d of %s", max(0, c.Free[k]), kind))
		}
	}
	return strings.Join(parts, ", ")
}
