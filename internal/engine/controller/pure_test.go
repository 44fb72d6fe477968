package controller

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// filled is a mirror with these records, each at its own revision.
func filled(t *testing.T, records map[string]any) *mirror {
	t.Helper()
	m := newMirror()
	revision := int64(1)
	for _, key := range []string{
		"nodes/a", "nodes/b", "nodes/w", "wishes/a", "reports/a", "reports/b",
		"services/db", "services/shop", "placements/shop", "address-owners/10.77.0.100",
	} {
		if v, ok := records[key]; ok {
			op := put(key, v)
			if err := m.apply(store.Event{Entry: store.Entry{Key: key, Value: op.Value, Revision: revision}}, noon); err != nil {
				t.Fatal(err)
			}
		}
		revision++
	}
	return m
}

func TestASnapshotJoinsStoreAndGuard(t *testing.T) {
	m := filled(t, map[string]any{
		"nodes/a":  record.Node{Name: "a", Slot: 3, Labels: map[string]string{"ssd": "true"}},
		"nodes/b":  record.Node{Name: "b", Slot: 1},
		"nodes/w":  record.Node{Name: "w", Slot: 2, Witness: true},
		"wishes/a": record.NodeWish{Drain: true, Leaving: true},
		"reports/a": record.Report{Node: "a", At: noon, Instances: []fact.Instance{
			{Service: "shop", Phase: fact.Failed, FailedUntil: noon.Add(time.Minute)},
			{Service: "db", Phase: fact.Running},
		}},
		// The clock of b is a year ahead.
		"reports/b": record.Report{Node: "b", At: noon.AddDate(1, 0, 0), Instances: []fact.Instance{
			{Service: "shop", Phase: fact.Failed, FailedUntil: noon.AddDate(1, 0, 0).Add(time.Minute)},
		}},
		"services/db":     record.Service{Spec: spec.Service{Name: "db"}, ID: 5, Generation: 2, Deleting: true},
		"services/shop":   record.Service{Spec: spec.Service{Name: "shop"}, ID: 6, Generation: 1, Move: &record.Move{From: "b"}},
		"placements/shop": record.Placement{Service: "shop", Order: []spec.NodeName{"b", "a"}},
	})
	s := Sight{Up: true, State: guardwire.State{Quorate: true, Alive: 1 << 3, Suspect: 1 << 2, Holders: map[uint32]uint8{6: 1}}}
	got := m.snapshot(s, noon)
	want := fact.Snapshot{
		Now: noon, Revision: 9, Quorate: true,
		Nodes: []fact.Node{
			{
				Name: "a", Labels: map[string]string{"ssd": "true"}, Liveness: fact.Alive, Drain: true, Leaving: true,
				Instances: []fact.Instance{
					{Service: "db", Phase: fact.Running},
					{Service: "shop", Phase: fact.Failed, FailedUntil: noon.Add(time.Minute)},
				},
			},
			{
				Name: "b", Liveness: fact.Suspect, // not heard of yet
				Instances: []fact.Instance{{Service: "shop", Phase: fact.Failed, FailedUntil: noon.Add(time.Minute)}},
			},
			{Name: "w", Liveness: fact.Suspect, Witness: true},
		},
		Services: []fact.Service{
			// Nobody is known to hold db's lease, but a reports that it runs.
			{Spec: spec.Service{Name: "db"}, Generation: 2, Deleting: true, Holder: "a"},
			{Spec: spec.Service{Name: "shop"}, Generation: 1, MoveFrom: "b", Order: []spec.NodeName{"b", "a"}, Holder: "b"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

func TestOnlyWhatDiffersIsChanged(t *testing.T) {
	m := filled(t, map[string]any{
		"nodes/a":         record.Node{Name: "a"},
		"services/shop":   record.Service{Spec: spec.Service{Name: "shop"}, ID: 6, Generation: 3},
		"placements/shop": record.Placement{Service: "shop", Generation: 3, Order: []spec.NodeName{"a"}, At: noon, TTL: spec.Duration(spec.MinTTL)},
		"reports/a":       record.Report{Node: "a", Measured: spec.Duration(bound.Enough)},
	})
	service, placement := m.services["shop"].revision, m.placements["shop"].revision
	guards := []store.Guard{{Key: "services/shop", Revision: service}, {Key: "placements/shop", Revision: placement}}
	tests := []struct {
		name   string
		plan   action.Placement
		writes []string
		events int
	}{
		{"the same order is not written again", action.Placement{Service: "shop", Order: []spec.NodeName{"a"}, Why: []string{"other words"}}, nil, 0},
		{"another order is", action.Placement{Service: "shop", Order: []spec.NodeName{"b", "a"}, Why: []string{"x"}}, []string{"placements/shop"}, 1},
		{"another successor is no event", action.Placement{Service: "shop", Order: []spec.NodeName{"a", "b"}}, []string{"placements/shop"}, 0},
		{"nowhere is an event", action.Placement{Service: "shop"}, []string{"placements/shop"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes := m.changes(action.Plan{ID: "p", Placements: []action.Placement{tt.plan}}, noon)
			var writes []string
			events := 0
			for _, c := range changes {
				if diff := cmp.Diff(guards, c.guards); diff != "" {
					t.Errorf("guards (-want +got):\n%s", diff)
				}
				for _, op := range c.ops {
					writes = append(writes, op.Key)
				}
				events += len(c.events)
			}
			if diff := cmp.Diff(tt.writes, writes); diff != "" || events != tt.events {
				t.Errorf("%d events, want %d; writes (-want +got):\n%s", events, tt.events, diff)
			}
		})
	}
}

func TestBatchesFitIntoTransactions(t *testing.T) {
	big := store.Op{Key: "k", Value: make([]byte, maxBatch/2+1)}
	small := change{guards: make([]store.Guard, 2), ops: make([]store.Op, 1)}
	var many []change
	for range 100 {
		many = append(many, small)
	}
	many = append(many, change{ops: []store.Op{big}}, change{ops: []store.Op{big}})
	total := 0
	for _, batch := range batches(many) {
		size, bytes := 1, 0
		for _, c := range batch {
			size, bytes = size+c.size(), bytes+c.bytes()
			total++
		}
		if size > store.MaxOps || bytes > maxBatch {
			t.Errorf("a batch of %d guards and ops and %d bytes", size, bytes)
		}
	}
	if total != len(many) {
		t.Errorf("%d of %d changes are in batches", total, len(many))
	}
}

func TestANodeThatStopsReportingIsMute(t *testing.T) {
	m := filled(t, map[string]any{
		"nodes/a":         record.Node{Name: "a", Slot: 0},
		"nodes/b":         record.Node{Name: "b", Slot: 1}, // has never reported
		"reports/a":       record.Report{Node: "a", At: noon, Instances: []fact.Instance{{Service: "shop", Phase: fact.Running}}},
		"services/shop":   record.Service{Spec: spec.Service{Name: "shop"}, ID: 6, Generation: 1},
		"placements/shop": record.Placement{Service: "shop", Order: []spec.NodeName{"a", "b"}},
	})
	free := Sight{Up: true, State: guardwire.State{Quorate: true, Alive: 3}}
	held := Sight{Up: true, State: guardwire.State{Quorate: true, Alive: 3, Holders: map[uint32]uint8{6: 0}}}
	for _, c := range []struct {
		name   string
		sight  Sight
		after  time.Duration
		mute   bool
		holder spec.NodeName
	}{
		{"a fresh report counts where no holder is known", free, survey.MuteAfter, false, "a"},
		{"an old report does not", free, survey.MuteAfter + 1, true, ""},
		{"a lease counts whatever the reports say", held, survey.MuteAfter + 1, true, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := m.snapshot(c.sight, noon.Add(c.after))
			if s.Nodes[0].Mute != c.mute || s.Nodes[1].Mute || s.Services[0].Holder != c.holder {
				t.Errorf("mute: %v and %v, holder %q; want %v and false, %q", s.Nodes[0].Mute, s.Nodes[1].Mute, s.Services[0].Holder, c.mute, c.holder)
			}
		})
	}
}

func TestAListThatIsNotFollowedIsWrittenAgain(t *testing.T) {
	order := []spec.NodeName{"a", "b"}
	running := func(n spec.NodeName) record.Report {
		return record.Report{Node: n, Instances: []fact.Instance{{Service: "shop", Phase: fact.Running}}}
	}
	for _, tt := range []struct {
		name   string
		report spec.NodeName
		age    time.Duration
		want   int
	}{
		{"the first runs it", "a", time.Minute, 0},
		{"a successor runs it since just now", "b", survey.RepeatAfter / 2, 0},
		{"a successor goes on running it", "b", survey.RepeatAfter, 1},
		{"a node that is not in the list ran it", "c", time.Minute, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := filled(t, map[string]any{
				"services/shop":                record.Service{Spec: spec.Service{Name: "shop"}, ID: 6, Generation: 3},
				"placements/shop":              record.Placement{Service: "shop", Generation: 3, Order: order, At: noon, TTL: spec.Duration(spec.MinTTL)},
				"reports/" + string(tt.report): running(tt.report),
			})
			plan := action.Plan{ID: "p", Placements: []action.Placement{{Service: "shop", Order: order}}}
			if got := len(m.changes(plan, noon.Add(tt.age))); got != tt.want {
				t.Errorf("%d placements are written, want %d", got, tt.want)
			}
		})
	}
}
