package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// errNoDriver means that this node does not know a kind of part.
var errNoDriver = errors.New("this node has no driver for parts of this kind")

// errUnruled means that an address was not brought up since the guard does not
// enforce its lease yet.
var errUnruled = errors.New("the guard did not say in time that it enforces the address")

// runOf names one part for its driver.
func (r *runner) runOf(s record.Service, p spec.Part) instance.Run {
	run := instance.Run{
		Cell: r.cell, Node: r.options.Node, Service: r.name.Service(), Copy: r.name.Number(),
		Generation: s.Generation, Epoch: r.st.Epoch, Part: p,
		RunDir: filepath.Join(r.options.PartsDir, string(r.name), p.Name),
		LogDir: filepath.Join(r.options.LogsDir, string(r.name), p.Name),
	}
	switch {
	case s.Spec.Copies == nil:
	case p.Role == spec.RolePrimary:
		run.Epoch, run.Role, run.Lease = r.st.Right.Epoch, p.Role, r.st.Right.Lease
	case s.Spec.HasRoles():
		run.Own, run.Role = true, spec.RoleReplica
	default:
		run.Own = true
	}
	return run
}

// inRole is run for a command that gives its program a role.
func (r *runner) inRole(run instance.Run, role spec.Role) instance.Run {
	run.Epoch, run.Role, run.Lease, run.Own = r.st.Right.Epoch, role, r.st.Right.Lease, false
	return run
}

// withoutGrace returns a run that asks for force.
func withoutGrace(run instance.Run) instance.Run {
	if run.Part.Exec != nil {
		exec := *run.Part.Exec
		exec.Grace = new(spec.Duration)
		run.Part.Exec = &exec
	}
	return run
}

// begin carries op out in a goroutine of its own; its result comes back over
// r.results.
func (r *runner) begin(ctx context.Context, op supervise.Operation, limit time.Duration) {
	if op.Kind == supervise.None {
		return
	}
	part := r.st.Run.Spec.Parts[op.Part]
	run := r.runOf(r.st.Run, part)
	driver, ok := r.options.Parts[part.Kind()]
	limited, cancel := context.WithTimeout(ctx, limit)
	r.cancel = cancel
	promoted, demoted := r.inRole(run, spec.RolePrimary), r.inRole(run, spec.RoleReplica)
	place := r.takePlace(op)
	r.options.Log.Debug("operation began", "operation", string(op.Kind), logkey.Service, r.name, logkey.Part, part.Name)
	r.tasks.Go(func() {
		defer cancel()
		defer place.giveBack()
		var res supervise.Result
		switch {
		case !ok && op.Kind == supervise.Start:
			res.Err = fmt.Errorf("%w: %s", errNoDriver, part.Kind())
		case !ok: // nothing that could run
		case op.Kind == supervise.Probe:
			res.Seen, res.Err = driver.Probe(limited, run)
		case op.Kind == supervise.Start:
			res = r.start(limited, driver, run)
		case op.Kind == supervise.Promote:
			res = r.promote(limited, driver, promoted)
		case op.Kind == supervise.Demote:
			res.Err = demote(limited, driver, demoted)
		case op.Kind == supervise.Stop && op.Force:
			res.Err = driver.Stop(limited, withoutGrace(run))
		case op.Kind == supervise.Stop:
			res.Err = driver.Stop(limited, run)
		}
		if res.Err != nil {
			res.Missing = instance.Missing(res.Err)
			res.Err = errors.New(cleanText(res.Err))
		}
		r.results <- res // has room for the one operation in flight
	})
}

// start starts a part and waits for its startup check. The lease is looked at
// once more, since time has passed since [supervise.Step] did.
func (r *runner) start(ctx context.Context, driver Part, run instance.Run) supervise.Result {
	if err := r.awaitRule(ctx, driver.Handles(run).Addresses); err != nil {
		return supervise.Result{Refused: true, Err: err}
	}
	run.May = func() error {
		if !run.Own && !r.holds(run) {
			return errRefused
		}
		return nil
	}
	if err := run.Allowed(); err != nil {
		return supervise.Result{Refused: true, Err: err}
	}
	if err := driver.Start(ctx, run); err != nil {
		return supervise.Result{Refused: errors.Is(err, errRefused), Err: err}
	}
	run.May = nil
	check := run.Part.EffectiveChecks().Startup
	if check == nil {
		return supervise.Result{}
	}
	return supervise.Result{Err: r.startup(ctx, driver, *check, run)}
}

// ruleWait is how long a start waits for the guard to enforce its addresses.
const ruleWait = 3 * time.Second

// awaitRule waits until the guard enforces all of the addresses that a part
// brings up: the duty that names them may still be on its way.
func (r *runner) awaitRule(ctx context.Context, addresses []string) error {
	if len(addresses) == 0 {
		return nil
	}
	timer := r.options.Clock.Timer(ruleWait)
	defer timer.Stop()
	for {
		changed := r.options.Guard.Changed()
		if rules(r.options.Guard.Latest(), r.name.Service(), addresses) {
			return nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return errUnruled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rules reports whether the guard enforces all of the addresses, or cannot be
// asked, or holds no lease, so that nothing is started anyway.
func rules(g guardclient.View, name spec.ServiceName, addresses []string) bool {
	i := slices.IndexFunc(g.State.Holds, func(h guardwire.Hold) bool { return h.Service == name })
	if !g.State.Rules || i < 0 {
		return true
	}
	return !slices.ContainsFunc(addresses, func(a string) bool {
		return !slices.ContainsFunc(g.State.Holds[i].Ruled, func(b string) bool { return ipOf(a) == ipOf(b) })
	})
}

// ipOf is the address of a handle, without its interface: the kernel enforces it
// on all.
func ipOf(handle string) string {
	ip, _, _ := strings.Cut(handle, "/")
	return ip
}

// holds reports whether the guard shows the lease as held under the run's epoch.
func (r *runner) holds(run instance.Run) bool {
	h := holdOf(r.options.Guard.Latest(), instance.LeaseName(r.name.Service(), run.Lease))
	return h.Held && h.Epoch == run.Epoch && h.Until-r.options.Clock.Boot() > supervise.StopAhead
}

// errNoRoles means that a driver cannot tell a part its role.
var errNoRoles = errors.New("parts of this kind have no roles")

// promote makes a part primary, if the right to that is still there.
func (r *runner) promote(ctx context.Context, driver Part, run instance.Run) supervise.Result {
	if !r.holds(run) {
		return supervise.Result{Refused: true, Err: errRefused}
	}
	p, ok := driver.(Promoter)
	if !ok {
		return supervise.Result{Err: fmt.Errorf("%w: %s", errNoRoles, run.Part.Kind())}
	}
	return supervise.Result{Err: p.Promote(ctx, run)}
}

func demote(ctx context.Context, driver Part, run instance.Run) error {
	p, ok := driver.(Promoter)
	if !ok {
		return fmt.Errorf("%w: %s", errNoRoles, run.Part.Kind())
	}
	return p.Demote(ctx, run)
}

// startup waits until the startup check passes once, the part ends, or the
// start timeout is over.
func (r *runner) startup(ctx context.Context, driver Part, check spec.Check, run instance.Run) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	passed := make(chan struct{})
	last := errors.New("its startup check did not answer in time")
	asked := make(chan struct{})
	r.tasks.Go(func() {
		stop(fmt.Errorf("it ended before its startup check passed: %w", driver.Wait(ctx, run)))
	})
	r.tasks.Go(func() {
		defer close(asked)
		r.options.Checks.Watch(ctx, check, run, func(ok bool, why string) {
			switch {
			case ctx.Err() != nil:
			case ok:
				close(passed)
				stop(nil)
			default:
				last = fmt.Errorf("its startup check did not pass: %s", why)
				if check.Failures > 0 {
					stop(last)
				}
			}
		})
	})
	<-ctx.Done()
	<-asked
	select {
	case <-passed:
		return nil
	default:
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return last
}

// watch is the watching of one running part, in one life of it.
type watch struct {
	life   uint64
	cancel context.CancelFunc
	ready  bool
	detail string
	unwell string // what its liveness check says no for; empty: it does not
	// unready is what its readiness check says no for; empty: it says yes, or nothing yet.
	unready string
}

// notice is news of a watched part.
type notice struct {
	part int
	life uint64
	kind noticeKind
	text string
}

type noticeKind int

const (
	noticeEnded   noticeKind = iota // it ended by itself
	noticeUnwell                    // its liveness check says no
	noticeWell                      // and yes again
	noticeReady                     // its readiness check says yes
	noticeUnready                   // its readiness check says no
	noticeDetail                    // what a probe saw of it
)

// rewatch watches the parts that run, and only them.
func (r *runner) rewatch(ctx context.Context) {
	if len(r.watches) != len(r.st.Parts) {
		r.unwatch()
		r.watches = make([]*watch, len(r.st.Parts))
	}
	begun := false
	for i, p := range r.st.Parts {
		switch w := r.watches[i]; {
		case runs(p) && w == nil:
			r.watches[i] = r.watch(ctx, i)
			begun = true
		case !runs(p) && w != nil:
			w.cancel()
			r.watches[i] = nil
		}
	}
	if begun && r.ready() {
		r.options.emit(event.Event{
			Kind: event.ServiceReady, Service: r.name.Service(), Epoch: r.epoch(), Text: r.voice("It is ready."),
		})
	}
}

// runs reports whether a part in this state is to be watched.
func runs(p supervise.PartState) bool {
	return p == supervise.Up || p == supervise.Raised || p == supervise.Half
}

func (r *runner) unwatch() {
	for _, w := range r.watches {
		if w != nil {
			w.cancel()
		}
	}
}

func (r *runner) watch(ctx context.Context, i int) *watch {
	part := r.st.Run.Spec.Parts[i]
	run, driver := r.runOf(r.st.Run, part), r.options.Parts[part.Kind()]
	checks := part.EffectiveChecks()
	ctx, cancel := context.WithCancel(ctx)
	r.lives++
	w := &watch{life: r.lives, cancel: cancel, ready: checks.Readiness == nil}
	say := func(kind noticeKind, text string) {
		select {
		case r.notices <- notice{part: i, life: w.life, kind: kind, text: text}:
		case <-ctx.Done():
		}
	}
	r.tasks.Go(func() {
		if seen, err := driver.Probe(ctx, run); err == nil && seen.Detail != "" {
			say(noticeDetail, seen.Detail)
		}
		if err := driver.Wait(ctx, run); ctx.Err() == nil {
			say(noticeEnded, ended(err))
		}
	})
	both := checks.Liveness != nil && reflect.DeepEqual(checks.Liveness, checks.Readiness)
	if checks.Liveness != nil {
		r.tasks.Go(func() {
			r.options.Checks.Watch(ctx, *checks.Liveness, run, func(ok bool, why string) {
				if both {
					say(readiness(ok), why)
				}
				if ok {
					say(noticeWell, "")
				} else {
					say(noticeUnwell, "its check says no: "+why)
				}
			})
		})
	}
	if checks.Readiness != nil && !both {
		r.tasks.Go(func() {
			r.options.Checks.Watch(ctx, *checks.Readiness, run, func(ok bool, why string) { say(readiness(ok), why) })
		})
	}
	return w
}

func readiness(ok bool) noticeKind {
	if ok {
		return noticeReady
	}
	return noticeUnready
}

func ended(err error) string {
	if err == nil {
		return "it ended by itself"
	}
	return cleanText(err)
}
