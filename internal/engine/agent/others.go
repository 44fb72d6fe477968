package agent

import (
	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
)

// note takes the nodes that are lost: what they said does not count any more.
func (v *view) note(g guardclient.View) {
	if g.Up {
		v.others.Lose(g.State.Lost, &v.View, v.listed[record.KeyNodes])
	}
}

// here are the instances that may run here, as far as their runners have said.
func (a *Agent) here() []instance.Name {
	var out []instance.Name
	for name, t := range a.services {
		if t.status.doing.MayRun {
			out = append(out, name)
		}
	}
	return out
}

// town is what is known of all services, nil if no service is after another.
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
