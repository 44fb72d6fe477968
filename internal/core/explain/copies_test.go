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
	if len(w.Nodes) != 3 || len(w.Shifts) == 0 {
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
