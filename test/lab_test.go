//go:build integration

package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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
	playRole()
	os.Exit(m.Run())
}

const (
	web     = "web"
	webIP   = "10.77.0.100"
	webURL  = "http://10.77.0.100/"
	client  = "client"
	settled = 90 * time.Second // to form a cell, or to be whole again
	overdue = 30 * time.Second // for a takeover: many times what it takes
	// hiccup is an outage that the clients themselves may cause where the
	// machine is busy: a request or two that were given up.
	hiccup = 400 * time.Millisecond
)

// longest is what no test of the lab takes, steps and all: four times what the
// longest of them needs on two idle cores.
const longest = 10 * time.Minute

// stuck ends the run and says in which test, and where in it, nothing goes on.
func stuck(name string) {
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	for _, g := range strings.Split(string(all), "\n\n") {
		if strings.Contains(g, "keelson/test.") && !strings.Contains(g, "test.stuck") {
			fmt.Fprintln(os.Stderr, g)
		}
	}
	fmt.Fprintf(os.Stderr, "--- FAIL: %s has not ended within %s; above is where it stands\n", name, longest)
	os.Exit(1)
}

// bench is a lab with a cell, an exclusive service on it, and two clients that
// ask for its address all the time.
type bench struct {
	t       *testing.T
	lab     *lab.Lab
	cell    *cell.Cell
	nodes   []string
	service string
	url     string
	ip      string // "": the address is not asked for by ARP
	http    *lab.Stream[probe.HTTPResult]
	arp     *lab.Stream[probe.ARPAnswer]

	patience time.Duration // for an answer, if more than overdue
}

func boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// binary is the keelson that a test of the lab runs. From here on the test's time
// is limited.
func binary(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: the lab tests need root")
	}
	path := os.Getenv("KEELSON_BINARY")
	if path == "" {
		t.Fatal("KEELSON_BINARY is not set: run `make lab`")
	}
	ended := time.AfterFunc(longest, func() { stuck(t.Name()) })
	t.Cleanup(func() { ended.Stop() })
	return path
}

// newLab makes a lab of n nodes h1.. and a client, and a cell of the nodes.
func newLab(t testing.TB, n int, o cell.Options) (*lab.Lab, *cell.Cell) {
	t.Helper()
	l := raise(t, n, o.Networks)
	return l, form(t, l, n, o)
}

// raise makes a lab of n hosts h1.., a client and other hosts.
func raise(t testing.TB, n, networks int, others ...string) *lab.Lab {
	t.Helper()
	path := binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), settled)
	defer cancel()
	hosts := slices.Concat(names(n), []string{client}, others)
	l, err := lab.New(ctx, lab.Options{Hosts: hosts, Shares: []lab.Share{cell.Share(path)}, Networks: max(networks, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return l
}

// names are those of the first n hosts.
func names(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("h%d", i+1))
	}
	return out
}

// form makes a cell of the first n hosts and waits for its voters.
func form(t testing.TB, l *lab.Lab, n int, o cell.Options) *cell.Cell {
	t.Helper()
	o.Nodes, o.LogDir, o.LogLevel = names(n), logDir(t), os.Getenv("KEELSON_LOG_LEVEL")
	if b, ok := t.(*testing.T); ok {
		t.Cleanup(func() { showLogs(b, o.LogDir) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), settled)
	defer cancel()
	c, err := cell.Form(ctx, l, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), settled)
	defer cancel()
	if _, err := c.Await(ctx, "the voters", func(s cell.Status) bool { return voters(s) == wantVoters(n) }); err != nil {
		t.Fatal(err)
	}
	return c
}

func wantVoters(n int) int { return min(5, n-1+n%2) }

func voters(s cell.Status) int { return len(votersOf(s)) }

func votersOf(s cell.Status) []string {
	var out []string
	for _, n := range s.Nodes {
		if n.Voter {
			out = append(out, n.Name)
		}
	}
	return out
}

// logDir is where the agents' logs go. KEELSON_LOG_DIR keeps them.
func logDir(t testing.TB) string {
	t.Helper()
	keep := os.Getenv("KEELSON_LOG_DIR")
	if keep == "" {
		return t.TempDir()
	}
	dir := filepath.Join(keep, t.Name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
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
func newBench(t *testing.T, n int, others ...string) *bench {
	t.Helper()
	l := raise(t, n, 1, others...)
	return benchOf(t, l, form(t, l, n, cell.Options{}), n)
}

// benchOf puts the web service on a cell.
func benchOf(t *testing.T, l *lab.Lab, c *cell.Cell, n int) *bench {
	t.Helper()
	b := &bench{t: t, lab: l, cell: c, nodes: names(n), service: web, url: webURL, ip: webIP}
	b.ready(c.Apply(t.Context(), cell.WebService(web, webIP+"/24", webIP+":80")))
	b.probe()
	b.answered(boot())
	return b
}

// step is one of several checks on the same bench, one after the other: it has
// clients of its own, begins with a whole cell and ends with the question
// whether two hosts ever had the address at once. A bench on which one has
// failed is of no use for the next.
func (b *bench) step(name string, f func(*bench)) {
	b.t.Helper()
	passed := b.t.Run(name, func(t *testing.T) {
		s := *b
		s.t = t
		defer s.tellEvents()
		s.whole()
		s.probe()
		s.answered(boot())
		f(&s)
		s.neverTwo()
		b.nodes = s.nodes // it may have changed who is in the cell
	})
	if !passed {
		b.t.FailNow()
	}
}

// probe starts the clients, in place of those before.
func (b *bench) probe() {
	b.t.Helper()
	b.stop()
	var err error
	b.http, err = b.lab.Host(client).ProbeHTTP(b.t.Context(), probe.HTTP{URL: b.url})
	b.ready(err)
	if b.ip != "" {
		b.arp, err = b.lab.Host(client).ProbeARP(b.t.Context(), probe.ARP{Address: b.ip})
		b.ready(err)
	}
}

// stop ends the clients and returns what they saw.
func (b *bench) stop() (asked []probe.HTTPResult, heard []probe.ARPAnswer) {
	b.t.Helper()
	var err error
	if b.http != nil {
		asked, err = b.http.Stop(b.t.Context())
		b.ready(err)
	}
	if b.arp != nil {
		heard, err = b.arp.Stop(b.t.Context())
		b.ready(err)
	}
	return asked, heard
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
	ctx, cancel := context.WithTimeout(b.t.Context(), max(b.patience, overdue))
	defer cancel()
	r, err := b.http.Await(ctx, func(r probe.HTTPResult) bool { return r.OK && r.Sent > since && so(r) })
	if err != nil {
		b.t.Fatalf("waited %s for %s: %v\n%s", max(b.patience, overdue), what, err, b.opinions())
	}
	return r
}

// opinions is what each node says of the service, for a test that failed.
func (b *bench) opinions() string {
	out := ""
	for _, node := range b.nodes {
		r, err := b.cell.Keelson(b.t.Context(), node, "describe", "service", b.service)
		out += fmt.Sprintf("--- %s says (%v):\n%s%s", node, err, r.Stdout, r.Stderr)
	}
	return out
}

// tellEvents prints what the cell recorded last, if the test has failed.
func (b *bench) tellEvents() {
	if b.t.Failed() {
		time.Sleep(2 * time.Second) // for the last of them to be written
	}
	for _, node := range b.nodes {
		if !b.t.Failed() {
			return
		}
		if r, err := b.cell.Keelson(b.t.Context(), node, "events", "--limit", "60"); err == nil && r.Exit.Code == 0 {
			b.t.Logf("--- events\n%s", r.Stdout)
			return
		}
	}
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

// stays fails if, a moment after the cell is whole, the service is not where it
// was at r, without having been started anew: a host that comes back takes
// nothing away.
func (b *bench) stays(r probe.HTTPResult) {
	b.t.Helper()
	time.Sleep(time.Second)
	if now := b.answered(boot()); now.Host != r.Host || now.Epoch != r.Epoch {
		b.t.Errorf("%s served under epoch %d, now it is %s under %d, without need", r.Host, r.Epoch, now.Host, now.Epoch)
	}
	for _, o := range probe.Outages(b.http.Since(0), r.Done) {
		if o.Start >= r.Done && o.Duration() > hiccup {
			b.t.Errorf("%d requests failed within %s, %s after %s had taken over", o.Failed, o.Duration(), o.Start-r.Done, r.Host)
		}
	}
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
	b.await("the cell to be whole", func(s cell.Status) bool {
		return s.Whole(b.nodes) && voters(s) == wantVoters(len(b.nodes)) && s.Service(b.service).State == "running"
	})
}

// await waits until the cell says something of itself.
func (b *bench) await(what string, so func(cell.Status) bool, via ...string) cell.Status {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), settled)
	defer cancel()
	s, err := b.cell.Await(ctx, what, so, via...)
	b.ready(err)
	return s
}

// neverTwo stops the clients and fails if two hosts held the address at once,
// by ARP or by what it answers.
func (b *bench) neverTwo() {
	b.t.Helper()
	asked, heard := b.stop()
	if len(asked) == 0 || b.arp != nil && len(heard) == 0 {
		b.t.Fatalf("the clients saw nothing: %d answers by ARP, %d by HTTP", len(heard), len(asked))
	}
	oneHolder(b.t, asked, heard)
}

// oneHolder fails if what clients saw is not that of one holder at a time.
func oneHolder(t *testing.T, asked []probe.HTTPResult, heard []probe.ARPAnswer) {
	t.Helper()
	const gap = 60 * time.Millisecond
	if d := probe.TwoHolders(probe.SeenByARP(heard), probe.DefaultEvery, gap); d > 0 {
		t.Errorf("two hosts answered ARP for the address for %s", d)
	}
	if d := probe.TwoHolders(probe.SeenByHTTP(asked), probe.DefaultEvery, gap); d > 0 {
		t.Errorf("two hosts answered at the address for %s", d)
	}
	last := uint64(0)
	for _, tenure := range probe.Tenures(asked) {
		if tenure.Epoch < last {
			t.Errorf("the epoch went from %d back to %d", last, tenure.Epoch)
		}
		last = tenure.Epoch
	}
}
