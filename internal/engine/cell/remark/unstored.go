package remark

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// Present is what is known of the nodes at one of them, self: its own report as it
// is now, and of the others the last ones; own nil: self does not know yet what runs
// on it. While the store does not answer, stale, what the others said of their
// services is left out but for what failed.
func Present(last map[spec.NodeName]record.Report, self spec.NodeName, own *record.Report, stale bool, now time.Time) map[spec.NodeName]record.Report {
	out := maps.Clone(last)
	if stale {
		for name, r := range last {
			r.Instances = pastOnly(r.Instances)
			out[name] = r
		}
	}
	if own == nil {
		return out
	}
	r := *own
	if r.At = last[self].At; stale {
		r.At = now
	}
	if out == nil {
		out = map[spec.NodeName]record.Report{}
	}
	out[self] = r
	return out
}

// pastOnly keeps of instances what failed.
func pastOnly(instances []fact.Instance) []fact.Instance {
	var out []fact.Instance
	for _, i := range instances {
		if len(i.Failures) > 0 {
			out = append(out, fact.Instance{Service: i.Service, Copy: i.Copy, Phase: fact.Idle, Failures: i.Failures})
		}
	}
	return out
}

// Firsthand is what one node knows by itself of a service.
type Firsthand struct {
	Self spec.NodeName
	// Here: it is known to be here, by what runs or by the lease.
	Here bool
	// Knows: what runs here is known.
	Knows bool
	// Holder has its lease, as far as that is known; empty: it is not.
	Holder spec.NodeName
	// Several: it has copies, and Here is of all of them.
	Several bool
}

// Unstored takes out of the status of a service what only the store could tell,
// while that does not answer. last are the last known reports.
func Unstored(s *status.Service, f Firsthand, last map[spec.NodeName]record.Report) {
	s.Stale = true
	if f.Here {
		return
	}
	s.LastKnown = lastKnown(s.Name, f, last)
	if s.State == status.Stopped && (s.LastKnown == notRunning || s.LastKnown == "") && f.Holder == "" {
		s.LastKnown, s.Successors = "", nil // its state says it, and Stale that this may have changed
		return
	}
	wanted := ""
	switch s.State { //nolint:exhaustive // the others are not what somebody wished
	case status.Stopped, status.Stopping:
		wanted = "it is to be stopped, as its file says; "
	case status.Deleting:
		wanted = "it is to be deleted; "
	}
	s.State, s.Ready = status.Unknown, false
	if s.Node != f.Holder || s.Node == "" {
		s.Node, s.Epoch, s.Since, s.Parts = f.Holder, 0, time.Time{}, nil
	}
	s.Successors, s.Waits, s.Recovery = nil, "", status.Recovery{}
	if s.Bound != (status.Bound{}) {
		s.Bound = status.Bound{Why: "how long a failover takes is not known while the store does not answer"}
	}
	for i := range s.Copies {
		if s.Copies[i].Node != f.Self {
			s.Copies[i].Ready = false
		}
	}
	was := ""
	if s.LastKnown != "" {
		was = "; it was last known " + s.LastKnown
	}
	s.Problem = "while the store does not answer, it is not known how it is" + was
	switch stopped := "stopped on " + string(f.Self); {
	case s.LastKnown == stopped:
		s.Problem = fmt.Sprintf("it was %s, and while the store does not answer, it is not known whether it runs elsewhere", stopped)
	case f.Several:
		s.Problem = fmt.Sprintf("while the store does not answer, only what runs on %s is known of its copies%s", f.Self, was)
	}
	s.Problem = wanted + s.Problem
	if f.Holder != "" {
		s.Problem += fmt.Sprintf("; %s holds its lease", f.Holder)
	}
}

// notRunning is what is last known of a service that nobody had.
const notRunning = "not running"

// lastKnown says how a service was when the store answered last, or how it was
// found here since. It is empty if nothing was heard of any node: the store has not
// answered since the agent started.
func lastKnown(name spec.ServiceName, f Firsthand, last map[spec.NodeName]record.Report) string {
	where := map[fact.Phase][]spec.NodeName{}
	var best fact.Instance
	var on spec.NodeName
	for _, node := range slices.Sorted(maps.Keys(last)) {
		for _, i := range last[node].Instances {
			if i.Service != name || !there(i.Phase) {
				continue
			}
			if !slices.Contains(where[i.Phase], node) {
				where[i.Phase] = append(where[i.Phase], node)
			}
			if on == "" || i.Epoch > best.Epoch {
				best, on = i, node
			}
		}
	}
	switch {
	case len(last) == 0:
		return ""
	case on == "":
		return notRunning
	case f.Several:
		phase := best.Phase
		if len(where[fact.Running]) > 0 {
			phase = fact.Running
		}
		return fmt.Sprintf("%s on %s", phase, names(where[phase]))
	case f.Knows && on == f.Self:
		return fmt.Sprintf("stopped on %s", on)
	}
	return fmt.Sprintf("%s on %s", best.Phase, on)
}

// there tells whether something of an instance may be running.
func there(p fact.Phase) bool {
	switch p {
	case fact.Starting, fact.Running, fact.Stopping, fact.Backoff, fact.Stuck:
		return true
	case fact.Idle, fact.Waiting, fact.Failed:
	}
	return false
}

func names(nodes []spec.NodeName) string {
	words := make([]string, len(nodes))
	for i, n := range nodes {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}
