package oracle

import (
	"context"
	"slices"

	"github.com/keelson/keelson/internal/model/cib"
)

// shrink removes what can be removed while the two still differ: resources with
// all that names them, nodes, then single elements and attributes.
func shrink(ctx context.Context, root *cib.Element) *cib.Element {
	s := &shrinker{ctx: ctx, root: clone(root), left: maxTries}
	for changed := true; changed && s.left > 0; {
		changed = s.named("resources")
		changed = s.named("nodes") || changed
		changed = s.elements() || changed
	}
	for s.left > 0 && s.attributes() {
	}
	return s.root
}

// maxTries bounds how often both are asked for the sake of one disagreement.
const maxTries = 1500

type shrinker struct {
	ctx  context.Context
	root *cib.Element
	left int
}

// keep reports whether the two differ over a document, and takes it if so.
func (s *shrinker) keep(smaller *cib.Element) bool {
	if s.left--; s.left < 0 || hollow(smaller.Child("configuration").Child("resources")) {
		return false
	}
	diff, err := compare(s.ctx, smaller)
	if err != nil || diff == "" {
		return false
	}
	s.root = smaller
	return true
}

// hollow reports whether there is a group or a clone of nothing.
func hollow(e *cib.Element) bool {
	for _, c := range children(e) {
		switch c.Name {
		case "group", "clone", "master":
			if len(c.All("primitive", "group")) == 0 || hollow(c) {
				return true
			}
		}
	}
	return false
}

// named tries to do without resources, or nodes, and all that names them.
func (s *shrinker) named(section string) bool {
	changed := false
	var ids []string
	s.root.Child("configuration").Child(section).Walk(func(e *cib.Element) {
		switch e.Name {
		case "primitive", "group", "clone", "master", "template":
			ids = append(ids, e.ID())
		case "node":
			ids = append(ids, e.Attr("uname"))
		}
	})
	for _, id := range ids {
		smaller := clone(s.root)
		without(smaller, id)
		changed = s.keep(smaller) || changed
	}
	return changed
}

// without removes all elements that name something.
func without(e *cib.Element, id string) {
	e.Children = slices.DeleteFunc(e.Children, func(c *cib.Element) bool {
		for k, v := range c.Attrs {
			switch k {
			case "id", "rsc", "with-rsc", "first", "then", "uname", "node", "template":
				if v == id {
					return true
				}
			}
		}
		return false
	})
	for _, c := range e.Children {
		without(c, id)
	}
	e.Children = slices.DeleteFunc(e.Children, func(c *cib.Element) bool {
		return len(c.All("primitive", "group", "resource_ref")) == 0 && (c.Name == "group" || c.Name == "clone" || c.Name == "master" || c.Name == "resource_set")
	})
}

// skeleton are the elements that stay.
func skeleton(e *cib.Element) bool {
	switch e.Name {
	case "nvpair":
		return e.Attr("name") == "promotable"
	case "meta_attributes":
		return slices.ContainsFunc(e.Children, skeleton)
	case "cib", "configuration", "crm_config", "nodes", "resources", "constraints", "status", "primitive", "group", "clone", "master", "lrm", "lrm_resources":
		return true
	}
	return false
}

// elements tries to do without each element, large ones first.
func (s *shrinker) elements() bool {
	changed := false
	for i := 0; ; i++ {
		smaller := clone(s.root)
		n, done := 0, false
		cut(smaller, func(e *cib.Element) bool {
			if skeleton(e) {
				return false
			}
			n++
			done = done || n == i+1
			return n == i+1
		})
		if !done {
			return changed
		}
		if s.keep(smaller) {
			changed = true
			i--
		}
	}
}

// cut removes the elements, in the order of the document, that a condition names.
func cut(e *cib.Element, remove func(*cib.Element) bool) {
	e.Children = slices.DeleteFunc(e.Children, remove)
	for _, c := range e.Children {
		cut(c, remove)
	}
}

// attributes tries to do without what constraints and operations say beside what
// they must.
func (s *shrinker) attributes() bool {
	changed := false
	for i := 0; ; i++ {
		smaller := clone(s.root)
		n, done := 0, false
		smaller.Walk(func(e *cib.Element) {
			switch e.Name {
			case "rsc_order", "rsc_colocation", "rsc_location", "op", "resource_set":
			default:
				return
			}
			for _, k := range [...]string{"kind", "symmetrical", "first-action", "then-action", "rsc-role", "with-rsc-role", "role", "on-fail", "sequential", "require-all", "action", "node-attribute", "influence", "timeout"} {
				if e.Has(k) {
					if n++; n == i+1 {
						delete(e.Attrs, k)
						done = true
						return
					}
				}
			}
		})
		if !done {
			return changed
		}
		if s.keep(smaller) {
			changed = true
			i--
		}
	}
}
