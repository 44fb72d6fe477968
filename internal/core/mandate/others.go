package mandate

import (
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// ReportDue is after how long a report that was there at the agent's start counts,
// though no newer one has come: every node that reports has done so by then.
const ReportDue = 12 * time.Second

// Others is what other nodes say of their services. Make one with [NewOthers]; it
// belongs to one goroutine.
type Others struct {
	reports map[spec.NodeName]*said
	lost    uint32 // slots that the guard shows as lost
}

// said is one node's last report. A fresh one came while this agent watched, and
// after the node was last lost: what was said before may be of another boot.
type said struct {
	record.Report
	fresh bool
	void  bool // the node was lost since
}

// NewOthers returns what is known when nobody has said anything.
func NewOthers() Others { return Others{reports: make(map[spec.NodeName]*said)} }

// Take notes a report; whole says that it was read and not watched, so nobody
// knows how old it is.
func (o *Others) Take(name spec.NodeName, r record.Report, whole bool) {
	was := o.reports[name]
	if whole && was != nil && was.At.Equal(r.At) {
		return
	}
	o.reports[name] = &said{Report: r, fresh: !whole, void: whole && was != nil && was.void}
}

// Names are the nodes that have said something, sorted.
func (o *Others) Names() []spec.NodeName {
	var out []spec.NodeName
	for name := range o.reports {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Forget forgets what a node has said.
func (o *Others) Forget(name spec.NodeName) { delete(o.reports, name) }

// Lose takes the slots of the nodes that the guard shows as lost: what they said
// does not count any more. listed: all members are in v.
func (o *Others) Lose(lost uint32, v *View, listed bool) {
	o.lost = lost
	for name, r := range o.reports {
		// Before the nodes are listed, nobody is known to be none of them.
		n, member := v.Nodes[name]
		if member && o.lost>>n.Slot&1 == 1 || !member && listed {
			r.fresh, r.void = false, true
		}
	}
}

// Here is what a node knows of itself for [Others.Town].
type Here struct {
	Instances []fact.Instance
	Known     bool          // that is all there is, and reports of others were read
	Since     time.Duration // the agent's start
}

// Town is what is known of all services, nil if that matters to none.
func (o *Others) Town(v *View, here Here) *supervise.Town {
	if !supervise.Orders(v.Services) {
		return nil
	}
	seats := make(map[spec.ServiceName][]supervise.Seat)
	known := here.Known
	for _, name := range slices.Sorted(maps.Keys(v.Nodes)) {
		n, r := v.Nodes[name], o.reports[name]
		switch {
		case name == v.Self || o.lost>>n.Slot&1 == 1:
			continue
		case r == nil || r.void:
			continue
		case !r.fresh && here.Since < ReportDue:
			known = false
			continue
		}
		for _, i := range r.Instances {
			seats[i.Service] = append(seats[i.Service], v.seat(name, i))
		}
	}
	// What is here is known at first hand.
	for _, i := range here.Instances {
		seats[i.Service] = append(seats[i.Service], v.seat(v.Self, i))
	}
	placed := make(map[spec.ServiceName]bool, len(v.Placements))
	for name, p := range v.Placements {
		placed[name] = len(p.Order)+len(p.Copies) > 0
	}
	return supervise.NewTown(v.Services, seats, placed, known)
}

// seat says of an instance whether the placement wants it where it is.
func (v *View) seat(node spec.NodeName, i fact.Instance) supervise.Seat {
	p := v.Placements[i.Service]
	meant := len(p.Order) > 0 && p.Order[0] == node || slices.ContainsFunc(p.Copies, func(c record.Copy) bool {
		return c.Node == node && c.Number == i.Copy
	})
	return supervise.Seat{Node: node, Meant: meant, Instance: i}
}
