package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/test/bench/journal"
)

const (
	// steadyEvery is the time between two questions while nothing is broken.
	steadyEvery = 20 * time.Millisecond
	// steadyRest is how long a cluster is left alone before it is watched.
	steadyRest = 5 * time.Second
	// busyLoops oversubscribe each of two cores twice.
	busyLoops = 4
)

// steady watches a cluster under a condition, without a fault of a host.
func (a *arena) steady(ctx context.Context, under *imposed, d time.Duration) journal.Steady {
	s := journal.Steady{Contestant: a.name, Condition: under.condition, At: a.clock.Now().UTC().Truncate(time.Second), Seconds: d.Seconds()}
	if err := a.watch(ctx, under, d, &s); err != nil {
		s.Error = err.Error()
	}
	return s
}

func (a *arena) watch(ctx context.Context, under *imposed, d time.Duration, s *journal.Steady) (err error) {
	defer func() {
		_, stopped := a.stop(context.WithoutCancel(ctx))
		err = errors.Join(err, stopped)
	}()
	if err := a.ask(ctx, steadyEvery); err != nil {
		return err
	}
	if _, err := a.settle(ctx); err != nil {
		return err
	}
	if err := a.clock.Sleep(ctx, steadyRest); err != nil {
		return err
	}
	before, err := a.cluster.Alarms(ctx)
	if err != nil {
		return err
	}
	end, err := under.on(ctx, a)
	if err != nil {
		return err
	}
	from := a.clock.Boot()
	slept := a.clock.Sleep(ctx, d)
	to := a.clock.Boot()
	s.Load = loadAverage()
	if b, ok := a.cluster.(bounded); ok {
		s.Bound, err = b.Bound(ctx)
	}
	saw, stopped := a.stop(ctx)
	if err := errors.Join(slept, stopped, end(context.WithoutCancel(ctx)), err); err != nil {
		return err
	}
	saw.sum(s, from, to)
	// Whoever is still at odds with the others answers once they agree.
	after, err := a.alarmsAtLast(ctx)
	s.Alarms = after - before
	return err
}

// alarmsAtLast asks for the alarms until there is an answer.
func (a *arena) alarmsAtLast(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, verbLimit)
	defer cancel()
	for {
		n, err := a.cluster.Alarms(ctx)
		if err == nil {
			return n, nil
		}
		if a.clock.Sleep(ctx, time.Second) != nil {
			return 0, err
		}
	}
}

// imposed is a condition for all that are watched side by side. It is safe for
// concurrent use.
type imposed struct {
	condition string

	mu    sync.Mutex
	under int // how many are under load now
	ease  func(context.Context) error
}

// on makes the condition so for one of them, until end is called.
func (i *imposed) on(ctx context.Context, a *arena) (end func(context.Context) error, err error) {
	switch i.condition {
	case rest:
		return func(context.Context) error { return nil }, nil
	case load:
		return i.busy(ctx)
	case loss10:
		return a.lab.HealAll, a.lab.LossBetween(ctx, 10, a.hosts)
	case loss20:
		return a.lab.HealAll, a.lab.LossBetween(ctx, 20, a.hosts)
	default:
		return nil, fmt.Errorf("there is no condition %q", i.condition)
	}
}

// busy puts the machine under load for the first of them, until the last has ended.
func (i *imposed) busy(ctx context.Context) (end func(context.Context) error, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.under == 0 {
		if i.ease, err = busy(ctx); err != nil {
			return nil, err
		}
	}
	i.under++
	return func(ctx context.Context) error {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.under--; i.under > 0 {
			return nil
		}
		return i.ease(ctx)
	}, nil
}

// busy runs loops that do nothing on the machine, beside the lab, until end is
// called. They end with this program, too.
func busy(ctx context.Context) (end func(context.Context) error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all []*exec.Cmd
	end = func(context.Context) error {
		cancel()
		for _, c := range all {
			_ = c.Wait() // it was killed, and says so
		}
		return nil
	}
	for range busyLoops {
		c := exec.CommandContext(ctx, "/bin/sh", "-c", "while :; do :; done")
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := c.Start(); err != nil {
			return nil, errors.Join(fmt.Errorf("start a busy loop: %w", err), end(ctx))
		}
		all = append(all, c)
	}
	return end, nil
}

// sum works out what the clients saw from one moment to another.
func (s seen) sum(to *journal.Steady, from, until time.Duration) {
	asked := slices.DeleteFunc(slices.Clone(s.asked), func(r probe.HTTPResult) bool { return r.Sent < from || r.Sent > until })
	to.Asked = len(asked)
	var last time.Duration // good answer
	for _, r := range asked {
		if !r.OK {
			to.Failed++
			continue
		}
		last = max(last, r.Done)
	}
	to.Changes = changes(asked)
	var away time.Duration
	for _, o := range probe.Outages(asked, from) {
		away += o.Duration()
		to.Outages++
		to.LongestMS = max(to.LongestMS, ms(o.Duration()))
	}
	to.UnservedS = seconds(away)
	if until-last > (until-from)/4 {
		to.LostAtS = max(seconds(last-from), 0.001)
	}
	to.TwoS = seconds(twoByARP(s.heard, from, until, steadyEvery))
}

// changes returns how often another host answered than before.
func changes(asked []probe.HTTPResult) int {
	n, host := 0, ""
	for _, t := range probe.Tenures(asked) {
		if host != "" && t.Host != host {
			n++
		}
		host = t.Host
	}
	return n
}
