//go:build integration

package test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/rival"
)

// TestTheObserverBesideARealPacemaker runs `keelson import pacemaker --observe` on a
// host of a real cluster while another host dies.
func TestTheObserverBesideARealPacemaker(t *testing.T) {
	l := raise(t, 3, 1)
	hosts := names(3)
	site := rival.Site{Lab: l, Hosts: hosts, Address: netip.MustParsePrefix("10.77.0.100/24")}
	if _, err := rival.StartPacemaker(t.Context(), site, rival.Pacemaker{}); errors.Is(err, rival.ErrMissing) {
		t.Skipf("SKIPPED: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	type seat struct{ Node, Role string }
	type event struct {
		Nodes map[string]string
		Did   []struct {
			Resource string
			To       []seat
		}
		Would []string
		Error string
	}
	look := func(host, events string) (out []event) {
		r, err := l.Host(host).Exec(t.Context(), lab.Command{Args: []string{cell.Program, "import", "pacemaker", "--observe", "-o", "json", "--every", "200ms", "--events", events}})
		if err != nil || r.Exit.Code != 0 {
			t.Errorf("the observer on %s: %v: %s", host, err, r.Stderr)
		}
		for line := range strings.Lines(string(r.Stdout)) {
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Errorf("%v in %s", err, line)
			}
			out = append(out, e)
		}
		return out
	}
	rest := look(hosts[0], "1")
	if len(rest) != 1 || rest[0].Error != "" || len(rest[0].Would) > 0 || rest[0].Nodes[hosts[1]] != "online" {
		t.Errorf("at rest: %+v", rest)
	}
	where := ""
	for _, h := range hosts {
		if r, err := l.Host(h).Exec(t.Context(), lab.Command{Args: []string{"ip", "-4", "-br", "address"}}); err == nil && strings.Contains(string(r.Stdout), "10.77.0.100/") {
			where = h
		}
	}
	if where == "" {
		t.Fatal("nobody has the address")
	}
	other := hosts[0]
	if other == where {
		other = hosts[1]
	}
	done := make(chan []event, 1)
	go func() { done <- look(other, "3") }()
	if err := l.Host(where).Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, moved := false, false
	for _, e := range <-done {
		gone = gone || e.Nodes[where] == "offline" || e.Nodes[where] == "unclean"
		moved = moved || len(e.Did) > 0 || len(e.Would) > 0
	}
	if !gone || !moved {
		t.Errorf("the death of %s was seen: %v, and that the service has to go elsewhere: %v", where, gone, moved)
	}
}
