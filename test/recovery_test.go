//go:build integration

package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/lab/cell"
)

// ailing is a service that is well only where the file is that says so.
const ailing = `kind: service
name: ailing
parts:
  - exec: [/bin/sleep, infinity]
    check: {exec: [/usr/bin/test, -e, /run/ailing-is-well], every: 200ms, failures: 2}
failover: {restarts: 1, within: 10m}
`

// TestRecoveryEndsWithAPerson has a service fail on every node, and a node flap.
func TestRecoveryEndsWithAPerson(t *testing.T) {
	l, c := newLab(t, 3, cell.Options{})
	b := &bench{t: t, lab: l, cell: c, nodes: names(3)}
	b.ready(c.Apply(t.Context(), ailing))
	said := func(s cell.Status, words ...string) bool {
		return slices.ContainsFunc(s.Problems, func(p string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(p, w) })
		})
	}

	s := b.await("a service that fails everywhere to stop for a person", func(s cell.Status) bool {
		return said(s, "ailing", "stopped for a person")
	})
	t.Log(s.Problems)
	if !said(s, "stopped for a person", "h1, h2, h3 (exec: its check says no", "keelson clear ailing") || s.Service("ailing").State != "failed" {
		t.Errorf("it does not say what became of it on each node: %s, %q", s.Service("ailing").State, s.Problems)
	}
	if tried := b.happened("service-gave-up"); len(tried) != 3 {
		t.Errorf("it gave up %d times, not once on each node: %q", len(tried), tried)
	}
	if told := b.happened("service-halted"); len(told) != 1 {
		t.Errorf("told %d times: %q", len(told), told)
	}
	if storms := b.happened("common-cause"); len(storms) > 0 {
		t.Errorf("what one service does alone was taken for the nodes' trouble: %q", storms)
	}

	for _, h := range b.nodes {
		b.run(h, "touch /run/ailing-is-well")
	}
	t.Log(b.keelson("h2", "clear", "ailing"))
	b.await("it to run again", func(s cell.Status) bool { return s.Service("ailing").State == "running" })

	flapping := b.others(b.await("a controller", func(s cell.Status) bool { return s.Controller != "" }).Controller)[0]
	for range 3 {
		b.ready(b.lab.Host(flapping).Kill(t.Context()))
		b.await("its loss", func(s cell.Status) bool { return lostNode(s, flapping) }, b.others(flapping)...)
		b.ready(b.cell.Boot(t.Context(), flapping))
		b.await("its return", func(s cell.Status) bool { return s.Whole(b.nodes) })
	}
	s = b.await("its quarantine", func(s cell.Status) bool { return said(s, flapping, "quarantined", "lost 3 times") })
	t.Log(s.Problems)
	b.ready(c.Apply(t.Context(), strings.NewReplacer("ailing\n", "fresh\n").Replace(ailing)))
	for _, h := range b.nodes {
		b.run(h, "touch /run/ailing-is-well") // it was lost with its power
	}
	s = b.await("new work", func(s cell.Status) bool { return s.Service("fresh").State == "running" })
	if one := s.Service("fresh"); one.Node == flapping || slices.Contains(one.Successors, flapping) {
		t.Errorf("%s is in quarantine and got %+v", flapping, one)
	}
	t.Log(b.keelson(b.others(flapping)[0], "trust", flapping))
	b.await("its return to work", func(s cell.Status) bool {
		return !said(s, flapping, "quarantined") && slices.Contains(s.Service("fresh").Successors, flapping)
	})
}

func lostNode(s cell.Status, name string) bool {
	return slices.ContainsFunc(s.Nodes, func(n cell.Node) bool { return n.Name == name && n.Liveness == "lost" })
}
