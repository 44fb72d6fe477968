package app

import (
	"context"
	"time"

	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/engine/controller"
	"github.com/keelson/keelson/internal/engine/member"
	"github.com/keelson/keelson/internal/engine/reasons"
	"github.com/keelson/keelson/internal/engine/trial"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// newMember makes this node's part in the choice of voters.
func (n *node) newMember(leader *controller.Controller) *member.Member {
	o := member.Options{
		Node: n.local.Node, External: n.config.Store != nil, Store: n.store,
		Leading: leader.Leading, Liveness: n.liveness, Record: n.recorder.Add, Clock: n.clock, Log: n.log,
	}
	if n.server != nil {
		o.Cluster, o.Server, o.HasData = n.store, n.server, n.server.HasData
	}
	return member.New(o)
}

// liveness is what the cell holds of its nodes, as this node's guard sees it.
func (n *node) liveness() map[spec.NodeName]fact.Liveness {
	records, _ := n.mirror.Records()
	v := n.guard.Latest()
	out := map[spec.NodeName]fact.Liveness{}
	for name, m := range records.Nodes {
		out[name] = liveness(v.Up, v.State, m.Slot)
	}
	return out
}

func liveness(up bool, s guardwire.State, slot uint8) fact.Liveness {
	switch bit := uint32(1) << slot; {
	case up && s.Lost&bit != 0:
		return fact.Lost
	case up && s.Alive&bit != 0:
		return fact.Alive
	}
	return fact.Suspect
}

// sight shows the controller what the guard sees.
type sight struct{ guard *guardclient.Client }

func (s sight) Latest() controller.Sight {
	v := s.guard.Latest()
	return controller.Sight{Up: v.Up, State: v.State}
}

func (s sight) Changed() <-chan struct{} { return s.guard.Changed() }

// newController makes this node's candidate for the controller.
func (n *node) newController() *controller.Controller {
	return controller.New(controller.Options{
		Node: n.local.Node, Store: n.store, View: sight{n.guard}, Events: emitter{n.recorder}, Clock: n.clock, Log: n.log,
	})
}

// desk answers questions about decisions.
func (n *node) desk() *reasons.Desk {
	return &reasons.Desk{
		Store: n.store, Clock: n.clock, Draft: n.clerk.Apply,
		Snapshot: func(ctx context.Context) (fact.Snapshot, error) {
			return controller.Survey(ctx, n.store, sight{n.guard}.Latest(), n.clock.Now())
		},
	}
}

// trials takes back what was not confirmed in time.
func (n *node) trials(leading func() bool) *trial.Trials {
	return &trial.Trials{Clock: n.clock, Log: n.log, Leading: leading, TakeBack: n.clerk.TakeBackDue, Deadlines: func() []time.Time {
		records, _ := n.mirror.Records()
		return records.Deadlines()
	}}
}
