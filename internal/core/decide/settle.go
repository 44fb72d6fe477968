package decide

import (
	"slices"

	"github.com/keelson/keelson/internal/core/decide/restrain"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/core/recovery"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// maxSettle bounds how often it is decided what would be decided after a plan.
// Nearly always once is enough, to see that it is nothing.
const maxSettle = 8

// seating is where services are taken to be: where they would be once a plan is
// carried out. Those that run once have one entry, without a role. Nil: they are
// where the snapshot says.
type seating map[spec.ServiceName][]action.Copy

// settled returns a planner whose units have their first places. Units that
// could not start for want of what they are after are not placed at all: they
// would stand in others' way.
//
// Nor is what waits moved: where more would be moved than recovery allows, it is
// held back, and all is placed again. The notes are what was remembered anew.
func settled(s fact.Snapshot, faulty map[spec.ServiceName]string) (*planner, []action.Note) {
	history, notes := recovery.Review(s)
	r := restrain.New(s, history)
	r.Faulty = faulty
	for {
		if p := rest(s, r); !p.restrain() {
			return p, notes
		}
	}
}

// rest returns a planner that would place everything where it is, once its plan is
// carried out: so that a plan is followed by an empty one.
//
// What is drawn to each other, or waits for another's room, may have reason to move
// again once something has moved. That is decided on at once, and only the end of
// it is planned. Where it has no end, all that may stay where it is stays; what then
// comes of itself is the end, and if that has none either, it is the plan as it is.
// It is the same for the snapshot after it, whose ways all begin there.
func rest(s fact.Snapshot, r *restrain.Restraint) *planner {
	if p := follow(s, stage{Restraint: r}); p != nil {
		return p
	}
	calm := stage{Restraint: r, calm: true}
	p := solved(s, calm)
	for range maxSettle {
		at := p.seats()
		calm.sitting = at
		next := solved(s, calm)
		if p = next; same(at, next.seats()) {
			break
		}
	}
	if end := follow(s, stage{Restraint: r, sitting: p.seats()}); end != nil {
		return end
	}
	return p
}

// follow decides, then on what would be after that, until nothing changes any more.
// Nil: that does not end.
func follow(s fact.Snapshot, from stage) *planner {
	for range maxSettle {
		p := solved(s, from)
		if p.atRest() || p.stays() {
			return p
		}
		at := p.seats()
		if same(at, from.sitting) {
			return p
		}
		from.sitting = at
	}
	return nil
}

// solved places everything once.
func solved(s fact.Snapshot, from stage) *planner {
	halted := make(map[spec.ServiceName]string)
	for {
		p := newPlanner(s, halted, from)
		p.place()
		if !p.halt(halted) && !p.breach(halted) {
			return p
		}
	}
}

// seats is where the planner puts everything.
func (p *planner) seats() seating {
	out := make(seating, len(p.services))
	for _, u := range p.units {
		if u.left {
			continue
		}
		for _, s := range u.members {
			out[s.Spec.Name] = u.places
			if u.copies == nil && len(u.order) > 0 {
				out[s.Spec.Name] = []action.Copy{{Node: u.order[0]}}
			}
		}
	}
	return out
}

func same(a, b seating) bool {
	if len(a) != len(b) {
		return false
	}
	for name, seats := range a {
		if !slices.Equal(seats, b[name]) {
			return false
		}
	}
	return true
}

// atRest reports whether everything is to be where it is: then there is no after.
func (p *planner) atRest() bool {
	return p.sitting == nil && len(p.movers()) == 0
}

// movers are the units that are to be where they are not.
func (p *planner) movers() []*unit {
	var out []*unit
	for _, u := range p.units {
		if u.left {
			continue
		}
		if u.copies != nil {
			if !slices.Equal(p.seatsOf(&u.members[0]), u.places) {
				out = append(out, u)
			}
			continue
		}
		to := spec.NodeName("")
		if len(u.order) > 0 {
			to = u.order[0]
		}
		if slices.ContainsFunc(u.at, func(at spec.NodeName) bool { return at != to }) {
			out = append(out, u)
		}
	}
	return out
}

// stays reports whether the engine would choose the same again, with everything
// where it chose. Only what the movers have to do with is asked again: all others are
// where they are best and have room, and nothing of that changes while nobody
// leaves a place that they could have.
func (p *planner) stays() bool {
	if len(p.halted) > 0 {
		return false // what is halted depends on what runs
	}
	q := p.problem
	q.Explain, q.Items = false, slices.Clone(q.Items)
	asked := p.concerned(p.movers())
	for _, u := range p.units {
		switch {
		case u.left:
		case u.copies != nil:
			p.seatAgain(u, q.Items, asked[u.item])
		case !asked[u.item]:
			q.Items[u.item].State = place.State{Role: place.Stopped, Fixed: true, Unmanaged: true}
			if len(u.order) > 0 {
				q.Items[u.item].State.At, q.Items[u.item].State.Role = []int{p.Index(u.order[0])}, place.Started
			}
		default:
			p.sitAgain(u, &q.Items[u.item])
		}
	}
	again := place.Solve(q)
	for _, u := range p.units {
		if !u.left && (again[u.item].Node != p.placed[u.item].Node || u.copies != nil && !slices.Equal(p.copiesIn(u, again), u.places)) {
			return false
		}
	}
	return true
}

// itemsThen are the engine's items with everything where it is to be.
func (p *planner) itemsThen() []place.Item {
	items := slices.Clone(p.problem.Items)
	for _, u := range p.units {
		switch {
		case u.left:
		case u.copies != nil:
			p.seatAgain(u, items, true)
		default:
			p.sitAgain(u, &items[u.item])
		}
	}
	return items
}

// sitAgain writes a unit that runs once as if it were where it is to be.
func (p *planner) sitAgain(u *unit, item *place.Item) {
	sticky, to := 0, place.Nowhere
	for _, s := range u.members {
		sticky += s.Spec.Place.EffectiveStickiness()
	}
	if len(u.order) > 0 {
		to = p.Index(u.order[0])
	}
	score, share := slices.Clone(u.base), make([]int, len(p.Nodes))
	item.Priority = 2 * u.priority
	item.Score, item.Rank = score, slices.Clone(u.ranks.away)
	item.State = place.State{Role: place.Stopped, Share: share}
	if to != place.Nowhere {
		score[to], share[to], item.Rank[to] = max(-place.Inf+1, min(place.Inf, score[to]+sticky)), len(u.members), u.ranks.there[to]
		item.State.At, item.State.Role = []int{to}, place.Started
		item.Priority++
	}
}

// seatAgain does the same for the copies of a unit, in the order in which they will be
// listed then.
func (p *planner) seatAgain(u *unit, items []place.Item, asked bool) {
	s := &u.members[0]
	set := &items[u.item].Set
	if set.PrimaryScore != nil {
		set.PrimaryScore = p.primaryScore(*s, u.places)
	}
	items[u.item].Priority = 2 * u.priority
	if len(u.places) > 0 {
		items[u.item].Priority++
	}
	for k, c := range items[u.item].Children {
		child := &items[c]
		child.Priority = items[u.item].Priority
		child.Score = slices.Clone(items[u.item].Score)
		child.State = place.State{Role: place.Stopped, Fixed: !asked, Unmanaged: !asked}
		if k >= len(u.places) {
			continue
		}
		to := p.Index(u.places[k].Node)
		child.State.At, child.State.Role = []int{to}, playing(u.places[k].Role)
		if child.Score[to] > -place.Inf {
			child.Score[to] = place.Sum(child.Score[to], s.Spec.Place.EffectiveStickiness())
		}
		if p.Nodes[to].Maintenance {
			child.State.Fixed, child.State.Unmanaged = true, true
		}
	}
}

// concerned marks the items that have to do with what moves: by a rule, over any
// number of others; all of them, if room or a node is given up that others could have.
func (p *planner) concerned(movers []*unit) []bool {
	out := make([]bool, len(p.problem.Items))
	near := make([][]int, len(p.problem.Items))
	for _, pull := range p.problem.Pulls {
		near[pull.Item], near[pull.With] = append(near[pull.Item], pull.With), append(near[pull.With], pull.Item)
	}
	var next []int
	all := false
	for _, u := range movers {
		next = append(next, u.item)
		all = all || u.copies != nil || len(p.kinds) > 0 && slices.ContainsFunc(u.at, p.Alive)
	}
	for _, u := range p.units {
		out[u.item] = all
	}
	for len(next) > 0 && !all {
		i := next[0]
		next = next[1:]
		if !out[i] {
			out[i] = true
			next = append(next, near[i]...)
		}
	}
	return out
}

// seat is where a service that runs once is taken to be while placing.
func (p *planner) seat(s *fact.Service) spec.NodeName {
	if p.unitOf[s.Spec.Name].left {
		return p.Home(s)
	}
	if p.sitting == nil {
		return p.Sits(s)
	}
	if at := p.sitting[s.Spec.Name]; len(at) > 0 {
		return at[0].Node
	}
	return ""
}

// isOn reports whether a service, or a copy of it, is on a node by what is known of
// its holder and its placement.
func (p *planner) isOn(s *fact.Service, node spec.NodeName) bool {
	if p.sitting == nil || p.unitOf[s.Spec.Name].left {
		return s.Holder == node || slices.Contains(s.Copies, node)
	}
	return slices.ContainsFunc(p.sitting[s.Spec.Name], func(c action.Copy) bool { return c.Node == node })
}
