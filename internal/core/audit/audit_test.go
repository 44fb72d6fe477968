package audit

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// cell has a service for each rule; n is under maintenance, l lost, d drained.
func cell() fact.Snapshot {
	node := func(name spec.NodeName, rack string) fact.Node {
		return fact.Node{Name: name, Liveness: fact.Alive, Labels: map[string]string{"rack": rack, "capacity/cpu": "2"}}
	}
	s := fact.Snapshot{
		Quorate: true,
		Nodes:   []fact.Node{node("a", "r1"), node("b", "r1"), node("c", "r2"), node("d", "r2"), node("l", "r2"), node("n", "r2"), node("w", "r2")},
		Services: []fact.Service{
			{Spec: spec.Service{Name: "db", Place: spec.Place{On: []spec.NodeName{"a", "n"}}}},
			{Spec: spec.Service{Name: "shop", Place: spec.Place{Apart: []spec.ServiceName{"db", "many"}}}},
			{Spec: spec.Service{Name: "web", Place: spec.Place{Together: []spec.ServiceName{"shop"}}}},
			{Spec: spec.Service{Name: "zoo", Stopped: true}},
			{Spec: spec.Service{Name: "many", Copies: &spec.Copies{Count: 2}, Place: spec.Place{Never: []spec.NodeName{"b"}}}},
			{Spec: spec.Service{Name: "close", Place: spec.Place{Near: []spec.Near{{Service: "db", Score: spec.MaxScore}}}}},
			{Spec: spec.Service{Name: "far", Place: spec.Place{Near: []spec.Near{{Service: "db", Score: -spec.MaxScore, Same: "rack"}}}}},
			{Spec: spec.Service{Name: "kept", Maintenance: true, Place: spec.Place{Never: []spec.NodeName{"d"}, Apart: []spec.ServiceName{"shop"}}}, Order: []spec.NodeName{"d", "a"}, Holder: "d"},
			{Spec: spec.Service{Name: "big", Needs: map[string]int{"cpu": 2}}},
			{Spec: spec.Service{Name: "small", Needs: map[string]int{"cpu": 1}}},
			{Spec: spec.Service{Name: "heavy", Maintenance: true, Needs: map[string]int{"cpu": 3}}, Order: []spec.NodeName{"b"}, Holder: "b"},
		},
	}
	s.Nodes[3].Drain, s.Nodes[4].Liveness, s.Nodes[5].Maintenance, s.Nodes[6].Witness = true, fact.Lost, true, true
	return s
}

func TestWhatBreaksARuleIsNamed(t *testing.T) {
	on := func(service spec.ServiceName, order ...spec.NodeName) action.Placement {
		return action.Placement{Service: service, Order: order}
	}
	copies := func(service spec.ServiceName, nodes ...spec.NodeName) action.Placement {
		p := action.Placement{Service: service}
		for _, n := range nodes {
			p.Copies = append(p.Copies, action.Copy{Node: n})
		}
		return p
	}
	tests := []struct {
		name string
		plan []action.Placement
		want []Fault
	}{
		{"a good plan passes", []action.Placement{on("db", "a"), on("shop", "b", "c"), on("web", "b"), copies("many", "a", "c"), on("close", "a"), on("far", "c")}, nil},
		{"a lost node that would follow", []action.Placement{on("shop", "b", "l")}, []Fault{{"shop", "shop is placed on l, which may run nothing"}}},
		{"a drained node", []action.Placement{on("shop", "d")}, []Fault{{"shop", "shop is placed on d, which may run nothing"}}},
		{"an unknown node", []action.Placement{on("shop", "x")}, []Fault{{"shop", "shop is placed on x, which may run nothing"}}},
		{"a node under maintenance", []action.Placement{on("shop", "n")}, []Fault{{"shop", "shop is placed on n, which is under maintenance"}}},
		{"a forbidden node", []action.Placement{on("db", "b")}, []Fault{{"db", "db is placed on b, where its spec forbids it"}}},
		{"one node twice", []action.Placement{on("shop", "b", "b")}, []Fault{{"shop", "shop is placed on b twice"}}},
		{"not apart", []action.Placement{on("db", "a"), on("shop", "a")}, []Fault{{"shop", "shop and db are to be apart and share a"}}},
		{"not apart from a copy", []action.Placement{on("shop", "c"), copies("many", "a", "c")}, []Fault{{"shop", "shop and many are to be apart and share c"}}},
		{"not together", []action.Placement{on("shop", "b"), on("web", "a")}, []Fault{{"web", "web and shop are to be together and are on a and b"}}},
		{"a stopped service", []action.Placement{on("zoo", "a")}, []Fault{{"zoo", "zoo is not to run and has a place"}}},
		{"a copy on a witness", []action.Placement{copies("many", "a", "w")}, []Fault{{"many", "many is placed on w, which may run nothing"}}},
		{"a copy on a forbidden node", []action.Placement{copies("many", "a", "b")}, []Fault{{"many", "many is placed on b, where its spec forbids it"}}},
		{"two copies on one node", []action.Placement{copies("many", "a", "a")}, []Fault{{"many", "many is placed on a 2 times"}}},
		{"away from what it must be near", []action.Placement{on("db", "a"), on("close", "b")}, []Fault{{"close", "close is to be near db and is on b without it"}}},
		{"near what it must be away from", []action.Placement{on("db", "a"), on("far", "b")}, []Fault{{"far", "far is to be away from db and is on b with it"}}},
		{"too little room", []action.Placement{on("big", "a"), on("small", "a")}, []Fault{
			{"big", "a has 2 of cpu and is given 3, with big"}, {"small", "a has 2 of cpu and is given 3, with small"},
		}},
		{"what is left may be where it may not", []action.Placement{on("kept", "d", "a"), on("heavy", "b")}, nil},
		{"and must not change", []action.Placement{on("kept", "a")}, []Fault{{"kept", "kept is to be left as it is, and who follows on it changes from d, a to a"}}},
		{"who comes beside what is left answers", []action.Placement{on("heavy", "b"), on("small", "b")}, []Fault{{"small", "b has 2 of cpu and is given 4, with small"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Check(cell(), action.Plan{Placements: tt.plan})); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
