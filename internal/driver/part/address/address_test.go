package address

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/model/instance"
)

// far is a limit that only a hanging test reaches.
const far = 10 * time.Second

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// onEth0 lists the addresses of this host's eth0, link-local ones left out.
func onEth0(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, a := range eth0Addrs(t) {
		if !a.IP.IsLinkLocalUnicast() {
			out = append(out, a.IPNet.String())
		}
	}
	slices.Sort(out)
	return out
}

func eth0Addrs(t *testing.T) []netlink.Addr {
	t.Helper()
	eth0, err := netlink.LinkByName("eth0")
	check(t, err)
	all, err := netlink.AddrList(eth0, netlink.FAMILY_ALL)
	check(t, err)
	return all
}

// cached is what the host believes about who has addr.
func (h *host) cached(t *testing.T, addr netip.Addr) mac {
	t.Helper()
	var found mac
	h.do(t, func() {
		all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
		check(t, err)
		for _, n := range all {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr && len(n.HardwareAddr) == 6 {
				found = mac(n.HardwareAddr)
			}
		}
	})
	return found
}

// ask has the host send a packet to addr and waits for the answer of its kernel
// that nobody listens there.
func (h *host) ask(t *testing.T, addr netip.Addr) {
	t.Helper()
	h.do(t, func() {
		conn, err := net.Dial("udp", netip.AddrPortFrom(addr, 9).String())
		check(t, err)
		defer conn.Close()
		check(t, conn.SetDeadline(time.Now().Add(far)))
		_, err = conn.Write([]byte("?"))
		check(t, err)
		if _, err = conn.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("%s did not answer: %v", addr, err)
		}
	})
}

// A third host that spoke to the address before it moved must find it in its
// new place at once, without asking.
func TestAddressMovesBetweenHosts(t *testing.T) {
	for _, prefix := range []string{"10.77.0.100/24", "fd77::100/64"} {
		t.Run(prefix, func(t *testing.T) {
			hosts := newHosts(t, 3)
			addr := netip.MustParsePrefix(prefix).Addr()
			first, second := newDriver(), newDriver()
			run, runThere := newRun(t, prefix), newRun(t, prefix)

			check(t, first.Start(t.Context(), run))
			hosts[2].ask(t, addr)
			compare(t, hosts[2].cached(t, addr), hosts[0].mac)

			check(t, first.Stop(t.Context(), run))
			hosts[1].do(t, func() {
				begun := time.Now()
				check(t, second.Start(t.Context(), runThere))
				t.Logf("taken and announced in %v", time.Since(begun))
			})
			compare(t, hosts[2].cached(t, addr), hosts[1].mac)
			hosts[2].ask(t, addr)
		})
	}
}

func TestDuplicateIsRefused(t *testing.T) {
	for _, prefix := range []string{"10.77.0.100/24", "fd77::100/64"} {
		t.Run(prefix, func(t *testing.T) {
			hosts := newHosts(t, 2)
			hosts[1].do(t, func() { setAddr(t, netip.MustParsePrefix(prefix)) })
			before := onEth0(t)

			d, run := newDriver(), newRun(t, prefix)
			err := d.Start(t.Context(), run)
			wantErr(t, err, ErrDuplicate)
			if err != nil && !strings.Contains(err.Error(), hosts[1].mac.String()) {
				t.Errorf("%v does not name %s", err, hosts[1].mac)
			}
			compare(t, onEth0(t), before)

			hosts[1].do(t, func() { delAddr(t, netip.MustParsePrefix(prefix)) })
			check(t, d.Start(t.Context(), run))
		})
	}
}

func TestDuplicateIsTakenWhenNotAskedFor(t *testing.T) {
	hosts := newHosts(t, 2)
	hosts[1].do(t, func() { setAddr(t, netip.MustParsePrefix("10.77.0.100/24")) })
	d := newDriver()
	d.opts.SkipProbe = true
	check(t, d.Start(t.Context(), newRun(t, "10.77.0.100/24")))
	compare(t, slices.Contains(onEth0(t), "10.77.0.100/24"), true)
}

func TestForeignAddressIsLeftAlone(t *testing.T) {
	newHosts(t, 1)
	setAddr(t, netip.MustParsePrefix("10.77.0.100/24"))
	d, run := newDriver(), newRun(t, "10.77.0.100/24")

	wantErr(t, d.Start(t.Context(), run), ErrForeign)
	seen, err := d.Probe(t.Context(), run)
	check(t, err)
	compare(t, seen, instance.Observed{Detail: "10.77.0.100/24 is on eth0, but Keelson did not put it there"})
	check(t, d.Stop(t.Context(), run))
	compare(t, slices.Contains(onEth0(t), "10.77.0.100/24"), true)
}

func TestStartRefusesALinkThatIsDown(t *testing.T) {
	newHosts(t, 1)
	eth0, err := netlink.LinkByName("eth0")
	check(t, err)
	check(t, netlink.LinkSetDown(eth0))
	wantErr(t, newDriver().Start(t.Context(), newRun(t, "10.77.0.100/24")), ErrLinkDown)
}

func TestStartAndStopMayBeRepeated(t *testing.T) {
	newHosts(t, 1)
	before := onEth0(t)
	d, run := newDriver(), newRun(t, "10.77.0.100/24")
	check(t, d.Start(t.Context(), run))
	run.Epoch = 8
	check(t, d.Start(t.Context(), run))
	seen, err := d.Probe(t.Context(), run)
	check(t, err)
	compare(t, seen.Epoch, uint64(8))
	check(t, d.Stop(t.Context(), run))
	check(t, d.Stop(t.Context(), run))
	compare(t, onEth0(t), before)
}

func TestChangedAddressReplacesTheOldOne(t *testing.T) {
	newHosts(t, 1)
	d, run := newDriver(), newRun(t, "10.77.0.100/24")
	check(t, d.Start(t.Context(), run))
	run.Part.Address.Prefix = "10.77.0.101/24"
	check(t, d.Start(t.Context(), run))
	compare(t, onEth0(t), []string{"10.77.0.1/24", "10.77.0.101/24", "fd77::1/64"})
}

func TestAnotherAgentFindsWhatTheLastOneTook(t *testing.T) {
	newHosts(t, 1)
	run := newRun(t, "10.77.0.100/24")
	compare(t, newDriver().Handles(run), instance.Handles{Addresses: []string{"10.77.0.100/24%eth0"}})
	check(t, newDriver().Start(t.Context(), run))

	d := newDriver()
	seen, err := d.Probe(t.Context(), run)
	check(t, err)
	seen.Since = time.Time{}
	compare(t, seen, instance.Observed{Running: true, Generation: 3, Epoch: 7, Detail: "on eth0"})
	compare(t, d.Handles(run), instance.Handles{Addresses: []string{"10.77.0.100/24%eth0"}})

	check(t, d.Stop(t.Context(), run))
	seen, err = d.Probe(t.Context(), run)
	check(t, err)
	compare(t, seen, instance.Observed{Detail: "10.77.0.100/24 is not on this host"})
}

func TestWaitReportsALoss(t *testing.T) {
	const prefix = "10.77.0.100/24"
	for _, c := range []struct {
		name string
		lose func(*testing.T, *Driver, instance.Run)
		want error
	}{
		{"a stranger removes the address", func(t *testing.T, _ *Driver, _ instance.Run) {
			delAddr(t, netip.MustParsePrefix(prefix))
		}, ErrGone},
		{"the link is switched off", func(t *testing.T, _ *Driver, _ instance.Run) {
			eth0, err := netlink.LinkByName("eth0")
			check(t, err)
			check(t, netlink.LinkSetDown(eth0))
		}, ErrLinkDown},
		{"the interface vanishes", func(t *testing.T, _ *Driver, _ instance.Run) {
			eth0, err := netlink.LinkByName("eth0")
			check(t, err)
			check(t, netlink.LinkDel(eth0))
		}, ErrGone},
		{"a stop is no loss", func(t *testing.T, d *Driver, run instance.Run) {
			check(t, d.Stop(t.Context(), run))
		}, ErrGivenBack},
	} {
		t.Run(c.name, func(t *testing.T) {
			newHosts(t, 1)
			d, run := newDriver(), newRun(t, prefix)
			check(t, d.Start(t.Context(), run))
			done := waiting(t, d, run)

			// What does not concern the address must not end the wait.
			setAddr(t, netip.MustParsePrefix("10.77.0.50/24"))
			delAddr(t, netip.MustParsePrefix("10.77.0.50/24"))
			lost := time.Now()
			c.lose(t, d, run)
			select {
			case err := <-done:
				t.Logf("known after %v: %v", time.Since(lost), err)
				wantErr(t, err, c.want)
			case <-time.After(far):
				t.Fatal("the loss went unnoticed")
			}
		})
	}
}

// waiting waits for a loss in the background, and returns once it watches.
func waiting(t *testing.T, d *Driver, run instance.Run) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done, ended := make(chan error, 1), make(chan struct{})
	d.forgetHolding(run.Key())
	go func() {
		defer close(ended)
		done <- d.Wait(ctx, run)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	holds := func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		_, there := d.held.all[run.Key()]
		return there
	}
	for !holds() {
		runtime.Gosched()
	}
	return done
}

func TestWaitEndsWithItsContext(t *testing.T) {
	newHosts(t, 1)
	d, run := newDriver(), newRun(t, "10.77.0.100/24")
	wantErr(t, d.Wait(t.Context(), run), ErrGone)
	check(t, d.Start(t.Context(), run))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantErr(t, d.Wait(ctx, run), context.DeadlineExceeded)
}

// routes lists this host's IPv4 routes, with the source address each implies.
func routes(t *testing.T) []string {
	t.Helper()
	all, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	check(t, err)
	var out []string
	for _, r := range all {
		out = append(out, r.Dst.String()+" from "+r.Src.String())
	}
	slices.Sort(out)
	return out
}

func TestTheHostsOwnAddressAndRoutesStay(t *testing.T) {
	newHosts(t, 1)
	before, routesBefore := onEth0(t), routes(t)
	d := newDriver()
	run4, run6, wide := newRun(t, "10.77.0.100/24"), newRun(t, "fd77::100/64"), newRun(t, "10.77.0.120/26")
	for _, run := range []instance.Run{run4, run6, wide} {
		check(t, d.Start(t.Context(), run))
	}
	compare(t, routes(t), routesBefore)
	for _, a := range eth0Addrs(t) {
		if a.IP.String() == "fd77::100" {
			compare(t, a.Flags&unix.IFA_F_DEPRECATED != 0, true)
			compare(t, a.Flags&unix.IFA_F_TENTATIVE != 0, false)
		}
	}
	for _, run := range []instance.Run{run4, run6, wide} {
		check(t, d.Stop(t.Context(), run))
	}
	compare(t, onEth0(t), before)
	compare(t, routes(t), routesBefore)
}

// On an interface that has no address of the network, the first of ours is the
// primary one. Giving it back must not take the second with it, nor the route.
func TestGivingBackOneAddressLeavesTheOthers(t *testing.T) {
	newHosts(t, 1)
	d := newDriver()
	first, second := newRun(t, "10.99.0.100/24"), newRun(t, "10.99.0.101/24")
	first.Part.Address.Interface, second.Service = "eth0", "report"
	check(t, d.Start(t.Context(), first))
	check(t, d.Start(t.Context(), second))

	done := waiting(t, d, second)
	check(t, d.Stop(t.Context(), first))
	compare(t, onEth0(t), []string{"10.77.0.1/24", "10.99.0.101/24", "fd77::1/64"})
	compare(t, routes(t), []string{"10.77.0.0/24 from 10.77.0.1", "10.99.0.0/24 from 10.99.0.101"})
	select {
	case err := <-done:
		t.Errorf("the second was reported lost: %v", err)
	default:
	}
}

// The same when the operator removes the host's own address.
func TestLosingThePrimaryAddressLeavesOurs(t *testing.T) {
	newHosts(t, 1)
	check(t, newDriver().Start(t.Context(), newRun(t, "10.77.0.100/24")))
	delAddr(t, netip.MustParsePrefix("10.77.0.1/24"))
	compare(t, onEth0(t), []string{"10.77.0.100/24", "fd77::1/64"})
	compare(t, routes(t), []string{"10.77.0.0/24 from 10.77.0.100"})
}

func TestRunAnnouncesWhileTheAddressIsHeld(t *testing.T) {
	for _, prefix := range []string{"10.77.0.100/24", "fd77::100/64"} {
		t.Run(prefix, func(t *testing.T) {
			hosts := newHosts(t, 2)
			addr := netip.MustParsePrefix(prefix).Addr()
			d := newDriver()
			d.held = newRoster(3, 20*time.Millisecond, 60*time.Millisecond)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- d.Run(ctx) }()
			t.Cleanup(func() { cancel(); wantErr(t, <-ended, context.Canceled) })

			heard := hosts[1].listen(t, addr)
			run := newRun(t, prefix)
			check(t, d.Start(t.Context(), run))
			const rounds = 6
			frames := rounds
			if addr.Is4() {
				frames *= 2 // a request and a reply
			}
			for range frames {
				compare(t, heard(far), hosts[0].mac)
			}
			// Cut off by somebody else: nothing more is heard.
			delAddr(t, netip.MustParsePrefix(prefix))
			for heard(300*time.Millisecond) != (mac{}) {
				if slices.Contains(onEth0(t), prefix) {
					t.Fatal("the address is back")
				}
			}
		})
	}
}

// listen returns a function that gives the next claim of addr heard on the
// host, or zero after a time.
func (h *host) listen(t *testing.T, addr netip.Addr) func(time.Duration) mac {
	t.Helper()
	var conn *packet.Conn
	h.do(t, func() {
		protocol := etherARP
		if addr.Is6() {
			protocol = etherIPv6
		}
		eth0, err := net.InterfaceByName("eth0")
		check(t, err)
		conn, err = packet.Listen(eth0, packet.Raw, protocol, nil)
		check(t, err)
	})
	t.Cleanup(func() { conn.Close() })
	buf := make([]byte, maxFrame)
	return func(limit time.Duration) mac {
		check(t, conn.SetReadDeadline(time.Now().Add(limit)))
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return mac{}
			}
			if m, ok := claimant(buf[:n], addr); ok {
				return m
			}
		}
	}
}
