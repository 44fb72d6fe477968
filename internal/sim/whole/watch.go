package whole

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// watch checks the invariants. It sees all nodes and clocks at once.
type watch struct {
	dirty   bool // something runs that did not, or the reverse
	ran     map[script.Standing]time.Duration
	lawless map[*program]time.Duration // since when it has run without a lease
	steady  time.Duration              // since when all reach the store
	mended  time.Duration
	stirred time.Duration // when something last started or was decided
	stir    string        // what
	holds   []lease.Hold
}

const (
	lookEvery = 25 * time.Millisecond
	// awake is how long a guard has to cut off what it finds when it comes to.
	awake = 60 * time.Millisecond
	// cutBound is how long something may run without a lease where a guard works:
	// the guard looks at leases that were given back a few times a second.
	cutBound = maxLook + killTime + 30*time.Millisecond
	// onTime is how long an agent must have run for it to have heard all that was
	// said, and heedBound how long after the end of a lease, as it heard of it, it
	// may begin to stop what runs under it.
	onTime    = 10 * time.Second
	heedBound = 10 * time.Millisecond
	// orderSlack is how old the news may be that a service runs, and steadyFor how
	// long everybody must have read the store for that.
	orderSlack = 2 * time.Second
	steadyFor  = 4 * time.Second
	// calmFor is how long nothing may stir at the end.
	calmFor = 10 * time.Second
)

func (c *watch) begin(*world) {
	*c = watch{ran: map[script.Standing]time.Duration{}, lawless: map[*program]time.Duration{}}
}

// guarded reports whether the guard of a node is there to cut off what is not to
// run, and has had the time for it.
func (w *world) guarded(n *node) bool {
	g := &n.guard
	return n.up && g.Runs() && g.plane != nil && w.now-g.joined > awake
}

// reached reports whether p can do any harm, as far as the guard can help it: an
// address passes, a process runs where a guard works.
func (w *world) reached(n *node, p *program) bool {
	if p.part.Address != nil {
		return n.passes[p.name.Service()] > w.boottime(n)
	}
	return w.guarded(n)
}

// check looks at what must hold at every step.
func (c *watch) check(w *world) {
	if !c.dirty {
		return
	}
	c.dirty = false
	for i := range w.plan.Services {
		s := &w.plan.Services[i].Spec
		switch {
		case s.HasRoles():
			c.alone(w, "one-primary", s.Name, func(p *program) bool { return p.primary })
		case s.HasLease() && s.IsExclusive():
			c.alone(w, "one-running", s.Name, func(*program) bool { return true })
		case s.Copies != nil:
			c.fit(w, s)
		}
	}
}

// alone checks that programs of a service are on one node at most.
func (c *watch) alone(w *world, invariant string, name spec.ServiceName, counts func(*program) bool) {
	var first *node
	var one *program
	for _, n := range w.nodes {
		for _, p := range n.programs {
			if p.name.Service() != name || !counts(p) || !w.reached(n, p) || first == n {
				continue
			}
			if first != nil {
				w.violate(invariant, "%s runs on node %s (%s, epoch %d) and on node %s (%s, epoch %d)",
					name, first.name, one.key, one.epoch, n.name, p.key, p.epoch)
				return
			}
			first, one = n, p
		}
	}
}

// fit checks that no node runs more copies than it may.
func (c *watch) fit(w *world, s *spec.Service) {
	for _, n := range w.nodes {
		names := map[instance.Name]bool{}
		for _, p := range n.programs {
			if p.name.Service() == s.Name {
				names[p.name] = true
			}
		}
		if len(names) > max(s.Copies.PerNode, 1) {
			w.violate("copies-fit", "node %s runs %d copies of %s: %v", n.name, len(names), s.Name, slices.Sorted(maps.Keys(names)))
		}
	}
}

// started looks at a program that starts.
func (c *watch) started(w *world, n *node, p *program) {
	c.dirty = true
	c.stirs(w, "%s starts on node %s", p.key, n.name)
	s := &p.service.Spec
	if s.Copies == nil && s.IsExclusive() || p.primary {
		c.late(w, n, p)
	}
	if s.Parts[0].Name == p.key.part && w.now-c.steady > steadyFor {
		c.ordered(w, n, p)
	}
	c.beside(w, n, p)
}

// beside checks that what starts may run beside what runs there.
func (c *watch) beside(w *world, n *node, p *program) {
	there := map[instance.Name]*spec.Service{}
	for _, o := range n.programs {
		there[o.key.name] = &o.service.Spec
	}
	if invariant, why := w.plan.Beside(n.slot, &p.service.Spec, there); invariant != "" {
		w.violate(invariant, "%s starts on node %s: %s", p.key, n.name, why)
	}
}

// late checks that no other node has the lease.
func (c *watch) late(w *world, n *node, p *program) {
	for _, o := range w.nodes {
		if o == n || !o.up || o.guard.plane == nil || !o.guard.Up {
			continue
		}
		now := w.boottime(o)
		c.holds = o.guard.plane.Holds(now, c.holds[:0])
		for _, h := range c.holds {
			if h.ID == p.service.ID && h.Until > now {
				w.violate("no-late-start", "%s starts on node %s by epoch %d, and node %s has the lease, number %d", p.key, n.name, p.epoch, o.name, h.Number)
			}
		}
	}
}

// ordered checks that what a service is after runs, or ran until lately.
func (c *watch) ordered(w *world, n *node, p *program) {
	r := w.store.services[p.key.name.Service()]
	if r == nil || len(r.Spec.After) == 0 {
		return
	}
	c.note(w) // what it is after may have been up since the last look
	for _, a := range r.Spec.After {
		first := w.store.services[a.Service]
		if a.Optional || first == nil || epochDay.Add(w.now).Sub(first.Applied) < orderSlack {
			continue // it does not count until it is applied, and that is known
		}
		last, ever := c.ran[script.Standing{Service: a.Service, Role: a.Role}]
		if !ever || w.now-last > orderSlack {
			w.violate("in-order", "%s starts on node %s, and %s has not run for %s", p.key, n.name, a.Service, w.now-last)
		}
	}
}

// raised looks at a program that becomes primary, or a replica.
func (c *watch) raised(w *world, n *node, p *program) {
	c.dirty = true
	c.stirs(w, "%s on node %s is primary: %v", p.key, n.name, p.primary)
	if p.primary {
		c.late(w, n, p)
	}
}

// ended looks at a program that ends. What it was part of ran until now.
func (c *watch) ended(w *world, n *node, p *program) {
	c.dirty = true
	delete(c.lawless, p)
	c.stirs(w, "%s ends on node %s", p.key, n.name)
}

func (c *watch) placed(w *world, p *record.Placement) {
	w.trace("%s is to be on %v, copies %v, epoch %d", p.Service, p.Order, p.Copies, p.Epoch)
	if len(p.Order)+len(p.Copies) > 0 {
		c.stirs(w, "%s is placed on %v, copies %v", p.Service, p.Order, p.Copies)
	}
}

func (c *watch) stirs(w *world, format string, args ...any) {
	if c.stirred = w.now; w.now > w.plan.Length || w.tracing {
		w.trace(format, args...)
	}
	c.stir = format
}

// look is what is checked now and then.
func (c *watch) look(w *world) {
	c.dirty = true
	if slices.ContainsFunc(w.nodes, func(n *node) bool { return !w.reaches(n) }) {
		c.steady = w.now
	}
	c.note(w)
	for _, n := range w.nodes {
		if w.guarded(n) {
			c.lawful(w, n)
		}
		c.heeded(w, n)
	}
}

// note notes what runs.
func (c *watch) note(w *world) {
	for i := range w.plan.Services {
		s := &w.plan.Services[i].Spec
		for _, n := range w.nodes {
			whole, primary := w.runs(n, s.Name)
			if whole {
				c.ran[script.Standing{Service: s.Name}] = w.now
			}
			if primary {
				c.ran[script.Standing{Service: s.Name, Role: spec.RolePrimary}] = w.now
			}
		}
	}
}

// runs reports whether an instance of a service runs on a node, with all its
// parts, and whether it is primary.
func (w *world) runs(n *node, name spec.ServiceName) (whole, primary bool) {
	for _, p := range n.programs {
		if p.key.name.Service() != name || p.part.Address != nil || !p.ready {
			continue
		}
		primary = primary || p.primary
		all := true
		for i := range p.service.Spec.Parts {
			part := &p.service.Spec.Parts[i]
			other := n.find(key{p.key.name, part.Name})
			all = all && (part.Role == spec.RolePrimary || other != nil && other.ready)
		}
		whole = whole || all
	}
	return whole, primary
}

// lawful checks that what runs by a lease on a guarded node runs under one.
func (c *watch) lawful(w *world, n *node) {
	now := w.boottime(n)
	c.holds = n.guard.plane.Holds(now, c.holds[:0])
	for _, p := range n.programs {
		s := &p.service.Spec
		if !s.HasLease() || s.HasRoles() && !p.primary {
			delete(c.lawless, p)
			continue
		}
		if slices.ContainsFunc(c.holds, func(h lease.Hold) bool { return h.ID == p.service.ID && (h.Until > now || h.Keep) }) {
			delete(c.lawless, p)
			continue
		}
		since, known := c.lawless[p]
		if since = max(since, n.guard.joined); !known {
			since = w.now
		}
		c.lawless[p] = since
		if w.now-since > cutBound {
			w.violate("under-lease", "%s has run on node %s for %s without a lease, and its guard lets it", p.key, n.name, w.now-since)
		}
	}
}

// heeded checks that where a guard stands still, an agent on time begins by itself
// to stop what runs under a lease, by the lease's end.
func (c *watch) heeded(w *world, n *node) {
	a := &n.agent
	if !n.up || !n.guard.Stands() || !a.Runs() || w.now-a.ran < onTime {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(a.runners)) {
		r := a.runners[name]
		if s := &r.st.Run.Spec; r.st.Phase != fact.Running || s.Copies != nil || !s.HasLease() || !s.IsExclusive() {
			continue
		}
		h := w.holdOf(n, name.Service())
		if over := w.boottime(n) - h.Until; h.Held && over > heedBound {
			w.violate("heeded", "%s runs on node %s %s after its lease, as its guard told it before it stood still", name, n.name, over)
		}
	}
}

// last looks at the cell after the rest at the end.
func (c *watch) last(w *world) {
	if c.stirred > w.now-calmFor {
		w.violate("no-flapping", "%s before the end still: %s", w.now-c.stirred, c.stir)
		return
	}
	known := w.store.known(epochDay, 0)
	sight := survey.Sight{Up: true, State: w.state(w.nodes[0])}
	snapshot := known.Snapshot(sight, epochDay.Add(w.now))
	plan := decide.Decide(snapshot)
	if plan.Hold != "" {
		w.violate("nothing-to-do", "nothing is decided: %s", plan.Hold)
		return
	}
	for i := range plan.Placements {
		p := &plan.Placements[i]
		draft := known.Draft(*p, epochDay.Add(w.now))
		if news := known.News(&draft); news.Decided {
			w.violate("nothing-to-do", "%s would be placed on %v, copies %v, and is on %v, %v", p.Service, p.Order, p.Copies,
				w.store.placements[p.Service].Order, w.store.placements[p.Service].Copies)
		}
		c.whole(w, &draft)
	}
	if len(plan.Steps) > 0 {
		w.violate("nothing-to-do", "the decision still wants: %v", plan.Steps)
	}
}

// whole checks that a service runs where its placement says, and nowhere else.
func (c *watch) whole(w *world, p *record.Placement) {
	want := map[spec.NodeName]int{}
	switch {
	case len(p.Copies) > 0:
		for _, one := range p.Copies {
			want[one.Node]++
		}
	case len(p.Order) > 0:
		want[p.Order[0]] = 1
	default:
		if !c.homeless(w, p.Service) {
			w.violate("all-run", "%s runs nowhere: %v", p.Service, p.Reasons)
		}
	}
	got, primary := map[spec.NodeName]int{}, spec.NodeName("")
	for _, n := range w.nodes {
		left := slices.IndexFunc(n.programs, func(one *program) bool { return one.name.Service() == p.Service })
		if left >= 0 && want[n.name] == 0 {
			w.violate("all-run", "%s is not to run on %s, and %s is left there", p.Service, n.name, n.programs[left].key)
		}
		for name := range n.agent.runners {
			if name.Service() != p.Service {
				continue
			}
			if r := n.agent.runners[name]; r.st.Phase == fact.Running && w.complete(n, r) {
				got[n.name]++
			}
		}
		if _, is := w.runs(n, p.Service); is {
			primary = n.name
		}
	}
	if !reflect.DeepEqual(want, got) {
		w.violate("all-run", "%s is to run on %v and runs on %v: %s", p.Service, want, got, w.phases(p.Service))
	}
	if r := w.store.services[p.Service]; r != nil && r.Spec.HasRoles() && len(p.Order) > 0 && primary != p.Order[0] {
		w.violate("all-run", "the primary of %s is to be on %s, and is on %q", p.Service, p.Order[0], primary)
	}
}

// complete reports whether all programs of a runner's instance are there.
func (w *world) complete(n *node, r *runner) bool {
	for i := range r.st.Run.Spec.Parts {
		part := &r.st.Run.Spec.Parts[i]
		if p := n.find(key{r.name, part.Name}); part.Role != spec.RolePrimary && (p == nil || !p.ready) {
			return false
		}
	}
	return true
}

// phases says how a service is everywhere.
func (w *world) phases(name spec.ServiceName) map[spec.NodeName]string {
	out := map[spec.NodeName]string{}
	for _, n := range w.nodes {
		for _, one := range slices.Sorted(maps.Keys(n.agent.runners)) {
			if one.Service() == name {
				r := n.agent.runners[one]
				out[n.name] += string(one) + " " + string(r.st.Phase) + " " + r.st.Waits() + ";"
			}
		}
	}
	return out
}

// homeless reports whether no node may run a service, by what its spec says.
func (c *watch) homeless(w *world, name spec.ServiceName) bool {
	r := w.store.services[name]
	return r == nil || w.plan.MayLackRoom(&r.Spec) || slices.ContainsFunc(r.Spec.After, func(a spec.After) bool { return !a.Optional && c.homeless(w, a.Service) })
}
