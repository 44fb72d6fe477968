package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/core/recovery"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
)

// maxTried is how many nodes are tried as ones to move a service to: each costs
// a few decisions. They are those that take over first.
const maxTried = 8

// Why says where a service is and why, and reports whether the snapshot has it.
// Plan and Placed of the answer are left for who knows them.
func Why(s fact.Snapshot, name spec.ServiceName) (reason.Why, bool) {
	svc, known := find(s, name)
	if !known {
		return reason.Why{}, false
	}
	out := reason.Why{Service: name, Now: seatsNow(s, svc)}
	plan := decideOn(s)
	if plan.Hold != "" {
		out.Hold = plan.Hold
		out.Because = []string{fmt.Sprintf("nothing is decided about %s now: %s", name, plan.Hold)}
		return out, true
	}
	p := placed(plan, name)
	out.Belongs = seatsOf(p)
	weighed := decide.Weigh(s, name)
	if len(weighed) > 0 && svc.Spec.Copies == nil && (len(p.Order) == 0 || weighed[0].Node != p.Order[0]) {
		weighed = nil // something else than the scores decided
	}
	out.By, out.Because = because(svc, p, weighed)
	if said := halted(plan, name); said != "" && len(out.Belongs) == 0 {
		out.Because = []string{said}
	}
	out.Nodes = verdicts(s, p, weighed)
	if p.Left {
		out.Nodes = leftAlone(s, svc, out.Nodes)
	} else {
		out.Shifts = shifts(s, svc, p)
	}
	return out, true
}

// halted says that a service is stopped for a person, and how that ends; empty: it
// is not.
func halted(plan action.Plan, name spec.ServiceName) string {
	if plan.History == nil {
		return ""
	}
	h := plan.History.Service(name)
	if h.Stopped.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s: %s", name, recovery.Halted(h))
}

// because says what decided for where a service is to be.
func because(svc fact.Service, p action.Placement, weighed []reason.Verdict) (reason.By, []string) {
	name := svc.Spec.Name
	switch {
	case svc.Deleting, svc.Spec.Stopped:
		return reason.ByAsked, p.Why
	case p.Left:
		return reason.ByMaintenance, p.Why
	case len(seatsOf(p)) == 0:
		// The plan's own sentence says no more; wishes to move that came to nothing do.
		return reason.ByRule, append([]string{fmt.Sprintf("%s has no home: %s", name, forbidden(p))}, p.Why[:max(0, len(p.Why)-1)]...)
	case svc.Spec.Copies != nil && len(weighed) > 0:
		return copiesBy(weighed), p.Why
	case len(weighed) == 0:
		return reason.ByNothing, p.Why
	}
	home := weighed[0]
	first := fmt.Sprintf("%s belongs on %s: %s", name, home.Node, home.Why)
	if home.By == reason.ByOnly {
		first = fmt.Sprintf("%s belongs on %s: a rule forbids each other node", name, home.Node)
	}
	out, by := []string{first}, home.By
	for _, r := range refusals(p) {
		if r.Node == svc.Holder && svc.Holder != home.Node {
			out, by = []string{fmt.Sprintf("%s leaves %s: %s", name, r.Node, r.Why), first}, reason.ByRule
		}
	}
	for _, w := range p.Why {
		// The scores are said above, in more detail; what is left are wishes to move,
		// who is together with it, and what will happen after.
		if !scoreSentence(w, home.Node) {
			out = append(out, w)
		}
	}
	return by, out
}

// rulesNamed is how many different rules a headline names; the table has them all.
const rulesNamed = 3

// forbidden names the rules that forbid a service each node, each once.
func forbidden(p action.Placement) string {
	var rules []string
	on := map[string][]spec.NodeName{}
	for _, r := range refusals(p) {
		if on[r.Why] == nil {
			rules = append(rules, r.Why)
		}
		on[r.Why] = append(on[r.Why], r.Node)
	}
	switch len(rules) {
	case 0:
		return "the cell has no node"
	case 1:
		return rules[0]
	}
	var said []string
	for _, r := range rules[:min(rulesNamed, len(rules))] {
		said = append(said, fmt.Sprintf("on %s, %s", list(on[r]), r))
	}
	if more := len(rules) - rulesNamed; more > 0 {
		said = append(said, fmt.Sprintf("and %d more rules", more))
	}
	return strings.Join(said, "; ")
}

// copiesBy is what decided for the copies: what did for the first that comes to a
// node, else what did for the first that stays.
func copiesBy(weighed []reason.Verdict) reason.By {
	by := reason.ByNothing
	for _, v := range weighed {
		if v.Stand != reason.Home {
			continue
		}
		if v.By != reason.ByStickiness {
			return v.By
		}
		by = v.By
	}
	return by
}

// leftAlone says how each node stands to a service that is left as it is.
func leftAlone(s fact.Snapshot, svc fact.Service, nodes []reason.Verdict) []reason.Verdict {
	for i := range nodes {
		v := &nodes[i]
		switch {
		case v.Stand == reason.Home:
			v.By, v.Why = reason.ByMaintenance, "it is left here as it is"
		case v.Stand == reason.Next && (s.Maintenance || svc.Spec.Maintenance):
			v.By, v.Why = reason.ByMaintenance, "it is next, and does not take over while the service is left as it is"
		case v.Stand == reason.Next:
			v.By, v.Why = reason.ByMaintenance, "it takes over only if those before it are lost"
		default:
			v.By = reason.ByMaintenance
		}
	}
	return nodes
}

// scoreSentence reports whether a sentence of a plan is about scores and who
// follows, which a verdict says better. It may begin with the name of another
// service, which this one is together with.
func scoreSentence(text string, home spec.NodeName) bool {
	return strings.Contains(text, fmt.Sprintf(" belongs on %s: ", home)) ||
		strings.HasPrefix(text, fmt.Sprintf("%s before ", home)) || strings.HasPrefix(text, "then ")
}

// verdicts says how each node stands to a service.
func verdicts(s fact.Snapshot, p action.Placement, weighed []reason.Verdict) []reason.Verdict {
	said := map[spec.NodeName]reason.Verdict{}
	for _, v := range weighed {
		said[v.Node] = v
	}
	var out []reason.Verdict
	seen := map[spec.NodeName]bool{}
	add := func(v reason.Verdict) {
		if !seen[v.Node] {
			seen[v.Node] = true
			out = append(out, v)
		}
	}
	for i, n := range p.Order {
		v, known := said[n]
		if !known {
			v = reason.Verdict{Node: n, Why: "it takes over if those before it are lost"}
		}
		v.Stand = reason.Next
		if i == 0 {
			v.Stand = reason.Home
		}
		add(v)
	}
	for _, c := range p.Copies {
		v, known := said[c.Node]
		if !known {
			v = reason.Verdict{Node: c.Node, Why: "a copy belongs here"}
		}
		v.Stand = reason.Home
		if c.Role != "" {
			v.Why = fmt.Sprintf("the %s belongs here; %s", c.Role, v.Why)
		}
		add(v)
	}
	for _, v := range refusals(p) {
		// It may be good enough to run there and not to take over.
		if w, known := said[v.Node]; known {
			v.Score, v.Scores = w.Score, w.Scores
			if len(p.Copies) > 0 {
				v.By, v.Why = w.By, w.Why
			}
		}
		add(v)
	}
	for _, n := range s.Nodes {
		v := reason.Verdict{Node: n.Name, Stand: reason.Never, Why: "it is not to run at all"}
		if w, known := said[n.Name]; known {
			w.Stand = reason.Never
			v = w
		}
		add(v)
	}
	return out
}

// trial is one thing that might move a service.
type trial struct {
	what string
	snap fact.Snapshot
}

// shifts tries what might move a service.
func shifts(s fact.Snapshot, svc fact.Service, p action.Placement) []reason.Shift {
	if svc.Deleting || svc.Spec.Stopped {
		return nil
	}
	name, home := svc.Spec.Name, seatsOf(p)
	var out []reason.Shift
	try := func(t trial) {
		if to := decide.Seats(t.snap, name); !sameSeats(to, home) {
			out = append(out, reason.Shift{If: t.what, To: to})
		}
	}
	for _, t := range losses(s, home) {
		try(t)
	}
	for _, t := range returns(s, svc) {
		try(t)
	}
	if svc.Spec.Copies != nil || len(home) == 0 {
		return out
	}
	if svc.Spec.Place.EffectiveStickiness() != 0 {
		try(trial{"place.stickiness were 0, so that it did not count that it is there", withService(s, name, func(x *fact.Service) {
			none := 0
			x.Spec.Place.Stickiness = &none
		})})
	}
	weighed := decide.Weigh(s, name)
	for _, n := range nextOf(p)[:min(maxTried, len(nextOf(p)))] {
		if shift, ok := preferring(s, name, weighed, n); ok {
			out = append(out, shift)
		}
		out = append(out, asked(s, name, n)...)
	}
	return out
}

// losses are the ends of the nodes that a service is on.
func losses(s fact.Snapshot, home []reason.Seat) []trial {
	var out []trial
	for i, seat := range home {
		if i >= maxTried || i > 0 && home[i-1].Node == seat.Node {
			continue
		}
		only := func(f func(*fact.Node)) fact.Snapshot {
			return withNodes(s, func(n *fact.Node) {
				if n.Name == seat.Node {
					f(n)
				}
			})
		}
		lost, drained := only(lose), only(func(n *fact.Node) { n.Drain = true })
		out = append(out, trial{fmt.Sprintf("%s were lost", seat.Node), lost}, trial{fmt.Sprintf("%s were drained", seat.Node), drained})
	}
	return out
}

// returns are the ends of what keeps nodes from running the service now.
func returns(s fact.Snapshot, svc fact.Service) []trial {
	var out []trial
	for _, n := range s.Nodes {
		only := func(f func(*fact.Node)) fact.Snapshot {
			return withNodes(s, func(x *fact.Node) {
				if x.Name == n.Name {
					f(x)
				}
			})
		}
		switch {
		case n.Liveness == fact.Lost:
			out = append(out, trial{fmt.Sprintf("%s came back", n.Name), only(func(x *fact.Node) { x.Liveness, x.Mute = fact.Alive, false })})
		case n.Drain:
			out = append(out, trial{fmt.Sprintf("%s were undrained", n.Name), only(func(x *fact.Node) { x.Drain = false })})
		case n.Maintenance:
			out = append(out, trial{fmt.Sprintf("the maintenance of %s ended", n.Name), only(func(x *fact.Node) { x.Maintenance = false })})
		case n.Mute || n.Liveness == fact.Suspect:
			out = append(out, trial{fmt.Sprintf("%s were heard again", n.Name), only(func(x *fact.Node) { x.Liveness, x.Mute = fact.Alive, false })})
		}
		for _, in := range n.Instances {
			if in.Service == svc.Spec.Name && in.FailedUntil.After(s.Now) {
				after := only(func(x *fact.Node) {
					x.Instances = slices.Clone(x.Instances)
					for i := range x.Instances {
						if x.Instances[i].Service == in.Service {
							x.Instances[i].FailedUntil, x.Instances[i].Phase = time.Time{}, fact.Idle
						}
					}
				})
				out = append(out, trial{fmt.Sprintf("its ban from %s ended, at %s", n.Name, in.FailedUntil.UTC().Format(time.RFC3339)), after})
			}
		}
	}
	return out
}

// preferring finds the preference for a node that would move a service there,
// and reports whether there is one.
func preferring(s fact.Snapshot, name spec.ServiceName, weighed []reason.Verdict, to spec.NodeName) (reason.Shift, bool) {
	at := slices.IndexFunc(weighed, func(v reason.Verdict) bool { return v.Node == to })
	if at < 0 {
		return reason.Shift{}, false
	}
	more := weighed[0].Score - weighed[at].Score + 1
	if more <= 0 || more > spec.MaxScore {
		return reason.Shift{}, false
	}
	would := withService(s, name, func(x *fact.Service) {
		x.Spec.Place.Prefer = append(slices.Clone(x.Spec.Place.Prefer), spec.Preference{Node: to, Score: more})
	})
	seats := decide.Seats(would, name)
	if !sameSeats(seats, []reason.Seat{{Node: to}}) {
		return reason.Shift{}, false
	}
	return reason.Shift{If: fmt.Sprintf("place.prefer gave %s %d more", to, more), To: seats}, true
}

// asked says what a wish to move to a node would come to.
func asked(s fact.Snapshot, name spec.ServiceName, to spec.NodeName) []reason.Shift {
	wish := withService(s, name, func(x *fact.Service) { x.MoveTo, x.MoveFrom = to, "" })
	seats := decide.Seats(wish, name)
	if !sameSeats(seats, []reason.Seat{{Node: to}}) {
		return nil
	}
	out := reason.Shift{If: fmt.Sprintf("an operator asked for it: `keelson move %s %s`", name, to), To: seats}
	there := s
	for _, mate := range mates(s, name) {
		there = withService(there, mate, func(x *fact.Service) { x.Holder, x.MoveTo, x.MoveFrom = to, "", "" })
	}
	if after := decide.Seats(there, name); !sameSeats(after, seats) {
		out.Then = fmt.Sprintf("and would return to %s after that", names(after))
	}
	return []reason.Shift{out}
}

// mates are the service and all that it is together with, which move as one.
func mates(s fact.Snapshot, name spec.ServiceName) []spec.ServiceName {
	out := []spec.ServiceName{name}
	for i := 0; i < len(out); i++ {
		for _, svc := range s.Services {
			other := svc.Spec.Name
			mine, known := find(s, out[i])
			linked := slices.Contains(svc.Spec.Place.Together, out[i]) || known && slices.Contains(mine.Spec.Place.Together, other)
			if linked && !slices.Contains(out, other) {
				out = append(out, other)
			}
		}
	}
	return out
}
