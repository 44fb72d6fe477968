package lab_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/picture"
	"github.com/keelson/keelson/internal/lab/probe"
)

const service = "10.77.0.100"

// take is a tool: it puts an address on eth0 and tells everyone.
func take(args []string) error {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(args[0] + "/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return err
	}
	eth, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	conn, err := packet.Listen(eth, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		return err
	}
	ip, all := netip.MustParseAddr(args[0]).AsSlice(), net.HardwareAddr{255, 255, 255, 255, 255, 255}
	f := append([]byte{}, all...)
	f = append(f, eth.HardwareAddr...)
	f = binary.BigEndian.AppendUint16(f, unix.ETH_P_ARP)
	f = append(f, 0, 1, 8, 0, 6, 4, 0, 1)
	f = append(append(f, eth.HardwareAddr...), ip...)
	f = append(append(f, 0, 0, 0, 0, 0, 0), ip...)
	_, err = conn.WriteTo(f, &packet.Addr{HardwareAddr: all})
	return errors.Join(err, conn.Close())
}

// serve makes the host the holder of the service.
func serve(t *testing.T, h *lab.Host, epoch string) *lab.Process {
	t.Helper()
	tool(t, h, "take", service)
	p, err := h.Start(within(t), lab.Command{Role: lab.RoleWeb, Args: []string{service + ":80"}, Env: []string{"KEELSON_EPOCH=" + epoch}})
	must(t, err)
	return p
}

func TestTheClientsSeeAFailover(t *testing.T) {
	failover(t, raise(t, lab.Options{Hosts: []string{"h1", "h2", "client"}}))
}

// failover is also run as an ordinary user.
func failover(t *testing.T, l *lab.Lab) {
	t.Helper()
	h1, h2, client := l.Host("h1"), l.Host("h2"), l.Host("client")
	ctx := within(t)
	serve(t, h1, "1")
	asks, err := client.ProbeHTTP(ctx, probe.HTTP{URL: "http://" + service + "/"})
	must(t, err)
	arps, err := client.ProbeARP(ctx, probe.ARP{Address: service})
	must(t, err)
	load, err := client.Load(ctx, probe.Load{URL: "http://" + service + "/"})
	must(t, err)
	_, err = load.Await(ctx, func(c probe.LoadCount) bool { return c.Requests > 20 })
	must(t, err)
	_, err = asks.Await(ctx, func(r probe.HTTPResult) bool { return r.OK && r.Host == "h1" && r.Epoch == 1 })
	must(t, err)

	fault := clock.System{}.Boot()
	must(t, h1.Kill(ctx))
	time.Sleep(100 * time.Millisecond)
	taken := clock.System{}.Boot()
	serve(t, h2, "2")
	_, err = asks.Await(ctx, func(r probe.HTTPResult) bool { return r.OK && r.Host == "h2" && r.Epoch == 2 })
	must(t, err)
	time.Sleep(100 * time.Millisecond)

	results, err := asks.Stop(ctx)
	must(t, err)
	answers, err := arps.Stop(ctx)
	must(t, err)
	counts, err := load.Stop(ctx)
	must(t, err)

	outage, ok := probe.Worst(results, fault)
	if !ok || !outage.Over || outage.Before != (probe.Holder{Host: "h1", Epoch: 1}) || outage.After != (probe.Holder{Host: "h2", Epoch: 2}) {
		t.Fatalf("the outage is %+v, %v", outage, ok)
	}
	if outage.Start > fault+50*time.Millisecond || outage.End < taken || outage.Duration() < 100*time.Millisecond {
		t.Errorf("the outage is %+v, the fault was at %s and the takeover after %s", outage, fault, taken)
	}
	if two := probe.TwoHolders(probe.SeenByARP(answers), probe.DefaultEvery, 100*time.Millisecond); two != 0 {
		t.Errorf("two held the address for %s", two)
	}
	holders := map[string]bool{}
	for _, a := range answers {
		holders[l.HostByMAC(a.MAC).Name()] = true
	}
	if !holders["h1"] || !holders["h2"] || len(holders) != 2 {
		t.Errorf("the holders by ARP are %v", holders)
	}
	if last := counts[len(counts)-1]; last.Failed == 0 || last.Failed == last.Requests {
		t.Errorf("the load client counted %+v", last)
	}
	t.Logf("outage %s, %d of %d questions failed\n%s", outage.Duration().Round(time.Millisecond), outage.Failed, len(results),
		picture.Outage{Results: results, Fault: fault, Hosts: []string{"h1", "h2"}, Width: 72}.Draw())
}

func TestTwoHoldersAreSeen(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1", "h2", "client"}})
	ctx := within(t)
	tool(t, l.Host("h1"), "take", service)
	arps, err := l.Host("client").ProbeARP(ctx, probe.ARP{Address: service})
	must(t, err)
	_, err = arps.Await(ctx, func(a probe.ARPAnswer) bool { return a.MAC == l.Host("h1").MAC(1) })
	must(t, err)
	tool(t, l.Host("h2"), "take", service)
	_, err = arps.Await(ctx, func(a probe.ARPAnswer) bool { return a.MAC == l.Host("h2").MAC(1) })
	must(t, err)
	time.Sleep(200 * time.Millisecond)
	must(t, l.Host("h1").Kill(ctx))
	time.Sleep(50 * time.Millisecond)
	answers, err := arps.Stop(ctx)
	must(t, err)
	two := probe.TwoHolders(probe.SeenByARP(answers), probe.DefaultEvery, 100*time.Millisecond)
	if two < 40*time.Millisecond || two > 5*time.Second {
		t.Errorf("two held the address for about 200 ms, and %s was seen", two)
	}
	t.Logf("two holders for %s", two.Round(time.Millisecond))
}

func TestAFrozenHostStillAnswersByARP(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1", "client"}})
	ctx := within(t)
	serve(t, l.Host("h1"), "1")
	asks, err := l.Host("client").ProbeHTTP(ctx, probe.HTTP{URL: "http://" + service + "/", Timeout: 50 * time.Millisecond})
	must(t, err)
	_, err = asks.Await(ctx, func(r probe.HTTPResult) bool { return r.OK })
	must(t, err)
	must(t, l.Host("h1").Freeze(ctx))
	frozen := clock.System{}.Boot()
	arps, err := l.Host("client").ProbeARP(ctx, probe.ARP{Address: service})
	must(t, err)
	_, err = arps.Await(ctx, func(a probe.ARPAnswer) bool { return a.At > frozen })
	must(t, err)
	_, err = asks.Await(ctx, func(r probe.HTTPResult) bool { return r.Sent > frozen && !r.OK })
	must(t, err)
	must(t, l.Host("h1").Thaw(ctx))
	_, err = asks.Await(ctx, func(r probe.HTTPResult) bool { return r.Sent > frozen && r.OK })
	must(t, err)
}

func TestAClientThatCannotWorkSaysWhy(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1"}})
	s, err := l.Host("h1").ProbeARP(within(t), probe.ARP{Address: "nonsense"})
	must(t, err)
	_, err = s.Await(within(t), func(probe.ARPAnswer) bool { return true })
	if err == nil {
		t.Fatal("it saw something")
	}
	if _, err := s.Stop(within(t)); err == nil {
		t.Error("it ended well")
	}
	t.Log(err)
}
