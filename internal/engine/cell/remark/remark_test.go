package remark_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func TestHomeless(t *testing.T) {
	tests := []struct {
		name    string
		reasons []string
		want    string
	}{
		{"nothing is known", nil, "no node may run it"},
		{"a reason of no node", []string{"every node lacks the label ssd=true"}, "no node may run it: every node lacks the label ssd=true"},
		{
			"the same for many is said once",
			[]string{"shop may not run on a: it needs 4 of cpu: none", "shop may not run on b: it needs 4 of cpu: none", "shop may not run on c: place.on allows only d"},
			"no node may run it: not on a, b: it needs 4 of cpu: none; not on c: place.on allows only d",
		},
		{
			"reasons that name their node differ in that alone",
			[]string{"shop may not run on a: a is drained", "shop may not run on b: b is drained", "shop may not run on c: c is lost", "shop may not run on d: d is drained"},
			"no node may run it: not on a, b, d: each is drained; c is lost",
		},
		{
			"no more than a few",
			[]string{"x may not run on a: 1", "x may not run on b: 2", "x may not run on c: 3", "x may not run on d: 4", "x may not run on e: 5", "x may not run on f: 6"},
			"no node may run it: not on a: 1; not on b: 2; not on c: 3; not on d: 4; not on e: 5; and 1 more: see `keelson describe x`",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, remark.Homeless("x", tt.reasons)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestServicesThatAreNotKnownAreNamedUpToALimit(t *testing.T) {
	services := []status.Service{{Name: "db", State: status.Running, Problem: "it is slow"}}
	want := []string{}
	for n := range remark.UnknownShown + 3 {
		s := status.Service{Name: spec.ServiceName(fmt.Sprint("s", n)), State: status.Unknown, Problem: "who knows"}
		if services = append(services, s); n < remark.UnknownShown {
			want = append(want, fmt.Sprintf("service s%d: who knows", n))
		}
	}
	want = append(want, "and 3 more of which it is not known how they are: see `keelson get`", "service db: it is slow")
	if diff := cmp.Diff(want, remark.Troubled(services)); diff != "" {
		t.Error(diff)
	}
}

func TestUnmeasured(t *testing.T) {
	for measured, want := range map[time.Duration]string{
		0:               "the stalls of w are not known yet and are taken for 100ms",
		5 * time.Second: "the stalls of w are taken for 100ms, since they have been measured for 5s and 20s are enough",
		5 * time.Minute: "the lease was chosen when the stalls of w were not known yet, and taken for 100ms",
	} {
		if got := remark.Unmeasured("w", measured, 20*time.Second, 100*time.Millisecond); got != want {
			t.Errorf("measured for %s: %q, want %q", measured, got, want)
		}
	}
}

func TestWhatManyNodesHaveInCommonIsSaidOnce(t *testing.T) {
	var c status.Cell
	for i, stall := range []time.Duration{400, 500, 450, 410} {
		n := status.Node{Name: spec.NodeName(rune('a' + i)), Liveness: fact.Alive, Warnings: []string{"no cgroup v2 here."}}
		n.Stall, n.Measured = stall*time.Millisecond, time.Minute
		c.Nodes = append(c.Nodes, n)
	}
	c.Nodes[1].Warnings = append(c.Nodes[1].Warnings, "the clock is off.")
	want := []string{
		"the guards on 4 nodes paused, the one on b the longest, for 500ms in the 1 min for which it has been measured: failovers that need them take that much longer; `keelson describe node NODE` says how long each",
		"4 nodes (a and others): no cgroup v2 here",
		"node b: the clock is off",
	}
	if diff := cmp.Diff(want, remark.Nodes(c)); diff != "" {
		t.Errorf("four nodes: %s", diff)
	}
	c.Nodes = c.Nodes[:2]
	want = []string{
		"the guard on a paused for 400ms in the 1 min for which it has been measured: failovers that need it take that much longer",
		"the guard on b paused for 500ms in the 1 min for which it has been measured: failovers that need it take that much longer",
		"node a: no cgroup v2 here",
		"node b: no cgroup v2 here",
		"node b: the clock is off",
	}
	if diff := cmp.Diff(want, remark.Nodes(c)); diff != "" {
		t.Errorf("two nodes: %s", diff)
	}
}
