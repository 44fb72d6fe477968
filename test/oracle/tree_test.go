package oracle

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/cib"
)

// clone copies a document.
func clone(e *cib.Element) *cib.Element {
	out := &cib.Element{Name: e.Name, Attrs: maps.Clone(e.Attrs)}
	for _, c := range e.Children {
		out.Children = append(out.Children, clone(c))
	}
	return out
}

// text writes a document.
func text(e *cib.Element) string {
	var b strings.Builder
	write(&b, e)
	return b.String()
}

func write(b *strings.Builder, e *cib.Element) {
	b.WriteString("<" + e.Name)
	for _, k := range slices.Sorted(maps.Keys(e.Attrs)) {
		b.WriteString(" " + k + `="`)
		_ = xml.EscapeText(b, []byte(e.Attrs[k])) // a Builder has no errors
		b.WriteString(`"`)
	}
	if len(e.Children) == 0 {
		b.WriteString("/>\n")
		return
	}
	b.WriteString(">\n")
	for _, c := range e.Children {
		write(b, c)
	}
	b.WriteString("</" + e.Name + ">\n")
}

// brief says in a few lines what a small document holds.
func brief(root *cib.Element) string {
	var b strings.Builder
	if q := root.Attr("have-quorum"); q == "0" || q == "false" {
		b.WriteString("no quorum\n")
	}
	conf := root.Child("configuration")
	if o := pairs(conf.Child("crm_config")); o != "" {
		fmt.Fprintf(&b, "options%s\n", o)
	}
	for _, n := range conf.Child("nodes").All("node") {
		fmt.Fprintf(&b, "node %s%s\n", n.Attr("uname"), pairs(n))
	}
	for _, section := range [...]string{"rsc_defaults", "op_defaults", "tags"} {
		if s := conf.Child(section); s != nil && len(s.Children) > 0 {
			fmt.Fprintf(&b, "%s%s\n", section, pairs(s))
		}
	}
	for _, r := range children(conf.Child("resources")) {
		briefResource(&b, r, "")
	}
	for _, c := range children(conf.Child("constraints")) {
		b.WriteString(attributes(c, "id"))
		for _, x := range c.Children {
			b.WriteString(" [" + inner(x) + "]")
		}
		b.WriteString("\n")
	}
	for _, s := range root.Child("status").All("node_state") {
		briefState(&b, s)
	}
	return b.String()
}

func children(e *cib.Element) []*cib.Element {
	if e == nil {
		return nil
	}
	return e.Children
}

func briefResource(b *strings.Builder, r *cib.Element, indent string) {
	b.WriteString(indent + r.Name + " " + r.ID())
	if r.Name == "primitive" && r.Attr("type") != "Dummy" {
		b.WriteString(" (" + r.Attr("class") + ":" + r.Attr("type") + ")")
	}
	if r.Has("template") {
		b.WriteString(" of " + r.Attr("template"))
	}
	b.WriteString(pairs(r))
	for _, o := range r.Child("operations").All("op") {
		if len(o.Attrs) > 3 || len(o.Children) > 0 {
			b.WriteString(" {" + attributes(o, "id") + pairs(o) + "}")
		}
	}
	b.WriteString("\n")
	for _, c := range r.All("primitive", "group", "clone", "master") {
		briefResource(b, c, indent+"  ")
	}
}

func briefState(b *strings.Builder, s *cib.Element) {
	fmt.Fprintf(b, "state %s:", s.Attr("uname"))
	for _, k := range [...]string{"in_ccm", "crmd", "join", "expected", "shutdown"} {
		if s.Has(k) {
			b.WriteString(" " + s.Attr(k))
		}
	}
	for _, t := range s.All("transient_attributes") {
		b.WriteString(pairs(t))
	}
	b.WriteString("\n")
	for _, r := range s.Child("lrm").Child("lrm_resources").All("lrm_resource") {
		b.WriteString("  " + r.ID() + ":")
		for _, o := range r.All("lrm_rsc_op") {
			fmt.Fprintf(b, " %s/%s=%s", o.Attr("operation"), o.Attr("interval"), o.Attr("rc-code"))
			if st := o.Attr("op-status"); st != "0" {
				b.WriteString("(status " + st + ")")
			}
			if key := strings.Split(o.Attr("transition-key"), ":"); len(key) > 2 && key[2] != o.Attr("rc-code") {
				b.WriteString("(want " + key[2] + ")")
			}
			if strings.HasSuffix(o.ID(), "_last_failure_0") {
				b.WriteString("!")
			}
			b.WriteString("#" + o.Attr("call-id"))
		}
		b.WriteString("\n")
	}
}

// pairs returns all name and value pairs in the attribute sets of an element.
func pairs(e *cib.Element) string {
	var out strings.Builder
	for _, set := range children(e) {
		switch set.Name {
		case "meta_attributes", "instance_attributes", "utilization", "cluster_property_set", "tag":
		default:
			continue
		}
		for _, p := range set.Children {
			if p.Name == "nvpair" {
				out.WriteString(" " + p.Attr("name") + "=" + p.Attr("value"))
				continue
			}
			out.WriteString(" [" + inner(p) + "]")
		}
	}
	return out.String()
}

func inner(e *cib.Element) string {
	out := attributes(e, "id")
	if e.Name == "resource_ref" || e.Name == "obj_ref" {
		out = e.ID()
	}
	for _, c := range e.Children {
		out += " [" + inner(c) + "]"
	}
	return out
}

func attributes(e *cib.Element, without ...string) string {
	out := e.Name
	for _, k := range slices.Sorted(maps.Keys(e.Attrs)) {
		if !slices.Contains(without, k) {
			out += " " + k + "=" + e.Attrs[k]
		}
	}
	return out
}
