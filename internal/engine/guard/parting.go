package guard

import (
	"fmt"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// parting is how the guard gives up what it holds, see [custody.Books].
type parting struct {
	// forsaken are services that are cut off although their lease is held, and
	// until when the agent was told that it is.
	forsaken map[spec.ServiceName]time.Duration
	// why the guard is to end; nil: it is not. held is when it last held
	// anything since.
	why  error
	held time.Duration
}

// partLimit is how long a guard that is to end, and holds nothing any more, goes
// on with what it cannot cut off; and how long a cut may fail until it says why
// it does not end.
const partLimit = 2 * killTimeout

// part begins to end the guard: nothing is claimed any more, all that is held is
// cut off and given back.
func (g *Guard) part(why error) {
	if g.parting.why != nil {
		return
	}
	g.opts.Log.Info("guard is to end", "why", why)
	g.parting.why, g.parting.held = why, g.opts.Clock.Boot()
	g.pace.dirty = true
}

// parted reports whether a guard that is to end may, and whether all that it had
// held is off then. It may not while it holds a lease: others wait for its end,
// and what runs under it still does.
func (g *Guard) parted() (over, off bool) {
	if g.parting.why == nil {
		return false, false
	}
	if g.node == nil {
		return true, true
	}
	now := g.opts.Clock.Boot()
	g.room.holds = g.node.Holds(now, g.room.holds[:0])
	if len(g.room.holds) == 0 {
		off = g.enforcer.idle()
		return off || now-g.parting.held >= partLimit, off
	}
	g.parting.held = now
	var stuck []string
	for _, h := range g.room.holds {
		name := g.serviceName(h.ID)
		if told, known := g.parting.forsaken[name]; known && now-told >= partLimit {
			stuck = append(stuck, string(name))
		}
	}
	if len(stuck) > 0 {
		g.trouble("parting", fmt.Sprintf("The guard was asked to end, and goes on: it cannot cut off %s, and keeps the lease so that nothing runs twice. "+
			"End the processes by hand, or switch this server off.", strings.Join(stuck, ", ")))
	}
	return false, false
}

// trouble notes what is in trouble, for the agent and once for the log.
func (g *Guard) trouble(key, text string) {
	if g.troubles[key] != text {
		g.troubles[key] = text
		g.pace.dirty = true
		g.opts.Log.Error("guard is in trouble", "trouble", text)
	}
}

// forsake gives up what is held and must not be any more: what the agent has not
// looked after for too long, and all of it if the guard is to end.
func (g *Guard) forsake(now time.Duration) {
	why := g.present.Absence(now)
	why.Ends = g.parting.why != nil
	g.node.SetIdle(now, why.Idle(&g.duty))
	if !g.books().Parts(why) {
		return
	}
	g.room.holds = g.node.Holds(now, g.room.holds[:0])
	up, back := g.books().Forsake(now, why, g.room.holds)
	for _, name := range up {
		g.opts.Log.Error("service is given up and cut off", logkey.Service, name, "agent_away", why.Alone, "guard_ends", why.Ends, "would_not_stop", !why.Ends && !why.Away())
	}
	if len(back) == 0 {
		return
	}
	for i := range back {
		g.giveBack(now, why.Alone, &back[i])
	}
	g.node.SetDuty(now, g.wish())
	if g.agent != nil && !why.Ends && why.Away() {
		g.agent.drop() // one that wakes up connects anew, and says its duty again
	}
}

// giveBack releases a lease whose service was forsaken and is off.
func (g *Guard) giveBack(now, alone time.Duration, b *custody.Given) {
	text := fmt.Sprintf("the agent was away for %s; the guard stopped the service and gave its lease back", alone.Round(time.Millisecond))
	if b.Fence {
		text = "a part would not stop; the guard cut the service off, made sure that nothing of it is left, and gave its lease back"
	}
	if g.parting.why != nil {
		text = "the guard was asked to end; it stopped the service and gave its lease back"
	}
	g.happen(guardwire.Happened{Kind: string(event.ServiceCut), At: guardwire.Boot(now), Service: b.Service, Epoch: b.Epoch, Text: text})
	g.node.Release(now, b.ID, b.Epoch)
}
