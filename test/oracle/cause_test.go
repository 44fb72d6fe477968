package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

// cause is why the two differ over a kind of cluster, as far as it was followed.
type cause struct {
	name string
	why  string
	is   func(d disagreement) bool
}

// causes are tried in this order.
func causes() []cause {
	return []cause{
		{
			"not told", "The incumbent's report leaves out what is not managed on a node that is not online; Keelson shows it where it was last seen.",
			func(d disagreement) bool { return strings.HasPrefix(d.diff, "before") },
		},
		{
			"capacity", "Where no node has room for all that must be together, or several have the same, the incumbent takes the first of a hash table, and " +
				"counts the room of what it has not placed yet in other ways. Keelson goes by free room, then by name. On purpose: the same snapshot has to give the same plan.",
			func(d disagreement) bool {
				return slices.ContainsFunc(find(d.small, "nvpair"), func(e *cib.Element) bool { return e.Attr("name") == "placement-strategy" })
			},
		},
		{
			"blocked", "What depends, by order or attraction, on a resource that failed to stop or is blocked: the incumbent's answer follows from which of its " +
				"actions happen to exist. Open; Keelson leaves what depends on it stopped, or where it is.",
			func(d disagreement) bool {
				return slices.ContainsFunc(find(d.small, "lrm_rsc_op"), func(e *cib.Element) bool { return e.Attr("operation") == "stop" && e.Attr("rc-code") != "0" }) ||
					slices.ContainsFunc(find(d.small, "op"), func(e *cib.Element) bool { return e.Attr("on-fail") == "block" })
			},
		},
		{
			"not managed", "Resources that are not managed among others that are, in a group, as a copy, or as what others are drawn to. Open.",
			func(d disagreement) bool {
				return slices.ContainsFunc(find(d.small, "nvpair"), func(e *cib.Element) bool {
					return e.Attr("name") == "is-managed" || strings.HasPrefix(e.Attr("name"), "maintenance")
				}) || !slices.ContainsFunc(find(d.small, "nvpair"), func(e *cib.Element) bool { return e.Attr("name") == "stonith-enabled" }) &&
					!slices.ContainsFunc(find(d.small, "primitive"), func(e *cib.Element) bool { return e.Attr("class") == "stonith" })
			},
		},
		{
			"cloned group", "Copies of a group of which some members run and others do not: the incumbent tries its copies in an order that depends on which " +
				"member it met first in the history. Open.",
			func(d disagreement) bool {
				return slices.ContainsFunc(find(d.small, "clone"), func(e *cib.Element) bool { return e.Child("group") != nil })
			},
		},
		{
			"frozen", "Without quorum and with no-quorum-policy=freeze, a copy that takes the place of one that runs. Open.",
			func(d disagreement) bool {
				return slices.ContainsFunc(find(d.small, "nvpair"), func(e *cib.Element) bool { return e.Attr("value") == "freeze" })
			},
		},
		{
			"copies", "Attraction and repulsion between sets of copies: the incumbent applies a rule again for each time it tries a copy, so that a score may count " +
				"several times. Keelson follows it in most cases; in these it does not. Open.",
			func(d disagreement) bool {
				return len(find(d.small, "clone")) > 0 && len(find(d.small, "rsc_colocation")) > 0
			},
		},
		{
			"order of copies", "An order that involves copies of which some cannot do what is asked. Open.",
			func(d disagreement) bool {
				return len(find(d.small, "clone")) > 0 && len(find(d.small, "rsc_order")) > 0
			},
		},
		{"other", "Not followed further. Open.", func(disagreement) bool { return true }},
	}
}

func find(root *cib.Element, name string) []*cib.Element {
	var out []*cib.Element
	root.Walk(func(e *cib.Element) {
		if e.Name == name {
			out = append(out, e)
		}
	})
	return out
}

// list writes what a run came to, by cause.
func list(out *tally) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What Keelson and crm_simulate decide differently, of %d clusters made by chance, each\n", out.asked)
	fmt.Fprintf(&b, "# reduced to the least that still shows it. Written by `make oracle`; do not edit.\n#\n")
	fmt.Fprintf(&b, "# agree: %d (%.2f %%), differ: %d; not counted: %d that crm_simulate refused or did not\n", out.agreed, out.percent(), len(out.differ), out.refused)
	fmt.Fprintf(&b, "# survive, %d of which it tells an outcome that its own actions do not lead to.\n#\n", out.contradicts)
	fmt.Fprintf(&b, "# A line is \"- what only the incumbent says\" or \"+ what only Keelson says\".\n")
	left := slices.Clone(out.differ)
	for _, c := range causes() {
		var mine []disagreement
		left = slices.DeleteFunc(left, func(d disagreement) bool {
			if c.is(d) {
				mine = append(mine, d)
				return true
			}
			return false
		})
		if len(mine) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n== %s: %d\n%s\n", c.name, len(mine), c.why)
		for _, d := range mine {
			fmt.Fprintf(&b, "\n%s\n", d.name)
			for line := range strings.Lines(brief(d.small) + d.diff + "\n") {
				b.WriteString("    " + line)
			}
		}
	}
	return b.String()
}
