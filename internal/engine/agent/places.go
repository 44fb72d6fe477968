package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/core/supervise"
)

// longStart is how long a start keeps its place. One that takes longer goes on,
// and lets another begin: a long start must not delay the recovery of others.
const longStart = 5 * time.Second

// places bounds how much is started on this node at once. Who asks first has a
// place first.
type places struct {
	mu      sync.Mutex
	free    int
	waiting []*place
}

func newPlaces(n int) *places { return &places{free: n} }

// place is one place, or the wait for one.
type place struct {
	of   *places
	have chan struct{} // closed when it is had
	back chan struct{} // closed when it is given back
	once sync.Once
}

// ask returns a place that is had already, or will be.
func (p *places) ask() *place {
	one := &place{of: p, have: make(chan struct{}), back: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free > 0 {
		p.free--
		close(one.have)
	} else {
		p.waiting = append(p.waiting, one)
	}
	return one
}

// giveBack gives the place to who waits longest. It may be called again, and for
// no place at all.
func (o *place) giveBack() {
	if o == nil {
		return
	}
	o.once.Do(func() {
		close(o.back)
		p := o.of
		p.mu.Lock()
		defer p.mu.Unlock()
		if i := slices.Index(p.waiting, o); i >= 0 {
			p.waiting = slices.Delete(p.waiting, i, i+1)
			return
		}
		if len(p.waiting) > 0 {
			close(p.waiting[0].have)
			p.waiting = slices.Delete(p.waiting, 0, 1)
			return
		}
		p.free++
	})
}

// granted is closed once the place is had; nil for no place.
func (o *place) granted() <-chan struct{} {
	if o == nil || o.held() {
		return nil
	}
	return o.have
}

func (o *place) held() bool {
	if o == nil {
		return false
	}
	select {
	case <-o.have:
		return true
	default:
		return false
	}
}

// askPlace asks for a place if the runner has asked for none, and reports whether
// it has one.
func (r *runner) askPlace() bool {
	if r.place == nil {
		r.place = r.places.ask()
	}
	return r.place.held()
}

// leavePlace gives back the place that the runner has or waits for.
func (r *runner) leavePlace() {
	r.place.giveBack()
	r.place = nil
}

// takePlace hands the runner's place to the operation that begins, if that needs
// one. It is given back at the operation's end, or when that takes too long.
func (r *runner) takePlace(op supervise.Operation) *place {
	if op.Kind != supervise.Start && op.Kind != supervise.Promote || r.place == nil {
		return nil
	}
	one := r.place
	r.place = nil
	r.tasks.Go(func() { one.watch(r.options.Clock) })
	return one
}

// watch gives the place back after longStart, if nobody has by then.
func (o *place) watch(c clock.Clock) {
	timer := c.Timer(longStart)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-o.back:
	}
	o.giveBack()
}
