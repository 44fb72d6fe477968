package cell

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/contradict"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
	"github.com/keelson/keelson/internal/store"
)

// A change on trial is taken back by itself unless it is confirmed in time. What
// is returned to is kept in the store beside the change, so it outlives every
// node. While a change is on trial, its service takes no other one, and what the
// cell would be without it is kept possible: an apply is checked against that
// too, see [applyPlan.checkTrials].

// MaxTrials is how many changes may wait to be confirmed at once. Each of them is
// confirmed or taken back whatever becomes of the others, and an apply must fit
// however they end.
const MaxTrials = 4

// newTrial makes what the changes of an apply have in common, nil if they are
// for good.
func (c *Clerk) newTrial(ask request.Apply) (*record.Pending, error) {
	switch {
	case ask.ConfirmWithin == 0:
		return nil, nil //nolint:nilnil // there is no trial, which is no error
	case ask.ConfirmWithin < request.MinTrial || ask.ConfirmWithin > request.MaxTrial:
		return nil, &request.Error{
			Kind: request.Invalid, Code: "bad-duration",
			Text: fmt.Sprintf("a change may wait to be confirmed from %s to %s, not %s", request.MinTrial, request.MaxTrial, ask.ConfirmWithin),
			Hint: "nothing was changed",
		}
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id) // it never fails
	now := c.Clock.Now().UTC()
	return &record.Pending{Change: hex.EncodeToString(id), At: now, Deadline: now.Add(ask.ConfirmWithin), By: ask.By}, nil
}

// waiting is a change on trial as it was read.
type waiting struct {
	record.Pending
	revision int64
}

func (p *applyPlan) readTrials(ctx context.Context, s store.Store) error {
	entries, _, err := s.List(ctx, record.KeyPending)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var t record.Pending
		if err := json.Unmarshal(e.Value, &t); err != nil {
			return fmt.Errorf("read %s: %w", e.Key, err)
		}
		p.pending[t.Service] = waiting{t, e.Revision}
	}
	return nil
}

// checkTrials refuses one change on trial too many, and an apply that would not fit
// if changes that wait to be confirmed are taken back.
func (p *applyPlan) checkTrials(before, after []spec.Service) error {
	change, changes := contradict.Change{Before: before, After: after}, map[string]bool{}
	for _, a := range p.result.Applied {
		if a.Outcome != request.Unchanged {
			change.Changed = append(change.Changed, a.Name)
		}
	}
	var trials []contradict.Trial
	for _, name := range sortedKeys(p.pending) {
		t := p.pending[name]
		changes[t.Change] = true
		trials = append(trials, contradict.Trial{Change: t.Change, Service: name, Before: t.Before})
	}
	if p.trial != nil && len(changes) >= MaxTrials {
		return &request.Error{
			Kind: request.Exhausted, Code: "too-many-trials",
			Text: fmt.Sprintf("%d changes wait to be confirmed, and %d are the most", len(changes), MaxTrials),
			Hint: "nothing was changed; confirm or revert one of them: see `keelson status`",
		}
	}
	if b := contradict.Endings(change, trials, p.members); b != nil {
		return refused("change-pending", fmt.Sprintf("nothing was changed; keep it with `keelson confirm %s` or take it back with `keelson revert %s`, then apply again",
			b.Changes[0], b.Changes[0]), "%s", b.Text)
	}
	return nil
}

// try puts a change on trial, if this apply does.
func (p *applyPlan) try(old stored, exists bool, changed record.Service) error {
	if p.trial == nil {
		return nil
	}
	if exists && old.Spec.IsExclusive() && changed.Spec.KeptOnQuorumLoss() {
		return refused("kept-on-quorum-loss", "nothing was changed; apply it for good, without a time to confirm it",
			"service %s cannot go on without a lease on trial (on_quorum_loss: keep): it becomes exclusive again in two steps only, and not by itself", changed.Spec.Name)
	}
	t := *p.trial
	t.Service, t.Generation = changed.Spec.Name, changed.Generation
	if exists {
		before := old.Spec
		t.Before = &before
	}
	p.put(record.KeyPending+string(t.Service), t)
	p.result.Change, p.result.Deadline = t.Change, t.Deadline
	return nil
}

// ending is how a change on trial is to end.
type ending struct {
	change string
	trials map[spec.ServiceName]waiting
	back   bool
	left   []spec.ServiceName // changed or deleted since, and so left as they are
}

// Confirm ends the trial of a change, of all services that it is about: they stay
// as they are, or are taken back. A change ends once and in one way: whoever comes
// second, another Confirm or its deadline, changes nothing and is told so.
func (c *Clerk) Confirm(ctx context.Context, ask request.Confirm) (request.Confirmed, error) {
	what := "confirm " + ask.Change
	if ask.TakeBack {
		what = "take back " + ask.Change
	}
	done, err := c.end(ctx, what, func(b *reversal) (string, error) {
		change, err := b.which(ask.Change)
		if err == nil {
			ask.Change = change // of a later attempt too: another one may wait then
		}
		return change, err
	}, ask.TakeBack)
	if err != nil {
		return request.Confirmed{}, err
	}
	for _, name := range sortedKeys(done.trials) {
		e := event.Event{Kind: event.ChangeConfirmed, Service: name, Actor: ask.By, Text: fmt.Sprintf("change %s of %s was confirmed: it stays", done.change, name)}
		if ask.TakeBack {
			e.Kind, e.Text = event.ChangeTakenBack, done.text(name, ", as "+ask.By+" asked")
		}
		c.Events.Add(e)
	}
	return request.Confirmed{Change: done.change, Services: sortedKeys(done.trials)}, nil
}

// text says what became of a service whose change ended by being taken back.
func (d ending) text(name spec.ServiceName, why string) string {
	if slices.Contains(d.left, name) {
		return fmt.Sprintf("change %s of %s ended%s: it was changed or deleted since, and is left as it is", d.change, name, why)
	}
	return fmt.Sprintf("change %s of %s was taken back%s", d.change, name, why)
}

// end ends the change that which chooses, none if that is empty. The writes are
// guarded by what was read, so that of several at once one succeeds.
func (c *Clerk) end(ctx context.Context, what string, which func(*reversal) (string, error), back bool) (ending, error) {
	var done ending
	var tried *ending // by an attempt whose answer was lost
	err := c.attempt(ctx, what, func(ctx context.Context) (again, error) {
		done = ending{}
		b, err := c.takeBack(ctx)
		if err != nil {
			return false, err
		}
		if tried != nil && b.ended(*tried) {
			done = *tried
			return false, nil
		}
		change, err := which(b)
		if err != nil || change == "" {
			return false, err
		}
		one := ending{change: change, trials: map[spec.ServiceName]waiting{}, back: back}
		for _, name := range sortedKeys(b.pending) {
			if b.pending[name].Change != change {
				continue
			}
			one.trials[name] = b.pending[name]
			b.end(name)
			if back && !b.revert(name) {
				one.left = append(one.left, name)
			}
		}
		ended, _, err := c.Store.Txn(ctx, b.guards, b.ops)
		switch {
		case err != nil && unanswered(err):
			tried = &one
		case ended && err == nil:
			done = one
		}
		return again(!ended), err
	})
	return done, err
}

// ended reports whether a change has ended in the way that was tried: nothing of it
// waits, and its services are as they would be.
func (b *reversal) ended(tried ending) bool {
	for name, t := range tried.trials {
		if _, waits := b.pending[name]; waits {
			return false
		}
		now, exists := b.records[name]
		back := !exists || now.Deleting
		if t.Before != nil {
			back = exists && now.Generation > t.Generation && now.By == b.by && now.Spec.Same(*t.Before)
		}
		if !slices.Contains(tried.left, name) && back != tried.back {
			return false
		}
	}
	return true
}

// TakeBackDue takes back the changes whose time is up at now, and returns the
// services. Whoever calls it, and however often: it happens once.
func (c *Clerk) TakeBackDue(ctx context.Context, now time.Time) ([]spec.ServiceName, error) {
	done, err := c.end(ctx, "take back what was not confirmed", func(b *reversal) (string, error) { return b.due(now), nil }, true)
	if err != nil {
		return nil, err
	}
	for _, name := range sortedKeys(done.trials) {
		c.Events.Add(event.Event{
			Kind: event.ChangeTakenBack, Service: name, Text: done.text(name, ", since it was not confirmed in time"),
		})
	}
	return sortedKeys(done.trials), nil
}

// reversal is a way back from changes on trial.
type reversal struct{ *applyPlan }

// takeBack reads all that a way back depends on.
func (c *Clerk) takeBack(ctx context.Context) (*reversal, error) {
	b := &reversal{
		applyPlan: &applyPlan{
			now: c.Clock.Now(), by: "keelson", pending: map[spec.ServiceName]waiting{},
			records: map[spec.ServiceName]stored{}, dogs: map[spec.NodeName]bool{},
		},
	}
	if err := b.read(ctx, c.Store); err != nil {
		return nil, err
	}
	return b, nil
}

// which returns the change that is meant.
func (b *reversal) which(change string) (string, error) {
	var known []string
	for _, name := range sortedKeys(b.pending) {
		if id := b.pending[name].Change; !slices.Contains(known, id) {
			known = append(known, id)
		}
	}
	switch {
	case slices.Contains(known, change):
		return change, nil
	case change == "" && len(known) == 1:
		return known[0], nil
	case change == "" && len(known) > 1:
		return "", &request.Error{
			Kind: request.Invalid, Code: "which-change", Text: fmt.Sprintf("%d changes wait to be confirmed", len(known)), Hint: "name one of them: see `keelson status`",
		}
	case change == "":
		return "", &request.Error{Kind: request.NotFound, Code: "no-such-change", Text: "no change waits to be confirmed"}
	}
	return "", &request.Error{
		Kind: request.NotFound, Code: "no-such-change", Text: fmt.Sprintf("no change %q waits to be confirmed", change),
		Hint: "it was confirmed or taken back already: see `keelson events`",
	}
}

// due returns the change whose time was up first; empty: none is up.
func (b *reversal) due(now time.Time) string {
	first := record.Pending{}
	for _, name := range sortedKeys(b.pending) {
		if t := b.pending[name].Pending; !t.Deadline.After(now) && (first.Change == "" || t.Deadline.Before(first.Deadline)) {
			first = t
		}
	}
	return first.Change
}

// end takes a service's trial away.
func (b *reversal) end(name spec.ServiceName) {
	key := record.KeyPending + string(name)
	b.guards = append(b.guards, store.Guard{Key: key, Revision: b.pending[name].revision})
	b.ops = append(b.ops, store.Op{Key: key, Delete: true})
}

// revert returns a service to its spec from before, and reports whether it does: one
// that was changed or deleted since by other means is left alone, so that nobody's
// later change is lost.
func (b *reversal) revert(name spec.ServiceName) bool {
	t, now := b.pending[name], b.records[name]
	key := record.KeyServices + string(name)
	b.guards = append(b.guards, store.Guard{Key: key, Revision: now.revision})
	if now.Generation != t.Generation || now.Deleting {
		return false
	}
	if !slices.ContainsFunc(b.guards, func(g store.Guard) bool { return g.Key == keyNext }) {
		// An apply at the same time is checked against the spec that goes.
		b.guards = append(b.guards, store.Guard{Key: keyNext, Revision: b.counter})
		b.put(keyNext, b.next+1) // every generation that is given here is one above one that there is
	}
	back := now.Service
	if t.Before == nil {
		back.Deleting = true
		b.put(key, back)
		return true
	}
	back.Spec, back.By, back.Applied = *t.Before, b.by, b.now
	back.Generation++
	b.put(key, back)
	for _, ip := range t.Before.Addresses() {
		b.put(addressKey(ip), string(name))
	}
	for i, ip := range now.Spec.Addresses() {
		if !slices.Contains(t.Before.Addresses(), ip) && !slices.Contains(now.Spec.Addresses()[:i], ip) && !b.wanted(ip, name) {
			b.ops = append(b.ops, store.Op{Key: addressKey(ip), Delete: true})
		}
	}
	return true
}

// wanted reports whether another service has an address, or is returned to it.
func (b *reversal) wanted(ip netip.Addr, but spec.ServiceName) bool {
	for name, r := range b.records {
		if name == but {
			continue
		}
		if t, waits := b.pending[name]; waits && t.Before != nil && slices.Contains(t.Before.Addresses(), ip) {
			return true
		}
		if slices.Contains(r.Spec.Addresses(), ip) {
			return true
		}
	}
	return false
}

// trial is the change of a service that waits to be confirmed.
func (a *assembly) trial(name spec.ServiceName) *status.Trial {
	t, waits := a.Records.Pending[name]
	if !waits {
		return nil
	}
	return &status.Trial{Change: t.Change, Deadline: t.Deadline, By: t.By, New: t.Before == nil}
}
