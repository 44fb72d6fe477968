//go:build integration

package test

import (
	"syscall"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/cell"
)

// TestGuardLooksAfterItselfAndItsAgent stops the processes of the node that
// serves, one after the other, without ending them: what is stopped cannot let
// go of anything.
func TestGuardLooksAfterItselfAndItsAgent(t *testing.T) {
	b := newBench(t, 3)
	b.step("an agent that stands still loses the service, and what it runs, by its guard", func(b *bench) {
		b.ready(b.cell.Apply(b.t.Context(), cell.WebService(web, webIP+"/24", webIP+":80")+"failover: {agent_loss: 3s}\n"))
		b.patience = settled
		was := b.answered(boot())
		agent := b.cell.Agent(was.Host)
		fault := boot()
		b.ready(agent.Signal(b.t.Context(), syscall.SIGSTOP))
		b.gone(was.Host) // by the guard, for the agent cannot
		b.t.Logf("the program was ended %s after the agent stood still; the service asked for 3 s", boot()-fault)
		now := b.movedFrom(fault, was.Host)
		if now.Epoch <= was.Epoch {
			b.t.Errorf("epoch %d after %d", now.Epoch, was.Epoch)
		}
		b.ready(agent.Signal(b.t.Context(), syscall.SIGCONT))
		b.whole()
		b.stays(now)
	})
	b.step("a guard that stands still loses the address by the kernel, and lets go of all when it goes on", func(b *bench) {
		b.patience = settled
		was := b.answered(boot())
		guard := b.guardOn(was.Host)
		fault := boot()
		b.signal(was.Host, syscall.SIGSTOP, guard)
		now := b.movedFrom(fault, was.Host)
		time.Sleep(2 * time.Second)
		b.signal(was.Host, syscall.SIGCONT, guard)
		b.gone(was.Host)
		b.whole()
		b.stays(now)
		if p := b.guardOn(was.Host); p.pid != guard.pid {
			b.t.Errorf("the guard was process %d and is %d", guard.pid, p.pid)
		}
	})
}
