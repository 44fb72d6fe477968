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

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/specfile"
	"github.com/keelson/keelson/internal/model/status"
	"github.com/keelson/keelson/internal/store"
)

// A change on trial is taken back by itself unless it is confirmed in time. What
// is returned to is kept in the store beside the change, so it outlives every
// node. While a change is on trial, its service takes no other one, and what the
// cell would be without it is kept possible: an apply is checked against that
// too.

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
		p.pending[t.Service] = t
	}
	return nil
}

// checkTrials refuses what could not be beside a change that is taken back.
func (p *applyPlan) checkTrials(file *specfile.File) error {
	if len(p.pending) == 0 {
		return nil
	}
	var back []spec.Service
	for _, name := range sortedKeys(p.records) {
		t, waits := p.pending[name]
		switch {
		case !waits:
			back = append(back, p.records[name].Spec)
		case t.Before != nil:
			back = append(back, *t.Before)
		}
	}
	if _, err := file.CheckAgainst(back); err != nil {
		return &request.Error{
			Kind: request.Refused, Code: "change-pending", Err: err,
			Text: "it would not fit if a change that waits to be confirmed is taken back: " + err.Error(),
			Hint: "nothing was changed; `keelson status` shows what waits: confirm or revert it first",
		}
	}
	return nil
}

// try puts a change on trial, if this apply does.
func (p *applyPlan) try(old stored, exists bool, changed record.Service) {
	if p.trial == nil {
		return
	}
	t := *p.trial
	t.Service, t.Generation = changed.Spec.Name, changed.Generation
	if exists {
		before := old.Spec
		t.Before = &before
	}
	p.put(record.KeyPending+string(t.Service), t)
	p.result.Change, p.result.Deadline = t.Change, t.Deadline
}

// Confirm ends the trial of a change, of all services that it is about: they stay
// as they are, or are taken back.
func (c *Clerk) Confirm(ctx context.Context, ask request.Confirm) (request.Confirmed, error) {
	what := "confirm " + ask.Change
	if ask.TakeBack {
		what = "take back " + ask.Change
	}
	var done request.Confirmed
	err := c.attempt(ctx, what, func(ctx context.Context) (again, error) {
		b, err := c.takeBack(ctx)
		if err != nil {
			return false, err
		}
		change, err := b.which(ask.Change)
		if err != nil {
			if done.Change != "" {
				return false, nil // an attempt whose answer was lost has done it
			}
			return false, err
		}
		for _, name := range sortedKeys(b.pending) {
			if b.pending[name].Change != change {
				continue
			}
			if !slices.Contains(done.Services, name) {
				done.Services = append(done.Services, name)
			}
			b.end(name)
			if ask.TakeBack {
				b.revert(name)
			}
		}
		done.Change = change
		ended, _, err := c.Store.Txn(ctx, b.guards, b.ops)
		return again(!ended), err
	})
	if err != nil {
		return request.Confirmed{}, err
	}
	for _, name := range done.Services {
		e := event.Event{Kind: event.ChangeConfirmed, Service: name, Actor: ask.By, Text: fmt.Sprintf("change %s of %s was confirmed: it stays", done.Change, name)}
		if ask.TakeBack {
			e.Kind, e.Text = event.ChangeTakenBack, fmt.Sprintf("change %s of %s was taken back, as %s asked", done.Change, name, ask.By)
		}
		c.Events.Add(e)
	}
	return done, nil
}

// TakeBackDue takes back the changes whose time is up at now, and returns the
// services. Whoever calls it, and however often: the writes are guarded, so that
// it happens once.
func (c *Clerk) TakeBackDue(ctx context.Context, now time.Time) ([]spec.ServiceName, error) {
	var back []spec.ServiceName
	var change string
	err := c.attempt(ctx, "take back what was not confirmed", func(ctx context.Context) (again, error) {
		b, err := c.takeBack(ctx)
		if err != nil {
			return false, err
		}
		back, change = nil, b.due(now)
		for _, name := range sortedKeys(b.pending) {
			if b.pending[name].Change == change && change != "" {
				b.end(name)
				b.revert(name)
				back = append(back, name)
			}
		}
		if len(b.ops) == 0 {
			return false, nil
		}
		done, _, err := c.Store.Txn(ctx, b.guards, b.ops)
		return again(!done), err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range back {
		c.Events.Add(event.Event{
			Kind: event.ChangeTakenBack, Service: name, Text: fmt.Sprintf("change %s of %s was not confirmed in time and was taken back", change, name),
		})
	}
	return back, nil
}

// reversal is a way back from changes on trial.
type reversal struct {
	*applyPlan
	revisions map[spec.ServiceName]int64 // of the records of trials
}

// takeBack reads all that a way back depends on.
func (c *Clerk) takeBack(ctx context.Context) (*reversal, error) {
	counter, _, err := c.Store.Get(ctx, keyNextID)
	if err != nil {
		return nil, err
	}
	b := &reversal{
		applyPlan: &applyPlan{
			now: c.Clock.Now(), by: "keelson", pending: map[spec.ServiceName]record.Pending{},
			records: map[spec.ServiceName]stored{}, dogs: map[spec.NodeName]bool{}, counter: counter.Revision, next: 1,
		},
		revisions: map[spec.ServiceName]int64{},
	}
	if err := b.read(ctx, c.Store); err != nil {
		return nil, err
	}
	entries, _, err := c.Store.List(ctx, record.KeyPending)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b.revisions[spec.ServiceName(e.Key[len(record.KeyPending):])] = e.Revision
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
		if t := b.pending[name]; !t.Deadline.After(now) && (first.Change == "" || t.Deadline.Before(first.Deadline)) {
			first = t
		}
	}
	return first.Change
}

// end takes a service's trial away.
func (b *reversal) end(name spec.ServiceName) {
	key := record.KeyPending + string(name)
	b.guards = append(b.guards, store.Guard{Key: key, Revision: b.revisions[name]})
	b.ops = append(b.ops, store.Op{Key: key, Delete: true})
}

// revert returns a service to its spec from before. One that was changed or
// deleted since by other means is left alone.
func (b *reversal) revert(name spec.ServiceName) {
	t, now := b.pending[name], b.records[name]
	if now.Generation != t.Generation || now.Deleting {
		return
	}
	key := record.KeyServices + string(name)
	b.guards = append(b.guards, store.Guard{Key: key, Revision: now.revision})
	if !slices.ContainsFunc(b.guards, func(g store.Guard) bool { return g.Key == keyNextID }) {
		// An apply at the same time is checked against the spec that goes.
		b.guards = append(b.guards, store.Guard{Key: keyNextID, Revision: b.counter})
		b.put(keyNextID, b.next)
	}
	back := now.Service
	if t.Before == nil {
		back.Deleting = true
		b.put(key, back)
		return
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

// onTrial says which changes wait to be confirmed, one sentence for each.
func onTrial(services []status.Service) []string {
	var order []string
	of := map[string][]spec.ServiceName{}
	at := map[string]*status.Trial{}
	for _, s := range services {
		if s.Trial == nil {
			continue
		}
		if at[s.Trial.Change] == nil {
			order, at[s.Trial.Change] = append(order, s.Trial.Change), s.Trial
		}
		of[s.Trial.Change] = append(of[s.Trial.Change], s.Name)
	}
	var out []string
	for _, change := range order {
		out = append(out, fmt.Sprintf("change %s (%s, by %s) is taken back at %s unless it is confirmed: `keelson confirm %s`",
			change, joined(of[change]), at[change].By, clockTime(at[change].Deadline), change))
	}
	return out
}

func joined(names []spec.ServiceName) string {
	var text string
	for i, n := range names {
		if i > 0 {
			text += ", "
		}
		text += string(n)
	}
	return text
}

// clockTime writes a moment that is near.
func clockTime(t time.Time) string { return t.UTC().Format("15:04:05 MST") }
