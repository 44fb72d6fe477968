package bound_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
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
		{"a stall that the shortest covers", []bound.Host{host("a", ms), host("b", 107*ms), host("c", ms)}, bound.Lease{TTL: 300 * ms}},
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
	const long = time.Second
	witness := func(h bound.Host) bound.Host { h.Runs = false; return h }
	outside := func(h bound.Host) bound.Host { h.Votes = false; return h }
	gone := func(h bound.Host) bound.Host { h.Gone = true; return h }
	unknown := func(h bound.Host) bound.Host { h.Known = false; return h }
	tests := []struct {
		name  string
		hosts []bound.Host
		claim time.Duration // 0: there is no bound
		by    spec.NodeName
		stall time.Duration
	}{
		{"nothing stalls", []bound.Host{host("a", 0), host("b", 0), host("c", 0)}, 50 * ms, "", 0},
		{"stalls too short to name anyone", []bound.Host{host("a", 5*ms), host("b", 6*ms), host("c", 7*ms)}, 63 * ms, "", 0},
		{"the successor stalls", []bound.Host{host("a", 0), host("b", 200*ms), witness(host("c", 0))}, 250 * ms, "b", 200 * ms},
		{"a voter that is needed stalls", []bound.Host{host("a", 0), host("b", 30*ms), witness(host("c", 200*ms))}, 280 * ms, "c", 200 * ms},
		{"and is as well the successor", []bound.Host{host("a", 0), host("b", 0), host("c", 200*ms)}, 250 * ms, "c", 200 * ms},
		{"two stall, and one of five voters is needed", []bound.Host{host("a", 0), host("b", 0), witness(host("c", 0)), witness(host("d", 300*ms)), witness(host("e", 100*ms))}, 150 * ms, "e", 100 * ms},
		{"a voter that stalls is not needed, for the holder does not vote", []bound.Host{outside(host("a", 0)), outside(host("b", 0)), witness(host("c", 0)), witness(host("d", 0)), witness(host("e", 300*ms))}, 50 * ms, "", 0},
		{"it is once another is lost", []bound.Host{outside(host("a", 0)), outside(host("b", 0)), witness(host("c", 0)), gone(witness(host("d", 0))), witness(host("e", 300*ms))}, 350 * ms, "e", 300 * ms},
		{"a voter that was not measured", []bound.Host{host("a", 0), host("b", 0), witness(unknown(host("c", 0)))}, 150 * ms, "c", bound.Unmeasured},
		{"the store's one voter may be the holder", []bound.Host{host("a", 0), outside(host("b", 0))}, 0, "", 0},
		{"two voters are no majority without one", []bound.Host{host("a", 0), host("b", 0)}, 0, "", 0},
		{"a witness makes it three", []bound.Host{host("a", 0), host("b", 0), witness(host("c", 0))}, 50 * ms, "", 0},
		{"nobody else may run it", []bound.Host{host("a", 0), witness(host("b", 0)), witness(host("c", 0))}, 0, "", 0},
		{"who else may is lost", []bound.Host{host("a", 0), gone(host("b", 0)), witness(host("c", 0))}, 0, "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			end := long + long/lease.DriftBound + plane.Interval(len(test.hosts))
			want := bound.Failover{}
			if test.claim > 0 {
				want = bound.Failover{Total: end + test.claim + 70*ms, Lease: end, Claim: test.claim, Start: 70 * ms, By: test.by, Stall: test.stall}
			}
			got, ok := bound.Exclusive(long, test.hosts, 70*ms)
			if diff := cmp.Diff(want, got); diff != "" || ok != (test.claim > 0) {
				t.Errorf("exclusive, %v (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestWhatMayBeSharedWaitsForTheVerdictOrTheEndOfTheLease(t *testing.T) {
	hosts := []bound.Host{host("a", 0), host("b", 0), host("c", 0)}
	if got, ok := bound.Shared(time.Second, 150*ms, hosts, 0); got.Lease != 230*ms || !ok {
		t.Errorf("a long lease that may be shared is waited for %s", got.Lease)
	}
	end := 300*ms + 300*ms/lease.DriftBound + plane.Interval(3)
	if got, ok := bound.Shared(300*ms, time.Second, hosts, 0); got.Lease != end || !ok {
		t.Errorf("a short lease that may be shared is waited for %s", got.Lease)
	}
}
