package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// votersOf makes a cell whose nodes all vote in its store.
func votersOf(t *testing.T, names ...string) ([]*host, []*running) {
	t.Helper()
	first, run := cellOf(t, names[0])
	hosts, runs := []*host{first}, []*running{run}
	for _, name := range names[1:] {
		h := newHost(t, name)
		h.cell = first.cell
		status, printed := h.join(first, first.token())
		done(t, status, printed)
		hosts, runs = append(hosts, h), append(runs, h.agent())
	}
	for _, h := range hosts {
		h.until("all vote", func() bool { return h.votes() == len(names) })
	}
	return hosts, runs
}

// votes is how many voters this host's own file knows of.
func (h *host) votes() int {
	l, err := readLocal(h.folders())
	must(h.t, err)
	return len(l.Endpoints)
}

// One cell for both, since it takes a while until all vote.
func TestVotersComeBack(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 20 s: etcd takes a new voter every 5 s")
	}
	hosts, runs := votersOf(t, "a", "b", "c")
	t.Run("a damaged store of one of several is done without and built anew", func(t *testing.T) {
		runs[1] = testDamagedStore(t, hosts[1], runs[1])
	})
	t.Run("a cell that was off for too long comes back by itself", func(t *testing.T) {
		testOffForTooLong(t, hosts, runs)
	})
	t.Run("one that was removed while it was off leaves by itself", func(t *testing.T) {
		testRemoved(t, hosts[0], hosts[2], runs[2])
	})
}

func testDamagedStore(t *testing.T, b *host, run *running) *running {
	t.Helper()
	run.end()
	logs, err := filepath.Glob(b.data("etcd", "member", "wal", "*.wal"))
	must(t, err)
	must(t, os.Truncate(logs[0], 100))
	damaged := content(t, b.data("etcd"))
	run = b.agent()
	b.ready()
	for _, w := range []string{"is damaged", "left as it is", "move " + b.data("etcd") + " away"} {
		if !strings.Contains(b.log.String(), w) {
			t.Errorf("it does not log %q", w)
		}
	}
	if len(damaged) != len(content(t, b.data("etcd"))) {
		t.Error("the damaged data changed")
	}
	run.end()
	must(t, os.Rename(b.data("etcd"), b.data("etcd.damaged")))
	run = b.agent()
	b.until("its store is there again", func() bool {
		_, err := os.Stat(b.data("etcd", "member", "snap", "db"))
		return err == nil && b.votes() == 3
	})
	b.ready()
	return run
}

func testOffForTooLong(t *testing.T, hosts []*host, runs []*running) {
	t.Helper()
	for _, r := range runs {
		r.end()
	}
	for _, h := range hosts {
		h.endGuard()
		expire(t, h, h, time.Now().Add(-90*day))
	}
	for i, h := range hosts {
		runs[i] = h.agent()
	}
	for _, h := range hosts {
		h.ready()
	}
}

func testRemoved(t *testing.T, a, c *host, run *running) {
	t.Helper()
	run.end()
	c.endGuard()
	a.until("it is lost", func() bool {
		s, _ := a.status()
		return strings.Contains(strings.Join(s.Problems, "\n"), "node c is lost")
	})
	status, printed := a.keelson("node", "remove", "c", "--yes", "--force")
	done(t, status, printed)
	expire(t, c, c, time.Now().Add(-90*day))
	run = c.agent()
	select {
	case <-run.ended:
	case <-time.After(patience):
		t.Fatalf("it did not leave:\n%s", c.log)
	}
	t.Log(run.status, run.printed)
	if _, err := os.Stat(c.data("node.json")); err == nil {
		t.Error("it still thinks that it is a member")
	}
	for _, name := range []string{"pki", "etcd"} {
		if _, err := os.Stat(c.data(name)); !os.IsNotExist(err) {
			t.Errorf("its %s is kept: %v", name, err)
		}
	}
}
