package controller

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

const (
	maxOwed     = 8        // decisions that wait to be recorded; the oldest is dropped for one more
	maxNamed    = 100      // services named with a recorded decision
	maxDropped  = 50       // old decisions that one transaction drops
	archiveRate = 16 << 20 // bytes that are recorded within archiveSpan, at most
	archiveSpan = time.Minute
)

// archive is what the store holds of past decisions, the oldest first, and what
// it is still to hold. It belongs to the mirror's goroutine.
type archive struct {
	kept  []filed
	bytes int
	owed  []filed

	since time.Duration // CLOCK_BOOTTIME since when spent is counted
	spent int
}

// filed is a recorded decision: its key, and its value or, of one that the store
// holds, only the value's size.
type filed struct {
	key   string
	value []byte
	size  int
}

// apply takes over a change of a recorded decision. Keys come in their order.
func (a *archive) apply(e store.Event) {
	for i, f := range a.kept {
		if f.key != e.Key {
			continue
		}
		a.bytes -= f.size
		a.kept = append(a.kept[:i:i], a.kept[i+1:]...)
		break
	}
	if e.Deleted {
		return
	}
	a.kept = append(a.kept, filed{key: e.Key, size: len(e.Value)})
	a.bytes += len(e.Value)
}

// surplus returns what must go for size bytes more, the oldest first.
func (a *archive) surplus(size int) []filed {
	var out []filed
	bytes := a.bytes + size
	for i, f := range a.kept {
		if len(a.kept)-i < record.MaxDecisions && bytes <= record.MaxDecisionBytes || len(out) == maxDropped {
			break
		}
		out = append(out, f)
		bytes -= f.size
	}
	return out
}

// afford reports whether size bytes more may be recorded now.
func (a *archive) afford(size int, now time.Duration) bool {
	if now-a.since >= archiveSpan {
		a.since, a.spent = now, 0
	}
	if a.spent+size > archiveRate {
		return false
	}
	a.spent += size
	return true
}

// file puts a decision into the form in which it is recorded. One that is too
// large is recorded without what it was decided on.
func file(s fact.Snapshot, plan action.Plan, by spec.NodeName, services []spec.ServiceName) (filed, error) {
	snapshot, err := json.Marshal(s)
	if err != nil {
		return filed{}, err
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return filed{}, err
	}
	packed, err := record.Pack(record.Recorded{Snapshot: snapshot, Plan: text})
	if err != nil && !errors.Is(err, record.ErrDecisionTooLarge) {
		return filed{}, err
	}
	d := record.Decision{Plan: plan.ID, At: s.Now.UTC(), Node: by, Services: services[:min(len(services), maxNamed)], Packed: packed}
	op := put(record.DecisionKey(s.Revision, plan.ID), d)
	return filed{key: op.Key, value: op.Value, size: len(op.Value)}, err
}

// keep records a decision that changed something, so that it can be taken again.
// It comes after the plan is written: nothing waits for it.
func (t *term) keep(ctx context.Context, s fact.Snapshot, plan action.Plan, services []spec.ServiceName) {
	if len(services) > 0 {
		f, err := file(s, plan, t.Node, services)
		if err != nil {
			t.Log.WarnContext(ctx, "decision not recorded in full", logkey.Plan, plan.ID, logkey.Err, err)
		}
		switch {
		case f.key == "":
		case !t.mirror.archive.afford(f.size, t.Clock.Boot()):
			t.Log.WarnContext(ctx, "decision not recorded, there are too many at once", logkey.Plan, plan.ID)
		default:
			owed := append(t.mirror.archive.owed, f)
			t.mirror.archive.owed = owed[max(0, len(owed)-maxOwed):]
		}
	}
	t.settleArchive(ctx)
}

// settleArchive writes what is owed to the archive, one decision a transaction.
// What cannot be written is tried again after the next decision.
func (t *term) settleArchive(ctx context.Context) {
	a := &t.mirror.archive
	for len(a.owed) > 0 {
		f := a.owed[0]
		ops := []store.Op{{Key: f.key, Value: f.value}}
		for _, old := range a.surplus(f.size) {
			ops = append(ops, store.Op{Key: old.key, Delete: true})
		}
		before := t.unsettle
		if !t.write(ctx, nil, ops) {
			t.unsettle = before
			return
		}
		a.owed = a.owed[1:]
	}
	a.owed = nil
}
