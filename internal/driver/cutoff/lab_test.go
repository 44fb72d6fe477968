package cutoff

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// isolated marks a test process that has a network namespace of its own.
const isolated = "KEELSON_TEST_ISOLATED"

// TestMain runs all tests in a child with its own network namespace, so that
// they may do with the network what they like. Where that is not possible the
// tests that need it skip.
func TestMain(m *testing.M) {
	if os.Getenv(isolated) != "" {
		os.Exit(m.Run())
	}
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = append(os.Environ(), isolated+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // the child dies with this thread
	err := child.Start()
	if err != nil {
		os.Exit(m.Run())
	}
	var exit *exec.ExitError
	if err = child.Wait(); errors.As(err, &exit) {
		os.Exit(max(exit.ExitCode(), 1))
	}
	if err != nil {
		panic(err)
	}
}

// host is one machine of a small network. The first is this process itself.
type host struct {
	ns   netns.NsHandle
	mac  net.HardwareAddr
	name string
}

// newHosts joins hosts by a switch: "eth0" in each, with addresses 10.77.0.N/24
// and fd77::N/64, N counted from 1.
func newHosts(t *testing.T, count int) []*host {
	t.Helper()
	if os.Getenv(isolated) == "" {
		t.Skip("needs root, or user namespaces, to make a network namespace")
	}
	fabric := newNamespace(t)
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0", HardwareAddr: []byte{2, 0, 0, 0, 1, 0}}}
	fabric.do(t, func() {
		check(t, netlink.LinkAdd(bridge))
		check(t, netlink.LinkSetUp(bridge))
	})
	own, err := netns.Get()
	check(t, err)
	t.Cleanup(func() { own.Close() })

	hosts := []*host{{ns: own}}
	for len(hosts) < count {
		hosts = append(hosts, newNamespace(t))
	}
	for i, h := range hosts {
		h.name = string(rune('a' + i))
		h.mac = net.HardwareAddr{2, 0, 0, 0, 0, byte(i + 1)}
		fabric.do(t, func() {
			cable := &netlink.Veth{
				LinkAttrs:        netlink.LinkAttrs{Name: "port" + h.name},
				PeerName:         "eth0",
				PeerHardwareAddr: h.mac,
				PeerNamespace:    netlink.NsFd(h.ns),
			}
			check(t, netlink.LinkAdd(cable))
			check(t, netlink.LinkSetMaster(cable, bridge))
			check(t, netlink.LinkSetUp(cable))
		})
		h.do(t, func() {
			eth0, err := netlink.LinkByName("eth0")
			check(t, err)
			check(t, netlink.LinkSetUp(eth0))
			setAddr(t, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}), 24))
			setAddr(t, netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 15: byte(i + 1)}), 64))
		})
	}
	for _, h := range hosts {
		fabric.do(t, func() { settled(t, "port"+h.name) })
		h.do(t, func() { settled(t, "eth0") })
	}
	t.Cleanup(func() {
		if eth0, err := netlink.LinkByName("eth0"); err == nil {
			check(t, netlink.LinkDel(eth0))
		}
	})
	return hosts
}

// settled waits until a link carries frames: the kernel sees to its carrier, and
// to its port on the switch, only after it was switched on.
func settled(t *testing.T, name string) {
	t.Helper()
	for deadline := time.Now().Add(far); time.Now().Before(deadline); runtime.Gosched() {
		l, err := netlink.LinkByName(name)
		check(t, err)
		if l.Attrs().OperState == netlink.OperUp {
			return
		}
	}
	t.Fatalf("%s has no carrier", name)
}

func newNamespace(t *testing.T) *host {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	check(t, err)
	defer own.Close()
	ns, err := netns.New()
	check(t, err)
	t.Cleanup(func() { ns.Close() })
	check(t, netns.Set(own))
	return &host{ns: ns}
}

// do runs f on the host. What f opens stays there; goroutines do not.
func (h *host) do(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	check(t, err)
	defer own.Close()
	check(t, netns.Set(h.ns))
	defer func() { check(t, netns.Set(own)) }()
	f()
}

func setAddr(t *testing.T, p netip.Prefix) {
	t.Helper()
	eth0, err := netlink.LinkByName("eth0")
	check(t, err)
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	check(t, netlink.AddrAdd(eth0, a))
	// The kernel adds the route of an IPv6 address a moment later.
	for deadline := time.Now().Add(far); time.Now().Before(deadline); runtime.Gosched() {
		routes, err := netlink.RouteGet(p.Addr().AsSlice())
		if err == nil && routes[0].Type == unix.RTN_LOCAL {
			return
		}
	}
	t.Fatalf("%s does not work", p)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
