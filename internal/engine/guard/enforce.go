package guard

import (
	"context"
	"fmt"
	"net/netip"
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
	idleWait = time.Second
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

// enforcer carries out orders in a goroutine of its own, so that a slow kernel
// call delays no heartbeat, and a stuck loop delays no cut.
type enforcer struct {
	opts Options
	wake chan struct{}

	mu     sync.Mutex
	orders []order
	news   []guardwire.Happened

	busy  sync.Mutex // held while orders are carried out; guards state
	state map[spec.ServiceName]*enforced
}

// enforced is what has been done about one service.
type enforced struct {
	order
	passing bool          // its addresses pass in the kernel
	passes  time.Duration // until when
	cut     bool          // it has been cut off since the lease ended
	retry   time.Duration
}

func newEnforcer(opts Options) *enforcer {
	return &enforcer{opts: opts, wake: make(chan struct{}, 1), state: map[spec.ServiceName]*enforced{}}
}

// order replaces all orders.
func (e *enforcer) order(orders []order) {
	e.mu.Lock()
	e.orders = orders
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// now carries out orders at once, in the caller's goroutine, and reports
// whether nothing is left of what they cut off.
func (e *enforcer) now(ctx context.Context, orders []order) bool {
	e.order(orders)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	e.act(ctx)
	e.busy.Lock()
	defer e.busy.Unlock()
	for _, s := range e.state {
		if s.until == 0 && !s.cut {
			return false
		}
	}
	return true
}

func (e *enforcer) take() []guardwire.Happened {
	e.mu.Lock()
	defer e.mu.Unlock()
	news := e.news
	e.news = nil
	return news
}

func (e *enforcer) run(ctx context.Context) {
	timer := e.opts.Clock.Timer(idleWait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-timer.C:
		}
		timer.Reset(e.act(ctx))
	}
}

// act does what is due and returns how long nothing else is.
func (e *enforcer) act(ctx context.Context) time.Duration {
	e.busy.Lock()
	defer e.busy.Unlock()
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
		if s.epoch != o.epoch || len(o.cgroups) > len(s.cgroups) || len(o.addresses) > len(s.addresses) {
			s.cut, s.retry = false, 0
		}
		s.order = o
		wait = min(wait, e.enforce(ctx, s))
	}
	for name, s := range e.state {
		if !seen[name] {
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
		s.cut = false
		if passes := s.until - CutMargin/2; !s.passing || passes > s.passes && s.passes-now < (passes-now)*(renewAfter-1)/renewAfter {
			e.pass(s, passes-now)
		}
		return left
	}
	if s.passing {
		e.pass(s, 0)
	}
	if s.cut || now < s.retry {
		return idleWait
	}
	if err := e.cutOff(ctx, s); err != nil {
		s.retry = now + retryCut
		e.say(s, fmt.Sprintf("%s could not be cut off and is tried again: %v", s.service, err))
		e.opts.Log.Error("cut not proven", logkey.Service, s.service, logkey.Err, err)
		return retryCut
	}
	s.cut = true
	return idleWait
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
	if err != nil {
		e.opts.Log.Error("kernel did not take the lease of an address", logkey.Service, s.service, logkey.Err, err)
	}
}

// cutOff ends what the agent should have stopped: addresses first, since they
// are what others see.
func (e *enforcer) cutOff(ctx context.Context, s *enforced) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	var failed []string
	for _, a := range s.addresses {
		if err := e.opts.Fence.RemoveAddress(a); err != nil {
			failed = append(failed, err.Error())
		}
	}
	for _, c := range s.cgroups {
		if err := e.opts.Fence.Kill(ctx, c); err != nil {
			failed = append(failed, err.Error())
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("cut off %s: %s", s.service, strings.Join(failed, "; "))
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
