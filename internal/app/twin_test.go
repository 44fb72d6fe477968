package app

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/front/cli"
)

func TestThisHostsAddressesAreKnown(t *testing.T) {
	t.Parallel()
	all, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range all {
		addr, ok := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if here, err := present(addr.Unmap()); !ok || !here || err != nil {
			t.Errorf("%s is not known as this host's: %v", a, err)
		}
	}
	for text, want := range map[string]bool{"127.9.9.9": true, "::1": true, "192.0.2.77": false, "2001:db8::77": false} {
		if here, err := present(netip.MustParseAddr(text)); here != want || err != nil {
			t.Errorf("%s: %v, %v", text, here, err)
		}
	}
}

// elsewhere makes a host believe that its node's address is another server's.
func (h *host) elsewhere() *atomic.Bool {
	away := &atomic.Bool{}
	away.Store(true)
	h.app.present = func(netip.Addr) (bool, error) { return !away.Load(), nil }
	return away
}

// copyOf is a host with a copy of a's data directory.
func copyOf(t *testing.T, a *host) *host {
	t.Helper()
	c := newHost(t, "copy")
	c.address = a.address
	must(t, os.CopyFS(c.data(), os.DirFS(a.data())))
	return c
}

func TestACopyOfANodesDataIsRefusedWhileTheNodeRuns(t *testing.T) {
	t.Parallel()
	a, _ := cellOf(t, "a")
	c := copyOf(t, a)
	c.elsewhere()
	must(t, os.MkdirAll(c.data("logs"), 0o700))
	must(t, os.WriteFile(c.data("agent.lock"), nil, 0o600))
	before := content(t, c.data())
	status, printed := c.agent().fails()
	says(t, status, printed, 1, c.data()+" looks like a copy of the data directory of a", "runs at "+a.address, "remove "+c.data(), "keelson join")
	if diff := cmp.Diff(before, content(t, c.data())); diff != "" {
		t.Errorf("the copy's data changed: %d bytes of difference", len(diff))
	}
	if _, err := os.Stat(c.folders().guard()); err == nil {
		t.Error("a guard was started")
	}
	a.ready() // it is not disturbed
}

func TestACopyWithoutAUsableCertificateIsToldToo(t *testing.T) {
	t.Parallel()
	a, _ := cellOf(t, "a")
	c := copyOf(t, a)
	c.elsewhere()
	l, err := readLocal(a.folders())
	must(t, err)
	must(t, os.Remove(c.data("pki", "node.crt")))
	n := &node{app: &app{App: c.app, folders: c.folders(), local: l, log: c.app.logger(cli.Logging{})}}
	if err := n.twin(t.Context()); err == nil {
		t.Error("a copy without a certificate of use was not told")
	}
}

func TestANodeWithoutItsAddressDoesNotStart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		there func(t *testing.T, a *host) // who answers at the address
	}{
		{"nobody answers", func(*testing.T, *host) {}},
		{"another program answers", func(t *testing.T, a *host) { occupy(t, "tcp", a.address, 7480) }},
		{"a node of another cell answers", func(t *testing.T, a *host) { atAddress(t, "a", a.address) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "a")
			status, printed := h.init()
			done(t, status, printed)
			away := h.elsewhere()
			tt.there(t, h)
			status, printed = h.agent().fails()
			says(t, status, printed, 1, "does not have the address "+h.address+" of node a", "nothing was started", "keelson join")
			if strings.Contains(printed, "looks like a copy") {
				t.Error("it is taken for a copy")
			}
			if tt.name != "nobody answers" {
				return
			}
			away.Store(false) // it comes back
			h.agent()
			h.ready()
		})
	}
}

// atAddress runs a cell of its own at an address.
func atAddress(t *testing.T, name, address string) {
	t.Helper()
	h := newHost(t, name)
	h.address = address
	status, printed := h.init()
	done(t, status, printed)
	h.agent()
	h.ready()
}

// The copy began while the node was off. To it, the node comes up: here it is
// the copy itself that answers, since both share a loopback interface.
func TestACopyThatRunsEndsWhenTheNodeComesUp(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	status, printed := h.init()
	done(t, status, printed)
	away := h.elsewhere()
	away.Store(false)
	run := h.agent()
	h.ready()
	away.Store(true)
	status, printed = run.fails()
	says(t, status, printed, 1, "looks like a copy of the data directory of a", "remove "+h.data())
	if _, err := net.Dial("unix", h.folders().guard()); err == nil {
		t.Error("its guard goes on")
	}
	if _, err := os.Stat(h.data("node.json")); err != nil {
		t.Error("its data is gone:", err)
	}
	if !strings.Contains(h.log.String(), "gives up what it holds") {
		t.Error("the log does not say what happened")
	}
}

// A guard that outlived the copy's agent holds leases under the node's name.
func TestTheGuardOfARefusedCopyIsEnded(t *testing.T) {
	t.Parallel()
	a, run := cellOf(t, "a")
	run.end()
	a.endGuard()
	c := copyOf(t, a)
	r := c.agent() // the node is off, so the copy begins
	c.ready()
	r.end()
	if _, err := net.Dial("unix", c.folders().guard()); err != nil {
		t.Fatal("the guard does not go on without its agent:", err)
	}
	l, err := readLocal(c.folders())
	must(t, err)
	n := &node{app: &app{App: c.app, folders: c.folders(), local: l, log: c.app.logger(cli.Logging{})}}
	n.dismiss(t.Context())
	if _, err := net.Dial("unix", c.folders().guard()); err == nil {
		t.Error("the guard goes on")
	}
}
