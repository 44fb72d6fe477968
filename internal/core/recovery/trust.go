package recovery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// judge brings what is remembered of a node up to date, and says how far it is
// trusted.
func (r *review) judge(n fact.Node, h *fact.NodeHistory) {
	if !n.Cleared.Equal(h.Heeded) {
		if h.Trust != fact.Trusted {
			r.note(event.NodeTrusted, "", n.Name, "%s is trusted again: an operator said so", n.Name)
		}
		*h = fact.NodeHistory{Node: n.Name, Lost: h.Lost, IllSince: h.IllSince, Heeded: n.Cleared}
	}
	lost := r.count(n, h)
	h.Losses = recent(h.Losses, func(t time.Time) time.Time { return t }, r.now, Memory)
	h.Failed = slices.DeleteFunc(recent(h.Failed, func(f fact.ServiceTime) time.Time { return f.At }, r.now, Memory),
		func(f fact.ServiceTime) bool { return r.outdated(f, h.Node) })
	if len(h.Failed) == 0 {
		h.Failed = nil
	}
	why := r.charge(h, lost)
	switch h.Trust {
	case fact.Trusted:
		switch {
		case why != "":
			r.quarantine(h, why)
		case h.Times > 0 && r.now.Sub(h.Since) >= Forgiven:
			h.Times, h.Since, h.Why = 0, time.Time{}, ""
		case h.Times == 0:
			h.Why = ""
		}
	case fact.Quarantined:

		switch {
		case lost:
			h.Until = r.now.Add(quarantine(h.Times))
		case !r.now.Before(h.Until) && n.Liveness == fact.Alive:
			h.Trust, h.Since, h.Until, h.Losses, h.Failed = fact.Probation, r.now, r.now.Add(quarantine(h.Times)), nil, nil
			r.note(event.NodeProbation, "", n.Name, "%s may take work again when no other node can, until %s; if it stays well, it is trusted then",
				n.Name, clock(h.Until))
		}
	case fact.Probation:
		switch {
		case why != "":
			r.quarantine(h, why)
		case !r.now.Before(h.Until) && n.Liveness == fact.Alive:
			h.Trust, h.Since, h.Until, h.Losses, h.Failed = fact.Trusted, r.now, time.Time{}, nil, nil
			r.note(event.NodeTrusted, "", n.Name, "%s is trusted again: it was well on probation", n.Name)
		}
	}
}

// count notes whether the node is lost or too ill, and reports whether it was
// lost just now. A node that is being worked on may come and go.
func (r *review) count(n fact.Node, h *fact.NodeHistory) bool {
	lost := n.Liveness == fact.Lost && !h.Lost
	switch {
	case lost:
		h.Lost = true
	case n.Liveness == fact.Alive:
		h.Lost = false
	}
	switch {
	case n.Health > -spec.MaxScore:
		h.IllSince = time.Time{}
	case h.IllSince.IsZero():
		h.IllSince = r.now
	}
	if !lost || n.Drain || n.Leaving || n.Maintenance || n.Witness {
		return false
	}
	h.Losses = append(h.Losses, r.now)
	return true
}

// charge says why the node is to be quarantined, empty if it is not.
func (r *review) charge(h *fact.NodeHistory, lost bool) string {
	if h.Trust == fact.Quarantined {
		return ""
	}
	if h.Trust == fact.Probation && lost {
		return "it was lost on probation"
	}
	if n := len(h.Losses); n >= FlapLosses {
		return fmt.Sprintf("it was lost %d times within %v", n, span(h.Losses[n-1].Sub(h.Losses[0])))
	}
	var alone []string
	for _, f := range h.Failed {
		if slices.Contains(alone, string(f.Service)) || !r.failsOnlyOn(f.Service, h.Node) {
			continue
		}
		alone = append(alone, string(f.Service))
	}
	slices.Sort(alone)
	switch {
	case h.Trust == fact.Probation && len(alone) > 0, len(alone) >= FailedServices:
		return strings.Join(alone, ", ") + " gave up there, and nowhere else"
	}
	return ""
}

// outdated reports whether it says nothing of a node any more that a service gave
// up there: it is gone or stopped, has another spec, or was cleared by an operator,
// who thus says that the cause was elsewhere.
func (r *review) outdated(f fact.ServiceTime, node spec.NodeName) bool {
	s, known := r.wanted(f.Service)
	return !known || f.Generation != 0 && f.Generation != s.Generation || s.Cleared[node].After(f.At)
}

// wanted returns a service that is to run.
func (r *review) wanted(name spec.ServiceName) (fact.Service, bool) {
	for _, s := range r.snapshot.Services {
		if s.Spec.Name == name {
			return s, !s.Deleting && !s.Spec.Stopped
		}
	}
	return fact.Service{}, false
}

// failsOnlyOn reports whether the service gave up on the node and is proven to be
// well elsewhere: it gave up on no other node lately, and runs well on one. Until
// it has been tried elsewhere nothing is known of the node.
func (r *review) failsOnlyOn(s spec.ServiceName, node spec.NodeName) bool {
	for _, n := range r.snapshot.Nodes {
		if n.Name != node && slices.ContainsFunc(r.node[n.Name].Failed, func(f fact.ServiceTime) bool {
			return f.Service == s && r.now.Sub(f.At) < Memory && !r.outdated(f, n.Name)
		}) {
			return false
		}
	}
	for _, h := range r.services {
		if h.Service == s && slices.ContainsFunc(h.Tried, func(t fact.Try) bool { return t.Node != node }) {
			return false
		}
	}
	return r.wellElsewhere(s, node)
}

// wellElsewhere reports whether the service has run well on another node than that
// one for a while, with its present spec.
func (r *review) wellElsewhere(name spec.ServiceName, node spec.NodeName) bool {
	s, known := r.wanted(name)
	if !known {
		return false
	}
	proven := min(quietOf(s), LongestProof)
	return slices.ContainsFunc(r.found[name], func(i sighting) bool {
		return i.node.Name != node && !i.node.Mute && i.Phase == fact.Running && i.Ready &&
			(i.Generation == 0 || i.Generation == s.Generation) && r.now.Sub(i.Since) >= proven
	})
}

// quarantine begins a quarantine, unless too many nodes are in one.
func (r *review) quarantine(h *fact.NodeHistory, why string) {
	others := 0
	for _, o := range r.snapshot.Nodes {
		if o.Name != h.Node && r.node[o.Name].Trust == fact.Quarantined {
			others++
		}
	}
	if most := r.snapshot.Recovery.AtOnce(r.workers()); others >= most {
		why = fmt.Sprintf("%s; it is not quarantined, since as many nodes as may be at once are: look for a common cause", why)
		if h.Why != why {
			r.note(event.CommonCause, "", h.Node, "%s: %s", h.Node, why)
		}
		h.Why = why
		return
	}
	h.Times++
	h.Trust, h.Since, h.Until, h.Why = fact.Quarantined, r.now, r.now.Add(quarantine(h.Times)), why
	h.Losses, h.Failed = nil, nil // they have had their effect
	r.note(event.NodeQuarantined, "", h.Node, "%s gets no new work until %s: %s. `keelson trust %s` ends this", h.Node, clock(h.Until), why, h.Node)
}

// workers counts the nodes that run services.
func (r *review) workers() int { return Workers(r.snapshot) }

// Workers counts the nodes of a snapshot that run services.
func Workers(s fact.Snapshot) int {
	n := 0
	for _, node := range s.Nodes {
		if !node.Witness && !node.Leaving {
			n++
		}
	}
	return n
}

// quarantine is how long the n-th quarantine in a row lasts.
func quarantine(n int) time.Duration {
	d := FirstQuarantine
	for range n - 1 {
		d = min(2*d, LongestQuarantine)
	}
	return d
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span rounds a duration to what people say.
func span(d time.Duration) time.Duration {
	if d < time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(time.Minute)
}
