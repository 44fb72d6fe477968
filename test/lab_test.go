//go:build integration

package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/picture"
	"github.com/keelson/keelson/internal/lab/probe"
)

func TestMain(m *testing.M) {
	lab.MaybeRunInner()
	os.Exit(m.Run())
}

const (
	web     = "web"
	webIP   = "10.77.0.100"
	webURL  = "http://10.77.0.100/"
	client  = "client"
	settled = 90 * time.Second // to form a cell, or to be whole again
	overdue = 30 * time.Second // for a takeover: many times what it takes
)

// bench is a lab with a cell, the web service on it, and two clients that ask
// for it all the time.
type bench struct {
	t     *testing.T
	lab   *lab.Lab
	cell  *cell.Cell
	nodes []string
	http  *lab.Stream[probe.HTTPResult]
	arp   *lab.Stream[probe.ARPAnswer]
}

func boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

func binary(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: the lab tests need root")
	}
	path := os.Getenv("KEELSON_BINARY")
	if path == "" {
		t.Fatal("KEELSON_BINARY is not set: run `make lab`")
	}
	return path
}

// newLab makes a lab of n nodes h1.. and a client, and a cell of the nodes.
func newLab(t testing.TB, n int, o cell.Options) (*lab.Lab, *cell.Cell) {
	t.Helper()
	path := binary(t)
	hosts := []string{}
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("h%d", i+1))
	}
	ctx, cancel := context.WithTimeout(t.Context(), settled)
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Hosts: append(slices.Clone(hosts), client), Shares: []lab.Share{cell.Share(path)}, Networks: max(o.Networks, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	o.Nodes, o.LogDir = hosts, t.TempDir()
	if b, ok := t.(*testing.T); ok {
		t.Cleanup(func() { showLogs(b, o.LogDir) })
	}
	c, err := cell.Form(ctx, l, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), settled)
	defer cancel()
	if _, err := c.Await(ctx, "the voters", func(s cell.Status) bool { return voters(s) >= wantVoters(n) }); err != nil {
		t.Fatal(err)
	}
	return l, c
}

func wantVoters(n int) int { return min(5, n-1+n%2) }

func voters(s cell.Status) int {
	count := 0
	for _, n := range s.Nodes {
		if n.Voter {
			count++
		}
	}
	return count
}

// showLogs prints the ends of the agents' logs of a test that failed.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	if !t.Failed() && os.Getenv("KEELSON_SHOW_LOGS") == "" {
		return
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		t.Logf("--- %s\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-60):], "\n"))
	}
}

// newBench is a lab with the web service, asked every 5 ms.
func newBench(t *testing.T, n int) *bench {
	t.Helper()
	l, c := newLab(t, n, cell.Options{})
	b := &bench{t: t, lab: l, cell: c}
	for _, h := range l.Hosts()[:n] {
		b.nodes = append(b.nodes, h.Name())
	}
	b.ready(c.Apply(t.Context(), cell.WebService(web, webIP+"/24", webIP+":80")))
	b.probe()
	b.answered(boot())
	return b
}

func (b *bench) probe() {
	b.t.Helper()
	var err error
	b.http, err = b.lab.Host(client).ProbeHTTP(b.t.Context(), probe.HTTP{URL: webURL})
	b.ready(err)
	b.arp, err = b.lab.Host(client).ProbeARP(b.t.Context(), probe.ARP{Address: webIP})
	b.ready(err)
}

func (b *bench) ready(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// answered waits for a good answer to a question sent after since.
func (b *bench) answered(since time.Duration) probe.HTTPResult {
	b.t.Helper()
	return b.answeredBy(since, "an answer", func(probe.HTTPResult) bool { return true })
}

func (b *bench) answeredBy(since time.Duration, what string, so func(probe.HTTPResult) bool) probe.HTTPResult {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), overdue)
	defer cancel()
	r, err := b.http.Await(ctx, func(r probe.HTTPResult) bool { return r.OK && r.Sent > since && so(r) })
	if err != nil {
		b.t.Fatalf("waited %s for %s: %v", overdue, what, err)
	}
	return r
}

// holder is the host that answers now.
func (b *bench) holder() string {
	b.t.Helper()
	return b.answered(boot()).Host
}

// others are the nodes but these.
func (b *bench) others(not ...string) []string {
	return slices.DeleteFunc(slices.Clone(b.nodes), func(n string) bool { return slices.Contains(not, n) })
}

// movedFrom waits until another host than these answers, and reports the outage.
func (b *bench) movedFrom(fault time.Duration, hosts ...string) probe.HTTPResult {
	b.t.Helper()
	r := b.answeredBy(fault, "another host than "+strings.Join(hosts, ", "), func(r probe.HTTPResult) bool {
		return r.Host != "" && !slices.Contains(hosts, r.Host)
	})
	time.Sleep(300 * time.Millisecond) // some answers more for the picture
	b.report(fault)
	return r
}

// report prints the outage as the client saw it.
func (b *bench) report(fault time.Duration) {
	b.t.Helper()
	all := b.http.Since(0)
	worst, ok := probe.Worst(all, fault-50*time.Millisecond)
	if !ok {
		b.t.Logf("no outage")
		return
	}
	b.t.Logf("outage %s, %d requests failed, %s -> %s\n%s", worst.Duration().Round(time.Millisecond), worst.Failed, worst.Before.Host, worst.After.Host,
		picture.Outage{Results: all, Fault: fault, Hosts: b.nodes, Width: 100}.Draw())
}

// whole waits until the cell is as it should be.
func (b *bench) whole() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), settled)
	defer cancel()
	_, err := b.cell.Await(ctx, "the cell to be whole", func(s cell.Status) bool {
		return s.Whole(b.nodes) && voters(s) >= wantVoters(len(b.nodes)) && s.Service(web).State == "running"
	})
	b.ready(err)
}

// neverTwo stops the clients and fails if two hosts held the address at once,
// by ARP or by what it answers.
func (b *bench) neverTwo() {
	b.t.Helper()
	asked, err := b.http.Stop(b.t.Context())
	b.ready(err)
	heard, err := b.arp.Stop(b.t.Context())
	b.ready(err)
	if len(heard) == 0 || len(asked) == 0 {
		b.t.Fatalf("the clients saw nothing: %d answers by ARP, %d by HTTP", len(heard), len(asked))
	}
	const gap = 60 * time.Millisecond
	if d := probe.TwoHolders(probe.SeenByARP(heard), probe.DefaultEvery, gap); d > 0 {
		b.t.Errorf("two hosts answered ARP for %s for %s", webIP, d)
	}
	if d := probe.TwoHolders(probe.SeenByHTTP(asked), probe.DefaultEvery, gap); d > 0 {
		b.t.Errorf("two hosts answered at %s for %s", webURL, d)
	}
	last := uint64(0)
	for _, tenure := range probe.Tenures(asked) {
		if tenure.Epoch < last {
			b.t.Errorf("the epoch went from %d back to %d", last, tenure.Epoch)
		}
		last = tenure.Epoch
	}
}
