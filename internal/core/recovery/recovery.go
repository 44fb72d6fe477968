// Package recovery remembers what went wrong, and says from it how far a node is
// to be trusted and whether a service has been tried everywhere.
//
// Its main rule is that trouble is remembered for a bounded time and then
// forgiven, but for one thing: a service that gave up on every node that may run
// it is stopped until a person has looked. Where it only misses something it is
// tried again now and then, and this is held against no node. A node that is lost again and again,
// or on which one service after the other gives up while it is well elsewhere,
// is quarantined, each time twice as long, and comes back on probation.
//
// The package is pure: what was remembered comes in with the snapshot, what is to
// be remembered comes out. It places nothing, and refuses to quarantine more
// nodes than may be acted on at once: then the cause is not in the nodes.
package recovery

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Figures of recovery.
const (
	// Memory is how long losses of a node, and what gave up there, count.
	Memory = 30 * time.Minute
	// FlapLosses is how many losses within Memory quarantine a node; one is enough
	// while it is on probation.
	FlapLosses = 3
	// FailedServices is how many services that gave up on a node, and since run well
	// on another with the same spec, quarantine it.
	FailedServices = 3

	// FirstQuarantine is how long the first quarantine lasts, and the probation
	// after it; each further one lasts twice as long, up to LongestQuarantine.
	FirstQuarantine   = 10 * time.Minute
	LongestQuarantine = 4 * time.Hour
	// Forgiven is how long a node must have been trusted until its next quarantine
	// counts as its first.
	Forgiven = 24 * time.Hour

	// ShortestQuiet is how long a service must run at least until what it failed
	// before is forgotten; it is the window of its failures if that is longer.
	ShortestQuiet = time.Minute

	// LongestProof is how long at most a service must run elsewhere until that it
	// gave up on a node is held against the node.
	LongestProof = Memory / 3

	// AtOnce is how close together things happen at once: in a storm, and where
	// moves away from ill nodes are counted.
	AtOnce = 30 * time.Second

	maxRemembered = 32 // of any list
)

// Review returns what is to be remembered after the snapshot, whose nodes and
// services are sorted by name, and what of it is news.
func Review(s fact.Snapshot) (fact.History, []action.Note) {
	r := &review{snapshot: s, now: s.Now.UTC().Round(0)}
	r.node = make(map[spec.NodeName]*fact.NodeHistory, len(s.Nodes))
	nodes := make([]fact.NodeHistory, len(s.Nodes))
	for i, n := range s.Nodes {
		nodes[i] = s.History.Node(n.Name)
		nodes[i].Losses, nodes[i].Failed = slices.Clone(nodes[i].Losses), slices.Clone(nodes[i].Failed)
		r.node[n.Name] = &nodes[i]
	}
	r.seen()
	var out fact.History
	for _, svc := range s.Services {
		if h := r.service(svc); h.Tried != nil || h.Moves != nil || h.Waits != "" {
			out.Services = append(out.Services, h)
		}
	}
	r.services = out.Services
	for i, n := range s.Nodes {
		r.judge(n, &nodes[i])
		if h := nodes[i]; h.Lost || !h.IllSince.IsZero() || h.Losses != nil || h.Failed != nil || h.Times > 0 || !h.Heeded.IsZero() {
			out.Nodes = append(out.Nodes, h)
		}
	}
	out.Storm = s.History.Storm
	return out, r.notes
}

// review is one call of [Review].
type review struct {
	snapshot fact.Snapshot
	now      time.Time
	node     map[spec.NodeName]*fact.NodeHistory
	services []fact.ServiceHistory
	notes    []action.Note
	found    map[spec.ServiceName][]sighting
}

// sighting is an instance and its node.
type sighting struct {
	node fact.Node
	fact.Instance
}

// seen sorts the instances by service. What a lost node said is from before.
func (r *review) seen() {
	r.found = make(map[spec.ServiceName][]sighting)
	for _, n := range r.snapshot.Nodes {
		if n.Liveness == fact.Lost {
			continue
		}
		for _, i := range n.Instances {
			r.found[i.Service] = append(r.found[i.Service], sighting{n, i})
		}
	}
}

func (r *review) note(kind event.Kind, service spec.ServiceName, node spec.NodeName, format string, args ...any) {
	r.notes = append(r.notes, action.Note{Kind: kind, Service: service, Node: node, Text: fmt.Sprintf(format, args...)})
}

// Counts reports whether what an instance on the node says of failures is of the
// present spec and of the time since an operator last cleared it.
func Counts(s fact.Service, node spec.NodeName, i fact.Instance) bool {
	return (i.Generation == 0 || i.Generation >= s.Generation) && i.Cleared.Equal(s.Cleared[node])
}

// service brings what is remembered of a service up to date.
func (r *review) service(s fact.Service) fact.ServiceHistory {
	h := r.snapshot.History.Service(s.Spec.Name)
	h.Moves = recent(h.Moves, func(m fact.Move) time.Time { return m.At }, r.now, r.window())
	h.Tried = slices.Clone(h.Tried)
	if s.Deleting || s.Spec.Stopped {
		h.Waits, h.WaitsUntil = "", time.Time{}
	}
	if s.Deleting || s.Spec.Stopped || h.Generation != s.Generation {
		h.Tried, h.Stopped = nil, time.Time{}
	}
	h.Generation = s.Generation
	before := len(h.Tried)
	again := !h.Stopped.IsZero() && !slices.ContainsFunc(h.Tried, func(t fact.Try) bool { return t.Missing != "" && t.Until.After(r.now) })
	h.Tried = slices.DeleteFunc(h.Tried, func(t fact.Try) bool {
		return r.node[t.Node] == nil || !t.Cleared.Equal(s.Cleared[t.Node]) || again && t.Missing != ""
	})
	if len(h.Tried) < before {
		h.Stopped = time.Time{}
	}
	if !s.Deleting && !s.Spec.Stopped {
		r.try(s, &h)
		r.forgive(s, &h)
		r.halt(s, &h)
	}
	if len(h.Tried) == 0 {
		h.Tried = nil
	}
	return h
}

// window is how long moves are remembered.
func (r *review) window() time.Duration {
	return max(AtOnce, time.Duration(r.snapshot.Recovery.Effective().Window))
}

// try adds the nodes on which the service gave up.
func (r *review) try(s fact.Service, h *fact.ServiceHistory) {
	for _, i := range r.found[s.Spec.Name] {
		banned := i.FailedUntil.After(r.now)
		if !Counts(s, i.node.Name, i.Instance) || !banned && (i.Phase != fact.Failed || !i.FailedUntil.IsZero()) {
			continue
		}
		t := fact.Try{Node: i.node.Name, At: r.now, Until: i.FailedUntil, Cleared: s.Cleared[i.node.Name]}
		t.Why, t.Missing = lastFailure(i.Instance)
		anew := s.Spec.Failover.EffectiveWithin() / 2
		if t.Missing != "" {
			anew = min(anew, time.Minute) // its bans are shorter at first
		}
		at, known := slices.BinarySearchFunc(h.Tried, t.Node, func(t fact.Try, n spec.NodeName) int { return cmp.Compare(t.Node, n) })
		switch {
		case !known:
			h.Tried = slices.Insert(h.Tried, at, t)
		case t.Until.Sub(h.Tried[at].Until) > anew:
			h.Tried[at] = t // it gave up there once more
		default:
			continue
		}
		if n := r.node[t.Node]; t.Missing == "" {
			n.Failed = append(n.Failed, fact.ServiceTime{Service: s.Spec.Name, At: r.now, Generation: s.Generation})
		}
	}
}

// lastFailure says what failed last, and what it could not start for want of.
func lastFailure(i fact.Instance) (why, missing string) {
	if len(i.Failures) == 0 {
		return "", ""
	}
	f := i.Failures[len(i.Failures)-1]
	if f.Part == "" {
		return f.Why, f.Missing
	}
	return f.Part + ": " + f.Why, f.Missing
}

// forgive forgets where the service gave up once it has run well.
func (r *review) forgive(s fact.Service, h *fact.ServiceHistory) {
	quiet := quietOf(s)
	for _, i := range r.found[s.Spec.Name] {
		if i.Phase != fact.Running || i.node.Mute || r.now.Sub(i.Since) < quiet {
			continue
		}
		if s.Spec.Copies == nil {
			h.Tried, h.Stopped = nil, time.Time{}
			return
		}
		h.Tried = slices.DeleteFunc(h.Tried, func(t fact.Try) bool { return t.Node == i.node.Name })
	}
}

// quietOf is how long a service must run until it counts as running well.
func quietOf(s fact.Service) time.Duration {
	return max(ShortestQuiet, s.Spec.Failover.EffectiveWithin())
}

// halt stops the service for a person if it gave up on every node that may run it.
func (r *review) halt(s fact.Service, h *fact.ServiceHistory) {
	if len(h.Tried) == 0 || !h.Stopped.IsZero() {
		return
	}
	nodes := r.eligible(s)
	for _, n := range nodes {
		if !slices.ContainsFunc(h.Tried, func(t fact.Try) bool { return t.Node == n }) {
			return
		}
	}
	if len(nodes) == 0 {
		return
	}
	h.Stopped = r.now
	h.Waits, h.WaitsUntil = "", time.Time{}
	r.note(event.ServiceHalted, s.Spec.Name, "", "%s", Halted(*h))
}

// Halted says, in a sentence or two, that a service is stopped for a person, and
// what became of it on each node.
func Halted(h fact.ServiceHistory) string {
	if lacks := lacking(h.Tried); lacks != "" {
		return fmt.Sprintf("failed: %s. Bring it there, or correct the spec. It is tried again every few minutes, and at once after `keelson clear %s`",
			lacks, h.Service)
	}
	var whys []string
	nodes := map[string][]string{}
	for _, t := range h.Tried {
		if nodes[t.Why] == nil {
			whys = append(whys, t.Why)
		}
		nodes[t.Why] = append(nodes[t.Why], string(t.Node))
	}
	each := make([]string, 0, len(whys))
	for _, why := range whys {
		text := strings.Join(nodes[why], ", ")
		if why != "" {
			text += " (" + why + ")"
		}
		each = append(each, text)
	}
	return fmt.Sprintf("stopped for a person: it failed on every node that may run it: %s. Correct the cause, then `keelson clear %s`",
		strings.Join(each, ", "), h.Service)
}

// lacking says what is missing on which nodes; empty if something else failed too.
func lacking(tried []fact.Try) string {
	where := map[string][]string{}
	var what []string
	for _, t := range tried {
		if t.Missing == "" {
			return ""
		}
		if where[t.Missing] == nil {
			what = append(what, t.Missing)
		}
		where[t.Missing] = append(where[t.Missing], string(t.Node))
	}
	for i, w := range what {
		what[i] = fmt.Sprintf("%s is missing on %s", w, strings.Join(where[w], ", "))
	}
	return strings.Join(what, "; ")
}

// eligible returns the nodes that the spec of the service, and of what it is
// together with, allows now.
func (r *review) eligible(s fact.Service) []spec.NodeName {
	group := r.company(s)
	var out []spec.NodeName
	for _, n := range r.snapshot.Nodes {
		if n.Witness || n.Leaving {
			continue
		}
		if r.unwanted(group, n) {
			continue
		}
		allowed := !slices.ContainsFunc(group, func(m spec.Place) bool {
			return len(m.On) > 0 && !slices.Contains(m.On, n.Name) || slices.Contains(m.Never, n.Name)
		})
		if allowed {
			out = append(out, n.Name)
		}
	}
	return out
}

// unwanted reports whether what the places prefer now keeps all of them from the
// node. A preference for labels may change with those, and one for a time ends: a
// node that is wanted again then was not tried.
func (r *review) unwanted(group []spec.Place, n fact.Node) bool {
	sum := 0
	for _, m := range group {
		for _, pref := range m.Prefer {
			key, value, isLabel := spec.SplitLabel(pref.Label)
			got, has := n.Labels[key]
			if pref.Role == "" && pref.Holds(r.snapshot.Now) && (pref.Node == n.Name || isLabel && has && got == value) {
				sum = max(-spec.MaxScore, min(spec.MaxScore, sum+pref.Score))
			}
			if sum <= -spec.MaxScore {
				return true
			}
		}
	}
	return false
}

// company returns the places of all that the service is together with, itself
// included. Being together goes both ways and on to the next.
func (r *review) company(s fact.Service) []spec.Place {
	in := map[spec.ServiceName]bool{s.Spec.Name: true}
	places := []spec.Place{s.Spec.Place}
	for grew := s.Spec.Copies == nil; grew; {
		grew = false
		for _, o := range r.snapshot.Services {
			if in[o.Spec.Name] || o.Deleting || o.Spec.Stopped || o.Spec.Copies != nil {
				continue
			}
			with := slices.ContainsFunc(o.Spec.Place.Together, func(n spec.ServiceName) bool { return in[n] })
			for _, m := range r.snapshot.Services {
				with = with || in[m.Spec.Name] && slices.Contains(m.Spec.Place.Together, o.Spec.Name)
			}
			if with {
				in[o.Spec.Name], grew = true, true
				places = append(places, o.Spec.Place)
			}
		}
	}
	return places
}

// recent returns what of a list is not older than window, at most maxRemembered;
// nil if nothing is.
func recent[T any](list []T, at func(T) time.Time, now time.Time, window time.Duration) []T {
	var out []T
	for _, v := range list {
		if now.Sub(at(v)) < window {
			out = append(out, v)
		}
	}
	return out[max(0, len(out)-maxRemembered):]
}
