package explain_test

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/explain"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestCopiesHaveTheirSeatsAndRoles(t *testing.T) {
	in := func(role spec.Role) []fact.Instance {
		return []fact.Instance{{Service: "db", Generation: 1, Phase: fact.Running, Role: role}}
	}
	s := fact.Snapshot{
		Now: noon, Quorate: true,
		Nodes: []fact.Node{
			{Name: "a", Liveness: fact.Alive, Instances: in(spec.RolePrimary)},
			{Name: "b", Liveness: fact.Alive, Instances: in(spec.RoleReplica)},
			{Name: "c", Liveness: fact.Alive},
		},
		Services: []fact.Service{{Spec: spec.Service{Name: "db", Copies: &spec.Copies{Count: 2, Primaries: 1}}, Generation: 1}},
	}
	w, _ := explain.Why(s, "db")
	want := []reason.Seat{{Node: "a", Role: spec.RolePrimary}, {Node: "b", Role: spec.RoleReplica}}
	if diff := gocmp.Diff([][]reason.Seat{want, want}, [][]reason.Seat{w.Now, w.Belongs}); diff != "" {
		t.Errorf("where it is, and belongs (-want +got):\n%s", diff)
	}
	for _, v := range w.Nodes {
		if v.By == reason.ByNothing || v.Why == "" {
			t.Errorf("nothing decided about %s: %+v", v.Node, v)
		}
	}
	if len(w.Nodes) != 3 || len(w.Shifts) == 0 || w.By != reason.ByStickiness || w.Nodes[0].Score != 100 {
		t.Errorf("%d verdicts, %d shifts", len(w.Nodes), len(w.Shifts))
	}

	o := explain.Lose(s, explain.Loss{Fail: []spec.NodeName{"a"}})
	if len(o.Changes) != 1 || o.Changes[0].Kind != reason.Copies {
		t.Fatalf("%+v", o)
	}
	after := []reason.Seat{{Node: "b", Role: spec.RolePrimary}, {Node: "c", Role: spec.RoleReplica}}
	if diff := gocmp.Diff([][]reason.Seat{want, after}, [][]reason.Seat{o.Changes[0].From, o.Changes[0].To}); diff != "" {
		t.Errorf("copies before and after (-want +got):\n%s", diff)
	}
}

func TestWhyOfCopiesNamesTheSpread(t *testing.T) {
	node := func(name spec.NodeName, rack string) fact.Node {
		return fact.Node{Name: name, Liveness: fact.Alive, Labels: map[string]string{"rack": rack}}
	}
	s := fact.Snapshot{
		Now: noon, Quorate: true,
		Nodes:    []fact.Node{node("a", "r1"), node("b", "r1"), node("c", "r2")},
		Services: []fact.Service{{Spec: spec.Service{Name: "db", Copies: &spec.Copies{Count: 2}, Place: spec.Place{Spread: []string{"rack"}}}, Generation: 1}},
	}
	w, _ := explain.Why(s, "db")
	got := map[spec.NodeName]string{}
	for _, v := range w.Nodes {
		got[v.Node] = string(v.By) + ": " + v.Why
	}
	want := map[spec.NodeName]string{
		"a": "spread: a copy belongs here: no other is at the same rack",
		"b": "spread: place.spread: another copy is at the same rack, and 2 of 2 copies have a place",
		"c": "spread: a copy belongs here: no other is at the same rack",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

func TestWhyUnderMaintenanceSaysWhoTakesOver(t *testing.T) {
	base := func(change func(*fact.Snapshot)) reason.Why {
		s := fact.Snapshot{
			Now: noon, Quorate: true,
			Nodes:    []fact.Node{{Name: "a", Liveness: fact.Alive}, {Name: "b", Liveness: fact.Alive}},
			Services: []fact.Service{{Spec: spec.Service{Name: "x"}, Generation: 1, Order: []spec.NodeName{"a", "b"}, Holder: "a"}},
		}
		change(&s)
		w, _ := explain.Why(s, "x")
		return w
	}
	tests := []struct {
		name    string
		change  func(*fact.Snapshot)
		because string
		next    string
	}{
		{"of the service", func(s *fact.Snapshot) { s.Services[0].Spec.Maintenance = true }, "x is left as it is, for maintenance", "it is next, and does not take over while the service is left as it is"},
		{"of the cell", func(s *fact.Snapshot) { s.Maintenance = true }, "x is left as it is, for the maintenance of the cell", "it is next, and does not take over while the service is left as it is"},
		{"of the node", func(s *fact.Snapshot) { s.Nodes[0].Maintenance = true }, "x is left as it is, for the maintenance of a", "it takes over only if those before it are lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := base(tt.change)
			want := []reason.Verdict{
				{Node: "a", Stand: reason.Home, By: reason.ByMaintenance, Why: "it is left here as it is"},
				{Node: "b", Stand: reason.Next, By: reason.ByMaintenance, Why: tt.next},
			}
			if diff := gocmp.Diff(want, w.Nodes); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			if w.By != reason.ByMaintenance || len(w.Because) != 1 || w.Because[0] != tt.because {
				t.Errorf("by %s because %q", w.By, w.Because)
			}
		})
	}
}
