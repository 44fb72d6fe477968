package custody

import (
	"slices"
	"time"
)

// Timing of cuts.
const (
	// RetryCut is the pause after a cut that could not be proven, and the least
	// time between the beginnings of two cuts of what did not run in between.
	RetryCut = 500 * time.Millisecond
	// Recut is the pause between two cuts of a service that this node does not
	// hold.
	Recut = 2 * time.Second
	// Idle is the longest time between two looks.
	Idle = time.Second
	// UnprovenLimit is how long after the end of an exclusive lease the cut may
	// stay unproven until the watchdog has to end the node.
	UnprovenLimit = 5 * time.Second
)

// Cut is what has been done about one service. The zero value is one of which
// nothing is known. It belongs to one goroutine.
type Cut struct {
	Order
	cutting bool          // an attempt to cut it off is under way
	clean   bool          // it was proven off, or could run, under this guard
	began   time.Duration // when the last attempt began, 0: there was none
	again   time.Duration // when to cut it off again, 0: at once
	held    bool          // it could run, and is not proven off since
	ended   time.Duration // when it was first seen that it may run no more, while held
}

// Take takes the newest order.
func (c *Cut) Take(o *Order) {
	if c.Epoch != o.Epoch || !slices.Equal(o.Cgroups, c.Cgroups) || !slices.Equal(o.Addresses, c.Addresses) {
		c.again = 0
	}
	c.Order = *o
}

// Due reports whether a cut is to begin now; if not, wait is when to look again.
// MayRun is true for what is let run.
func (c *Cut) Due(now time.Duration) (cut, mayRun bool, wait time.Duration) {
	if left := c.Until - Margin - now; left > 0 {
		c.again, c.held, c.ended, c.clean = 0, true, 0, true
		return false, true, min(left, Idle)
	}
	if c.held && c.ended == 0 {
		c.ended = now
	}
	if c.cutting || planted(leaseOutlived) && c.Proof == 0 {
		return false, false, Idle
	}
	if c.Spared {
		c.held, c.ended = false, 0
		return false, false, Idle
	}
	next := c.again
	if !c.held && c.began > 0 {
		next = max(next, c.began+RetryCut)
	}
	if now < next {
		return false, false, next - now
	}
	return true, false, 0
}

// Begin notes that a cut begins.
func (c *Cut) Begin(now time.Duration) { c.cutting, c.began = true, now }

// Cutting reports whether one is under way.
func (c *Cut) Cutting() bool { return c.cutting }

// Failed takes an attempt that began at began and proved nothing.
func (c *Cut) Failed(now, began time.Duration) {
	c.cutting, c.again = false, now+RetryCut
	if !c.clean && c.Exclusive && !c.Spared && !c.held {
		// What a guard before this one left, and this one cannot end, may have
		// been running under a lease.
		c.held, c.ended = true, began
	}
}

// Done takes an attempt that began at began and left nothing of the service.
// over: the newest order lets it run no more. Done reports whether the service is
// proven off by it.
func (c *Cut) Done(now, began time.Duration, over bool) bool {
	c.cutting = false
	// Looked at again: a start that was under way may have come after it.
	c.again = now + Recut
	if began < c.Proof {
		c.again = min(c.again, max(now, c.Proof))
		return false
	}
	if over {
		c.held, c.clean = false, true
	}
	return over
}

// Busy reports whether it is being cut off, or has still to be.
func (c *Cut) Busy(now time.Duration) bool { return c.cutting || c.held && c.Over(now) }

// Stuck reports whether it is exclusive and not proven off in time.
func (c *Cut) Stuck(now time.Duration) bool {
	return c.held && c.Over(now) && c.Exclusive && now-c.ended > UnprovenLimit
}

// renewAfter is the part of a lease that passes between two renewals of an
// address in the kernel, as a divisor. A guard that freezes loses its
// addresses that much earlier, and the kernel is asked less often.
const renewAfter = 2

// Pass is what the kernel was told of a service's addresses: until when it lets
// them through by itself.
type Pass struct {
	Passing bool
	Until   time.Duration // until when
	again   time.Duration // when to renew that
}

// Due returns until when the kernel is to let the addresses pass, if it is to be
// told anew, given until when the service may run, which is later than now. next
// is when to look again, once it was told.
func (p *Pass) Due(now, runs time.Duration) (until time.Duration, tell bool) {
	until = runs - Margin/2
	return until, !p.Passing || now >= p.again && until > p.Until
}

// Told notes that the kernel lets them pass until then.
func (p *Pass) Told(now, until time.Duration) {
	p.Passing, p.Until = true, until
	p.again = now + (until-now)/renewAfter
}

// Next is when the kernel is to be told again.
func (p *Pass) Next() time.Duration { return p.again }
