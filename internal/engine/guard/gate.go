package guard

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/model/spec"
)

// Timing of what the kernel is told about addresses.
const (
	// repass is the pause after the kernel did not take the lease of an address.
	repass = 50 * time.Millisecond
	// remanage is the pause after the kernel did not take which addresses need
	// a lease.
	remanage = 2 * time.Second
)

// gate has the kernel let addresses pass only under their leases. It works in a
// goroutine of its own: a call of the packet filter can take seconds while
// somebody else changes its rules, and delays neither a heartbeat nor a cut. An
// address of which the kernel has not been told that it needs a lease is not
// ruled yet, and its service is not to start: see [ruling].
type gate struct {
	opts  Options
	wake  chan struct{}
	ruled chan ruling // the newest, for the guard's loop

	mu     sync.Mutex // guards what follows
	orders []custody.Order
	begun  bool                               // there was an order: until then all stays as it was found
	due    time.Duration                      // when act is to look at the latest
	open   map[spec.ServiceName]time.Duration // until when the kernel may let it pass

	mine    []custody.Order              // a copy, owned by run like what follows
	passes  map[spec.ServiceName]*passes // by service
	near    []*passes                    // of this act: to be told anew now or soon
	over    []*passes                    // of this act: what passes no longer
	addrs   []netip.Addr                 // room for one call
	managed []string                     // handles of which the kernel was last told
	asked   bool                         // it was told something
	again   time.Duration                // when to tell it again, if it did not take it
	said    string                       // why it did not
	round   uint64                       // of act
}

// ruling is which addresses the kernel lets pass only under a lease, as handles,
// or why it cannot. Then all that it was told of count as ruled: they are
// enforced by being taken away only.
type ruling struct {
	handles map[string]bool
	trouble string
}

// passes is what the kernel was told about one service.
type passes struct {
	custody.Order
	custody.Pass
	addrs []netip.Addr // of order
	said  string       // the last trouble that was told
	round uint64       // the last one that had an order for it
}

func newGate(opts Options) *gate {
	return &gate{
		opts: opts, wake: make(chan struct{}, 1), ruled: make(chan ruling, 1), due: opts.Clock.Boot() + idleWait,
		open: map[spec.ServiceName]time.Duration{}, passes: map[spec.ServiceName]*passes{},
	}
}

// order replaces all orders; changed as [enforcer.order] has it.
func (g *gate) order(orders []custody.Order, changed bool) {
	g.mu.Lock()
	g.orders = append(g.orders[:0], orders...)
	changed, g.begun = changed || !g.begun, true
	if changed {
		g.due = min(g.due, g.opts.Clock.Boot())
	}
	g.mu.Unlock()
	if !changed {
		return
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// isDue is when the gate is to look at its orders at the latest.
func (g *gate) isDue() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.due
}

// closed reports whether the kernel lets no address of the service pass, as far
// as that is in its power.
func (g *gate) closed(service spec.ServiceName) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opts.Clock.Boot() >= g.open[service]
}

// run carries out orders until ctx ends.
func (g *gate) run(ctx context.Context) {
	timer := g.opts.Clock.Timer(idleWait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-timer.C:
		}
		timer.Reset(g.act())
	}
}

// act does what is due and returns how long nothing else is.
func (g *gate) act() time.Duration {
	g.mu.Lock()
	g.mine = append(g.mine[:0], g.orders...)
	begun := g.begun
	if !begun {
		g.due = g.opts.Clock.Boot() + idleWait
	}
	g.mu.Unlock()
	if !begun {
		return idleWait
	}

	wait := g.manage()
	g.round++
	g.near, g.over = g.near[:0], g.over[:0]
	for i := range g.mine {
		o := &g.mine[i]
		p := g.passes[o.Service]
		if p == nil {
			p = &passes{}
			g.passes[o.Service] = p
		}
		p.round = g.round
		if !slices.Equal(o.Addresses, p.Addresses) {
			p.Passing, p.addrs = false, addresses(o.Addresses)
		}
		p.Order = *o
		wait = min(wait, g.serve(p))
	}
	for name, p := range g.passes {
		if p.round != g.round {
			if p.Passing {
				g.over = append(g.over, p)
			}
			delete(g.passes, name)
		}
	}
	for all := range slices.Chunk(g.over, passBatch) {
		g.drop(all)
	}
	wait = min(wait, g.passAll())
	wait = max(wait, time.Millisecond)
	g.mu.Lock()
	now := g.opts.Clock.Boot()
	g.due = now + wait
	for name, until := range g.open {
		if now >= until && g.passes[name] == nil {
			delete(g.open, name)
		}
	}
	g.mu.Unlock()
	return wait
}

// manage tells the kernel which addresses pass only under a lease, if these are
// others than before or it did not take them, and returns when to look again.
func (g *gate) manage() time.Duration {
	now := g.opts.Clock.Boot()
	if g.asked && g.same() {
		switch {
		case g.said == "":
			return idleWait
		case now < g.again:
			return g.again - now
		}
	}
	r := ruling{handles: map[string]bool{}}
	g.asked, g.managed = true, g.managed[:0]
	for i := range g.mine {
		for _, a := range g.mine[i].Addresses {
			r.handles[a] = true
			g.managed = append(g.managed, a)
		}
	}
	if err := g.opts.Fence.Manage(addresses(g.managed)); err != nil {
		r.trouble = fmt.Sprintf("the kernel does not enforce the leases of addresses here: %v", err)
		g.again = g.opts.Clock.Boot() + remanage
		if g.said == "" {
			g.opts.Log.Error("addresses not enforced by the kernel", logkey.Err, err)
		}
	}
	g.said = r.trouble
	select { // only the newest counts
	case <-g.ruled:
	default:
	}
	g.ruled <- r
	return idleWait
}

// same reports whether the orders are about the addresses that the kernel was
// told of.
func (g *gate) same() bool {
	n := 0
	for i := range g.mine {
		for _, a := range g.mine[i].Addresses {
			if n >= len(g.managed) || g.managed[n] != a {
				return false
			}
			n++
		}
	}
	return n == len(g.managed)
}

// serve notes whether a service's addresses are to pass anew, or no longer, and
// returns when to look again. The kernel's call may take long, and this process may
// stand still anywhere: each moment is counted from a reading of the clock after
// that.
func (g *gate) serve(p *passes) time.Duration {
	over := p.Order.Until - CutMargin
	now := g.opts.Clock.Boot()
	switch {
	case now >= over:
		if p.Passing {
			g.over = append(g.over, p)
		}
		return idleWait
	case len(p.addrs) == 0:
	case p.near(now):
		g.near = append(g.near, p)
	default:
		return min(max(p.Next()-now, minLook), over-now)
	}
	return min(idleWait, over-now)
}

// near reports whether the kernel is to be told anew, or soon enough for that to be
// done along with others: each call of it costs as much as ten addresses in one.
func (p *passes) near(now time.Duration) bool {
	_, tell := p.Pass.Due(now+(p.Pass.Until-now)/8, p.Order.Until)
	return tell
}

// passBatch is how many services the kernel is told of in one call.
const passBatch = 200

// passAll renews what the kernel lets through, if a part of it is used up for one
// service: those that may run until the same moment together. It returns when to
// look again.
func (g *gate) passAll() time.Duration {
	wait, now := idleWait, g.opts.Clock.Boot()
	due := slices.ContainsFunc(g.near, func(p *passes) bool {
		_, tell := p.Pass.Due(now, p.Order.Until)
		return tell
	})
	if due {
		slices.SortStableFunc(g.near, func(a, b *passes) int { return cmp.Compare(a.Order.Until, b.Order.Until) })
		for rest := g.near; len(rest) > 0; {
			n := 1
			for n < min(len(rest), passBatch) && rest[n].Order.Until == rest[0].Order.Until {
				n++
			}
			g.pass(rest[:n])
			rest = rest[n:]
		}
	}
	for _, p := range g.near {
		if due && !p.Passing {
			wait = min(wait, repass)
			continue
		}
		wait = min(wait, max(p.Next()-g.opts.Clock.Boot(), minLook))
	}
	return wait
}

// pass lets the addresses of services through that may run until the same moment.
func (g *gate) pass(all []*passes) {
	until, _ := all[0].Pass.Due(g.opts.Clock.Boot(), all[0].Order.Until)
	g.addrs = g.addrs[:0]
	g.mu.Lock()
	for _, p := range all {
		g.open[p.Service] = max(g.open[p.Service], until) // before the kernel is told
		g.addrs = append(g.addrs, p.addrs...)
	}
	g.mu.Unlock()
	err := g.opts.Fence.Hold(g.addrs, until)
	now := g.opts.Clock.Boot()
	for _, p := range all {
		p.Passing = false
		if err == nil {
			p.Told(now, until)
		}
		g.say(p, err)
	}
}

// drop lets the addresses of services through no longer.
func (g *gate) drop(all []*passes) {
	g.addrs = g.addrs[:0]
	for _, p := range all {
		g.addrs = append(g.addrs, p.addrs...)
	}
	err := g.opts.Fence.Drop(g.addrs)
	g.mu.Lock()
	for _, p := range all {
		if p.Passing = err != nil; err == nil {
			delete(g.open, p.Service)
		}
	}
	g.mu.Unlock()
	for _, p := range all {
		g.say(p, err)
	}
}

// say logs trouble with a service's addresses once.
func (g *gate) say(p *passes, err error) {
	switch {
	case err == nil:
		p.said = ""
	case p.said != err.Error():
		p.said = err.Error()
		g.opts.Log.Error("kernel did not take the lease of an address", logkey.Service, p.Service, logkey.Err, err)
	}
}

// all reports whether all handles are ruled.
func (r *ruling) all(handles []string) bool {
	for _, h := range handles {
		if !r.handles[h] {
			return false
		}
	}
	return true
}

// some returns the handles that are ruled, which may be the same slice.
func (r *ruling) some(handles []string) []string {
	if r.all(handles) {
		return handles
	}
	return slices.DeleteFunc(slices.Clone(handles), func(h string) bool { return !r.handles[h] })
}

// rule takes news of which addresses the kernel knows of: what waited for that
// is claimed now.
func (g *Guard) rule(r ruling) {
	g.pace.dirty = true
	changed := !maps.Equal(r.handles, g.room.ruling.handles)
	g.room.ruling = r
	if r.trouble != "" {
		g.troubles["kernel"] = r.trouble
	} else {
		delete(g.troubles, "kernel")
	}
	if g.node != nil && changed {
		g.node.SetDuty(g.opts.Clock.Boot(), g.wish())
	}
}
