package controller

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

const (
	// keyLife is how long a key of the lease plane seals.
	keyLife = 30 * 24 * time.Hour
	// keySpread is how long nodes have to learn of each step.
	keySpread = time.Hour
	// hurriedSpread is the same after a node was removed: it has the keys still.
	hurriedSpread = 5 * time.Minute
	// keyHeard is how old the report of a living node may be for it to count as
	// one that hears of changes.
	keyHeard = time.Minute

	keyBytes = 32
)

// rotate returns the keys that are due and whether they differ. A new key first
// opens, then seals while the old one still opens, and then is alone: so a node
// that is one step behind is understood, and understands. A key that a node knew
// when it was removed is due at once. fresh makes a key.
func rotate(c record.Cell, now, removed time.Time, fresh func() []byte) ([]record.LinkKey, bool) {
	keys := slices.Clone(c.LinkKeys)
	since := func(k record.LinkKey) time.Time {
		if k.Since.IsZero() {
			return c.Created
		}
		return k.Since
	}
	betrayed := func(k record.LinkKey) bool { return removed.After(since(k)) && !removed.After(now) }
	spread := keySpread
	if slices.ContainsFunc(keys, betrayed) {
		spread = hurriedSpread
	}
	switch {
	case len(keys) == 0:
		return keys, false
	case len(keys) == 1:
		if now.Sub(since(keys[0])) < keyLife && !betrayed(keys[0]) {
			return keys, false
		}
		return append(keys, record.LinkKey{ID: keys[0].ID + 1, Key: fresh(), Since: now.UTC()}), true
	}
	next := slices.MaxFunc(keys, func(a, b record.LinkKey) int { return since(a).Compare(since(b)) })
	age := now.Sub(since(next))
	switch {
	case age < spread:
		return keys, false
	case next.ID != keys[0].ID:
		keys = slices.DeleteFunc(keys, func(k record.LinkKey) bool { return k.ID == next.ID })
		return slices.Insert(keys, 0, next), true
	case age < 2*spread:
		return keys, false
	}
	return []record.LinkKey{next}, true
}

// inTouch reports whether every node that lives hears of changes, so that none is
// left behind by a change of keys.
func (m *mirror) inTouch(s Sight, now time.Time) bool {
	for name, n := range m.nodes {
		if s.State.Alive>>n.value.Slot&1 == 1 && now.Sub(m.reports[name].value.Seen) > keyHeard {
			return false
		}
	}
	return true
}

// rotateKeys carries out the step of the keys' rotation that is due, if any.
func (t *term) rotateKeys(ctx context.Context, sight Sight, now time.Time) {
	cell := t.mirror.cell
	if cell.revision == 0 || !t.mirror.inTouch(sight, now) {
		return
	}
	keys, changed := rotate(cell.value, now, t.mirror.removed, newKey)
	if !changed {
		return
	}
	due := cell.value
	due.LinkKeys = keys
	guards := []store.Guard{{Key: record.KeyCell, Revision: cell.revision}}
	if t.write(ctx, guards, []store.Op{put(record.KeyCell, due)}) {
		t.Log.InfoContext(ctx, "heartbeat keys changed", "seals", keys[0].ID, "keys", len(keys))
	}
}

func newKey() []byte {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // it never fails
	return key
}
