package guard

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// Timing of the enforcement.
const (
	// CutMargin is how long before a lease's end the cut begins.
	CutMargin = custody.Margin
	// killTimeout bounds one attempt to end the processes of an instance.
	killTimeout = 2 * time.Second
	// addressLead is how long the removal of addresses is waited for until
	// processes are killed all the same.
	addressLead = 5 * time.Millisecond
	idleWait    = custody.Idle
	// behindLimit is how late the enforcer may be until the watchdog has to.
	behindLimit = 3 * time.Second
	// lastWait is the time between two looks at the cuts of a guard that ends.
	lastWait = 10 * time.Millisecond
)

// enforcer carries out orders in goroutines of its own, so that a slow kernel
// call delays no heartbeat and no cut, a stuck loop delays no cut, and a process
// that will not die delays no other service's cut.
type enforcer struct {
	opts Options
	wake chan struct{}
	cuts sync.WaitGroup // attempts to cut off that are under way
	gate *gate          // addresses

	mu     sync.Mutex // guards what follows
	orders []custody.Order
	news   []guardwire.Happened
	proven map[spec.ServiceName]bool // nothing of it is left since it was cut
	atWork map[spec.ServiceName]bool // an attempt to cut it off is under way
	due    time.Duration             // when act is to look at the latest
	busy   bool                      // something is being cut off, or not proven off
	stuck  spec.ServiceName          // exclusive, ended, and not proven off in time

	state map[spec.ServiceName]*enforced // owned by run
	mine  []custody.Order                // the same, a copy
	round uint64                         // of act
	done  chan cutResult
}

// enforced is what has been done about one service.
type enforced struct {
	custody.Cut
	said  string // the last trouble that was told
	round uint64 // the last one that had an order for it
}

// cutResult is what came of one attempt.
type cutResult struct {
	service spec.ServiceName
	began   time.Duration
	err     error
}

func newEnforcer(opts Options) *enforcer {
	return &enforcer{
		opts: opts, wake: make(chan struct{}, 1), gate: newGate(opts), proven: map[spec.ServiceName]bool{},
		atWork: map[spec.ServiceName]bool{}, state: map[spec.ServiceName]*enforced{}, done: make(chan cutResult), due: opts.Clock.Boot() + idleWait,
	}
}

// order replaces all orders. The enforcer keeps no part of the slice. It is
// woken only if there is something to do before it would look anyway: not for
// a lease that is merely renewed.
func (e *enforcer) order(orders []custody.Order) {
	e.mu.Lock()
	now := e.opts.Clock.Boot()
	changed := len(orders) != len(e.orders)
	for i := range orders {
		o := &orders[i]
		if !changed {
			changed = !o.Renews(&e.orders[i], now)
		}
		if !o.Over(now) {
			delete(e.proven, o.Service)
		}
	}
	e.orders = append(e.orders[:0], orders...)
	if changed {
		e.due = min(e.due, now)
	}
	e.mu.Unlock()
	e.gate.order(orders, changed)
	if !changed {
		return
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// inOrder reports whether what the leases demand is done in time: the enforcer
// is not behind, and no exclusive service is running on, or may be, long after
// its lease. The second result says what is not.
func (e *enforcer) inOrder() (bool, string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := e.opts.Clock.Boot(); now-e.due > behindLimit || now-e.gate.isDue() > behindLimit {
		return false, "leases are not enforced in time"
	}
	if e.stuck != "" {
		return false, fmt.Sprintf("%s cannot be cut off although its lease has ended", e.stuck)
	}
	return true, ""
}

// idle reports whether nothing is being cut off, or has still to be.
func (e *enforcer) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.busy
}

// gone reports whether a service was cut off, nothing of it is left and its
// addresses do not pass, by an order that has ended.
func (e *enforcer) gone(service spec.ServiceName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.proven[service] && e.gate.closed(service)
}

// cutting reports whether the service is being cut off. A lease that is won in
// the meantime is of no use until that is over: it may still take away what is
// started under it.
func (e *enforcer) cutting(service spec.ServiceName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.atWork[service]
}

// ended reports whether the newest order lets the service run no more.
func (e *enforcer) ended(name spec.ServiceName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.over(name)
}

// over is ended for who has the lock.
func (e *enforcer) over(name spec.ServiceName) bool {
	for i := range e.orders {
		if o := &e.orders[i]; o.Service == name {
			return o.Over(e.opts.Clock.Boot())
		}
	}
	return false
}

func (e *enforcer) take() []guardwire.Happened {
	e.mu.Lock()
	defer e.mu.Unlock()
	news := e.news
	e.news = nil
	return news
}

// run carries out orders until ctx ends and all attempts are over.
func (e *enforcer) run(ctx context.Context) {
	timer := e.opts.Clock.Timer(idleWait)
	defer timer.Stop()
	defer e.cuts.Wait()
	e.cuts.Go(func() { e.gate.run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-e.done:
			e.finished(r)
		case <-e.wake:
		case <-timer.C:
		}
		timer.Reset(e.act(ctx))
	}
}

// act does what is due and returns how long nothing else is.
func (e *enforcer) act(ctx context.Context) time.Duration {
	e.mu.Lock()
	e.mine = append(e.mine[:0], e.orders...)
	e.mu.Unlock()

	e.round++
	wait := idleWait
	for i := range e.mine {
		o := &e.mine[i]
		s := e.state[o.Service]
		if s == nil {
			s = &enforced{}
			e.state[o.Service] = s
		}
		s.round = e.round
		s.Take(o)
		wait = min(wait, e.enforce(ctx, s))
	}
	for name, s := range e.state {
		if s.round != e.round && !s.Cutting() {
			delete(e.state, name)
			e.mu.Lock()
			delete(e.proven, name)
			e.mu.Unlock()
		}
	}
	wait = max(wait, time.Millisecond)
	e.review(wait)
	return wait
}

// review notes what inOrder and idle tell.
func (e *enforcer) review(wait time.Duration) {
	now := e.opts.Clock.Boot()
	busy, stuck := false, spec.ServiceName("")
	for name, s := range e.state {
		busy = busy || s.Busy(now)
		if s.Stuck(now) && (stuck == "" || name < stuck) {
			stuck = name
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy, e.stuck, e.due = busy, stuck, now+wait
}

// enforce makes one order true and returns when to look again.
func (e *enforcer) enforce(ctx context.Context, s *enforced) time.Duration {
	now := e.opts.Clock.Boot()
	cut, mayRun, wait := s.Due(now)
	if mayRun {
		s.said = ""
	}
	if !cut {
		return wait
	}
	if !e.begin(s.Service) {
		return 0 // it was won in the meantime
	}
	s.Begin(now)
	o := s.Order
	e.cuts.Go(func() {
		r := cutResult{o.Service, now, e.cutOff(ctx, o)}
		e.mu.Lock()
		delete(e.atWork, o.Service)
		e.mu.Unlock()
		select {
		case e.done <- r:
		case <-ctx.Done():
		}
	})
	return idleWait
}

// begin notes that a service is being cut off, unless it may run by now.
func (e *enforcer) begin(service spec.ServiceName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over(service) {
		return false
	}
	e.atWork[service] = true
	return true
}

// finished takes the outcome of an attempt to cut off.
func (e *enforcer) finished(r cutResult) {
	s := e.state[r.service]
	if s == nil {
		return
	}
	now := e.opts.Clock.Boot()
	if r.err != nil {
		s.Failed(now, r.began)
		if text := r.err.Error(); text != s.said {
			s.said = text
			e.say(s, fmt.Sprintf("%s could not be cut off and is tried again and again: %v", s.Service, r.err))
			e.opts.Log.Error("cut not proven", logkey.Service, s.Service, logkey.Err, r.err)
		}
		return
	}
	s.said = ""
	if s.Done(now, r.began, e.ended(s.Service)) {
		e.mu.Lock()
		e.proven[s.Service] = true
		e.mu.Unlock()
	}
}

// cutOff ends what the agent should have stopped: addresses first, since they
// are what others see. One that the kernel is slow with does not hold up the
// end of the processes for long, nor does one process that of another. The newest
// order is looked at before each step, so that a lease that was won in the
// meantime is left alone.
func (e *enforcer) cutOff(ctx context.Context, o custody.Order) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	var (
		mu     sync.Mutex // guards failed
		failed []string
		steps  sync.WaitGroup
	)
	step := func(f func() error) {
		if !e.ended(o.Service) {
			return
		}
		if err := f(); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err.Error())
		}
	}
	if len(o.Addresses) > 0 {
		removed := make(chan struct{})
		steps.Go(func() {
			defer close(removed)
			for _, a := range o.Addresses {
				step(func() error { return e.opts.Fence.RemoveAddress(a) })
			}
		})
		lead := e.opts.Clock.Timer(addressLead)
		select {
		case <-removed:
		case <-lead.C:
		}
		lead.Stop()
	}
	for _, c := range o.Cgroups {
		steps.Go(func() { step(func() error { return e.opts.Fence.Kill(ctx, c) }) })
	}
	steps.Wait()
	if len(failed) > 0 {
		slices.Sort(failed) // said once, in whatever order they came
		return fmt.Errorf("cut off %s: %s", o.Service, strings.Join(failed, "; "))
	}
	return nil
}

// maxNews bounds what waits for the loop.
const maxNews = 64

func (e *enforcer) say(s *enforced, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.news) < maxNews {
		e.news = append(e.news, guardwire.Happened{
			Kind: string(event.ServiceCut), At: guardwire.Boot(e.opts.Clock.Boot()), Service: s.Service, Epoch: s.Epoch, Text: text,
		})
	}
}

// addresses reads the IP addresses out of "prefix%interface" handles.
func addresses(handles []string) []netip.Addr {
	var out []netip.Addr
	for _, h := range handles {
		prefix, _, _ := strings.Cut(h, "%")
		if p, err := netip.ParsePrefix(prefix); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out
}
