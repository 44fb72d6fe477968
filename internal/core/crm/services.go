package crm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/core/step"
	"github.com/keelson/keelson/internal/model/cib"
	"github.com/keelson/keelson/internal/model/spec"
)

// Import writes services for what of a cluster's configuration they can say, and
// a note for everything that they do not. A group becomes one service whose parts
// are its members. A resource whose agent has no counterpart among the kinds of
// parts is left out, with a note.
func Import(root *cib.Element, now time.Time) ([]spec.Service, []string) {
	d := configured(root, now, true)
	d.strangers(root.Child("status"))
	constraints := root.Child("configuration").Child("constraints")
	d.readLocations(constraints)
	w := &writer{document: d, names: map[*resource]spec.ServiceName{}, services: map[*resource]*spec.Service{}}
	for _, r := range d.top {
		if !r.orphan {
			w.service(r)
		}
	}
	w.placing()
	for _, c := range d.readColocations(constraints) {
		w.colocation(c)
	}
	for _, o := range d.readOrders(constraints) {
		w.order(o)
	}
	w.cluster()
	w.leftovers()
	var out []spec.Service
	for _, r := range d.top {
		if s := w.services[r]; s != nil {
			out = append(out, *s)
		}
	}
	return out, d.not
}

// writer turns resources into services.
type writer struct {
	*document
	names    map[*resource]spec.ServiceName
	services map[*resource]*spec.Service
}

// service writes one resource that is in no other.
func (w *writer) service(r *resource) {
	name := w.name(r)
	if r.agent.Attr("class") == "stonith" {
		w.note("primitive %s: fence devices are left out", r.id)
		return
	}
	s := &spec.Service{Name: name, Priority: max(-spec.MaxPriority, min(spec.MaxPriority, r.priority))}
	members := w.distinct(r)
	for _, m := range members {
		part, ok := w.part(m)
		if !ok {
			if r.kind != place.One {
				w.note("%s %s: it is left out, with all that is in it", r.elem.Name, r.id)
			}
			return
		}
		s.Parts = append(s.Parts, part)
	}
	if len(members) == 0 {
		w.note("%s %s: it is empty", r.elem.Name, r.id)
		return
	}
	if r.kind == place.Copies {
		s.Copies = &spec.Copies{Count: min(r.set.Max, spec.MaxCopies), PerNode: r.set.PerNode, Unique: r.set.Unique, Primaries: r.set.Primaries}
		if r.set.Primaries > spec.MaxPrimaries {
			w.note("%s %s: it has %d primaries, and %d are the most", r.elem.Name, r.id, r.set.Primaries, spec.MaxPrimaries)
			s.Copies.Primaries = spec.MaxPrimaries
		}
		if !r.meta.Has("clone-max") {
			s.Copies.Count = 0
		}
		if r.set.PerNode == 1 {
			s.Copies.PerNode = 0
		}
	}
	s.Stopped = r.target == place.Stopped
	s.Maintenance = r.unmanaged
	sticky := min(spec.MaxScore, max(0, r.sticky))
	s.Place.Stickiness = &sticky
	if r.threshold < place.Inf && r.threshold > 0 {
		n := min(spec.MaxRestarts, r.threshold-1)
		s.Failover.Restarts = &n
	}
	if r.expiry >= spec.MinWithin && r.expiry <= spec.MaxWithin {
		s.Failover.Within = spec.Duration(r.expiry)
	} else if r.expiry > 0 {
		w.note("%s %s: its failure-timeout=%s is left out: it is not between %s and %s", r.elem.Name, r.id, r.meta.Get("failure-timeout"), spec.MinWithin, spec.MaxWithin)
	}
	for _, m := range members {
		w.demands(s, m)
		w.operations(m)
		w.settings(m, r)
	}
	w.settings(r, r)
	w.services[r] = s
}

// name makes a service's name of a resource's id.
func (w *writer) name(r *resource) spec.ServiceName {
	text := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return c
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return '-'
	}, r.id)
	text = strings.Trim(text, "-")
	if text == "" {
		text = "service"
	}
	text = strings.Trim(text[:min(len(text), spec.MaxName-4)], "-")
	name := text
	for n := 2; slices.ContainsFunc(w.top, func(o *resource) bool { return w.names[o] == spec.ServiceName(name) }); n++ {
		name = fmt.Sprintf("%s-%d", text, n)
	}
	w.names[r] = spec.ServiceName(name)
	return spec.ServiceName(name)
}

// part writes a primitive as a part.
func (w *writer) part(r *resource) (spec.Part, bool) {
	class, kind := r.agent.Attr("class"), r.agent.Attr("type")
	if class == "ocf" && (kind == "IPaddr2" || kind == "IPaddr") {
		bits := r.params.Get("cidr_netmask")
		ip, err := netip.ParseAddr(r.params.Get("ip"))
		if err == nil {
			length := ip.BitLen()
			if bits != "" {
				length = clause.Number(bits, length)
			}
			if prefix, err := ip.Prefix(length); err == nil {
				w.params(r, "ip", "cidr_netmask", "nic")
				return spec.Part{Address: &spec.Address{
					Prefix: fmt.Sprintf("%s/%d", ip, prefix.Bits()), Interface: r.params.Get("nic"),
				}}, true
			}
		}
		w.note("primitive %s: its address %q is not understood", r.base, r.params.Get("ip"))
		return spec.Part{}, false
	}
	if class == "ocf" && kind == "anything" && strings.HasPrefix(r.params.Get("binfile"), "/") {
		w.params(r, "binfile", "cmdline_options", "user", "workdir")
		return spec.Part{Exec: &spec.Exec{
			Command: append([]string{r.params.Get("binfile")}, strings.Fields(r.params.Get("cmdline_options"))...),
			User:    r.params.Get("user"), Dir: r.params.Get("workdir"),
		}}, true
	}
	agent := strings.Trim(class+":"+r.agent.Attr("provider")+":"+kind, ":")
	w.note("primitive %s: no kind of part does what %s does, so its service is not written", r.base, strings.ReplaceAll(agent, "::", ":"))
	return spec.Part{}, false
}

// params notes the parameters of a resource that are not taken over.
func (w *writer) params(r *resource, known ...string) {
	for _, k := range r.params.Names() {
		if !slices.Contains(known, k) {
			w.note("primitive %s: its parameter %s is left out", r.base, k)
		}
	}
}

// demands adds what a resource uses of the nodes' capacity, if the cluster counts it.
func (w *writer) demands(s *spec.Service, r *resource) {
	if names := r.demand.Names(); w.options.placement == "default" && len(names) > 0 {
		w.note("primitive %s: its utilization (%s) is left out: placement-strategy is default, so the cluster does not count it", r.base, strings.Join(names, ", "))
		return
	}
	for _, unit := range r.demand.Names() {
		n := clause.Number(r.demand[unit], 0)
		if n <= 0 {
			continue
		}
		if s.Needs == nil {
			s.Needs = map[string]int{}
		}
		s.Needs[unit] += n
	}
}

// operations notes what the operations say that services do not.
func (w *writer) operations(r *resource) {
	for _, op := range (&replay{document: w.document, r: r}).configuredOps() {
		if v := op.Attr("on-fail"); v != "" && v != "restart" {
			w.note("primitive %s: on-fail=%s of %s is left out", r.base, v, op.Attr("name"))
		}
		w.operation(r, op)
	}
}

// placing writes the locations.
func (w *writer) placing() {
	for _, l := range w.locations {
		s := w.services[l.resource]
		if s == nil {
			w.note("rsc_location %s: it is left out, with %s", l.name, l.resource.id)
			continue
		}
		for _, n := range w.nodes {
			v, named := l.by[n]
			name := spec.NodeName(strings.ToLower(n.name))
			switch {
			case !named || v == 0:
			case l.primary:
				s.Place.Prefer = append(s.Place.Prefer, spec.Preference{Node: name, Score: v, Role: spec.RolePrimary})
			case v <= -place.Inf:
				if !slices.Contains(s.Place.Never, name) {
					s.Place.Never = append(s.Place.Never, name)
				}
			default:
				s.Place.Prefer = append(s.Place.Prefer, spec.Preference{Node: name, Score: v})
			}
		}
	}
}

func roleOf(r place.Role) spec.Role {
	switch r {
	case place.Primary:
		return spec.RolePrimary
	case place.Replica:
		return spec.RoleReplica
	default:
	}
	return ""
}

func (w *writer) colocation(c pull) {
	item, with := w.services[c.item.outer()], w.services[c.with.outer()]
	switch {
	case item == nil || with == nil:
		w.note("rsc_colocation %s: it is left out, with what it is about", c.name)
		return
	case item == with:
		w.note("rsc_colocation %s: it is left out: %s and %s are parts of one service", c.name, c.item.id, c.with.id)
		return
	case c.score == 0:
		w.note("rsc_colocation %s: its score of 0 changes nothing", c.name)
		return
	}
	w.widened("rsc_colocation "+c.name, c.item, c.with)
	if strings.HasPrefix(c.attribute, "#") && c.attribute != "#uname" && c.attribute != "#id" {
		w.note("rsc_colocation %s: its node-attribute %s is left out, so it is about nodes", c.name, c.attribute)
	}
	item.Place.Near = append(item.Place.Near, spec.Near{
		Service: with.Name, Score: c.score, Role: roleOf(c.withRole), As: roleOf(c.itemRole), Same: labelOf(c.attribute),
	})
	if c.weak {
		w.note("rsc_colocation %s: that it has no influence (influence, critical) is left out", c.name)
	}
}

func labelOf(attribute string) string {
	if strings.HasPrefix(attribute, "#") {
		return ""
	}
	return attribute
}

// widened notes what is about a part and written for its whole service.
func (w *writer) widened(what string, about ...*resource) {
	for _, r := range about {
		if o := r.outer(); o != r {
			w.note("%s: it is about %s, and is written for all of %s", what, r.base, o.base)
		}
	}
}

// outer is the resource at the top that r is in.
func (r *resource) outer() *resource {
	for r.parent != nil {
		r = r.parent
	}
	return r
}

func (w *writer) order(o order) {
	then := w.services[o.then.outer()]
	for _, f := range o.first {
		first := w.services[f.outer()]
		switch {
		case then == nil || first == nil:
			w.note("rsc_order %s: %s before %s is left out, with what it is about", o.name, f.id, o.then.id)
		case then == first:
			w.note("rsc_order %s: %s before %s is left out: they are parts of one service", o.name, f.id, o.then.id)
		case o.rule.Any || o.rule.Least > 0 || o.rule.Apart || o.rule.FirstDo != step.Start && o.rule.FirstDo != step.Promote || o.rule.ThenDo != step.Start:
			w.note("rsc_order %s: services cannot say it of %s before %s", o.name, f.id, o.then.id)
		default:
			after := spec.After{Service: first.Name, Optional: o.rule.Optional, OneWay: !o.rule.Symmetric}
			if o.rule.FirstDo == step.Promote {
				after.Role = spec.RolePrimary
			}
			then.After = append(then.After, after)
			w.widened("rsc_order "+o.name, f, o.then)
		}
	}
}
