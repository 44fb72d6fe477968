// Package exec runs a program as a part of a service.
//
// Its main rule: there is never a second copy. Start leaves a running instance
// of the same generation and epoch alone and removes whatever else is left of
// the part before it starts one; Stop returns nil only when no process of the
// part is alive. Both hold a lock of the part, across agents.
//
// A program is not tied to the agent. It has its own session and cgroup, writes
// its output straight to a file, and is found again by a later agent through
// its cgroup and a record in the part's run folder. What counts as running is
// the program itself: children that outlive it do not, but Stop and the next
// Start kill them.
//
// The package restarts nothing and judges nothing; that is its caller's part.
package exec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// Options are what a [Driver] needs. Clock and Log are required.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger

	// Base is the folder for all cgroups, see [cgroup.Options].
	Base string
	// Sessions asks for tracking by session even where cgroups can be made.
	Sessions bool
}

// Driver runs programs. Its methods are safe for concurrent use.
type Driver struct {
	clock    clock.Clock
	log      *slog.Logger
	groups   *cgroup.Tree
	boot     string
	troubles []string

	mu    sync.Mutex
	told  map[string]string // by what it is about: further warnings
	known map[string]*known // by Run.Key
	asked map[string]*seats // likewise
}

// known is what this process remembers of a part between calls.
type known struct {
	run     instance.Run
	record  record
	exit    *exit // of the process in record, nil if not known
	stopped bool  // by us

	outputBytes int64 // at the last look
	untrimmed   bool  // the last look could not bound the output
}

// New returns a driver. It finds out what the host offers, see
// [Driver.Warnings], and starts nothing.
func New(o Options) *Driver {
	d := &Driver{
		clock:  o.Clock,
		log:    o.Log,
		groups: cgroup.Open(cgroup.Options{Clock: o.Clock, Base: o.Base, Sessions: o.Sessions}),
		known:  map[string]*known{},
		asked:  map[string]*seats{},
		told:   map[string]string{},
	}
	var err error
	if d.boot, err = cgroup.BootID(); err != nil {
		d.troubles = append(d.troubles, fmt.Sprintf(
			"This boot of the host cannot be told from another (%v). Mount /proc.", err))
	}
	return d
}

// Warnings returns sentences for the operator about what this host lacks, and what
// it lacks for the programs that run.
func (d *Driver) Warnings() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := append(d.groups.Warnings(), d.troubles...)
	for _, about := range slices.Sorted(maps.Keys(d.told)) {
		out = append(out, d.told[about])
	}
	return out
}

// trouble notes a warning about something, an empty one when it is over, and
// reports whether it is another than before.
func (d *Driver) trouble(about, text string) (news bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	had := d.told[about]
	if text == "" {
		delete(d.told, about)
	} else {
		d.told[about] = text
	}
	return text != "" && text != had
}

// Handles returns what run can be cut off by, known before it starts. It has
// none if the names in run cannot be a cgroup's; Start refuses such a run.
func (d *Driver) Handles(run instance.Run) instance.Handles {
	g, err := d.group(run)
	if err != nil {
		return instance.Handles{}
	}
	return instance.Handles{Cgroups: g.Handles()}
}

func (d *Driver) group(run instance.Run) (*cgroup.Group, error) {
	g, err := d.groups.Group(pidfilePath(run), run.Cell, string(run.Node), string(run.Name()), run.Part.Name)
	if err != nil {
		return nil, &Error{BadSpec, fmt.Sprintf("%s has a name that cannot be a folder. Rename it.", run.Key()), err}
	}
	return g, nil
}

// Start starts run's program and returns once it is executing. An instance of
// the same generation and epoch that runs already is left alone. An instance of
// another, and whatever else is left of the part, is stopped first; not so if
// what run asks for cannot be started at all.
//
// The error is a [*Error] if the operator can do something about it.
func (d *Driver) Start(ctx context.Context, run instance.Run) error {
	l, err := d.prepare(run)
	if err != nil {
		return err
	}
	unlock, err := d.lock(ctx, run)
	if err != nil {
		return err
	}
	defer unlock()

	v, err := d.look(run, l.group)
	if err != nil {
		return err
	}
	if v.running && v.record.Generation == run.Generation && v.record.Epoch == run.Epoch {
		d.remember(run, v.record)
		return nil
	}
	if err := d.end(ctx, run, l.group, v); err != nil {
		return fmt.Errorf("clear %s before its start: %w", run.Key(), err)
	}
	return d.launch(ctx, run, l)
}

// births bounds how often a start is tried again because the guard took the
// group away meanwhile: it does so with what may not run, and looks again and
// again.
const births = 3

// launch starts a prepared program where nothing is left of an older one.
func (d *Driver) launch(ctx context.Context, run instance.Run, l launch) error {
	if missing := d.groups.Unlimited(l.limits); len(missing) > 0 {
		d.log.WarnContext(ctx, "limits not enforced on this host",
			logkey.Service, run.Service, logkey.Part, run.Part.Name, "limits", strings.Join(missing, ", "))
	}
	r := record{Boot: d.boot, Generation: run.Generation, Epoch: run.Epoch}
	var err error
	for range births {
		if err = l.group.Create(l.limits); err != nil {
			err = fmt.Errorf("start %s: %w", run.Key(), err)
		} else {
			r.OOMBefore, _ = l.group.OOMKills()
			r.Started = d.clock.Now()
			r.Pid, err = d.spawn(ctx, run, l)
		}
		if !errors.Is(err, cgroup.ErrRemoved) {
			break
		}
	}
	if err != nil {
		return errors.Join(err, d.wipe(context.WithoutCancel(ctx), run, l.group))
	}
	p, err := cgroup.Look(r.Pid)
	if err == nil {
		r.Ticks = p.Start
		err = saveRecord(run, r)
	}
	if err != nil { // a program that nobody would find again must not run
		return errors.Join(fmt.Errorf("start %s: %w", run.Key(), err), d.discard(ctx, run, l.group, r))
	}
	d.remember(run, r)
	d.log.InfoContext(ctx, "program started", logkey.Service, run.Service, logkey.Part, run.Part.Name,
		logkey.Pid, r.Pid, logkey.Epoch, run.Epoch)
	return nil
}

// discard kills a program whose start could not be completed.
func (d *Driver) discard(ctx context.Context, run instance.Run, g *cgroup.Group, r record) error {
	d.remember(run, r) // so that it is reaped
	return d.wipe(context.WithoutCancel(ctx), run, g)
}

// Stop asks the program to end with its stop signal, and after its grace, or
// when ctx's deadline comes near, kills all that is left of the part. It returns
// nil when that is proven dead, also if nothing was running.
//
// An error that is not ctx's is a [*Error] with code [WontDie], and names the
// processes.
func (d *Driver) Stop(ctx context.Context, run instance.Run) error {
	g, err := d.group(run)
	if err != nil {
		return err
	}
	if _, err := os.Stat(run.RunDir); errors.Is(err, fs.ErrNotExist) {
		return d.wipe(ctx, run, g) // no agent has started it since the last boot
	}
	unlock, err := d.lock(ctx, run)
	if err != nil {
		return err
	}
	defer unlock()
	v, err := d.look(run, g)
	if err != nil {
		return err
	}
	return d.end(ctx, run, g, v)
}

// killReserve is what is kept of a stop's time for the kill after the grace, if
// the deadline cuts the grace short.
const killReserve = time.Second

// end brings down what v shows, gently if it is a program that runs.
func (d *Driver) end(ctx context.Context, run instance.Run, g *cgroup.Group, v view) error {
	d.mu.Lock()
	if k := d.known[run.Key()]; k != nil {
		k.stopped = true
	}
	d.mu.Unlock()
	if v.running {
		if err := d.ask(ctx, run, v.record); err != nil {
			return err
		}
	}
	if !v.running && len(v.members) == 0 {
		return d.clean(ctx, run, g)
	}
	return d.wipe(ctx, run, g)
}

// ask sends the stop signal and waits for the program's end, at most for the
// grace. It fails only if ctx is canceled: the program then may be ending.
func (d *Driver) ask(ctx context.Context, run instance.Run, r record) error {
	e := run.Part.Exec
	if e == nil {
		e = &spec.Exec{}
	}
	grace := e.EffectiveGrace()
	if deadline, ok := ctx.Deadline(); ok {
		left := deadline.Sub(d.clock.Now())
		grace = min(grace, left-min(killReserve, left/2))
	}
	signal, ok := spec.SignalNumber(e.EffectiveStopSignal())
	if !ok || grace <= 0 {
		return nil // straight to the kill
	}
	f, err := hold(r)
	if err != nil {
		return nil // it has just ended, or cannot be asked: the kill is next
	}
	defer f.Close()
	if err := f.ask(signal); err != nil {
		return nil // likewise
	}
	patience, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if err := f.wait(patience); err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("stop %s: %w", run.Key(), err)
	}
	return nil
}

// wipe kills what is left of the part, proves it dead and removes its traces.
func (d *Driver) wipe(ctx context.Context, run instance.Run, g *cgroup.Group) error {
	if err := g.Kill(ctx); err != nil {
		return &Error{
			WontDie,
			fmt.Sprintf("%s could not be stopped: %v. "+
				"Look for a disk or mount that hangs; if it does not come back, the node must be fenced.", run.Key(), err), err,
		}
	}
	return d.clean(ctx, run, g)
}

// clean removes the traces of a part of which nothing is alive.
func (d *Driver) clean(ctx context.Context, run instance.Run, g *cgroup.Group) error {
	d.forget(run)
	if err := dropRecord(run); err != nil {
		return fmt.Errorf("stop %s: %w", run.Key(), err)
	}
	if err := g.Remove(ctx); err != nil { // empty, so harmless
		d.log.WarnContext(ctx, "empty cgroup left behind",
			logkey.Service, run.Service, logkey.Part, run.Part.Name, logkey.Err, err)
	}
	return nil
}

// Probe returns what is there of run's part, of whichever generation and epoch.
//
// Processes that no record explains count as running, since they may be a whole
// copy whose start was interrupted; their generation is 0. A program that ended
// and left children behind counts as not running.
func (d *Driver) Probe(_ context.Context, run instance.Run) (instance.Observed, error) {
	g, err := d.group(run)
	if err != nil {
		return instance.Observed{}, err
	}
	v, err := d.look(run, g)
	if err != nil {
		return instance.Observed{}, err
	}
	r := v.record
	switch {
	case v.running:
		d.remember(run, r)
		return instance.Observed{
			Running: true, Since: r.Started, Generation: r.Generation, Epoch: r.Epoch,
			Detail: fmt.Sprintf("pid %d", r.Pid),
		}, nil
	case v.recorded && len(v.members) > 0:
		return instance.Observed{
			Detail: fmt.Sprintf("program ended, processes it left behind: %s", numbers(v.members)),
		}, nil
	case len(v.members) > 0:
		return instance.Observed{
			Running: true, Detail: fmt.Sprintf("processes without a record, left by an interrupted start: %s", numbers(v.members)),
		}, nil
	case v.recorded:
		return instance.Observed{Detail: d.ended(run, g, r).Sentence}, nil
	default:
		return instance.Observed{Detail: "not running"}, nil
	}
}

// Wait blocks until the program is no longer running. The error says what
// became of it: a [*Error] with code [Ended], whose sentence is such as
// "exited with status 3", or with code [Stopped] if this driver stopped it; or
// ctx's error.
func (d *Driver) Wait(ctx context.Context, run instance.Run) error {
	g, err := d.group(run)
	if err != nil {
		return err
	}
	v, err := d.look(run, g)
	if err != nil {
		return err
	}
	if !v.recorded {
		return &Error{Ended, "not running", nil}
	}
	k := d.remember(run, v.record)
	if v.running {
		f, err := hold(v.record)
		switch {
		case errors.Is(err, errNoProcess): // it has just ended
		case err != nil:
			return fmt.Errorf("wait for %s: %w", run.Key(), err)
		default:
			defer f.Close()
			if err := f.wait(ctx); err != nil {
				return fmt.Errorf("wait for %s: %w", run.Key(), err)
			}
			d.learn(ctx, k, f)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	k.reap()
	if k.stopped {
		return &Error{Stopped, "stopped on request", nil}
	}
	return crowded(run, describe(k.exit, v.record.oomKilled(g)))
}

// remember returns what is known of run's instance r, noted now if need be.
func (d *Driver) remember(run instance.Run, r record) *known {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.known[run.Key()]
	if k == nil || !k.record.same(r) {
		k = &known{run: run, record: r}
		d.known[run.Key()] = k
	}
	return k
}

// forget drops what is known of run, after its process was reaped if it was
// ours. Whoever waits for it keeps its own reference.
func (d *Driver) forget(run instance.Run) {
	d.trouble(aboutFiles(run), "")
	d.trouble(aboutOutput(run), "")
	d.trouble(aboutDisk(run), "")
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.known[run.Key()]; k != nil {
		k.stopped = true
		k.reap()
		delete(d.known, run.Key())
	}
	if s := d.asked[run.Key()]; s != nil && s.taken == [questions]bool{} {
		delete(d.asked, run.Key())
	}
}

// ended describes the end of a program that is known to be dead.
func (d *Driver) ended(run instance.Run, g *cgroup.Group, r record) *Error {
	k := d.remember(run, r)
	d.mu.Lock()
	defer d.mu.Unlock()
	k.reap()
	return crowded(run, describe(k.exit, r.oomKilled(g)))
}

// Run keeps the output of all programs within their limits, and reaps those
// that nobody waits for, until ctx ends. It returns ctx's error.
func (d *Driver) Run(ctx context.Context) error {
	pause := fastest
	for {
		if err := d.clock.Sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, slowest)
		if d.tend(ctx) {
			pause = fastest
		}
	}
}

// tend looks after all known parts once, and reports whether one of them
// writes so much that it must be looked at again soon.
func (d *Driver) tend(ctx context.Context) (busy bool) {
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.known))
	for _, k := range all {
		k.reap()
	}
	d.mu.Unlock()
	for _, k := range all {
		if k.run.Part.Exec == nil {
			continue
		}
		d.watchDisk(k.run)
		limit := k.run.Part.Exec.EffectiveOutputBytes()
		size, full, err := trim(k.run.LogDir, limit)

		d.mu.Lock()
		busy = busy || full || size-k.outputBytes > limit/busyShare
		news := err != nil && !k.untrimmed
		k.outputBytes, k.untrimmed = size, err != nil
		d.mu.Unlock()
		if news {
			d.log.WarnContext(ctx, "output not kept within its limit",
				logkey.Service, k.run.Service, logkey.Part, k.run.Part.Name, logkey.Err, err)
		}
	}
	return busy
}
