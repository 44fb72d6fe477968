package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
)

// Watchdog restarts this host unless it is petted in time. It is armed while
// the guard runs.
type Watchdog interface {
	// Pet says that all is well. It must not block.
	Pet() error
	// Disarm switches the watchdog off: the guard ends in order.
	Disarm() error
}

// petEvery is the time between two pets.
const petEvery = time.Second

// pet keeps the watchdog quiet while this loop runs and the enforcer does in
// time what the leases demand. It is not petted for a guard that cannot keep
// another node's lease from being broken by this one.
func (g *Guard) pet() {
	now := g.opts.Clock.Boot()
	if g.opts.Watchdog == nil || now-g.pace.petted < petEvery {
		return
	}
	const key = "watchdog"
	if ok, why := g.enforcer.inOrder(); !ok {
		if g.pace.unruly != why {
			g.opts.Log.Error("watchdog not petted, it will restart this host", "why", why)
			g.troubles[key] = "the watchdog of this host will restart it: " + why
			g.pace.unruly, g.pace.dirty = why, true
		}
		return
	}
	g.pace.petted, g.pace.unruly = now, ""
	was := g.troubles[key]
	delete(g.troubles, key)
	if err := g.opts.Watchdog.Pet(); err != nil {
		g.troubles[key] = fmt.Sprintf("the watchdog of this host does not answer and may restart it: %v", err)
	}
	if now := g.troubles[key]; now != was {
		g.opts.Log.Warn("watchdog changed", "trouble", now)
		g.pace.dirty = true
	}
}

// disarm switches the watchdog off if nothing may be left running; else it is
// left to end what the guard could not. off is whether all leases were given
// back.
func (g *Guard) disarm(ctx context.Context, off bool) {
	if g.opts.Watchdog == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), idleWait)
	defer cancel()
	for off && !g.enforcer.idle() {
		off = g.opts.Clock.Sleep(ctx, lastWait) == nil
	}
	if !off {
		g.opts.Log.Error("watchdog left armed, it will restart this host")
		return
	}
	if err := g.opts.Watchdog.Disarm(); err != nil {
		g.opts.Log.Error("watchdog not disarmed, it may restart this host", logkey.Err, err)
	}
}
