//go:build integration

package test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
)

// dataDisk has the data directory.
const dataDisk = "/var"

// TestFullDisks fills the disks under the data directories of voters.
func TestFullDisks(t *testing.T) {
	b := newBench(t, 3)
	b.step("of the host that serves", func(b *bench) { b.diskOf(b.holder()) })
	b.step("of the host that leads the store", func(b *bench) { b.diskOf(b.leader()) })
}

// diskOf fills the disk of a voter, has the cell write until the store there
// notices, restarts the program if it is there, and makes room again.
func (b *bench) diskOf(node string) {
	b.t.Helper()
	was := b.answered(boot())
	host := b.lab.Host(node)
	b.ready(host.DiskFull(b.t.Context(), dataDisk))
	fault := boot()
	b.changesUntil("the cell to say that a disk is full", func(s cell.Status) bool {
		return saysDisk(s, node)
	}, b.others(node)...)
	b.t.Logf("%s after the disk was full: %q", (boot() - fault).Round(time.Millisecond), b.status().Problems)
	b.logged(node, "disk under /var/lib/keelson/etcd is full", "make room")
	b.stays(was)
	specs := b.specs()
	b.ready(host.DiskFree(b.t.Context(), dataDisk))
	free := boot()
	b.keptUp(node, "the store there to be back", func(s cell.Status) bool {
		return s.Whole(b.nodes) && voters(s) == wantVoters(len(b.nodes)) && !saysDisk(s, node)
	})
	b.t.Logf("whole again %s after there was room", (boot() - free).Round(time.Millisecond))
	if diff := cmp.Diff(specs, b.specs()); diff != "" {
		b.t.Errorf("what was applied has changed (-before +after):\n%s", diff)
	}
	b.stays(was)
}

// saysDisk reports whether the cell says that the disk of a node is full.
func saysDisk(s cell.Status, node string) bool {
	return slices.ContainsFunc(s.Problems, func(p string) bool {
		return strings.Contains(p, node) && strings.Contains(p, "the disk under /var/lib/keelson/etcd is full")
	})
}

// changesUntil applies a change of many bytes again and again, until the cell
// says something of itself.
func (b *bench) changesUntil(what string, so func(cell.Status) bool, via ...string) {
	b.t.Helper()
	for n, until := 0, boot()+settled; ; n++ {
		r, err := b.lab.Host(via[0]).Exec(b.t.Context(), lab.Command{Args: []string{cell.Program, "apply", "-f", "-"}, Stdin: strings.NewReader(bulky(n))})
		b.ready(err)
		s, err := b.cell.Status(b.t.Context(), via[0])
		if err == nil && so(s) {
			return
		}
		if boot() > until {
			b.t.Fatalf("waited %s for %s in vain: %s; the last change: %s", settled, what, s, r.Stderr)
		}
	}
}

// bulky are services that run nowhere, with much in their specs.
func bulky(turn int) string {
	var out []string
	for n := range 20 {
		env := ""
		for k := range 20 {
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

// keptUp starts the agent of a node whenever it has ended, as a service manager
// does, until the cell says something of itself.
func (b *bench) keptUp(node, what string, so func(cell.Status) bool) {
	b.t.Helper()
	for until := boot() + settled; ; time.Sleep(200 * time.Millisecond) {
		b.ready(b.cell.StartAgent(b.t.Context(), node))
		s, err := b.cell.Status(b.t.Context(), node)
		if err == nil && so(s) {
			return
		}
		if boot() > until {
			b.t.Fatalf("waited %s for %s in vain: %s (%v)", settled, what, s, err)
		}
	}
}
