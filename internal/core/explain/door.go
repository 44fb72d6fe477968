package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// arrival is how a service arrives on the node that follows by itself: it has its
// lease there, and the node's own rules say whether it is started.
type arrival struct {
	at spec.NodeName
	// beside is who is there and keeps it out; rivals are who come there as well, of
	// whom the first is let in.
	beside, rivals []string
}

// arrive returns how a service arrives when its holder is lost, by the succession list
// in force. Its at is empty: the holder is not lost, or nobody follows.
func arrive(s fact.Snapshot, svc fact.Service) arrival {
	a := arrival{at: successor(s, svc)}
	if a.at == "" || svc.Spec.Copies != nil {
		return a
	}
	var there, coming []spec.ServiceName
	for _, other := range s.Services {
		switch name := other.Spec.Name; {
		case name == svc.Spec.Name:
		case isOn(s, other, a.at):
			there = append(there, name)
		case other.Spec.Copies == nil && active(other) && successor(s, other) == a.at:
			coming = append(coming, name)
		}
	}
	if a.beside = inTheWay(s, svc, a.at, nil, there); len(a.beside) == 0 {
		a.rivals = inTheWay(s, svc, a.at, there, coming)
	}
	return a
}

// stays says it of a service that is to stay there.
func (a arrival) stays() string {
	text := fmt.Sprintf("%s is the first in the succession list that is left, and ", a.at)
	switch {
	case len(a.beside) > 0:
		return text + "has its lease by itself; it will be started there after " + haveLeft(a.beside)
	case len(a.rivals) > 0:
		return text + "takes over by itself; it waits until " + haveLeft(a.rivals) + " if that is started there first"
	}
	return text + "takes over by itself"
}

// passes says it of a service that is not to stay there.
func (a arrival) passes() string {
	others := slices.Concat(a.beside, a.rivals)
	if len(others) == 0 {
		return fmt.Sprintf("%s takes over by itself at first", a.at)
	}
	return fmt.Sprintf("%s has its lease by itself at first, does not start it beside %s", a.at, strings.Join(others, " and "))
}

func haveLeft(names []string) string {
	if len(names) == 1 {
		return names[0] + " has left"
	}
	return strings.Join(names, " and ") + " have left"
}

// inTheWay are those of some services beside whom the node's own rules would not let a
// service in: each alone or, where it is let in beside each, all of them together.
func inTheWay(s fact.Snapshot, svc fact.Service, at spec.NodeName, there, some []spec.ServiceName) []string {
	var out []string
	for _, name := range some {
		if keptOut(s, svc, at, append(slices.Clip(there), name)) {
			out = append(out, string(name))
		}
	}
	if len(out) > 0 || !keptOut(s, svc, at, slices.Concat(there, some)) {
		return out
	}
	for _, name := range some {
		out = append(out, string(name))
	}
	return out
}

// keptOut reports whether a node does not let a service in beside those who are there,
// by the rules of package mandate, which need no plan.
func keptOut(s fact.Snapshot, svc fact.Service, at spec.NodeName, there []spec.ServiceName) bool {
	v := mandate.NewView(at)
	for _, n := range s.Nodes {
		v.Nodes[n.Name] = record.Node{Name: n.Name, Labels: n.Labels}
	}
	for i := range s.Services {
		v.Services[s.Services[i].Spec.Name] = &record.Service{Spec: s.Services[i].Spec}
	}
	guest := mandate.Guest{Name: instance.Name(svc.Spec.Name), Coming: true}
	guests := []mandate.Guest{guest}
	for _, name := range there {
		guests = append(guests, mandate.Guest{Name: instance.Name(name), There: true})
	}
	return v.House(guests).Enter(&guest) != ""
}

// isOn reports whether a service, a copy of it or a part that would not stop is on a
// node.
func isOn(s fact.Snapshot, svc fact.Service, at spec.NodeName) bool {
	if slices.ContainsFunc(seatsNow(s, svc), func(seat reason.Seat) bool { return seat.Node == at }) {
		return true
	}
	n, _ := node(s, at)
	return slices.ContainsFunc(n.Instances, func(i fact.Instance) bool {
		return i.Service == svc.Spec.Name && i.Phase == fact.Stuck
	})
}

func active(svc fact.Service) bool { return !svc.Deleting && !svc.Spec.Stopped }
