package crm

import (
	"regexp"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/core/step"
	"github.com/keelson/keelson/internal/model/cib"
)

// location is what speaks for and against nodes.
type location struct {
	resource *resource
	by       map[*node]int
	primary  bool // for the primary role alone
	name     string
}

// resources returns those that a reference means: a resource, the users of a
// template, or what a tag names.
func (d *document) resources(ref string) []*resource { return d.named(ref, maxNested) }

// maxNested bounds how deep tags name tags.
const maxNested = 8

func (d *document) named(ref string, left int) []*resource {
	if ref == "" {
		return nil
	}
	if r := d.byName[ref]; r != nil {
		return []*resource{d.whole(r)}
	}
	var out []*resource
	for _, r := range d.top {
		for _, leaf := range d.distinct(r) {
			if leaf.elem.Attr("template") == ref {
				out = append(out, d.whole(leaf))
			}
		}
	}
	for _, name := range d.tags[ref] {
		if left > 0 && len(out) < maxResources {
			out = append(out, d.named(name, left-1)...)
		}
	}
	return out
}

// distinct returns the primitives of a resource as the configuration has them.
func (d *document) distinct(r *resource) []*resource {
	if r.kind == place.Copies && len(r.children) > 0 {
		return r.children[0].leaves()
	}
	return r.leaves()
}

// whole returns the clone for what is in it, since its parts have no rules of
// their own.
func (d *document) whole(r *resource) *resource {
	if c := r.clone(); c != nil && !strings.Contains(r.id, ":") {
		return c
	}
	if c := r.clone(); c != nil && c != r && !c.set.Unique {
		return c
	}
	return r
}

func (d *document) readLocations(e *cib.Element) {
	for _, c := range e.All("rsc_location") {
		if !d.alive(c) {
			continue
		}
		found := 0
		each := func(about []*resource, set *cib.Element) {
			for _, r := range about {
				d.readLocation(c, r, set)
			}
			found += len(about)
		}
		switch {
		case c.Child("resource_set") != nil:
			for _, set := range c.All("resource_set") {
				each(d.members(set), d.Refer(set))
			}
		case c.Has("rsc"):
			each(d.resources(c.Attr("rsc")), nil)
		default:
			each(d.matching(c.ID(), c.Attr("rsc-pattern")), nil)
		}
		if found == 0 {
			d.note("rsc_location %s: it names no known resource", c.ID())
		}
		if v := c.Attr("resource-discovery"); v != "" && v != "always" {
			d.note("rsc_location %s: resource-discovery is left out", c.ID())
		}
	}
}

// alive reports whether a constraint counts now. What lasts only for a time is left
// out where only what lasts is asked for, and noted.
func (d *document) alive(c *cib.Element) bool {
	life := c.Child("lifetime")
	rules := life.All("rule")
	switch {
	case life == nil:
		return true
	case d.Skip != nil:
		d.note("%s %s: it has a lifetime, so it is left out", c.Name, c.ID())
		return false
	}
	return len(rules) == 0 || slices.ContainsFunc(rules, func(r *cib.Element) bool { return d.Holds(r, nil) })
}

// maxPattern bounds a pattern, in bytes.
const maxPattern = 1024

// matching returns the resources at the top whose name a pattern finds; one that
// begins with "!" finds all others.
func (d *document) matching(id, pattern string) []*resource {
	text, others := strings.CutPrefix(pattern, "!")
	find, err := regexp.CompilePOSIX(text)
	if err != nil || len(text) == 0 || len(text) > maxPattern {
		d.note("rsc_location %s: its pattern %q cannot be read", id, clip(pattern))
		return nil
	}
	var out []*resource
	for _, r := range d.top {
		if find.MatchString(r.base) != others {
			out = append(out, r)
		}
	}
	return out
}

func clip(s string) string { return s[:min(len(s), maxPattern)] }

// members returns the resources of a set, in order.
func (d *document) members(set *cib.Element) []*resource {
	set = d.Refer(set)
	var out []*resource
	for _, ref := range set.All("resource_ref") {
		out = append(out, d.resources(ref.ID())...)
	}
	return out
}

// readLocation reads what a constraint says of one resource. The set that names the
// resource, if one does, says first how much and of which role.
func (d *document) readLocation(c *cib.Element, r *resource, set *cib.Element) {
	if c.Has("node") {
		score, role := c.Attr("score"), c.Attr("role")
		if set.Has("score") {
			score = set.Attr("score")
		}
		if set.Has("role") {
			role = set.Attr("role")
		}
		n := d.nodeNamed(c.Attr("node"))
		switch {
		case n == nil:
			d.note("rsc_location %s: there is no node %s", c.ID(), c.Attr("node"))
		case score == "":
			d.note("rsc_location %s: it has no score, so it says nothing", c.ID())
		default:
			d.locate(r, map[*node]int{n: clause.Score(score, 0)}, role, c.ID())
		}
		return
	}
	rules := c.All("rule")
	if len(rules) == 0 {
		d.note("rsc_location %s: it has neither a node nor a rule, so it says nothing", c.ID())
	}
	for _, rule := range rules {
		if d.Skip != nil {
			if why := d.passing(rule, true, maxNested); why != "" {
				d.note("rsc_location %s: its rule asks for %s, so it is left out", c.ID(), why)
				continue
			}
			d.note("rsc_location %s: its rule is written as what it gives for the nodes that the configuration has", c.ID())
		}
		d.readRule(c, d.Refer(rule), r)
	}
}

// readRule locates a resource by a rule.
func (d *document) readRule(c, rule *cib.Element, r *resource) {
	by := map[*node]int{}
	for _, n := range d.nodes {
		if !d.Holds(rule, about(n, r)) {
			continue
		}
		value := clause.Score(rule.Attr("score"), 0)
		if name := rule.Attr("score-attribute"); name != "" {
			got, has := n.attribute(name)
			if !has {
				continue
			}
			value = clause.Score(got, 0)
		} else if !rule.Has("score") {
			value = place.Inf
		}
		by[n] = value
	}
	role := rule.Attr("role")
	if role == "" {
		role = c.Attr("role")
	}
	d.locate(r, by, role, c.ID())
}

// locate adds a location. One for a role that every instance has on its way to
// being primary is one for all roles.
func (d *document) locate(r *resource, by map[*node]int, role, name string) {
	switch strings.ToLower(role) {
	case "promoted", "master":
		d.locations = append(d.locations, location{r, by, true, name})
	case "stopped":
	default:
		d.locations = append(d.locations, location{r, by, false, name})
	}
}

// roleNamed reads a role in a rule.
func roleNamed(s string) place.Role {
	switch strings.ToLower(s) {
	case "promoted", "master":
		return place.Primary
	case "unpromoted", "slave":
		return place.Replica
	case "started":
		return place.Any
	case "stopped":
		return place.Stopped
	}
	return place.Any
}

// pull is a colocation.
type pull struct {
	name               string
	item, with         *resource
	score              int
	itemRole, withRole place.Role
	attribute          string
	influence          string
	weak               bool // what it is with pays no heed to it while it runs
}

func (d *document) readColocations(e *cib.Element) []pull {
	var out []pull
	for _, c := range e.All("rsc_colocation") {
		if !d.alive(c) {
			continue
		}
		base := pull{name: c.ID(), score: clause.Score(c.Attr("score"), 0), attribute: c.Attr("node-attribute"), influence: c.Attr("influence")}
		if !c.Has("score") && c.Child("resource_set") != nil {
			base.score = place.Inf
		}
		if c.Child("resource_set") != nil {
			out = append(out, d.colocateSets(c, base)...)
			continue
		}
		if d.byName[c.Attr("rsc")] == nil && d.byName[c.Attr("with-rsc")] == nil {
			d.note("rsc_colocation %s: it names two templates or tags, which has no effect there", c.ID())
			continue
		}
		items, withs := d.resources(c.Attr("rsc")), d.resources(c.Attr("with-rsc"))
		if len(items) == 0 || len(withs) == 0 {
			d.note("rsc_colocation %s: it names no known resource", c.ID())
		}
		for _, i := range items {
			for _, w := range withs {
				one := base
				one.item, one.with, one.weak = i, w, !clause.IsSet(base.influence, i.critical)
				one.itemRole, one.withRole = roleNamed(c.Attr("rsc-role")), roleNamed(c.Attr("with-rsc-role"))
				out = append(out, one)
			}
		}
	}
	return out
}

// colocateSets spells out a colocation of sets: within a set each goes with the
// one before it, and the first of a set with the last of the next.
func (d *document) colocateSets(c *cib.Element, base pull) []pull {
	var out []pull
	base.attribute = ""
	score := base.score
	add := func(i, w *resource, iRole, wRole place.Role) {
		one := base
		one.score = score
		one.item, one.with, one.itemRole, one.withRole = i, w, iRole, wRole
		one.weak = !clause.IsSet(base.influence, i.critical)
		out = append(out, one)
	}
	sets := c.All("resource_set")
	for k, set := range sets {
		set = d.Refer(set)
		role := roleNamed(set.Attr("role"))
		members := d.members(set)
		if score = clause.Score(set.Attr("score"), base.score); clause.IsSet(set.Attr("sequential"), true) && score != 0 {
			for m := 1; m < len(members); m++ {
				if score < 0 {
					for _, earlier := range members[:m] {
						add(members[m], earlier, role, role)
					}
					continue
				}
				i, w := members[m], members[m-1]
				if o := set.Attr("ordering"); o != "" && o != "group" {
					i, w = w, i
				}
				add(i, w, role, role)
			}
		}
		score = base.score
		if k+1 >= len(sets) {
			continue
		}
		next := d.Refer(sets[k+1])
		from, to := d.ends(members, set, true), d.ends(d.members(next), next, false)
		for _, i := range from {
			for _, w := range to {
				add(i, w, role, roleNamed(next.Attr("role")))
			}
		}
	}
	return out
}

// ends returns the member of a set that stands for it, or all if they are equal.
func (d *document) ends(members []*resource, set *cib.Element, first bool) []*resource {
	if !clause.IsSet(set.Attr("sequential"), true) || len(members) == 0 {
		return members
	}
	if first {
		return members[:1]
	}
	return members[len(members)-1:]
}

// order is an ordering before resources have indexes.
type order struct {
	first []*resource
	then  *resource
	rule  step.Order
	name  string
}

func (d *document) readOrders(e *cib.Element) []order {
	var out []order
	for _, c := range e.All("rsc_order") {
		if !d.alive(c) {
			continue
		}
		base := kindOf(c, step.Order{})
		base.Symmetric = clause.IsSet(c.Attr("symmetrical"), !base.Apart)
		if c.Child("resource_set") != nil {
			out = append(out, d.orderSets(c, base)...)
			continue
		}
		base.FirstDo = verb(c.Attr("first-action"), step.Start)
		base.ThenDo = verb(c.Attr("then-action"), base.FirstDo)
		firsts, thens := d.resources(c.Attr("first")), d.resources(c.Attr("then"))
		if len(firsts) == 0 || len(thens) == 0 {
			d.note("rsc_order %s: it names no known resource", c.ID())
		}
		for _, f := range firsts {
			for _, t := range thens {
				one := base
				if f.kind == place.Copies && f.minimum == 0 && !clause.IsSet(c.Attr("require-all"), true) {
					one.Least = 1
				}
				out = append(out, order{[]*resource{f}, t, one, c.ID()})
			}
		}
	}
	return out
}

// kindOf reads how much an order, or a set of one, must be kept.
func kindOf(e *cib.Element, byDefault step.Order) step.Order {
	out := byDefault
	switch kind := strings.ToLower(e.Attr("kind")); {
	case kind == "" && !e.Has("score"):
		return byDefault
	case kind == "":
		out.Optional, out.Apart = clause.Score(e.Attr("score"), 0) == 0, false
	default:
		out.Optional, out.Apart = kind == "optional", kind == "serialize"
	}
	return out
}

func verb(s string, byDefault step.Verb) step.Verb {
	switch s {
	case "start":
		return step.Start
	case "stop":
		return step.Stop
	case "promote":
		return step.Promote
	case "demote":
		return step.Demote
	}
	return byDefault
}

// orderSets spells out an order of sets.
func (d *document) orderSets(c *cib.Element, base step.Order) []order {
	var out []order
	sets := c.All("resource_set")
	for k, set := range sets {
		set = d.Refer(set)
		do := verb(set.Attr("action"), step.Start)
		members := d.members(set)
		within := kindOf(set, base)
		within.FirstDo, within.ThenDo = do, do
		if clause.IsSet(set.Attr("sequential"), true) {
			for m := 1; m < len(members); m++ {
				out = append(out, order{members[m-1 : m], members[m], within, c.ID()})
			}
		}
		if k+1 >= len(sets) {
			continue
		}
		next := d.Refer(sets[k+1])
		across := base
		across.FirstDo, across.ThenDo = do, verb(next.Attr("action"), step.Start)
		if !clause.IsSet(set.Attr("require-all"), true) {
			any := across
			any.Any, any.Optional = true, false
			for _, t := range d.members(next) {
				out = append(out, order{members, t, any, c.ID()})
			}
			continue
		}
		froms := d.ends(members, set, false)
		for _, t := range d.ends(d.members(next), next, true) {
			for m := range froms {
				out = append(out, order{froms[m : m+1], t, across, c.ID()})
			}
		}
	}
	return out
}
