package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// parting is how the guard gives up what it holds.
//
// A lease is given back only when nothing runs under it any more, and nothing can
// start. An agent that stood still may go on at any moment, and looks at the
// lease as the guard last told it right before it starts something. So what is
// forsaken is told no more; and the cut that proves it off begins when all that
// was told of its lease has passed.
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
	alone, parts := now-g.lastBeat, g.parting.why != nil
	g.node.SetIdle(now, parts || alone > g.shortestLoss())
	fences := slices.ContainsFunc(g.duty.Seeks, func(s guardwire.Seek) bool { return s.Fence })
	away := alone >= 2*guardwire.BeatEvery
	if !parts && !away && !fences {
		return
	}
	g.room.holds = g.node.Holds(now, g.room.holds[:0])
	released := false
	for i := range g.room.holds {
		h := &g.room.holds[i]
		at := slices.IndexFunc(g.duty.Seeks, func(s guardwire.Seek) bool { return s.ID == h.ID })
		if at < 0 || !parts && !g.duty.Seeks[at].Fence && (!away || alone <= g.duty.Seeks[at].AgentLoss) {
			continue
		}
		name := g.duty.Seeks[at].Service
		if _, known := g.parting.forsaken[name]; !known {
			g.parting.forsaken[name] = runsUntil(h, &g.duty.Seeks[at], now)
			g.opts.Log.Error("service is given up and cut off", logkey.Service, name, "agent_away", alone, "guard_ends", parts, "would_not_stop", g.duty.Seeks[at].Fence)
			continue
		}
		// The cut comes first, then the release; what cannot be cut off keeps its
		// lease.
		if g.enforcer.gone(name) {
			g.giveBack(now, h, at)
			released = true
		}
	}
	if !released {
		return
	}
	g.node.SetDuty(now, g.wish())
	if g.agent != nil && !parts && away {
		g.agent.drop() // one that wakes up connects anew, and says its duty again
	}
}

// giveBack releases a lease whose service was forsaken and is off.
func (g *Guard) giveBack(now time.Duration, h *lease.Hold, at int) {
	name := g.duty.Seeks[at].Service
	text := fmt.Sprintf("the agent was away for %s; the guard stopped the service and gave its lease back", (now - g.lastBeat).Round(time.Millisecond))
	if g.duty.Seeks[at].Fence {
		text = "a part would not stop; the guard cut the service off, made sure that nothing of it is left, and gave its lease back"
	}
	if g.parting.why != nil {
		text = "the guard was asked to end; it stopped the service and gave its lease back"
	}
	g.happen(guardwire.Happened{Kind: string(event.ServiceCut), At: guardwire.Boot(now), Service: name, Epoch: h.Number, Text: text})
	g.node.Release(now, h.ID, h.Number)
	// It is cut off again and again, and not claimed, until the agent says more.
	g.duty.Seeks = slices.Clone(g.duty.Seeks)
	g.duty.Seeks[at].Order = nil
	delete(g.parting.forsaken, name)
}
