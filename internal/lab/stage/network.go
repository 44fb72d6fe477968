package stage

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab/wire"
)

// network is the lab's switches, the hosts' links to them, and what is wrong
// with those. What is wrong is kept here and survives a reboot of the host, as
// a cut cable does.
type network struct {
	mu     sync.Mutex
	hosts  []wire.Host
	faults faults
}

func newNetwork(cfg wire.Lab) (*network, error) {
	// The switches only switch: no address, and no chatter of their own.
	for _, which := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("keep the switches quiet: %w", err)
		}
	}
	for i, name := range cfg.Bridges {
		if err := addBridge(name, i); err != nil {
			return nil, fmt.Errorf("make switch %s: %w", name, err)
		}
	}
	n := &network{hosts: cfg.Hosts, faults: newFaults()}
	if err := applyRules(nil); err != nil {
		return nil, err
	}
	return n, nil
}

func addBridge(name string, index int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	// Pinned: a bridge otherwise takes its lowest port's MAC, and changes it
	// when that port's host is killed.
	attrs.HardwareAddr = net.HardwareAddr{0x02, 0x77, 0xff, 0, byte(index), 0xfe}
	attrs.Flags = net.FlagUp
	quiet := false
	return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &quiet})
}

// plug gives the host whose init has this PID its links and addresses.
func (n *network) plug(h wire.Host, pid int) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("open the host's network namespace: %w", err)
	}
	defer func() { _ = ns.Close() }()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter the host's network namespace: %w", err)
	}
	defer inside.Close()
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := inside.LinkSetUp(lo); err != nil {
		return fmt.Errorf("start lo: %w", err)
	}
	for _, l := range h.Links {
		if err := n.plugLink(l, ns, inside); err != nil {
			return fmt.Errorf("link %s: %w", l.Interface, err)
		}
	}
	return nil
}

func (n *network) plugLink(l wire.Link, ns netns.NsHandle, inside *netlink.Handle) error {
	mac, err := net.ParseMAC(l.MAC)
	if err != nil {
		return err
	}
	bridge, err := netlink.LinkByName(l.Bridge)
	if err != nil {
		return fmt.Errorf("find switch %s: %w", l.Bridge, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = l.Port, bridge.Attrs().Index
	if !n.faults.cut[l.Port] {
		attrs.Flags = net.FlagUp
	}
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: l.Interface, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(ns),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the link: %w", err)
	}
	eth, err := inside.LinkByName(l.Interface)
	if err != nil {
		return fmt.Errorf("find the link: %w", err)
	}
	for _, a := range l.Addresses {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return fmt.Errorf("address %q: %w", a, err)
		}
		if strings.Contains(a, ":") {
			addr.Flags = unix.IFA_F_NODAD
		}
		err = inside.AddrAdd(eth, addr)
		if strings.Contains(a, ":") && noIPv6(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("add %s: %w", a, err)
		}
	}
	return inside.LinkSetUp(eth)
}

// noIPv6 tells a machine that has no IPv6 from a real failure.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EACCES)
}

// darken takes the host's links down at once; unplug removes them.
func (n *network) darken(h wire.Host) {
	for _, l := range h.Links {
		if port, err := netlink.LinkByName(l.Port); err == nil {
			_ = netlink.LinkSetDown(port) // unplug removes it in any case
		}
	}
}

func (n *network) unplug(h wire.Host) {
	for _, l := range h.Links {
		// The end of the host's namespace may have removed it already.
		if port, err := netlink.LinkByName(l.Port); err == nil {
			_ = netlink.LinkDel(port)
		}
	}
}

// change applies one fault. All of them are idempotent.
func (n *network) change(f wire.NetFault) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range slices.Concat(f.A, f.B) {
		if !slices.ContainsFunc(n.hosts, func(h wire.Host) bool { return h.Name == name }) {
			return fmt.Errorf("%q: %w", name, wire.ErrNoHost)
		}
	}
	before := n.faults.clone()
	n.faults.change(f, n.ports(f.A, f.Bridges), n.ports(f.B, f.Bridges))
	if err := applyRules(n.faults.rules()); err != nil {
		n.faults = before
		return err
	}
	for _, h := range n.hosts {
		for _, l := range h.Links {
			if n.faults.cut[l.Port] == before.cut[l.Port] {
				continue
			}
			if err := setPort(l.Port, !n.faults.cut[l.Port]); err != nil {
				return fmt.Errorf("port of %s: %w", h.Name, err)
			}
		}
	}
	return nil
}

func setPort(name string, up bool) error {
	port, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil // the host is off; its boot will see the fault
	}
	if err != nil {
		return fmt.Errorf("find it: %w", err)
	}
	if up {
		return netlink.LinkSetUp(port)
	}
	return netlink.LinkSetDown(port)
}

// ports returns the links of the named hosts on the named bridges, all bridges
// if none is named.
func (n *network) ports(hosts, bridges []string) []port {
	var out []port
	for _, h := range n.hosts {
		if !slices.Contains(hosts, h.Name) {
			continue
		}
		for _, l := range h.Links {
			if len(bridges) == 0 || slices.Contains(bridges, l.Bridge) {
				out = append(out, port{l.Port, l.Bridge})
			}
		}
	}
	return out
}

func (n *network) describe(h wire.Host, s wire.HostState) wire.HostState {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range h.Links {
		if n.faults.cut[l.Port] {
			s.Cut = append(s.Cut, l.Bridge)
		}
		if n.faults.isolated[l.Port] {
			s.Isolated = append(s.Isolated, l.Bridge)
		}
		s.LossPercent = max(s.LossPercent, n.faults.loss[l.Port])
	}
	return s
}
