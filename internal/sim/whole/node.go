package whole

import (
	"time"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// Boot is a moment on a host's CLOCK_BOOTTIME.
type Boot = time.Duration

// node is one host: its guard, its agent, its programs, its kernel and its disks.
type node struct {
	slot  uint8
	name  spec.NodeName
	up    bool
	clock script.Clock
	skew  time.Duration // of its wall clock

	guard guard
	agent agent
	wire  wire // the socket between the two

	programs []*program
	passes   map[spec.ServiceName]Boot // until when the kernel lets its addresses pass
	begun    map[key]*start            // starts that have found that they may, and go on from there
	journal  map[instance.Name]supervise.Memory
	disk     *mandate.View // the last known state
}

// epochDay is when histories begin, on the wall.
var epochDay = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newNode(w *world, slot uint8) *node {
	n := &node{slot: slot, name: script.NodeName(slot)}
	n.clock.Rate, n.skew = w.plan.Rates[slot], w.plan.Skews[slot]
	return n
}

// boottime is what the node's CLOCK_BOOTTIME shows.
func (w *world) boottime(n *node) Boot { return n.clock.Local(w.now) }

// wall is what the node's wall clock shows.
func (w *world) wall(n *node) time.Time { return epochDay.Add(w.now + n.skew) }

// boot starts a host: nothing but its disk is left of the life before.
func (w *world) boot(n *node) {
	n.up = true
	n.clock = script.Clock{Base: time.Second + w.random(time.Hour), Origin: w.now, Rate: w.plan.Rates[n.slot]}
	n.programs, n.passes, n.begun = nil, map[spec.ServiceName]Boot{}, map[key]*start{}
	n.journal = map[instance.Name]supervise.Memory{}
	n.guard.End()
	n.agent.End()
	w.cutWire(n)
	w.after(w.between(10*time.Millisecond, 500*time.Millisecond), n.agent.Only(func() { w.startAgent(n) }))
}

// crash ends a host and all that runs on it.
func (w *world) crash(n *node, d time.Duration) {
	n.up = false
	n.programs, n.begun = nil, map[key]*start{}
	n.guard.End()
	n.agent.End()
	n.agent.runners = nil
	w.cutWire(n)
	w.after(d, func() {
		if !n.up {
			w.boot(n)
		}
	})
}
