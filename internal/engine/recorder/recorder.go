// Package recorder writes the events of a node into the store.
//
// The rule: noting an event never waits. What cannot be written waits in a bounded
// queue and is written in order; what had to be dropped is counted and told.
package recorder

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// Limits of the recorder.
const (
	// KeptEvents is how many events the cell keeps.
	KeptEvents = 2000
	// MaxQueue is how many events wait while the store is away. The oldest is
	// dropped for one more.
	MaxQueue = 1000
	// MaxText bounds an event's text, in bytes.
	MaxText = 2000

	attemptLimit  = 2 * time.Second
	batchEvents   = 40 // written, and as many deleted, by one transaction
	minRetry      = 100 * time.Millisecond
	maxRetry      = 5 * time.Second
	farewellLimit = time.Second
)

// Recorder writes this node's events into the store. Its exported fields are
// set before Run; Add is safe for concurrent use and may be called before Run.
type Recorder struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger
	Node  spec.NodeName

	mu      sync.Mutex
	queue   []event.Event
	dropped int
	wake    chan struct{} // has room for one; made under mu
}

// Add takes note of e and returns at once. It fills in the node and the times
// where they are zero. The sequence number is given when the cell has it.
func (r *Recorder) Add(e event.Event) {
	if e.Node == "" {
		e.Node = r.Node
	}
	if e.At.IsZero() {
		e.At = r.Clock.Now()
	}
	if e.Boot == 0 {
		e.Boot = r.Clock.Boot()
	}
	e.Text = clip(event.Tidy(e.Text), MaxText)

	r.mu.Lock()
	if len(r.queue) >= MaxQueue {
		r.queue = r.queue[1:]
		r.dropped++
	}
	r.queue = append(r.queue, e)
	wake := r.bell()
	r.mu.Unlock()

	select {
	case wake <- struct{}{}:
	default:
	}
}

// bell returns the channel that wakes Run. The caller holds mu.
func (r *Recorder) bell() chan struct{} {
	if r.wake == nil {
		r.wake = make(chan struct{}, 1)
	}
	return r.wake
}

// Run writes what Add took note of until ctx ends, then tries once more for
// what is left. It returns ctx's error.
func (r *Recorder) Run(ctx context.Context) error {
	r.mu.Lock()
	wake := r.bell()
	r.mu.Unlock()

	pause := minRetry
	var w writer
	for ctx.Err() == nil {
		batch := r.take()
		if len(batch) == 0 {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		err := r.write(ctx, &w, batch, attemptLimit)
		if err == nil {
			pause = minRetry
			continue
		}
		r.putBack(batch)
		if ctx.Err() == nil {
			r.Log.DebugContext(ctx, "events not written", logkey.Err, err, logkey.Count, len(batch))
		}
		if r.Clock.Sleep(ctx, pause) == nil {
			pause = min(2*pause, maxRetry)
		}
	}
	if batch := r.take(); len(batch) > 0 {
		if err := r.write(context.WithoutCancel(ctx), &w, batch, farewellLimit); err != nil {
			r.Log.WarnContext(ctx, "events lost at the end", logkey.Err, err, logkey.Count, len(batch))
		}
	}
	return ctx.Err()
}

// take removes the oldest events from the queue, at most a batch.
func (r *Recorder) take() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.queue), batchEvents)
	batch := append([]event.Event(nil), r.queue[:n]...)
	r.queue = r.queue[n:]
	if n == 0 {
		r.queue = nil
	}
	return batch
}

// putBack returns a batch to the head of the queue, less what is over its limit.
func (r *Recorder) putBack(batch []event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(batch, r.queue...)
	if over := len(r.queue) - MaxQueue; over > 0 {
		r.queue = r.queue[over:]
		r.dropped += over
	}
}

// write writes a batch, against others who write too.
func (r *Recorder) write(ctx context.Context, w *writer, batch []event.Event, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		done, err := w.write(ctx, r.Store, batch)
		if err != nil {
			return err
		}
		if done {
			r.noteDropped(ctx)
			return nil
		}
	}
}

func (r *Recorder) noteDropped(ctx context.Context) {
	r.mu.Lock()
	dropped := r.dropped
	r.dropped = 0
	r.mu.Unlock()
	if dropped > 0 {
		r.Log.WarnContext(ctx, "events dropped while the store was away", logkey.Count, dropped)
	}
}

// writer appends events. It remembers an append whose answer was lost, so that
// it is not repeated if it happened.
type writer struct {
	tried store.Op // the first event of that append; an empty key: none
}

// write appends batch and deletes the oldest events over [KeptEvents]. It
// returns false if another node has appended meanwhile.
func (w *writer) write(ctx context.Context, s store.Store, batch []event.Event) (bool, error) {
	if happened, err := w.settle(ctx, s); err != nil || happened {
		return happened, err
	}
	entry, found, err := s.Get(ctx, record.KeyEventHead)
	if err != nil {
		return false, err
	}
	head := record.EventHead{First: 1}
	if found {
		if err := json.Unmarshal(entry.Value, &head); err != nil {
			return false, fmt.Errorf("read %s: %w", record.KeyEventHead, err)
		}
	}
	ops, err := appendOps(&head, batch)
	if err != nil {
		return false, err
	}
	w.tried = ops[0]
	done, _, err := s.Txn(ctx, []store.Guard{{Key: record.KeyEventHead, Revision: entry.Revision}}, ops)
	if err == nil {
		w.tried = store.Op{}
	}
	return done, err
}

// settle finds out whether the append whose answer was lost has happened.
func (w *writer) settle(ctx context.Context, s store.Store) (bool, error) {
	if w.tried.Key == "" {
		return false, nil
	}
	entry, found, err := s.Get(ctx, w.tried.Key)
	if err != nil {
		return false, err
	}
	happened := found && string(entry.Value) == string(w.tried.Value)
	w.tried = store.Op{}
	return happened, nil
}

// appendOps numbers batch behind head and returns the writes: the events in
// order, the deletions, and the head.
func appendOps(head *record.EventHead, batch []event.Event) ([]store.Op, error) {
	var ops []store.Op
	for _, e := range batch {
		head.Last++
		e.Seq = head.Last
		value, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("write event %d: %w", e.Seq, err)
		}
		ops = append(ops, store.Op{Key: record.EventKey(e.Seq), Value: value})
	}
	for range batchEvents {
		if head.Last-head.First+1 <= KeptEvents {
			break
		}
		ops = append(ops, store.Op{Key: record.EventKey(head.First), Delete: true})
		head.First++
	}
	value, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	return append(ops, store.Op{Key: record.KeyEventHead, Value: value}), nil
}

// clip cuts s to at most limit bytes, at the end of a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
