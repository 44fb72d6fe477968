package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/test/bench/journal"
)

const (
	// every is the time between two questions around a fault.
	every = probe.DefaultEvery
	// gap is how far apart two answers of one holder may be that hold the
	// address without a break.
	gap = 60 * time.Millisecond
	// unrepaired is how long a fault goes on after somebody answered again, and
	// frozenOn how long a freeze does.
	unrepaired = time.Second
	frozenOn   = 3 * time.Second
)

// act is one fault, ready to be done to the host that serves.
type act struct {
	inject, repair func(context.Context) error
	// stays is how long the fault goes on once somebody answers again.
	stays time.Duration
	// over returns what reports whether an answer to a question sent after the
	// fault shows that the service is back.
	over func(fault time.Duration) func(probe.HTTPResult) bool
}

// trial does a fault to the host that serves and notes what the clients saw. A
// trial that could not be measured says why.
func (a *arena) trial(ctx context.Context, fault string, round int) journal.Trial {
	t := journal.Trial{Contestant: a.name, Fault: fault, Round: round, At: a.clock.Now().UTC().Truncate(time.Second), Load: loadAverage()}
	if err := a.try(ctx, &t); err != nil {
		t.Error = err.Error()
	}
	return t
}

func (a *arena) try(ctx context.Context, t *journal.Trial) (err error) {
	defer func() {
		_, stopped := a.stop(context.WithoutCancel(ctx)) // done already, unless something failed
		err = errors.Join(err, stopped)
	}()
	if err := a.ask(ctx, every); err != nil {
		return err
	}
	was, err := a.settle(ctx)
	if err != nil {
		return err
	}
	t.From = was.Host
	do, err := a.prepare(ctx, t.Fault, was.Host)
	if err != nil {
		return err
	}
	phase := a.phase
	if t.Fault != service {
		phase = time.Second
	}
	if err := a.chance(ctx, phase); err != nil {
		return err
	}
	if err := a.foretold(ctx, t); err != nil {
		return err
	}
	at := a.clock.Boot()
	if err := within(ctx, do.inject); err != nil {
		return fmt.Errorf("break it: %w", err)
	}
	back, lost := a.answer(ctx, at, do.over(at))
	if lost != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	t.To, t.Lost = back.Host, lost != nil
	if err := a.clock.Sleep(ctx, do.stays); err != nil {
		return err
	}
	repaired := a.clock.Boot()
	if err := within(ctx, do.repair); err != nil {
		return fmt.Errorf("repair it: %w", err)
	}
	if err := a.clock.Sleep(ctx, a.quiet); err != nil {
		return err
	}
	if _, err := a.settle(ctx); err != nil {
		return fmt.Errorf("after the repair: %w", err)
	}
	s, err := a.stop(ctx)
	if err != nil {
		return err
	}
	s.judge(t, at, repaired)
	return nil
}

// foretold notes what the cluster says, before the fault, of how long the loss of
// the host takes at most.
func (a *arena) foretold(ctx context.Context, t *journal.Trial) error {
	b, ok := a.cluster.(bounded)
	if !ok || t.Fault == service || t.Fault == move {
		return nil
	}
	longest, err := b.Longest(ctx)
	t.BoundMS = ms(longest)
	return err
}

func within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, verbLimit)
	defer cancel()
	return do(ctx)
}

// prepare makes a fault ready for the host that serves.
func (a *arena) prepare(ctx context.Context, fault, victim string) (act, error) {
	h := a.lab.Host(victim)
	elsewhere := func(time.Duration) func(probe.HTTPResult) bool {
		return func(r probe.HTTPResult) bool { return r.Host != victim }
	}
	switch fault {
	case kill:
		return act{h.Kill, func(ctx context.Context) error { return a.cluster.Boot(ctx, victim) }, unrepaired, elsewhere}, nil
	case cut:
		return act{
			func(ctx context.Context) error { return h.Cut(ctx) }, func(ctx context.Context) error { return h.Heal(ctx) },
			unrepaired, elsewhere,
		}, nil
	case freeze:
		return act{h.Freeze, h.Thaw, frozenOn, elsewhere}, a.askDirectly(ctx, victim)
	case service:
		pid, err := a.program(ctx, victim)
		return act{func(ctx context.Context) error { return a.signal(ctx, victim, pid) }, a.forgive, unrepaired, a.afterFailure}, err
	case move:
		to := a.hosts[(slices.Index(a.hosts, victim)+1)%len(a.hosts)]
		m, ok := a.cluster.(mover)
		if !ok {
			return act{}, fmt.Errorf("%s moves nothing on request", a.title)
		}
		return act{func(ctx context.Context) error { return m.Move(ctx, to) }, m.Stay, unrepaired, elsewhere}, nil
	default:
		return act{}, fmt.Errorf("there is no fault %q", fault)
	}
}

// forgive lets the cluster forget the failure, if it keeps account.
func (a *arena) forgive(ctx context.Context) error {
	if f, ok := a.cluster.(forgiver); ok {
		return f.Forgive(ctx)
	}
	return nil
}

// afterFailure returns what reports whether an answer came after one that
// failed, since a fault.
func (a *arena) afterFailure(fault time.Duration) func(probe.HTTPResult) bool {
	next, failed := 0, time.Duration(math.MaxInt64)
	return func(r probe.HTTPResult) bool {
		fresh := a.asked.Since(next)
		next += len(fresh)
		for _, f := range fresh {
			if !f.OK && f.Sent > fault {
				failed = min(failed, f.Sent)
			}
		}
		return r.Sent > failed
	}
}

// judge works out what the clients saw of a fault and its repair.
func (s seen) judge(t *journal.Trial, fault, repair time.Duration) {
	before := slices.DeleteFunc(slices.Clone(s.asked), func(r probe.HTTPResult) bool { return r.Sent > repair })
	after := slices.DeleteFunc(slices.Clone(s.asked), func(r probe.HTTPResult) bool { return r.Sent <= repair })
	if worst, ok := probe.Worst(before, fault); ok {
		t.OutageMS, t.Lost = ms(worst.Duration()), !worst.Over
	}
	if worst, ok := probe.Worst(after, repair); ok {
		t.AfterMS = ms(worst.Duration())
	}
	t.StallMS = ms(stall(before, fault))
	if t.Fault != freeze {
		return
	}
	t.Frozen = &journal.Frozen{
		TwoFrozenMS: ms(twoByARP(s.heard, fault, repair, every)),
		TwoThawedMS: ms(twoByARP(s.heard, repair, math.MaxInt64, every)),
	}
	s.old(t, repair)
}

// old counts what the old holder answered after the thaw while another host did
// too: up to the last answer of another host.
func (s seen) old(t *journal.Trial, thaw time.Duration) {
	var others time.Duration
	all := slices.Concat(s.asked, s.told)
	for _, r := range all {
		if r.OK && r.Host != t.From {
			others = max(others, r.Done)
		}
	}
	for _, r := range all {
		if r.OK && r.Host == t.From && r.Done >= thaw && r.Done <= others {
			t.Frozen.OldAnswers++
			t.Frozen.OldMS = max(t.Frozen.OldMS, ms(r.Done-thaw))
		}
	}
}

// twoByARP returns for how long two hosts answered for the address within a
// time.
func twoByARP(heard []probe.ARPAnswer, from, to, every time.Duration) time.Duration {
	in := slices.DeleteFunc(slices.Clone(heard), func(a probe.ARPAnswer) bool { return a.At < from || a.At > to })
	return probe.TwoHolders(probe.SeenByARP(in), every, max(gap, 5*every))
}

// stall returns the longest time between two questions, from a moment on.
func stall(asked []probe.HTTPResult, from time.Duration) time.Duration {
	var sent []time.Duration
	for _, r := range asked {
		if r.Sent >= from {
			sent = append(sent, r.Sent)
		}
	}
	slices.Sort(sent)
	var worst time.Duration
	for i := 1; i < len(sent); i++ {
		worst = max(worst, sent[i]-sent[i-1])
	}
	return worst
}

// ms returns milliseconds, to a tenth.
func ms(d time.Duration) float64 {
	return math.Round(float64(d)/float64(100*time.Microsecond)) / 10
}

// seconds returns seconds, to a thousandth.
func seconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Millisecond)) / 1000
}
