//go:build integration

package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// TestPlannedWork moves the service on request.
func TestPlannedWork(t *testing.T) {
	b := newBench(t, 3)
	b.step("a move to where the cell thinks best", func(b *bench) {
		was := b.holder()
		fault := boot()
		b.t.Log(b.keelson(was, "move", web))
		now := b.movedFrom(fault, was)
		b.stays(now)
	})
	b.step("a move to a certain node, asked of another", func(b *bench) {
		was := b.holder()
		others := b.others(was)
		fault := boot()
		b.t.Log(b.keelson(others[0], "move", web, others[1]))
		now := b.movedFrom(fault, was)
		if now.Host != others[1] {
			b.t.Errorf("it is on %s, not on %s", now.Host, others[1])
		}
		b.stays(now)
	})
	b.step("a drained node stays free until it is let in again", drainTwo)
	b.step("a service that is deleted runs nowhere, and its address is free for another", deleteOther)
}

// drainTwo drains a node, then the next, and sees that none is returned to too early.
func drainTwo(b *bench) {
	first := b.holder()
	fault := boot()
	b.t.Log(b.keelson(first, "drain", first, "--why", "new disk", "--yes"))
	second := b.movedFrom(fault, first).Host
	b.gone(first)
	fault = boot()
	b.keelson(first, "drain", second, "--yes")
	third := b.movedFrom(fault, second)
	if third.Host == first {
		b.t.Errorf("it went to %s, which is drained", first)
	}
	b.keelson(first, "undrain", second)
	fault = boot()
	b.ready(b.lab.Host(third.Host).Kill(b.t.Context()))
	if r := b.movedFrom(fault, third.Host); r.Host != second {
		b.t.Errorf("it went to %s, not to %s, the only one that is not drained", r.Host, second)
	}
	b.ready(b.cell.Boot(b.t.Context(), third.Host))
	b.whole()
	b.keelson(first, "undrain", first)
	fault = boot()
	b.keelson(first, "move", web, first)
	if r := b.movedFrom(fault, second); r.Host != first {
		b.t.Errorf("after the end of the drain it did not go to %s but to %s", first, r.Host)
	}
	b.whole()
}

// deleteOther deletes a second service and gives its address to a third.
func deleteOther(b *bench) {
	const address = "10.77.0.140"
	b.ready(b.cell.Apply(b.t.Context(), cell.WebService("other", address+"/24", address+":80")))
	b.await("the other service", func(s cell.Status) bool { return s.Service("other").State == "running" })
	asked, err := b.lab.Host(client).ProbeHTTP(b.t.Context(), probe.HTTP{URL: "http://" + address + "/"})
	b.ready(err)
	time.Sleep(500 * time.Millisecond)
	b.t.Log(b.keelson(b.nodes[0], "delete", "other", "--yes"))
	deleted := boot()
	time.Sleep(time.Second)
	all, err := asked.Stop(b.t.Context())
	b.ready(err)
	if !slices.ContainsFunc(all, func(r probe.HTTPResult) bool { return r.OK }) {
		b.t.Error("it never answered")
	}
	for _, r := range all {
		if r.OK && r.Sent > deleted {
			b.t.Errorf("it answered %s after it was deleted", r.Sent-deleted)
			break
		}
	}
	for _, h := range b.nodes {
		if out := b.run(h, "cat /proc/net/fib_trie"); strings.Contains(out, address) {
			b.t.Errorf("%s has the address still: %s", h, out)
		}
	}
	r, err := b.cell.Keelson(b.t.Context(), b.nodes[0], "get", "service", "other")
	b.ready(err)
	if r.Exit.Code != 1 {
		b.t.Errorf("get of a deleted service ends with %d: %s", r.Exit.Code, r.Stdout)
	}
	b.ready(b.cell.Apply(b.t.Context(), cell.WebService("third", address+"/24", address+":80")))
	b.await("a service with the same address", func(s cell.Status) bool { return s.Service("third").State == "running" })
}
