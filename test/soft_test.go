//go:build integration

package test

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// TestSoftServiceAfterItsSuccessorWasCutOff takes the host of a service that is
// not exclusive away, a moment after the next in line was cut off from all others
// for longer than any timeout: what it did not hear then must not make it slow now.
func TestSoftServiceAfterItsSuccessorWasCutOff(t *testing.T) {
	b := newBench(t, 3, secondClient)
	b.ready(b.cell.Apply(t.Context(), cell.WebService(web, webIP+"/24", webIP+":80")+"exclusive: false\n"))
	b.step("its host is killed", func(b *bench) {
		b.cutSuccessor()
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Kill(b.t.Context()))
		now := b.movedFrom(fault, was)
		b.within(fault, 5*300*time.Millisecond)
		b.ready(b.cell.Boot(b.t.Context(), was))
		b.whole()
		b.stays(now)
	})
	b.step("its host is frozen, and its kernel goes on answering", func(b *bench) {
		b.cutSuccessor()
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Freeze(b.t.Context()))
		now := b.movedFrom(fault, was)
		b.within(fault, 5*700*time.Millisecond)
		time.Sleep(2 * time.Second)
		b.ready(b.lab.Host(was).Thaw(b.t.Context()))
		b.whole()
		b.stays(now)
	})
}

// cutSuccessor takes the next in line off the network for a while.
func (b *bench) cutSuccessor() {
	b.t.Helper()
	s := b.await("a succession", func(s cell.Status) bool { return len(s.Service(b.service).Successors) > 1 })
	next := b.lab.Host(s.Service(b.service).Successors[0])
	b.ready(next.Cut(b.t.Context()))
	time.Sleep(2 * time.Second)
	b.ready(next.Heal(b.t.Context()))
	b.whole()
	time.Sleep(3 * time.Second) // until all plans are written and all leases are renewed in peace
}

// within fails if the service was away for longer than limit, and says how long
// it was.
func (b *bench) within(fault, limit time.Duration) {
	b.t.Helper()
	worst, ok := probe.Worst(b.http.Since(0), fault)
	if !ok {
		b.t.Error("the clients saw no outage")
		return
	}
	b.t.Logf("away for %s; the limit is %s", worst.Duration(), limit)
	if worst.Duration() > limit {
		b.t.Errorf("away for %s, the limit is %s", worst.Duration(), limit)
	}
}
