package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

// cause is why the two differ over a kind of cluster. What is on purpose has a
// condition that holds for no other kind; of what is open no more is known than what
// it has in common.
type cause struct {
	name    string
	purpose bool
	why     string
	is      func(d disagreement) bool
}

// causes are tried in this order.
func causes() []cause {
	return append(purposes(), questions()...)
}

// purposes are the causes that are known, for which Keelson stays as it is.
func purposes() []cause {
	return []cause{
		{
			"not told", true, "The incumbent's report leaves out what is not managed on a node that is not online; Keelson shows it where it was last seen.",
			func(d disagreement) bool { return strings.HasPrefix(d.diff, "before") },
		},
		{
			"a word", true, "The same copies run on the same nodes, and none is primary. Of a replica that failed and is left alone, the report says that it is " +
				"started until it was checked again; when that is, is not the same in the two simulations.",
			func(d disagreement) bool { return onlyWords(sides(d)) },
		},
		{
			"one primary too many", true, "A primary runs where nothing may be done, and the incumbent promotes another one as well. Keelson counts what it may not " +
				"touch: there are never more primaries than the set may have.",
			func(d disagreement) bool {
				theirs, ours := sides(d)
				return every(theirs, "Promoted") && !some(ours, "Promoted") && leftPrimary(d.small)
			},
		},
		{
			"what runs is kept under freeze", true, "Without quorum and with no-quorum-policy=freeze nothing may be started that does not run. The incumbent then stops " +
				"what runs for the sake of what it may not start; Keelson leaves it.",
			func(d disagreement) bool {
				theirs, ours := sides(d)
				return frozen(d.small) && len(theirs) == 0 && !slices.ContainsFunc(ours, func(l line) bool { return !l.has(d.small, l.node) })
			},
		},
		{
			"what runs is counted", true, "Where all else is equal the node wins with the fewest copies. The incumbent does not count a copy that failed to stop, that " +
				"it does not manage, or that is one too many; it uses the node all the same, so Keelson counts it.",
			func(d disagreement) bool {
				theirs, ours := sides(d)
				moved := len(theirs) == 1 && len(ours) == 1 && theirs[0].name == ours[0].name
				return moved && !theirs[0].has(d.small, "") && !theirs[0].ruled(d.small) && leftCopies(d.small)
			},
		},
		{
			"an order of starts is kept", true, "An order that is not symmetrical, before copies that go by node. Where no copy of the first runs on a node, the " +
				"incumbent starts the second there all the same. Keelson does not start what is to come after what does not start.",
			func(d disagreement) bool {
				theirs, ours := sides(d)
				return len(ours) == 0 && !slices.ContainsFunc(theirs, func(l line) bool { return !l.oneWay(d.small) })
			},
		},
		{
			"capacity", true, "Where no node has room for all that must be together, or several have the same, the incumbent takes the first of a hash table, and " +
				"counts the room of what it has not placed yet in other ways. Keelson goes by free room, then by name: the same snapshot has to give the same plan.",
			func(d disagreement) bool {
				return slices.ContainsFunc(find(d.small, "nvpair"), func(e *cib.Element) bool { return e.Attr("name") == "placement-strategy" })
			},
		},
	}
}

// questions are the kinds of which it is not known why the incumbent does what it does.
func questions() []cause {
	option := func(d disagreement, name, value string) bool {
		return slices.ContainsFunc(find(d.small, "nvpair"), func(e *cib.Element) bool {
			return e.Attr("name") == name && (value == "" || e.Attr("value") == value)
		})
	}
	return []cause{
		{
			"blocked", false, "What depends, by order or attraction, on a resource that failed to stop or is blocked: the incumbent's answer follows from which of its " +
				"actions happen to exist. Keelson leaves what depends on it stopped, or where it is.",
			func(d disagreement) bool {
				return slices.ContainsFunc(find(d.small, "lrm_rsc_op"), func(e *cib.Element) bool { return e.Attr("operation") == "stop" && e.Attr("rc-code") != "0" }) ||
					slices.ContainsFunc(find(d.small, "op"), func(e *cib.Element) bool { return e.Attr("on-fail") == "block" })
			},
		},
		{
			"no device to fence with", false, "Fencing is on and there is no device, so that the incumbent starts nothing; what it still stops, of copies that are too many " +
				"or failed, depends on the order in which it met them.",
			func(d disagreement) bool {
				return !option(d, "stonith-enabled", "") &&
					!slices.ContainsFunc(find(d.small, "primitive"), func(e *cib.Element) bool { return e.Attr("class") == "stonith" })
			},
		},
		{
			"not managed", false, "Resources that are not managed among others that are, in a group, as a copy, or as what others are drawn to.",
			func(d disagreement) bool {
				return option(d, "is-managed", "") || option(d, "maintenance", "") || option(d, "maintenance-mode", "")
			},
		},
		{
			"cloned group", false, "Copies of a group of which some members run and others do not: the incumbent tries its copies in an order that depends on which " +
				"member it met first in the history.",
			func(d disagreement) bool {
				return slices.ContainsFunc(find(d.small, "clone"), func(e *cib.Element) bool { return e.Child("group") != nil })
			},
		},
		{
			"frozen", false, "Without quorum and with no-quorum-policy=freeze, a copy that takes the place of one that runs.",
			func(d disagreement) bool { return frozen(d.small) },
		},
		{
			"copies", false, "Attraction and repulsion between sets of copies: the incumbent applies a rule again for each time it tries a copy, so that a score may count " +
				"several times. Keelson follows it in most cases; in these it does not.",
			func(d disagreement) bool {
				return len(find(d.small, "clone")) > 0 && len(find(d.small, "rsc_colocation")) > 0
			},
		},
		{
			"order of copies", false, "An order that involves copies of which some cannot do what is asked.",
			func(d disagreement) bool {
				return len(find(d.small, "clone")) > 0 && len(find(d.small, "rsc_order")) > 0
			},
		},
		{"other", false, "Not followed further.", func(disagreement) bool { return true }},
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
	known := 0
	for _, d := range out.differ {
		if slices.ContainsFunc(purposes(), func(c cause) bool { return c.is(d) }) {
			known++
		}
	}
	fmt.Fprintf(&b, "# on purpose: %d; open: %d. Without any of the elements that are left of a cluster, the two agree.\n#\n", known, len(out.differ)-known)
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
		kind := "open"
		if c.purpose {
			kind = "on purpose"
		}
		fmt.Fprintf(&b, "\n== %s: %d, %s\n%s\n", c.name, len(mine), kind, c.why)
		for _, d := range mine {
			fmt.Fprintf(&b, "\n%s\n", d.name)
			for line := range strings.Lines(brief(d.small) + d.diff + "\n") {
				b.WriteString("    " + line)
			}
		}
	}
	return b.String()
}
