//go:build integration

package test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
)

// twin is a host beside the cell that gets a copy of a node's data.
const twin = "h4"

// TestACopiedNodeIsRefused starts a copy of a node's data directory on another
// server. The cell must not notice.
func TestACopiedNodeIsRefused(t *testing.T) {
	l := raise(t, 3, 1, twin)
	b := benchOf(t, l, form(t, l, 3, cell.Options{}), 3)
	b.whole()
	for _, role := range []string{"serves", "stands by"} {
		b.step("of a node that "+role+", and runs", func(b *bench) {
			node := b.holder()
			if role == "stands by" {
				node = b.others(node)[0]
			}
			b.copyData(node, twin)
			was, upset := b.answered(boot()), b.happened(upsets...)
			b.refusedAs(node, b.copyRuns(10*time.Second))
			if left := b.programs(twin, cell.Program); len(left) > 0 {
				b.t.Errorf("there still runs %v", left)
			}
			b.stays(was)
			if now := b.happened(upsets...); !slices.Equal(now, upset) {
				b.t.Errorf("the cell noticed it: %q", now)
			}
		})
	}
	for _, nonlocal := range []string{"0", "1"} {
		b.step("of a node that is off, with ip_nonlocal_bind "+nonlocal, func(b *bench) {
			node := b.others(b.holder())[0]
			b.copyData(node, twin)
			was := b.answered(boot())
			b.run(twin, "echo "+nonlocal+" > /proc/sys/net/ipv4/ip_nonlocal_bind")
			b.ready(b.lab.Host(node).Kill(b.t.Context()))
			r := b.copyRuns(10 * time.Second)
			if said := string(r.Stderr); r.Exit.Code != 1 || !strings.Contains(said, "does not have the address") {
				b.t.Errorf("it ended with %+v: %s", r.Exit, said)
			}
			b.ready(b.cell.Boot(b.t.Context(), node))
			b.whole()
			b.stays(was)
		})
	}
}

// copyData puts a copy of a node's data on another host.
func (b *bench) copyData(node, to string) {
	b.t.Helper()
	ctx := b.t.Context()
	b.run(to, "rm -rf /var/lib/keelson /run/keelson")
	r, err := b.lab.Host(node).Exec(ctx, lab.Command{Args: []string{"/bin/sh", "-c", "tar -C /var/lib -czf - keelson"}})
	b.ready(err)
	if len(r.Stdout) < 1000 || len(r.Stdout) >= lab.MaxOutput {
		b.t.Fatalf("an archive of %d bytes: %s", len(r.Stdout), r.Stderr)
	}
	r, err = b.lab.Host(to).Exec(ctx, lab.Command{Args: []string{"/bin/tar", "-C", "/var/lib", "-xzf", "-"}, Stdin: bytes.NewReader(r.Stdout)})
	b.ready(err)
	if r.Exit.Code != 0 {
		b.t.Fatalf("not unpacked: %s", r.Stderr)
	}
}

// copyRuns runs the agent of the copy to its end, for at most d.
func (b *bench) copyRuns(d time.Duration) lab.Result {
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	r, err := b.lab.Host(twin).Exec(ctx, lab.Command{Args: []string{cell.Program, "agent"}})
	if err != nil {
		b.t.Errorf("the copy ran for %s: %v: %s", d, err, r.Stderr)
	}
	return r
}

// refusedAs fails unless an agent found that it is a copy of node.
func (b *bench) refusedAs(node string, r lab.Result) {
	b.t.Helper()
	said := string(r.Stderr)
	for _, want := range []string{
		"/var/lib/keelson looks like a copy of the data directory of " + node, "runs at " + b.lab.Host(node).Address(1),
		"remove /var/lib/keelson", "keelson join",
	} {
		if r.Exit.Code != 1 || !strings.Contains(said, want) {
			b.t.Errorf("it ended with %+v and does not say %q: %s", r.Exit, want, said)
		}
	}
}

// upsets are the kinds of events that a cell which is not disturbed has none of.
var upsets = []string{"node-suspect", "node-lost", "quorum-lost", "lease-lost", "guard-lost", "guard-started", "service-cut"}
