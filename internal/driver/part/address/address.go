// Package address is the part driver for IPv4 and IPv6 addresses that move
// with a service.
//
// Its main rule: an address is taken only when nobody else answers for it, and
// given back only if it was taken here. What it took is written down in the
// part's run folder, so that an agent that starts again finds its addresses,
// and never mistakes one that the operator set for its own.
//
// An address keeps the prefix length of its spec. On an interface that already
// has an address of that network it becomes a secondary one and changes
// neither routes nor the source address of the host's own connections. Before
// it adds an IPv4 address the driver turns on promote_secondaries for the
// interface, so that taking one away never takes others with it.
//
// The package refuses to adopt an address it did not set, to take one that
// another host answers for, and to put one on a link without carrier. It does
// not decide when an address may be held: that is the lease's business.
package address

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/packet"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/instance"
)

var (
	// ErrDuplicate means another host answers for the address. It was not
	// taken; trying again is safe.
	ErrDuplicate = errors.New("another host has the address")

	// ErrForeign means the address is on this host, but was not set by Keelson.
	// It stays as it is until a person removes it.
	ErrForeign = errors.New("the address was set by someone else")

	// ErrNoInterface means no interface fits the address, or the one named does
	// not exist. Nothing was changed.
	ErrNoInterface = errors.New("no interface for the address")

	// ErrLinkDown means the interface is down or has no carrier.
	ErrLinkDown = errors.New("the link is down")

	// ErrGone means the address is not on its interface although it was not
	// stopped here.
	ErrGone = errors.New("the address is gone")

	// ErrGivenBack means that Stop gave the address back. All is well.
	ErrGivenBack = errors.New("the address was given back")
)

// Defaults and limits of [Options].
const (
	DefaultProbeWait = 30 * time.Millisecond
	MaxProbeWait     = 5 * time.Second
	DefaultBurst     = 5
	DefaultBurstGap  = 100 * time.Millisecond
	DefaultRepeat    = 10 * time.Second
)

// Options are what a driver needs. Clock and Log are required, zero elsewhere
// means the default.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger

	// ProbeWait is how long an answer to the duplicate probe is awaited, in
	// which the probe is sent twice. It is part of every failover. At most
	// MaxProbeWait.
	ProbeWait time.Duration
	// SkipProbe takes addresses without asking first.
	SkipProbe bool

	// Burst is how many announcements, BurstGap apart, follow the taking of an
	// address; the first is sent before Start returns. After them one follows
	// every Repeat while the address is held.
	Burst    int
	BurstGap time.Duration
	Repeat   time.Duration
}

// Driver sets, watches and removes addresses. It is safe for concurrent use,
// for different parts. Announcements after the first need [Driver.Run].
type Driver struct {
	clock clock.Clock
	log   *slog.Logger
	opts  Options

	wake  chan struct{}
	spent chan *packet.Conn

	// giving is held while an address is given back, so that nobody takes its
	// absence for a loss.
	giving sync.RWMutex

	mu     sync.Mutex // guards what follows
	held   roster
	warned []string
}

// New returns a driver. It opens nothing and starts nothing.
func New(o Options) *Driver {
	orElse := func(d *time.Duration, fallback time.Duration) {
		if *d <= 0 {
			*d = fallback
		}
	}
	orElse(&o.ProbeWait, DefaultProbeWait)
	orElse(&o.BurstGap, DefaultBurstGap)
	orElse(&o.Repeat, DefaultRepeat)
	o.ProbeWait = min(o.ProbeWait, MaxProbeWait)
	if o.Burst <= 0 {
		o.Burst = DefaultBurst
	}
	return &Driver{
		clock: o.Clock,
		log:   o.Log,
		opts:  o,
		wake:  make(chan struct{}, 1),
		spent: make(chan *packet.Conn, maxSpent),
		held:  newRoster(o.Burst, o.BurstGap, o.Repeat),
	}
}

// Start takes the part's address, if nobody else answers for it, and announces
// it once. If this driver holds it already Start only announces it again.
//
// Errors: [ErrDuplicate], [ErrForeign], [ErrNoInterface], [ErrLinkDown].
// Whatever the error, the address was not left behind half set.
func (d *Driver) Start(ctx context.Context, run instance.Run) error {
	begun := d.clock.Boot()
	want, err := parsePrefix(run)
	if err != nil {
		return err
	}
	old, known, err := loadClaim(run.RunDir)
	if err != nil {
		return err
	}
	host, err := openNetwork()
	if err != nil {
		return err
	}
	defer host.close()

	if known && (old.Prefix != want || run.Part.Address.Interface != "" && run.Part.Address.Interface != old.Interface) {
		if err := d.release(host, run, old); err != nil {
			return err
		}
		known = false
	}
	place, err := host.placeFor(want, run.Part.Address.Interface)
	if err != nil {
		return err
	}
	c := claim{
		Prefix: want, Interface: place.name, Since: d.clock.Now(),
		Generation: run.Generation, Epoch: run.Epoch,
	}
	if holder, there := host.holderOf(want.Addr()); there {
		if !known || holder != old.Interface {
			return fmt.Errorf("take %s on %s: it is already on %s: %w; remove it there, or give the service another address",
				want, place.name, holder, ErrForeign)
		}
		c.Interface, c.Since = old.Interface, old.Since
		if place, err = host.linkNamed(holder); err != nil {
			return err
		}
		return d.retake(ctx, run, c, place)
	}
	if err := place.usable(); err != nil {
		return fmt.Errorf("take %s on %s: %w", want, place.name, err)
	}
	if err := d.take(ctx, host, run, taking{c, place}); err != nil {
		return fmt.Errorf("take %s on %s: %w", want, place.name, err)
	}
	d.log.InfoContext(ctx, "address taken", logkey.Service, run.Service, logkey.Part, run.Part.Name,
		logkey.Addr, want.String(), "interface", place.name, logkey.Took, d.clock.Boot()-begun)
	return nil
}

// taking is an address on its way to an interface.
type taking struct {
	claim claim
	place link
}

// take probes, sets and announces an address that is not on this host yet.
func (d *Driver) take(ctx context.Context, host *network, run instance.Run, t taking) error {
	wire, err := d.openWire(t.place, t.claim.Prefix.Addr())
	if err != nil {
		return err
	}
	defer d.retire(wire)

	if !d.opts.SkipProbe {
		if err := d.probe(ctx, wire); err != nil {
			return err
		}
	}
	// Written first: if the agent ends between the two steps, the next one
	// must know that the address is its own.
	if err := t.claim.save(run.RunDir); err != nil {
		return err
	}
	if t.claim.Prefix.Addr().Is4() {
		if err := keepSecondaries(t.place.name); err != nil {
			d.warn(fmt.Sprintf("promote_secondaries could not be turned on for %s (%v): removing an address of a network "+
				"may remove the others of that network.", t.place.name, err))
		}
	}
	err = run.Allowed() // the probe took a while
	if err == nil {
		err = host.add(t.place, t.claim.Prefix)
	}
	if err != nil {
		return errors.Join(err, forget(run.RunDir))
	}
	if err := host.await(ctx, d.clock, t.claim.Prefix.Addr()); err != nil {
		return errors.Join(err, d.release(host, run, t.claim))
	}
	if err := wire.announce(); err != nil {
		// The address works for whoever asks anew; the loop goes on announcing.
		d.warn(fmt.Sprintf("%s could not be announced on %s (%v): other hosts may look for it in the old place for up "+
			"to a minute.", t.claim.Prefix.Addr(), t.place.name, err))
	}
	d.remember(run.Key(), t.claim)
	return nil
}

// retake renews the claim on an address that is held here already.
func (d *Driver) retake(ctx context.Context, run instance.Run, c claim, place link) error {
	if err := place.usable(); err != nil {
		return fmt.Errorf("keep %s on %s: %w", c.Prefix, c.Interface, err)
	}
	if err := c.save(run.RunDir); err != nil {
		return err
	}
	d.forgetHolding(run.Key())
	d.remember(run.Key(), c)
	if err := d.announceOnce(place, c.Prefix.Addr()); err != nil {
		return fmt.Errorf("announce %s on %s: %w", c.Prefix, c.Interface, err)
	}
	d.log.InfoContext(ctx, "address kept", logkey.Service, run.Service, logkey.Part, run.Part.Name,
		logkey.Addr, c.Prefix.String(), "interface", c.Interface)
	return nil
}

// Stop gives the part's address back. An address that is gone already, or was
// never taken here, is no error. Start may be called again if Stop fails.
func (d *Driver) Stop(ctx context.Context, run instance.Run) error {
	c, known, err := loadClaim(run.RunDir)
	if err != nil || !known {
		return err
	}
	host, err := openNetwork()
	if err != nil {
		return err
	}
	defer host.close()
	if err := d.release(host, run, c); err != nil {
		return err
	}
	d.log.InfoContext(ctx, "address given back", logkey.Service, run.Service, logkey.Part, run.Part.Name,
		logkey.Addr, c.Prefix.String(), "interface", c.Interface)
	return nil
}

func (d *Driver) release(host *network, run instance.Run, c claim) error {
	d.giving.Lock()
	defer d.giving.Unlock()
	d.forgetHolding(run.Key())
	if err := host.remove(c.Interface, c.Prefix); err != nil {
		return fmt.Errorf("give back %s on %s: %w", c.Prefix, c.Interface, err)
	}
	return forget(run.RunDir)
}

// Probe looks whether the part's address is on its interface and was put there
// by this driver, now or before an agent restart. It takes up the
// announcements of an address that it finds.
func (d *Driver) Probe(_ context.Context, run instance.Run) (instance.Observed, error) {
	want, err := parsePrefix(run)
	if err != nil {
		return instance.Observed{}, err
	}
	host, err := openNetwork()
	if err != nil {
		return instance.Observed{}, err
	}
	defer host.close()

	d.giving.RLock()
	defer d.giving.RUnlock()
	c, known, err := loadClaim(run.RunDir)
	if err != nil {
		return instance.Observed{}, err
	}
	if !known {
		if holder, there := host.holderOf(want.Addr()); there {
			return instance.Observed{Detail: fmt.Sprintf("%s is on %s, but Keelson did not put it there", want, holder)}, nil
		}
		return instance.Observed{Detail: fmt.Sprintf("%s is not on this host", want)}, nil
	}
	seen := instance.Observed{Since: c.Since, Generation: c.Generation, Epoch: c.Epoch}
	if err := host.check(c); err != nil {
		seen.Detail = err.Error()
		return seen, nil
	}
	d.remember(run.Key(), c)
	seen.Running = true
	seen.Detail = "on " + c.Interface
	return seen, nil
}

// Handles says how the part's address can be removed without this driver:
// "prefix%interface". It is empty if no interface fits.
func (d *Driver) Handles(run instance.Run) instance.Handles {
	c, known, err := loadClaim(run.RunDir)
	if err != nil || !known {
		want, err := parsePrefix(run)
		if err != nil {
			return instance.Handles{}
		}
		host, err := openNetwork()
		if err != nil {
			return instance.Handles{}
		}
		defer host.close()
		place, err := host.placeFor(want, run.Part.Address.Interface)
		if err != nil {
			return instance.Handles{}
		}
		c = claim{Prefix: want, Interface: place.name}
	}
	return instance.Handles{Addresses: []string{c.Prefix.String() + "%" + c.Interface}}
}

// Warnings are sentences for the operator about what this host does not let
// the driver do, sorted; empty if all is well.
func (d *Driver) Warnings() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.warned)
}

// maxWarnings bounds what is kept for the operator.
const maxWarnings = 20

func (d *Driver) warn(sentence string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, found := slices.BinarySearch(d.warned, sentence)
	if !found && len(d.warned) < maxWarnings {
		d.warned = slices.Insert(d.warned, at, sentence)
	}
}

// remember has the address announced while it is held.
func (d *Driver) remember(key string, c claim) {
	d.mu.Lock()
	d.held.add(key, c, d.clock.Boot())
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Driver) forgetHolding(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held.remove(key)
}

func parsePrefix(run instance.Run) (netip.Prefix, error) {
	if run.Part.Address == nil {
		return netip.Prefix{}, fmt.Errorf("part %s: it has no address", run.Key())
	}
	prefix, err := netip.ParsePrefix(run.Part.Address.Prefix)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("part %s: %w", run.Key(), err)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("part %s: %s is an IPv4 address written as IPv6; write it as IPv4", run.Key(), prefix)
	}
	return prefix, nil
}
