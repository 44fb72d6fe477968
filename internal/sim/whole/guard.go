package whole

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// guard is a guard process: the loop of package guard around the real lease plane
// and the real rules of custody.
type guard struct {
	script.Process
	inc   uint64
	plane *plane.Node // nil until the first duty

	duty     guardwire.Duty
	forsaken map[spec.ServiceName]time.Duration
	primary  map[uint32]uint64

	agent   bool // one is connected
	anew    bool // and has said nothing yet
	present custody.Attendance
	inbox   []packet
	calm    bool // what arrives is left to the next tick
	turn    int  // of the planned turns, the one that counts
	at      time.Duration
	telling
	enforcement

	joined time.Duration // true time since which it has had a duty and has run
}

// telling is what the agent was told.
type telling struct {
	sent   guardwire.State
	due    Boot
	dirty  bool
	looked Boot
}

// enforcement is what has been done about services.
type enforcement struct {
	orders []custody.Order
	cuts   map[spec.ServiceName]*custody.Cut
	proven map[spec.ServiceName]bool
	atWork map[spec.ServiceName]bool
	passes map[spec.ServiceName]*custody.Pass
	holds  []lease.Hold
	gone   func(spec.ServiceName) bool
}

const (
	killTime = 20 * time.Millisecond // how long a cut takes, at most
	minLook  = 20 * time.Millisecond
	maxLook  = 100 * time.Millisecond
	never    = time.Duration(1<<63 - 1)
)

// startGuard begins a guard without memory. It says nothing before its first duty.
func (w *world) startGuard(n *node) {
	g := &n.guard
	*g = guard{Process: g.Next(), inc: uint64(w.now) + w.added + 1}
	g.forsaken, g.primary, g.joined = map[spec.ServiceName]time.Duration{}, map[uint32]uint64{}, never
	g.enforcement = enforcement{
		cuts: map[spec.ServiceName]*custody.Cut{}, proven: map[spec.ServiceName]bool{},
		atWork: map[spec.ServiceName]bool{}, passes: map[spec.ServiceName]*custody.Pass{}, gone: w.gone(n),
	}
	w.trace("node %s: a guard starts", n.name)
}

// killGuard ends the guard.
func (w *world) killGuard(n *node) {
	n.guard.End()
	w.loseWire(n)
}

func (g *guard) books() custody.Books {
	return custody.Books{Duty: &g.duty, Forsaken: g.forsaken, Primary: g.primary, Gone: g.gone, Twice: custody.Twice(&g.duty)}
}

// deliver hands a packet to a guard.
func (w *world) deliver(n *node, p packet) {
	g := &n.guard
	switch {
	case !g.Up || g.plane == nil:
	case g.Stands() || g.calm:
		if len(g.inbox) < inboxLimit {
			g.inbox = append(g.inbox, p)
		}
	default:
		w.read(n, p)
		w.settle(n)
	}
}

// inboxLimit is how many packets wait for a guard that does not read.
const inboxLimit = 256

func (w *world) read(n *node, p packet) {
	if err := n.guard.plane.Receive(w.boottime(n), p.from, p.inc, p.data); err != nil {
		w.violate("readable", "node %s could not read a packet of node %s: %v", n.name, script.NodeName(p.from), err)
	}
}

// rouse plans the guard's next turn.
func (w *world) rouse(n *node, at time.Duration) {
	g := &n.guard
	if at = max(at, w.now+200*time.Microsecond); g.turn > 0 && at >= g.at {
		return
	}
	g.turn++
	g.at = at
	turn := g.turn
	w.after(at-w.now, g.Only(func() {
		if g.turn == turn {
			g.turn = 0
			w.tick(n)
		}
	}))
}

// tick lets time pass for the guard. What has arrived is read first.
func (w *world) tick(n *node) {
	g := &n.guard
	if g.plane != nil {
		for _, p := range g.inbox {
			w.read(n, p)
		}
		g.inbox = g.inbox[:0]
		g.plane.Tick(w.boottime(n))
	}
	w.settle(n)
}

// settle sends what the plane wants sent and, at times, looks at all else.
func (w *world) settle(n *node) {
	g, now := &n.guard, w.boottime(n)
	if g.plane != nil {
		for _, p := range g.plane.Packets() {
			w.send(n, &p)
		}
		for _, note := range g.plane.Notes() {
			g.dirty = true
			w.noted(n, &note)
		}
		g.calm = g.plane.Calm(now)
	}
	if g.dirty || now-g.looked >= g.lookEvery() {
		g.dirty, g.looked = false, now
		if g.plane != nil {
			w.dropKept(n)
			w.forsake(n)
			w.command(n)
		}
		w.inform(n)
	}
	next := max(g.due, g.looked+g.lookEvery())
	if g.plane != nil {
		next = min(next, g.plane.Next(), w.enforce(n))
	}
	w.rouse(n, n.clock.True(next))
}

func (w *world) noted(n *node, note *lease.Note) {
	switch note.Kind {
	case lease.Won:
		w.trace("node %s won the lease of %d, number %d", n.name, note.ID, note.Number)
	case lease.Ended:
		w.trace("node %s lost the lease of %d", n.name, note.ID)
	case lease.Released:
		w.trace("node %s gave the lease of %d back", n.name, note.ID)
	default:
	}
}

// lookEvery is as in package guard.
func (g *guard) lookEvery() time.Duration {
	every := maxLook
	for i := range g.duty.Seeks {
		if ttl := g.duty.Seeks[i].TTL; ttl > 0 {
			every = min(every, max(ttl/10, minLook))
		}
	}
	return every
}

// gone reports whether a service was cut off and nothing of it is left or passes.
func (w *world) gone(n *node) func(spec.ServiceName) bool {
	return func(s spec.ServiceName) bool { return n.guard.proven[s] && w.boottime(n) >= n.passes[s] }
}

func (w *world) dropKept(n *node) {
	g := &n.guard
	g.holds = g.plane.Holds(w.boottime(n), g.holds[:0])
	if d, dropped := g.books().DropKept(g.holds); dropped {
		g.duty = d
		g.plane.SetDuty(w.boottime(n), g.wish())
	}
}

// wish is what the duty asks of the plane; the kernel here knows of every address.
func (g *guard) wish() plane.Duty {
	return custody.Wish(&g.duty, func([]string) bool { return true })
}

func (w *world) forsake(n *node) {
	g, now := &n.guard, w.boottime(n)
	why := g.present.Absence(now)
	g.plane.SetIdle(now, why.Idle(&g.duty))
	if !g.books().Parts(why) {
		return
	}
	g.holds = g.plane.Holds(now, g.holds[:0])
	up, back := g.books().Forsake(now, why, g.holds)
	for _, name := range up {
		w.trace("node %s: the guard gives up %s, its agent is away for %s", n.name, name, why.Alone)
	}
	if len(back) == 0 {
		return
	}
	for _, b := range back {
		g.plane.Release(now, b.ID, b.Epoch)
	}
	g.plane.SetDuty(now, g.wish())
	if why.Away() {
		w.loseWire(n)
	}
}

// command makes orders of the leases.
func (w *world) command(n *node) {
	g, now := &n.guard, w.boottime(n)
	g.holds = g.plane.Holds(now, g.holds[:0])
	g.orders = g.books().Orders(now, g.holds, g.orders[:0])
	for i := range g.orders {
		if o := &g.orders[i]; !o.Over(now) {
			delete(g.proven, o.Service)
		}
	}
}

// ended reports whether the newest order lets the service run no more.
func (w *world) ended(n *node, name spec.ServiceName) bool {
	for i := range n.guard.orders {
		if o := &n.guard.orders[i]; o.Service == name {
			return o.Over(w.boottime(n))
		}
	}
	return false
}

// enforce makes the orders true and returns when to look again.
func (w *world) enforce(n *node) Boot {
	g, now := &n.guard, w.boottime(n)
	next := now + custody.Idle
	known := map[spec.ServiceName]bool{}
	for i := range g.orders {
		o := &g.orders[i]
		known[o.Service] = true
		next = min(next, w.letPass(n, o))
		c := g.cuts[o.Service]
		if c == nil {
			c = &custody.Cut{}
			g.cuts[o.Service] = c
		}
		c.Take(o)
		cut, _, wait := c.Due(now)
		if cut {
			w.beginCut(n, c)
			continue
		}
		next = min(next, now+max(wait, time.Millisecond))
	}
	for _, name := range slices.Sorted(maps.Keys(g.cuts)) {
		if !known[name] && !g.cuts[name].Cutting() {
			delete(g.cuts, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.passes)) {
		if !known[name] {
			delete(n.passes, name)
			delete(g.passes, name)
		}
	}
	return next
}

// letPass tells the kernel until when a service's addresses pass, and returns when
// to look again.
func (w *world) letPass(n *node, o *custody.Order) Boot {
	g, now := &n.guard, w.boottime(n)
	p := g.passes[o.Service]
	if p == nil {
		p = &custody.Pass{}
		g.passes[o.Service] = p
	}
	if o.Over(now) || len(o.Addresses) == 0 {
		if p.Passing {
			p.Passing = false
			delete(n.passes, o.Service)
		}
		return never
	}
	if until, tell := p.Due(now, o.Until); tell {
		n.passes[o.Service] = until
		p.Told(now, until)
	}
	return max(p.Next(), now+minLook)
}

// beginCut ends what the agent should have stopped.
func (w *world) beginCut(n *node, c *custody.Cut) {
	g, began := &n.guard, w.boottime(n)
	name, order := c.Service, c.Order
	c.Begin(began)
	g.atWork[name] = true
	w.after(w.random(killTime), g.Only(func() {
		delete(g.atWork, name)
		if w.ended(n, name) {
			w.killAll(n, &order)
		}
		if c.Done(w.boottime(n), began, w.ended(n, name)) {
			g.proven[name] = true
		}
		w.settle(n)
	}))
}

// killAll ends what an order names. A start that is under way finds no control
// group any more.
func (w *world) killAll(n *node, o *custody.Order) {
	for _, p := range slices.Clone(n.programs) {
		if slices.Contains(o.Cgroups, p.handle) || slices.Contains(o.Addresses, p.handle) {
			w.result.Cuts++
			w.trace("node %s: the guard ends %s", n.name, p.key)
			w.remove(n, p)
		}
	}
	for k, s := range n.begun {
		if slices.Contains(o.Cgroups, s.handle) || slices.Contains(o.Addresses, s.handle) {
			delete(n.begun, k)
		}
	}
}

// inform tells the agent the state, if it changed or is old.
func (w *world) inform(n *node) {
	g, now := &n.guard, w.boottime(n)
	if !g.agent {
		g.due = now + guardwire.StateEvery
		return
	}
	s := w.state(n)
	if now < g.due && same(&s, &g.sent) {
		return
	}
	g.sent, g.due = s, now+max(custody.TellWithin(s.Holds, now), minLook)
	w.tellAgent(n, func() { w.hearGuard(n, &s) })
}

// same reports whether two states differ at most in what changes all the time.
func same(a, b *guardwire.State) bool {
	sameHold := func(x, y guardwire.Hold) bool {
		return x.Service == y.Service && x.Epoch == y.Epoch && x.Kept == y.Kept
	}
	return a.Guard == b.Guard && a.Fresh == b.Fresh && a.LeaseVersion == b.LeaseVersion && a.Ballot == b.Ballot &&
		a.Quorate == b.Quorate && a.Alive == b.Alive && a.Suspect == b.Suspect && a.Lost == b.Lost &&
		slices.EqualFunc(a.Holds, b.Holds, sameHold) && maps.Equal(a.Holders, b.Holders)
}

// state is what the guard knows, as package guard tells it.
func (w *world) state(n *node) guardwire.State {
	g, now := &n.guard, w.boottime(n)
	s := guardwire.State{Protocol: guardwire.Version, Guard: g.inc, Now: guardwire.Boot(now), Fresh: g.plane == nil}
	if g.plane == nil {
		return s
	}
	v := g.plane.View(now)
	s.LeaseVersion, s.Ballot, s.Quorate = v.Version, v.Highest, v.Quorate
	s.Alive, s.Suspect, s.Lost = uint32(v.Alive), uint32(v.Suspect), uint32(v.Lost)
	s.Fresh = g.duty.Lease.Version == 0
	g.holds = g.plane.Holds(now, g.holds[:0])
	cutting := func(name spec.ServiceName) bool { return g.atWork[name] }
	for i := range g.holds {
		if h, told := g.books().Told(now, &g.holds[i], g.sent.Holds, cutting); told {
			s.Holds = append(s.Holds, h)
		}
	}
	slices.SortFunc(s.Holds, func(a, b guardwire.Hold) int { return cmp.Compare(a.Service, b.Service) })
	s.Holders = map[uint32]uint8{}
	g.plane.EachKnown(now, func(id lease.ID, holder uint8) { s.Holders[id] = holder })
	return s
}

// The words of an agent.

func (w *world) agentConnects(n *node) {
	g := &n.guard
	g.agent, g.anew = true, true
	g.sent, g.due, g.dirty = guardwire.State{}, w.boottime(n), true
	w.settle(n)
}

// agentSays notes that the agent was heard.
func (w *world) agentSays(n *node) {
	g, now := &n.guard, w.boottime(n)
	g.present.Heard(now, g.anew)
	g.books().Heard(g.present.Absence(now))
	g.anew, g.dirty = false, true
}

func (w *world) takeDuty(n *node, d guardwire.Duty) {
	g, now := &n.guard, w.boottime(n)
	w.agentSays(n)
	if g.plane == nil {
		g.plane = plane.New(n.slot, g.inc)
		g.joined = w.now
	} else {
		d = g.books().KeepHeld(g.plane.Holds(now, nil), d)
	}
	g.duty = d
	g.plane.SetDuty(now, g.wish())
	w.settle(n)
}

func (w *world) takeRelease(n *node, r guardwire.Release) {
	g := &n.guard
	w.agentSays(n)
	if g.plane != nil {
		for i := range g.duty.Seeks {
			if s := &g.duty.Seeks[i]; s.Service == r.Service {
				g.plane.Release(w.boottime(n), s.ID, r.Epoch)
			}
		}
	}
	w.settle(n)
}
