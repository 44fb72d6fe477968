package address

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
)

const (
	// dozed is the longest time between two looks that proves that this process
	// did not stand still for as long as a lease lasts.
	dozed = 250 * time.Millisecond
	// settle is how long the process must have been awake before it announces:
	// whoever enforces the lease has then had time to cut off what has ended.
	settle = 150 * time.Millisecond
	// idle is how long Run sleeps when nothing is held.
	idle = time.Hour
)

// holding is an address that is announced while it is held.
type holding struct {
	key   string
	claim claim
	sent  int
	next  time.Duration // CLOCK_BOOTTIME
}

// roster is what is held and when it is announced next.
type roster struct {
	burst       int
	gap, repeat time.Duration
	all         map[string]holding
	// looked is when due was last asked, since the first of those times with no
	// longer pause than dozed between them.
	looked, since time.Duration
}

func newRoster(burst int, gap, repeat time.Duration) roster {
	return roster{burst: burst, gap: gap, repeat: repeat, all: map[string]holding{}}
}

// add takes a holding in whose first announcement was just sent. One that is
// there already keeps its place.
func (r *roster) add(key string, c claim, now time.Duration) {
	if _, there := r.all[key]; there {
		return
	}
	r.all[key] = r.after(holding{key: key, claim: c}, now)
}

func (r *roster) remove(key string) { delete(r.all, key) }

// after is h with one more announcement sent.
func (r *roster) after(h holding, now time.Duration) holding {
	h.sent++
	h.next = now + r.repeat
	if h.sent < r.burst {
		h.next = now + r.gap
	}
	return h
}

// due moves on all holdings whose time has come and returns those to announce
// now, by key. All of them are put off while it is not sure that this process
// is awake.
func (r *roster) due(now time.Duration) []holding {
	if now-r.looked > dozed {
		r.since = now
	}
	r.looked = now

	var out []holding
	for key, h := range r.all {
		switch {
		case h.next > now:
			continue
		case now-r.since < settle:
			h.next = r.since + settle
		default:
			h = r.after(h, now)
			out = append(out, h)
		}
		r.all[key] = h
	}
	slices.SortFunc(out, func(a, b holding) int { return strings.Compare(a.key, b.key) })
	return out
}

// wait is how long nothing is due.
func (r *roster) wait(now time.Duration) time.Duration {
	rest := idle
	for _, h := range r.all {
		rest = min(rest, h.next-now)
	}
	return max(rest, 0)
}

// Run announces what is held, several times after it was taken and slowly from
// then on, until ctx ends. It returns ctx's error. Call it once.
//
// An announcement waits until the process is proved awake for a moment, and is
// sent only for an address that is on its interface then: whoever was frozen
// must not draw the traffic of an address that has moved on.
func (d *Driver) Run(ctx context.Context) error {
	defer d.closeSpent()
	for {
		timer := d.clock.Timer(d.untilNext())
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case c := <-d.spent:
			closeQuietly(c)
		case <-d.wake:
		case <-timer.C:
		}
		timer.Stop()
		d.announceDue(ctx)
	}
}

func (d *Driver) untilNext() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held.wait(d.clock.Boot())
}

func (d *Driver) closeSpent() {
	for {
		select {
		case c := <-d.spent:
			closeQuietly(c)
		default:
			return
		}
	}
}

func (d *Driver) announceDue(ctx context.Context) {
	d.mu.Lock()
	due := d.held.due(d.clock.Boot())
	d.mu.Unlock()
	if len(due) == 0 {
		return
	}
	host, err := openNetwork()
	if err != nil {
		d.log.WarnContext(ctx, "addresses not announced", logkey.Count, len(due), logkey.Err, err)
		return
	}
	defer host.close()
	for _, h := range due {
		err := d.announceHeld(host, h)
		if errors.Is(err, ErrGone) || errors.Is(err, ErrLinkDown) {
			d.forgetHolding(h.key)
		}
		if err != nil {
			d.log.WarnContext(ctx, "address not announced", logkey.Addr, h.claim.Prefix.String(), logkey.Err, err)
		}
	}
}

// announceHeld looks at the interface last, so that an address which was cut
// off meanwhile is not announced. What is lost is forgotten; Wait, Probe or
// Start take it up again.
func (d *Driver) announceHeld(host *network, h holding) error {
	d.giving.RLock()
	defer d.giving.RUnlock()
	if err := host.check(h.claim); err != nil {
		return err
	}
	place, err := host.linkNamed(h.claim.Interface)
	if err != nil {
		return err
	}
	return d.announceOnce(place, h.claim.Prefix.Addr())
}
