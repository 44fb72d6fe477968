package reasons_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/engine/reasons"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/memstore"
)

// town is a cell of a, b and c, where shop runs on a, and a desk in it.
type town struct {
	*reasons.Desk
	store *memstore.Store
	snap  fact.Snapshot
}

func newTown(t *testing.T) *town {
	mem := memstore.New(clock.System{})
	x := &town{store: mem, snap: fact.Snapshot{Now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Revision: 3, Quorate: true}}
	for i, name := range []spec.NodeName{"a", "b", "c"} {
		x.snap.Nodes = append(x.snap.Nodes, fact.Node{Name: name, Liveness: fact.Alive, Labels: map[string]string{"rack": fmt.Sprint("r", i/2)}})
		x.put(t, record.KeyNodes+string(name), record.Node{Name: name, Slot: uint8(i)})
	}
	x.put(t, record.KeyLease, record.Lease{Voters: 7})
	x.put(t, record.KeyPlacements+"shop", record.Placement{Service: "shop", PlanID: "3f2a91c0d2e4b871", At: x.snap.Now})
	x.snap.Services = []fact.Service{{
		Spec: spec.Service{Name: "shop"}, Generation: 1, Holder: "a", Order: []spec.NodeName{"a", "b", "c"},
	}}
	x.Desk = &reasons.Desk{
		Store: mem, Clock: clock.System{},
		Snapshot: func(context.Context) (fact.Snapshot, error) { return x.snap, nil },
		Draft: func(_ context.Context, ask request.Apply) (request.ApplyResult, error) {
			if !ask.DryRun {
				t.Error("a plan is no dry run")
			}
			return request.ApplyResult{
				Applied:  []request.Applied{{Name: "shop", Outcome: request.Unchanged}, {Name: "mail", Outcome: request.Created}},
				Warnings: []string{"there is no service db yet"},
			}, nil
		},
	}
	return x
}

func (x *town) put(t *testing.T, key string, v any) {
	t.Helper()
	value, err := json.Marshal(v)
	if err == nil {
		_, _, err = x.store.Txn(t.Context(), nil, []store.Op{{Key: key, Value: value}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func code(err error) string {
	var e *request.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func want[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWhyNamesTheDecisionInForce(t *testing.T) {
	x := newTown(t)
	w, err := x.Why(t.Context(), "shop")
	want(t, "error", "", code(err))
	want(t, "plan", "3f2a91c0d2e4b871", w.Plan)
	want(t, "where", []reason.Seat{{Node: "a"}}, w.Belongs)
	_, err = x.Why(t.Context(), "nope")
	want(t, "unknown", "no-such-service", code(err))
}

func TestAPlanIsAboutWhatChangesOnly(t *testing.T) {
	x := newTown(t)
	file := "kind: service\nname: shop\nparts:\n  - exec: [/bin/other]\n---\nkind: service\nname: mail\nparts:\n  - exec: [/bin/x]\n"
	o, err := x.Plan(t.Context(), request.Plan{File: request.File{Name: "x.yaml", Content: []byte(file)}})
	want(t, "error", "", code(err))
	want(t, "stays", []spec.ServiceName{"shop"}, o.Stays)
	want(t, "notes", []string{"there is no service db yet"}, o.Notes)
	if len(o.Changes) != 1 || o.Changes[0].Service != "mail" || o.Changes[0].Kind != reason.Starts {
		t.Errorf("%+v", o.Changes)
	}
	want(t, "the snapshot is left alone", 1, len(x.snap.Services))
}

func TestWhatIfKnowsNodesLabelsAndVotes(t *testing.T) {
	x := newTown(t)
	tests := []struct {
		name string
		ask  request.WhatIf
		want string // where shop is; or a code
	}{
		{"a node", request.WhatIf{Fail: []string{"a"}}, "b"},
		{"another node", request.WhatIf{Fail: []string{"c"}}, "a"},
		{"a drain", request.WhatIf{Drain: []string{"a"}}, "b"},
		{"a rack with two of three votes", request.WhatIf{Fail: []string{"rack=r0"}}, ""},
		{"a drained rack", request.WhatIf{Drain: []string{"rack=r0"}}, "c"},
		{"nothing", request.WhatIf{}, "a"},
		{"no such node", request.WhatIf{Fail: []string{"z"}}, "no-such-node"},
		{"no such label", request.WhatIf{Fail: []string{"rack=r9"}}, "no-such-label"},
		{"too much", request.WhatIf{Fail: make([]string, request.MaxWords+1)}, "too-many-words"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := x.WhatIf(t.Context(), tt.ask)
			got := code(err)
			for _, c := range o.Changes {
				if c.Service == "shop" && len(c.To) > 0 {
					got = string(c.To[0].Node)
				}
			}
			if len(o.Stays) > 0 {
				got = "a"
			}
			want(t, "where shop is", tt.want, got)
		})
	}
}

func TestReplay(t *testing.T) {
	x := newTown(t)
	snapshot, err := json.Marshal(x.snap)
	if err != nil {
		t.Fatal(err)
	}
	plan := decide.Decide(x.snap)
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := record.Pack(record.Recorded{Snapshot: snapshot, Plan: text})
	if err != nil {
		t.Fatal(err)
	}
	x.put(t, record.DecisionKey(3, plan.ID), record.Decision{Plan: plan.ID, At: x.snap.Now, Node: "a", Packed: packed})
	x.put(t, record.DecisionKey(4, "ffff000000000001"), record.Decision{Plan: "ffff000000000001", At: x.snap.Now, Node: "a"})
	x.put(t, record.DecisionKey(5, "ffff000000000002"), record.Decision{Plan: "ffff000000000002", At: x.snap.Now, Node: "a", Packed: []byte("junk")})
	other, err := record.Pack(record.Recorded{Snapshot: snapshot, Plan: []byte(`{"id":"x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	x.put(t, record.DecisionKey(6, "eeee000000000001"), record.Decision{Plan: "eeee000000000001", At: x.snap.Now, Node: "a", Packed: other})
	x.put(t, fmt.Sprintf("%s%020d", record.KeyEvents, 12), event.Event{Seq: 12, Plan: plan.ID})
	x.put(t, fmt.Sprintf("%s%020d", record.KeyEvents, 13), event.Event{Seq: 13})

	for _, which := range []string{plan.ID, plan.ID[:6], "12"} {
		r, err := x.Replay(t.Context(), request.Replay{Which: which, Full: true})
		if err != nil || !r.Same || string(r.Plan) != string(text) || string(r.Snapshot) != string(snapshot) {
			t.Errorf("%s: same %v, %q, %v", which, r.Same, r.Difference, err)
		}
	}
	r, err := x.Replay(t.Context(), request.Replay{Which: "eeee"})
	if err != nil || r.Same || !r.Compared || r.Difference == "" || r.Plan != nil {
		t.Errorf("another plan: %+v, %v", r, err)
	}
	for which, why := range map[string]string{
		"13": "no-decision", "99": "too-short", "abc": "too-short", "abcdef": "no-decision", "ffff": "ambiguous", "ffff000000000001": "not-recorded",
	} {
		_, err := x.Replay(t.Context(), request.Replay{Which: which})
		want(t, which, why, code(err))
	}
	if _, err := x.Replay(t.Context(), request.Replay{Which: "ffff000000000002"}); err == nil {
		t.Error("junk was unpacked")
	}
	list, err := x.Decisions(t.Context())
	if err != nil || len(list) != 4 || list[0].Plan != plan.ID || list[0].Bytes != len(packed) {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestADeskSaysThatTheStoreIsAway(t *testing.T) {
	x := newTown(t)
	x.Snapshot = func(context.Context) (fact.Snapshot, error) { return fact.Snapshot{}, store.ErrUnavailable }
	_, err := x.Why(t.Context(), "shop")
	want(t, "code", "store-unavailable", code(err))
}

func FuzzUnpack(f *testing.F) {
	packed, err := record.Pack(record.Recorded{Snapshot: []byte(`{}`), Plan: []byte(`{}`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = record.Unpack(b) // it must not panic
	})
}
