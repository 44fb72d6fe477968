package survey

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestARunningInstanceOfALostNodeIsNoHolder(t *testing.T) {
	report := []fact.Instance{{Service: "shop", Phase: fact.Running}}
	nodes := []fact.Node{
		{Name: "a", Liveness: fact.Lost, Instances: report},
		{Name: "b", Liveness: fact.Alive, Instances: report},
		{Name: "c", Liveness: fact.Suspect, Instances: report},
	}
	tests := []struct {
		name  string
		order []spec.NodeName
		want  spec.NodeName
	}{
		{"the first by name that is not lost", nil, "b"},
		{"the first of the succession list", []spec.NodeName{"a", "c", "b"}, "c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := running(nodes, spec.Service{Name: "shop"}, tt.order, 0); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := running(nodes, spec.Service{Name: "db"}, nil, 0); got != "" {
		t.Errorf("a service that nobody reports runs on %q", got)
	}
}

func TestTheLeaseIsRevised(t *testing.T) {
	lease := func(ceiling uint64, longest time.Duration) record.Lease {
		return record.Lease{Version: 4, Voters: 7, Ceiling: ceiling, LongestTTL: spec.Duration(longest)}
	}
	tests := []struct {
		name     string
		old      record.Lease
		ballot   uint64
		longest  time.Duration
		waited   Patience
		now      time.Duration
		deaf     bool // not all nodes report
		want     record.Lease
		patience Patience
	}{
		{"nothing to do", lease(1000, time.Second), 1, time.Second, Patience{}, 0, false, lease(1000, time.Second), Patience{}},
		{"few numbers are left", lease(1000, time.Second), 600, time.Second, Patience{}, 0, false, lease(2000, time.Second), Patience{}},
		{"the ceiling was passed", lease(1000, time.Second), 5000, time.Second, Patience{}, 0, false, lease(6000, time.Second), Patience{}},
		{"a longer TTL counts at once", lease(1000, time.Second), 1, time.Minute, Patience{}, 0, false, lease(1000, time.Minute), Patience{}},
		{"a shorter one waits", lease(1000, time.Minute), 1, time.Second, Patience{}, 5, false, lease(1000, time.Minute), Patience{time.Second, 5}},
		{"and waits", lease(1000, time.Minute), 1, time.Second, Patience{time.Second, 5}, 5 + 2*time.Minute + Unlearned - 1, false, lease(1000, time.Minute), Patience{time.Second, 5}},
		{"until twice the old one and more is over", lease(1000, time.Minute), 1, time.Second, Patience{time.Second, 5}, 5 + 2*time.Minute + Unlearned, false, lease(1000, time.Second), Patience{}},
		{"another wish waits anew", lease(1000, time.Minute), 1, 2 * time.Second, Patience{time.Second, 5}, time.Hour, false, lease(1000, time.Minute), Patience{2 * time.Second, time.Hour}},
		{"the old TTL in use again ends the wait", lease(1000, time.Minute), 1, time.Minute, Patience{time.Second, 5}, time.Hour, false, lease(1000, time.Minute), Patience{}},
		{"a node that does not report may use the old one still", lease(1000, time.Minute), 1, time.Second, Patience{time.Second, 5}, time.Hour, true, lease(1000, time.Minute), Patience{time.Second, time.Hour}},
		{"which is nothing to a longer one", lease(1000, time.Second), 1, time.Minute, Patience{}, 0, true, lease(1000, time.Minute), Patience{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.waited
			got, changed := p.Revise(tt.old, tt.ballot, tt.longest, tt.now, !tt.deaf)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lease (-want +got):\n%s", diff)
			}
			if changed != (got != tt.old) {
				t.Errorf("changed is %v", changed)
			}
			if p != tt.patience {
				t.Errorf("patience is %+v, want %+v", p, tt.patience)
			}
		})
	}
}

func TestANodeThatDoesNotReportHasNotHeard(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	report := func(ago time.Duration) Report { return Report{Seen: now.Add(-ago)} }
	tests := []struct {
		name    string
		reports map[spec.NodeName]Report
		want    bool
	}{
		{"all report", map[spec.NodeName]Report{"a": report(0), "b": report(MuteAfter)}, true},
		{"one has not for long", map[spec.NodeName]Report{"a": report(0), "b": report(MuteAfter + 1)}, false},
		{"one never did", map[spec.NodeName]Report{"a": report(0)}, false},
		{"one that was removed does not count", map[spec.NodeName]Report{"a": report(0), "b": report(1), "c": report(time.Hour)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Cell{Nodes: map[spec.NodeName]Node{"a": {}, "b": {}}, Reports: tt.reports}
			if got := c.Heard(now); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCopiesKeepTheirNumbers(t *testing.T) {
	unique := spec.Service{Copies: &spec.Copies{Unique: true}}
	on := func(nodes ...spec.NodeName) []action.Copy {
		var out []action.Copy
		for _, n := range nodes {
			out = append(out, action.Copy{Node: n})
		}
		return out
	}
	tests := []struct {
		name string
		old  []record.Copy
		now  []action.Copy
		want []record.Copy
	}{
		{"new ones are counted", nil, on("a", "b"), []record.Copy{{Node: "a", Number: 1}, {Node: "b", Number: 2}}},
		{
			"one that goes takes its number along",
			[]record.Copy{{Node: "a", Number: 1}, {Node: "b", Number: 2}},
			on("b", "c"),
			[]record.Copy{{Node: "b", Number: 2}, {Node: "c", Number: 1}},
		},
		{
			"two on a node keep theirs",
			[]record.Copy{{Node: "a", Number: 2}, {Node: "a", Number: 3}, {Node: "b", Number: 1}},
			on("a", "a", "a"),
			[]record.Copy{{Node: "a", Number: 1}, {Node: "a", Number: 2}, {Node: "a", Number: 3}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, number(tt.old, tt.now, unique)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := number(nil, on("a"), spec.Service{Copies: &spec.Copies{}}); got[0].Number != 0 {
		t.Errorf("copies that are alike have numbers: %+v", got)
	}
}

func TestTheReplicaOfAListIsNoHolder(t *testing.T) {
	roles := spec.Service{Name: "db", Copies: &spec.Copies{Count: 2, Primaries: 1}}
	nodes := []fact.Node{
		{Name: "a", Instances: []fact.Instance{{Service: "db", Phase: fact.Running, Role: spec.RoleReplica}}},
		{Name: "b", Instances: []fact.Instance{{Service: "db", Phase: fact.Running, Role: spec.RolePrimary}}},
	}
	if got := running(nodes, roles, []spec.NodeName{"a", "b"}, 0); got != "b" {
		t.Errorf("the primary is taken to be on %q", got)
	}
}

// A node that took over just before it was left out of the list must hear that it
// is meant, or it would go on for ever where it may not run.
func TestAListThatANodeOutsideDoesNotFollowIsWrittenAgain(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name  string
		node  spec.NodeName
		epoch uint64
		age   time.Duration
		want  bool
	}{
		{"it runs it under an epoch that was not known", "c", 5, time.Minute, true},
		{"not at once", "c", 5, RepeatAfter / 2, false},
		{"it runs it under one that was", "c", 4, time.Minute, false},
		{"the first runs it", "a", 5, time.Minute, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			order := []spec.NodeName{"a", "b"}
			c := Cell{
				Services: map[spec.ServiceName]Service{"shop": {
					Placed: true, Record: record.Service{Generation: 1, Spec: spec.Service{Name: "shop"}},
					Placement: record.Placement{Service: "shop", Generation: 1, Order: order, At: noon, Epoch: 4},
				}},
				Reports: map[spec.NodeName]Report{tt.node: {Report: record.Report{
					Node: tt.node, Instances: []fact.Instance{{Service: "shop", Phase: fact.Running, Epoch: tt.epoch}},
				}}},
			}
			draft := c.Draft(action.Placement{Service: "shop", Order: order}, noon.Add(tt.age))
			if got := c.News(&draft); got.Write != tt.want || tt.want && draft.Epoch != tt.epoch {
				t.Errorf("news is %+v, and the epoch %d", got, draft.Epoch)
			}
		})
	}
}
