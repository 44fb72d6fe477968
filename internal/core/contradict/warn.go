package contradict

import (
	"fmt"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Warnings returns what of the services of an apply does not count or waits in vain,
// as sentences that name the service: see [Unknown] and [Waits].
func Warnings(applied, all []spec.Service, nodes []fact.Node) []string {
	var out []string
	for _, s := range applied {
		for _, text := range append(Unknown(s, nodes), Waits(s, all)...) {
			out = append(out, fmt.Sprintf("service %s: %s", s.Name, text))
		}
	}
	return out
}

// Unknown returns what a service says of nodes that the cell does not have, as
// sentences: it counts once they join.
func Unknown(s spec.Service, nodes []fact.Node) []string {
	has := make(map[spec.NodeName]bool, len(nodes))
	for _, n := range nodes {
		has[n.Name] = true
	}
	var out []string
	say := func(path string, name spec.NodeName) {
		if !has[name] {
			out = append(out, fmt.Sprintf("%s: the cell has no node %q yet: it counts once that node joins", path, string(name)))
		}
	}
	for i, n := range s.Place.On {
		say(fmt.Sprintf("place.on[%d]", i), n)
	}
	for i, n := range s.Place.Never {
		say(fmt.Sprintf("place.never[%d]", i), n)
	}
	for i, p := range s.Place.Prefer {
		if p.Node != "" {
			say(fmt.Sprintf("place.prefer[%d].node", i), p.Node)
		}
	}
	return out
}

// Waits returns what waits in vain while a service is stopped by its spec, as
// sentences: s for others, and others for s. all may contain an s, which is left
// out.
func Waits(s spec.Service, all []spec.Service) []string {
	stopped := map[spec.ServiceName]bool{}
	var waiting []spec.ServiceName
	for _, o := range all {
		if o.Name == s.Name {
			continue
		}
		stopped[o.Name] = o.Stopped
		for _, a := range o.After {
			if a.Service == s.Name && !a.Optional && !o.Stopped {
				waiting = append(waiting, o.Name)
				break
			}
		}
	}
	if s.Stopped {
		if len(waiting) == 0 {
			return nil
		}
		return []string{fmt.Sprintf("stopped: these start after it and do not run while it is stopped: %s", list(waiting))}
	}
	var out []string
	for i, a := range s.After {
		if stopped[a.Service] && !a.Optional {
			out = append(out, fmt.Sprintf("after[%d]: %s is stopped (stopped: true): it waits until that is started", i, a.Service))
		}
	}
	return out
}
