package crm

import (
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/model/cib"
	"github.com/keelson/keelson/internal/model/spec"
)

// cluster notes the options of the cluster that services do not say.
func (w *writer) cluster() {
	known := []string{
		"stonith-enabled", "fencing-enabled", "dc-version", "cluster-infrastructure", "cluster-name", "have-watchdog", "last-lrm-refresh",
	}
	if w.document.options.maintenance {
		known = append(known, "maintenance-mode") // each service says it
	}
	if w.moment() {
		known = append(known, "node-health-strategy")
	}
	for _, k := range w.props.Names() {
		if !slices.Contains(known, k) {
			w.note("the cluster's option %s=%s is left out", k, w.props[k])
		}
	}
	w.capacity()
}

// capacity notes what nodes have of each unit, which is for their labels to say.
func (w *writer) capacity() {
	var needed []string
	for _, s := range w.services {
		for unit := range s.Needs {
			needed = append(needed, unit)
		}
	}
	slices.Sort(needed)
	for _, n := range w.nodes {
		for _, unit := range n.utilization.Names() {
			if w.document.options.placement == "default" {
				w.note("node %s: its capacity %s=%s is left out: placement-strategy is default, so the cluster does not count it", n.name, unit, n.utilization[unit])
				continue
			}
			w.note("node %s: its capacity is left out: give the node the label %s/%s=%s", n.name, spec.CapacityLabel, unit, n.utilization[unit])
		}
	}
	for _, unit := range slices.Compact(needed) {
		w.note("needs of %s: give every node its label %s/%s before you apply them: once one node has it, a node without it has none, and what needs %s leaves it or is not started there",
			unit, spec.CapacityLabel, unit, unit)
	}
}

// leftovers notes what of the configuration is neither written nor noted yet, so
// that nothing is left out silently.
func (w *writer) leftovers() {
	conf := w.root.Child("configuration")
	for _, section := range conf.Children {
		switch section.Name {
		case "crm_config", "nodes", "resources", "rsc_defaults", "tags":
		case "constraints":
			w.otherConstraints(section)
		default:
			for _, c := range section.Children {
				w.note("%s: %s %s is left out", section.Name, c.Name, c.ID())
			}
		}
	}
	for _, n := range w.nodes {
		if n.ping {
			w.note("node %s: it is a ping node, which is left out", n.name)
		}
		for _, k := range n.set.Names() {
			w.note("node %s: its attribute %s=%s is left out", n.name, k, n.set[k])
		}
		if n.base != 0 {
			w.note("node %s: its score %d is left out", n.name, n.base)
		}
	}
	w.unused(conf)
}

// unused notes templates that no resource is made from, and tags that no constraint
// names.
func (w *writer) unused(conf *cib.Element) {
	named := map[string]bool{}
	conf.Walk(func(e *cib.Element) {
		for _, k := range [...]string{"template", "rsc", "with-rsc", "first", "then"} {
			named[e.Attr(k)] = true
		}
		if e.Name == "resource_ref" || e.Name == "obj_ref" {
			named[e.ID()] = true
		}
	})
	for _, e := range append(conf.Child("resources").All("template"), conf.Child("tags").All("tag")...) {
		if !named[e.ID()] {
			w.note("%s %s: nothing of what is read names it", e.Name, e.ID())
		}
	}
	for _, tag := range conf.Child("tags").All("tag") {
		for _, ref := range tag.All("obj_ref") {
			if len(w.resources(ref.ID())) == 0 {
				w.note("tag %s: there is no resource %s", tag.ID(), ref.ID())
			}
		}
	}
}

// otherConstraints notes constraints of kinds that nothing is decided by.
func (d *document) otherConstraints(constraints *cib.Element) {
	if constraints == nil {
		return
	}
	for _, c := range constraints.Children {
		switch c.Name {
		case "rsc_location", "rsc_colocation", "rsc_order":
		default:
			d.note("%s %s: it is left out", c.Name, c.ID())
		}
	}
}

// written are the options of a resource that a service says, or that its kind says.
func written(option string) bool {
	switch option {
	case "priority", "resource-stickiness", "target-role", "is-managed", "maintenance", "migration-threshold", "failure-timeout",
		"clone-max", "clone-node-max", "promotable", "promoted-max", "master-max", "globally-unique":
		return true
	}
	return false
}

// settings notes the options of a resource that are not written: a service has one
// set of them, whatever its parts say.
func (w *writer) settings(r, service *resource) {
	for _, k := range r.meta.Names() {
		limited := k == "target-role" && slices.Contains([]string{"unpromoted", "slave"}, strings.ToLower(r.meta[k]))
		if !written(k) || limited || r.meta[k] != service.meta[k] {
			w.note("%s %s: its option %s=%s is left out", r.elem.Name, r.base, k, r.meta[k])
		}
	}
}

// operation notes what an operation says that services do not.
func (w *writer) operation(r *resource, op *cib.Element) {
	if op.Attr("name") == "monitor" {
		w.note("primitive %s: its monitor every %s (%s) is left out: write a check", r.base, op.Attr("interval"), op.ID())
		return
	}
	w.note("primitive %s: what it says of %s (%s) is left out", r.base, op.Attr("name"), op.ID())
}

// unheeded notes options that nothing is decided by and that might decide there.
func (d *document) unheeded() {
	for _, k := range d.props.Names() {
		if !clause.Heeded(k) {
			d.note("the cluster's option %s=%s is not heeded", k, d.props[k])
		}
	}
	for _, r := range d.all {
		for _, k := range r.meta.Names() {
			if !clause.Heeded(k) && !r.orphan {
				d.note("%s %s: its option %s=%s is not heeded", r.elem.Name, r.base, k, r.meta[k])
			}
		}
	}
}
