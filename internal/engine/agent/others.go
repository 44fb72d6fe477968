package agent

import (
	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/record"
)

// note takes the nodes that are lost: what they said does not count any more.
func (v *view) note(g guardclient.View) {
	if g.Up {
		v.others.Lose(g.State.Lost, &v.View, v.listed[record.KeyNodes])
	}
}

// house is who is on this node, as far as their runners have said.
func (a *Agent) house(g guardclient.View) *mandate.House {
	guests := make([]mandate.Guest, 0, len(a.services))
	for name, t := range a.services {
		d := &t.status.doing
		guests = append(guests, mandate.Guest{
			Name: name, Run: d.Run, There: d.MayRun || !t.heard && t.found, Let: t.wish.Gates.Open(),
			Coming: a.view.Coming(name, d, holdOf(g, name.Service()).Held),
		})
	}
	return a.view.House(guests)
}

// town is what is known of all services, nil if that matters to none.
func (a *Agent) town() *supervise.Town {
	v := a.view
	here := mandate.Here{Known: v.listed[record.KeyReports], Since: a.options.Clock.Boot() - a.began}
	for _, t := range a.services {
		if t.heard {
			here.Instances = append(here.Instances, t.status.instance)
		} else {
			here.Known = false
		}
	}
	return v.others.Town(&v.View, here)
}
