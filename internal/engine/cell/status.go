package cell

import (
	"cmp"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// MaxFailures is how many failures of a service a status shows.
const MaxFailures = 20

// View is all that a status is made of.
type View struct {
	Records Records
	Live    Live
	Now     time.Time
	Stale   bool // the records are the last known ones, not the present ones
}

// Assemble makes the status of the cell. It is pure: the same view gives the
// same status.
func Assemble(v View) status.Cell {
	out := status.Cell{
		Name: v.Records.Cell.Name, ID: v.Records.Cell.ID,
		Node: v.Live.Node, At: v.Now, Quorate: v.Live.quorate(),
		Controller: v.Records.Controller, Stale: v.Stale, Maintenance: v.Records.Wish.Maintenance,
	}
	last := v.Records.Reports
	v.Records.Reports = remark.Present(last, v.Live.Node, v.Live.Own, v.Stale, v.Now)
	a := assembly{View: v, last: last, holds: v.Live.holds(v.Records), liveness: map[spec.NodeName]fact.Liveness{}}
	for _, name := range sortedKeys(v.Records.Nodes) {
		a.liveness[name] = v.Live.liveness(v.Records.Nodes[name], v.Records.Reports[name], v.Now)
	}
	homes := map[spec.NodeName][]spec.ServiceName{}
	for _, name := range sortedKeys(v.Records.Services) {
		s := a.service(v.Records.Services[name])
		if v.Stale {
			remark.Unstored(&s, a.firsthand(s), last)
		}
		out.Services = append(out.Services, s)
		for _, n := range at(s) {
			homes[n] = append(homes[n], name)
		}
	}
	for _, name := range sortedKeys(v.Records.Nodes) {
		n := a.node(v.Records.Nodes[name])
		n.Services = homes[name]
		out.Nodes = append(out.Nodes, n)
	}
	out.Problems = a.problems(out)
	return out
}

// assembly is a status half made.
type assembly struct {
	View
	last     map[spec.NodeName]record.Report // as the store has them
	holds    map[spec.ServiceName]hold
	liveness map[spec.NodeName]fact.Liveness
}

func (a *assembly) node(n record.Node) status.Node {
	wish, report := a.Records.Wishes[n.Name], a.Records.Reports[n.Name]
	past := a.Records.NodePast[n.Name]
	return status.Node{
		Name: n.Name, Slot: n.Slot, Address: n.Address, Labels: n.Labels,
		Liveness: a.liveness[n.Name],
		Voter:    counts(a.Records.Lease, n.Slot),
		Witness:  n.Witness, Draining: wish.Drain, Leaving: wish.Leaving,
		Version: n.Version, Joined: n.Joined,
		Stall: time.Duration(report.Stall), Warnings: a.warnings(report, n.Name),
		GuardUp: report.GuardUp, Maintenance: wish.Maintenance,
		Trust: trust(past), Measured: time.Duration(report.Measured), Dropped: report.Dropped, Stale: a.Stale,
	}
}

// firsthand is what this node knows by itself of a service.
func (a *assembly) firsthand(s status.Service) remark.Firsthand {
	f := remark.Firsthand{Self: a.Live.Node, Knows: a.Live.Own != nil, Several: s.Copies != nil}
	if h, held := a.holds[s.Name]; held && (h.node == f.Self || a.liveness[h.node] == fact.Alive) {
		f.Holder = h.node
	}
	f.Here = f.Knows && (f.Holder == f.Self || slices.Contains(at(s), f.Self))
	if f.Several {
		f.Here = f.Knows && !slices.ContainsFunc(s.Copies, func(c status.Copy) bool { return c.Node != f.Self })
	}
	return f
}

// warnings are those of a node's last report. While its reports do not reach the
// store, the node that is asked adds its own.
func (a *assembly) warnings(report record.Report, name spec.NodeName) []string {
	out := report.Warnings
	if !a.Stale || a.Live.Node != name {
		return out
	}
	for _, w := range a.Live.Warnings {
		if !slices.Contains(out, w) {
			out = append(out[:len(out):len(out)], w)
		}
	}
	return out
}

// trust is empty for a node of whose past there is nothing to say.
func trust(h fact.NodeHistory) status.Trust {
	if h.Trust == fact.Trusted {
		return status.Trust{}
	}
	return status.Trust{State: h.Trust, Until: h.Until, Why: h.Why}
}

// counts reports whether a node's vote counts for good: one that is about to
// come or to go is not relied on.
func counts(l record.Lease, slot uint8) bool {
	voters := l.Voters
	if l.Prior != 0 {
		voters &= l.Prior
	}
	return (voters>>slot)&1 == 1
}

// found is the instance of a service that counts: the one that runs or is
// nearest to it.
type found struct {
	fact.Instance
	node spec.NodeName
}

func (a *assembly) service(r record.Service) status.Service {
	name := r.Spec.Name
	placement := a.Records.Placements[name]
	at := a.instance(r)
	if r.Spec.Copies != nil {
		return a.several(r)
	}
	out := status.Service{
		Name: name, Exclusive: r.Spec.IsExclusive(), Generation: r.Generation,
		Reasons: placement.Reasons, TTL: placement.LeaseTTL(r.Spec),
		Failures: a.failures(name),
	}
	if at != nil && occupied(at.Phase) {
		out.Node, out.Since, out.Epoch, out.Parts = at.node, at.Since, at.Epoch, at.Parts
	}
	if h, held := a.holds[name]; held && (out.Node == "" || out.Node == h.node) {
		if out.Node = h.node; h.epoch > out.Epoch {
			out.Epoch, out.Since = h.epoch, time.Time{} // what it did under the epoch is not told yet
		}
	}
	for _, n := range placement.Order {
		if n != out.Node {
			out.Successors = append(out.Successors, n)
		}
	}
	if at != nil {
		out.Waits = at.Waits
	}
	out.Maintenance = a.resting(r, out.Node)
	if past := a.Records.ServicePast[name]; past.Generation == r.Generation {
		out.Recovery = status.Recovery{Halted: past.Stopped, Tried: past.Tried, Waits: past.Waits}
	}
	out.State = a.state(r, placement, at)
	if (out.State == status.Homeless || out.State == status.Failed) && out.Node == "" {
		switch {
		case !out.Recovery.Halted.IsZero():
			out.State = status.Failed
		case out.Recovery.Waits != "":
			out.State = status.Recovering
		}
	}
	out.Ready = out.State == status.Running && at.Ready
	out.Problem = a.trouble(out, placement, at)
	out.Bound = a.bound(r, out, at)
	out.Trial = a.trial(name)
	return out
}

// instance returns the instance of a service that counts, nil if no node that
// is not lost reports one. The holder's own comes first, then whatever still
// occupies a node, the highest epoch first, then what failed or waits.
func (a *assembly) instance(r record.Service) *found {
	var best *found
	rank := func(f *found) int {
		switch {
		case a.holds[r.Spec.Name].node == f.node:
			return 3
		case occupied(f.Phase):
			return 2
		case f.Phase == fact.Failed:
			return 1
		}
		return 0
	}
	for _, node := range sortedKeys(a.Records.Reports) {
		if a.liveness[node] == fact.Lost || a.liveness[node] == "" {
			continue
		}
		for _, i := range a.Records.Reports[node].Instances {
			if i.Service != r.Spec.Name || i.Phase == fact.Idle {
				continue
			}
			f := &found{Instance: i, node: node}
			if best == nil || cmp.Or(cmp.Compare(rank(f), rank(best)), cmp.Compare(f.Epoch, best.Epoch)) > 0 {
				best = f
			}
		}
	}
	return best
}

// occupied tells whether something of an instance may be running in phase p.
func occupied(p fact.Phase) bool {
	switch p {
	case fact.Starting, fact.Running, fact.Stopping, fact.Backoff, fact.Stuck:
		return true
	case fact.Idle, fact.Waiting, fact.Failed:
	}
	return false
}

// unwanted tells whether a service is to run nowhere.
func unwanted(r record.Service) bool { return r.Deleting || r.Spec.Stopped }

// wedged tells whether what is in a phase does not stop, and nobody but a person
// ends it.
func wedged(r record.Service, phase string) bool {
	return phase == string(fact.Stuck) && r.Spec.Failover.StopFailure != spec.StopFence
}

func (a *assembly) state(r record.Service, p record.Placement, at *found) status.State {
	switch {
	case unwanted(r) && at != nil && wedged(r, string(at.Phase)):
		return status.Failed
	case r.Deleting:
		return status.Deleting
	case r.Spec.Stopped && at != nil && occupied(at.Phase):
		return status.Stopping
	case r.Spec.Stopped:
		return status.Stopped
	case at == nil && a.planned(r, p) && len(p.Order) == 0:
		return status.Homeless
	case at == nil && a.lostHolder(r.Spec.Name, p) != "":
		return status.Recovering
	case at == nil:
		return status.Starting
	}
	switch at.Phase {
	case fact.Running:
		if at.Generation != r.Generation {
			return status.Starting
		}
		return status.Running
	case fact.Starting:
		if at.Restarts > 0 {
			return status.Recovering
		}
		return status.Starting
	case fact.Stopping:
		return status.Stopping
	case fact.Backoff:
		return status.Recovering
	case fact.Stuck:
		return status.Failed
	case fact.Failed:
		return afterFailure(p, at)
	case fact.Waiting, fact.Idle:
	}
	if a.lostHolder(r.Spec.Name, p) != "" {
		return status.Recovering
	}
	return status.Starting
}

// afterFailure is the state once a node has given up: another may still try.
func afterFailure(p record.Placement, at *found) status.State {
	if len(p.Order) > 0 && p.Order[0] != at.node {
		return status.Recovering
	}
	return status.Failed
}

// planned tells whether the controller has decided on this generation.
func (a *assembly) planned(r record.Service, p record.Placement) bool {
	return p.Service != "" && p.Generation >= r.Generation
}

// lostHolder returns the lost node that a service was on or was meant for.
func (a *assembly) lostHolder(name spec.ServiceName, p record.Placement) spec.NodeName {
	if h, held := a.holds[name]; held && a.liveness[h.node] == fact.Lost {
		return h.node
	}
	if len(p.Order) > 0 && a.liveness[p.Order[0]] == fact.Lost {
		return p.Order[0]
	}
	return ""
}

func (a *assembly) failures(name spec.ServiceName) []status.Failure {
	var all []status.Failure
	for _, node := range sortedKeys(a.Records.Reports) {
		for _, i := range a.Records.Reports[node].Instances {
			if i.Service != name {
				continue
			}
			for _, f := range i.Failures {
				all = append(all, status.Failure{At: f.At, Node: node, Part: f.Part, Why: f.Why})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y status.Failure) int { return x.At.Compare(y.At) })
	return all[max(0, len(all)-MaxFailures):]
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
