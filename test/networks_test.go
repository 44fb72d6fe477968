//go:build integration

package test

import (
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
)

// The service with an IPv6 address.
const (
	web6   = "web6"
	webIP6 = "fd77::100"
)

// TestTwoNetworks cuts the networks of the node that serves, one after the
// other.
func TestTwoNetworks(t *testing.T) {
	l := raise(t, 3, 2)
	b := benchOf(t, l, form(t, l, 3, cell.Options{Networks: 2}), 3)
	b.step("the loss of the second network changes nothing", func(b *bench) {
		was := b.answered(boot())
		fault := boot()
		b.ready(b.lab.Host(was.Host).Isolate(b.t.Context(), 2))
		time.Sleep(2 * time.Second)
		b.stays(was)
		b.report(fault)
		b.ready(b.lab.HealAll(b.t.Context()))
		b.whole()
	})
	b.step("the loss of both is a takeover", func(b *bench) {
		was := b.holder()
		b.ready(b.lab.Host(was).Isolate(b.t.Context(), 2))
		time.Sleep(time.Second)
		fault := boot()
		b.ready(b.lab.Host(was).Isolate(b.t.Context(), 1))
		now := b.movedFrom(fault, was)
		b.gone(was)
		b.ready(b.lab.HealAll(b.t.Context()))
		b.whole()
		b.stays(now)
	})
	b.step("a node that loses the cable of the service's network loses the service", func(b *bench) {
		b.patience = settled // its agent cannot tell the controller
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Cut(b.t.Context(), 1))
		now := b.movedFrom(fault, was)
		b.gone(was)
		b.ready(b.lab.HealAll(b.t.Context()))
		b.whole()
		b.stays(now)
	})
	b.step("nodes that meet only on the second network stay together", func(b *bench) {
		was := b.answered(boot())
		other := b.others(was.Host)[0]
		b.ready(b.lab.Partition(b.t.Context(), []string{was.Host}, b.others(was.Host), lab.Network(1)))
		b.stays(was)
		s := b.await("an answer", func(cell.Status) bool { return true }, was.Host, other)
		for _, n := range s.Nodes {
			if n.Liveness == "lost" {
				b.t.Errorf("%s counts as lost", n.Name)
			}
		}
		b.ready(b.lab.HealAll(b.t.Context()))
		b.whole()
	})
	b.ready(b.cell.Apply(t.Context(), cell.WebService(web6, webIP6+"/64", "["+webIP6+"]:80")))
	b.service, b.ip, b.url = web6, "", "http://["+webIP6+"]/"
	b.probe()
	b.answered(boot())
	overIPv6(b)
}

// overIPv6 is for a bench whose service has an IPv6 address only.
func overIPv6(b *bench) {
	b.t.Helper()
	b.step("an IPv6 address fails over", func(b *bench) {
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Kill(b.t.Context()))
		now := b.movedFrom(fault, was)
		b.ready(b.cell.Boot(b.t.Context(), was))
		b.whole()
		b.stays(now)
	})
	b.step("an IPv6 address is taken off a node that is cut off", func(b *bench) {
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Cut(b.t.Context()))
		now := b.movedFrom(fault, was)
		for until := boot() + overdue; strings.Contains(b.run(was, "cat /proc/net/if_inet6"), "fd770000000000000000000000000100"); time.Sleep(50 * time.Millisecond) {
			if boot() > until {
				b.t.Fatalf("%s has the address still", was)
			}
		}
		b.ready(b.lab.HealAll(b.t.Context()))
		b.whole()
		b.stays(now)
	})
}
