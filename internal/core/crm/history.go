package crm

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/cib"
)

// operation is one entry of a resource's history on a node.
type operation struct {
	id       string
	task     string
	interval time.Duration
	call     int
	status   int
	code     int
	want     int
	at       time.Time // of the last change of the result
	hasTime  bool
	last     bool // the entry of the last failure
	transit  int
	digest   string // of the parameters with which it ran
}

// The exit codes of resource agents, and the states of an operation.
const (
	codeOK            = 0
	codeNotRunning    = 7
	codePrimary       = 8
	codeFailedPrimary = 9
	codeDegraded      = 190
	codeDegradedPrim  = 191

	statusPending      = -1
	statusDone         = 0
	statusCancelled    = 1
	statusTimeout      = 2
	statusUnsupported  = 3
	statusError        = 4
	statusHard         = 5
	statusFatal        = 6
	statusNotInstalled = 7
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
		ops := d.operations(e)
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

func (d *document) operations(e *cib.Element) []operation {
	var out []operation
	for _, c := range e.All("lrm_rsc_op") {
		op := operation{
			id: c.ID(), task: c.Attr("operation"), call: clause.Number(c.Attr("call-id"), -1),
			interval: time.Duration(clause.Number(c.Attr("interval"), 0)) * time.Millisecond,
			status:   clause.Number(c.Attr("op-status"), statusDone), code: clause.Number(c.Attr("rc-code"), 0),
			last: strings.HasSuffix(c.ID(), "_last_failure_0"), want: -1, digest: c.Attr("op-digest"),
		}
		// The key is action:transition:expected code:source.
		if key := strings.Split(c.Attr("transition-key"), ":"); len(key) >= 4 {
			op.transit, op.want = clause.Number(key[1], 0), clause.Number(key[2], -1)
		}
		if s, err := strconv.ParseInt(c.Attr("last-rc-change"), 10, 64); err == nil && s > 0 {
			op.at, op.hasTime = time.Unix(s, 0).UTC(), true
		}
		out = append(out, op)
	}
	slices.SortStableFunc(out, later)
	return out
}

// later orders operations by when they happened.
func later(a, b operation) int {
	switch {
	case a.call == -1 && b.call == -1:
		return cmp.Compare(a.transit, b.transit)
	case a.call == -1:
		return 1
	case b.call == -1:
		return -1
	case a.call != b.call:
		return cmp.Compare(a.call, b.call)
	case a.hasTime && b.hasTime:
		return a.at.Compare(b.at)
	}
	return 0
}

// find returns the resource that a history entry is about. Of a clone whose
// instances are all the same it is the one that runs on the node, or one that
// runs nowhere yet.
func (d *document) find(n *node, e *cib.Element) *resource {
	id := e.ID()
	base, suffix, numbered := cutNumber(id)
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

func cutNumber(id string) (base, suffix string, numbered bool) {
	i := strings.LastIndexByte(id, ':')
	if i < 0 || i == len(id)-1 {
		return id, "", false
	}
	for _, c := range id[i+1:] {
		if c < '0' || c > '9' {
			return id, "", false
		}
	}
	return id[:i], id[i+1:], true
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
func (d *document) replay(r *resource, n *node, ops []operation) {
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
