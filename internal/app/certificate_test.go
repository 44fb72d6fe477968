package app

import (
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/engine/pki"
)

const day = 24 * time.Hour

func TestANodeWhoseCertificateExpiredJoinsAgainAndKeepsItsPlace(t *testing.T) {
	t.Parallel()
	a, _ := cellOf(t, "a")
	b := newHost(t, "b")
	status, printed := b.join(a, a.token(), "--label", "rack=1", "--witness")
	done(t, status, printed)
	before, err := readLocal(b.folders())
	must(t, err)
	must(t, os.MkdirAll(b.data("etcd"), 0o700))
	must(t, os.WriteFile(b.data("etcd", "kept"), []byte("data"), 0o600))
	expire(t, b, a, time.Now().Add(-40*day))

	// It says so when it starts.
	run := b.agent()
	b.until("says so", func() bool { return strings.Contains(b.log.String(), "expired at") })
	for _, w := range []string{"certificate of no use", "keelson token create", "keelson join ADDRESS --name b --token TOKEN"} {
		if !strings.Contains(b.log.String(), w) {
			t.Errorf("it does not log %q", w)
		}
	}
	status, printed = b.join(a, a.token())
	says(t, status, printed, 1, "an agent runs on", "stop it first")
	run.end()

	// Only the same node of the same cell, and only with a token.
	other, _ := cellOf(t, "a")
	status, printed = b.join(a, a.token(), "--name", "c")
	says(t, status, printed, 1, "node b of cell main already")
	status, printed = b.join(other, other.token())
	says(t, status, printed, 1, "the token is of another cell")
	token := a.token()
	status, printed = b.join(a, token, "--address", "192.0.2.1")
	done(t, status, printed)
	after, err := readLocal(b.folders())
	must(t, err)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("its identity changed (-before +after):\n%s", diff)
	}
	if kept, err := os.ReadFile(b.data("etcd", "kept")); err != nil || string(kept) != "data" {
		t.Errorf("its store's data is gone: %v", err)
	}
	must(t, os.RemoveAll(b.data("etcd")))
	b.agent()
	b.ready()

	// Once is enough.
	status, printed = b.join(a, a.token())
	says(t, status, printed, 1, "node b of cell main already")
}

func TestADamagedCertificateIsReplacedByJoiningAgain(t *testing.T) {
	t.Parallel()
	a, _ := cellOf(t, "a")
	b := newHost(t, "b")
	status, printed := b.join(a, a.token())
	done(t, status, printed)
	must(t, os.WriteFile(b.data("pki", "node.crt"), []byte("garbage"), 0o600))
	status, printed = b.agent().fails()
	says(t, status, printed, 1, "node.crt cannot be used", "join this node again under its name")
	b.endGuard()
	status, printed = b.join(a, a.token())
	done(t, status, printed)
	b.agent()
	b.ready()
}

func TestAVoterThatSleptTooLongSignsItsOwnCertificate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(t *testing.T, h *host)
	}{
		{"it has expired", func(t *testing.T, h *host) { expire(t, h, h, time.Now().Add(-300*day)) }},
		{"it is of a time to come", func(t *testing.T, h *host) { expire(t, h, h, time.Now().Add(5*365*day)) }},
		{"it is damaged", func(t *testing.T, h *host) {
			must(t, os.WriteFile(h.data("pki", "node.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}), 0o600))
		}},
		{"it is gone", func(t *testing.T, h *host) { must(t, os.Remove(h.data("pki", "node.crt"))) }},
		{"the authority's is gone", func(t *testing.T, h *host) { must(t, os.Remove(h.data("pki", "ca.crt"))) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, run := cellOf(t, "a")
			run.end()
			key, err := os.ReadFile(h.data("pki", "node.key"))
			must(t, err)
			tt.spoil(t, h)
			h.agent()
			h.ready()
			after, err := os.ReadFile(h.data("pki", "node.key"))
			must(t, err)
			if string(key) != string(after) {
				t.Error("its key changed")
			}
			h.until("the event is written", func() bool {
				_, printed := h.keelson("events")
				return strings.Contains(printed, "signed itself a new certificate")
			})
		})
	}
}

func TestAVoterWithAnotherKeySignsNothing(t *testing.T) {
	t.Parallel()
	h, run := cellOf(t, "a")
	run.end()
	b := newHost(t, "b")
	_, err := pki.NewFiles(b.folders().pki()).Key()
	must(t, err)
	must(t, os.Rename(b.data("pki", "node.key"), h.data("pki", "node.key")))
	before := content(t, h.data("pki"))
	status, printed := h.agent().fails()
	says(t, status, printed, 1, "has another key")
	must(t, os.Remove(h.data("pki", "node.key")))
	delete(before, "/node.key")
	status, printed = h.agent().fails()
	says(t, status, printed, 1, "there is no "+h.data("pki", "node.key"), "backup")
	if diff := cmp.Diff(before, content(t, h.data("pki"))); diff != "" {
		t.Error(diff)
	}
}

func TestAClockBeforeTheCellWasMadeIsNamed(t *testing.T) {
	t.Parallel()
	h, run := cellOf(t, "a")
	run.end()
	before := content(t, h.data("pki"))
	h.app.clock = shifted{clock.System{}, -30 * 365 * day}
	status, printed := h.agent().fails()
	says(t, status, printed, 1, "clock says", "the cell was made at", "set the clock")
	if diff := cmp.Diff(before, content(t, h.data("pki"))); diff != "" {
		t.Error(diff)
	}
	h.app.clock = clock.System{}
	h.agent()
	h.ready()
}

func TestANodeWhoseClockIsYearsAheadSaysSoAndComesBack(t *testing.T) {
	t.Parallel()
	a, _ := cellOf(t, "a")
	b := newHost(t, "b")
	status, printed := b.join(a, a.token())
	done(t, status, printed)
	b.app.clock = shifted{clock.System{}, 5 * 365 * day}
	run := b.agent()
	b.until("says so", func() bool { return strings.Contains(b.log.String(), "this host's clock says 20") })
	run.end()
	b.app.clock = clock.System{}

	// It may have got a certificate of that time to come.
	expire(t, b, a, time.Now().Add(5*365*day))
	run = b.agent()
	b.until("says so", func() bool { return strings.Contains(b.log.String(), "was wrong before") })
	run.end()
	b.app.clock = shifted{clock.System{}, 10 * time.Minute}
	status, printed = b.join(a, a.token())
	says(t, status, printed, 1, "differ by 10m0s", "the token is still good")
	b.app.clock = clock.System{}
	status, printed = b.join(a, a.token())
	done(t, status, printed)
	b.agent()
	b.ready()
}
