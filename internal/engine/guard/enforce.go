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
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// Timing of the enforcement.
const (
	// CutMargin is how long before a lease's end the cut begins, so that it is
	// done by then (cut-before-end).
	CutMargin = 40 * time.Millisecond
	// renewAfter is the part of a lease that passes between two renewals of an
	// address in the kernel, as a divisor. A guard that freezes loses its
	// addresses that much earlier, and the kernel is asked less often.
	renewAfter = 4
	// killTimeout bounds one attempt to end the processes of an instance.
	killTimeout = 2 * time.Second
	// retryCut is the pause after a cut that could not be proven.
	retryCut = 500 * time.Millisecond
	// recut is the pause between two cuts of a service that this node does not
	// hold.
	recut    = 2 * time.Second
	idleWait = time.Second
	// lastWait is the time between two looks at the cuts of a guard that ends.
	lastWait = 10 * time.Millisecond
)

// order says what shall be true of one service: it may run until then, or not
// at all if until is in the past.
type order struct {
	service   spec.ServiceName
	epoch     uint64
	until     time.Duration
	addresses []string
	cgroups   []string
}

// enforcer carries out orders in goroutines of its own, so that a slow kernel
// call delays no heartbeat, a stuck loop delays no cut, and a process that will
// not die delays no other service's cut.
type enforcer struct {
	opts Options
	wake chan struct{}
	cuts sync.WaitGroup // attempts to cut off that are under way

	mu     sync.Mutex
	orders []order
	news   []guardwire.Happened
	proven map[spec.ServiceName]bool // nothing of it is left since it was cut

	state map[spec.ServiceName]*enforced // owned by run
	done  chan cutResult
}

// enforced is what has been done about one service.
type enforced struct {
	order
	passing bool          // its addresses pass in the kernel
	passes  time.Duration // until when
	cutting bool          // an attempt to cut it off is under way
	again   time.Duration // when to cut it off again, 0: at once
	said    string        // the last trouble that was told
}

// cutResult is what came of one attempt.
type cutResult struct {
	service spec.ServiceName
	err     error
}

func newEnforcer(opts Options) *enforcer {
	return &enforcer{
		opts: opts, wake: make(chan struct{}, 1), proven: map[spec.ServiceName]bool{},
		state: map[spec.ServiceName]*enforced{}, done: make(chan cutResult),
	}
}

// order replaces all orders.
func (e *enforcer) order(orders []order) {
	e.mu.Lock()
	e.orders = orders
	now := e.opts.Clock.Boot()
	for _, o := range orders {
		if o.until-CutMargin > now {
			delete(e.proven, o.service)
		}
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// gone reports whether all of the services were cut off and nothing of them is
// left, by orders that have ended.
func (e *enforcer) gone(services ...spec.ServiceName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range services {
		if !e.proven[s] {
			return false
		}
	}
	return true
}

// ended reports whether the newest order lets the service run no more.
func (e *enforcer) ended(name spec.ServiceName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range e.orders {
		if o.service == name {
			return o.until-CutMargin <= e.opts.Clock.Boot()
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
	orders := e.orders
	e.mu.Unlock()

	seen := map[spec.ServiceName]bool{}
	wait := idleWait
	for _, o := range orders {
		seen[o.service] = true
		s := e.state[o.service]
		if s == nil {
			s = &enforced{}
			e.state[o.service] = s
		}
		if s.epoch != o.epoch || !slices.Equal(o.cgroups, s.cgroups) {
			s.again = 0
		}
		if !slices.Equal(o.addresses, s.addresses) {
			s.again, s.passing = 0, false
		}
		s.order = o
		wait = min(wait, e.enforce(ctx, s))
	}
	for name, s := range e.state {
		if !seen[name] && !s.cutting {
			e.pass(s, 0)
			delete(e.state, name)
		}
	}
	return max(wait, time.Millisecond)
}

// enforce makes one order true and returns when to look again.
func (e *enforcer) enforce(ctx context.Context, s *enforced) time.Duration {
	now := e.opts.Clock.Boot()
	if left := s.until - CutMargin - now; left > 0 {
		s.again, s.said = 0, ""
		if passes := s.until - CutMargin/2; !s.passing || passes > s.passes && s.passes-now < (passes-now)*(renewAfter-1)/renewAfter {
			e.pass(s, passes-now)
		}
		return left
	}
	if s.passing {
		e.pass(s, 0)
	}
	if s.cutting {
		return idleWait
	}
	if now < s.again {
		return s.again - now
	}
	s.cutting = true
	o := s.order
	e.cuts.Go(func() {
		r := cutResult{o.service, e.cutOff(ctx, o)}
		select {
		case e.done <- r:
		case <-ctx.Done():
		}
	})
	return idleWait
}

// finished takes the outcome of an attempt to cut off.
func (e *enforcer) finished(r cutResult) {
	s := e.state[r.service]
	if s == nil {
		return
	}
	s.cutting = false
	now := e.opts.Clock.Boot()
	if r.err != nil {
		s.again = now + retryCut
		if text := r.err.Error(); text != s.said {
			s.said = text
			e.say(s, fmt.Sprintf("%s could not be cut off and is tried again and again: %v", s.service, r.err))
			e.opts.Log.Error("cut not proven", logkey.Service, s.service, logkey.Err, r.err)
		}
		return
	}
	// Looked at again: a start that was under way may have come after it.
	s.again, s.said = now+recut, ""
	if e.ended(s.service) {
		e.mu.Lock()
		e.proven[s.service] = true
		e.mu.Unlock()
	}
}

// pass lets the service's addresses through for d, or no longer if d is 0.
func (e *enforcer) pass(s *enforced, d time.Duration) {
	addrs := addresses(s.addresses)
	if len(addrs) == 0 {
		return
	}
	now := e.opts.Clock.Boot()
	var err error
	if d > 0 {
		err = e.opts.Fence.Hold(addrs, d)
		s.passing, s.passes = err == nil, now+d
	} else {
		err = e.opts.Fence.Drop(addrs)
		s.passing = err != nil
	}
	if err != nil && s.said != err.Error() {
		s.said = err.Error()
		e.opts.Log.Error("kernel did not take the lease of an address", logkey.Service, s.service, logkey.Err, err)
	}
}

// cutOff ends what the agent should have stopped: addresses first, since they
// are what others see. The newest order is looked at before each step, so that a
// lease that was won in the meantime is left alone.
func (e *enforcer) cutOff(ctx context.Context, o order) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	var failed []string
	for _, a := range o.addresses {
		if !e.ended(o.service) {
			return nil
		}
		if err := e.opts.Fence.RemoveAddress(a); err != nil {
			failed = append(failed, err.Error())
		}
	}
	for _, c := range o.cgroups {
		if !e.ended(o.service) {
			return nil
		}
		if err := e.opts.Fence.Kill(ctx, c); err != nil {
			failed = append(failed, err.Error())
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("cut off %s: %s", o.service, strings.Join(failed, "; "))
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
			Kind: string(event.ServiceCut), At: guardwire.Boot(e.opts.Clock.Boot()), Service: s.service, Epoch: s.epoch, Text: text,
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
