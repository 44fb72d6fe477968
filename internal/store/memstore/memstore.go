// Package memstore is a [store.Store] in memory: for tests, for the simulator
// and for development without etcd.
//
// Its main rule is to answer as etcd would: same revisions, same order of
// events, same limits. It starts no goroutine of its own; sessions run out
// when somebody looks. It refuses to keep anything: a stopped process forgets.
package memstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/store"
)

// History is how many changes a Store remembers for watches. Older ones are
// compacted.
const History = 10_000

var (
	errEmptyKey = errors.New("the key is empty")
	errKeyTwice = errors.New("a transaction writes a key twice")
	errForeign  = errors.New("the session belongs to another store")
)

// Store is a store in memory. Make one with [New]. It is safe for concurrent
// use.
type Store struct {
	clock clock.Clock

	mu        sync.Mutex
	revision  int64
	items     map[string]item
	history   []store.Event // by revision
	compacted int64         // all events up to this revision are gone
	changed   chan struct{} // closed and replaced at every change
	sessions  map[*session]struct{}

	unavailable bool
	lose        int // answers of transactions still to be lost
}

type item struct {
	value    []byte
	revision int64
	session  *session
}

// New returns an empty store at revision 1, whose sessions run by c.
func New(c clock.Clock) *Store {
	return &Store{
		clock:    c,
		revision: 1,
		items:    make(map[string]item),
		changed:  make(chan struct{}),
		sessions: make(map[*session]struct{}),
	}
}

// SetUnavailable makes every call, and every watch that runs, end with
// [store.ErrUnavailable] until it is called with false. Sessions neither end
// nor run out meanwhile, as in a cluster without quorum.
func (s *Store) SetUnavailable(unavailable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unavailable = unavailable
	s.wake()
}

// LoseAnswers makes the next n transactions happen without telling: the caller
// gets [store.ErrUnavailable].
func (s *Store) LoseAnswers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = n
}

// Compact forgets all changes up to revision, which must not be later than the
// store's own.
func (s *Store) Compact(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compact(min(revision, s.revision))
}

// EndSessions ends every open session at once, as if none had been renewed
// for its whole time.
func (s *Store) EndSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for open := range s.sessions {
		open.ended = true
		open.shut()
	}
	s.bury()
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (store.Entry, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return store.Entry{}, false, fmt.Errorf("get %s: %w", key, err)
	}
	if key == "" {
		return store.Entry{}, false, fmt.Errorf("get: %w", errEmptyKey)
	}
	it, ok := s.items[key]
	if !ok {
		return store.Entry{}, false, nil
	}
	return store.Entry{Key: key, Value: slices.Clone(it.value), Revision: it.revision}, true, nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, prefix string) ([]store.Entry, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	var entries []store.Entry
	for key, it := range s.items {
		if strings.HasPrefix(key, prefix) {
			entries = append(entries, store.Entry{Key: key, Value: slices.Clone(it.value), Revision: it.revision})
		}
	}
	slices.SortFunc(entries, func(a, b store.Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, s.revision, nil
}

// Txn implements [store.Store].
func (s *Store) Txn(ctx context.Context, guards []store.Guard, ops []store.Op) (bool, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return false, 0, fmt.Errorf("transaction: %w", err)
	}
	if err := s.check(guards, ops); err != nil {
		return false, 0, fmt.Errorf("transaction: %w", err)
	}
	for _, g := range guards {
		if s.items[g.Key].revision != g.Revision {
			return false, s.revision, nil
		}
	}
	if err := s.checkSessions(ops); err != nil {
		return false, 0, fmt.Errorf("transaction: %w", err)
	}
	s.apply(ops)
	if s.lose > 0 {
		s.lose--
		return false, 0, fmt.Errorf("transaction: answer lost: %w", store.ErrUnavailable)
	}
	return true, s.revision, nil
}

func (s *Store) check(guards []store.Guard, ops []store.Op) error {
	if n := len(guards) + len(ops); n > store.MaxOps {
		return fmt.Errorf("%d guards and ops, at most %d: %w", n, store.MaxOps, store.ErrTooLarge)
	}
	size := 0
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		if op.Key == "" {
			return errEmptyKey
		}
		if seen[op.Key] {
			return fmt.Errorf("%s: %w", op.Key, errKeyTwice)
		}
		seen[op.Key] = true
		size += len(op.Value)
	}
	if size > store.MaxValue {
		return fmt.Errorf("%d bytes, at most %d: %w", size, store.MaxValue, store.ErrTooLarge)
	}
	return nil
}

func (s *Store) checkSessions(ops []store.Op) error {
	for _, op := range ops {
		if op.Session == nil || op.Delete {
			continue
		}
		own, ok := op.Session.(*session)
		if !ok || own.store != s {
			return fmt.Errorf("%s: %w", op.Key, errForeign)
		}
		if own.ended {
			return fmt.Errorf("%s: %w", op.Key, store.ErrSessionEnded)
		}
	}
	return nil
}

// apply carries out ops as one revision, if they change anything.
func (s *Store) apply(ops []store.Op) {
	next := s.revision + 1
	var events []store.Event
	for _, op := range ops {
		if op.Delete {
			if _, ok := s.items[op.Key]; !ok {
				continue
			}
			delete(s.items, op.Key)
			events = append(events, store.Event{Entry: store.Entry{Key: op.Key, Revision: next}, Deleted: true})
			continue
		}
		it := item{value: slices.Clone(op.Value), revision: next}
		if own, ok := op.Session.(*session); ok {
			it.session = own
		}
		s.items[op.Key] = it
		events = append(events, store.Event{Entry: store.Entry{Key: op.Key, Value: it.value, Revision: next}})
	}
	if len(events) == 0 {
		return
	}
	s.revision = next
	s.history = append(s.history, events...)
	if over := len(s.history) - History; over > 0 {
		s.compact(s.history[over-1].Revision)
	}
	s.wake()
}

func (s *Store) compact(revision int64) {
	s.compacted = max(s.compacted, revision)
	n, _ := slices.BinarySearchFunc(s.history, revision+1,
		func(e store.Event, r int64) int { return int(e.Revision - r) })
	s.history = slices.Clone(s.history[n:])
}

// ready reports why a call cannot be answered, after it has removed the keys
// of sessions that have run out. The caller holds the lock.
func (s *Store) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.unavailable {
		return store.ErrUnavailable
	}
	s.bury()
	return nil
}

func (s *Store) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Watch implements [store.Store].
func (s *Store) Watch(ctx context.Context, prefix string, from int64, f func([]store.Event) error) error {
	next := from
	for {
		batch, wait, err := s.look(ctx, prefix, &next)
		if err != nil {
			return fmt.Errorf("watch %s: %w", prefix, err)
		}
		if len(batch) > 0 {
			if err := f(batch); err != nil {
				return err
			}
			continue
		}
		if err := s.await(ctx, wait); err != nil {
			return fmt.Errorf("watch %s: %w", prefix, err)
		}
	}
}

// pause is what a watch waits for: a change, or the end of a session.
type pause struct {
	changed <-chan struct{}
	expiry  time.Duration // 0: no session is about to run out
}

// look returns the events from *next on and moves *next behind them.
func (s *Store) look(ctx context.Context, prefix string, next *int64) ([]store.Event, pause, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return nil, pause{}, err
	}
	if *next == 0 {
		*next = s.revision + 1
	}
	if *next <= s.compacted {
		return nil, pause{}, fmt.Errorf("from revision %d: %w", *next, store.ErrCompacted)
	}
	at, _ := slices.BinarySearchFunc(s.history, *next,
		func(e store.Event, r int64) int { return int(e.Revision - r) })
	var batch []store.Event
	for _, e := range s.history[at:] {
		if strings.HasPrefix(e.Key, prefix) {
			e.Value = slices.Clone(e.Value)
			batch = append(batch, e)
		}
	}
	*next = max(*next, s.revision+1)
	return batch, pause{changed: s.changed, expiry: s.nextExpiry()}, nil
}

func (s *Store) await(ctx context.Context, p pause) error {
	var expired <-chan time.Time
	if p.expiry > 0 {
		timer := s.clock.Timer(p.expiry)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.changed:
	case <-expired:
	}
	return nil
}
