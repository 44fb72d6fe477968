package agent

import (
	"context"
	"errors"
	"time"

	"github.com/keelson/keelson/internal/base/backoff"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/store"
)

// errRecord means that a record of the store cannot be read. It is ignored; the
// one before stays in force.
var errRecord = errors.New("not a readable record")

// storeRetry is the pause after a call of the store that failed.
var storeRetry = backoff.Backoff{Min: 100 * time.Millisecond, Max: 3 * time.Second, Jitter: 0.3}

// watcher follows one topic of the store and hands its news on.
type watcher struct {
	options *Options
	topic   string
	news    chan<- change

	from int64 // where to go on watching; 0: list first
}

// run follows the topic until ctx ends. While the store does not answer, it
// tries again for ever, with pauses.
func (w *watcher) run(ctx context.Context) {
	failed := 0
	for ctx.Err() == nil {
		before := w.from
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, store.ErrCompacted) {
			w.from = 0
		}
		if w.from > before {
			failed = 0 // there was an answer
		}
		failed++
		if failed == 1 || failed%100 == 0 {
			w.options.Log.Warn("watch of the store interrupted", "topic", w.topic, logkey.Err, err, logkey.Count, failed)
		}
		seed := uint64(w.options.Clock.Boot())
		if w.options.Clock.Sleep(ctx, storeRetry.Delay(failed, seed)) != nil {
			return
		}
	}
}

// follow lists if need be and watches until that ends.
func (w *watcher) follow(ctx context.Context) error {
	if w.from == 0 {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	// The last revision is asked for once more: to take news twice is harmless,
	// to miss the second half of a revision is not.
	return w.options.Store.Watch(ctx, w.topic, w.from, func(events []store.Event) error {
		if err := w.send(ctx, change{topic: w.topic, events: events}); err != nil {
			return err
		}
		for _, e := range events {
			w.from = max(w.from, e.Revision)
		}
		return nil
	})
}

func (w *watcher) list(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	entries, revision, err := w.options.Store.List(limited, w.topic)
	if err != nil {
		return err
	}
	c := change{topic: w.topic, whole: true}
	for _, e := range entries {
		c.events = append(c.events, store.Event{Entry: e})
	}
	if err := w.send(ctx, c); err != nil {
		return err
	}
	w.from = revision
	return nil
}

func (w *watcher) send(ctx context.Context, c change) error {
	select {
	case w.news <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
