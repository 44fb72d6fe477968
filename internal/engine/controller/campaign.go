package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

// office is an election that was won.
type office struct {
	c        *Controller
	session  store.Session
	revision int64              // of the controller's key, which every write is guarded by
	release  context.CancelFunc // ends the renewal of the session
}

// guard is the condition that this is still the controller.
func (o *office) guard() store.Guard {
	return store.Guard{Key: record.KeyController, Revision: o.revision}
}

// end leaves the office, so that another controller need not wait for the
// session to run out.
func (o *office) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := o.session.Close(ctx); err != nil {
		o.c.Log.DebugContext(ctx, "controller session left to run out", logkey.Err, err)
	}
	o.release()
}

// errVacant ends a watch on the controller's key.
var errVacant = errors.New("the office is vacant")

// vacant reports whether there is no controller. If there is one it waits until
// it is gone, but no longer than watchLimit.
func (c *Controller) vacant(ctx context.Context) (bool, error) {
	entry, taken, err := c.get(ctx, record.KeyController)
	if err != nil || !taken {
		return err == nil, err
	}
	watch, cancel := context.WithTimeout(ctx, watchLimit)
	defer cancel()
	err = c.Store.Watch(watch, record.KeyController, entry.Revision+1, func(events []store.Event) error {
		for _, e := range events {
			if e.Key == record.KeyController && e.Deleted {
				return errVacant
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errVacant):
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case watch.Err() != nil, errors.Is(err, store.ErrCompacted):
		return false, nil // look again
	}
	return false, err
}

func (c *Controller) get(ctx context.Context, key string) (store.Entry, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.Store.Get(ctx, key)
}

// campaign tries once to become the controller. It returns nil if another was
// faster.
func (c *Controller) campaign(ctx context.Context) (*office, error) {
	session, release, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	o := &office{c: c, session: session, release: release}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	won, revision, err := c.Store.Txn(call,
		[]store.Guard{{Key: record.KeyController, Revision: 0}},
		[]store.Op{{Key: record.KeyController, Value: []byte(c.Node), Session: session}})
	if err != nil || !won {
		// If the answer was lost the key may be there: it goes with the session.
		o.end(ctx)
		if err != nil {
			err = fmt.Errorf("campaign for the controller: %w", err)
		}
		return nil, err
	}
	o.revision = revision
	return o, nil
}

// open opens a session that is renewed until release is called. The opening
// itself is bounded, which the session's context must not be.
func (c *Controller) open(ctx context.Context) (session store.Session, release context.CancelFunc, err error) {
	ctx, release = context.WithCancel(ctx)
	opened, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		timer := c.Clock.Timer(callTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			release()
		case <-opened:
		}
	}()
	session, err = c.Store.Session(ctx, sessionTTL)
	close(opened)
	<-watched
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("open a controller session: %w", err)
	}
	return session, release, nil
}
