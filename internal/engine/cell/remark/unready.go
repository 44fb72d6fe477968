package remark

import (
	"fmt"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/status"
)

// Unready says why what runs is not ready: in the words of the check that says no,
// else what failed here last. Empty: its checks have said nothing yet, which is no
// trouble.
func Unready(i fact.Instance) string {
	if why := refused(i.Parts); why != "" {
		return "it runs, but its readiness check fails: " + why
	}
	if n := len(i.Failures); n > 0 {
		return "it was started again and is not ready yet; it failed before: " + failed(i.Failures[n-1].Part, i.Failures[n-1].Why)
	}
	return ""
}

// CopiesUnready says the same of copies, of which ready are ready and running run.
func CopiesUnready(s status.Service, ready, running int) string {
	text := fmt.Sprintf("%d of %d copies are ready", ready, running)
	for _, c := range s.Copies {
		if why := refused(c.Parts); why != "" && c.State == string(fact.Running) && !c.Ready {
			return fmt.Sprintf("%s: the check on %s says no: %s", text, c.Node, why)
		}
	}
	for n := len(s.Failures) - 1; n >= 0; n-- {
		for _, c := range s.Copies {
			if f := s.Failures[n]; c.Node == f.Node && c.State == string(fact.Running) && !c.Ready {
				return fmt.Sprintf("%s: the one on %s failed before: %s", text, c.Node, failed(f.Part, f.Why))
			}
		}
	}
	return ""
}

// Unstopped says, after a colon, what is known of the part that does not stop.
func Unstopped(i fact.Instance) string {
	for _, p := range i.Parts {
		if p.Detail != "" && p.State != "running" {
			return fmt.Sprintf(": %s: %s", p.Name, p.Detail)
		}
	}
	return ""
}

func refused(parts []fact.Part) string {
	for _, p := range parts {
		if p.Unready != "" {
			return failed(p.Name, p.Unready)
		}
	}
	return ""
}

func failed(part, why string) string {
	if part == "" {
		return why
	}
	return part + ": " + why
}
