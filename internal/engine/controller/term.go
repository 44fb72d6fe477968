package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// errDeposed means that another node is or may be the controller now.
var errDeposed = errors.New("no longer the controller")

// term is one time in office. All of it belongs to one goroutine.
type term struct {
	*Controller
	office   *office
	mirror   *mirror
	patience survey.Patience

	seen     Sight         // what was last decided on, as far as it matters
	blind    bool          // the sight is not fit to judge others
	dazed    time.Duration // CLOCK_BOOTTIME until when it is too fresh for that
	since    time.Duration // CLOCK_BOOTTIME since when
	hold     string        // why the last plan was held back; empty: it was not
	trouble  string        // why the last write failed; empty: it did not
	unsettle bool          // something was not written and is to be tried again soon
}

// serve plans until the office is lost, which is no error, or something fails.
func (c *Controller) serve(ctx context.Context, o *office) error {
	t := &term{Controller: c, office: o, mirror: newMirror()}
	if err := t.load(ctx); err != nil {
		return err
	}
	c.leading.Store(true)
	defer c.leading.Store(false)
	c.Log.InfoContext(ctx, "controller elected", logkey.Node, c.Node)
	c.Events.Emit(event.Event{
		Kind: event.ControllerNew, About: c.Node, Text: fmt.Sprintf("%s plans for the cell now", c.Node),
	})

	ctx, cancel := context.WithCancel(ctx)
	changes, ended := make(chan []store.Event, batchesAhead), make(chan error, 1)
	done := make(chan struct{})
	from := t.mirror.revision + 1
	go func() {
		defer close(done)
		ended <- c.Store.Watch(ctx, "", from, func(events []store.Event) error {
			select {
			case changes <- events:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	err := t.loop(ctx, changes, ended)
	cancel()
	<-done
	if errors.Is(err, errDeposed) {
		c.Log.InfoContext(ctx, "controller stepped down", logkey.Err, err)
		return nil
	}
	return err
}

// load reads all of the store.
func (t *term) load(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	entries, revision, err := t.Store.List(call, "")
	if err != nil {
		return fmt.Errorf("read the cell's state: %w", err)
	}
	events := make([]store.Event, 0, len(entries))
	for _, e := range entries {
		events = append(events, store.Event{Entry: e})
	}
	t.absorb(ctx, events)
	t.mirror.revision = revision
	return nil
}

// absorb takes events into the mirror and reports whether one of them matters.
func (t *term) absorb(ctx context.Context, events []store.Event) bool {
	matters := false
	now := t.Clock.Now()
	for _, e := range events {
		prefix, name := split(e.Key)
		before := t.mirror.reports[spec.NodeName(name)].value.Instances
		if err := t.mirror.apply(e, now); err != nil {
			t.Log.ErrorContext(ctx, "record not understood", logkey.Err, err)
		}
		// Most reports say nothing new.
		old := prefix == record.KeyReports && reflect.DeepEqual(before, t.mirror.reports[spec.NodeName(name)].value.Instances)
		matters = matters || relevant(e.Key) && !old
	}
	return matters
}

// relevant reports whether a key can change a plan.
func relevant(key string) bool {
	switch prefix, _ := split(key); prefix {
	case record.KeyNodes, record.KeyWishes, record.KeyReports, record.KeyServices, record.KeyPlacements:
		return true
	}
	return key == record.KeyRecovery || key == record.KeyController || key == record.KeyLease || key == record.KeyCellWish
}

// loop decides at every change, but not more often than decidePause and not
// less often than decideEvery.
func (t *term) loop(ctx context.Context, changes <-chan []store.Event, ended <-chan error) error {
	due := t.Clock.Boot()
	for {
		moved := t.View.Changed()
		sight := t.View.Latest()
		if err := t.stillFit(sight); err != nil {
			return err
		}
		if now := t.Clock.Boot(); now < t.dazed && !t.blind {
			due = t.dazed
		} else if now >= due || !same(sight, t.seen) {
			if err := t.decide(ctx, sight); err != nil {
				return err
			}
			due = t.Clock.Boot() + t.pause()
			if err := t.Clock.Sleep(ctx, decidePause); err != nil {
				return err
			}
		}
		wait := due - t.Clock.Boot()
		if t.blind {
			wait = min(wait, fitEvery)
		}
		timer := t.Clock.Timer(max(wait, 0))
		select {
		case <-moved:
		case <-timer.C:
		case events := <-changes:
			if t.absorbAll(ctx, events, changes) {
				due = t.Clock.Boot()
			}
		case err := <-ended:
			timer.Stop()
			return err
		case <-t.office.session.Done():
			timer.Stop()
			return fmt.Errorf("the session ended: %w", errDeposed)
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// absorbAll takes in events and all that wait behind them.
func (t *term) absorbAll(ctx context.Context, events []store.Event, more <-chan []store.Event) bool {
	matters := t.absorb(ctx, events)
	for range batchesAhead {
		select {
		case events := <-more:
			matters = t.absorb(ctx, events) || matters
		default:
			return matters
		}
	}
	return matters
}

// pause is how long to wait for a change until the next decision.
func (t *term) pause() time.Duration {
	if t.unsettle {
		return retryAfter
	}
	return decideEvery
}

// stillFit returns errDeposed if this node has not seen enough to judge others
// for so long that another should try.
func (t *term) stillFit(s Sight) error {
	now := t.Clock.Boot()
	if s.Fit() {
		if t.blind {
			// What it knows of the others is from before, and so is what the store
			// says: nobody is judged by that.
			t.blind, t.dazed = false, now+dazedFor
		}
		return nil
	}
	if !t.blind {
		t.blind, t.since = true, now
	}
	if now-t.since >= unfitLimit {
		return fmt.Errorf("this node's guard is away or out of touch with the majority: %w", errDeposed)
	}
	return nil
}

// same reports whether two sights lead to the same decision.
func same(a, b Sight) bool {
	return a.Fit() == b.Fit() && a.State.Alive == b.State.Alive && a.State.Suspect == b.State.Suspect &&
		a.State.Lost == b.State.Lost && a.State.Ballot == b.State.Ballot && maps.Equal(a.State.Holders, b.State.Holders)
}

// decide makes one plan and writes what differs.
func (t *term) decide(ctx context.Context, sight Sight) error {
	if t.mirror.controller != t.office.revision {
		return fmt.Errorf("another took the office: %w", errDeposed)
	}
	t.seen, t.unsettle = sight, false
	now := t.Clock.Now()
	t.mirror.lost = sight.State.Lost
	snapshot := t.mirror.snapshot(sight, now)
	plan := decide.Decide(snapshot)
	if plan.Hold != "" {
		if plan.Hold != t.hold {
			t.Log.WarnContext(ctx, "plan held back", logkey.Plan, plan.ID, "why", plan.Hold)
		}
		t.hold = plan.Hold
		if c := t.mirror.hold(plan.Hold, plan.ID, now); snapshot.Quorate && len(c.ops) > 0 {
			t.commit(ctx, []change{c})
		}
		return nil
	}
	t.hold = ""
	written := 0
	var anew []spec.ServiceName
	for _, batch := range batches(t.mirror.changes(plan, now)) {
		if t.commit(ctx, batch) {
			written += len(batch)
			anew = append(anew, decided(batch)...)
			continue
		}
		if t.trouble != "" || len(batch) == 1 {
			continue // the store is away, or there is nothing to part
		}
		// One of them was decided on what is old by now. It must not hold up
		// the others.
		for i := range batch {
			if t.commit(ctx, batch[i:i+1]) {
				written++
				anew = append(anew, decided(batch[i:i+1])...)
			}
		}
	}
	if written > 0 {
		t.Log.InfoContext(ctx, "plan written", logkey.Plan, plan.ID, logkey.Count, written)
	}
	t.keep(ctx, snapshot, plan, anew)
	t.reviseLease(ctx, sight)
	t.rotateKeys(ctx, sight, now)
	return nil
}

// commit writes changes, all or none, and tells of them.
func (t *term) commit(ctx context.Context, batch []change) bool {
	var guards []store.Guard
	var ops []store.Op
	for _, c := range batch {
		guards, ops = append(guards, c.guards...), append(ops, c.ops...)
	}
	if !t.write(ctx, guards, ops) {
		return false
	}
	for _, c := range batch {
		for _, e := range c.events {
			t.Events.Emit(e)
		}
	}
	return true
}

// reviseLease keeps the configuration of the lease plane ahead of its use.
func (t *term) reviseLease(ctx context.Context, sight Sight) {
	if t.mirror.lease.revision == 0 {
		return
	}
	before, known := t.patience, t.mirror.cellKnown()
	ballot := max(sight.State.Ballot, known.NewestEpoch())
	due, changed := t.patience.Revise(t.mirror.lease.value, ballot, known.LongestTTL(), t.Clock.Boot(), known.Heard(t.Clock.Now()))
	if !changed {
		return
	}
	guards := []store.Guard{{Key: record.KeyLease, Revision: t.mirror.lease.revision}}
	if !t.write(ctx, guards, []store.Op{put(record.KeyLease, due)}) {
		t.patience = before
		return
	}
	t.Log.InfoContext(ctx, "lease limits changed", "ceiling", due.Ceiling, "longest_ttl", time.Duration(due.LongestTTL))
}

// write carries out ops if the guards hold and this is still the controller,
// and takes them into the mirror. It reports whether it did; if not, the next
// decision comes soon.
func (t *term) write(ctx context.Context, guards []store.Guard, ops []store.Op) bool {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	done, revision, err := t.Store.Txn(call, append(guards, t.office.guard()), ops)
	if err != nil && err.Error() != t.trouble && ctx.Err() == nil {
		t.Log.WarnContext(ctx, "plan not written", logkey.Err, err)
		t.trouble = err.Error()
	}
	if err == nil {
		t.trouble = ""
	}
	if err != nil || !done {
		t.unsettle = true
		return false
	}
	events := make([]store.Event, 0, len(ops))
	for _, op := range ops {
		events = append(events, store.Event{Entry: store.Entry{Key: op.Key, Value: op.Value, Revision: revision}, Deleted: op.Delete})
	}
	t.absorb(ctx, events)
	return true
}
