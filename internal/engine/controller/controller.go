// Package controller is the planner of a cell: one node, elected through the
// store, that writes down who shall run what.
//
// It reacts to state, not to events: whatever changes, it takes a snapshot of
// all that is known, asks package decide, and writes what differs. Its main
// rule is that every write is guarded by the revision of what it was decided
// on and by the election itself, so that a controller who was deposed without
// noticing changes nothing. It starts and stops nothing on any node, and no
// failover waits for it: the succession lists that it wrote hold without it.
package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/keelson/keelson/internal/base/backoff"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// Times and limits.
const (
	sessionTTL   = 3 * time.Second        // after which a dead controller's key vanishes
	callTimeout  = 2 * time.Second        // of one call to the store
	decidePause  = 20 * time.Millisecond  // shortest time between two decisions
	decideEvery  = 5 * time.Second        // longest time between two decisions
	retryAfter   = 200 * time.Millisecond // until a write that was not done is tried again
	fitEvery     = 500 * time.Millisecond // between two looks at whether to campaign
	dazedFor     = time.Second            // how long a sight must be fit again until it counts
	unfitLimit   = 3 * time.Second        // how long a controller without sight stays one
	watchLimit   = 10 * time.Second       // after which the election is looked at anew
	batchesAhead = 16                     // of store events, that wait for the planner
)

// View is what the node's guard sees.
type View interface {
	// Latest returns the newest sight.
	Latest() Sight
	// Changed returns a channel that is closed when Latest will differ from what
	// it returned after the call of Changed.
	Changed() <-chan struct{}
}

// Sight is one look at the lease plane.
type Sight = survey.Sight

// Events takes what is worth an event. It must not block.
type Events interface {
	Emit(event.Event)
}

// Options are what a controller needs. All fields are required.
type Options struct {
	Node   spec.NodeName // this node
	Store  store.Store
	View   View
	Events Events
	Clock  clock.Clock
	Log    *slog.Logger
}

// Controller campaigns and, while it is elected, plans. Make one with [New].
type Controller struct {
	Options
	leading atomic.Bool
}

// New returns a controller that does nothing until [Controller.Run].
func New(o Options) *Controller { return &Controller{Options: o} }

// Leading reports whether this node is the controller, as far as it knows. It
// is safe for concurrent use. Whoever acts on it guards its writes: the answer
// may be old by as much as the session lasts.
func (c *Controller) Leading() bool { return c.leading.Load() }

// Run campaigns and plans until ctx ends, and returns its error. What goes
// wrong is tried again.
func (c *Controller) Run(ctx context.Context) error {
	pause := backoff.Backoff{Min: retryAfter, Max: decideEvery, Jitter: 0.5}
	failed := 0
	for ctx.Err() == nil {
		err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			failed = 0
		case errors.Is(err, store.ErrUnavailable):
			failed++
			c.Log.DebugContext(ctx, "store not reached by the controller", logkey.Err, err)
		default:
			failed++
			c.Log.WarnContext(ctx, "controller interrupted", logkey.Err, err)
		}
		if err := c.Clock.Sleep(ctx, pause.Delay(failed, uint64(c.Clock.Boot()))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// round is one wait for the office and, if it is won, one term in it.
func (c *Controller) round(ctx context.Context) error {
	if !c.View.Latest().Fit() {
		return c.Clock.Sleep(ctx, fitEvery)
	}
	free, err := c.vacant(ctx)
	if err != nil || !free {
		return err
	}
	won, err := c.campaign(ctx)
	if err != nil || won == nil {
		return err
	}
	defer won.end(ctx)
	return c.serve(ctx, won)
}
