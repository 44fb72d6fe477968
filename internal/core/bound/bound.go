// Package bound says how short the leases of a cell may be, and how long the
// loss of any one node can keep a service away, from what was measured.
//
// Its main rule: a figure is made of measurements and of constants of the
// protocol, and names the node that makes it so long. It promises nothing about
// stalls that were never seen, or that are longer than a lease is worth
// stretching for.
//
// The package is pure.
package bound

import (
	"cmp"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/model/spec"
)

// Host is what was measured on one node.
type Host struct {
	Name spec.NodeName
	// Stall is the longest pause of its guard in the last ten minutes, of those
	// up to [detect.Cap].
	Stall time.Duration
	// Known is false for a node that has measured too little, or not at all.
	Known bool
	// Votes: a lease needs it, or enough others.
	Votes bool
	// Runs: it may come to hold the service.
	Runs bool
	// Gone: it is lost. It holds nothing, and the majority is to be found without
	// it.
	Gone bool
}

// Limits of a lease's length that is chosen by itself.
const (
	// Unmeasured stands for the stalls of a node that is not known: about the worst
	// of a shared virtual machine whose processors are oversubscribed twice. What is
	// measured replaces it within seconds.
	Unmeasured = 100 * time.Millisecond
	// Longest is the length that is not exceeded.
	Longest = spec.LongestAutoTTL
	// Cut is how long before a lease's end a service that may not run on is cut
	// off, so that it is over in time.
	Cut = 40 * time.Millisecond
	// step is what lengths are rounded up to, so that they do not change with
	// every millisecond.
	step = 50 * time.Millisecond
)

// Lease is a length of leases and what made it.
type Lease struct {
	TTL time.Duration
	// By is the node whose stalls made it longer than the shortest there is, and
	// Stall how long they are; both are zero if none did.
	By    spec.NodeName
	Stall time.Duration
}

// Auto returns the shortest length with which no stall that was measured ends a
// lease: what is known to be renewed when a stall begins was sent up to three
// heartbeats before (answers wait for the answerer's next, and are read with the
// holder's own), the stall follows, of which a quarter is added for the one that
// was not seen yet, and [Cut] before the end the service is cut off. The holder
// must be in time, and of the voters the best majority.
func Auto(hosts []Host) Lease {
	by, stall := worst(hosts)
	need := stall + stall/4 + 3*plane.Interval(len(hosts)) + Cut
	need += need / (lease.DriftBound - 1)
	ttl := (need + step - 1) / step * step
	switch {
	case ttl <= spec.MinTTL:
		return Lease{TTL: spec.MinTTL}
	case ttl > Longest:
		ttl = Longest
	}
	return Lease{TTL: ttl, By: by, Stall: stall}
}

// worst is the longest stall that a lease has to outlast, and whose it is.
func worst(hosts []Host) (spec.NodeName, time.Duration) {
	var by spec.NodeName
	var stall time.Duration
	var voters []Host
	for _, h := range hosts {
		if h.Votes {
			voters = append(voters, h)
		}
		if s := h.stall(); h.Runs && !h.Gone && s > stall {
			by, stall = h.Name, s
		}
	}
	slices.SortStableFunc(voters, func(a, b Host) int {
		if a.Gone != b.Gone {
			if a.Gone {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.stall(), b.stall())
	})
	if n := len(voters); n > 0 {
		if last := voters[n/2]; !last.Gone && last.stall() > stall {
			by, stall = last.Name, last.stall()
		}
	}
	return by, stall
}

func (h Host) stall() time.Duration {
	if !h.Known {
		return Unmeasured
	}
	return h.Stall
}

// Failover is the longest that the loss of one node can keep a service away.
type Failover struct {
	Total time.Duration
	// Lease is the wait for the lease to end, or for the verdict that the node is
	// lost where that is enough. Claim is winning the lease. Start is what the
	// parts took at their last start, 0 if it was never seen.
	Lease, Claim, Start time.Duration
}

// claimTime is what winning a lease that has ended takes: one timer and two
// round trips, and a retry for a packet that is lost.
const claimTime = lease.Resend + 10*time.Millisecond

// Exclusive is the bound of a service that runs under its lease. The voters count
// from the arrival of the last renewal, by a clock that may be slow; the
// successor finds the free lease after its own stall.
func Exclusive(ttl time.Duration, nodes int, successorStall, start time.Duration) Failover {
	return sum(Failover{Lease: end(ttl, nodes), Claim: claimTime + successorStall, Start: start})
}

// Shared is the bound of a service that may be taken over at the verdict: after
// the timeout of those who watch, one heartbeat each way, or the end of the
// lease, whichever is first.
func Shared(ttl, timeout time.Duration, nodes int, successorStall, start time.Duration) Failover {
	verdict := timeout + 2*plane.Interval(nodes)
	return sum(Failover{Lease: min(verdict, end(ttl, nodes)), Claim: claimTime + successorStall, Start: start})
}

// end is when a lease has ended at the voters. A calm voter reads a renewal only at
// its own next heartbeat, and counts from then.
func end(ttl time.Duration, nodes int) time.Duration {
	return ttl + ttl/lease.DriftBound + plane.Interval(nodes)
}

func sum(f Failover) Failover {
	f.Total = f.Lease + f.Claim + f.Start
	return f
}
