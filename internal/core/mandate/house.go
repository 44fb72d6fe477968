package mandate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// noTurn is what an instance waits for that has not asked to come.
const noTurn = "its turn"

// Guest is an instance that a node knows of, whether it is there or not.
type Guest struct {
	Name instance.Name
	Run  record.Service // as it runs, or as it would
	// There: any of it may run. Coming: it may start as soon as it is let in, see
	// [View.Coming]. Let: nothing held it back when [House.Enter] was asked last.
	There, Coming, Let bool
}

// House is who is on this node, or on the way there: it keeps those out that must not
// be there at once with them, and those for whom there is no room. Make one with
// [View.House] whenever anything changed, and ask it for every instance in the order
// of [House.Guests]. It belongs to one goroutine.
//
// The order of a plan, in which what leaves a node goes before what comes, holds
// without anybody's reading the plan: what runs here is known here at first hand. Nor
// does it need the plan to be good. What comes of itself after two failures at once
// waits likewise, until it is decided who gives way.
//
// Nobody waits for good: who stays is left to the plan, which counts what does not
// stop as there, and what is there is gone when it has stopped.
type House struct {
	view   *View
	guests []Guest
	in     map[instance.Name]*spec.Service // who is here or was let in
	kept   map[instance.Name]*spec.Service // for whom a place is kept, since the placement wants them here
	foes   map[spec.ServiceName][]spec.ServiceName
	kinds  map[string]bool // of units of which some node says how much it has
}

// Coming reports whether an instance may start here as soon as it is let in: it has
// its lease, or its place if it needs none. held: the guard shows its lease.
func (v *View) Coming(name instance.Name, d *Doing, held bool) bool {
	s := v.Services[name.Service()]
	if d.Takes || s == nil || s.Spec.Copies == nil {
		return d.Takes || held
	}
	return v.meant(name)
}

// meant reports whether the placement wants an instance here.
func (v *View) meant(name instance.Name) bool {
	p := v.Placements[name.Service()]
	if len(p.Copies) == 0 {
		return len(p.Order) > 0 && p.Order[0] == v.Self
	}
	return slices.ContainsFunc(p.Copies, func(c record.Copy) bool { return c.Node == v.Self && c.Number == name.Number() })
}

// House returns who is here, given all instances that this node knows of.
func (v *View) House(guests []Guest) *House {
	h := &House{view: v, guests: guests, in: make(map[instance.Name]*spec.Service), kept: make(map[instance.Name]*spec.Service)}
	h.foes, h.kinds = v.foes(), v.kinds()
	slices.SortFunc(h.guests, func(a, b Guest) int {
		return cmp.Or(first(v.meant(a.Name), v.meant(b.Name)), cmp.Compare(h.specOf(&b).Priority, h.specOf(&a).Priority), cmp.Compare(a.Name, b.Name))
	})
	for i := range h.guests {
		if g := &h.guests[i]; g.There || g.Coming && g.Let {
			h.in[g.Name] = h.specOf(g)
		}
	}
	return h
}

// Guests are all that the house was made of, in the order in which they are let in:
// those that the placement wants here, then by priority, then by name.
func (h *House) Guests() []Guest { return h.guests }

// specOf is the spec that counts for a guest: the one in force, or the one that it
// runs by if there is none any more.
func (h *House) specOf(g *Guest) *spec.Service {
	if s := h.view.Services[g.Name.Service()]; s != nil {
		return &s.Spec
	}
	return &g.Run.Spec
}

// foes are the services that must not be on this node with each other, both ways.
func (v *View) foes() map[spec.ServiceName][]spec.ServiceName {
	var out map[spec.ServiceName][]spec.ServiceName
	add := func(a, b spec.ServiceName) {
		if a == b {
			return
		}
		if out == nil {
			out = make(map[spec.ServiceName][]spec.ServiceName)
		}
		out[a], out[b] = append(out[a], b), append(out[b], a)
	}
	for name, s := range v.Services {
		for _, other := range s.Spec.Place.Shunned(v.Nodes[v.Self].Labels) {
			add(name, other)
		}
	}
	return out
}

// kinds are the units that bound who may be where: those of which a node says how
// much it has. Of those the others have none.
func (v *View) kinds() map[string]bool {
	var out map[string]bool
	for _, n := range v.Nodes {
		for label := range n.Labels {
			if kind, is := strings.CutPrefix(label, spec.CapacityLabel+"/"); is {
				if out == nil {
					out = make(map[string]bool)
				}
				out[kind] = true
			}
		}
	}
	return out
}

// Enter lets a guest in, or says what it has to wait for. To who is here it says what
// would be waited for after a stop.
func (h *House) Enter(g *Guest) string {
	s := h.view.Services[g.Name.Service()]
	switch {
	case s == nil || !h.minds(g.Name, &s.Spec):
		return ""
	case !g.Coming:
		return noTurn
	}
	meant, there := h.view.meant(g.Name), maps.Clone(h.in)
	delete(there, g.Name)
	if !meant {
		maps.Copy(there, h.kept)
	}
	wait := cmp.Or(crowd(there, g.Name, &s.Spec), h.hate(there, g.Name), h.want(there, &s.Spec))
	switch {
	case g.There:
	case wait == "":
		h.in[g.Name] = &s.Spec
	default:
		delete(h.in, g.Name)
		if meant {
			h.kept[g.Name] = &s.Spec
		}
	}
	return wait
}

// minds reports whether it matters to an instance who else is here.
func (h *House) minds(name instance.Name, s *spec.Service) bool {
	if s.Copies != nil && name.Number() > 0 || len(h.foes[s.Name]) > 0 {
		return true
	}
	for kind, need := range s.Needs {
		if need > 0 && h.kinds[kind] {
			return true
		}
	}
	return false
}

// crowd says that as many copies of a service are here as may share a node.
func crowd(there map[instance.Name]*spec.Service, name instance.Name, s *spec.Service) string {
	if s.Copies == nil || name.Number() == 0 {
		return ""
	}
	others := those(there, func(o instance.Name) bool { return o.Service() == s.Name })
	if len(others) < max(s.Copies.PerNode, 1) {
		return ""
	}
	return strings.Join(others, " or ") + " to stop here"
}

// hate says that somebody is here who must not be here with a service.
func (h *House) hate(there map[instance.Name]*spec.Service, name instance.Name) string {
	foes := h.foes[name.Service()]
	if len(foes) == 0 {
		return ""
	}
	others := those(there, func(o instance.Name) bool { return slices.Contains(foes, o.Service()) })
	if len(others) == 0 {
		return ""
	}
	return strings.Join(others, " and ") + " to stop here"
}

// want says of what there is too little for a service beside those who are here.
func (h *House) want(there map[instance.Name]*spec.Service, s *spec.Service) string {
	for _, kind := range slices.Sorted(maps.Keys(s.Needs)) {
		need := s.Needs[kind]
		if need <= 0 || !h.kinds[kind] {
			continue
		}
		used := 0
		for _, by := range there {
			used += by.Needs[kind]
		}
		// A node that says nothing has none.
		has, _ := strconv.Atoi(h.view.Nodes[h.view.Self].Labels[spec.CapacityLabel+"/"+kind])
		if used+need <= has {
			continue
		}
		leaving := those(there, func(o instance.Name) bool { return !h.view.meant(o) && there[o].Needs[kind] > 0 })
		if len(leaving) > 0 {
			return fmt.Sprintf("%s to stop here, for its %d of %s", strings.Join(leaving, " and "), need, kind)
		}
		return fmt.Sprintf("%d of %s to be free here", need, kind)
	}
	return ""
}

// those are the names of some of those who are here, sorted.
func those(there map[instance.Name]*spec.Service, are func(instance.Name) bool) []string {
	var out []string
	for name := range there {
		if are(name) {
			out = append(out, string(name))
		}
	}
	slices.Sort(out)
	return out
}
