package crm

import (
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/core/step"
	"github.com/keelson/keelson/internal/model/cib"
)

// Seat is where instances of a resource run: how many of one role on one node.
type Seat struct {
	Count int    `json:"count"`
	Node  string `json:"node"`
	Role  string `json:"role"`
}

// Outcome is what an imported cluster is and what it would become.
type Outcome struct {
	// Before and After, by resource as the configuration names it, are sorted by
	// node and role. A resource that runs nowhere has an empty list.
	Before map[string][]Seat `json:"before"`
	After  map[string][]Seat `json:"after"`
	// Nodes says how each node is before.
	Nodes map[string]string `json:"nodes"`
	// Steps are what would be done, in the order of the waves.
	Steps []string `json:"steps"`
	// Why says of each resource that cannot be where it should what is in its way.
	Why map[string]string `json:"why,omitempty"`
	// Not lists what of the document is not understood.
	Not []string `json:"not_understood,omitempty"`
}

// Simulate decides on a cluster at the time now, unless the document says
// itself for when it is to be decided on.
func Simulate(root *cib.Element, now time.Time) Outcome {
	d := open(root, now)
	p := d.compile()
	p.Placed = place.Solve(p.Place)
	result := step.Plan(p)
	out := Outcome{
		Before: map[string][]Seat{}, After: map[string][]Seat{}, Nodes: map[string]string{}, Why: map[string]string{}, Not: d.not,
	}
	for _, n := range d.nodes {
		out.Nodes[n.name] = n.status()
	}
	acted := make([]bool, len(d.all))
	for _, s := range result.Steps {
		if s.Item != place.Nowhere {
			acted[s.Item] = true
		}
	}
	for _, r := range d.all {
		if r.kind != place.One {
			continue
		}
		before := make([]step.Seat, 0, len(r.at))
		for _, n := range r.at {
			before = append(before, step.Seat{Node: n.index, Role: r.role})
		}
		d.enter(out.Before, r, before, r.failed)
		d.enter(out.After, r, result.Final[r.item], r.failed && !acted[r.item] && !d.checkedAgain(r))
		if why := result.Blocked[r.item]; why != "" {
			out.Why[r.id] = why
		}
	}
	for _, wave := range step.Waves(result.Steps, 0) {
		for _, i := range wave {
			out.Steps = append(out.Steps, d.say(result.Steps[i]))
		}
	}
	return out
}

// checkedAgain reports whether a resource that failed its check is left alone and
// goes on being checked, so that the failure is forgotten.
func (d *document) checkedAgain(r *resource) bool {
	maintained := d.options.maintenance || clause.Truth(r.meta.Get("maintenance")) ||
		slices.ContainsFunc(r.at, func(n *node) bool { return n.maintenance })
	standby := slices.ContainsFunc(r.at, func(n *node) bool { return n.failStandby })
	if d.options.fencing && !d.options.devices && !d.seated(r) {
		return false
	}
	return r.failedCheck && !r.blocked && !maintained && !standby && (r.next != place.Stopped || r.target == place.Stopped) && d.quorumLimit(r) == place.Any
}

// seated reports whether a resource has its place where it runs, for where nothing is
// managed for want of a device only what has is checked on.
func (d *document) seated(r *resource) bool {
	if c := r.clone(); c != nil && c != r {
		running := 0
		for _, one := range c.children {
			if one.active() {
				running++
			}
		}
		if running > c.set.Max || len(c.bans) > 0 {
			return false
		}
	}
	frozen := !d.options.quorum && d.options.quorumPolicy == "freeze"
	return !frozen && len(r.bans) == 0 && !slices.ContainsFunc(r.at, func(n *node) bool { return !n.open() })
}

func (d *document) say(s step.Step) string {
	words := []string{s.Verb.String()}
	if s.Item != place.Nowhere {
		words = append(words, d.all[s.Item].id, "on")
	}
	return strings.Join(append(words, d.nodes[s.Node].name), " ")
}

// enter adds seats to those of the resource. Of a replica that has failed no
// more is told than that it was started.
func (d *document) enter(to map[string][]Seat, r *resource, seats []step.Seat, failed bool) {
	name := r.base
	if r.clone() != nil && !r.anonymous() {
		name = r.id
	}
	list := to[name]
	if list == nil {
		list = []Seat{}
	}
	for _, s := range seats {
		role := s.Role
		if failed && role == place.Replica {
			role = place.Started
		}
		seat := Seat{1, d.nodes[s.Node].name, roleText(role)}
		at := slices.IndexFunc(list, func(o Seat) bool { return o.Node == seat.Node && o.Role == seat.Role })
		if at >= 0 {
			list[at].Count++
			continue
		}
		list = append(list, seat)
	}
	slices.SortFunc(list, func(a, b Seat) int {
		if c := strings.Compare(a.Node, b.Node); c != 0 {
			return c
		}
		return strings.Compare(a.Role, b.Role)
	})
	to[name] = list
}

func roleText(r place.Role) string {
	switch r {
	case place.Primary:
		return "Promoted"
	case place.Replica:
		return "Unpromoted"
	case place.Stopped:
		return "Stopped"
	default:
	}
	return "Started"
}

// status is one word for the node.
func (n *node) status() string {
	switch {
	case n.unclean:
		return "unclean"
	case n.pending:
		return "pending"
	case !n.online:
		return "offline"
	case n.maintenance:
		return "maintenance"
	case n.standby:
		return "standby"
	}
	return "online"
}
