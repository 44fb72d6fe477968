package vet

import (
	"maps"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

// language says what a document may hold: a line for each element, with its
// attributes and, behind ">", the elements that may lie in it. All may have an id
// and a description. What lies in one that ends in "..." is for whoever reads it: it
// is taken or left out as a whole. Everything that is not here is noted, so whoever
// reads the document has to take what is here, or to note it.
//
// Source: the schemas of Pacemaker 2.1.5 and 3.0, and the histories that they write.
const language = `
cib crm_feature_set validate-with epoch num_updates admin_epoch cib-last-written update-origin update-client update-user have-quorum dc-uuid execution-date no-quorum-panic remote-tls-port remote-clear-port xsi noNamespaceSchemaLocation schemaLocation > configuration status
configuration > crm_config nodes resources constraints tags rsc_defaults op_defaults fencing-topology alerts acls
crm_config > cluster_property_set
cluster_property_set id-ref score > nvpair rule
instance_attributes id-ref score > nvpair rule
meta_attributes id-ref score > nvpair rule
utilization id-ref score > nvpair rule
nvpair id-ref name value
nodes > node
node uname type score > instance_attributes utilization
resources > primitive template group clone master bundle
primitive class provider type template > meta_attributes instance_attributes utilization operations
template class provider type > meta_attributes instance_attributes utilization operations
operations id-ref > op
op name interval timeout on-fail role enabled start-delay interval-origin requires record-pending > meta_attributes instance_attributes
group > meta_attributes instance_attributes primitive
clone > meta_attributes instance_attributes primitive group
master > meta_attributes instance_attributes primitive group
bundle ...
constraints > rsc_location rsc_colocation rsc_order rsc_ticket
rsc_location rsc rsc-pattern node score role resource-discovery > resource_set rule lifetime
rsc_colocation rsc with-rsc score rsc-role with-rsc-role node-attribute influence > resource_set lifetime
rsc_order first then kind score symmetrical first-action then-action require-all > resource_set lifetime
rsc_ticket ...
resource_set id-ref sequential require-all ordering role action score kind > resource_ref
resource_ref
lifetime > rule
rule id-ref score score-attribute boolean-op role > rule expression date_expression rsc_expression op_expression
expression attribute operation value type value-source
date_expression operation start end > date_spec duration
date_spec years months monthdays weeks weekdays weekyears yeardays hours minutes seconds
duration years months weeks days hours minutes seconds
rsc_expression class provider type
op_expression name interval
tags > tag
tag > obj_ref
obj_ref
rsc_defaults > meta_attributes
op_defaults > meta_attributes
fencing-topology ...
alerts ...
acls ...
status > node_state tickets
tickets ...
node_state uname ha in_ccm crmd join expected crm-debug-origin shutdown remote_node node_in_maintenance node_fenced > lrm transient_attributes
transient_attributes > instance_attributes
lrm uname > lrm_resources
lrm_resources > lrm_resource
lrm_resource class provider type container > lrm_rsc_op
lrm_rsc_op operation operation_key interval op-status rc-code call-id op-digest op-force-restart op-restart-digest op-secure-params op-secure-digest crm_feature_set transition-key transition-magic crm-debug-origin last-run last-rc-change exec-time queue-time on_node exit-reason migrate_source migrate_target
`

// word is what one element may hold.
type word struct {
	attributes, children []string
	whole                bool
}

func words() map[string]word {
	out := map[string]word{}
	for line := range strings.Lines(strings.TrimSpace(language)) {
		attributes, children, _ := strings.Cut(line, ">")
		known := strings.Fields(attributes)
		w := word{attributes: append([]string{"id", "description"}, known[1:]...), children: strings.Fields(children)}
		w.whole = slices.Contains(known, "...")
		out[known[0]] = w
	}
	return out
}

// unknown notes every attribute and every element that is no part of the language,
// and what is there more often than it is read.
func (c *checker) unknown(e *cib.Element, known map[string]word) {
	w := known[e.Name]
	if w.whole {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(e.Attrs)) {
		if !slices.Contains(w.attributes, k) {
			c.note("%s %s: its attribute %s is not understood", e.Name, quoted(e.ID()), quoted(k))
		}
	}
	if ref := e.Attr("id-ref"); e.Has("id-ref") && (c.byID[ref] == nil || c.byID[ref].Name != e.Name) {
		c.note("%s %s: there is no %s %s that it could refer to, so it says nothing", e.Name, quoted(e.ID()), e.Name, quoted(ref))
	}
	count := map[string]int{}
	for _, child := range e.Children {
		if !slices.Contains(w.children, child.Name) {
			c.note("%s %s: %s %s in it is not understood", e.Name, quoted(e.ID()), quoted(child.Name), quoted(child.ID()))
			continue
		}
		kind := child.Name
		if (e.Name == "clone" || e.Name == "master") && (kind == "primitive" || kind == "group") {
			kind = "resource"
		}
		if count[kind]++; count[kind] > 1 && once(e.Name, kind) {
			c.note("%s %s: %s %s is one too many in it, and not read", e.Name, quoted(e.ID()), child.Name, quoted(child.ID()))
		}
		c.unknown(child, known)
	}
	c.meaningless(e)
}

// once reports whether only the first of a kind of element is read.
func once(parent, kind string) bool {
	switch parent {
	case "cib", "configuration", "lrm":
		return true
	case "node_state":
		return kind == "lrm"
	case "clone", "master":
		return kind == "resource"
	case "primitive", "template":
		return kind == "operations"
	case "rsc_location", "rsc_colocation", "rsc_order":
		return kind == "lifetime"
	case "date_expression":
		return true
	}
	return strings.HasSuffix(parent, "_attributes") && kind == "rule" || parent == "utilization" && kind == "rule"
}

// meaningless notes what is part of the language and is not read where it stands,
// because what stands beside it is.
func (c *checker) meaningless(e *cib.Element) {
	what := e.Name + " " + quoted(e.ID())
	if e.Has("id-ref") && len(e.Attrs) > 1 && e.Name != "nvpair" {
		for _, k := range slices.Sorted(maps.Keys(e.Attrs)) {
			if k != "id-ref" && k != "id" && k != "description" {
				c.note("%s: its attribute %s is not read beside id-ref=%s", what, k, quoted(e.Attr("id-ref")))
			}
		}
	}
	beside := func(this string, others ...string) {
		for _, k := range others {
			if e.Has(k) {
				c.note("%s: its attribute %s is not read beside its %s", what, k, this)
			}
		}
	}
	sets, rule := e.Child("resource_set") != nil, e.Child("rule") != nil
	switch {
	case e.Name == "rsc_location" && sets:
		beside("resource_set", "rsc", "rsc-pattern")
	case e.Name == "rsc_location" && e.Has("rsc"):
		beside("rsc", "rsc-pattern")
	case e.Name == "rsc_colocation" && sets:
		beside("resource_set", "rsc", "with-rsc", "rsc-role", "with-rsc-role", "node-attribute")
	case e.Name == "rsc_order" && sets:
		beside("resource_set", "first", "then", "first-action", "then-action", "require-all")
	case e.Name == "rsc_order" && e.Has("kind"):
		beside("kind", "score")
	case e.Name == "resource_set" && e.Has("kind"):
		beside("kind", "score")
	case e.Name == "rule" && e.Has("score-attribute"):
		beside("score-attribute", "score")
	case e.Name == "primitive" && e.Has("template"):
		beside("template", "class", "provider", "type")
	case e.Name == "expression" && (e.Attr("operation") == "defined" || e.Attr("operation") == "not_defined"):
		beside("operation", "value", "type", "value-source")
	}
	if e.Name == "rsc_location" && e.Has("node") && rule {
		c.note("%s: its rules are not read beside its node", what)
	}
	if e.Name == "rsc_location" && rule {
		beside("rule", "score")
	}
	c.twice(e)
}

// twice notes a name that a set of attributes gives more than one value.
func (c *checker) twice(e *cib.Element) {
	if !strings.HasSuffix(e.Name, "_attributes") && e.Name != "cluster_property_set" && e.Name != "utilization" {
		return
	}
	names := map[string]bool{}
	for _, pair := range e.All("nvpair") {
		name := pair.Attr("name")
		if names[name] && name != "" {
			c.note("%s %s: %s is there twice in it, and the first one counts", e.Name, quoted(e.ID()), quoted(name))
		}
		names[name] = true
	}
}
