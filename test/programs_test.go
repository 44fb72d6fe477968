//go:build integration

package test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
)

// program is a process of a host.
type program struct {
	pid  int
	args []string
}

// programs lists the processes of a host whose arguments begin so.
func (b *bench) programs(host string, args ...string) []program {
	b.t.Helper()
	const list = `for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr '\0' '\t' <$p/cmdline 2>/dev/null)"; done`
	out := b.run(host, list)
	var found []program
	for line := range strings.Lines(out) {
		number, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(number)
		words := strings.Split(strings.TrimRight(rest, "\t"), "\t")
		if err == nil && len(words) >= len(args) && slices.Equal(words[:len(args)], args) {
			found = append(found, program{pid, words})
		}
	}
	return found
}

// served lists the web programs of a host.
func (b *bench) served(host string) []program {
	b.t.Helper()
	return b.programs(host, lab.SelfPath, webIP+":80")
}

// theOne returns the only process of a host whose arguments begin so.
func (b *bench) theOne(host string, args ...string) program {
	b.t.Helper()
	found := b.programs(host, args...)
	if len(found) != 1 {
		b.t.Fatalf("%s has %d processes %q, not one: %v", host, len(found), args, found)
	}
	return found[0]
}

func (b *bench) webOn(host string) program {
	b.t.Helper()
	return b.theOne(host, lab.SelfPath, webIP+":80")
}

func (b *bench) guardOn(host string) program {
	b.t.Helper()
	return b.theOne(host, cell.Program, "guard")
}

// signal sends a signal to processes of a host, all at once.
func (b *bench) signal(host string, s syscall.Signal, all ...program) {
	b.t.Helper()
	line := "kill -" + strconv.Itoa(int(s))
	for _, p := range all {
		line += " " + strconv.Itoa(p.pid)
	}
	b.run(host, line)
}

// keelson runs a command on a node that must succeed, and returns its output.
func (b *bench) keelson(node string, args ...string) string {
	b.t.Helper()
	r, err := b.cell.Keelson(b.t.Context(), node, args...)
	b.ready(err)
	if r.Exit.Code != 0 {
		b.t.Fatalf("keelson %s on %s: status %d: %s", strings.Join(args, " "), node, r.Exit.Code, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}

// endAgent sends a signal to a node's agent and waits for its end.
func (b *bench) endAgent(node string, s syscall.Signal) {
	b.t.Helper()
	agent := b.cell.Agent(node)
	b.ready(agent.Signal(b.t.Context(), s))
	b.agentEnds(node, agent)
}

// agentEnds waits for the end of a node's agent that was told to end, and says what
// its process does if it does not come.
func (b *bench) agentEnds(node string, agent *lab.Process) {
	b.t.Helper()
	select {
	case <-agent.Done():
	case <-time.After(overdue):
		b.t.Fatalf("the agent of %s, process %d, did not end within %s:\n%s", node, agent.PID(), overdue,
			b.run(node, fmt.Sprintf("cat /proc/%d/status /proc/%d/wchan /proc/%d/stack 2>&1; true", agent.PID(), agent.PID(), agent.PID())))
	}
}
