// Package mirror keeps a copy of the cell's records on this node, for those who
// watch.
package mirror

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/store"
)

// Between two attempts to follow the store.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 5 * time.Second
)

// Stale is how long the store may be silent until the mirror counts as
// stale. Every agent writes a report at least every 10 s, so silence means
// that nothing can be written.
const Stale = 25 * time.Second

// Mirror is this node's copy of the records, kept up to date by a watch, so
// that looking costs the store nothing and goes on while it is away. Its
// exported fields are set before Run; the methods are safe for concurrent use.
type Mirror struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger

	mu      sync.Mutex
	records cell.Records
	loaded  bool
	away    bool          // the store refused or ended the watch
	heard   time.Duration // CLOCK_BOOTTIME of the last word of the store
}

// Records returns the copy, and whether it is stale. Before the first load it
// is empty and stale. The caller must not change it.
func (m *Mirror) Records() (r cell.Records, stale bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records, !m.loaded || m.away || m.Clock.Boot()-m.heard > Stale
}

// Run keeps the copy up to date until ctx ends, and returns its error.
func (m *Mirror) Run(ctx context.Context) error {
	pause := minRetry
	for ctx.Err() == nil {
		began := m.Clock.Boot()
		err := m.follow(ctx)
		m.lost()
		if ctx.Err() != nil {
			break
		}
		if !errors.Is(err, store.ErrCompacted) {
			m.Log.DebugContext(ctx, "records not followed", logkey.Err, err)
		}
		if m.Clock.Boot()-began > maxRetry {
			pause = minRetry
		}
		if m.Clock.Sleep(ctx, pause) == nil {
			pause = min(2*pause, maxRetry)
		}
	}
	return ctx.Err()
}

// follow loads the records and watches them until the watch ends.
func (m *Mirror) follow(ctx context.Context) error {
	once, cancel := context.WithTimeout(ctx, cell.AttemptTimeout)
	records, from, err := cell.Load(once, m.Store)
	cancel()
	if err != nil {
		return err
	}
	m.set(records)
	return m.Store.Watch(ctx, "", from, func(changes []store.Event) error {
		fresh := m.records.Clone() // only this goroutine writes it
		for _, change := range changes {
			if err := fresh.Apply(change); err != nil {
				m.Log.ErrorContext(ctx, "record not understood", logkey.Err, err)
			}
		}
		m.set(fresh)
		return nil
	})
}

func (m *Mirror) set(r cell.Records) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records, m.loaded, m.away, m.heard = r, true, false, m.Clock.Boot()
}

func (m *Mirror) lost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = true
}
