// Package trial takes changes back that were applied for a time and not confirmed
// in it. Only the node that is the controller does so.
package trial

import (
	"context"
	"log/slog"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	// every is how late it may be seen that a change is on trial.
	every = 2 * time.Second
	// retry is how long after a failure to take back it is tried again.
	retry = 200 * time.Millisecond
)

// Trials takes back what was not confirmed in time. Its fields are set once.
type Trials struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Leading reports whether this node is the controller.
	Leading func() bool
	// Deadlines are those of the changes that wait to be confirmed.
	Deadlines func() []time.Time
	// TakeBack takes back the changes whose time is up, and returns the services
	// that it changed.
	TakeBack func(ctx context.Context, now time.Time) ([]spec.ServiceName, error)
}

// Run looks after the changes on trial until ctx ends, and returns its error.
// The time of a change goes by the wall clock of the node that applied it, and
// that of the controller. What cannot be written is tried again.
func (t *Trials) Run(ctx context.Context) error {
	pause := every
	for {
		if err := t.Clock.Sleep(ctx, pause); err != nil {
			return err
		}
		now := t.Clock.Now()
		if pause = t.next(now); pause > 0 {
			continue
		}
		pause = retry // the deadlines show by then what came of it
		back, err := t.TakeBack(ctx, now)
		switch {
		case err != nil && ctx.Err() == nil:
			t.Log.WarnContext(ctx, "change not taken back", logkey.Err, err)
		case len(back) > 0:
			t.Log.InfoContext(ctx, "change taken back", logkey.Count, len(back))
		}
	}
}

// next is how long to wait; 0: the time of some change is up.
func (t *Trials) next(now time.Time) time.Duration {
	if !t.Leading() {
		return every
	}
	wait := every
	for _, d := range t.Deadlines() {
		wait = min(wait, d.Sub(now))
	}
	return max(wait, 0)
}
