package address

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

const (
	// kernelTimeout bounds one question to the kernel.
	kernelTimeout = 2 * time.Second
	// maxDumps is how often a list is asked for until it was not changed while
	// it was read.
	maxDumps = 8

	// firstPause and lastPause are between two looks at an address that does
	// not work yet. Each is twice the one before.
	firstPause = 100 * time.Microsecond
	lastPause  = 128 * time.Millisecond
)

// network is this host's links and addresses, by netlink. It belongs to the
// goroutine that opened it, and to the network namespace that goroutine was in.
type network struct {
	handle *netlink.Handle
	links  []link
}

// link is one interface with its addresses.
type link struct {
	name     string
	index    int
	mac      mac
	ethernet bool // frames with ARP and neighbour discovery can be sent
	up       bool
	carrier  bool
	prefixes []netip.Prefix
}

// openNetwork reads all links and addresses.
func openNetwork() (*network, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	n := &network{handle: handle}
	if err := handle.SetSocketTimeout(kernelTimeout); err != nil {
		n.close()
		return nil, fmt.Errorf("bound a netlink socket: %w", err)
	}
	if err := n.read(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *network) close() { n.handle.Close() }

// read takes a fresh look.
func (n *network) read() error {
	links, err := undisturbed(n.handle.LinkList)
	if err != nil {
		return fmt.Errorf("list the interfaces: %w", err)
	}
	addrs, err := undisturbed(func() ([]netlink.Addr, error) { return n.handle.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list the addresses: %w", err)
	}
	n.links = n.links[:0]
	for _, l := range links {
		n.links = append(n.links, linkOf(l.Attrs(), addrs))
	}
	slices.SortFunc(n.links, func(a, b link) int { return strings.Compare(a.name, b.name) })
	return nil
}

func linkOf(attrs *netlink.LinkAttrs, addrs []netlink.Addr) link {
	const silent = unix.IFF_LOOPBACK | unix.IFF_NOARP
	l := link{
		name:     attrs.Name,
		index:    attrs.Index,
		ethernet: len(attrs.HardwareAddr) == len(mac{}) && attrs.RawFlags&silent == 0,
		up:       attrs.RawFlags&unix.IFF_UP != 0,
		carrier:  attrs.RawFlags&unix.IFF_RUNNING != 0,
	}
	if l.ethernet {
		l.mac = mac(attrs.HardwareAddr)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && a.LinkIndex == attrs.Index {
			bits, _ := a.Mask.Size()
			l.prefixes = append(l.prefixes, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	return l
}

// undisturbed repeats a list until it was not changed while it was read.
func undisturbed[T any](list func() ([]T, error)) ([]T, error) {
	for range maxDumps - 1 {
		got, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return got, err
		}
	}
	return list()
}

// holderOf finds the interface that has addr.
func (n *network) holderOf(addr netip.Addr) (string, bool) {
	for _, l := range n.links {
		for _, p := range l.prefixes {
			if p.Addr() == addr {
				return l.name, true
			}
		}
	}
	return "", false
}

func (n *network) linkNamed(name string) (link, error) {
	for _, l := range n.links {
		if l.name == name {
			return l, nil
		}
	}
	return link{}, fmt.Errorf("interface %s does not exist: %w; this host has %s", name, ErrNoInterface, n.describe())
}

// placeFor chooses the interface for want: the one named, or the one that has
// an address of the same network. The longest network wins, then a link with
// carrier, then the name.
func (n *network) placeFor(want netip.Prefix, named string) (link, error) {
	if named != "" {
		return n.linkNamed(named)
	}
	var best link
	bestBits := -1
	for _, l := range n.links {
		for _, p := range l.prefixes {
			if p.Addr() == want.Addr() || !p.Contains(want.Addr()) && !want.Contains(p.Addr()) {
				continue
			}
			if p.Bits() > bestBits || p.Bits() == bestBits && l.carrier && !best.carrier {
				best, bestBits = l, p.Bits()
			}
		}
	}
	if bestBits < 0 {
		return link{}, fmt.Errorf("no interface has an address in %s: %w; this host has %s; name one with `interface:`",
			want.Masked(), ErrNoInterface, n.describe())
	}
	return best, nil
}

// describe lists the interfaces for a person.
func (n *network) describe() string {
	var all []string
	for _, l := range n.links {
		var has []string
		for _, p := range l.prefixes {
			has = append(has, p.String())
		}
		if len(has) == 0 {
			has = []string{"no address"}
		}
		all = append(all, fmt.Sprintf("%s (%s)", l.name, strings.Join(has, ", ")))
	}
	return strings.Join(all, ", ")
}

// usable says whether an address on the link can be reached.
func (l link) usable() error {
	switch {
	case !l.up:
		return fmt.Errorf("%w: %s is switched off", ErrLinkDown, l.name)
	case !l.carrier:
		return fmt.Errorf("%w: %s has no carrier", ErrLinkDown, l.name)
	}
	return nil
}

// check takes a fresh look and returns nil if the claimed address is in place
// on a usable link, [ErrGone] or [ErrLinkDown] if not.
func (n *network) check(c claim) error {
	if err := n.read(); err != nil {
		return err
	}
	l, err := n.linkNamed(c.Interface)
	if err != nil {
		return fmt.Errorf("%w: interface %s does not exist any more", ErrGone, c.Interface)
	}
	if !slices.Contains(l.prefixes, c.Prefix) {
		return fmt.Errorf("%w: %s is not on %s any more", ErrGone, c.Prefix, c.Interface)
	}
	return l.usable()
}

// add puts prefix on l without disturbing what is there.
func (n *network) add(l link, prefix netip.Prefix) error {
	a := netlinkAddr(prefix)
	if prefix.Addr().Is6() {
		// The kernel's own duplicate detection takes a second, ours was before.
		a.Flags |= unix.IFA_F_NODAD
		// Deprecated: it serves whoever connects to it, but the host's own
		// connections start from another address. RFC 6724, rule 3.
		forever := uint32(math.MaxUint32)
		a.ValidLft, a.PreferedLft = int(forever), 0
	}
	if l.covers(prefix) {
		a.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	err := n.handle.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.index, Name: l.name}}, a)
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("it appeared on %s meanwhile: %w", l.name, ErrForeign)
	case errors.Is(err, unix.EACCES) && prefix.Addr().Is6():
		return fmt.Errorf("IPv6 is turned off on %s (net.ipv6.conf.%s.disable_ipv6): %w", l.name, l.name, err)
	case err != nil:
		return fmt.Errorf("add the address: %w", err)
	}
	return nil
}

// await waits until packets for addr reach this host's programs. The kernel
// adds the route of an IPv6 address behind the caller's back, also when it
// skips its duplicate detection; announced before that, the first packets would
// be lost. Where the route cannot be seen, as in a VRF, the wait ends after a
// quarter of a second. The error is ctx's.
func (n *network) await(ctx context.Context, c clock.Clock, addr netip.Addr) error {
	for pause := firstPause; addr.Is6() && pause <= lastPause; pause *= 2 {
		routes, err := n.handle.RouteGet(addr.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		if err := c.Sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// covers says whether the network of prefix is routed already through another
// address of the link. An IPv4 address of the very same network does not count:
// beside it the kernel makes prefix a secondary address, which has no route of
// its own but must have one when it is promoted.
func (l link) covers(prefix netip.Prefix) bool {
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool {
		same := p.Addr().Is4() && p.Masked() == prefix.Masked()
		return p.Addr() != prefix.Addr() && p.Contains(prefix.Addr()) && !same
	})
}

// remove takes prefix off the interface; gone already is no error.
func (n *network) remove(name string, prefix netip.Prefix) error {
	l, err := n.linkNamed(name)
	if err != nil || !slices.Contains(l.prefixes, prefix) {
		return nil
	}
	err = n.handle.AddrDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.index, Name: l.name}}, netlinkAddr(prefix))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove the address: %w", err)
	}
	return nil
}

func netlinkAddr(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}}
}

// sysctl is the kernel's per-interface settings.
const sysctl = "/proc/sys/net"

// keepSecondaries has the kernel keep the other IPv4 addresses of a network
// when the first of them is removed. It is the default under systemd.
func keepSecondaries(name string) error {
	path := filepath.Join(sysctl, "ipv4/conf", name, "promote_secondaries")
	now, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(now)) != "0" {
		return nil
	}
	return os.WriteFile(path, []byte("1"), 0)
}

// forwards says whether the host forwards IPv6 packets of an interface.
func forwards(name string) (bool, error) {
	now, err := os.ReadFile(filepath.Join(sysctl, "ipv6/conf", name, "forwarding"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.TrimSpace(string(now)) == "1", err
}
