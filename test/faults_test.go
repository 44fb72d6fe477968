//go:build integration

package test

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

func TestOneHostOfThree(t *testing.T) {
	b := newBench(t, 3, secondClient)
	b.step("is killed", func(b *bench) {
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Kill(b.t.Context()))
		now := b.movedFrom(fault, was)
		b.ready(b.cell.Boot(b.t.Context(), was))
		b.whole()
		b.stays(now)
	})
	b.step("is killed while it leads the store too", func(b *bench) {
		leader := b.leader()
		if b.holder() != leader {
			b.t.Log(b.keelson(leader, "move", web, leader))
			b.answeredBy(boot(), "an answer of "+leader, func(r probe.HTTPResult) bool { return r.Host == leader })
		}
		b.whole()
		fault := boot()
		b.ready(b.lab.Host(leader).Kill(b.t.Context()))
		now := b.movedFrom(fault, leader)
		b.ready(b.cell.Boot(b.t.Context(), leader))
		b.whole()
		b.stays(now)
	})
	b.step("loses its cable", func(b *bench) {
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Cut(b.t.Context()))
		now := b.movedFrom(fault, was)
		b.gone(was)
		b.ready(b.lab.Host(was).Heal(b.t.Context()))
		b.whole()
		b.stays(now)
	})
	b.step("is divided from the others, with the service", func(b *bench) {
		b.partition(b.holder())
	})
	b.step("is divided from the others, without the service", func(b *bench) {
		was := b.answered(boot())
		alone := b.others(was.Host)[1]
		fault := boot()
		b.ready(b.lab.Partition(b.t.Context(), []string{alone}, b.others(alone)))
		b.stays(was)
		time.Sleep(2 * time.Second)
		b.report(fault)
		b.ready(b.lab.HealAll(b.t.Context()))
		b.whole()
		b.stays(was)
	})
	b.step("is frozen and thawed", func(b *bench) {
		was := b.holder()
		fault := boot()
		b.ready(b.lab.Host(was).Freeze(b.t.Context()))
		now := b.movedFrom(fault, was)
		time.Sleep(2 * time.Second)
		b.ready(b.lab.Host(was).Thaw(b.t.Context()))
		b.whole()
		b.stays(now)
	})
}

func TestTwoHostsOfFiveKilledAtOnce(t *testing.T) {
	b := newBench(t, 5, secondClient)
	b.step("one of them serves and the other is next in line", func(b *bench) {
		was := b.holder()
		next := b.await("a succession", func(s cell.Status) bool { return len(s.Service(web).Successors) > 1 }).Service(web).Successors[0]
		fault := boot()
		b.power("kill", was, next)
		now := b.movedFrom(fault, was, next)
		b.power("boot", was, next)
		b.whole()
		b.stays(now)
	})
	b.step("a partition of two and three with the service among the two", func(b *bench) {
		was := b.holder()
		b.partition(was, b.others(was)[0])
	})
}
