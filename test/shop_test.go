//go:build integration

package test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
)

// shopProgram tells outside, through a pipe, what becomes of it. The kernel keeps
// the lines of all hosts in the order in which they were written.
const shopProgram = `#!/bin/sh
say() {
	read up rest </proc/uptime
	echo "$up $KEELSON_NODE $KEELSON_SERVICE $1 ${KEELSON_ROLE:-none} ${KEELSON_EPOCH:-0}" >/tmp/shop/log
}
case "$1" in
promote) say promoted; exit 0 ;;
demote) say demoted; exit 0 ;;
up) test -e "/run/shop-$2"; exit ;;
esac
mark=/run/shop-$KEELSON_SERVICE
rm -f "$mark"
trap 'rm -f "$mark"; say stopped; exit 0' TERM
sleep 0.1
say started
: >"$mark"
while :; do
	sleep 1 &
	wait $!
done
`

// shop is six services: a database with a primary and a replica, a cache, an
// application in two copies, a proxy with its address, and a report. The address
// is a service of its own, that the proxy is together with. Leases are long, since
// this is about order, and machines that run this are often busy.
const shop = `kind: service
name: db
failover: {ttl: 2s}
copies: {count: 2, primaries: 1}
%[1]sparts:
  - exec: {command: [/tmp/shop/part, run], promote: [/tmp/shop/part, promote], demote: [/tmp/shop/part, demote]}
    checks: {startup: {exec: [/tmp/shop/part, up, db], every: 50ms}}
  - address: 10.77.0.110/24
    role: primary
---
kind: service
name: cache
failover: {ttl: 2s}
%[2]sparts:
  - exec: [/tmp/shop/part, run]
    checks: {startup: {exec: [/tmp/shop/part, up, cache], every: 50ms}}
---
kind: service
name: app
copies: {count: 2}
after: [{service: db, role: primary}, cache]
place: {near: [{service: cache, score: 20}]}
%[2]sparts:
  - exec: [/tmp/shop/part, run]
    checks: {startup: {exec: [/tmp/shop/part, up, app], every: 50ms}}
---
kind: service
name: address
failover: {ttl: 2s}
parts:
  - address: 10.77.0.100/24
---
kind: service
name: proxy
failover: {ttl: 2s}
after: [app, address]
place: {together: [address]}
%[2]sparts:
  - exec: [/tmp/shop/part, run]
    checks: {startup: {exec: [/tmp/shop/part, up, proxy], every: 50ms}}
  - exec: {command: [%[4]s, "10.77.0.100:80"], env: {%[5]s: %[6]s}}
---
kind: service
name: report
failover: {ttl: 2s}
priority: -10
after: [{service: db, role: primary}]
place: {apart: [proxy], near: [{service: db, role: primary, score: -200}]}
%[3]sparts:
  - exec: [/tmp/shop/part, run]
    checks: {startup: {exec: [/tmp/shop/part, up, report], every: 50ms}}
`

func shopSpec(needs ...int) string {
	lines := make([]any, 0, 6)
	for i := range 3 {
		line := ""
		if len(needs) > i {
			line = fmt.Sprintf("needs: {cpu: %d}\n", needs[i])
		}
		lines = append(lines, line)
	}
	return fmt.Sprintf(shop, append(lines, lab.SelfPath, lab.RoleVariable, lab.RoleWeb)...)
}

// shopAfter is what must be up for each program: "db primary" is the primary.
var shopAfter = map[string][]string{"app": {"db primary", "cache"}, "proxy": {"app"}, "report": {"db primary"}}

// ledger is what the programs of all hosts said, and what is wrong with it.
type ledger struct {
	mu     sync.Mutex
	lines  []string
	up     map[string]map[string]int // by "service" or "service primary", then by host: the line since
	began  map[string]int            // by the same: the line since which one or another has been up
	faults []fault
}

// fault is a program that should not have run at a moment. One that was killed by
// force says nothing, so a fault is void if the program is heard of next when it
// starts anew.
type fault struct {
	text      string
	key, host string // "": it is certain
}

// void takes back the faults of a program that turns out to have been killed.
func (l *ledger) void(key, host string) {
	l.faults = slices.DeleteFunc(l.faults, func(f fault) bool { return f.key == key && f.host == host })
}

// watchShop makes the folder that hosts see as /tmp/shop, and reads the pipe in it.
func watchShop(t *testing.T) (*ledger, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "part"), []byte(shopProgram), 0o755); err != nil {
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
	l := &ledger{up: map[string]map[string]int{}, began: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(f); s.Scan(); {
			l.take(s.Text())
		}
	}()
	t.Cleanup(func() {
		_ = f.Close()
		<-done
		if t.Failed() || testing.Verbose() {
			l.mu.Lock()
			defer l.mu.Unlock()
			t.Logf("what the programs said:\n%s", strings.Join(l.lines, "\n"))
		}
	})
	return l, dir
}

// take judges a line by what is up at that moment.
func (l *ledger) take(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	words := strings.Fields(line)
	if len(words) != 6 {
		l.faults = append(l.faults, fault{text: "not understood: " + line})
		return
	}
	host, name, what := words[1], words[2], words[3]
	key := name
	if what == "promoted" || what == "demoted" {
		key += " primary"
	}
	if l.up[key] == nil {
		l.up[key] = map[string]int{}
	}
	switch what {
	case "started", "promoted":
		for _, first := range shopAfter[name] {
			if len(l.up[first]) == 0 {
				l.faults = append(l.faults, fault{text: fmt.Sprintf("%q, and no %s was up", line, first)})
			}
		}
		if key == "db primary" && len(l.up[key]) > 0 && l.up[key][host] == 0 {
			for other := range l.up[key] {
				l.faults = append(l.faults, fault{fmt.Sprintf("%q, and %s was primary", line, other), key, other})
			}
		}
		if l.up[key][host] != 0 {
			l.void(key, host)
		}
		if what == "started" {
			l.void(name+" primary", host)
			delete(l.up[name+" primary"], host)
		}
		if others := len(l.up[key]); others == 0 || others == 1 && l.up[key][host] != 0 {
			l.began[key] = len(l.lines)
		}
		l.up[key][host] = len(l.lines)
	case "stopped", "demoted":
		delete(l.up[key], host)
		if what == "stopped" {
			delete(l.up[name+" primary"], host)
		}
		for then, list := range shopAfter {
			if slices.Contains(list, key) && len(l.up[key]) == 0 && len(l.up[then]) > 0 {
				for other := range l.up[then] {
					l.faults = append(l.faults, fault{fmt.Sprintf("%q, and %s still ran on %s", line, then, other), then, other})
				}
			}
		}
	}
}

// died forgets what ran on a host that was switched off.
func (l *ledger) died(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, "--- "+host+" is switched off")
	for _, hosts := range l.up {
		delete(hosts, host)
	}
}

func (l *ledger) mark(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, "--- "+what)
}

// counts are how many of each run.
func (l *ledger) counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for key, hosts := range l.up {
		out[key] = len(hosts)
	}
	return out
}

// hostsOf are the hosts on which it is up.
func (l *ledger) hostsOf(key string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for h := range l.up[key] {
		out = append(out, h)
	}
	slices.Sort(out)
	return out
}

// wrong lists every fault so far, and what runs since before what it is after.
func (l *ledger) wrong() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, f := range l.faults {
		out = append(out, f.text)
	}
	for then, list := range shopAfter {
		for _, first := range list {
			for host, since := range l.up[then] {
				if since < l.began[first] {
					out = append(out, fmt.Sprintf("%s on %s runs since line %d, and %s since line %d", then, host, since, first, l.began[first]))
				}
			}
		}
	}
	return out
}

// shopBench is a bench whose service is the proxy.
type shopBench struct {
	*bench
	ledger *ledger
}

func newShop(t *testing.T) *shopBench {
	t.Helper()
	l, dir := watchShop(t)
	ctx, cancel := context.WithTimeout(t.Context(), settled)
	defer cancel()
	hosts := append(names(3), client)
	made, err := lab.New(ctx, lab.Options{Hosts: hosts, Shares: []lab.Share{cell.Share(binary(t)), {Source: dir, Target: "/tmp/shop"}}, Networks: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := made.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	c := form(t, made, 3, cell.Options{NodeFlags: []string{"--label", "capacity/cpu=8"}})
	b := &shopBench{&bench{t: t, lab: made, cell: c, nodes: names(3), service: "proxy", url: webURL, ip: webIP}, l}
	b.ready(c.Apply(t.Context(), shopSpec()))
	return b
}

// open waits until the whole shop runs, on so many hosts, and checks the order.
func (b *shopBench) open(report bool) {
	b.t.Helper()
	want := map[string]int{"db": 2, "db primary": 1, "cache": 1, "app": 2, "proxy": 1, "report": 1}
	if !report {
		want["report"] = 0
	}
	what := "the shop to run"
	b.await(what, func(s cell.Status) bool {
		for _, name := range []string{"db", "cache", "app", "address", "proxy", "report"} {
			if v := s.Service(name); v.State != "running" && (name != "report" || report) {
				return false
			}
		}
		return true
	})
	now := map[string]int{}
	var wrong []string
	for end := boot() + overdue; boot() < end; time.Sleep(50 * time.Millisecond) {
		now, wrong = b.ledger.counts(), b.ledger.wrong()
		good := len(wrong) == 0
		for key, n := range want {
			good = good && now[key] == n
		}
		if good {
			return
		}
	}
	b.t.Fatalf("%v runs, and %v was to:\n%s", now, want, strings.Join(wrong, "\n"))
}

// part is one check on the shop.
func (b *shopBench) part(name string, f func(b *shopBench)) {
	b.t.Helper()
	passed := b.t.Run(name, func(t *testing.T) {
		one := *b.bench
		one.t = t
		s := &shopBench{&one, b.ledger}
		s.ledger.mark(name)
		s.open(true)
		s.probe()
		s.answered(boot())
		f(s)
		s.neverTwo()
		for _, w := range s.ledger.wrong() {
			t.Error(w)
		}
		if t.Failed() {
			t.Log(s.keelson(s.nodes[0], "events", "--limit", "120"))
		}
	})
	if !passed {
		b.t.FailNow()
	}
}

// TestShop takes a shop of six services, with roles and an order, through what
// can happen to its hosts. Who starts and stops when, its own programs say.
func TestShop(t *testing.T) {
	b := newShop(t)
	for _, h := range b.nodes {
		b.part(h+" is switched off", func(b *shopBench) {
			b.off(h)
			b.open(true)
			b.on(h)
		})
	}
	b.part("the host of the primary is drained", func(b *shopBench) {
		was := b.ledger.hostsOf("db primary")[0]
		b.keelson(was, "drain", was, "--yes")
		b.open(true)
		for key := range b.ledger.counts() {
			if slices.Contains(b.ledger.hostsOf(key), was) {
				b.t.Errorf("%s still runs on %s", key, was)
			}
		}
		b.keelson(was, "undrain", was)
	})
	b.part("the primary is moved", func(b *shopBench) {
		was := b.ledger.hostsOf("db primary")
		replica := slices.DeleteFunc(b.ledger.hostsOf("db"), func(h string) bool { return h == was[0] })
		b.t.Log(b.keelson(was[0], "move", "db", replica[0]))
		b.open(true)
		if now := b.ledger.hostsOf("db primary"); now[0] != replica[0] {
			b.t.Errorf("the primary is on %s, and %s was asked for", now, replica)
		}
	})
	b.part("all hosts are worked on, one after the other", rolling)
	b.part("nobody touches what is under maintenance", untouched)
	b.part("the hosts are too small for all when one is off", func(b *shopBench) {
		b.ready(b.cell.Apply(b.t.Context(), shopSpec(3, 2, 5)))
		b.open(true)
		h := b.ledger.hostsOf("cache")[0]
		b.off(h)
		b.open(false)
		b.await("the report to have no place", func(s cell.Status) bool { return s.Service("report").State == "homeless" })
		b.on(h)
		b.open(true)
	})
}

// off switches a host off.
func (b *shopBench) off(h string) {
	b.t.Helper()
	b.ready(b.lab.Host(h).Kill(b.t.Context()))
	b.ledger.died(h)
	b.await(h+" to be lost", func(s cell.Status) bool {
		return slices.ContainsFunc(s.Nodes, func(n cell.Node) bool { return n.Name == h && n.Liveness == "lost" })
	}, b.others(h)...)
}

// on switches it on again.
func (b *shopBench) on(h string) {
	b.t.Helper()
	b.ready(b.cell.Boot(b.t.Context(), h))
	b.whole()
}

// rolling empties each host, switches it off and on, and lets services back.
func rolling(b *shopBench) {
	for _, h := range b.nodes {
		b.ledger.mark("work on " + h)
		b.keelson(h, "drain", h, "--why", "new memory", "--yes")
		b.open(true)
		b.off(h)
		b.on(h)
		b.keelson(h, "undrain", h)
		b.open(true)
	}
}

// untouched kills a program on a node under maintenance.
func untouched(b *shopBench) {
	h := b.ledger.hostsOf("cache")[0]
	b.t.Log(b.keelson(h, "maintenance", "on", h))
	b.await("the maintenance", func(cell.Status) bool { return strings.Contains(b.keelson(h, "get", "nodes"), "maintenance") })
	time.Sleep(time.Second)
	before := len(b.ledger.all())
	line := b.run(h, `exec 2>/dev/null; for p in /proc/[0-9]*; do tr '\0' ' ' <$p/environ 2>/dev/null | grep -q KEELSON_SERVICE=cache && tr '\0' ' ' <$p/cmdline | grep -q 'part run' && echo ${p#/proc/}; done; true`)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	b.ready(err)
	b.run(h, fmt.Sprintf("kill -9 %d", pid))
	time.Sleep(3 * time.Second)
	if now := b.ledger.all(); len(now) > before {
		b.t.Errorf("something was done on a node under maintenance: %v", now[before:])
	}
	b.t.Log(b.keelson(h, "maintenance", "off", h))
	b.ledger.gone("cache", h)
	b.open(true)
}

func (l *ledger) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// gone notes that a program was killed from outside.
func (l *ledger) gone(key, host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.up[key], host)
}

// TestAddressMovesToWhereTheProgramRunsAlready moves an address on request, to a
// host that runs a copy of what serves it.
func TestAddressMovesToWhereTheProgramRunsAlready(t *testing.T) {
	l, c := newLab(t, 3, cell.Options{})
	b := &bench{t: t, lab: l, cell: c, nodes: names(3), service: web, url: webURL, ip: webIP}
	b.ready(c.Apply(t.Context(), fmt.Sprintf(`kind: service
name: server
copies: {count: 2}
parts:
  - exec: {command: [%s, "0.0.0.0:80"], env: {%s: %s}}
---
kind: service
name: web
parts:
  - address: %s/24
place: {near: [{service: server, score: 1000000}]}
`, lab.SelfPath, lab.RoleVariable, lab.RoleWeb, webIP)))
	b.probe()
	b.answered(boot())
	const limit = 50 * time.Millisecond
	b.step("to the other copy, five times", func(b *bench) {
		for range 5 {
			was := b.holder()
			time.Sleep(300 * time.Millisecond)
			fault := boot()
			b.keelson(was, "move", web)
			b.movedFrom(fault, was)
			b.within(fault, 5*limit)
		}
	})
}
