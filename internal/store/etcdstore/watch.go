package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/keelson/keelson/internal/store"
)

const (
	// watchPeriod is how often a watch looks whether it still hears of the
	// store. After one silent period it asks, after two more it starts anew.
	watchPeriod = 3 * time.Second
	// watchSilence is how many periods a watch may be silent.
	watchSilence = 3
	// watchAttempts is how often in a row a watch starts anew without hearing
	// anything, until it ends with [store.ErrUnavailable].
	watchAttempts = 3
)

var errSilent = errors.New("the watch fell silent")

// Watch implements [store.Store]. It outlives the loss of a connection and of
// the leader; what it has told it does not tell again.
func (c *Client) Watch(ctx context.Context, prefix string, from int64, f func([]store.Event) error) error {
	if from == 0 {
		_, revision, err := c.ask(ctx, nil)
		if err != nil {
			return fmt.Errorf("watch %s: %w", prefix, err)
		}
		from = revision + 1
	}
	w := watch{client: c, key: c.data(prefix), next: from, f: f}
	for attempt := 0; attempt < watchAttempts; attempt++ {
		err := w.run(ctx)
		switch {
		case w.failed != nil:
			return w.failed
		case ctx.Err() != nil:
			return fmt.Errorf("watch %s: %w", prefix, ctx.Err())
		case errors.Is(err, store.ErrCompacted):
			return fmt.Errorf("watch %s from revision %d: %w", prefix, w.next, err)
		}
		if w.heard {
			attempt = -1
		}
		if c.options.Clock.Sleep(ctx, c.options.Election/2) != nil {
			return fmt.Errorf("watch %s: %w", prefix, ctx.Err())
		}
	}
	return fmt.Errorf("watch %s: %w", prefix, c.unavailable(ctx, context.DeadlineExceeded))
}

// watch is one call of Watch.
type watch struct {
	client *Client
	key    string
	next   int64 // the revision that has not been told yet
	f      func([]store.Event) error

	heard  bool  // by the last run
	failed error // of f
}

// run watches until something ends it.
func (w *watch) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	w.heard = false
	answers := w.client.etcd.Watch(ctx, w.key, clientv3.WithPrefix(), clientv3.WithRev(w.next),
		clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	ticker := w.client.options.Clock.Tick(watchPeriod)
	defer ticker.Stop()
	silent := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case answer, open := <-answers:
			if !open {
				return errSilent
			}
			if err := w.take(ctx, answer); err != nil {
				return err
			}
			silent = 0
		case <-ticker.C:
			silent++
			if silent >= watchSilence {
				return errSilent
			}
			// The answer comes to all watches of the client. An error shows as
			// silence.
			_ = w.client.once(ctx, w.client.etcd.RequestProgress)
		}
	}
}

func (w *watch) take(ctx context.Context, answer clientv3.WatchResponse) error {
	if err := answer.Err(); err != nil {
		return translate(ctx, err)
	}
	w.heard = true
	if answer.IsProgressNotify() {
		w.next = max(w.next, answer.Header.GetRevision()+1)
		return nil
	}
	var batch []store.Event
	for _, e := range answer.Events {
		if e.Kv.ModRevision < w.next {
			continue
		}
		event := store.Event{
			Entry: store.Entry{
				Key:      strings.TrimPrefix(string(e.Kv.Key), w.client.data("")),
				Value:    e.Kv.Value,
				Revision: e.Kv.ModRevision,
			},
			Deleted: e.Type == clientv3.EventTypeDelete,
		}
		if event.Deleted {
			event.Value = nil
		}
		batch = append(batch, event)
	}
	if len(batch) == 0 {
		return nil
	}
	if err := w.f(batch); err != nil {
		w.failed = err
		return err
	}
	w.next = batch[len(batch)-1].Revision + 1
	return nil
}
