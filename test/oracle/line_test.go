package oracle

import (
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

// line is where one of the two says that a resource is, and in which role.
type line struct{ name, node, role string }

// sides returns what only the incumbent says, and what only Keelson says.
func sides(d disagreement) (theirs, ours []line) {
	_, list, _ := strings.Cut(d.diff, ": ")
	for text := range strings.SplitSeq(list, ", ") {
		words := strings.Fields(text)
		if len(words) != 4 {
			continue
		}
		l := line{words[1], words[2], words[3]}
		if words[0] == "-" {
			theirs = append(theirs, l)
		} else {
			ours = append(ours, l)
		}
	}
	return theirs, ours
}

// onlyWords reports whether both say the same but for replicas of which one says that
// they are started.
func onlyWords(theirs, ours []line) bool {
	same := len(theirs) > 0 && len(theirs) == len(ours)
	for i := range theirs {
		same = same && theirs[i].name == ours[i].name && theirs[i].node == ours[i].node && theirs[i].role != "Promoted" && ours[i].role != "Promoted"
	}
	return same
}

func some(lines []line, role string) bool {
	return slices.ContainsFunc(lines, func(l line) bool { return l.role == role })
}

func every(lines []line, role string) bool {
	return some(lines, role) && !slices.ContainsFunc(lines, func(l line) bool { return l.role != role })
}

// base is the name in the configuration.
func (l line) base() string {
	name, _, _ := strings.Cut(l.name, ":")
	return name
}

// has reports whether the history has the resource, on that node if one is named.
func (l line) has(root *cib.Element, node string) bool {
	for _, state := range find(root, "node_state") {
		if node != "" && state.Attr("uname") != node {
			continue
		}
		if slices.ContainsFunc(find(state, "lrm_resource"), func(e *cib.Element) bool {
			id, _, _ := strings.Cut(e.ID(), ":")
			return id == l.base()
		}) {
			return true
		}
	}
	return false
}

// above are the names of the resource and of all that it is in.
func (l line) above(root *cib.Element) []string {
	var out []string
	root.Child("configuration").Child("resources").Walk(func(e *cib.Element) {
		if slices.ContainsFunc(find(e, "primitive"), func(p *cib.Element) bool { return p.ID() == l.base() }) {
			out = append(out, e.ID())
		}
	})
	return out
}

// ruled reports whether a constraint names the resource, or what it is in.
func (l line) ruled(root *cib.Element) bool {
	names, found := l.above(root), false
	root.Child("configuration").Child("constraints").Walk(func(e *cib.Element) {
		for _, k := range [...]string{"rsc", "with-rsc", "first", "then", "id"} {
			found = found || e.Has(k) && slices.Contains(names, e.Attr(k))
		}
	})
	return found
}

// oneWay reports whether an order of starts alone stands before the resource, and
// goes by node.
func (l line) oneWay(root *cib.Element) bool {
	names := l.above(root)
	for _, o := range find(root, "rsc_order") {
		if o.Attr("symmetrical") != "false" || !slices.Contains(names, o.Attr("then")) {
			continue
		}
		for _, c := range find(root, "clone") {
			if c.ID() == o.Attr("then") && slices.ContainsFunc(find(c, "nvpair"), func(e *cib.Element) bool {
				return e.Attr("name") == "interleave" && e.Attr("value") == "true"
			}) {
				return true
			}
		}
	}
	return false
}

// frozen reports whether a cluster has no quorum and freezes.
func frozen(root *cib.Element) bool {
	return root.Attr("have-quorum") != "1" && root.Attr("have-quorum") != "true" && slices.ContainsFunc(find(root, "nvpair"), func(e *cib.Element) bool {
		return e.Attr("name") == "no-quorum-policy" && e.Attr("value") == "freeze"
	})
}

// unmanaged reports whether anything of a cluster is not managed.
func unmanaged(root *cib.Element) bool {
	return slices.ContainsFunc(find(root, "nvpair"), func(e *cib.Element) bool {
		return e.Attr("name") == "is-managed" || strings.HasPrefix(e.Attr("name"), "maintenance")
	})
}

// leftPrimary reports whether something is not managed and something is primary.
func leftPrimary(root *cib.Element) bool {
	return unmanaged(root) && slices.ContainsFunc(find(root, "lrm_rsc_op"), func(e *cib.Element) bool { return e.Attr("rc-code") == "8" })
}

// leftCopies reports whether there are copies of which some are not managed, failed to
// stop, or failed.
func leftCopies(root *cib.Element) bool {
	return len(find(root, "clone")) > 0 && (unmanaged(root) || slices.ContainsFunc(find(root, "lrm_rsc_op"), func(e *cib.Element) bool {
		return e.Attr("operation") == "stop" && e.Attr("rc-code") != "0"
	}))
}
