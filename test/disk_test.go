//go:build integration

package test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// dataDisk has the data directory.
const dataDisk = "/var"

// shortLoss is the agent_loss of the service meanwhile: how long it goes on without
// an agent.
const shortLoss = 4 * time.Second

// TestFullDisks fills the disks under the data directories of voters.
func TestFullDisks(t *testing.T) {
	b := newBench(t, 3)
	fullDisk(b)
}

// fullDisk fills the disk of the host that serves, and leads the store.
func fullDisk(b *bench) {
	b.step("the disk of the host that serves, and leads the store, is full", func(b *bench) {
		leader := b.leader()
		if b.holder() != leader {
			b.keelson(leader, "move", web, leader)
			b.answeredBy(boot(), "an answer of "+leader, func(r probe.HTTPResult) bool { return r.Host == leader })
		}
		b.diskOf(leader)
	})
}

// diskOf fills the disk of the voter that serves, has the cell write until the
// store there notices, ends the program, and makes room again. The agent is
// started again whenever it ends, as service managers do.
func (b *bench) diskOf(node string) {
	b.t.Helper()
	b.ready(b.cell.Apply(b.t.Context(), cell.WebService(web, webIP+"/24", webIP+":80")+"failover: {agent_loss: "+shortLoss.String()+"}\n"))
	b.whole()
	was := b.answered(boot())
	host := b.lab.Host(node)
	via := append(b.others(node), node)[0]
	specs, agent := b.specs(), b.cell.Agent(node)
	defer b.managed(node)()
	fault := boot()
	b.ready(host.DiskFull(b.t.Context(), dataDisk))
	turn := b.fillUntil(node, via)
	b.t.Logf("%s after the disk was full, and %d changes: %q", (boot() - fault).Round(time.Millisecond), turn, b.problems(via))
	b.logged(node, "disk under /var/lib/keelson/etcd is full", "make room")
	select {
	case <-agent.Done(): // its store cannot be mended in its process
		b.t.Log("the agent ended, and is started again")
	case <-time.After(overdue):
	}
	time.Sleep(2 * shortLoss)
	if s, err := b.cell.Status(b.t.Context(), via); err != nil || !saysDisk(s, node, storeFull) {
		b.t.Errorf("the new agent of %s does not say why it has no store: %s (%v)", node, s, err)
	}
	b.stays(was)
	b.report(fault)
	if now := b.programKilled(); now.Host != node || now.Epoch != was.Epoch {
		b.t.Errorf("the program was killed on %s, epoch %d, and now it is on %s, epoch %d", node, was.Epoch, now.Host, now.Epoch)
	}
	b.ready(host.DiskFree(b.t.Context(), dataDisk))
	free := boot()
	b.await("the store there to be back", func(s cell.Status) bool {
		return s.Whole(b.nodes) && voters(s) == wantVoters(len(b.nodes)) && !saysDisk(s, node, storeFull, knownFull)
	}, node)
	b.t.Logf("whole again %s after there was room", (boot() - free).Round(time.Millisecond))
	if got := b.turn(); got < turn {
		b.t.Errorf("change %d was taken, and change %d is kept", turn, got)
	}
	now := b.specs()
	for name, spec := range specs {
		if strings.HasPrefix(name, "bulky") {
			continue
		}
		if diff := cmp.Diff(spec, now[name]); diff != "" {
			b.t.Errorf("%s has changed (-before +after):\n%s", name, diff)
		}
	}
	b.stays(b.answered(boot()))
}

// How a node says that the disk of its data is full: of what only voters have, and
// of what every node knows of the cell, which it notices sooner.
const (
	storeFull = "the disk under /var/lib/keelson/etcd is full"
	knownFull = "the disk under /var/lib/keelson is full"
)

// saysDisk reports whether the cell says one of these of a node.
func saysDisk(s cell.Status, node string, full ...string) bool {
	return slices.ContainsFunc(s.Problems, func(p string) bool {
		return strings.Contains(p, node) && slices.ContainsFunc(full, func(f string) bool { return strings.Contains(p, f) })
	})
}

// fillUntil applies changes of many bytes through a node until that says that the
// disk under the store of another, or its own, is full. It returns which change was taken last.
func (b *bench) fillUntil(node, via string) (last int) {
	b.t.Helper()
	for turn, until := 1, boot()+settled; ; turn++ {
		r, err := b.lab.Host(via).Exec(b.t.Context(), lab.Command{Args: []string{cell.Program, "apply", "-f", "-"}, Stdin: strings.NewReader(bulky(turn))})
		b.ready(err)
		if r.Exit.Code == 0 {
			last = turn
		}
		s, err := b.cell.Status(b.t.Context(), via)
		if err == nil && saysDisk(s, node, storeFull) {
			return last
		}
		if boot() > until {
			b.t.Fatalf("waited %s in vain for %s to say that the disk of %s is full: %s (%v); the last change: %s", settled, via, node, s, err, r.Stderr)
		}
	}
}

// turn is which change of fillUntil is kept.
func (b *bench) turn() int {
	b.t.Helper()
	m := regexp.MustCompile(`BULK_0\W+(\d+)x`).FindStringSubmatch(b.spec("bulky0"))
	if m == nil {
		b.t.Fatal("the bulky service is lost")
	}
	n, err := strconv.Atoi(m[1])
	b.ready(err)
	return n
}

// bulky are services that run nowhere, with much in their specs.
func bulky(turn int) string {
	var out []string
	for n := range 24 {
		env := ""
		for k := range 36 {
			env += fmt.Sprintf("        BULK_%d: %q\n", k, fmt.Sprint(turn)+strings.Repeat("x", 1000))
		}
		out = append(out, fmt.Sprintf("kind: service\nname: bulky%d\nstopped: true\nparts:\n  - exec:\n      command: [/bin/true]\n      env:\n%s", n, env))
	}
	return strings.Join(out, "---\n")
}

// logged fails unless the log of a node's agent has the words.
func (b *bench) logged(node string, words ...string) {
	b.t.Helper()
	text, err := os.ReadFile(b.cell.LogFile(node))
	b.ready(err)
	for _, w := range words {
		if !strings.Contains(string(text), w) {
			b.t.Errorf("the log of %s does not say %q", node, w)
		}
	}
}

// managed starts the agent of a node whenever it has ended, until the returned
// function is called.
func (b *bench) managed(node string) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := b.cell.StartAgent(ctx, node); err != nil && ctx.Err() == nil {
				b.t.Errorf("the agent of %s is not started again: %v", node, err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	return func() { cancel(); <-ended }
}

func (b *bench) problems(via string) []string {
	b.t.Helper()
	s, err := b.cell.Status(b.t.Context(), via)
	b.ready(err)
	return s.Problems
}
