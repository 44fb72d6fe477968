package crm

import (
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

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
		for _, k := range n.set.Names() {
			w.note("node %s: its attribute %s=%s is left out", n.name, k, n.set[k])
		}
		if n.base != 0 {
			w.note("node %s: its score %d is left out", n.name, n.base)
		}
	}
	for _, section := range [...]string{"crm_config", "nodes", "resources", "constraints", "rsc_defaults", "tags"} {
		conf.Child(section).Walk(w.unknown)
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

// unknown notes what is no part of the language as far as it is known.
func (w *writer) unknown(e *cib.Element) {
	words, is := vocabulary(e.Name)
	if !is {
		w.note("%s %s: this kind of element is not understood", e.Name, e.ID())
		return
	}
	known := strings.Fields("id id-ref description " + words)
	for k := range e.Attrs {
		if !slices.Contains(known, k) {
			w.note("%s %s: its attribute %s is not understood", e.Name, e.ID(), k)
		}
	}
}

// vocabulary returns the attributes that an element may have.
func vocabulary(element string) (attributes string, known bool) {
	switch element {
	case "crm_config", "nodes", "resources", "constraints", "rsc_defaults", "tags", "operations", "group", "clone", "master", "tag", "obj_ref", "resource_ref":
		return "", true
	case "cluster_property_set", "instance_attributes", "meta_attributes", "utilization":
		return "score", true
	case "nvpair":
		return "name value", true
	case "node":
		return "uname type score", true
	case "primitive", "template":
		return "class provider type template", true
	case "op":
		return "name interval timeout on-fail role enabled start-delay interval-origin requires record-pending", true
	case "rsc_location":
		return "rsc rsc-pattern node score role resource-discovery", true
	case "rsc_colocation":
		return "rsc with-rsc score rsc-role with-rsc-role node-attribute influence", true
	case "rsc_order":
		return "first then kind score symmetrical first-action then-action", true
	case "resource_set":
		return "sequential require-all role action score", true
	case "rule":
		return "score score-attribute boolean-op role", true
	case "expression":
		return "attribute operation value type value-source", true
	case "date_expression":
		return "operation start end", true
	case "date_spec", "duration":
		return "years months weeks days hours minutes seconds monthdays weekdays yeardays weekyears moon", true
	case "rsc_expression":
		return "class provider type", true
	case "op_expression":
		return "name interval", true
	}
	return "", false
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

// options notes the options of a resource that are not written: a service has one
// set of them, whatever its parts say.
func (w *writer) options(r, service *resource) {
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
