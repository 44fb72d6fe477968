package decide

import (
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/core/decide/ground"
	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// domains are the labels that name what fails together, the smallest first.
var domains = [...]string{"rack", "power", "room", "zone", "site"} //nolint:gochecknoglobals // a constant list

// succession decides who follows whom. All units have their first node by now.
// For the loss of each node, and of each domain that labels name, it decides
// again for what was there, while all else stays: so a list holds for the death
// of any one node or domain, and a dying node's services spread over the others.
func (p *planner) succession() {
	followers := p.followers()
	for _, u := range p.units {
		if u.hasRoles() {
			p.succeedPrimary(u, followers[u.item])
			continue
		}
		p.placeSuccessors(u, followers[u.item])
	}
}

// follower is who takes a unit over when nodes are lost.
type follower struct {
	lost []spec.NodeName
	to   spec.NodeName // empty: nobody can
	what string        // that is lost
}

// followers decides again for each loss, by item.
func (p *planner) followers() map[int][]follower {
	out := make(map[int][]follower)
	items := p.itemsThen()
	p.spare.items = slices.Clone(items)
	for n := range p.Nodes {
		p.lose(items, []int{n}, string(p.Nodes[n].Name), out)
	}
	for _, label := range domains {
		classes := p.Classes(label)
		seen := map[int]bool{}
		for _, class := range classes {
			if class < 0 || seen[class] {
				continue
			}
			seen[class] = true
			var lost []int
			for k, other := range classes {
				if other == class {
					lost = append(lost, k)
				}
			}
			if len(lost) > 1 && len(lost) < len(p.Nodes) {
				p.lose(items, lost, label+" "+p.Nodes[lost[0]].Labels[label], out)
			}
		}
	}
	return out
}

// lose decides for the units whose first node is lost, with all others where they
// are to be.
func (p *planner) lose(items []place.Item, lost []int, what string, out map[int][]follower) {
	q := p.problem
	q.Explain = false
	q.Ties = []place.Tie{place.ByRoom, place.ByLoad, place.ByFresh, place.ByNaming}
	q.Nodes = slices.Clone(q.Nodes)
	q.Items = p.spare.items
	copy(q.Items, items)
	names := make([]spec.NodeName, 0, len(lost))
	for _, n := range lost {
		q.Nodes[n].Open = false
		names = append(names, p.Nodes[n].Name)
	}
	var hit []*unit
	for _, u := range p.units {
		item := &q.Items[u.item]
		if u.copies != nil {
			if p.loseRoles(u, q.Items, names) {
				hit = append(hit, u)
			}
			continue
		}
		if len(u.order) == 0 {
			item.Target = place.Stopped
			item.State = place.State{Role: place.Stopped}
			continue
		}
		if u.left && slices.Contains(names, u.order[0]) {
			item.Target, item.State = place.Stopped, place.State{Role: place.Stopped}
			continue
		}
		if slices.Contains(names, u.order[0]) {
			hit = append(hit, u)
			item.Score, item.Rank = p.standing(u)
			item.Priority = 2 * u.priority
			item.State = place.State{Role: place.Stopped}
			continue
		}
		item.State = place.State{At: []int{p.Index(u.order[0])}, Role: place.Started, Fixed: true, Unmanaged: true}
	}
	if len(hit) == 0 {
		return
	}
	placed := place.Solve(q)
	for _, u := range hit {
		f := follower{lost: names, what: what}
		n := placed[u.item].Node
		if u.hasRoles() {
			n = p.promoted(u, placed)
		}
		if n != place.Nowhere {
			f.to = p.Nodes[n].Name
		}
		out[u.item] = append(out[u.item], f)
	}
}

// pin fixes the copies of a unit where they are to be; those on lost nodes are
// gone.
func (p *planner) pin(u *unit, items []place.Item, lost []spec.NodeName) {
	for _, c := range items[u.item].Children {
		state := &items[c].State
		if len(state.At) > 0 && slices.Contains(lost, p.Nodes[state.At[0]].Name) {
			*state = place.State{Role: place.Stopped}
		}
		state.Fixed, state.Unmanaged = true, true
	}
}

// standing is what speaks for each node whoever is there now and whatever an
// operator asked for at the moment.
func (p *planner) standing(u *unit) (score, order []int) {
	score, order = make([]int, len(p.Nodes)), make([]int, len(p.Nodes))
	for i := range p.Nodes {
		score[i] = u.base[i]
		if u.base[i] > -place.Inf {
			c := rank.Candidate{Suspect: p.Nodes[i].Liveness != fact.Alive || u.ranks.doubtful[i]}
			order[i] = c.Class()
		}
	}
	return score, order
}

// placeSuccessors puts the rest of the nodes into the order in which they
// follow.
func (p *planner) placeSuccessors(u *unit, followers []follower) {
	if len(u.order) == 0 || len(u.candidates) == 0 || u.copies != nil {
		return
	}
	holder := u.candidates[0]
	u.candidates = u.candidates[1:]
	for _, c := range u.barred { // what kept it from there may have moved since
		if p.ruledOut(u, c.Index) == "" && p.hasRoom(u, c.Index) {
			u.candidates = append(u.candidates, c)
			u.refusals = slices.DeleteFunc(u.refusals, func(r action.Refusal) bool { return r.Node == c.Node })
		}
	}
	p.keepApart(u)
	p.keepToRoom(u)
	taken := p.takeovers[holder.Index]
	for i := range u.candidates {
		c := u.candidates[i].Successor()
		c.Takeover = taken[c.Index]
		c.Load = p.load[c.Index] + c.Takeover
		c.Free = p.freeOn(c.Index)
		u.candidates[i] = c
	}
	rank.Sort(u.candidates)
	decided := p.decided(u, followers)
	for i, c := range u.candidates {
		u.order = append(u.order, c.Node)
		switch {
		case decided[c.Node] != "":
			u.why = append(u.why, decided[c.Node])
		case i > 0:
			u.why = append(u.why, fmt.Sprintf("then %s before %s: %s", u.candidates[i-1].Node, c.Node, rank.Reason(&u.candidates[i-1], &u.candidates[i])))
		}
	}
	if len(u.candidates) > 0 {
		taken[u.candidates[0].Index] += len(u.members)
	}
}

// decided brings the candidates into the order that the decisions for each loss
// ask for, and says why where it is not their own.
func (p *planner) decided(u *unit, followers []follower) map[spec.NodeName]string {
	why := map[spec.NodeName]string{}
	for _, f := range followers {
		first := slices.IndexFunc(u.candidates, func(c rank.Candidate) bool { return !slices.Contains(f.lost, c.Node) })
		if first < 0 || u.candidates[first].Node == f.to {
			continue
		}
		if f.to == "" {
			if len(f.lost) == 1 {
				for _, c := range u.candidates {
					u.refuse(c.Node, fmt.Sprintf("if %s is lost, there is no room for it beside what else comes", f.what))
				}
				u.candidates = nil
			}
			continue
		}
		// What follows the holder alone is settled before what follows a domain.
		if len(f.lost) > 1 && first == 0 {
			continue
		}
		at := slices.IndexFunc(u.candidates, func(c rank.Candidate) bool { return c.Node == f.to })
		if at < 0 {
			continue
		}
		c := u.candidates[at]
		u.candidates = slices.Insert(slices.Delete(u.candidates, at, at+1), first, c)
		why[c.Node] = fmt.Sprintf("%s follows if %s is lost: decided with all that would come with it", c.Node, f.what)
	}
	return why
}

// keepApart takes out the nodes that rules between services forbid, with all others
// where they are to be.
func (p *planner) keepApart(u *unit) {
	u.candidates = slices.DeleteFunc(u.candidates, func(c rank.Candidate) bool {
		why := p.ruledOut(u, c.Index)
		if why != "" {
			u.refuse(c.Node, why)
		}
		return why != ""
	})
}

// hasRoom reports whether there is room for the unit on the node beside what is
// placed there.
func (p *planner) hasRoom(u *unit, node int) bool {
	for k, free := range p.freeOn(node) {
		if u.demand[k] > free {
			return false
		}
	}
	return true
}

// keepToRoom takes out the nodes that have no room for the unit beside what is
// placed there.
func (p *planner) keepToRoom(u *unit) {
	if len(p.kinds) == 0 {
		return
	}
	u.candidates = slices.DeleteFunc(u.candidates, func(c rank.Candidate) bool {
		free := p.freeOn(c.Index)
		for k, need := range u.demand {
			if need > free[k] {
				u.refuse(c.Node, ground.Short(&p.Nodes[c.Index], p.kinds[k], need, free[k]))
				return true
			}
		}
		return false
	})
}

// freeOn is the room that is left on a node beside what is placed there.
func (p *planner) freeOn(node int) []int {
	if len(p.kinds) == 0 {
		return nil
	}
	if p.free == nil {
		for i := range p.Nodes {
			p.free = append(p.free, p.room(&p.Nodes[i]))
		}
		for _, u := range p.units {
			for _, at := range u.seated() {
				for k, need := range u.demand {
					p.free[p.Index(at.Node)][k] -= need
				}
			}
		}
	}
	return p.free[node]
}

// wish marks what an operator asked for before the engine chooses; obey says
// afterwards what came of it.
func (p *planner) wish(u *unit) {
	u.base, u.ranks.doubtful = p.ints(len(p.Nodes)), p.bools(len(p.Nodes))
	for i := range u.base {
		u.base[i] = -place.Inf
	}
	for i := range u.candidates {
		c := &u.candidates[i]
		u.ranks.doubtful[c.Index] = c.Doubt != ""
		u.base[c.Index] = max(-place.Inf+1, min(place.Inf, c.Score-c.Sticky))
	}
	granted := false
	for k := range u.members {
		s := &u.members[k]
		if s.MoveTo == "" && s.MoveFrom == "" {
			continue
		}
		at := slices.IndexFunc(u.candidates, func(c rank.Candidate) bool { return c.Node == s.MoveTo })
		switch {
		case s.MoveTo != "" && at >= 0 && !granted && (!u.candidates[at].Suspect || s.Holder == s.MoveTo):
			u.candidates[at].Wanted, granted = true, true
		case s.MoveTo == "" && s.MoveFrom != "":
			if from := slices.IndexFunc(u.candidates, func(c rank.Candidate) bool { return c.Node == s.MoveFrom }); from >= 0 {
				u.candidates[from].Unwanted = true
			}
		}
	}
	u.ranks.away, u.ranks.there = p.ints(len(p.Nodes)), p.ints(len(p.Nodes))
	for i := range u.candidates {
		c := u.candidates[i]
		c.Sitting = 0
		u.ranks.away[c.Index] = p.rankOf(&c)
		c.Sitting = len(u.members)
		u.ranks.there[c.Index] = p.rankOf(&c)
	}
}

// running reports whether an instance counts as being on its node.
func running(i fact.Instance) bool {
	return i.Phase == fact.Starting || i.Phase == fact.Running
}
