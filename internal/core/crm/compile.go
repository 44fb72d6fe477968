package crm

import (
	"slices"
	"sort"
	"strconv"

	"github.com/keelson/keelson/internal/core/crm/clause"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/core/step"
)

// compile turns the document into the languages of the engines. Steps' Placed
// is empty.
func (d *document) compile() step.Problem {
	constraints := d.root.Child("configuration").Child("constraints")
	d.readLocations(constraints)
	d.otherConstraints(constraints)
	d.unheeded()
	p := place.Problem{Ties: d.ties()}
	p.Heed = d.options.placement != "default"
	p.SortByScore = p.Heed
	p.StopAll = d.options.stopAll
	p.Freeze = !d.options.quorum && d.options.quorumPolicy == "freeze"
	units := d.units()
	for _, n := range d.nodes {
		p.Nodes = append(p.Nodes, place.Node{Name: n.name, Open: n.open(), Room: amounts(n.utilization, units)})
	}
	for i, r := range d.all {
		r.item = i
	}
	out := step.Problem{}
	for _, r := range d.all {
		p.Items = append(p.Items, d.item(r, units))
		out.Mays = append(out.Mays, d.may(r))
	}
	d.score(&p)
	for _, c := range d.readColocations(constraints) {
		p.Pulls = append(p.Pulls, place.Pull{
			Name: c.name, Item: c.item.item, With: c.with.item, Score: c.score, ItemRole: c.itemRole, WithRole: c.withRole,
			Class: d.classes(c.attribute), Weak: c.weak && c.with.active(),
		})
	}
	for _, o := range d.readOrders(constraints) {
		rule := o.rule
		for _, f := range o.first {
			rule.First = append(rule.First, f.item)
			rule.Least = max(rule.Least, f.minimum)
		}
		rule.Then = o.then.item
		out.Orders = append(out.Orders, rule)
	}
	out.Place = p
	managed := slices.ContainsFunc(d.all, func(r *resource) bool { return !r.unmanaged })
	for _, n := range d.nodes {
		fenced := (n.unclean || d.stranded(n)) && managed && d.canFence(n)
		out.Nodes = append(out.Nodes, step.Node{Reached: n.online && !n.unclean && !n.pending, Fenced: fenced})
	}
	return out
}

func (d *document) ties() []place.Tie {
	switch d.options.placement {
	case "minimal":
		return nil
	case "balanced":
		return []place.Tie{place.ByRoom, place.ByCount, place.ByStay}
	}
	return []place.Tie{place.ByCount, place.ByStay}
}

// units returns the kinds of capacity that are used.
func (d *document) units() []string {
	var out []string
	add := func(a clause.Attrs) {
		for k := range a {
			if !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	for _, n := range d.nodes {
		add(n.utilization)
	}
	for _, r := range d.all {
		add(r.demand)
	}
	sort.Strings(out)
	return out
}

func amounts(a clause.Attrs, units []string) []int {
	out := make([]int, len(units))
	for i, u := range units {
		out[i] = clause.Number(a[u], 0)
	}
	return out
}

// classes tells which nodes share the value of an attribute.
func (d *document) classes(attribute string) []int {
	if attribute == "" || attribute == "#uname" || attribute == "#id" {
		return nil
	}
	var values []string
	out := make([]int, len(d.nodes))
	for i, n := range d.nodes {
		v, has := n.attribute(attribute)
		if !has {
			out[i] = -1
			continue
		}
		at := slices.Index(values, v)
		if at < 0 {
			at = len(values)
			values = append(values, v)
		}
		out[i] = at
	}
	return out
}

func (d *document) item(r *resource, units []string) place.Item {
	item := place.Item{
		Name: r.id, Kind: r.kind, Parent: place.Nowhere, Priority: r.priority, Target: r.limit(), Set: r.set, Loose: r.loose,
		Score: make([]int, len(d.nodes)),
	}
	if r.kind == place.One {
		item.Demand = amounts(r.demand, units)
	}
	if r.parent != nil {
		item.Parent = r.parent.item
	}
	for _, c := range r.children {
		item.Children = append(item.Children, c.item)
	}
	item.Minor = !r.critical
	item.State = place.State{Role: r.role, Unmanaged: r.unmanaged, Blocked: r.blocked, Failed: r.failed}
	if d.options.fencing && !d.options.devices {
		item.State.Late = !item.State.Unmanaged && !item.State.Blocked
		item.State.Unmanaged = true
	}
	item.State.Known = d.knownOn(r)
	for _, n := range d.sorted(r.at) {
		item.State.At = append(item.State.At, n.index)
	}
	if r.kind == place.Copies {
		item.Set.Promotion, item.Set.Parts = d.promotions(r)
	}
	if limit := d.quorumLimit(r); limit != place.Any && !item.State.Unmanaged && (item.Target == place.Any || limit < item.Target) {
		item.Target = limit
	}
	return item
}

// sorted puts the node first that counts: one that is online and clean.
func (d *document) sorted(at []*node) []*node {
	out := slices.Clone(at)
	slices.SortStableFunc(out, func(a, b *node) int {
		good := func(n *node) bool { return n.online && !n.unclean }
		switch {
		case good(a) == good(b):
			return 0
		case good(a):
			return -1
		}
		return 1
	})
	return out
}

// limit is the role that the resource may have at most.
func (r *resource) limit() place.Role {
	if r.orphan {
		return place.Stopped
	}
	if r.next == place.Stopped || r.next == place.Replica {
		return r.next
	}
	return r.target
}

// quorumLimit is what the resource may be at most for want of quorum.
func (d *document) quorumLimit(r *resource) place.Role {
	if d.options.quorum || r.kind != place.One || r.needs == "nothing" {
		return place.Any
	}
	switch d.options.quorumPolicy {
	case "ignore", "freeze":
		return place.Any
	case "demote":
		if r.role == place.Replica || r.role == place.Primary {
			return place.Replica
		}
	}
	return place.Stopped
}

// stranded reports whether something is on a node that is gone without having said
// so: it cannot be stopped there.
func (d *document) stranded(n *node) bool {
	return !n.online && !n.pending && slices.ContainsFunc(d.all, func(r *resource) bool {
		return r.kind == place.One && !r.unmanaged && r.on(n)
	})
}

// unprobed reports whether the resource cannot start before it was looked for on a
// node that does not answer yet.
func (d *document) unprobed(r *resource) bool {
	return slices.ContainsFunc(d.nodes, func(n *node) bool {
		if !n.pending || r.unmanaged {
			return false
		}
		for _, leaf := range d.all {
			if leaf.base == r.base && leaf.known[n] {
				return false
			}
		}
		return true
	})
}

// frozen reports whether the resource may not start for want of quorum.
func (d *document) frozen(r *resource) bool {
	return !d.options.quorum && d.options.quorumPolicy == "freeze" && r.needs != "nothing" && len(r.at) == 0
}

// knownOn says where the resource's state was looked at.
func (d *document) knownOn(r *resource) []bool {
	out := make([]bool, len(d.nodes))
	for n := range r.known {
		out[n.index] = true
	}
	return out
}

// promotions returns what the agents said for being primary, by node; of a clone of
// a group, by member.
func (d *document) promotions(clone *resource) (whole []int, parts [][]int) {
	if len(clone.children) == 0 {
		return nil, nil
	}
	for _, leaf := range clone.children[0].leaves() {
		by := make([]int, len(d.nodes))
		for i, n := range d.nodes {
			by[i] = place.NoPromotion
			if s, ok := n.promotion(leaf.base); ok {
				by[i] = s
			}
		}
		parts = append(parts, by)
	}
	if clone.children[0].kind == place.One {
		return parts[0], nil
	}
	return nil, parts
}

// promotion returns the promotion score of a primitive on the node. An old
// history has the instance's number in its name.
func (n *node) promotion(base string) (int, bool) {
	for _, prefix := range [...]string{"promotion-", "master-"} {
		for _, e := range n.history.All("lrm_resource") {
			if b, _, numbered := clause.CutNumber(e.ID()); numbered && b == base {
				if v, ok := n.attributes[prefix+e.ID()]; ok {
					return clause.Score(v, 0), true
				}
			}
		}
		if v, ok := n.attributes[prefix+base]; ok {
			return clause.Score(v, 0), true
		}
		best, found := 0, false
		for i := range maxCopies {
			v, ok := n.attributes[prefix+base+":"+strconv.Itoa(i)]
			if !ok {
				if i > len(n.attributes) {
					break
				}
				continue
			}
			if s := clause.Score(v, 0); !found || s > best {
				best, found = s, true
			}
		}
		if found {
			return best, true
		}
	}
	return 0, false
}

// may says what speaks against starting a resource now.
func (d *document) may(r *resource) step.May {
	return step.May{NoStart: d.frozen(r) || d.unprobed(r), Restart: r.failed && !r.demotes(), Demote: r.failed && r.demotes()}
}

func (r *resource) demotes() bool { return r.onlyDemote }

// score adds up what speaks for and against each node.
func (d *document) score(p *place.Problem) {
	if !d.options.symmetric {
		for i := range p.Items {
			for n := range d.nodes {
				p.Items[i].Score[n] = unset
			}
		}
	}
	for _, l := range d.locations {
		d.applyLocation(p, l, l.resource, false)
	}
	d.within = map[string][]*resource{}
	for _, r := range d.all {
		if c := r.meta.Get("container"); c != "" && r.kind == place.One {
			d.within[c] = append(d.within[c], r)
		}
	}
	for _, n := range d.nodes {
		if n.base != 0 {
			for i := range p.Items {
				add(p, i, n.index, n.base)
			}
		}
	}
	for _, r := range d.all {
		d.stay(p, r)
		d.ban(p, r)
	}
	for i := range p.Items {
		for n, v := range p.Items[i].Score {
			if v == unset {
				p.Items[i].Score[n] = -place.Inf
			}
		}
	}
}

// unset marks a node about which nothing is said, where that forbids it.
const unset = -place.Inf - 7

func add(p *place.Problem, item, node, value int) {
	s := &p.Items[item].Score[node]
	if *s == unset {
		*s = 0
	}
	*s = place.Sum(*s, value)
}

// applyLocation applies a location to the resource and all below it. Of a
// stack only the first part takes the score: the others go where it goes.
func (d *document) applyLocation(p *place.Problem, l location, r *resource, plain bool) {
	for _, n := range d.nodes {
		value, named := l.by[n]
		if !named {
			continue
		}
		if plain {
			value = 0
		}
		if l.primary {
			if c := r.clone(); c != nil && r == l.resource {
				set := &p.Items[c.item].Set
				if set.PrimaryScore == nil {
					set.PrimaryScore = make([]int, len(d.nodes))
				}
				set.PrimaryScore[n.index] = place.Sum(set.PrimaryScore[n.index], value)
			}
			continue
		}
		add(p, r.item, n.index, value)
	}
	for k, c := range r.children {
		d.applyLocation(p, l, c, plain || r.kind == place.Stack && k > 0 && !r.loose)
	}
}

// stay makes a resource prefer where it is. What is not managed is tied to it.
func (d *document) stay(p *place.Problem, r *resource) {
	if r.kind == place.One && r.unmanaged {
		for _, n := range r.at {
			add(p, r.item, n.index, place.Inf)
		}
		return
	}
	if r.kind != place.One || r.sticky < 1 || len(r.at) != 1 {
		return
	}
	n := r.at[0].index
	if p.Items[r.item].Score[n] != unset {
		add(p, r.item, n, r.sticky)
	}
}

// ban keeps a resource from nodes where it failed too often or for good.
func (d *document) ban(p *place.Problem, r *resource) {
	for n := range r.bans {
		d.banOn(p, r, n)
	}
	if r.kind != place.One || r.threshold == 0 || r.ignoreFailure {
		return
	}
	for _, n := range d.nodes {
		if r.forgiven[n] || d.failuresOf(r, n) < r.threshold {
			continue
		}
		target := r
		if r.anonymous() {
			target = r.clone()
		}
		d.banOn(p, target, n)
	}
}

// failuresOf returns how often the resource failed on the node. A container
// answers for what is in it as well.
func (d *document) failuresOf(r *resource, n *node) int {
	sum := d.failCount(r, n, true)
	for _, other := range d.within[r.base] {
		if other != r {
			sum = place.Sum(sum, d.failCount(other, n, true))
		}
	}
	return sum
}

func (d *document) banOn(p *place.Problem, r *resource, n *node) {
	r.walk(func(c *resource) { p.Items[c.item].Score[n.index] = -place.Inf })
}
