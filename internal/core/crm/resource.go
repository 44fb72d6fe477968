package crm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/cib"
)

// resource is a primitive, a group, a clone, or one instance within a clone.
type resource struct {
	id    string // unique: instances carry their number
	base  string // as in the configuration
	kind  place.Kind
	agent *cib.Element // of primitives: where class, provider and type are
	elem  *cib.Element

	parent   *resource
	children []*resource
	meta     clause.Attrs
	params   clause.Attrs
	set      place.Set
	rules

	state
}

// rules are what a resource's meta attributes say.
type rules struct {
	priority  int
	sticky    int
	threshold int // 0: none
	expiry    time.Duration
	target    place.Role
	multiple  string // what to do if it is active on several nodes
	needs     string // nothing, quorum, fencing
	unordered bool
	loose     bool
	minimum   int // of a clone: instances that others may count on
	demand    clause.Attrs
	critical  bool
}

// state is what the history says of a resource.
type state struct {
	at            []*node
	known         map[*node]bool
	role          place.Role
	next          place.Role
	unmanaged     bool
	blocked       bool
	failed        bool
	failedCheck   bool // what failed was a check that goes on
	ignoreFailure bool
	orphan        bool
	starting      bool // a start is under way
	onlyDemote    bool // the failure asks for no more than losing the role
	item          int
	bans          map[*node]int
	forgiven      map[*node]bool   // its failures there do not count any more
	historyOn     map[*node]string // the name it has there
}

func (d *document) readResources(e *cib.Element) {
	for _, c := range e.All("primitive", "group", "clone", "master", "bundle") {
		if c.Name == "bundle" {
			d.note("bundle %s: bundles are left out", c.ID())
			continue
		}
		if r := d.resource(c, nil, -1); r != nil {
			d.top = append(d.top, r)
		}
	}
}

// resource reads a resource and all below it. Within a clone, instance is the
// number of the copy; -1 elsewhere.
func (d *document) resource(e *cib.Element, parent *resource, instance int) *resource {
	if len(d.all) >= maxResources {
		d.note("resource %s: there are more than %d", e.ID(), maxResources)
		return nil
	}
	r := &resource{id: e.ID(), base: e.ID(), elem: e, parent: parent, agent: e}
	r.item = place.Nowhere
	if instance >= 0 {
		r.id = fmt.Sprintf("%s:%d", e.ID(), instance)
	}
	if e.Has("template") {
		r.agent = d.ByID[e.Attr("template")]
		if r.agent == nil || r.agent.Name != "template" {
			d.note("%s %s: there is no template %s, so it is left out", e.Name, e.ID(), e.Attr("template"))
			return nil
		}
	}
	d.readMeta(r)
	d.readRules(r)
	d.all = append(d.all, r)
	d.byName[r.id] = r
	if d.byName[r.base] == nil {
		d.byName[r.base] = r
	}
	switch e.Name {
	case "group":
		r.kind = place.Stack
		for _, c := range e.All("primitive") {
			if child := d.resource(c, r, instance); child != nil {
				r.children = append(r.children, child)
			}
		}
	case "clone", "master":
		r.kind = place.Copies
		d.readClone(r)
	default:
		if r.agent.Attr("class") == "stonith" {
			d.options.devices = true
		}
	}
	return r
}

// maxResources bounds the resources, instances included.
const maxResources = 20_000

// maxCopies bounds the instances of one clone.
const maxCopies = 1_000

func (d *document) readClone(r *resource) {
	inner := r.elem.All("primitive", "group")
	if len(inner) == 0 {
		return
	}
	m := r.meta
	limit := clause.Number(m.Get("clone-max"), len(d.nodes))
	r.set = place.Set{
		Max:        max(0, min(limit, maxCopies)),
		PerNode:    max(0, clause.Number(m.Get("clone-node-max"), 1)),
		Roles:      r.elem.Name == "master" || clause.Truth(m.Get("promotable")),
		Unique:     clause.Truth(m.Get("globally-unique")),
		Interleave: clause.Truth(m.Get("interleave")),
	}
	r.minimum = clause.Number(m.Get("clone-min"), 0)
	if !r.set.Unique {
		r.set.PerNode = min(r.set.PerNode, 1)
	}
	if r.set.Roles {
		r.set.Primaries = clause.Number(m.Get("promoted-max", "master-max"), 1)
		r.set.PrimariesPerNode = clause.Number(m.Get("promoted-node-max", "master-node-max"), 1)
	}
	for i := range max(1, r.set.Max) {
		if child := d.resource(inner[0], r, i); child != nil {
			r.children = append(r.children, child)
		}
	}
}

// grow adds an instance to a clone that has more running than it should.
func (d *document) grow(clone *resource) *resource {
	inner := clone.elem.All("primitive", "group")
	if len(inner) == 0 || len(clone.children) >= maxCopies {
		return nil
	}
	child := d.resource(inner[0], clone, len(clone.children))
	if child != nil {
		clone.children = append(clone.children, child)
		child.walk(func(r *resource) { r.orphan = true })
	}
	return child
}

// walk calls visit for the resource and all below it.
func (r *resource) walk(visit func(*resource)) {
	visit(r)
	for _, c := range r.children {
		c.walk(visit)
	}
}

// about is what rules are asked about; both may be nil.
func about(n *node, r *resource) *clause.Subject {
	out := &clause.Subject{}
	if n != nil {
		out.Attribute = n.attribute
	}
	if r != nil {
		out.Agent, out.Base, out.Params, out.Meta = r.agent, r.base, r.params, r.meta
	}
	return out
}

func (d *document) readMeta(r *resource) {
	who := about(nil, r)
	r.params = d.Sets(r.elem, "instance_attributes", who)
	who.Params = r.params
	r.meta = d.Sets(r.elem, "meta_attributes", who)
	r.demand = d.Sets(r.elem, "utilization", who)
	if r.agent != r.elem {
		r.meta.Fill(d.Sets(r.agent, "meta_attributes", who))
		r.params.Fill(d.Sets(r.agent, "instance_attributes", who))
		r.demand.Fill(d.Sets(r.agent, "utilization", who))
	}
	if r.parent != nil {
		r.meta.Fill(r.parent.meta)
		r.params.Fill(r.parent.params)
	}
	r.meta.Fill(d.Sets(d.rscDef, "meta_attributes", who))
}

func (d *document) readRules(r *resource) {
	m := r.meta
	r.priority = clause.Score(m.Get("priority"), 0)
	r.sticky = clause.Score(m.Get("resource-stickiness"), 0)
	if !m.Has("resource-stickiness") && r.inUniqueOrAnyClone() {
		r.sticky = 1
	}
	r.threshold = clause.Threshold(m.Get("migration-threshold"))
	r.expiry = clause.Duration(m.Get("failure-timeout"))
	r.multiple = m.Get("multiple-active")
	r.needs = m.Get("requires")
	r.unordered = !clause.IsSet(m.Get("ordered"), true)
	r.loose = !clause.IsSet(m.Get("collocated"), true)
	r.critical = clause.IsSet(m.Get("critical"), true)
	r.unmanaged = !clause.IsSet(m.Get("is-managed"), true) || clause.Truth(m.Get("maintenance"))
	if d.options.maintenance {
		r.unmanaged = true
	}
	r.known, r.bans, r.historyOn = map[*node]bool{}, map[*node]int{}, map[*node]string{}
	r.forgiven = map[*node]bool{}
	r.target = r.targetRole(m.Get("target-role"))
	r.role = place.Stopped
	r.next = r.target
}

// inUniqueOrAnyClone reports whether the resource is part of a clone, whose
// instances stay by default.
func (r *resource) inUniqueOrAnyClone() bool {
	for p := r.parent; p != nil; p = p.parent {
		if p.kind == place.Copies || p.elem.Name == "clone" || p.elem.Name == "master" {
			return true
		}
	}
	return r.elem.Name == "clone" || r.elem.Name == "master"
}

// targetRole reads what the resource shall be at most. Whatever says "as much
// as possible" is no limit.
func (r *resource) targetRole(s string) place.Role {
	switch strings.ToLower(s) {
	case "stopped":
		return place.Stopped
	case "unpromoted", "slave":
		if r.promotable() {
			return place.Replica
		}
	}
	return place.Any
}

// clone returns the clone that the resource is or is in, nil if there is none.
func (r *resource) clone() *resource {
	for p := r; p != nil; p = p.parent {
		if p.kind == place.Copies || p.elem.Name == "clone" || p.elem.Name == "master" {
			return p
		}
	}
	return nil
}

func (r *resource) promotable() bool {
	c := r.clone()
	return c != nil && (c.elem.Name == "master" || clause.Truth(c.meta.Get("promotable")))
}

// anonymous reports whether the resource is in a clone whose instances are all
// the same.
func (r *resource) anonymous() bool {
	c := r.clone()
	return c != nil && c != r && !clause.Truth(c.meta.Get("globally-unique"))
}

// leaves returns the primitives of the resource, in order.
func (r *resource) leaves() []*resource {
	if r.kind == place.One {
		return []*resource{r}
	}
	var out []*resource
	for _, c := range r.children {
		out = append(out, c.leaves()...)
	}
	return out
}

// active reports whether anything of the resource runs.
func (r *resource) active() bool {
	return slices.ContainsFunc(r.leaves(), func(l *resource) bool { return len(l.at) > 0 })
}

// is on reports whether the resource runs on the node.
func (r *resource) on(n *node) bool { return slices.Contains(r.at, n) }
