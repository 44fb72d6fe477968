package app

import (
	"os"
	"testing"
)

func TestANodeWhoseAgentCannotRunLeavesWithoutIt(t *testing.T) {
	t.Parallel()
	leave := func(h *host) (int, string) {
		return h.keelson(append([]string{"leave", "--offline", "--yes"}, h.where()...)...)
	}
	t.Run("where there is nothing, it says so", func(t *testing.T) {
		t.Parallel()
		status, printed := leave(newHost(t, "a"))
		says(t, status, printed, 1, "not a member of a cell")
	})
	t.Run("not while the agent runs", func(t *testing.T) {
		t.Parallel()
		h, _ := cellOf(t, "a")
		status, printed := leave(h)
		says(t, status, printed, 1, "an agent runs on")
	})
	for name, file := range map[string]string{"its key is damaged": "pki/node.key", "its identity is damaged": "node.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "a")
			status, printed := h.init()
			done(t, status, printed)
			must(t, os.WriteFile(h.data(file), []byte("garbage"), 0o600))
			status, printed = h.agent().fails()
			says(t, status, printed, 1, file, "keelson leave --offline")
			status, printed = leave(h)
			done(t, status, printed)
			for _, gone := range []string{"node.json", "pki", "etcd", "agent.lock", "guard-incarnation"} {
				if _, err := os.Stat(h.data(gone)); err == nil {
					t.Error(gone, "is left")
				}
			}
			status, printed = h.init()
			done(t, status, printed)
		})
	}
}
