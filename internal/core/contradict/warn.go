package contradict

import (
	"fmt"

	"github.com/keelson/keelson/internal/model/spec"
)

// Warnings returns what of the services of an apply waits in vain, as sentences that
// name the service: see [Waits].
func Warnings(applied, all []spec.Service) []string {
	var out []string
	for _, s := range applied {
		for _, text := range Waits(s, all) {
			out = append(out, fmt.Sprintf("service %s: %s", s.Name, text))
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
