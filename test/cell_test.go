//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// TestWholeCellLosesPower switches all hosts off and on again.
func TestWholeCellLosesPower(t *testing.T) {
	b := newBench(t, 3)
	b.ready(b.cell.Apply(t.Context(), cell.WebService("second", "10.77.0.101/24", "10.77.0.101:80")))
	b.ready(b.cell.Apply(t.Context(), stopped("third")))
	b.step("at the same time", func(b *bench) {
		was := b.answered(boot())
		specs, events := b.specs(), b.events(b.nodes[0])
		b.power("kill", b.nodes...)
		back := boot()
		b.power("boot", b.nodes...)
		now := b.answeredBy(back, "an answer", func(probe.HTTPResult) bool { return true })
		b.t.Logf("answered %s after the first host was switched on", (now.Done - back).Round(time.Millisecond))
		b.whole()
		if now.Epoch <= was.Epoch {
			b.t.Errorf("the epoch was %d, and after the loss of power it is %d", was.Epoch, now.Epoch)
		}
		if diff := cmp.Diff(specs, b.specs()); diff != "" {
			b.t.Errorf("what was applied has changed (-before +after):\n%s", diff)
		}
		kept := b.events(b.nodes[0])
		for _, e := range events {
			if !slices.Contains(kept, e) {
				b.t.Errorf("event %s is lost", e)
			}
		}
		b.t.Logf("%d events before, %d after", len(events), len(kept))
		b.await("the second service", func(s cell.Status) bool { return s.Service("second").State == "running" })
	})
	b.step("one after the other, back in the same order", func(b *bench) {
		was := b.answered(boot())
		for _, h := range b.nodes {
			b.power("kill", h)
			time.Sleep(300 * time.Millisecond)
		}
		for _, h := range b.nodes {
			b.power("boot", h)
			time.Sleep(500 * time.Millisecond)
		}
		b.whole()
		if now := b.answered(boot()); now.Epoch <= was.Epoch {
			b.t.Errorf("the epoch was %d, and after the loss of power it is %d", was.Epoch, now.Epoch)
		}
	})
}

// stopped is a service that is known and does not run.
func stopped(name string) string {
	return fmt.Sprintf("kind: service\nname: %s\nstopped: true\nparts:\n  - exec: [/bin/sleep, infinity]\n", name)
}

// specs is what was applied, as the cell tells it.
func (b *bench) specs() map[string]string {
	b.t.Helper()
	var services []struct {
		Name string `json:"name"`
	}
	out := map[string]string{}
	b.decode(b.keelson(b.nodes[0], "get", "services", "-o", "json"), &services)
	for _, s := range services {
		out[s.Name] = b.spec(s.Name)
	}
	return out
}

// spec is the spec of one service.
func (b *bench) spec(name string) string {
	b.t.Helper()
	var s struct {
		Spec string `json:"spec_json"`
	}
	b.decode(b.keelson(b.nodes[0], "describe", "service", name, "-o", "json"), &s)
	if s.Spec == "" {
		b.t.Fatalf("%s has no spec", name)
	}
	return s.Spec
}

// events are those that a node shows, one text each.
func (b *bench) events(node string) []string {
	b.t.Helper()
	var all []json.RawMessage
	b.decode(b.keelson(node, "events", "--limit", "1000", "-o", "json"), &all)
	var out []string
	for _, e := range all {
		out = append(out, string(e))
	}
	return out
}

func (b *bench) decode(text string, to any) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		b.t.Fatalf("read %q: %v", text, err)
	}
}

// leader is the voter that leads the store, which has nothing to do with
// serving or planning.
func (b *bench) leader() string {
	b.t.Helper()
	const pki = "/var/lib/keelson/pki/"
	via := b.lab.Host(b.nodes[0])
	command := role(roleLeader, leaderTold{
		Endpoint: via.Address(1) + ":7483", Files: files{Cert: pki + "node.crt", Key: pki + "node.key", CA: pki + "ca.crt"},
	})
	r, err := via.Exec(b.t.Context(), command)
	b.ready(err)
	if r.Exit.Code != 0 {
		b.t.Fatalf("ask who leads the store: %s", r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}
