//go:build integration

package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/cell"
)

// TestMembersComeAndGo changes who is in the cell, in four hosts of which
// three vote.
func TestMembersComeAndGo(t *testing.T) {
	l := raise(t, 4, 1)
	b := benchOf(t, l, form(t, l, 4, cell.Options{InitFlags: []string{"--replace-voter-after", "15s"}}), 4)
	b.step("a voter that stays away is replaced by itself", func(b *bench) {
		was := b.answered(boot())
		voters := votersOf(b.status())
		lost := slices.DeleteFunc(slices.Clone(voters), func(n string) bool { return n == was.Host })[0]
		fresh := b.others(voters...)[0]
		from := boot()
		b.ready(b.lab.Host(lost).Kill(b.t.Context()))
		b.await(fresh+" to vote for "+lost, func(s cell.Status) bool {
			now := votersOf(s)
			return len(now) == 3 && slices.Contains(now, fresh) && !slices.Contains(now, lost)
		})
		b.t.Logf("%s voted in place of %s after %s", fresh, lost, (boot() - from).Round(time.Second))
		b.ready(b.cell.Boot(b.t.Context(), lost))
		b.whole()
		b.stays(was)
	})
	b.step("a voter leaves, with the service on it", func(b *bench) {
		was := b.holder()
		if !slices.Contains(votersOf(b.status()), was) {
			was = votersOf(b.status())[0]
			b.keelson(was, "move", b.service, was)
		}
		fault := boot()
		b.t.Log(b.keelson(was, "leave", "--yes"))
		now := b.movedFrom(fault, was)
		b.ended(was, 0)
		b.gone(was)
		b.nodes = b.others(was)
		b.whole()
		b.stays(now)
		if left := b.programs(was, cell.Program); len(left) > 0 {
			b.t.Errorf("%s has left, and there still runs %v", was, left)
		}
	})
	b.step("it joins again, as a new node", func(b *bench) {
		was := b.answered(boot())
		again := slices.DeleteFunc(names(4), func(n string) bool { return slices.Contains(b.nodes, n) })[0]
		b.join(again)
		b.whole()
		b.stays(was)
	})
	b.step("a lost node is removed, and a new host takes its name", func(b *bench) {
		was := b.answered(boot())
		lost := b.loseVoter(was.Host)
		b.t.Log(b.keelson(was.Host, "node", "remove", lost, "--force", "--yes"))
		b.nodes = b.others(lost)
		b.whole()
		b.ready(b.lab.Host(lost).Boot(b.t.Context()))
		b.run(lost, "rm -rf /var/lib/keelson")
		b.join(lost)
		b.whole()
		b.stays(was)
	})
	b.step("a removed node that comes back is not let in", func(b *bench) {
		was := b.answered(boot())
		lost := b.loseVoter(was.Host)
		b.keelson(was.Host, "node", "remove", lost, "--force", "--yes")
		b.nodes = b.others(lost)
		b.ready(b.cell.Boot(b.t.Context(), lost))
		b.whole()
		b.stays(was)
	})
}

// loseVoter kills a voter, but not this node, and waits until it is lost.
func (b *bench) loseVoter(not string) string {
	b.t.Helper()
	lost := slices.DeleteFunc(votersOf(b.status()), func(n string) bool { return n == not })[0]
	b.ready(b.lab.Host(lost).Kill(b.t.Context()))
	b.await(lost+" to be lost", func(s cell.Status) bool {
		return slices.ContainsFunc(s.Nodes, func(n cell.Node) bool { return n.Name == lost && n.Liveness == "lost" })
	})
	return lost
}

// status is what the cell says now.
func (b *bench) status() cell.Status {
	b.t.Helper()
	return b.await("an answer", func(cell.Status) bool { return true })
}

// ended waits for the end of a node's agent by itself.
func (b *bench) ended(node string, code int) {
	b.t.Helper()
	agent := b.cell.Agent(node)
	select {
	case <-agent.Done():
	case <-time.After(overdue):
		b.t.Fatalf("the agent of %s did not end within %s", node, overdue)
	}
	if exit, err := agent.Wait(b.t.Context()); err != nil || exit.Code != code {
		b.t.Errorf("the agent of %s ended with %+v (%v), want status %d", node, exit, err, code)
	}
}

// join makes a host a node of the cell, as an operator does.
func (b *bench) join(host string, flags ...string) string {
	b.t.Helper()
	via := b.nodes[0]
	var made struct {
		Token string `json:"token"`
	}
	b.decode(b.keelson(via, "token", "create", "-o", "json"), &made)
	h := b.lab.Host(host)
	said := b.keelson(host, slices.Concat([]string{
		"join", b.lab.Host(via).Address(1), "--token", made.Token, "--name", host, "--address", h.Address(1), "--no-start",
	}, flags)...)
	b.ready(b.cell.StartAgent(b.t.Context(), host))
	b.nodes = append(b.nodes, host)
	slices.Sort(b.nodes)
	return said
}

// run runs a line of shell on a host.
func (b *bench) run(host, line string) string {
	b.t.Helper()
	out, code, err := b.lab.Host(host).Run(b.t.Context(), "/bin/sh", "-c", line)
	b.ready(err)
	if code != 0 {
		b.t.Fatalf("%s on %s: status %d: %s", line, host, code, out)
	}
	return strings.TrimSpace(string(out))
}
