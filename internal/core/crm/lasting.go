package crm

import (
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

// A service lasts, and what is so only now must not get into it: a node's health, an
// attribute that an agent sets, the hour. So rules that ask for such are left out of
// what is written. Simulate heeds them all.

// skip reports whether a set of attributes has a rule whose answer passes, and notes
// it.
func (d *document) skip(set, rule *cib.Element) bool {
	why := d.passing(rule, false, maxNested)
	if why != "" {
		d.note("%s %s: its rule asks for %s, so it is left out", set.Name, set.ID(), why)
	}
	return why != ""
}

// passing says what a rule asks for that passes; empty: nothing. Of a location it may
// ask for attributes that the configuration gives to nodes.
func (d *document) passing(e *cib.Element, location bool, left int) string {
	e = d.Refer(e)
	if e == nil || left == 0 {
		return ""
	}
	if name := e.Attr("score-attribute"); name != "" && !d.lasts(name) {
		return "the attribute " + name + ", which is not one of the configuration"
	}
	switch e.Name {
	case "date_expression":
		return "the time"
	case "expression":
		name := e.Attr("attribute")
		switch {
		case !location:
			return "the node"
		case !d.lasts(name):
			return "the attribute " + name + ", which is not one of the configuration"
		}
	}
	for _, c := range e.Children {
		if why := d.passing(c, location, left-1); why != "" {
			return why
		}
	}
	return ""
}

// lasts reports whether the nodes have an attribute by their configuration alone.
func (d *document) lasts(name string) bool {
	if name == "#uname" || name == "#id" || name == "#kind" {
		return true
	}
	found := slices.ContainsFunc(d.nodes, func(n *node) bool { return n.set.Has(name) })
	for _, state := range d.root.Child("status").All("node_state") {
		for _, set := range state.All("transient_attributes") {
			set.Walk(func(e *cib.Element) { found = found && (e.Name != "nvpair" || e.Attr("name") != name) })
		}
	}
	return found
}

// moment notes the nodes' health, which passes, and reports whether it counts there.
func (w *writer) moment() bool {
	strategy := w.props.Get("node-health-strategy")
	if strategy == "" || strategy == "none" {
		return false
	}
	w.note("the cluster's option node-health-strategy=%s is left out: nodes say how well they are in their health file", strategy)
	for _, n := range w.nodes {
		n.say(w.document, w.root.Child("status"))
	}
	return true
}

// say notes the health that a node has now.
func (n *node) say(d *document, status *cib.Element) {
	for _, state := range status.All("node_state") {
		if d.nodeByID[state.ID()] != n {
			continue
		}
		for _, set := range state.All("transient_attributes") {
			set.Walk(func(e *cib.Element) {
				if e.Name == "nvpair" && strings.HasPrefix(e.Attr("name"), "#health") && e.Attr("value") != "green" {
					d.note("node %s: its health %s=%s is of this moment, so no service is kept from it", n.name, e.Attr("name"), e.Attr("value"))
				}
			})
		}
	}
}
