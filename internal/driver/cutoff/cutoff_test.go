package cutoff

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

var (
	vip4 = netip.MustParseAddr("10.77.0.100")
	vip6 = netip.MustParseAddr("fd77::100")
	vips = []netip.Addr{vip4, vip6}
)

const (
	// patience is how long a question waits for its answer where none is
	// expected.
	patience = 200 * time.Millisecond
	// far is a limit that only a hanging test reaches.
	far  = 10 * time.Second
	port = 7777
)

func newFence(t testing.TB) *Fence {
	f := New(Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := errors.Join(f.Remove(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// hold lets addresses pass for d from now.
func (f *Fence) hold(addrs []netip.Addr, d time.Duration) error {
	return f.Hold(addrs, clock.System{}.Boot()+d)
}

// late stands still for a while at its n-th reading.
type late struct {
	clock.System
	n     *int
	still time.Duration
}

func (c late) Boot() time.Duration {
	now := c.System.Boot()
	if *c.n--; *c.n < 0 {
		now += c.still
	}
	return now
}

// Wherever the process stands still until the moment is past, nothing passes.
func TestHoldThatComesTooLateLetsNothingPass(t *testing.T) {
	_, client := holder(t)
	all := client.questions(t)
	for n := range 6 {
		left := n
		f := New(Options{Clock: late{n: &left, still: 5 * time.Second}, Log: slog.New(slog.DiscardHandler)})
		check(t, f.Manage(vips))
		err := f.Hold(vips, clock.System{}.Boot()+2*time.Second)
		if left < 0 && !errors.Is(err, ErrLate) || left >= 0 && err != nil {
			t.Errorf("late at reading %d: error %v", n, err)
		}
		if left < 0 {
			wantAnswers(t, all[2:], false)
		}
		check(t, errors.Join(f.Remove(), f.Close()))
	}
}

// holder makes two hosts. The first, this process, has the managed addresses;
// the second knows its MAC address for them, so that each way of asking is
// tested alone.
func holder(t *testing.T) (*Fence, *host) {
	t.Helper()
	hosts := newHosts(t, 2)
	for _, a := range vips {
		setAddr(t, netip.PrefixFrom(a, map[bool]int{true: 24, false: 64}[a.Is4()]))
		hosts[1].knows(t, a, hosts[0].mac)
	}
	serve(t)
	return newFence(t), hosts[1]
}

// answers asks every question once.
func answers(all []question) map[string]bool {
	got := map[string]bool{}
	for _, q := range all {
		got[q.name] = q.ask(patience)
	}
	return got
}

func wantAnswers(t *testing.T, all []question, want bool) {
	t.Helper()
	wanted := map[string]bool{}
	for _, q := range all {
		wanted[q.name] = want
	}
	if diff := cmp.Diff(wanted, answers(all)); diff != "" {
		t.Errorf("answers (-want +got)\n%s", diff)
	}
}

func TestAddressPassesOnlyWhileItIsHeld(t *testing.T) {
	f, client := holder(t)
	all := client.questions(t)
	wantAnswers(t, all, true)

	check(t, f.Manage(vips))
	wantAnswers(t, all, false)

	check(t, f.hold(vips, MaxHold))
	wantAnswers(t, all, true)

	check(t, f.Drop(vips))
	wantAnswers(t, all, false)
	check(t, f.Drop(vips))

	check(t, f.hold(vips, MaxHold))
	if err := f.hold(vips, time.Millisecond); !errors.Is(err, ErrLate) { // below a tick must not mean forever
		t.Errorf("error %v", err)
	}
	wantAnswers(t, all, false)

	check(t, f.Remove())
	wantAnswers(t, all, true)
	check(t, f.Remove())
}

// Nobody renews: the kernel alone must cut each way of asking, on time.
func TestKernelAloneCutsOnTime(t *testing.T) {
	const ttl = 300 * time.Millisecond
	f, client := holder(t)
	check(t, f.Manage(vips))
	for _, q := range client.questions(t) {
		t.Run(q.name, func(t *testing.T) {
			check(t, f.hold(vips, MaxHold))
			if !q.ask(far) {
				t.Fatal("no answer while it is held")
			}
			held := time.Now()
			check(t, f.hold(vips, ttl)) // a shorter hold replaces a longer one
			var last time.Duration
			for q.ask(patience) && last < far {
				last = time.Since(held)
			}
			t.Logf("held for %v, last answer after %v", ttl, last)
			if last < ttl/2 || last > 5*ttl {
				t.Errorf("last answer after %v", last)
			}
		})
	}
}

// A transaction replaces the hold: no packet may fall between old and new.
func TestRenewalsLoseNothing(t *testing.T) {
	f, client := holder(t)
	check(t, f.Manage(vips))
	check(t, f.hold(vips, MaxHold))
	results := askingAll(t, client.questions(t)[2:4], func() { // UDP
		for range 1000 {
			check(t, f.hold(vips, MaxHold))
		}
	})
	for name, r := range results {
		t.Logf("%s: %d of %d lost", name, r.lost, r.asked)
		if r.lost > 0 || r.asked == 0 {
			t.Errorf("%s: %d of %d lost", name, r.lost, r.asked)
		}
	}
}

// The guard's pace. A test machine that stands still for as long as the hold
// lasts is cut off, rightly.
func TestRenewalsInTimeKeepTheAddress(t *testing.T) {
	const ttl, every, rounds = 300 * time.Millisecond, 50 * time.Millisecond, 30
	f, client := holder(t)
	check(t, f.Manage(vips))
	check(t, f.hold(vips, ttl))
	tick := time.NewTicker(every)
	defer tick.Stop()

	last, gap := time.Now(), time.Duration(0)
	results := askingAll(t, client.questions(t)[2:4], func() { // UDP
		for range rounds {
			<-tick.C
			check(t, f.hold(vips, ttl))
			gap = max(gap, time.Since(last))
			last = time.Now()
		}
	})
	for name, r := range results {
		t.Logf("%s: %d of %d lost, longest time between two renewals %v", name, r.lost, r.asked, gap)
		if r.lost > 0 && gap < ttl/2 || r.asked == 0 {
			t.Errorf("%s: %d of %d lost", name, r.lost, r.asked)
		}
	}
}

type tally struct{ asked, lost int }

// askingAll asks all questions without a pause while f runs.
func askingAll(t *testing.T, all []question, f func()) map[string]tally {
	t.Helper()
	var mu sync.Mutex
	results := map[string]tally{}
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for _, q := range all {
		asking.Go(func() {
			var r tally
			for {
				select {
				case <-stop:
					mu.Lock()
					defer mu.Unlock()
					results[q.name] = r
					return
				default:
				}
				r.asked++
				if !q.ask(far) { // a busy machine may be slow
					r.lost++
				}
			}
		})
	}
	func() {
		defer asking.Wait()
		defer close(stop)
		f()
	}()
	return results
}

func TestAnotherFenceTakesOverWithoutLoss(t *testing.T) {
	f, client := holder(t)
	all := client.questions(t)
	check(t, f.Manage(vips))
	check(t, f.hold(vips, MaxHold))

	check(t, f.Close())
	var second *Fence
	results := askingAll(t, all[2:4], func() {
		for i := range 20 {
			second = newFence(t)
			others := []netip.Addr{netip.AddrFrom4([4]byte{10, 77, 1, byte(i)}), netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)})}
			check(t, second.Manage(append(others, vips...)))
		}
	})
	for name, r := range results {
		t.Logf("%s: %d of %d lost", name, r.lost, r.asked)
		if r.lost > 0 || r.asked == 0 {
			t.Errorf("%s: %d of %d lost", name, r.lost, r.asked)
		}
	}
	wantAnswers(t, all, true)

	check(t, second.Drop(vips))
	wantAnswers(t, all, false)
}

// Managing anew replaces the managed addresses: one that stays managed and is
// not held must not pass in between.
func TestManagingAnewLetsNothingThrough(t *testing.T) {
	f, client := holder(t)
	check(t, f.Manage(vips))
	var conns []*net.UDPConn
	client.do(t, func() {
		for _, a := range vips {
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
			check(t, err)
			t.Cleanup(func() { conn.Close() })
			conns = append(conns, conn)
		}
	})
	sent := 0
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, conn := range conns {
				conn.Write([]byte("?"))
				sent++
			}
		}
	}()
	for range 200 {
		check(t, f.Manage(vips))
	}
	close(stop)
	<-ended
	t.Logf("%d questions", sent)
	for _, conn := range conns {
		check(t, conn.SetReadDeadline(time.Now().Add(patience)))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("answered: %v", err)
		}
	}
}

// A firewall that starts removes all rules of everybody.
func TestHoldPutsBackWhatAStrangerRemoved(t *testing.T) {
	f, client := holder(t)
	all := client.questions(t)
	other := netip.MustParseAddr("10.77.0.1")
	check(t, f.Manage(append([]netip.Addr{other}, vips...)))
	check(t, f.hold(vips, MaxHold))

	c, err := nftables.New()
	check(t, err)
	c.FlushRuleset()
	check(t, c.Flush())
	wantAnswers(t, all, true)

	check(t, f.hold([]netip.Addr{other}, MaxHold))
	wantAnswers(t, all, true) // they were held before, and still are
	check(t, f.Drop(vips))
	wantAnswers(t, all, false)
}

// A node that manages an address and does not hold it must reach the holder,
// learn where it is, and route to it for others.
func TestAddressElsewhereIsReached(t *testing.T) {
	hosts := newHosts(t, 3)
	f := newFence(t)
	check(t, f.Manage(vips))
	hosts[1].do(t, func() {
		for _, a := range vips {
			setAddr(t, netip.PrefixFrom(a, map[bool]int{true: 24, false: 64}[a.Is4()]))
		}
	})
	refused := func(a netip.Addr) {
		t.Helper()
		conn, err := net.Dial("udp", netip.AddrPortFrom(a, 9).String())
		check(t, err)
		defer conn.Close()
		check(t, conn.SetDeadline(time.Now().Add(far)))
		_, err = conn.Write([]byte("?"))
		check(t, err)
		if _, err = conn.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s cannot be reached: %v", a, err)
		}
	}
	for _, a := range vips {
		refused(a)
	}
	// Both ways through this host: to the address, and from it.
	check(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	through := func(to string) {
		eth0, err := netlink.LinkByName("eth0")
		check(t, err)
		dst, err := netlink.ParseIPNet(to)
		check(t, err)
		check(t, netlink.RouteReplace(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: dst, Gw: net.IPv4(10, 77, 0, 1)}))
	}
	hosts[1].do(t, func() { through("10.77.0.3/32") })
	hosts[2].do(t, func() {
		through("10.77.0.100/32")
		refused(vip4)
	})
}

func TestWithoutTheRightToFilterItSaysSoAndStaysQuiet(t *testing.T) {
	newHosts(t, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends without its rights
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Error(err)
			return
		}
		f := New(Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
		err := f.Manage(vips)
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("error %v", err)
		}
		t.Log(err)
		if err := errors.Join(f.hold(vips, time.Second), f.Drop(vips), f.Close()); err != nil {
			t.Error(err)
		}
	}()
	<-ended
}

func many(count int) []netip.Addr {
	var all []netip.Addr
	for i := range count {
		all = append(all, netip.AddrFrom4([4]byte{10, 78, byte(i >> 8), byte(i)}))
	}
	return all
}

func TestManyAddresses(t *testing.T) {
	newHosts(t, 1)
	f := newFence(t)
	if err := f.Manage(many(MaxAddresses + 1)); !errors.Is(err, ErrTooMany) {
		t.Errorf("error %v", err)
	}
	all := many(MaxAddresses)
	check(t, f.Manage(append(all, all...))) // doubles do not count
	check(t, f.hold(all, MaxHold))
	check(t, f.hold(all, MaxHold))
	count := func() int {
		c, err := nftables.New()
		check(t, err)
		els, err := c.GetSetElements(f.rules.four.held)
		check(t, err)
		for _, el := range els {
			if el.Timeout == 0 || el.Timeout > MaxHold {
				t.Fatalf("%v is held for %v", el.Key, el.Timeout)
			}
		}
		return len(els)
	}
	if got := count(); got != MaxAddresses {
		t.Errorf("%d held", got)
	}
	check(t, f.Drop(all))
	if got := count(); got != 0 {
		t.Errorf("%d held after the drop", got)
	}
}

func TestRemoveAddress(t *testing.T) {
	newHosts(t, 1)
	f := newFence(t)
	setAddr(t, netip.MustParsePrefix("10.77.0.100/24"))
	setAddr(t, netip.MustParsePrefix("fd77::100/64"))
	for _, handle := range []string{
		"10.77.0.100/24%eth0", "fd77::100/64%eth0",
		"10.77.0.100/24%eth0", "10.77.0.100/24%eth9", // gone already
	} {
		check(t, f.RemoveAddress(handle))
	}
	eth0, err := netlink.LinkByName("eth0")
	check(t, err)
	left, err := netlink.AddrList(eth0, netlink.FAMILY_ALL)
	check(t, err)
	for _, a := range left {
		if ip, _ := netip.AddrFromSlice(a.IP); slices.Contains(vips, ip.Unmap()) {
			t.Errorf("%s is still there", ip)
		}
	}
}

func TestParseHandle(t *testing.T) {
	for _, c := range []struct {
		name, handle string
		prefix       string
		iface        string
		err          string
	}{
		{name: "an IPv4 handle", handle: "10.77.0.100/24%eth0", prefix: "10.77.0.100/24", iface: "eth0"},
		{name: "an IPv6 handle", handle: "fd77::100/64%bond0.7", prefix: "fd77::100/64", iface: "bond0.7"},
		{name: "no interface", handle: "10.77.0.100/24", err: "names no interface"},
		{name: "an empty interface", handle: "10.77.0.100/24%", err: "names no interface"},
		{name: "no prefix length", handle: "10.77.0.100%eth0", err: "no '/'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			prefix, iface, err := parseHandle(c.handle)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			check(t, err)
			if got, want := fmt.Sprint(prefix, " ", iface), c.prefix+" "+c.iface; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func FuzzParseHandle(f *testing.F) {
	f.Add("10.77.0.100/24%eth0")
	f.Add("%")
	f.Fuzz(func(t *testing.T, handle string) {
		prefix, name, err := parseHandle(handle)
		if err == nil && (!prefix.IsValid() || name == "") {
			t.Errorf("accepted %q", handle)
		}
	})
}

// BenchmarkHold renews addresses in one transaction of the kernel, or in one for
// each.
func BenchmarkHold(b *testing.B) {
	if os.Getenv(isolated) == "" {
		b.Skip("needs root, or user namespaces, to make a network namespace")
	}
	for _, c := range []struct{ managed, together int }{{1, 1}, {50, 50}, {1000, 1}, {1000, 1000}} {
		b.Run(fmt.Sprintf("managed=%d/together=%d", c.managed, c.together), func(b *testing.B) {
			f := newFence(b)
			all := many(c.managed)
			if err := f.Manage(all); err != nil {
				b.Fatal(err)
			}
			renewed := 0
			for b.Loop() {
				at := renewed % len(all)
				if err := f.hold(all[at:at+c.together], time.Second); err != nil {
					b.Fatal(err)
				}
				renewed += c.together
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(renewed), "µs/address")
		})
	}
}
