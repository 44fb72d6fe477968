package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

// Survey returns the snapshot that a controller with this sight would decide on
// now, read from the store. How long ago a node reported goes by the node's own
// clock, since nobody watched; a report from the future counts as new.
func Survey(ctx context.Context, s store.Store, sight Sight, now time.Time) (fact.Snapshot, error) {
	m := newMirror()
	for _, prefix := range surveyed() {
		entries, revision, err := s.List(ctx, prefix)
		if err != nil {
			return fact.Snapshot{}, fmt.Errorf("read %s for a snapshot: %w", prefix, err)
		}
		for _, e := range entries {
			// What cannot be read is left out, as the controller leaves it out.
			_ = m.apply(store.Event{Entry: e}, now)
		}
		m.revision = max(m.revision, revision)
	}
	for name, r := range m.reports {
		if age := now.Sub(r.value.At); age > 0 {
			r.value.Seen = r.value.At
			m.reports[name] = r
		}
	}
	m.lost = sight.State.Lost
	return m.snapshot(sight, now.UTC()), nil
}

// surveyed are the keys, and prefixes of keys, whose records a snapshot is made of,
// for the controller and for [Survey] alike: the mirror takes what belongs into a
// snapshot from no other.
func surveyed() []string {
	return []string{
		record.KeyLease, record.KeyNodes, record.KeyWishes, record.KeyCellWish, record.KeyReports, record.KeyServices, record.KeyPlacements,
		record.KeyRecovery, record.KeyStorm, record.KeyNodeHistories, record.KeyServiceHistories,
	}
}
