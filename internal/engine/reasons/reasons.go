// Package reasons answers questions about decisions: on the live cell, before a
// change, and about the past.
//
// A [Desk] takes the snapshot that the controller would decide on, asks package
// explain, and adds what only the store knows. Its main rule: a question changes
// nothing. Whoever may look may ask. What is asked is bounded: the number of
// words, and how many questions are worked on at once, since one about a large
// cell costs seconds of a processor.
package reasons

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/core/explain"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/specfile"
	"github.com/keelson/keelson/internal/store"
)

const (
	// lookTimeout bounds the reading of the store for one question.
	lookTimeout = 5 * time.Second
	// atOnce is how many questions are worked on at once; others wait.
	atOnce = 1
)

// Desk answers. Its exported fields are set once; it is safe for concurrent use.
// Every method returns a [*request.Error] or the context's error.
type Desk struct {
	Store store.Store
	Clock clock.Clock
	// Snapshot is what a controller on this node would decide on now.
	Snapshot func(context.Context) (fact.Snapshot, error)
	// Draft checks an apply as [cell.Clerk.Apply] does with DryRun.
	Draft func(context.Context, request.Apply) (request.ApplyResult, error)

	once sync.Once
	busy chan struct{} // has room for those that are worked on
}

// Why says where a service is and why.
func (d *Desk) Why(ctx context.Context, name spec.ServiceName) (reason.Why, error) {
	what := "explain " + string(name)
	var out reason.Why
	err := d.ask(ctx, what, func(s fact.Snapshot) error {
		var known bool
		if out, known = explain.Why(s, name); !known {
			return &request.Error{
				Kind: request.NotFound, Code: "no-such-service", Text: fmt.Sprintf("there is no service %q", string(name)), Hint: "see `keelson get services`",
			}
		}
		return nil
	})
	if err != nil {
		return reason.Why{}, err
	}
	var p record.Placement
	if err := d.get(ctx, what, record.KeyPlacements+string(name), &p); err != nil {
		return reason.Why{}, err
	}
	out.Plan, out.Placed = p.PlanID, p.At
	return out, nil
}

// Plan says what an apply of a file would do. It returns what an apply would
// return for a file that is refused.
func (d *Desk) Plan(ctx context.Context, ask request.Plan) (reason.Outlook, error) {
	result, err := d.Draft(ctx, request.Apply{File: ask.File.Name, Content: ask.File.Content, DryRun: true})
	if err != nil {
		return reason.Outlook{}, err
	}
	wanted, err := specfile.Parse(ask.File.Name, ask.File.Content)
	if err != nil {
		return reason.Outlook{}, fmt.Errorf("read %s again: %w", ask.File.Name, err)
	}
	changed := wanted[:0:0]
	for _, w := range wanted {
		if i := slices.IndexFunc(result.Applied, func(a request.Applied) bool { return a.Name == w.Name }); i >= 0 && result.Applied[i].Outcome != request.Unchanged {
			changed = append(changed, w)
		}
	}
	var out reason.Outlook
	err = d.ask(ctx, "plan "+ask.File.Name, func(s fact.Snapshot) error {
		out = explain.Apply(s, changed)
		return nil
	})
	if err != nil {
		return reason.Outlook{}, err
	}
	out.Notes = append(slices.Clone(result.Warnings), out.Notes...)
	return out, nil
}

// WhatIf says what would happen if nodes were lost or drained.
func (d *Desk) WhatIf(ctx context.Context, ask request.WhatIf) (reason.Outlook, error) {
	const what = "work out what would happen"
	if n := len(ask.Fail) + len(ask.Drain); n > request.MaxWords {
		return reason.Outlook{}, &request.Error{
			Kind: request.Invalid, Code: "too-many-words", Text: fmt.Sprintf("%d nodes and labels are more than the %d that may be asked about", n, request.MaxWords),
		}
	}
	var lease record.Lease
	if err := d.get(ctx, what, record.KeyLease, &lease); err != nil {
		return reason.Outlook{}, err
	}
	voters, err := d.voters(ctx, what, lease)
	if err != nil {
		return reason.Outlook{}, err
	}
	var out reason.Outlook
	err = d.ask(ctx, what, func(s fact.Snapshot) error {
		loss := explain.Loss{Voters: voters}
		var err error
		if loss.Fail, err = named(s, ask.Fail); err != nil {
			return err
		}
		if loss.Drain, err = named(s, ask.Drain); err != nil {
			return err
		}
		out = explain.Lose(s, loss)
		return nil
	})
	return out, err
}

// named returns the nodes that words mean, sorted.
func named(s fact.Snapshot, words []string) ([]spec.NodeName, error) {
	var out []spec.NodeName
	for _, w := range words {
		key, value, isLabel := strings.Cut(w, "=")
		before := len(out)
		for _, n := range s.Nodes {
			got, has := n.Labels[key]
			if isLabel && has && got == value || !isLabel && string(n.Name) == w {
				out = append(out, n.Name)
			}
		}
		switch {
		case len(out) > before:
		case isLabel:
			return nil, &request.Error{
				Kind: request.NotFound, Code: "no-such-label", Text: fmt.Sprintf("no node has the label %q", w), Hint: "see `keelson get nodes -o yaml`",
			}
		default:
			return nil, &request.Error{
				Kind: request.NotFound, Code: "no-such-node", Text: fmt.Sprintf("there is no node %q", w), Hint: "see `keelson get nodes`, or write a label as key=value",
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// voters are the nodes whose vote counts.
func (d *Desk) voters(ctx context.Context, what string, lease record.Lease) ([]spec.NodeName, error) {
	entries, err := d.list(ctx, what, record.KeyNodes)
	if err != nil {
		return nil, err
	}
	var out []spec.NodeName
	for _, e := range entries {
		var n record.Node
		if json.Unmarshal(e.Value, &n) == nil && lease.Voters>>n.Slot&1 == 1 {
			out = append(out, n.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Decisions lists the recorded decisions, the newest last.
func (d *Desk) Decisions(ctx context.Context) ([]reason.Decision, error) {
	entries, err := d.list(ctx, "list decisions", record.KeyDecisions)
	if err != nil {
		return nil, err
	}
	out := make([]reason.Decision, 0, len(entries))
	for _, e := range entries {
		var r record.Decision
		if json.Unmarshal(e.Value, &r) == nil {
			out = append(out, decision(r))
		}
	}
	return out, nil
}

func decision(r record.Decision) reason.Decision {
	return reason.Decision{Plan: r.Plan, At: r.At, Node: r.Node, Services: r.Services, Bytes: len(r.Packed)}
}

// Replay takes a recorded decision again.
func (d *Desk) Replay(ctx context.Context, ask request.Replay) (reason.Replayed, error) {
	r, err := d.recorded(ctx, ask.Which)
	if err != nil {
		return reason.Replayed{}, err
	}
	if len(r.Packed) == 0 {
		return reason.Replayed{}, &request.Error{
			Kind: request.Refused, Code: "not-recorded", Text: fmt.Sprintf("decision %s was too large to be recorded, so it cannot be taken again", r.Plan),
		}
	}
	kept, err := record.Unpack(r.Packed)
	if err != nil {
		return reason.Replayed{}, fmt.Errorf("replay %s: %w", r.Plan, err)
	}
	if err := d.enter(ctx); err != nil {
		return reason.Replayed{}, err
	}
	defer d.leave()
	out, err := explain.Replay(kept.Snapshot, kept.Plan)
	if err != nil {
		return reason.Replayed{}, fmt.Errorf("replay %s: %w", r.Plan, err)
	}
	out.Decision = decision(r)
	if !ask.Full {
		out.Snapshot, out.Plan = nil, nil
	}
	return out, nil
}

// recorded finds the decision that a word means.
func (d *Desk) recorded(ctx context.Context, which string) (record.Decision, error) {
	what := "replay " + which
	plan := which
	if event, made, err := d.planOf(ctx, what, which); err != nil {
		return record.Decision{}, err
	} else if event {
		if made == "" {
			return record.Decision{}, &request.Error{
				Kind: request.NotFound, Code: "no-decision", Text: fmt.Sprintf("event %s was made by no decision of the controller", which),
				Hint: "`keelson replay --list` shows the decisions that can be taken again",
			}
		}
		plan = made
	}
	if len(plan) < request.MinPlanID {
		return record.Decision{}, &request.Error{
			Kind: request.Invalid, Code: "too-short", Text: fmt.Sprintf("%q is neither the number of an event nor long enough for the id of a plan", which),
			Hint: "`keelson events` and `keelson replay --list` show them",
		}
	}
	entries, err := d.list(ctx, what, record.KeyDecisions)
	if err != nil {
		return record.Decision{}, err
	}
	var found []record.Decision
	for _, e := range entries {
		_, id, _ := strings.Cut(strings.TrimPrefix(e.Key, record.KeyDecisions), "-")
		if !strings.HasPrefix(id, plan) {
			continue
		}
		var r record.Decision
		if err := json.Unmarshal(e.Value, &r); err != nil {
			return record.Decision{}, fmt.Errorf("%s: read %s: %w", what, e.Key, err)
		}
		found = append(found, r)
	}
	switch len(found) {
	case 0:
		return record.Decision{}, &request.Error{
			Kind: request.NotFound, Code: "no-decision", Text: fmt.Sprintf("there is no recorded decision %s", plan),
			Hint: fmt.Sprintf("the cell keeps the newest %d: see `keelson replay --list`", record.MaxDecisions),
		}
	case 1:
		return found[0], nil
	}
	return record.Decision{}, &request.Error{
		Kind: request.Invalid, Code: "ambiguous", Text: fmt.Sprintf("%d recorded decisions begin with %s", len(found), plan), Hint: "write more of the id",
	}
}

// planOf returns the plan that made the event with that number, and whether
// there is such an event.
func (d *Desk) planOf(ctx context.Context, what, number string) (event bool, plan string, err error) {
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return false, "", nil //nolint:nilerr // it is no number
	}
	var e struct {
		Seq  uint64 `json:"seq"`
		Plan string `json:"plan"`
	}
	err = d.get(ctx, what, fmt.Sprintf("%s%020d", record.KeyEvents, seq), &e)
	return e.Seq != 0, e.Plan, err
}

// ask takes a snapshot and works on it, when it is its turn.
func (d *Desk) ask(ctx context.Context, what string, f func(fact.Snapshot) error) error {
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	s, err := d.Snapshot(look)
	cancel()
	if err != nil {
		return unanswered(ctx, what, err)
	}
	slices.SortStableFunc(s.Nodes, func(a, b fact.Node) int { return cmp.Compare(a.Name, b.Name) })
	if err := d.enter(ctx); err != nil {
		return err
	}
	defer d.leave()
	return f(s)
}

// enter waits until another question may be worked on.
func (d *Desk) enter(ctx context.Context) error {
	d.once.Do(func() { d.busy = make(chan struct{}, atOnce) })
	select {
	case d.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for other questions to be answered: %w", ctx.Err())
	}
}

func (d *Desk) leave() { <-d.busy }

// get reads a record; one that does not exist is left as it is.
func (d *Desk) get(ctx context.Context, what, key string, to any) error {
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	e, found, err := d.Store.Get(look, key)
	switch {
	case err != nil:
		return unanswered(ctx, what, err)
	case !found:
		return nil
	}
	if err := json.Unmarshal(e.Value, to); err != nil {
		return fmt.Errorf("%s: read %s: %w", what, key, err)
	}
	return nil
}

func (d *Desk) list(ctx context.Context, what, prefix string) ([]store.Entry, error) {
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	entries, _, err := d.Store.List(look, prefix)
	if err != nil {
		return nil, unanswered(ctx, what, err)
	}
	return entries, nil
}

// unanswered turns an error of the store into an answer for people.
func unanswered(ctx context.Context, what string, err error) error {
	if ctx.Err() == nil && (errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)) {
		return &request.Error{
			Kind: request.Unavailable, Code: "store-unavailable", Err: err,
			Text: what + ": the cell's store does not answer",
			Hint: "a majority of the voters must be up and in touch: see `keelson status`",
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}
