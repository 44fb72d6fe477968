package decide

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// TestEveryPlanKeepsTheRules makes cells of all kinds and looks at their plans.
func TestEveryPlanKeepsTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := cell(t)
		before := text(t, s)
		plan := Decide(s)
		if after := text(t, s); before != after {
			t.Fatalf("the snapshot was changed:\n%s", cmp.Diff(before, after))
		}
		if diff := cmp.Diff(plan, Decide(s)); diff != "" {
			t.Fatalf("two plans for one snapshot:\n%s", diff)
		}
		if !s.Quorate {
			if plan.Hold == "" || plan.Placements != nil || plan.Forget != nil {
				t.Fatalf("a plan without quorum: %+v", plan)
			}
			return
		}
		if plan.Hold != "" {
			t.Fatalf("the plan was refused: %s", plan.Hold)
		}
		for _, p := range plan.Placements {
			if p.Held != "" {
				t.Fatalf("%s is held: %s\nin %s", p.Service, p.Held, text(t, s))
			}
		}
		if fault := checked(s, plan); fault != "" {
			t.Fatal(fault)
		}
		if len(plan.Placements) != len(s.Services) {
			t.Fatalf("%d placements for %d services", len(plan.Placements), len(s.Services))
		}
		for i, p := range plan.Placements {
			if s.Services[i].Spec.Name != p.Service {
				t.Fatalf("placement %d is for %s, not for %s", i, p.Service, s.Services[i].Spec.Name)
			}
			if len(p.Why) == 0 {
				t.Fatalf("no reason for %s", p.Service)
			}
			nodes := map[spec.NodeName]bool{}
			for _, c := range p.Copies {
				nodes[c.Node] = true
			}
			if s.Services[i].Spec.Copies == nil {
				for _, n := range p.Order {
					nodes[n] = true
				}
			}
			if active(&s.Services[i]) && len(nodes)+len(p.Refusals) != len(s.Nodes) {
				t.Fatalf("%s has %d nodes in order and %d refused of %d", p.Service, len(p.Order), len(p.Refusals), len(s.Nodes))
			}
			if p.Changed == slices.Equal(p.Order, s.Services[i].Order) {
				t.Fatalf("%s: changed is %v from %v to %v", p.Service, p.Changed, s.Services[i].Order, p.Order)
			}
		}
	})
}

// TestDecidingOnTheOutcomeChangesNothing lets a plan happen and decides again.
func TestDecidingOnTheOutcomeChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := cell(t)
		s.Quorate = true
		s.Recovery = unbounded
		s, plan := settle(s)
		was := placed(plan)
		next := Decide(outcome(s, plan))
		if slices.ContainsFunc(next.Placements, func(p action.Placement) bool { return p.Changed }) {
			t.Fatalf("once more: %v to %v\nin %s", was, placed(next), text(t, s))
		}
	})
}

// TestASuccessorWhoActsAloneIsKept kills a holder, lets its successor act and
// decides: the service stays with the successor.
func TestASuccessorWhoActsAloneIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := cell(t)
		s.Quorate = true
		s.Recovery = unbounded
		for i := range s.Services {
			s.Services[i].MoveTo, s.Services[i].MoveFrom = "", ""
			s.Services[i].Spec.Maintenance = false
			place := &s.Services[i].Spec.Place
			place.Apart, place.Together, place.Near = nil, nil, nil
			s.Services[i].Spec.Needs = nil // a higher priority may take the room
		}
		for i := range s.Nodes {
			s.Nodes[i].Maintenance = false
		}
		s = outcome(s, Decide(s))
		dead := rapid.SampledFrom(s.Nodes).Draw(t, "dead").Name
		for i := range s.Nodes {
			if s.Nodes[i].Name == dead {
				s.Nodes[i].Liveness = fact.Lost
			}
		}
		for i, svc := range s.Services {
			if svc.Holder == dead && len(svc.Order) > 1 {
				s.Services[i].Holder = svc.Order[1]
			}
		}
		for i, p := range Decide(s).Placements {
			svc := s.Services[i]
			if active(&svc) && len(svc.Spec.After) == 0 && svc.Spec.Copies == nil && svc.Holder != dead && svc.Holder != "" && (len(p.Order) == 0 || p.Order[0] != svc.Holder) {
				t.Fatalf("%s runs on %s and is placed on %v: %v", p.Service, svc.Holder, p.Order, p.Why)
			}
		}
	})
}

// placed is who is to be where.
func placed(p action.Plan) []string {
	var out []string
	for _, one := range p.Placements {
		out = append(out, fmt.Sprintf("%s %v %v", one.Service, one.Order, one.Copies))
	}
	return out
}

// settle decides until no wish to move is fulfilled or void: those are dropped, as
// the controller does, before what they led to is the last word.
func settle(s fact.Snapshot) (fact.Snapshot, action.Plan) {
	s.Services = slices.Clone(s.Services)
	for {
		plan, dropped := Decide(s), false
		for i, p := range plan.Placements {
			if svc := &s.Services[i]; p.MoveDone && svc.MoveTo+svc.MoveFrom != "" {
				svc.MoveTo, svc.MoveFrom, dropped = "", "", true
			}
		}
		if !dropped {
			return s, plan
		}
	}
}

// unbounded lets everything happen at once: what waits is not done after one plan.
var unbounded = spec.Recovery{Share: 100, ServiceMoves: spec.MaxMoves, CellMoves: spec.MaxMoves}

func text(t *rapid.T, s fact.Snapshot) string {
	out, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// cell makes a snapshot of up to six nodes and seven services.
func cell(t *rapid.T) fact.Snapshot {
	s := fact.Snapshot{Now: noon, Quorate: rapid.IntRange(0, 9).Draw(t, "quorum") > 0}
	var nodes []spec.NodeName
	for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
		nodes = append(nodes, spec.NodeName(fmt.Sprintf("n%d", i)))
	}
	var services []spec.ServiceName
	for i := range rapid.IntRange(0, 7).Draw(t, "services") {
		services = append(services, spec.ServiceName(fmt.Sprintf("s%d", i)))
	}
	for _, name := range nodes {
		n := fact.Node{
			Name:     name,
			Liveness: rapid.SampledFrom([]fact.Liveness{fact.Alive, fact.Alive, fact.Alive, fact.Suspect, fact.Lost}).Draw(t, "liveness"),
			Drain:    rarely(t, "drain"),
			Leaving:  rarely(t, "leaving"),
			Witness:  rarely(t, "witness"),
			// The two are seldom, since they leave things as they are.
			Maintenance: rarely(t, "maintenance"),
		}
		n.Labels = map[string]string{"rack": rapid.SampledFrom([]string{"r1", "r2"}).Draw(t, "rack")}
		if rapid.Bool().Draw(t, "label") {
			n.Labels["ssd"] = "true"
		}
		if rapid.Bool().Draw(t, "capacity") {
			n.Labels["capacity/cpu"] = fmt.Sprint(rapid.IntRange(0, 8).Draw(t, "cpu"))
		}
		n.Health = rapid.SampledFrom([]int{0, 0, 0, 0, -10, -spec.MaxScore}).Draw(t, "health")
		for _, name := range services {
			if rarely(t, "instance") {
				n.Instances = append(n.Instances, fact.Instance{
					Service:     name,
					Generation:  1,
					Phase:       rapid.SampledFrom([]fact.Phase{fact.Idle, fact.Running, fact.Failed, fact.Stuck}).Draw(t, "phase"),
					FailedUntil: noon.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "until")) * time.Minute),
				})
			}
		}
		s.Nodes = append(s.Nodes, n)
	}
	for _, name := range services {
		s.Services = append(s.Services, service(t, name, nodes, services))
	}
	return s
}

func rarely(t *rapid.T, label string) bool { return rapid.IntRange(0, 7).Draw(t, label) == 0 }

func service(t *rapid.T, name spec.ServiceName, nodes []spec.NodeName, services []spec.ServiceName) fact.Service {
	someNodes := rapid.SliceOfNDistinct(rapid.SampledFrom(nodes), 0, len(nodes), rapid.ID[spec.NodeName])
	others := slices.DeleteFunc(slices.Clone(services), func(o spec.ServiceName) bool { return o == name })
	svc := fact.Service{
		Spec:       spec.Service{Name: name, Maintenance: rarely(t, "left"), Stopped: rarely(t, "stopped"), Priority: rapid.IntRange(-1, 1).Draw(t, "priority")},
		Generation: 1,
		Deleting:   rarely(t, "deleting"),
		Order:      someNodes.Draw(t, "order"),
	}
	if len(svc.Order) == 0 {
		svc.Order = nil
	}
	place := &svc.Spec.Place
	richer(t, &svc, others)
	if rarely(t, "on") {
		place.On = someNodes.Draw(t, "on nodes")
	}
	if rarely(t, "never") {
		place.Never = someNodes.Draw(t, "never nodes")
	}
	if rapid.Bool().Draw(t, "held") {
		svc.Holder = rapid.SampledFrom(nodes).Draw(t, "holder")
	}
	if rapid.Bool().Draw(t, "sticky") {
		n := rapid.IntRange(0, 200).Draw(t, "stickiness")
		place.Stickiness = &n
	}
	for range rapid.IntRange(0, 2).Draw(t, "preferences") {
		p := spec.Preference{Label: "ssd=true", Score: rapid.IntRange(-200, 200).Draw(t, "score")}
		if rapid.Bool().Draw(t, "by node") {
			p.Label, p.Node = "", rapid.SampledFrom(nodes).Draw(t, "node")
		}
		place.Prefer = append(place.Prefer, p)
	}
	if len(others) > 0 && rapid.IntRange(0, 2).Draw(t, "apart?") == 0 {
		place.Apart = []spec.ServiceName{rapid.SampledFrom(others).Draw(t, "apart")}
	}
	if len(others) > 0 && rapid.IntRange(0, 3).Draw(t, "together?") == 0 {
		place.Together = []spec.ServiceName{rapid.SampledFrom(others).Draw(t, "together")}
	}
	switch rapid.IntRange(0, 8).Draw(t, "move") {
	case 0:
		svc.MoveTo = rapid.SampledFrom(append([]spec.NodeName{"unknown"}, nodes...)).Draw(t, "to")
	case 1:
		svc.MoveFrom = rapid.SampledFrom(nodes).Draw(t, "from")
	}
	return svc
}

// richer adds what is said of capacity, nearness, copies and order.
func richer(t *rapid.T, svc *fact.Service, others []spec.ServiceName) {
	if rapid.IntRange(0, 2).Draw(t, "needs?") == 0 {
		svc.Spec.Needs = map[string]int{"cpu": rapid.IntRange(1, 4).Draw(t, "needs")}
	}
	if rarely(t, "copies") {
		svc.Spec.Copies = &spec.Copies{Count: rapid.IntRange(0, 3).Draw(t, "count"), Primaries: rapid.IntRange(0, 1).Draw(t, "primaries")}
		if rapid.Bool().Draw(t, "spread") {
			svc.Spec.Place.Spread = []string{"rack"}
		}
	}
	if len(others) == 0 {
		return
	}
	if rapid.IntRange(0, 3).Draw(t, "near?") == 0 {
		svc.Spec.Place.Near = []spec.Near{{
			Service: rapid.SampledFrom(others).Draw(t, "near"),
			Score:   rapid.SampledFrom([]int{-spec.MaxScore, -50, 10, 500, spec.MaxScore}).Draw(t, "near score"),
			Same:    rapid.SampledFrom([]string{"", "", "rack"}).Draw(t, "same"),
		}}
	}
	if other := rapid.SampledFrom(others).Draw(t, "after"); rarely(t, "after?") && other < svc.Spec.Name {
		svc.Spec.After = []spec.After{{Service: other}}
	}
}

// TestTheOrderOfASnapshotDoesNotMatter shuffles what is listed.
func TestTheOrderOfASnapshotDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := cell(t)
		other := s
		other.Nodes = rapid.Permutation(s.Nodes).Draw(t, "nodes shuffled")
		other.Services = rapid.Permutation(s.Services).Draw(t, "services shuffled")
		for i := range other.Nodes {
			other.Nodes[i].Instances = rapid.Permutation(other.Nodes[i].Instances).Draw(t, "instances shuffled")
		}
		a, b := Decide(s), Decide(other)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("two orders, two plans:\n%s", diff)
		}
	})
}

// TestAPlanThatIsCarriedOutLeavesNothingToDo lets a plan happen and looks at the
// steps of the next.
func TestAPlanThatIsCarriedOutLeavesNothingToDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := cell(t)
		s.Quorate = true
		s.Recovery = unbounded
		for i := range s.Nodes {
			s.Nodes[i].Instances = nil
			if s.Nodes[i].Liveness == fact.Lost {
				s.Nodes[i].Liveness = fact.Alive
			}
		}
		for i := range s.Services {
			s.Services[i].MoveTo, s.Services[i].MoveFrom = "", ""
		}
		plan := Decide(s)
		if next := Decide(outcome(s, plan)); len(next.Steps) != 0 {
			t.Fatalf("after %v there is still %+v\nin %s", placed(plan), next.Steps, text(t, s))
		}
	})
}

// FuzzDecide feeds snapshots as they would come from a recording.
func FuzzDecide(f *testing.F) {
	f.Add([]byte(`{"now":"2026-01-01T12:00:00Z","quorate":true,"nodes":[{"name":"a","liveness":"alive"}],"services":[{"spec":{"name":"s","parts":null,"place":{"prefer":[{"label":"a=b","score":1}]}},"order":["a"]}]}`))
	f.Fuzz(func(t *testing.T, recorded []byte) {
		var s fact.Snapshot
		if json.Unmarshal(recorded, &s) != nil {
			return
		}
		if diff := cmp.Diff(Decide(s), Decide(s)); diff != "" {
			t.Fatalf("two plans for one snapshot:\n%s", diff)
		}
	})
}
