package explain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
)

// Apply says what would happen if the services were applied. They must have
// passed all checks of an apply.
func Apply(s fact.Snapshot, wanted []spec.Service) reason.Outlook {
	after := s
	after.Services = slices.Clone(s.Services)
	for _, w := range wanted {
		i := slices.IndexFunc(after.Services, func(svc fact.Service) bool { return svc.Spec.Name == w.Name })
		if i < 0 {
			after.Services = append(after.Services, fact.Service{Spec: w, Generation: 1})
			continue
		}
		after.Services[i].Spec = w
		after.Services[i].Generation++
	}
	slices.SortStableFunc(after.Services, func(a, b fact.Service) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) })
	if len(wanted) == 0 {
		return unchanged(s)
	}
	out := outlook(s, after)
	for _, w := range wanted {
		if i := slices.Index(out.Stays, w.Name); i >= 0 {
			out.Stays = slices.Delete(out.Stays, i, i+1)
			out.Changes = append(out.Changes, adjusted(after, w.Name))
		}
	}
	slices.SortStableFunc(out.Changes, func(a, b reason.Change) int { return cmp.Compare(a.Service, b.Service) })
	for _, c := range out.Changes {
		if c.Kind == reason.Restarts {
			out.Steps = append(out.Steps, restart(c, len(out.Steps))...)
		}
	}
	return out
}

// unchanged is the outlook of an apply that changes nothing: whatever goes on in the
// cell meanwhile does not come of it.
func unchanged(s fact.Snapshot) reason.Outlook {
	plan := decideOn(s)
	out := reason.Outlook{Plan: plan.ID, Hold: plan.Hold}
	if plan.Hold != "" {
		return out
	}
	for _, p := range plan.Placements {
		out.Stays = append(out.Stays, p.Service)
	}
	out.Room = room(s, plan)
	return out
}

// restart is what an agent does by itself where the parts of a service change;
// done is how many steps there are already.
func restart(c reason.Change, done int) []reason.Step {
	var out []reason.Step
	for _, seat := range c.To {
		stop := done + len(out) + 1
		out = append(out,
			reason.Step{Number: stop, Verb: "stop", Service: c.Service, Node: seat.Node},
			reason.Step{Number: stop + 1, Verb: "start", Service: c.Service, Node: seat.Node, After: []int{stop}})
	}
	return out
}

// adjusted is what happens to a service whose new spec moves nothing.
func adjusted(after fact.Snapshot, name spec.ServiceName) reason.Change {
	svc, _ := find(after, name)
	at := seatsNow(after, svc)
	return reason.Change{
		Service: name, Kind: reason.Adjusts, From: at, To: at, Why: []string{fmt.Sprintf("%s goes on as it is, with what its spec says anew", name)},
	}
}

// Loss is what [Lose] is asked: nodes that are lost at the same moment, and
// nodes that are drained. Voters are the nodes whose vote counts.
type Loss struct {
	Fail, Drain, Voters []spec.NodeName
}

// Lose says what would happen if nodes were lost or drained. Those that are lost
// are lost all at once.
func Lose(s fact.Snapshot, l Loss) reason.Outlook {
	after := withNodes(s, func(n *fact.Node) {
		if slices.Contains(l.Fail, n.Name) {
			lose(n)
		}
		if slices.Contains(l.Drain, n.Name) {
			n.Drain = true
		}
	})
	gone := 0
	for _, v := range l.Voters {
		if n, known := node(after, v); !known || n.Liveness == fact.Lost {
			gone++
		}
	}
	if left := len(l.Voters) - gone; len(l.Voters) > 0 && 2*left <= len(l.Voters) {
		return withoutMajority(s, after, left, len(l.Voters))
	}
	out := outlook(s, after)
	if gone > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d of %d votes are left: %s", len(l.Voters)-gone, len(l.Voters), spare(len(l.Voters)-gone, len(l.Voters))))
	}
	return out
}

// spare says how many more votes may go.
func spare(left, all int) string {
	switch n := left - (all/2 + 1); n {
	case 0:
		return "the loss of one more voter would stop the cell's services"
	case 1:
		return "one more voter may be lost"
	default:
		return fmt.Sprintf("%d more voters may be lost", n)
	}
}

// withoutMajority says what a loss does that leaves the cell without a majority.
func withoutMajority(s, after fact.Snapshot, left, all int) reason.Outlook {
	why := fmt.Sprintf("%d of %d votes are left, which is no majority", left, all)
	out := reason.Outlook{Hold: why + ": nothing would be planned until voters are back"}
	for _, svc := range s.Services {
		now := seatsNow(s, svc)
		then := slices.DeleteFunc(slices.Clone(now), func(seat reason.Seat) bool {
			n, _ := node(after, seat.Node)
			return n.Liveness == fact.Lost
		})
		keeps := svc.Spec.KeptOnQuorumLoss()
		switch {
		case len(now) == 0:
		case keeps && sameSeats(now, then):
			out.Stays = append(out.Stays, svc.Spec.Name)
		case keeps:
			out.Changes = append(out.Changes, reason.Change{
				Service: svc.Spec.Name, Kind: reason.Loses, From: now, To: then,
				Why: []string{fmt.Sprintf("%s goes on only where it runs, as its failover.on_quorum_loss says, and %s: nobody takes over", svc.Spec.Name, why)},
			})
		default:
			out.Changes = append(out.Changes, reason.Change{
				Service: svc.Spec.Name, Kind: reason.Loses, From: now,
				Why: []string{fmt.Sprintf("%s stops: %s, so nobody can renew or take its lease", svc.Spec.Name, why)},
			})
		}
	}
	return out
}

// outlook compares what is with what would be decided.
func outlook(before, after fact.Snapshot) reason.Outlook {
	plan := decideOn(after)
	out := reason.Outlook{Plan: plan.ID, Hold: plan.Hold}
	if plan.Hold != "" {
		return out
	}
	was := decideOn(before)
	for _, p := range plan.Placements {
		svc, _ := find(after, p.Service)
		old, known := find(before, p.Service)
		c := reason.Change{Service: p.Service, To: seatsOf(p), Next: nextOf(p), Why: p.Why}
		if known {
			c.From = seatsNow(before, old)
		}
		c.Kind = kindOf(c, svc, old, known)
		if c.Kind == reason.Homeless && known && svc.Generation == old.Generation && len(seatsOf(placed(was, p.Service))) == 0 {
			c.Kind = "" // it had no home before either
		}
		if c.Kind == "" {
			c.Kind = followed(c, old)
		}
		switch c.Kind {
		case "":
			out.Stays = append(out.Stays, p.Service)
		default:
			finish(&c, after, svc, p)
			out.Changes = append(out.Changes, c)
		}
		if a, is := alone(before, svc, p, placed(was, p.Service)); is {
			out.Alone = append(out.Alone, a)
		}
	}
	out.Steps = steps(plan)
	out.Room = room(after, plan)
	return out
}

// kindOf says what happens to a service; empty: it stays where it is.
func kindOf(c reason.Change, svc, old fact.Service, known bool) reason.Kind {
	idle := svc.Deleting || svc.Spec.Stopped
	switch {
	case idle && len(c.From) > 0:
		return reason.Stops
	case idle:
		return ""
	case len(c.To) == 0 && len(c.From) > 0:
		return reason.Loses
	case len(c.To) == 0:
		return reason.Homeless
	case len(c.From) == 0:
		return reason.Starts
	case !sameSeats(c.From, c.To) && svc.Spec.Copies != nil:
		return reason.Copies
	case !sameSeats(c.From, c.To):
		return reason.Moves
	case known && !sameParts(old.Spec.Parts, svc.Spec.Parts):
		return reason.Restarts
	}
	return ""
}

// followed tells whether only who takes over changes.
func followed(c reason.Change, old fact.Service) reason.Kind {
	if len(old.Order) > 0 && !slices.Equal(old.Order[1:], c.Next) && len(c.To) > 0 && len(old.Spec.Parts) > 0 && old.Spec.Copies == nil {
		return reason.Follows
	}
	return ""
}

// finish adds what is said of a change of its kind.
func finish(c *reason.Change, after fact.Snapshot, svc fact.Service, p action.Placement) {
	switch c.Kind {
	case reason.Loses:
		c.Against = refusals(p)
		if first := arrive(after, svc); first.at != "" {
			c.Why = append([]string{first.passes() + ", and gives it up again when that is planned"}, c.Why...)
		}
	case reason.Homeless:
		c.Against = refusals(p)
	case reason.Restarts:
		c.Why = []string{fmt.Sprintf("%s stays on %s and is restarted there: its parts change", c.Service, names(c.To))}
	case reason.Follows:
		c.Why = []string{fmt.Sprintf("%s stays on %s; if that is lost, %s", c.Service, names(c.To), takeovers(c.Next))}
	case reason.Moves:
		switch first := arrive(after, svc); first.at {
		case "":
		case c.To[0].Node:
			c.Why = []string{first.stays()}
		default:
			c.Why = append([]string{fmt.Sprintf("%s, and then it moves to %s", first.passes(), c.To[0].Node)}, c.Why...)
		}
	case reason.Starts, reason.Stops, reason.Copies, reason.Adjusts:
	}
}

func takeovers(next []spec.NodeName) string {
	if len(next) == 0 {
		return "nobody takes over"
	}
	list := make([]string, 0, len(next))
	for _, n := range next {
		list = append(list, string(n))
	}
	return strings.Join(list, ", then ") + " takes over"
}

// successor is who acts by itself when the holder is lost: the first of the
// succession list in force that is not lost. Empty: the holder is not lost.
func successor(s fact.Snapshot, svc fact.Service) spec.NodeName {
	if n, known := node(s, svc.Holder); !known || n.Liveness != fact.Lost {
		return ""
	}
	for _, at := range svc.Order {
		if n, known := node(s, at); known && n.Liveness != fact.Lost {
			return at
		}
	}
	return ""
}

// alone reports whether nobody would take a service over.
func alone(before fact.Snapshot, svc fact.Service, p, was action.Placement) (reason.Alone, bool) {
	if len(p.Order) != 1 || svc.Spec.Copies != nil {
		return reason.Alone{}, false
	}
	old, known := find(before, p.Service)
	return reason.Alone{
		Service: p.Service, Node: p.Order[0], New: known && len(old.Order) > 0 && len(was.Order) > 1, Against: refusals(p),
	}, true
}

// steps numbers the steps of a plan.
func steps(plan action.Plan) []reason.Step {
	var out []reason.Step
	for i, s := range plan.Steps {
		one := reason.Step{Number: i + 1, Verb: s.Verb, Service: s.Service, Node: s.Node}
		for _, k := range s.After {
			one.After = append(one.After, k+1)
		}
		out = append(out, one)
	}
	return out
}

// room counts what is left of each unit that a node says it has.
func room(s fact.Snapshot, plan action.Plan) []reason.Room {
	used := map[spec.NodeName]map[string]int{}
	for _, p := range plan.Placements {
		svc, _ := find(s, p.Service)
		for _, seat := range seatsOf(p) {
			if used[seat.Node] == nil {
				used[seat.Node] = map[string]int{}
			}
			for unit, n := range svc.Spec.Needs {
				used[seat.Node][unit] += n
			}
		}
	}
	var out []reason.Room
	for _, n := range s.Nodes {
		if n.Liveness == fact.Lost || n.Witness {
			continue
		}
		for _, label := range slices.Sorted(maps.Keys(n.Labels)) {
			unit, is := strings.CutPrefix(label, spec.CapacityLabel+"/")
			has, err := strconv.Atoi(n.Labels[label])
			if !is || err != nil {
				continue
			}
			out = append(out, reason.Room{Node: n.Name, Unit: unit, Has: has, Used: used[n.Name][unit], Left: has - used[n.Name][unit]})
		}
	}
	return out
}
