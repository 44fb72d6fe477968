package crm

import (
	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/crm/past"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/cib"
)

// failure says what a failed operation leads to, from mild to severe.
type failure int

const (
	failIgnore failure = iota
	failDemote
	failRecover
	failMigrate
	failBlock
	failStop
	failStandby
	failFence
)

// readHistory derives the state of all resources on a node.
func (d *document) readHistory(n *node, list *cib.Element) {
	n.history = list
	for _, e := range list.All("lrm_resource") {
		ops := past.Of(e)
		if len(ops) == 0 {
			continue
		}
		r := d.find(n, e)
		if r == nil {
			continue
		}
		d.replay(r, n, ops)
	}
}

// find returns the resource that a history entry is about. Of a clone whose
// instances are all the same it is the one that runs on the node, or one that
// runs nowhere yet.
func (d *document) find(n *node, e *cib.Element) *resource {
	id := e.ID()
	base, suffix, numbered := clause.CutNumber(id)
	r := d.byName[id]
	if r == nil && numbered {
		r = d.byName[base]
	}
	if r == nil {
		return d.orphan(id, e)
	}
	if r.kind != place.One {
		return nil
	}
	if !r.anonymous() {
		if r.clone() == nil || d.byName[id] != nil && numbered {
			return r
		}
		if numbered {
			if clone := r.clone(); clause.Number(suffix, 0) >= len(clone.children) {
				return d.orphan(id, e)
			}
		}
		return r
	}
	return d.instance(r, n)
}

// instance returns the instance of an anonymous clone's primitive for a node.
func (d *document) instance(r *resource, n *node) *resource {
	clone := r.clone()
	var free *resource
	for _, child := range clone.children {
		mine := child
		busy, here := false, false
		for _, leaf := range child.leaves() {
			if leaf.base == r.base {
				mine = leaf
			}
			here = here || leaf.on(n) || leaf.historyOn[n] != ""
			busy = busy || len(leaf.at) > 0
		}
		switch {
		case here && !mine.on(n):
			return mine
		case here && mine.on(n) && mine.historyOn[n] != "":
			continue
		case !busy && free == nil:
			free = mine
		}
	}
	if free != nil {
		return free
	}
	grown := d.grow(clone)
	if grown == nil {
		return nil
	}
	for _, leaf := range grown.leaves() {
		if leaf.base == r.base {
			return leaf
		}
	}
	return nil
}

// orphan returns a resource that only the history knows.
func (d *document) orphan(id string, e *cib.Element) *resource {
	fake := &cib.Element{Name: "primitive", Attrs: map[string]string{
		"id": id, "class": e.Attr("class"), "type": e.Attr("type"), "provider": e.Attr("provider"),
	}}
	r := d.resource(fake, nil, -1)
	if r == nil {
		return nil
	}
	r.orphan = true
	if d.options.stopOrphans {
		r.target, r.next = place.Stopped, place.Stopped
	} else {
		r.unmanaged = true
	}
	d.top = append(d.top, r)
	return r
}

// replay goes through a resource's operations on a node.
func (d *document) replay(r *resource, n *node, ops []past.Operation) {
	before, nextBefore := r.role, r.next
	p := &replay{document: d, r: r, n: n, role: place.Any}
	for _, op := range ops {
		p.take(op)
	}
	if p.role == place.Any {
		p.role = place.Stopped
	}
	if p.known {
		r.known[n] = true
	}
	r.historyOn[n] = r.base
	p.settle()
	if before > p.role {
		r.role = before
	} else {
		r.role = p.role
	}
	if r.next == place.Any || nextBefore == place.Stopped {
		r.next = nextBefore
	}
	if r.target != place.Any && (r.next == place.Any || r.target < r.next) {
		r.next = r.target
	}
}
