//go:build integration

package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// TestSmallCells lets a cell grow from one node to two and a witness.
func TestSmallCells(t *testing.T) {
	l := raise(t, 3, 1)
	b := benchOf(t, l, form(t, l, 1, cell.Options{}), 1)
	b.step("one node alone restarts what dies", func(b *bench) {
		was := b.answered(boot())
		now := b.programKilled()
		if now.Epoch != was.Epoch {
			b.t.Errorf("the lease changed hands without need: epoch %d, then %d", was.Epoch, now.Epoch)
		}
		b.stays(now)
	})
	b.step("one node alone comes back after a loss of power", func(b *bench) {
		was := b.answered(boot())
		fault := boot()
		b.ready(b.lab.Host("h1").Kill(b.t.Context()))
		b.ready(b.cell.Boot(b.t.Context(), "h1"))
		now := b.answeredBy(fault, "an answer under a later epoch", func(r probe.HTTPResult) bool { return r.Epoch > was.Epoch })
		b.whole()
		b.report(fault)
		b.stays(now)
	})
	b.step("one node alone serves on while its disk is full", func(b *bench) { b.diskOf("h1") })
	b.step("two nodes are told that they need a witness", func(b *bench) {
		was := b.answered(boot())
		if said := b.join("h2"); !strings.Contains(said, "witness") {
			b.t.Errorf("join said nothing of a witness: %s", said)
		}
		b.whole()
		b.await("the advice", func(s cell.Status) bool {
			return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "witness") })
		})
		b.stays(was)
		b.t.Log(b.keelson("h1", "move", web, "h2"))
		b.answeredBy(boot(), "an answer of h2", func(r probe.HTTPResult) bool { return r.Host == "h2" })
	})
	b.step("a witness votes", func(b *bench) {
		b.join("h3", "--witness")
		b.whole()
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Kill(b.t.Context()))
		now := b.movedFrom(fault, was)
		b.ready(b.cell.Boot(b.t.Context(), was))
		b.whole()
		b.stays(now)
	})
	b.step("a witness runs nothing", func(b *bench) {
		was := b.answered(boot())
		other := b.others(was.Host, "h3")[0]
		r, err := b.cell.Keelson(b.t.Context(), "h3", "move", web, "h3")
		b.ready(err)
		if r.Exit.Code != 1 {
			b.t.Errorf("a move to the witness ends with status %d: %s%s", r.Exit.Code, r.Stdout, r.Stderr)
		}
		b.ready(b.lab.Host(other).Kill(b.t.Context()))
		b.stays(was)
		b.ready(b.lab.Host(was.Host).Kill(b.t.Context()))
		b.ready(b.cell.Boot(b.t.Context(), other))
		b.answeredBy(boot(), "an answer of "+other, func(r probe.HTTPResult) bool { return r.Host == other })
		if on := b.served("h3"); len(on) > 0 {
			b.t.Errorf("the witness runs %v", on)
		}
		b.ready(b.cell.Boot(b.t.Context(), was.Host))
		b.whole()
	})
}
