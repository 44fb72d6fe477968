//go:build integration

package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
)

// nextProgram is a keelson of another version, within the hosts.
const nextProgram = lab.BinDir + "/keelson-next"

// buildNext builds it.
func buildNext(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keelson-next")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=next", "-o", path, "github.com/keelson/keelson/cmd/keelson")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build another version: %v\n%s", err, out)
	}
	return path
}

// TestGuardsOfACellAreUpgraded replaces one agent after the other by one of
// another version, while a client asks the service every 5 ms.
func TestGuardsOfACellAreUpgraded(t *testing.T) {
	path, next := binary(t), buildNext(t)
	ctx, cancel := context.WithTimeout(t.Context(), settled)
	defer cancel()
	l, err := lab.New(ctx, lab.Options{
		Hosts:  slices.Concat(names(3), []string{client}),
		Shares: []lab.Share{cell.Share(path), {Source: next, Target: nextProgram}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	b := benchOf(t, l, form(t, l, 3, cell.Options{}), 3)
	b.step("a new agent has its guard become the new version, and nobody can tell", func(b *bench) {
		serves := b.holder()
		for _, node := range append(b.others(serves), serves) {
			b.leftAlone(func(string) { b.upgrade(node) })
		}
		for _, e := range b.happened("node-suspect", "node-lost", "guard-lost", "lease-lost", "quorum-lost") {
			b.t.Errorf("%s", e)
		}
	})
	b.step("a guard that gets SIGHUP becomes the program in its file", func(b *bench) {
		b.leftAlone(func(node string) {
			old := b.theOne(node, nextProgram, "guard")
			before := len(b.happened("guard-upgraded"))
			b.signal(node, syscall.SIGHUP, old)
			b.eventually("an event", func() bool { return len(b.happened("guard-upgraded")) > before })
			if now := b.theOne(node, nextProgram, "guard"); now.pid != old.pid {
				b.t.Errorf("the guard was process %d and is %d", old.pid, now.pid)
			}
		})
	})
}

// upgrade ends a node's agent and starts one of the next version, and waits
// until the guard is of that version too.
func (b *bench) upgrade(node string) {
	b.t.Helper()
	old := b.guardOn(node)
	before := len(b.happened("guard-upgraded"))
	b.endAgent(node, syscall.SIGTERM)
	_, err := b.lab.Host(node).Start(b.t.Context(), lab.Command{
		Args: []string{nextProgram, "agent"}, LogPath: filepath.Join(logDir(b.t), node+"-next.log"),
	})
	b.ready(err)
	b.eventually("the guard of "+node+" is upgraded", func() bool { return len(b.happened("guard-upgraded")) > before })
	if now := b.theOne(node, nextProgram, "guard"); now.pid != old.pid {
		b.t.Errorf("the guard of %s was process %d and is %d", node, old.pid, now.pid)
	}
	all := b.happened("guard-upgraded")
	text := all[len(all)-1]
	b.t.Log(text)
	m := regexp.MustCompile(`from \S+ to next; it sent nothing for (\S+?)"?$`).FindStringSubmatch(text)
	if m == nil {
		b.t.Fatalf("the event does not say how long it took: %s", text)
	}
	// 100 ms is the aim; the machine may be busy with other tests.
	if d, err := time.ParseDuration(m[1]); err != nil || d > 500*time.Millisecond {
		b.t.Errorf("the guard of %s sent nothing for %s", node, m[1])
	}
}

// happened are the texts of the cell's events of some kinds, the newest last, as
// the first node that answers has them.
func (b *bench) happened(kinds ...string) []string {
	b.t.Helper()
	for _, node := range b.nodes {
		r, err := b.cell.Keelson(b.t.Context(), node, "events", "--limit", "1000")
		b.ready(err)
		if r.Exit.Code != 0 {
			continue
		}
		out := []string{}
		for line := range strings.Lines(string(r.Stdout)) {
			if slices.ContainsFunc(kinds, func(k string) bool { return strings.Contains(line, k) }) {
				out = append(out, strings.TrimSpace(line))
			}
		}
		return out
	}
	b.t.Fatal("no node tells the events")
	return nil
}

// eventually waits until so is true.
func (b *bench) eventually(what string, so func() bool) {
	b.t.Helper()
	for until := boot() + overdue; !so(); time.Sleep(100 * time.Millisecond) {
		if boot() > until {
			b.t.Fatalf("waited %s in vain: %s", overdue, what)
		}
	}
}
