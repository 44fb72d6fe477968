package app

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/store"
)

func TestAnAgentSaysWhichPortIsInUse(t *testing.T) {
	t.Parallel()
	for _, p := range ports {
		t.Run(p.network+" "+strconv.Itoa(p.number), func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "a")
			status, printed := h.init()
			done(t, status, printed)
			occupy(t, p.network, h.address, p.number)
			run := h.agent()
			if p.network == "udp" {
				// The guard tries again by itself; meanwhile the agent answers.
				h.until("status says so", func() bool {
					s, _ := h.status()
					return strings.Contains(strings.Join(s.Problems, "\n"), "UDP port 7481 of "+h.address+" is used by another program")
				})
				return
			}
			status, printed = run.fails()
			says(t, status, printed, 1, strconv.Itoa(p.number), h.address)
		})
	}
}

func TestOnlyOneAgentAndOneGuardRun(t *testing.T) {
	t.Parallel()
	h, run := cellOf(t, "a")
	status, printed := h.keelson(append([]string{"agent"}, h.where()...)...)
	says(t, status, printed, 1, "an agent runs on "+h.data()+" already", "stop the other agent first")
	status, printed = h.keelson(append([]string{"guard"}, h.where()...)...)
	says(t, status, printed, 1, "a guard runs on", "already")
	h.ready() // the first is not disturbed
	run.end()
	status, printed = h.keelson("status")
	says(t, status, printed, 3, "no keelson agent runs here")
	h.agent()
	h.ready()
}

func TestAnAgentThatCannotStartSaysWhyAndChangesNothing(t *testing.T) {
	t.Parallel()
	wal := func(t *testing.T, h *host) string {
		all, err := filepath.Glob(h.data("etcd", "member", "wal", "*.wal"))
		if err != nil || len(all) == 0 {
			t.Fatal("no log", err)
		}
		return all[0]
	}
	tests := []struct {
		name  string
		spoil func(t *testing.T, h *host)
		flags []string
		words []string
	}{
		{"no identity", func(t *testing.T, h *host) { must(t, os.Remove(h.data("node.json"))) }, nil, []string{"not a member of a cell", "keelson init"}},
		{"an identity that is cut off", func(t *testing.T, h *host) { must(t, os.Truncate(h.data("node.json"), 20)) }, nil, []string{"node.json cannot be read", "nothing was changed", "backup"}},
		{"an identity that is empty", func(t *testing.T, h *host) { must(t, os.Truncate(h.data("node.json"), 0)) }, nil, []string{"node.json cannot be read", "nothing was changed"}},
		{"an identity of many MiB", func(t *testing.T, h *host) { must(t, os.Truncate(h.data("node.json"), 10<<20)) }, nil, []string{"far larger than it can be"}},
		{"a log that is cut off", func(t *testing.T, h *host) { must(t, os.Truncate(wal(t, h), 100)) }, nil, []string{"damaged", "left as it is", "backup"}},
		{"a log that is gone", func(t *testing.T, h *host) { must(t, os.RemoveAll(h.data("etcd", "member", "wal"))) }, nil, []string{"damaged", "left as it is"}},
		{"a database that is cut off", func(t *testing.T, h *host) { must(t, os.Truncate(h.data("etcd", "member", "snap", "db"), 9000)) }, nil, []string{"damaged", "left as it is"}},
		{"a database that is garbage", func(t *testing.T, h *host) {
			must(t, os.WriteFile(h.data("etcd", "member", "snap", "db"), []byte(strings.Repeat("garbage ", 9000)), 0o600))
		}, nil, []string{"damaged", "left as it is"}},
		{"a store whose owner is unreadable", func(t *testing.T, h *host) {
			must(t, os.WriteFile(h.data("etcd", "owner.json"), []byte("{"), 0o600))
		}, nil, []string{"damaged", "left as it is"}},
		{"a store of another node", func(t *testing.T, h *host) {
			must(t, os.WriteFile(h.data("etcd", "owner.json"), []byte(`{"cell":"c","node":"z","formed":true}`), 0o600))
		}, nil, []string{"another cell or node", "left as it is"}},
		{"a key that is damaged", func(t *testing.T, h *host) { must(t, os.Truncate(h.data("pki", "node.key"), 30)) }, nil, []string{"node.key cannot be used", "backup"}},
		{"an agent's file with an unknown key", func(t *testing.T, h *host) {
			must(t, os.WriteFile(filepath.Join(h.folder, "agent.yaml"), []byte("store:\n  endpoint: [https://a]\n"), 0o600))
		}, []string{"agent.yaml"}, []string{"agent.yaml", ":2:3: store.", "endpoint", "keelson agent --help"}},
		{"an agent's file that is missing", nil, []string{"missing.yaml"}, []string{"there is no agent's file", "missing.yaml"}},
		{"a file in place of the folder for output", func(t *testing.T, h *host) {
			must(t, os.WriteFile(h.data("logs"), nil, 0o600))
		}, nil, []string{"logs is not a folder"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "a")
			status, printed := h.init()
			done(t, status, printed)
			must(t, os.MkdirAll(h.data("logs"), 0o700))
			must(t, os.WriteFile(h.data("agent.lock"), nil, 0o600))
			if tt.spoil != nil {
				must(t, os.Remove(h.data("logs")))
				tt.spoil(t, h)
			}
			before := content(t, h.data())
			var flags []string
			for _, name := range tt.flags {
				flags = append(flags, "--config", filepath.Join(h.folder, name))
			}
			status, printed = h.agent(flags...).fails()
			says(t, status, printed, 1, tt.words...)
			if diff := cmp.Diff(before, content(t, h.data())); diff != "" {
				t.Errorf("the data changed: %d bytes of difference", len(diff))
			}
		})
	}
}

func TestAnAgentGoesOnWithoutWhatItCanDoWithout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		file func(f folders) string
	}{
		{"the last known state is damaged", folders.lastKnown},
		{"the guard's count of its starts is damaged", folders.starts},
		{"a service's journal is damaged", func(f folders) string { return filepath.Join(f.journal(), "shop.json") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, run := cellOf(t, "a")
			run.end()
			h.endGuard()
			file := tt.file(h.folders())
			must(t, os.MkdirAll(filepath.Dir(file), 0o700))
			must(t, os.WriteFile(file, []byte("{\"garbage"), 0o600))
			h.agent()
			h.ready()
		})
	}
}

func TestAFullDiskAtAnAgentsStartLosesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	small(t, h, "64m")
	status, printed := h.init()
	done(t, status, printed)
	ballast := fill(t, h)
	status, printed = h.agent().fails()
	says(t, status, printed, 1, "disk under "+h.data(), "full", "make room")
	must(t, os.Remove(ballast))
	h.agent()
	h.ready()
}

// A store that ran out of disk cannot go on in its process. The agent ends then,
// for whoever started it to start it again, and goes on without a store: what runs
// needs one.
func TestADiskThatFillsUpWhileTheAgentRunsLosesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	small(t, h, "64m")
	status, printed := h.init()
	done(t, status, printed)
	run := h.process()
	h.ready()
	h.until("it keeps what it knows", func() bool {
		_, err := os.Stat(h.folders().lastKnown())
		return err == nil
	})
	kept := h.token()
	l, err := readLocal(h.folders())
	must(t, err)
	c, err := h.app.storeClient(h.folders(), l, cli.Config{}, h.app.logger(cli.Logging{Level: "error"}))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	ballast := fill(t, h)
	h.until("the store stops", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, _ = c.Txn(ctx, nil, []store.Op{{Key: "big", Value: make([]byte, 1<<20)}})
		return strings.Contains(h.output(), "store server stopped")
	})
	log := h.output()
	for _, w := range []string{"disk under " + h.data("etcd") + " is full", "make room"} {
		if !strings.Contains(log, w) {
			t.Errorf("it does not log %q", w)
		}
	}
	if s, ok := h.status(); !ok || !s.Stale {
		t.Errorf("status does not say that the store is away: %+v, %v", s, ok)
	}
	status, printed = h.keelson("token", "create")
	says(t, status, printed, 1, "store")
	run.end()
	h.agent()
	h.until("an agent without a store that says why", func() bool {
		s, ok := h.status()
		// It shows what it knew last, and not an empty cell.
		return ok && s.Stale && len(s.Nodes) == 1 && slices.ContainsFunc(s.Problems, func(p string) bool {
			return strings.Contains(p, "node a: The store of this node does not run: the disk under "+h.data("etcd")+" is full") &&
				strings.Contains(p, ". To mend it: make room")
		})
	})
	must(t, os.Remove(ballast))
	h.ready()
	b := newHost(t, "b")
	status, printed = b.join(h, kept)
	done(t, status, printed)
}
