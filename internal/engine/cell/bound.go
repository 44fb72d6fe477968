package cell

import (
	"fmt"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/core/detect"
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
	var start, stall, timeout time.Duration
	if at != nil {
		start = at.Took
	}
	for _, n := range s.Successors {
		stall = max(stall, time.Duration(a.Records.Reports[n].Late))
	}
	for _, n := range append([]spec.NodeName{s.Node}, s.Successors...) {
		timeout = max(timeout, detect.Patience(time.Duration(a.Records.Reports[n].Late)))
	}
	f := bound.Exclusive(s.TTL, len(a.Records.Nodes), stall, start)
	if !s.Exclusive {
		f = bound.Shared(s.TTL, timeout, len(a.Records.Nodes), stall, start)
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
	if r.Spec.Failover.TTL == 0 && p.TTLBy != "" {
		out.By = p.TTLBy
		fmt.Fprintf(&why, "; %s", stallSentence(p))
	}
	out.Why = why.String()
	return out
}

func stallSentence(p record.Placement) string {
	stall := time.Duration(p.TTLStall).Round(time.Millisecond)
	if time.Duration(p.TTLStall) == bound.Unmeasured {
		return fmt.Sprintf("the stalls of %s are not known yet and are taken for %s", p.TTLBy, stall)
	}
	return fmt.Sprintf("the lease would be shorter if %s did not stall for %s", p.TTLBy, stall)
}
