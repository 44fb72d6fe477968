package bound_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/model/spec"
)

const ms = time.Millisecond

// host is a measured voter that may run the service.
func host(name spec.NodeName, stall time.Duration) bound.Host {
	return bound.Host{Name: name, Stall: stall, Known: true, Votes: true, Runs: true}
}

func TestAuto(t *testing.T) {
	unknown, witness, voterOnly, gone := host("c", 0), host("c", 800*ms), host("c", 800*ms), host("c", 0)
	unknown.Known = false
	witness.Runs = false
	voterOnly.Runs, voterOnly.Votes = true, false
	gone.Gone = true
	slow := host("b", 400*ms)
	slow.Runs = false
	tests := []struct {
		name  string
		hosts []bound.Host
		want  bound.Lease
	}{
		{"nothing stalls", []bound.Host{host("a", ms), host("b", ms), host("c", ms)}, bound.Lease{TTL: 300 * ms}},
		{"a stall that the shortest covers", []bound.Host{host("a", ms), host("b", 109*ms), host("c", ms)}, bound.Lease{TTL: 300 * ms}},
		{"one that it does not", []bound.Host{host("a", ms), host("b", 130*ms), host("c", ms)}, bound.Lease{TTL: 350 * ms, By: "b", Stall: 130 * ms}},
		{"a node that was not measured", []bound.Host{host("a", ms), host("b", ms), unknown}, bound.Lease{TTL: 300 * ms}},
		{"a witness that is slow alone", []bound.Host{host("a", ms), host("b", ms), witness}, bound.Lease{TTL: 300 * ms}},
		{"a node that does not vote but runs", []bound.Host{host("a", ms), host("b", ms), voterOnly}, bound.Lease{TTL: 1200 * ms, By: "c", Stall: 800 * ms}},
		{"two slow voters out of three", []bound.Host{host("a", ms), slow, witness}, bound.Lease{TTL: 700 * ms, By: "b", Stall: 400 * ms}},
		{"a slow voter that is needed because one is lost", []bound.Host{host("a", ms), slow, gone}, bound.Lease{TTL: 700 * ms, By: "b", Stall: 400 * ms}},
		{"no more than the longest", []bound.Host{host("a", 5*time.Second)}, bound.Lease{TTL: bound.Longest, By: "a", Stall: 5 * time.Second}},
		{"no hosts", nil, bound.Lease{TTL: 300 * ms}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, bound.Auto(test.hosts)); diff != "" {
				t.Errorf("lease (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFailover(t *testing.T) {
	got := bound.Exclusive(300*ms, 3, 20*ms, 100*ms)
	want := bound.Failover{Total: 513 * ms, Lease: 343 * ms, Claim: 70 * ms, Start: 100 * ms}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exclusive (-want +got):\n%s", diff)
	}
	// The verdict comes before the end of a long lease, and after that of a short.
	if got := bound.Shared(time.Second, 150*ms, 3, 0, 0); got.Lease != 230*ms {
		t.Errorf("a long lease that may be shared is waited for %s", got.Lease)
	}
	if got := bound.Shared(300*ms, time.Second, 3, 0, 0); got.Lease != 343*ms {
		t.Errorf("a short lease that may be shared is waited for %s", got.Lease)
	}
}
