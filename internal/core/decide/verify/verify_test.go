package verify

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestAPlanThatBreaksARuleIsCaught(t *testing.T) {
	s := fact.Snapshot{
		Quorate: true,
		Nodes:   []fact.Node{{Name: "a", Liveness: fact.Alive}, {Name: "b", Liveness: fact.Alive}, {Name: "l", Liveness: fact.Lost}},
		Services: []fact.Service{
			{Spec: spec.Service{Name: "db", Place: spec.Place{On: []spec.NodeName{"a"}}}},
			{Spec: spec.Service{Name: "shop", Place: spec.Place{Apart: []spec.ServiceName{"db"}}}},
			{Spec: spec.Service{Name: "web", Place: spec.Place{Together: []spec.ServiceName{"shop"}}}},
			{Spec: spec.Service{Name: "zoo", Stopped: true}},
		},
	}
	plan := func(service spec.ServiceName, order ...spec.NodeName) action.Placement {
		return action.Placement{Service: service, Order: order}
	}
	tests := []struct {
		name string
		plan []action.Placement
		want string
	}{
		{"a good plan passes", []action.Placement{plan("db", "a"), plan("shop", "b", "a"), plan("web", "b")}, ""},
		{"a lost node", []action.Placement{plan("shop", "b", "l")}, "shop is placed on l, which may run nothing"},
		{"an unknown node", []action.Placement{plan("shop", "x")}, "shop is placed on x, which may run nothing"},
		{"a forbidden node", []action.Placement{plan("db", "b")}, "db is placed on b, where its spec forbids it"},
		{"one node twice", []action.Placement{plan("shop", "b", "b")}, "shop is placed on b twice"},
		{"not apart", []action.Placement{plan("db", "a"), plan("shop", "a")}, "shop and db are to be apart and share a"},
		{"not together", []action.Placement{plan("shop", "b"), plan("web", "a")}, "web and shop are to be together and are on a and b"},
		{"a stopped service", []action.Placement{plan("zoo", "a")}, "zoo is not to run and has a place"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Plan(s, action.Plan{Placements: tt.plan})); diff != "" {
				t.Errorf("fault (-want +got):\n%s", diff)
			}
		})
	}
}
