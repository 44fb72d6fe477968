package memstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/store"
)

// session is open until it is closed, or until its time has passed after its
// context ended.
type session struct {
	store *Store
	ttl   time.Duration
	done  chan struct{}
	once  sync.Once
	stop  func() bool // detaches the session from its context

	// Guarded by store.mu.
	deadline time.Time // zero while the session is renewed
	ended    bool
}

// Session implements [store.Store].
func (s *Store) Session(ctx context.Context, ttl time.Duration) (store.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	whole := max(time.Second, (ttl + time.Second - 1).Truncate(time.Second))
	open := &session{store: s, ttl: whole, done: make(chan struct{})}
	open.stop = context.AfterFunc(ctx, open.abandon)
	s.sessions[open] = struct{}{}
	return open, nil
}

// Done implements [store.Session].
func (o *session) Done() <-chan struct{} { return o.done }

// Close implements [store.Session].
func (o *session) Close(ctx context.Context) error {
	o.stop()
	o.shut()
	s := o.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.deadline.IsZero() {
		// Should the store not answer, the session runs out by itself.
		o.deadline = s.clock.Now().Add(o.ttl)
	}
	if err := s.ready(ctx); err != nil {
		s.wake()
		return fmt.Errorf("close a session: %w", err)
	}
	o.ended = true
	s.bury()
	return nil
}

// abandon lets the session run out: nobody renews it any more.
func (o *session) abandon() {
	o.shut()
	o.store.mu.Lock()
	defer o.store.mu.Unlock()
	if o.deadline.IsZero() {
		o.deadline = o.store.clock.Now().Add(o.ttl)
	}
	o.store.wake()
}

func (o *session) shut() { o.once.Do(func() { close(o.done) }) }

// bury removes the sessions that have ended, and their keys. Each session's
// keys go in one revision. The caller holds the lock.
func (s *Store) bury() {
	now := s.clock.Now()
	for open := range s.sessions {
		if !open.ended && (open.deadline.IsZero() || now.Before(open.deadline)) {
			continue
		}
		open.ended = true
		delete(s.sessions, open)
		var ops []store.Op
		for _, key := range slices.Sorted(maps.Keys(s.items)) {
			if s.items[key].session == open {
				ops = append(ops, store.Op{Key: key, Delete: true})
			}
		}
		s.apply(ops)
	}
}

// nextExpiry returns how long it is until the next session runs out, 0 if none
// is about to. The caller holds the lock and has called bury.
func (s *Store) nextExpiry() time.Duration {
	var next time.Duration
	now := s.clock.Now()
	for open := range s.sessions {
		if open.deadline.IsZero() {
			continue
		}
		left := max(1, open.deadline.Sub(now))
		if next == 0 || left < next {
			next = left
		}
	}
	return next
}
