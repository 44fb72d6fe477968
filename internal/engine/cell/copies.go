package cell

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// several is the status of a service that has copies.
func (a *assembly) several(r record.Service) status.Service {
	name := r.Spec.Name
	placement := a.Records.Placements[name]
	out := status.Service{
		Name: name, Exclusive: r.Spec.IsExclusive(), Generation: r.Generation,
		Reasons: placement.Reasons, Failures: a.failures(name), Copies: a.copies(r, placement),
	}
	primary := a.primary(out.Copies)
	if r.Spec.HasRoles() {
		out.TTL = placement.LeaseTTL(r.Spec)
		if h, held := a.holds[name]; held {
			out.Node, out.Epoch = h.node, h.epoch
		}
		if primary != nil {
			out.Node, out.Since = primary.Node, primary.Since
			out.Epoch = max(out.Epoch, a.epochOn(name, primary.Node))
		}
		for _, n := range placement.Order {
			if n != out.Node {
				out.Successors = append(out.Successors, n)
			}
		}
	}
	out.Maintenance = a.resting(r, out.Node)
	a.judge(r, placement, &out, primary)
	if r.Spec.HasRoles() {
		var at *found
		if primary != nil {
			at = a.seat(name, *primary)
		}
		out.Bound = a.bound(r, out, at)
	}
	return out
}

// copies are those that are to be somewhere, and those that still are.
func (a *assembly) copies(r record.Service, p record.Placement) []status.Copy {
	var out []status.Copy
	add := func(c status.Copy) {
		at := slices.IndexFunc(out, func(o status.Copy) bool { return o.Node == c.Node && o.Number == c.Number })
		if at >= 0 {
			out[at] = c
			return
		}
		out = append(out, c)
	}
	for _, c := range p.Copies {
		one := status.Copy{Node: c.Node, Number: c.Number}
		if a.liveness[c.Node] == fact.Lost {
			one.State = string(fact.Lost)
		}
		add(one)
	}
	for _, node := range sortedKeys(a.Records.Reports) {
		if a.liveness[node] == fact.Lost || a.liveness[node] == "" {
			continue
		}
		for _, i := range a.Records.Reports[node].Instances {
			meant := slices.ContainsFunc(p.Copies, func(c record.Copy) bool { return c.Node == node && c.Number == i.Copy })
			if i.Service != r.Spec.Name || !meant && !occupied(i.Phase) || a.Stale && node != a.Live.Node {
				continue
			}
			add(status.Copy{
				Node: node, Number: i.Copy, Role: i.Role, State: string(i.Phase), Ready: i.Ready, Waits: i.Waits, Since: i.Since, Parts: i.Parts,
			})
		}
	}
	slices.SortFunc(out, func(a, b status.Copy) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Number, b.Number))
	})
	return out
}

func (a *assembly) primary(copies []status.Copy) *status.Copy {
	for i := range copies {
		if copies[i].Role == spec.RolePrimary {
			return &copies[i]
		}
	}
	return nil
}

// seat is the instance of a copy.
func (a *assembly) seat(name spec.ServiceName, c status.Copy) *found {
	for _, i := range a.Records.Reports[c.Node].Instances {
		if i.Service == name && i.Copy == c.Number {
			return &found{Instance: i, node: c.Node}
		}
	}
	return nil
}

func (a *assembly) epochOn(name spec.ServiceName, node spec.NodeName) uint64 {
	var epoch uint64
	for _, i := range a.Records.Reports[node].Instances {
		if i.Service == name {
			epoch = max(epoch, i.Epoch)
		}
	}
	return epoch
}

// judge says in a word how a service with copies is, and what is wrong with it.
func (a *assembly) judge(r record.Service, p record.Placement, out *status.Service, primary *status.Copy) {
	running, ready, busy, primaries := 0, 0, 0, 0
	var missing []string
	for _, c := range out.Copies {
		if c.Role == spec.RolePrimary {
			primaries++
		}
		switch {
		case c.State == string(fact.Running):
			running++
			if c.Ready {
				ready++
			}
		case occupied(fact.Phase(c.State)):
			busy++
		}
		if c.State != string(fact.Running) {
			missing = append(missing, fmt.Sprintf("the one on %s %s", c.Node, plight(c)))
		}
		if out.Waits == "" && c.State != string(fact.Running) {
			out.Waits = c.Waits
		}
	}
	rest := strings.Join(missing, ", ")
	stuck := slices.IndexFunc(out.Copies, func(c status.Copy) bool { return wedged(r, c.State) })
	switch {
	case unwanted(r) && stuck >= 0:
		out.State, out.Problem = status.Failed, fmt.Sprintf("a part of it does not stop on %s, even by force", out.Copies[stuck].Node)
	case r.Deleting:
		out.State = status.Deleting
	case r.Spec.Stopped && running+busy > 0:
		out.State = status.Stopping
	case r.Spec.Stopped:
		out.State = status.Stopped
	case a.planned(r, p) && len(p.Copies) == 0 && running == 0:
		out.State, out.Problem = status.Homeless, "no node may run it"
		if len(p.Reasons) > 0 {
			out.Problem += ": " + p.Reasons[0]
		}
	case running == 0 && len(out.Copies) > 0 && !slices.ContainsFunc(out.Copies, func(c status.Copy) bool { return c.State != string(fact.Failed) }):
		out.State, out.Problem = status.Failed, "all its copies failed"+because(*out)
	case running == 0:
		out.State = status.Starting
	case r.Spec.HasRoles() && primary == nil:
		out.State, out.Problem = status.Recovering, "no copy of it is primary yet"
	case r.Spec.HasRoles() && primaries < r.Spec.Primaries():
		out.State, out.Problem = status.Recovering, fmt.Sprintf("%d of %d primaries are there", primaries, r.Spec.Primaries())
	case len(missing) > 0:
		out.State, out.Problem = status.Running, fmt.Sprintf("%d of %d copies run: %s", running, len(out.Copies), rest)
	case ready < running:
		out.State, out.Problem = status.Running, remark.CopiesUnready(*out, ready, running)
	default:
		out.State = status.Running
	}
	out.Ready = out.State == status.Running && ready > 0 && (primary == nil || primary.Ready)
}

// plight says why a copy does not run.
func plight(c status.Copy) string {
	switch {
	case c.Waits != "":
		return "waits for " + c.Waits
	case c.State == "":
		return "has not started"
	case c.State == string(fact.Lost):
		return "is lost with its node"
	}
	return "is " + c.State
}

// resting reports whether a service is left as it is, for maintenance.
func (a *assembly) resting(r record.Service, node spec.NodeName) bool {
	return r.Spec.Maintenance || a.Records.Wish.Maintenance || node != "" && a.Records.Wishes[node].Maintenance
}

// at are the nodes where a service is.
func at(s status.Service) []spec.NodeName {
	var out []spec.NodeName
	if s.Copies == nil && s.Node != "" {
		out = append(out, s.Node)
	}
	for _, c := range s.Copies {
		if occupied(fact.Phase(c.State)) && !slices.Contains(out, c.Node) {
			out = append(out, c.Node)
		}
	}
	return out
}
