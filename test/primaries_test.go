//go:build integration

package test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
)

// TestASuccessorIsPromotedWithoutAController switches off the host that has both the
// primary and the controller. Nobody is left to plan, so the successor's own node
// promotes it, as soon as the lease is free.
func TestASuccessorIsPromotedWithoutAController(t *testing.T) {
	l, c := newLab(t, 3, cell.Options{})
	b := &bench{t: t, lab: l, cell: c, nodes: names(3), service: web, url: webURL, ip: webIP}
	const ttl = 500 * time.Millisecond
	b.ready(c.Apply(t.Context(), fmt.Sprintf(`kind: service
name: web
failover: {ttl: %s}
copies: {primaries: 1}
parts:
  - exec: {command: [%s, "0.0.0.0:80"], env: {%s: %s}, promote: [/bin/true], demote: [/bin/true]}
  - address: %s/24
    role: primary
`, ttl, lab.SelfPath, lab.RoleVariable, lab.RoleWeb, webIP)))
	b.probe()
	b.answered(boot())
	b.step("the host of the primary and of the controller is switched off, three times", func(b *bench) {
		for range 3 {
			s := b.await("a controller", func(s cell.Status) bool { return s.Controller != "" })
			if at := b.holder(); at != s.Controller {
				b.keelson(at, "move", web, s.Controller)
				b.answeredBy(boot(), "the primary on "+s.Controller, func(r probe.HTTPResult) bool { return r.Host == s.Controller })
			}
			time.Sleep(time.Second) // until all nodes have heard of the move
			fault := boot()
			b.ready(b.lab.Host(s.Controller).Kill(b.t.Context()))
			b.movedFrom(fault, s.Controller)
			b.within(fault, 5*2*ttl)
			b.ready(b.cell.Boot(b.t.Context(), s.Controller))
			b.whole()
		}
	})
}

// pairProgram tells outside, through a pipe, what becomes of it.
const pairProgram = `#!/bin/sh
say() { echo "$KEELSON_NODE $1 ${KEELSON_PRIMARY:-0} ${KEELSON_EPOCH:-0}" >/tmp/pair/log; }
case "$1" in
promote) say promoted; exit 0 ;;
demote) say demoted; exit 0 ;;
esac
say started
touch /run/pair-is-up
trap 'rm -f /run/pair-is-up; say stopped; exit 0' TERM
while :; do
	sleep 1 &
	wait $!
done
`

// pair is a service with two primaries.
func pair(primaries int) string {
	return fmt.Sprintf(`kind: service
name: pair
failover: {ttl: 1s}
copies: {primaries: %d}
parts:
  - exec: {command: [/tmp/pair/part, run], promote: [/tmp/pair/part, promote], demote: [/tmp/pair/part, demote]}
    checks: {startup: {exec: [/usr/bin/test, -e, /run/pair-is-up], every: 50ms}}
`, primaries)
}

// pairLog is what the programs said, through a pipe. At no moment may there be more
// primaries than two, or two under one lease.
type pairLog struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string
}

func (l *pairLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// watchPair makes the folder that hosts see as /tmp/pair, and reads the pipe in it.
func watchPair(t *testing.T) (*pairLog, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "part"), []byte(pairProgram), 0o755); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "log")
	if err := unix.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0) // also a writer, so that it never ends
	if err != nil {
		t.Fatal(err)
	}
	l, done := &pairLog{t: t}, make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(f); s.Scan(); {
			l.add(s.Text())
		}
	}()
	t.Cleanup(func() {
		_ = f.Close()
		<-done
		t.Logf("what the programs said:\n%s", strings.Join(l.lines, "\n"))
	})
	return l, dir
}

// primaries returns who is primary now, by host, and under which lease.
func (l *pairLog) primaries() map[string]string {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := map[string]string{}
	for _, line := range l.lines {
		words := strings.Fields(line)
		if len(words) < 3 || words[1] != "promoted" {
			delete(now, words[0])
			continue
		}
		now[words[0]] = words[2]
		leases := map[string]string{}
		for host, lease := range now {
			if other := leases[lease]; other != "" {
				l.t.Fatalf("%s and %s are primary under one lease at %q:\n%s", host, other, line, strings.Join(l.lines, "\n"))
			}
			leases[lease] = host
		}
		if len(now) > 2 {
			l.t.Fatalf("%d primaries at %q:\n%s", len(now), line, strings.Join(l.lines, "\n"))
		}
	}
	return now
}

// TestTwoPrimaries has two of five copies primary, through the loss of both at once,
// a drain, the death of an agent, and a change to one.
func TestTwoPrimaries(t *testing.T) {
	log, dir := watchPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), settled)
	defer cancel()
	made, err := lab.New(ctx, lab.Options{Hosts: append(names(5), client), Shares: []lab.Share{cell.Share(binary(t)), {Source: dir, Target: "/tmp/pair"}}, Networks: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := made.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	c := form(t, made, 5, cell.Options{})
	b := &bench{t: t, lab: made, cell: c, nodes: names(5), service: "pair"}
	b.ready(c.Apply(t.Context(), pair(2)))
	two := func(not ...string) []string {
		t.Helper()
		var hosts []string
		b.eventually("two primaries", func() bool {
			hosts = hosts[:0]
			for h := range log.primaries() {
				hosts = append(hosts, h)
			}
			return len(hosts) == 2 && !slices.ContainsFunc(hosts, func(h string) bool { return slices.Contains(not, h) })
		})
		slices.Sort(hosts)
		return hosts
	}

	first := two()
	b.whole()
	time.Sleep(2 * time.Second) // until all nodes know the plan
	fault := boot()
	for _, h := range first {
		b.ready(made.Host(h).Kill(t.Context()))
		log.add(h + " is-off")
	}
	second := two(first...)
	t.Logf("%v were lost at once; %v were primary %s later", first, second, (boot() - fault).Round(time.Millisecond))
	for _, h := range first {
		b.ready(c.Boot(t.Context(), h))
	}
	b.whole()
	if now := two(); !slices.Equal(now, second) {
		t.Errorf("%v were primary, and %v are after the others' return", second, now)
	}

	b.keelson(second[0], "drain", second[0], "--yes")
	third := two(second[0])
	if !slices.Contains(third, second[1]) {
		t.Errorf("%s was primary and nothing happened to it, and now %v are", second[1], third)
	}
	b.keelson(second[0], "undrain", second[0])
	b.whole()

	b.endAgent(third[0], syscall.SIGKILL)
	time.Sleep(3 * time.Second) // what it ran goes on without it
	if now := two(); !slices.Equal(now, third) {
		t.Errorf("%v were primary, and %v are without their agent", third, now)
	}
	b.ready(c.StartAgent(t.Context(), third[0]))
	b.whole()
	if now := two(); !slices.Equal(now, third) {
		t.Errorf("%v were primary, and %v are after an agent was killed", third, now)
	}

	b.ready(c.Apply(t.Context(), pair(1)))
	b.eventually("one primary", func() bool { return len(log.primaries()) == 1 })
	time.Sleep(3 * time.Second)
	if now := log.primaries(); len(now) != 1 {
		t.Errorf("one primary was to be left, and there are %v", now)
	}
	b.ready(c.Apply(t.Context(), pair(2)))
	two()
}
