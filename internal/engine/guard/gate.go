package guard

import (
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
		if p.round == g.round {
			continue
		}
		if p.Passing {
			g.drop(p)
		}
		delete(g.passes, name)
	}
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

// serve makes one order true and returns when to look again. The kernel's call
// may take long, and this process may stand still anywhere: each moment is counted
// from a reading of the clock after that.
func (g *gate) serve(p *passes) time.Duration {
	over := p.Order.Until - CutMargin
	if g.opts.Clock.Boot() < over {
		wait := g.letPass(p)
		return min(wait, over-g.opts.Clock.Boot())
	}
	if p.Passing {
		g.drop(p)
	}
	return idleWait
}

// letPass renews what the kernel lets through, when a part of it is used up, and
// returns when to do so again.
func (g *gate) letPass(p *passes) time.Duration {
	if len(p.addrs) == 0 {
		return idleWait
	}
	if until, tell := p.Pass.Due(g.opts.Clock.Boot(), p.Order.Until); tell {
		g.pass(p, until)
		if !p.Passing {
			return repass
		}
	}
	return max(p.Next()-g.opts.Clock.Boot(), minLook)
}

// pass lets the service's addresses through until then.
func (g *gate) pass(p *passes, until time.Duration) {
	g.mu.Lock()
	g.open[p.Service] = max(g.open[p.Service], until) // before the kernel is told
	g.mu.Unlock()
	err := g.opts.Fence.Hold(p.addrs, until)
	p.Passing = false
	if err == nil {
		p.Told(g.opts.Clock.Boot(), until)
	}
	g.say(p, err)
}

// drop lets the service's addresses through no longer.
func (g *gate) drop(p *passes) {
	err := g.opts.Fence.Drop(p.addrs)
	p.Passing = err != nil
	if err == nil {
		g.mu.Lock()
		delete(g.open, p.Service)
		g.mu.Unlock()
	}
	g.say(p, err)
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
