//go:build integration

package test

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAnAgentThatIsShortOfProcessorEndsNothing keeps the whole machine busy beside
// a cell. Its guards go before all that; its agents do not, and what the guards say
// of renewed leases is read late.
func TestAnAgentThatIsShortOfProcessorEndsNothing(t *testing.T) {
	const (
		loops   = 8
		busyFor = 20 * time.Second
	)
	b := newBench(t, 3)
	b.step("beside loops that never wait", func(b *bench) {
		b.patience = settled
		began := boot()
		was := b.answered(began)
		program := b.webOn(was.Host)
		cuts := b.cuts()
		if nice := strings.Fields(b.run(was.Host, "cut -d' ' -f19 /proc/"+strconv.Itoa(program.pid)+"/stat")); len(nice) != 1 || nice[0] != "0" {
			b.t.Errorf("the program has the nice value %v, not 0", nice)
		}

		ctx, cancel := context.WithTimeout(b.t.Context(), busyFor)
		defer cancel()
		var all []*exec.Cmd
		for range loops {
			c := exec.CommandContext(ctx, "/bin/sh", "-c", "while :; do :; done")
			// A session of its own is a claim of its own where the kernel shares
			// the processor among sessions.
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			b.ready(c.Start())
			all = append(all, c)
		}
		for _, c := range all {
			_ = c.Wait() // it is killed when the time is over
		}

		now := b.answered(boot())
		if now.Host != was.Host || now.Epoch != was.Epoch {
			b.t.Errorf("served by %s with epoch %d, and then by %s with epoch %d", was.Host, was.Epoch, now.Host, now.Epoch)
		} else if p := b.webOn(was.Host); p.pid != program.pid {
			b.t.Errorf("the program was process %d and is %d", program.pid, p.pid)
		}
		b.whole()
		if n := b.cuts(); n != cuts {
			b.t.Errorf("%d events tell of a service that was cut, and %d before", n, cuts)
		}
	})
}

// cuts is how many events tell that a service was stopped by force.
func (b *bench) cuts() int {
	b.t.Helper()
	n := 0
	for _, e := range b.events(b.nodes[0]) {
		if strings.Contains(e, `"service-cut"`) {
			n++
		}
	}
	return n
}
