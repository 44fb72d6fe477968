package decide

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// TestWhatIsPlacedIsLetIn carries a plan out until there is nothing to do, and asks the
// agent of each node, who goes by no plan: all that is to be there is let in beside
// what does not stop, or is left as it is. Else it would wait for ever.
func TestWhatIsPlacedIsLetIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := cell(t)
		s.Quorate = true
		if rapid.Bool().Draw(t, "all at once") {
			s.Recovery = unbounded
		}
		forgotten(t, &s)
		s, plan, rests := rested(s)
		if !rests {
			return
		}
		for i := range s.Nodes {
			n := &s.Nodes[i]
			if n.Liveness == fact.Lost || n.Maintenance {
				continue
			}
			wait := waits(s, plan, n, func(svc *fact.Service, p *action.Placement) (there, coming bool) {
				left := p.Left && inPhase(n, p.Service, fact.Running) && (svc.Holder == n.Name || slices.Contains(svc.Copies, n.Name))
				return left || inPhase(n, p.Service, fact.Stuck), !p.Left && belongs(p, n.Name)
			})
			if len(wait) > 0 {
				t.Fatalf("on %s for ever: %v\nplan %v\n%s", n.Name, wait, placed(plan), text(t, s))
			}
		}
	})
}

// TestWhoFollowsIsLetIn has one node of a cell at rest die: the agent of the node that
// follows lets in what comes, by the succession lists alone.
func TestWhoFollowsIsLetIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := cell(t)
		s.Quorate, s.Recovery = true, unbounded
		for i := range s.Services {
			s.Services[i].Spec.Maintenance = false
		}
		for i := range s.Nodes {
			s.Nodes[i].Maintenance = false
		}
		forgotten(t, &s)
		s, plan, rests := rested(s)
		if !rests || len(s.Nodes) < 2 {
			return
		}
		dead := rapid.SampledFrom(s.Nodes).Draw(t, "dead").Name
		for i := range s.Nodes {
			n := &s.Nodes[i]
			if n.Liveness == fact.Lost || n.Name == dead {
				continue
			}
			wait := waits(s, plan, n, func(_ *fact.Service, p *action.Placement) (there, coming bool) {
				return belongs(p, n.Name) || inPhase(n, p.Service, fact.Stuck), len(p.Copies) == 0 && heir(s, p, dead) == n.Name
			})
			if len(wait) > 0 {
				t.Fatalf("%s dies, and on %s: %v\nplan %v\n%s", dead, n.Name, wait, placed(plan), text(t, s))
			}
		}
	})
}

// forgotten has a service be known to a node alone, where it does not stop: it was
// deleted while the node was lost.
func forgotten(t *rapid.T, s *fact.Snapshot) {
	if len(s.Services) == 0 || !rarely(t, "forgotten") {
		return
	}
	n := &s.Nodes[rapid.IntRange(0, len(s.Nodes)-1).Draw(t, "forgotten on")]
	n.Instances = append(n.Instances, fact.Instance{Service: "gone", Generation: 1, Phase: fact.Stuck})
	place := &s.Services[rapid.IntRange(0, len(s.Services)-1).Draw(t, "apart from it")].Spec.Place
	place.Apart = append(place.Apart, "gone")
}

// rested returns the snapshot after a plan has been carried out, and the plan for it;
// rests reports whether that changes nothing.
func rested(s fact.Snapshot) (after fact.Snapshot, plan action.Plan, rests bool) {
	s, plan = settle(s)
	after = outcome(s, plan)
	plan = Decide(after)
	return after, plan, plan.Hold == "" && !slices.ContainsFunc(plan.Placements, func(p action.Placement) bool { return p.Changed })
}

// waits returns what those who are to come to a node have to wait for there, by its
// agent's own rules. Guest says of each service whether it is there, and comes.
func waits(s fact.Snapshot, plan action.Plan, n *fact.Node, guest func(*fact.Service, *action.Placement) (there, coming bool)) map[instance.Name]string {
	v := mandate.NewView(n.Name)
	for _, m := range s.Nodes {
		v.Nodes[m.Name] = record.Node{Name: m.Name, Labels: m.Labels}
	}
	var guests []mandate.Guest
	for _, in := range n.Instances {
		if in.Service == "gone" {
			guests = append(guests, mandate.Guest{Name: "gone", There: true})
		}
	}
	for i := range plan.Placements {
		p, svc := &plan.Placements[i], &s.Services[i] // both are sorted
		r := record.Service{Spec: svc.Spec, Deleting: svc.Deleting}
		v.Services[p.Service] = &r
		v.Placements[p.Service] = mandate.Placement{Placement: recorded(p)}
		there, coming := guest(svc, p)
		guests = append(guests, mandate.Guest{Name: instance.Name(p.Service), Run: r, There: there, Coming: coming})
	}
	out := make(map[instance.Name]string)
	house := v.House(guests)
	for _, g := range house.Guests() {
		if gates := v.Gates(&g, nil, house); g.Coming && !g.There && gates.Wait != "" {
			out[g.Name] = gates.Wait
		}
	}
	return out
}

// recorded is a placement as the controller writes it, as far as it says who is where.
func recorded(p *action.Placement) record.Placement {
	out := record.Placement{Service: p.Service, Order: p.Order}
	for _, c := range p.Copies {
		out.Copies = append(out.Copies, record.Copy{Node: c.Node, Role: c.Role})
	}
	return out
}

// belongs reports whether a placement has the service, or a copy of it, on the node.
func belongs(p *action.Placement, n spec.NodeName) bool {
	if len(p.Copies) == 0 {
		return len(p.Order) > 0 && p.Order[0] == n
	}
	return slices.ContainsFunc(p.Copies, func(c action.Copy) bool { return c.Node == n })
}

// heir is who claims the lease of a service of a node that dies; empty: nobody, or it
// is not there.
func heir(s fact.Snapshot, p *action.Placement, dead spec.NodeName) spec.NodeName {
	if len(p.Order) == 0 || p.Order[0] != dead {
		return ""
	}
	for _, at := range p.Order[1:] {
		if slices.ContainsFunc(s.Nodes, func(n fact.Node) bool { return n.Name == at && n.Liveness != fact.Lost }) {
			return at
		}
	}
	return ""
}

// inPhase reports whether the node has an instance of the service in that phase.
func inPhase(n *fact.Node, service spec.ServiceName, phase fact.Phase) bool {
	return slices.ContainsFunc(n.Instances, func(i fact.Instance) bool { return i.Service == service && i.Phase == phase })
}
