package cell

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/core/detect"
	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// bound is the longest outage that the loss of one node can cause to a service,
// whoever of those that may hold it holds it.
func (a *assembly) bound(r record.Service, s status.Service, at *found) status.Bound {
	if r.Deleting || r.Spec.Stopped {
		return status.Bound{}
	}
	if s.Node == "" || len(s.Successors) == 0 {
		return status.Bound{Why: "no other node may take over, so the loss of its node lasts until that node is back"}
	}
	var start, timeout time.Duration
	if at != nil {
		start = at.Took
	}
	runs := append([]spec.NodeName{s.Node}, s.Successors...)
	for _, n := range runs {
		r := a.Records.Reports[n]
		timeout = max(timeout, detect.Patience(time.Duration(r.Late)), time.Duration(r.Waits))
	}
	hosts := a.hosts(runs)
	f, ok := bound.Exclusive(s.TTL, hosts, start)
	if !s.Exclusive {
		f, ok = bound.Shared(s.TTL, timeout, hosts, start)
	}
	if !ok {
		return status.Bound{Why: remark.Unbound(s.Node, hosts)}
	}
	out := status.Bound{Total: f.Total, Lease: f.Lease, Claim: f.Claim, Start: f.Start}
	var why strings.Builder
	verb := "until the lease ends"
	if !s.Exclusive && f.Lease < s.TTL {
		verb = "until its node counts as lost"
	}
	fmt.Fprintf(&why, "%s %s, %s to claim it", f.Lease.Round(time.Millisecond), verb, f.Claim.Round(time.Millisecond))
	switch {
	case start > 0:
		fmt.Fprintf(&why, ", %s to start as the last time", start.Round(time.Millisecond))
	default:
		why.WriteString("; how long the start takes was not seen yet")
	}
	p := a.Records.Placements[r.Spec.Name]
	if f.By != "" {
		out.By = f.By
		fmt.Fprintf(&why, "; %s", a.waitSentence(f))
	}
	if r.Spec.Failover.TTL == 0 && p.TTLBy != "" {
		if f.Stall <= time.Duration(p.TTLStall) {
			out.By = p.TTLBy
		}
		fmt.Fprintf(&why, "; %s", a.stallSentence(p))
	}
	out.Why = why.String()
	return out
}

// hosts are the members of the cell as far as they were measured; runs are those
// that may run the service.
func (a *assembly) hosts(runs []spec.NodeName) []bound.Host {
	var hosts []bound.Host
	for _, name := range sortedKeys(a.Records.Nodes) {
		r := a.Records.Reports[name]
		hosts = append(hosts, bound.Host{
			Name: name, Stall: time.Duration(r.Late), Known: time.Duration(r.Measured) >= bound.Enough,
			Votes: counts(a.Records.Lease, a.Records.Nodes[name].Slot),
			Runs:  slices.Contains(runs, name), Gone: a.away(name),
		})
	}
	return hosts
}

// away reports whether a node counts for nothing in a takeover now: it is lost,
// was not heard yet by the guard here, or has a clock that nobody can rely on.
func (a *assembly) away(name spec.NodeName) bool {
	g := a.Live.Guard
	if g == nil {
		return a.liveness[name] == fact.Lost
	}
	bit := uint32(1) << a.Records.Nodes[name].Slot
	return (g.Lost|g.Skewed)&bit != 0 || (g.Alive|g.Suspect)&bit == 0
}

// waitSentence says whose stall a takeover may have to wait for.
func (a *assembly) waitSentence(f bound.Failover) string {
	if f.Stall == bound.Unmeasured && time.Duration(a.Records.Reports[f.By].Measured) < bound.Enough {
		return remark.Unmeasured(f.By, time.Duration(a.Records.Reports[f.By].Measured), bound.Enough, f.Stall)
	}
	return fmt.Sprintf("%s may stall for %s meanwhile", f.By, f.Stall.Round(time.Millisecond))
}

func (a *assembly) stallSentence(p record.Placement) string {
	stall := time.Duration(p.TTLStall).Round(time.Millisecond)
	if time.Duration(p.TTLStall) == bound.Unmeasured {
		return remark.Unmeasured(p.TTLBy, time.Duration(a.Records.Reports[p.TTLBy].Measured), bound.Enough, stall)
	}
	return fmt.Sprintf("the lease would be shorter if %s did not stall for %s", p.TTLBy, stall)
}
