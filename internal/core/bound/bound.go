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

	"github.com/keelson/keelson/internal/core/detect"
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

// Enough is how long a guard must have measured its host's stalls until they
// count.
const Enough = 20 * time.Second

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
	if planted(autoWithoutStalls) {
		by, stall = "", 0
	}
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
	voters, votes := rank(hosts)
	for _, h := range hosts {
		if s := h.stall(); h.Runs && !h.Gone && s > stall {
			by, stall = h.Name, s
		}
	}
	if need := votes/2 + 1; need <= len(voters) && voters[need-1].stall() > stall {
		by, stall = voters[need-1].Name, voters[need-1].stall()
	}
	return by, stall
}

// rank returns the voters that are there, those that stall least first, and how
// many votes there are.
func rank(hosts []Host) (voters []Host, votes int) {
	for _, h := range hosts {
		if !h.Votes {
			continue
		}
		votes++
		if !h.Gone {
			voters = append(voters, h)
		}
	}
	slices.SortStableFunc(voters, func(a, b Host) int { return cmp.Compare(a.stall(), b.stall()) })
	return voters, votes
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
	// By is the node whose stall is the longest part of Claim, and Stall how long
	// that is; both are zero if it is less than [Named].
	By    spec.NodeName
	Stall time.Duration
}

const (
	// claimTime is what winning a lease that has ended takes: one timer and two
	// round trips, and a retry for a packet that is lost.
	claimTime = lease.Resend + 10*time.Millisecond
	// Named is how long a stall must be for its host to be named.
	Named = 20 * time.Millisecond
)

// Exclusive is the bound of a service that runs under its lease, whichever of the
// hosts that may run it holds it. The voters count from the arrival of the last
// renewal, by a clock that may be slow. The successor finds the free lease after
// its own stall, and the majority that answers has one that comes last: it reads
// the renewal late or the claim, after its stall. start is as in [Failover].
//
// It is false if no other host may run it, or the voters that are left are no
// majority: then the service stays away until the node is back.
func Exclusive(ttl time.Duration, hosts []Host, start time.Duration) (Failover, bool) {
	if planted(boundOfVerdict) {
		return Shared(ttl, detect.Floor, hosts, start)
	}
	return after(end(ttl, len(hosts)), hosts, start)
}

// Shared is the bound of a service that may be taken over at the verdict: after
// timeout, that of those who watch, and one heartbeat each way, or at the end of
// the lease, whichever is first. The rest is as in [Exclusive].
func Shared(ttl, timeout time.Duration, hosts []Host, start time.Duration) (Failover, bool) {
	verdict := timeout + 2*plane.Interval(len(hosts))
	return after(min(verdict, end(ttl, len(hosts))), hosts, start)
}

// after is the bound of a service whose lease can be won after a time.
func after(free time.Duration, hosts []Host, start time.Duration) (Failover, bool) {
	worst := Failover{Lease: free, Claim: claimTime, Start: start}
	voters, votes := rank(hosts)
	pairs := 0
	for i := range hosts {
		for j := range hosts {
			holder, next := &hosts[i], &hosts[j]
			if i == j || !holder.Runs || holder.Gone || !next.Runs || next.Gone {
				continue
			}
			last, ok := answers(voters, votes/2+1, holder.Name, next.Name)
			if !ok {
				return Failover{}, false
			}
			pairs++
			stall := Host{Known: true}
			if last >= 0 {
				stall = voters[last]
			}
			claim := claimTime + next.stall() + stall.stall()
			if claim <= worst.Claim {
				continue
			}
			worst.Claim, worst.By, worst.Stall = claim, next.Name, next.stall()
			if s := stall.stall(); s > worst.Stall {
				worst.By, worst.Stall = stall.Name, s
			}
		}
	}
	if pairs == 0 {
		return Failover{}, false
	}
	if worst.Stall < Named {
		worst.By, worst.Stall = "", 0
	}
	worst.Total = worst.Lease + worst.Claim + worst.Start
	if planted(boundWithoutClaim) {
		worst.Total -= worst.Claim
	}
	return worst, true
}

// answers returns the place of the voter that completes the best majority without
// the holder, for the node that is next; that one's own vote comes with its claim.
// It is negative if nobody else is needed, and false if there is no majority.
func answers(voters []Host, need int, holder, next spec.NodeName) (int, bool) {
	last := -1
	for i := range voters {
		if voters[i].Name == next {
			need--
		}
	}
	for i := range voters {
		if name := voters[i].Name; need > 0 && name != holder && name != next {
			last = i
			need--
		}
	}
	return last, need <= 0
}

// end is when a lease has ended at the voters. A calm voter reads a renewal only at
// its own next heartbeat, and counts from then.
func end(ttl time.Duration, nodes int) time.Duration {
	return ttl + ttl/lease.DriftBound + plane.Interval(nodes)
}
