package specfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// BadNodeLabel is the code of a label that no node of the cell has.
const BadNodeLabel spec.Code = "unknown-label"

// CheckLabels returns which labels the file's services go by that no node of the
// cell has, nodes being the labels of each. They are warnings: a node with the
// label may join later.
func (f *File) CheckLabels(nodes []map[string]string) (warnings Problems) {
	known := labels{}
	for _, n := range nodes {
		for key, value := range n {
			if known[key] == nil {
				known[key] = map[string]bool{}
			}
			known[key][value] = true
		}
	}
	// Nothing but warnings comes out, so there is no error.
	warnings, _ = f.sort(func(s spec.Service) []spec.Problem { return known.missing(s) })
	return warnings
}

// NoCapacity is the code of a node that says nothing of a unit that others say.
const NoCapacity spec.Code = "no-capacity"

// CheckRoom returns which nodes the file's services cannot run on because those say
// nothing of a unit that is needed, and others do. They are warnings: a service that
// runs there leaves it when the file is applied, unless it gets the label before.
func (f *File) CheckRoom(nodes map[spec.NodeName]map[string]string) (warnings Problems) {
	counted := map[string]bool{}
	for _, l := range nodes {
		for key := range l {
			if unit, is := strings.CutPrefix(key, spec.CapacityLabel+"/"); is {
				counted[unit] = true
			}
		}
	}
	// Nothing but warnings comes out, so there is no error.
	warnings, _ = f.sort(func(s spec.Service) []spec.Problem {
		var out []spec.Problem
		for _, unit := range slices.Sorted(maps.Keys(s.Needs)) {
			label := spec.CapacityLabel + "/" + unit
			var silent []string
			for _, name := range slices.Sorted(maps.Keys(nodes)) {
				if counted[unit] && nodes[name][label] == "" && (len(s.Place.On) == 0 || slices.Contains(s.Place.On, name)) && !slices.Contains(s.Place.Never, name) {
					silent = append(silent, string(name))
				}
			}
			if len(silent) == 0 || len(out) >= spec.MaxProblems {
				continue
			}
			who := strings.Join(silent[:min(len(silent), maxNear)], ", ")
			if more := len(silent) - maxNear; more > 0 {
				who += fmt.Sprintf(" and %d more", more)
			}
			out = append(out, spec.Problem{
				Path: "needs." + clip(unit, 60), Code: NoCapacity, Warning: true,
				Message: fmt.Sprintf("%s: no label %s, so none of it: the service is not started there, and leaves if it runs there", who, clip(label, 80)),
				Hint:    "give every node its label before you apply this",
			})
		}
		return out
	})
	return warnings
}

// labels are the values that the nodes have, by key.
type labels map[string]map[string]bool

// missing lists what a service goes by and no node has.
func (l labels) missing(s spec.Service) []spec.Problem {
	var out []spec.Problem
	warn := func(path, message, hint string) {
		if len(out) < spec.MaxProblems {
			out = append(out, spec.Problem{Path: path, Code: BadNodeLabel, Message: message, Hint: hint, Warning: true})
		}
	}
	key := func(path, key string) bool {
		if key == "" || l[key] != nil {
			return key != ""
		}
		warn(path, fmt.Sprintf("no node has the label %q", clip(key, 60)), l.suggest(key, slices.Sorted(maps.Keys(l))))
		return false
	}
	for i, p := range s.Place.Prefer {
		path := fmt.Sprintf("place.prefer[%d].label", i)
		name, value, set := strings.Cut(p.Label, "=")
		if set && key(path, name) && !l[name][value] {
			warn(path, fmt.Sprintf("no node has the label %s", clip(p.Label, 60)), l.suggest(value, slices.Sorted(maps.Keys(l[name]))))
		}
	}
	for i, n := range s.Place.Near {
		key(fmt.Sprintf("place.near[%d].same", i), n.Same)
	}
	for i, name := range s.Place.Spread {
		key(fmt.Sprintf("place.spread[%d]", i), name)
	}
	for _, unit := range slices.Sorted(maps.Keys(s.Needs)) {
		// What no node says is not counted, which is a fair wish but for a typo.
		if near := Nearest(unit, l.units()); l[spec.CapacityLabel+"/"+unit] == nil && near != "" {
			warn("needs."+clip(unit, 60), fmt.Sprintf("no node says how much %q it has, so all have enough", clip(unit, 60)), fmt.Sprintf("did you mean %q?", near))
		}
	}
	return out
}

// suggest says which of the words that nodes have is nearest to one that none has.
func (l labels) suggest(word string, there []string) string {
	const later = "it counts once a node has joined with it (--label)"
	switch near := Nearest(word, there); {
	case near != "":
		return fmt.Sprintf("did you mean %q? If not, %s", near, later)
	case len(there) == 0:
		return later
	}
	return "nodes have " + strings.Join(there[:min(len(there), maxNear)], ", ") + "; " + later
}

// units are what nodes say that they have some of.
func (l labels) units() []string {
	var out []string
	for key := range l {
		if unit, is := strings.CutPrefix(key, spec.CapacityLabel+"/"); is {
			out = append(out, unit)
		}
	}
	slices.Sort(out)
	return out
}
