//go:build integration

package test

import (
	"testing"
	"time"
)

func TestHostKilled(t *testing.T) {
	b := newBench(t, 3)
	was := b.holder()
	fault := boot()
	b.ready(b.lab.Host(was).Kill(t.Context()))
	b.movedFrom(fault, was)
	b.ready(b.cell.Boot(t.Context(), was))
	b.whole()
	b.neverTwo()
}

func TestCableCut(t *testing.T) {
	b := newBench(t, 3)
	was := b.holder()
	fault := boot()
	b.ready(b.lab.Host(was).Cut(t.Context()))
	b.movedFrom(fault, was)
	time.Sleep(2 * time.Second)
	b.ready(b.lab.Host(was).Heal(t.Context()))
	b.whole()
	b.neverTwo()
}

func TestHostFrozenAndThawed(t *testing.T) {
	b := newBench(t, 3)
	was := b.holder()
	fault := boot()
	b.ready(b.lab.Host(was).Freeze(t.Context()))
	b.movedFrom(fault, was)
	time.Sleep(2 * time.Second)
	b.ready(b.lab.Host(was).Thaw(t.Context()))
	b.whole()
	time.Sleep(time.Second)
	b.neverTwo()
}
