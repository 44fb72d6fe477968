package contradict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Trial is one service of a change that waits to be confirmed.
type Trial struct {
	Change  string
	Service spec.ServiceName
	Before  *spec.Service // what it is returned to; nil: it is deleted
}

// Change is what an apply makes of the services of a cell. Those that are being
// deleted are in none of the lists.
type Change struct {
	Before, After []spec.Service
	Changed       []spec.ServiceName // of After, those that differ
}

// Blocked is that an apply does not fit once changes are taken back.
type Blocked struct {
	Changes []string // the fewest with which it is so, sorted
	Text    string   // a sentence without a full stop that names them and says why
}

// Endings returns the first way to end the changes that wait in which an apply would
// not fit, any of them being taken back and the others confirmed; nil if it fits in
// all. What the cell would be then is held against what it would be without the
// apply. Its time grows with two to the power of the changes.
func Endings(c Change, waiting []Trial, nodes []fact.Node) *Blocked {
	var changes []string
	for _, t := range waiting {
		changes = append(changes, t.Change)
	}
	slices.Sort(changes)
	changes = slices.Compact(changes)
	var endings [][]string
	for mask := 1; mask < 1<<len(changes); mask++ {
		var back []string
		for i, change := range changes {
			if mask&(1<<i) != 0 {
				back = append(back, change)
			}
		}
		endings = append(endings, back)
	}
	slices.SortStableFunc(endings, func(a, b []string) int { return len(a) - len(b) })
	for _, back := range endings {
		if why := c.unfit(back, waiting, nodes); why != "" {
			return &Blocked{Changes: back, Text: sentence(back, waiting, why)}
		}
	}
	return nil
}

// unfit says what an apply would break once changes are taken back, empty if
// nothing.
func (c Change) unfit(back []string, waiting []Trial, nodes []fact.Node) string {
	old := make(map[spec.ServiceName]*spec.Service)
	for _, t := range waiting {
		if slices.Contains(back, t.Change) {
			old[t.Service] = t.Before
		}
	}
	was, then := without(c.Before, old), without(c.After, old)
	for _, s := range then {
		if !slices.Contains(c.Changed, s.Name) {
			continue
		}
		for _, p := range spec.Conflicts(s, then) {
			if !p.Warning {
				return fmt.Sprintf("service %s: %s", s.Name, p)
			}
		}
	}
	return Lines(New(was, then, nodes))
}

// without puts the old specs in the place of those that are taken back.
func without(services []spec.Service, old map[spec.ServiceName]*spec.Service) []spec.Service {
	var out []spec.Service
	for _, s := range services {
		before, back := old[s.Name]
		switch {
		case !back:
			out = append(out, s)
		case before != nil:
			out = append(out, *before)
		}
	}
	return out
}

// sentence says which changes an apply would stop from being taken back.
func sentence(back []string, waiting []Trial, why string) string {
	var of []string
	for _, change := range back {
		var names []spec.ServiceName
		for _, t := range waiting {
			if t.Change == change {
				names = append(names, t.Service)
			}
		}
		slices.Sort(names)
		of = append(of, fmt.Sprintf("change %s (%s)", change, list(names)))
	}
	what, each := "which waits", "is"
	if len(back) > 1 {
		what, each = "which wait", "are"
	}
	return fmt.Sprintf("it would not fit if %s, %s to be confirmed, %s taken back: %s", strings.Join(of, " and "), what, each, why)
}
