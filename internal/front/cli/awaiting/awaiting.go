// Package awaiting judges by the cell's status how far something is that a command
// waits for: done, on its way, or failed for good.
//
// It is pure. Its main rule is that only what nobody but a person can mend has
// failed for good: what the cell still works at is on its way.
package awaiting

import (
	"fmt"
	"slices"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// Verdict is what a status says about something awaited.
type Verdict struct {
	Done bool
	Far  string // how far it is
	// Failed says that it will not come to be by itself, Next what to do. Next is
	// empty while Failed is false.
	Failed bool
	Next   string
}

// Find returns a service of a status, and whether it is there.
func Find(c client.Status, name spec.ServiceName) (client.Service, bool) {
	for _, s := range c.Services {
		if s.Name == name {
			return s, true
		}
	}
	return client.Service{}, false
}

// FindNode returns a node of a status, and whether it is there.
func FindNode(c client.Status, name spec.NodeName) (client.Node, bool) {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return client.Node{}, false
}

// lost adds to v that a service has failed for good, if it has.
func lost(v Verdict, s client.Service) Verdict {
	switch {
	case s.State == status.Homeless:
		v.Failed, v.Next = true, fmt.Sprintf("see `keelson why %s`; correct its file and apply it, or let a node take it", s.Name)
	case s.State == status.Failed && !s.Recovery.Halted.IsZero():
		v.Failed, v.Next = true, fmt.Sprintf("correct the cause (`keelson logs %s`), then `keelson clear %s`", s.Name, s.Name)
	case s.State == status.Failed:
		v.Failed, v.Next = true, fmt.Sprintf("see `keelson describe %s` and `keelson logs %s`", s.Name, s.Name)
	}
	return v
}

// Applied is reached when all of what was applied runs and is ready, or is stopped
// because it says so.
func Applied(c client.Status, result client.ApplyResult) Verdict {
	var first *Verdict
	for _, a := range result.Applied {
		s, known := Find(c, a.Name)
		var v Verdict
		switch {
		case !known || s.Generation < a.Generation:
			v = Verdict{Far: fmt.Sprintf("%s has not been seen by %s", a.Name, c.Node)}
		case s.State == status.Stopped, s.State == status.Running && s.Ready:
			continue
		default:
			v = lost(Verdict{Far: view.Progress(s)}, s)
		}
		if v.Failed {
			return v
		}
		if first == nil {
			first = &v
		}
	}
	if first != nil {
		return *first
	}
	return Verdict{Done: true}
}

// Move is a move that is awaited.
type Move struct {
	Service spec.ServiceName
	request.Moved

	seen   bool
	failed int // how often it had failed elsewhere than where it was, at the first look
}

// Reached when the service runs on another node than before, and on the wanted one
// if one is. A service that failed there and is back has failed for good: the wish
// was one of one time.
func (m *Move) Reached(c client.Status) Verdict {
	s, known := Find(c, m.Service)
	there := s.Node != m.From
	if m.To != "" {
		there = s.Node == m.To
	}
	if known && there && s.State == status.Running {
		return Verdict{Done: true}
	}
	v := lost(Verdict{Far: view.Progress(s)}, s)
	failed, last := 0, status.Failure{}
	for _, f := range s.Failures {
		if f.Node != m.From && (m.To == "" || f.Node == m.To) {
			failed, last = failed+1, f
		}
	}
	if !m.seen {
		m.seen, m.failed = true, failed
	}
	if !v.Failed && failed > m.failed && m.From != "" && s.Node == m.From && s.State == status.Running {
		why := last.Why
		if last.Part != "" {
			why = last.Part + ": " + why
		}
		return Verdict{
			Failed: true, Far: fmt.Sprintf("%s failed on %s: %s; it is back on %s", m.Service, last.Node, why, m.From),
			Next: fmt.Sprintf("see `keelson logs %s --node %s`", m.Service, last.Node),
		}
	}
	return v
}

// Deleted is reached when the cell knows the service no more. A part of it that does
// not stop is for a person to end.
func Deleted(c client.Status, name spec.ServiceName) Verdict {
	s, known := Find(c, name)
	on := busy(s)
	switch {
	case !known:
		return Verdict{Done: true}
	case s.State == status.Failed && s.Recovery.Halted.IsZero() && len(on) > 0:
		return Verdict{
			Failed: true, Far: view.Progress(s),
			Next: fmt.Sprintf("end by hand what does not stop there (`keelson describe %s` names it), or restart that server; then the deletion goes on by itself", name),
		}
	case len(on) > 0:
		return Verdict{Far: "it is being stopped on " + view.Names(on)}
	}
	return Verdict{Far: "it runs nowhere any more and is being forgotten"}
}

// busy are the nodes where something of a service may run.
func busy(s client.Service) (on []spec.NodeName) {
	if s.Node != "" {
		on = append(on, s.Node)
	}
	for _, c := range s.Copies {
		switch c.State {
		case string(fact.Starting), string(fact.Running), string(fact.Stopping), string(fact.Backoff), string(fact.Stuck):
			if !slices.Contains(on, c.Node) {
				on = append(on, c.Node)
			}
		}
	}
	return on
}

// Drained is reached when nothing runs on the node.
func Drained(c client.Status, name spec.NodeName) Verdict {
	n, known := FindNode(c, name)
	switch {
	case !known:
		return Verdict{Done: true}
	case !n.Draining && !n.Leaving:
		return Verdict{Far: "the wish has not been seen by " + string(c.Node)}
	case len(n.Services) > 0:
		return held(c, n)
	}
	return Verdict{Done: true}
}

// Gone is reached when the node is no member any more.
func Gone(c client.Status, name spec.NodeName) Verdict {
	n, known := FindNode(c, name)
	if known && len(n.Services) > 0 {
		return held(c, n)
	}
	return Verdict{Done: !known, Far: "it is giving up its place in the cell"}
}

// held says which services are still on a node. One that failed there does not go
// by itself.
func held(c client.Status, n client.Node) Verdict {
	for _, name := range n.Services {
		if s, known := Find(c, name); known && s.Node == n.Name {
			if v := lost(Verdict{Far: view.Progress(s)}, s); v.Failed {
				return v
			}
		}
	}
	return Verdict{Far: "still there: " + view.Names(n.Services)}
}
