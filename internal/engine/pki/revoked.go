package pki

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/backoff"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

var watchRetry = backoff.Backoff{Min: time.Second, Max: 30 * time.Second, Jitter: 0.3}

// listTimeout bounds one listing of the revocations.
const listTimeout = 10 * time.Second

// Revocations is a [RevocationList] that follows the store. Until the first
// listing, and while the store does not answer, it knows what it knew last: a
// cell without its store goes on.
type Revocations struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger

	mu  sync.RWMutex
	ids map[string]bool
	at  uint64 // grows with every change, 0 before the first listing
}

// all returns what is revoked, in order, and a number that grows with every
// change: 0 while nothing is known yet.
func (v *Revocations) all() (ids []string, at uint64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Sorted(maps.Keys(v.ids)), v.at
}

// Revoked implements [RevocationList].
func (v *Revocations) Revoked(id string) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.ids[id]
}

// Run follows the store until ctx ends, and returns ctx's error.
func (v *Revocations) Run(ctx context.Context) error {
	for failed := 0; ; {
		listed, err := v.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if listed {
			failed = 0
		}
		if errors.Is(err, store.ErrCompacted) {
			continue // list again
		}
		failed++
		wait := watchRetry.Delay(failed, 0)
		v.Log.WarnContext(ctx, "revocations not followed", logkey.Err, err, "retry", wait)
		if err := v.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// follow lists all revocations and then every change. It reports whether it
// came as far as the list.
func (v *Revocations) follow(ctx context.Context) (listed bool, err error) {
	limited, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	entries, revision, err := v.Store.List(limited, record.KeyRevoked)
	if err != nil {
		return false, err
	}
	ids := make(map[string]bool, len(entries))
	for _, e := range entries {
		ids[strings.TrimPrefix(e.Key, record.KeyRevoked)] = true
	}
	v.mu.Lock()
	v.ids = ids
	v.at++
	v.mu.Unlock()
	return true, v.Store.Watch(ctx, record.KeyRevoked, revision+1, func(events []store.Event) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.at++
		for _, e := range events {
			id := strings.TrimPrefix(e.Key, record.KeyRevoked)
			if e.Deleted {
				delete(v.ids, id)
			} else {
				v.ids[id] = true
			}
		}
		return nil
	})
}
