// Package cutoff has the kernel enforce the leases of addresses, so that an
// address stops working on time even if the whole user space stands still.
//
// Its main rule: a managed address passes only while it is held, and every hold
// ends by itself. The managed addresses are a set in nftables, the held ones
// another whose elements time out; traffic from and to a managed address that
// is not held is dropped, and so are the ARP and neighbour answers for it. The
// tables outlive the process: a guard that starts again takes them over as they
// are, and nothing is cut or let through in between.
//
// What cannot be enforced this way, and must not be relied on:
//
//   - Frames that a program sends through a packet socket pass. The address
//     driver probes and announces that way, and therefore sees to it itself that
//     it announces nothing after a freeze.
//   - The timeouts count the time that the kernel runs. A host that was
//     suspended as a whole goes on where it stopped, until the guard, which
//     counts the sleep, drops what it held.
//
// A timeout ends up to one tick of the kernel (1 to 10 ms) early, and late by no
// more than the call took that set it. The package refuses to decide: which
// addresses are managed and held, and for how long, is the guard's business.
package cutoff

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables"
	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
)

var (
	// ErrUnsupported means that this kernel, or the rights of this process, do
	// not allow packet filters. Addresses are then enforced by removing them
	// only.
	ErrUnsupported = errors.New("packet filters cannot be used here")

	// ErrLate means that the time to hold was over before the kernel knew of
	// it. The addresses were dropped.
	ErrLate = errors.New("the time was over before the kernel knew")

	// ErrTooMany means more than [MaxAddresses]. Nothing was changed.
	ErrTooMany = errors.New("too many addresses")
)

// Limits.
const (
	// MaxAddresses is how many addresses can be managed.
	MaxAddresses = 2000
	// MaxHold is the longest hold; longer ones are cut to it.
	MaxHold = 60 * time.Second
	// MinHold is the shortest hold; a shorter one is a drop. The kernel takes a
	// timeout below one tick for none at all, which would be forever.
	MinHold = 20 * time.Millisecond

	// kernelTimeout bounds one transaction.
	kernelTimeout = 2 * time.Second
	// maxOvershoot is how late a hold may reach the kernel. A later one has
	// lasted too long already and is renewed with what is left.
	maxOvershoot = 10 * time.Millisecond
	// tries bounds how often one call talks to the kernel for one thing.
	tries = 3
)

// Options are what a Fence needs. Both are required.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger
}

// Fence is the packet filter of this host's network namespace. It is safe for
// concurrent use. Only one process at a time should manage it.
type Fence struct {
	clock clock.Clock
	log   *slog.Logger
	rules ruleset

	mu   sync.Mutex // guards what follows
	conn *nftables.Conn
	sock *mdnetlink.Conn // the socket of conn, for its deadline
	off  bool            // the last Manage met ErrUnsupported
	// installed is whether the tables were there once.
	installed bool
	managed   map[netip.Addr]struct{}
	held      map[netip.Addr]time.Duration // until when, CLOCK_BOOTTIME
}

// New returns a Fence. It opens and changes nothing.
func New(o Options) *Fence {
	return &Fence{
		clock: o.Clock, log: o.Log, rules: newRuleset(),
		managed: map[netip.Addr]struct{}{},
		held:    map[netip.Addr]time.Duration{},
	}
}

// Manage sets which addresses pass only while they are held; it replaces those
// managed before. What is held, by this Fence or by one before it, stays held.
//
// The error is [ErrUnsupported], after which Hold and Drop do nothing until
// Manage succeeds, or [ErrTooMany].
func (f *Fence) Manage(addrs []netip.Addr) error {
	addrs = plain(addrs)
	if len(addrs) > MaxAddresses {
		return fmt.Errorf("manage %d addresses, at most %d: %w", len(addrs), MaxAddresses, ErrTooMany)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.managed
	f.managed = map[netip.Addr]struct{}{}
	for _, a := range addrs {
		f.managed[a] = struct{}{}
	}
	err := f.install()
	if err != nil {
		f.managed = before
	}
	f.off = errors.Is(err, ErrUnsupported)
	return err
}

// Hold lets addresses pass until the given moment, in boot time (CLOCK_BOOTTIME).
// It replaces the hold before, also by a shorter one; a longer one than [MaxHold]
// is cut to it. If the tables were removed by somebody else Hold puts them back.
//
// What is left is counted anew right before each call of the kernel, and the clock
// is read again after it: wherever this process stands still, no hold that Hold
// returns from outlasts the moment by more than the kernel's own time.
//
// The error is [ErrLate], and the addresses are dropped, if the moment is nearer
// than [MinHold] or past, before or after the kernel knew.
func (f *Fence) Hold(addrs []netip.Addr, until time.Duration) error {
	until = min(until, f.clock.Boot()+MaxHold)
	addrs = plain(addrs)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off || len(addrs) == 0 {
		return nil
	}
	for range tries {
		asked := f.clock.Boot()
		if until-asked < MinHold {
			break
		}
		if err := f.renew(addrs, until); err != nil {
			return fmt.Errorf("hold %s: %w", names(addrs), err)
		}
		// The kernel counts from when it was told: what this call took was added.
		if f.clock.Boot()-asked <= maxOvershoot {
			return nil
		}
	}
	if until-f.clock.Boot() < MinHold {
		return errors.Join(fmt.Errorf("hold %s: %w", names(addrs), ErrLate), f.drop(addrs))
	}
	return nil
}

// Drop stops addresses from passing, at once. Those not held are no error.
func (f *Fence) Drop(addrs []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drop(plain(addrs))
}

// Close lets go of the kernel. The tables stay and go on enforcing; holds run
// out. The Fence may be used again.
func (f *Fence) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.disconnect()
}

// Remove takes the tables away: every address passes. Only for a node that
// leaves its cell, after it has given up its addresses. The error may be
// [ErrUnsupported]: then there are none.
func (f *Fence) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.managed)
	clear(f.held)
	if err := f.commit(f.rules.remove); err != nil {
		return fmt.Errorf("remove the packet filter: %w", unsupported(err))
	}
	return nil
}

// install makes tables, rules and managed addresses what they should be, in one
// transaction.
func (f *Fence) install() error {
	managed := slices.SortedFunc(maps.Keys(f.managed), netip.Addr.Compare)
	var err error
	for range tries {
		err = f.commit(func(c *nftables.Conn) error {
			return errors.Join(f.rules.install(c, managed), f.rules.hold(c, f.remaining()))
		})
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("install the packet filter: %w", unsupported(err))
	}
	f.installed = true
	return nil
}

// renew holds addrs until the given moment.
func (f *Fence) renew(addrs []netip.Addr, until time.Duration) error {
	for part := range slices.Chunk(addrs, maxBatch) {
		if err := f.renewPart(part, until); err != nil {
			return err
		}
		for _, a := range part {
			f.held[a] = until
		}
	}
	return nil
}

func (f *Fence) renewPart(addrs []netip.Addr, until time.Duration) error {
	holds := make([]hold, len(addrs))
	var err error
	for try := range tries {
		for i, a := range addrs {
			holds[i] = hold{a, max(until-f.clock.Boot(), MinHold)}
		}
		err = f.commit(func(c *nftables.Conn) error { return f.rules.hold(c, holds) })
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
		// Either an element ran out between its adding and deleting, which old
		// kernels take amiss, or the tables are missing: try again once, then put
		// them back.
		if try > 0 {
			if err := f.restore(); err != nil {
				return err
			}
		}
	}
	return err
}

// restore puts back what a stranger removed, such as a firewall that flushed
// all rules, with all that this Fence holds.
func (f *Fence) restore() error {
	if f.installed {
		f.log.Warn("packet filter was removed by somebody else, put back", logkey.Count, len(f.managed))
	}
	return f.install()
}

func (f *Fence) drop(addrs []netip.Addr) error {
	if f.off || len(addrs) == 0 {
		return nil
	}
	for _, a := range addrs {
		delete(f.held, a)
	}
	for part := range slices.Chunk(addrs, maxBatch) {
		err := f.commit(func(c *nftables.Conn) error { return f.rules.drop(c, part) })
		if errors.Is(err, unix.ENOENT) {
			// No tables, or an element that ran out meanwhile: either way putting
			// the tables back leaves only what is held.
			err = f.restore()
		}
		if err != nil {
			return fmt.Errorf("drop %s: %w", names(addrs), err)
		}
	}
	return nil
}

// remaining is what is held and how long it will be, by address. It forgets
// what has run out.
func (f *Fence) remaining() []hold {
	now := f.clock.Boot()
	var out []hold
	for _, a := range slices.SortedFunc(maps.Keys(f.held), netip.Addr.Compare) {
		left := f.held[a] - now
		if left < MinHold {
			delete(f.held, a)
			continue
		}
		out = append(out, hold{a, left})
	}
	return out
}

// commit sends what fill queues as one transaction: all of it or nothing.
func (f *Fence) commit(fill func(*nftables.Conn) error) error {
	if f.conn == nil {
		conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(s *mdnetlink.Conn) error {
			f.sock = s
			return nil
		}))
		if err != nil {
			return fmt.Errorf("open a netlink socket: %w", err)
		}
		f.conn = conn
	}
	err := fill(f.conn)
	if err == nil {
		err = f.sock.SetDeadline(f.clock.Now().Add(kernelTimeout))
	}
	if err == nil {
		err = f.conn.Flush()
	}
	if err != nil {
		// Answers may still wait in the socket: they must not be taken for those
		// to the next transaction.
		return errors.Join(err, f.disconnect())
	}
	return nil
}

func (f *Fence) disconnect() error {
	if f.conn == nil {
		return nil
	}
	err := f.conn.CloseLasting()
	f.conn, f.sock = nil, nil
	return err
}

// unsupported marks the errors that say that there is nothing to try again.
func unsupported(err error) error {
	for _, hopeless := range []error{
		unix.EPERM, unix.EACCES, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOENT,
	} {
		if errors.Is(err, hopeless) {
			return fmt.Errorf("%w: nftables with the families inet and arp, and CAP_NET_ADMIN, are needed: %w", ErrUnsupported, err)
		}
	}
	return err
}

// plain is addrs without zones, IPv4 in IPv6, invalid ones and doubles, sorted.
func plain(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if a.IsValid() {
			out = append(out, a.Unmap().WithZone(""))
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// names lists addresses for a person, not more than a line can hold.
func names(addrs []netip.Addr) string {
	const most = 3
	if len(addrs) > most {
		return fmt.Sprintf("%s and %d more", addrs[0], len(addrs)-1)
	}
	text := ""
	for i, a := range addrs {
		if i > 0 {
			text += ", "
		}
		text += a.String()
	}
	return text
}
