package cell

import (
	"math/bits"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// Live is what one node sees right now, apart from the store.
type Live struct {
	Node spec.NodeName // who sees it
	// Guard is the newest state of the node's guard; nil: it does not answer.
	Guard *guardwire.State
	// Warnings are what the node has to say of itself, also while its reports do
	// not reach the store.
	Warnings []string
	// Own is what the report of the node says now, whether the store takes it or
	// not; nil: what runs there is not known yet.
	Own *record.Report
}

// ReportStale is how old a node's report may be. A healthy agent reports at
// least every 10 s.
const ReportStale = 45 * time.Second

// liveness is what the cell holds of a node. Without a guard to ask it goes by
// the node's reports, and then never says lost: silence of an agent is not
// the loss of a node.
func (l Live) liveness(n record.Node, report record.Report, now time.Time) fact.Liveness {
	if l.Guard == nil {
		if now.Sub(report.At) < ReportStale {
			return fact.Alive
		}
		return fact.Suspect
	}
	bit := uint32(1) << n.Slot
	switch {
	case l.Guard.Lost&bit != 0:
		return fact.Lost
	case l.Guard.Suspect&bit != 0:
		return fact.Suspect
	case l.Guard.Alive&bit != 0:
		return fact.Alive
	}
	// Not heard yet since this node's guard started.
	return fact.Suspect
}

// quorate tells whether this node is in touch with a majority of the voters.
func (l Live) quorate() bool { return l.Guard != nil && l.Guard.Quorate }

// hold is a lease as this node knows it. epoch is 0 where only the holder is known.
type hold struct {
	node  spec.NodeName
	epoch uint64
	kept  bool // it has lapsed, and what ran under it goes on
}

// holds returns the known leases by service.
func (l Live) holds(r Records) map[spec.ServiceName]hold {
	known := map[spec.ServiceName]hold{}
	if l.Guard == nil {
		return known
	}
	bySlot := make(map[uint8]spec.NodeName, len(r.Nodes))
	for name, n := range r.Nodes {
		bySlot[n.Slot] = name
	}
	for name, s := range r.Services {
		if slot, held := l.Guard.Holders[s.ID]; held {
			if node, member := bySlot[slot]; member {
				known[name] = hold{node: node}
			}
		}
	}
	for _, h := range l.Guard.Holds {
		known[h.Service] = hold{node: l.Node, epoch: h.Epoch, kept: h.Kept}
	}
	return known
}

// voters counts the voters, how many of them are lost, and how many others do
// not count because of their clocks.
func (l Live) voters(lease record.Lease) (all, lost, skewed int) {
	all = bits.OnesCount32(lease.Voters)
	if l.Guard != nil {
		lost = bits.OnesCount32(lease.Voters & l.Guard.Lost)
		skewed = bits.OnesCount32(lease.Voters & l.Guard.Skewed &^ l.Guard.Lost)
	}
	return all, lost, skewed
}
