package agent

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// reportDue is after how long a report that was there at the agent's start counts,
// though no newer one has come: every node that reports has done so by then.
const reportDue = 12 * time.Second

// others is what other nodes say of their services.
type others struct {
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

func newOthers() others { return others{reports: make(map[spec.NodeName]*said)} }

// take notes a report; whole says that it was read and not watched, so nobody
// knows how old it is.
func (o *others) take(name spec.NodeName, r record.Report, whole bool) {
	was := o.reports[name]
	if whole && was != nil && was.At.Equal(r.At) {
		return
	}
	o.reports[name] = &said{Report: r, fresh: !whole, void: whole && was != nil && was.void}
}

// note takes the nodes that are lost: what they said does not count any more.
func (v *view) note(g guardclient.View) {
	if !g.Up {
		return
	}
	v.others.lost = g.State.Lost
	for name, r := range v.others.reports {
		// Before the nodes are listed, nobody is known to be none of them.
		n, member := v.Nodes[name]
		if member && v.others.lost>>n.Slot&1 == 1 || !member && v.listed[record.KeyNodes] {
			r.fresh, r.void = false, true
		}
	}
}

// town is what is known of all services, nil if no service is after another.
func (a *Agent) town() *supervise.Town {
	v := a.view
	if !supervise.Orders(v.Services) {
		return nil
	}
	seats := make(map[spec.ServiceName][]supervise.Seat)
	late := a.options.Clock.Boot()-a.began >= reportDue
	known := v.listed[record.KeyReports]
	for name, n := range v.Nodes {
		r := v.others.reports[name]
		switch {
		case name == v.self || v.others.lost>>n.Slot&1 == 1:
			continue
		case r == nil || r.void:
			continue
		case !r.fresh && !late:
			known = false
			continue
		}
		for _, i := range r.Instances {
			seats[i.Service] = append(seats[i.Service], v.seat(name, i))
		}
	}
	// What is here is known at first hand.
	for _, t := range a.services {
		if i := t.status.instance; t.heard {
			seats[i.Service] = append(seats[i.Service], v.seat(v.self, i))
		} else {
			known = false
		}
	}
	placed := make(map[spec.ServiceName]bool, len(v.Placements))
	for name, p := range v.Placements {
		placed[name] = len(p.Order)+len(p.Copies) > 0
	}
	return supervise.NewTown(v.Services, seats, placed, known)
}

// seat says of an instance whether the placement wants it where it is.
func (v *view) seat(node spec.NodeName, i fact.Instance) supervise.Seat {
	p := v.Placements[i.Service]
	meant := len(p.Order) > 0 && p.Order[0] == node || slices.ContainsFunc(p.Copies, func(c record.Copy) bool {
		return c.Node == node && c.Number == i.Copy
	})
	return supervise.Seat{Node: node, Meant: meant, Instance: i}
}
