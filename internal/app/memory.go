package app

import (
	"context"
	"time"

	"github.com/keelson/keelson/internal/base/footprint"
)

// shedAfter is how long after its start the agent gives back what only the
// start needed.
const shedAfter = 20 * time.Second

// shedLater sheds once the start is over.
func (n *node) shedLater(ctx context.Context) error {
	if err := n.clock.Sleep(ctx, shedAfter); err != nil {
		return err
	}
	if err := footprint.Shed(); err != nil {
		n.log.Debug("pages not given back", "err", err)
	}
	<-ctx.Done()
	return ctx.Err()
}
