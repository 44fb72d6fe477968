package status

import (
	"fmt"
	"strings"
	"time"
)

// OnTrial says which changes of services wait to be confirmed, one sentence for each
// change, in the order of the services.
func OnTrial(services []Service) []string {
	var order []string
	of, at := map[string][]string{}, map[string]*Trial{}
	for _, s := range services {
		if s.Trial == nil {
			continue
		}
		if at[s.Trial.Change] == nil {
			order, at[s.Trial.Change] = append(order, s.Trial.Change), s.Trial
		}
		of[s.Trial.Change] = append(of[s.Trial.Change], string(s.Name))
	}
	var out []string
	for _, change := range order {
		out = append(out, fmt.Sprintf("change %s (%s, by %s) is taken back at %s unless it is confirmed: `keelson confirm %s`",
			change, strings.Join(of[change], ", "), at[change].By, ClockTime(at[change].Deadline), change))
	}
	return out
}

// ClockTime writes a moment that is near, in UTC.
func ClockTime(t time.Time) string { return t.UTC().Format("15:04:05 MST") }
