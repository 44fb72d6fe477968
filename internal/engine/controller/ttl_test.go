package controller

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestTheLeaseFollowsTheStalls(t *testing.T) {
	const ms = spec.Duration(time.Millisecond)
	tests := []struct {
		name  string
		stall spec.Duration
		old   record.Placement
		age   time.Duration
		spec  spec.TTL
		want  record.Placement
	}{
		{"none yet", 20 * ms, record.Placement{}, 0, 0, record.Placement{TTL: 300 * ms}},
		{"a stall makes it longer at once", 200 * ms, record.Placement{TTL: 300 * ms}, 0, 0, record.Placement{TTL: 450 * ms, TTLBy: "a", TTLStall: 200 * ms}},
		{"it becomes shorter", 20 * ms, record.Placement{TTL: 450 * ms, TTLBy: "a", TTLStall: 200 * ms}, shortenAfter, 0, record.Placement{TTL: 300 * ms}},
		{"but not soon", 20 * ms, record.Placement{TTL: 450 * ms, TTLBy: "a", TTLStall: 200 * ms}, shortenAfter - 1, 0, record.Placement{TTL: 450 * ms, TTLBy: "a", TTLStall: 200 * ms}},
		{"and not for little", 20 * ms, record.Placement{TTL: 350 * ms, TTLBy: "a", TTLStall: 140 * ms}, time.Hour, 0, record.Placement{TTL: 350 * ms, TTLBy: "a", TTLStall: 140 * ms}},
		{"what the spec says stays", 200 * ms, record.Placement{}, 0, spec.TTL(time.Second), record.Placement{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := filled(t, map[string]any{
				"nodes/a":   record.Node{Name: "a", Slot: 0},
				"nodes/b":   record.Node{Name: "b", Slot: 1},
				"reports/a": record.Report{Node: "a", Measured: spec.Duration(bound.Enough), Late: tt.stall},
				"reports/b": record.Report{Node: "b", Measured: spec.Duration(bound.Enough), Late: 5 * ms},
			})
			fresh := record.Placement{At: noon.Add(tt.age)}
			tt.old.At, tt.want.At = noon, fresh.At
			m.measure(&fresh, tt.old, action.Placement{Order: []spec.NodeName{"a", "b"}}, spec.Service{Failover: spec.Failover{TTL: tt.spec}})
			if diff := cmp.Diff(tt.want, fresh); diff != "" {
				t.Errorf("placement (-want +got):\n%s", diff)
			}
		})
	}
}
