//go:build integration

package test

import (
	"slices"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// lasts is how long a fault lasts that nobody is to notice: many times what it
// takes to declare a host dead.
const lasts = 3 * time.Second

// TestLinksThatAreHalfBroken has hosts that hear others and are not heard, or are
// heard and hear nobody, or that two others see and one does not. The clients
// still reach every host, so that an old holder would be noticed.
func TestLinksThatAreHalfBroken(t *testing.T) {
	b := newBench(t, 3)
	for _, way := range []string{"hears no other", "is heard by no other"} {
		b.step("the host that serves "+way, func(b *bench) {
			was := b.holder()
			fault := boot()
			b.oneWay(way, was)
			now := b.movedFrom(fault, was)
			b.gone(was)
			b.stays(now)
			b.ready(b.lab.HealAll(b.t.Context()))
			b.whole()
			b.stays(now)
		})
		b.step("the host that leads the store, and does not serve, "+way, func(b *bench) {
			was := b.answered(boot())
			standby := b.leader()
			if standby == was.Host {
				standby = b.others(was.Host)[0]
			}
			b.undisturbed(was, func() { b.oneWay(way, standby) })
		})
	}
	b.step("the host that serves and the last in line do not hear each other", func(b *bench) {
		was := b.answered(boot())
		line := b.successors()
		b.undisturbed(was, func() { b.apart(was.Host, line[len(line)-1]) })
	})
	b.step("two that stand by do not hear each other", func(b *bench) {
		was := b.answered(boot())
		line := b.successors()
		b.undisturbed(was, func() { b.apart(line[0], line[1]) })
	})
	b.step("the host that serves and the next in line do not hear each other, and then it is killed", func(b *bench) {
		was := b.answered(boot())
		b.apart(was.Host, b.successors()[0])
		time.Sleep(lasts)
		b.stays(was)
		fault := boot()
		b.ready(b.lab.Host(was.Host).Kill(b.t.Context()))
		now := b.movedFrom(fault, was.Host)
		b.ready(b.lab.HealAll(b.t.Context()))
		b.ready(b.cell.Boot(b.t.Context(), was.Host))
		b.whole()
		b.stays(now)
	})
	starved(b)
}

// oneWay breaks the links of a host to all other nodes in one direction.
func (b *bench) oneWay(way, host string) {
	b.t.Helper()
	for _, other := range b.others(host) {
		from, to := other, host
		if way == "is heard by no other" {
			from, to = host, other
		}
		b.ready(b.lab.OneWay(b.t.Context(), from, to))
	}
}

// apart breaks the link between two hosts; all others hear both.
func (b *bench) apart(one, other string) {
	b.t.Helper()
	b.ready(b.lab.Partition(b.t.Context(), []string{one}, []string{other}))
}

// successors are the nodes that would take over, the next first.
func (b *bench) successors() []string {
	b.t.Helper()
	return b.await("a succession of all others", func(s cell.Status) bool {
		return len(s.Service(b.service).Successors) == len(b.nodes)-1
	}).Service(b.service).Successors
}

// undisturbed breaks something that the service has nothing to do with, mends it
// again, and fails if a client could tell.
func (b *bench) undisturbed(was probe.HTTPResult, f func()) {
	b.t.Helper()
	fault := boot()
	f()
	time.Sleep(lasts)
	b.stays(was)
	b.report(fault)
	b.ready(b.lab.HealAll(b.t.Context()))
	b.whole()
	b.stays(was)
}

// starved leaves hosts with next to no processor.
func starved(b *bench) {
	const percent = 5
	b.step("a host that stands by gets a twentieth of a core", func(b *bench) {
		was := b.answered(boot())
		host := b.lab.Host(b.successors()[0])
		b.undisturbed(was, func() { b.ready(host.CPUQuota(b.t.Context(), percent)) })
		b.ready(host.CPUQuota(b.t.Context(), 0))
	})
	b.step("the host that serves gets a twentieth of a core", func(b *bench) {
		was := b.answered(boot())
		fault := boot()
		b.ready(b.lab.Host(was.Host).CPUQuota(b.t.Context(), percent))
		time.Sleep(3 * lasts)
		b.ready(b.lab.Host(was.Host).CPUQuota(b.t.Context(), 0))
		over := boot()
		now := b.answered(over)
		b.report(fault)
		b.whole()
		b.stays(now)
		b.t.Logf("served by %v; answered again %s after the end of it", b.reigns(fault), (now.Done - over).Round(time.Millisecond))
		if reigns := b.reigns(fault); len(reigns) > 2 {
			b.t.Errorf("it went to and fro: %v", reigns)
		}
	})
}

// reigns are the hosts that answered since a moment, one after the other.
func (b *bench) reigns(since time.Duration) []string {
	var hosts []string
	for _, r := range b.http.Since(0) {
		if r.OK && r.Sent >= since {
			hosts = append(hosts, r.Host)
		}
	}
	return slices.Compact(hosts)
}
