//go:build integration

package test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// TestProcessesOfANode ends one process after the other on the node that
// serves. Its host goes on.
func TestProcessesOfANode(t *testing.T) {
	b := newBench(t, 3)
	b.step("an agent that is killed and comes back leaves the service alone", func(b *bench) {
		b.leftAlone(func(node string) {
			b.endAgent(node, syscall.SIGKILL)
			time.Sleep(3 * time.Second)
			b.ready(b.cell.StartAgent(b.t.Context(), node))
		})
	})
	b.step("an agent that is upgraded leaves the service alone", func(b *bench) {
		b.leftAlone(func(node string) {
			b.endAgent(node, syscall.SIGTERM)
			b.ready(b.cell.StartAgent(b.t.Context(), node))
		})
	})
	b.step("a guard that is killed is started again, and the service comes back", func(b *bench) {
		was := b.answered(boot())
		old := b.guardOn(was.Host)
		fault := boot()
		b.signal(was.Host, syscall.SIGKILL, old)
		now := b.answeredBy(fault, "an answer under a later epoch", func(r probe.HTTPResult) bool { return r.Epoch > was.Epoch })
		b.whole()
		b.report(fault)
		if p := b.guardOn(was.Host); p.pid == old.pid {
			b.t.Errorf("the guard of %s still is process %d", was.Host, p.pid)
		}
		b.webOn(now.Host)
	})
	b.step("without agent and guard the kernel takes the address off the program", func(b *bench) {
		was := b.holder()
		left := b.webOn(was)
		agent := b.cell.Agent(was)
		fault := boot()
		b.signal(was, syscall.SIGKILL, b.guardOn(was), program{pid: agent.PID()})
		b.movedFrom(fault, was)
		if now := b.webOn(was); now.pid != left.pid {
			b.t.Errorf("the program did not go on: it was process %d and is %d", left.pid, now.pid)
		}
		time.Sleep(time.Second)
		b.agentEnds(was, agent)
		b.ready(b.cell.StartAgent(b.t.Context(), was))
		b.whole()
		if on := b.holder(); on != was && len(b.served(was)) != 0 {
			b.t.Errorf("%s serves, and the program on %s was left running", on, was)
		}
	})
	b.step("an agent that stays away loses the service to another node", func(b *bench) {
		b.ready(b.cell.Apply(b.t.Context(), cell.WebService(web, webIP+"/24", webIP+":80")+"failover: {agent_loss: 3s}\n"))
		b.patience = settled
		was := b.holder()
		fault := boot()
		b.endAgent(was, syscall.SIGKILL)
		now := b.movedFrom(fault, was)
		b.gone(was)
		b.ready(b.cell.StartAgent(b.t.Context(), was))
		b.whole()
		b.stays(now)
	})
	b.step("a program that is killed is restarted on the spot, and moves when it is killed again and again", killAgainAndAgain)
}

// programKilled kills the program that serves, waits until another serves in its
// place, reports the outage and returns the first answer.
func (b *bench) programKilled() probe.HTTPResult {
	b.t.Helper()
	host := b.holder()
	old := b.webOn(host)
	fault := boot()
	b.signal(host, syscall.SIGKILL, old)
	for until := boot() + overdue; ; time.Sleep(20 * time.Millisecond) {
		for _, h := range b.nodes {
			if on := b.served(h); len(on) == 1 && (h != host || on[0].pid != old.pid) {
				now := b.answered(boot())
				time.Sleep(300 * time.Millisecond)
				b.report(fault)
				return now
			}
		}
		if boot() > until {
			b.t.Fatalf("nobody serves %s after the program of %s was killed\n%s", overdue, host, b.opinions())
		}
	}
}

// TestAgentThatStandsStillForAWhile stops the agent of the node that serves for
// parts of a lease, and for several. The guard renews the lease meanwhile, and
// what the agent knew of its end when it goes on is old.
func TestAgentThatStandsStillForAWhile(t *testing.T) {
	b := newBench(t, 3)
	b.ready(b.cell.Apply(t.Context(), cell.WebService(web, webIP+"/24", webIP+":80")+"failover: {ttl: 300ms}\n"))
	for _, pause := range []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second} {
		b.step("an agent that stands still for "+pause.String()+" leaves the service alone", func(b *bench) {
			b.leftAlone(func(node string) {
				agent := b.cell.Agent(node)
				for range standstills {
					b.ready(agent.Signal(b.t.Context(), syscall.SIGSTOP))
					time.Sleep(pause)
					b.ready(agent.Signal(b.t.Context(), syscall.SIGCONT))
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// standstills are how often an agent is stopped: whether it matters depends on the
// moment.
const standstills = 5

// leftAlone does something to the agent of the node that serves, and fails if
// a client, or the program, could tell.
func (b *bench) leftAlone(f func(node string)) {
	b.t.Helper()
	was := b.answered(boot())
	program := b.webOn(was.Host)
	from := boot()
	f(was.Host)
	b.whole()
	time.Sleep(time.Second)
	now := b.answered(boot())
	if now.Host != was.Host || now.Epoch != was.Epoch {
		b.t.Errorf("%s served under epoch %d, now it is %s under %d", was.Host, was.Epoch, now.Host, now.Epoch)
	}
	if p := b.webOn(was.Host); p.pid != program.pid {
		b.t.Errorf("the program was process %d, now it is %d", program.pid, p.pid)
	}
	asked := slices.DeleteFunc(slices.Clone(b.http.Since(0)), func(r probe.HTTPResult) bool { return r.Sent < from })
	failed, late := 0, []probe.HTTPResult(nil)
	for _, r := range asked {
		switch {
		case r.Late:
			late = append(late, r)
		case !r.OK:
			failed++
			b.t.Errorf("a request failed after %s, %s after the agent was ended: %s", (r.Done - r.Sent).Round(time.Millisecond), (r.Sent - from).Round(time.Millisecond), r.Err)
		}
	}
	// The machine stands still now and then; nothing that is tried here does that
	// to a program, and what is tried takes connections away, or the program.
	if len(late) > 0 && late[len(late)-1].Done-late[0].Sent > machineStall {
		b.t.Errorf("answers of the program were late for %s", late[len(late)-1].Done-late[0].Sent)
	}
	b.t.Logf("%d of %d requests failed, %d were connected and not answered in %s", failed, len(asked), len(late), probe.DefaultTimeout)
}

// machineStall is how long a machine that many tests share may keep a program
// from answering.
const machineStall = time.Second

// killAgainAndAgain kills the program until the node gives up.
func killAgainAndAgain(b *bench) {
	was := b.answered(boot())
	const restarts = 3 // the default
	for n := 1; n <= restarts; n++ {
		if now := b.programKilled(); now.Host != was.Host || now.Epoch != was.Epoch {
			b.t.Fatalf("after kill %d it went from %s, epoch %d, to %s, epoch %d", n, was.Host, was.Epoch, now.Host, now.Epoch)
		}
	}
	if now := b.programKilled(); now.Host == was.Host || now.Epoch <= was.Epoch {
		b.t.Errorf("after kill %d it still is on %s, epoch %d", restarts+1, now.Host, now.Epoch)
	}
	b.whole()
}
