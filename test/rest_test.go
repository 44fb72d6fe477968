//go:build integration

package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab/cell"
)

// BenchmarkAtRest prints what the processes of a voter and of another node use
// while nothing happens: memory that is resident, and the share of a core. In a
// cell of four nodes three vote. Pages of the program's file that both processes
// of a node have in memory count once: what is resident is what is not
// file-backed of both, and the larger of the two file-backed parts. "rss" adds
// both processes.
func BenchmarkAtRest(b *testing.B) {
	_, c := newLab(b, 4, cell.Options{})
	if err := c.Apply(b.Context(), cell.WebService(web, webIP+"/24", webIP+":80")); err != nil {
		b.Fatal(err)
	}
	time.Sleep(15 * time.Second) // the work of forming is over, and so is the garbage
	const span = 30 * time.Second
	before := usage(b)
	time.Sleep(span)
	after := usage(b)
	ctx, cancel := context.WithTimeout(b.Context(), settled)
	defer cancel()
	s, err := c.Status(ctx, "h1")
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range s.Nodes {
		kind := "node"
		if n.Voter {
			kind = "voter"
		}
		b.Logf("%s %s: %s", n.Name, kind, after[n.Name].since(before[n.Name], span))
		u := after[n.Name]
		b.ReportMetric(float64(u.anon+u.file)/1024, kind+"-"+n.Name+"-MB")
		b.ReportMetric(100*(u.cpu-before[n.Name].cpu).Seconds()/span.Seconds(), kind+"-"+n.Name+"-%core")
	}
}

// used is what the agent and the guard of one node have used.
type used struct {
	rss, anon, file int // KiB
	cpu             time.Duration
	by              map[string]time.Duration
}

func (u used) since(before used, span time.Duration) string {
	text := fmt.Sprintf("%.1f MB resident (rss of both processes added: %.1f MB, of that not file-backed %.1f MB), %.2f %% of a core (",
		float64(u.anon+u.file)/1024, float64(u.rss)/1024, float64(u.anon)/1024, 100*(u.cpu-before.cpu).Seconds()/span.Seconds())
	for _, name := range []string{"agent", "guard"} {
		text += fmt.Sprintf(" %s %.2f %%", name, 100*(u.by[name]-before.by[name]).Seconds()/span.Seconds())
	}
	return text + " )"
}

// usage reads /proc for all agents and guards, by the name of their host.
func usage(b *testing.B) map[string]used {
	b.Helper()
	out := map[string]used{}
	stats, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range stats {
		line, err := os.ReadFile(path)
		args := strings.Split(string(line), "\x00")
		if err != nil || len(args) < 2 || filepath.Base(args[0]) != "keelson" || args[1] != "agent" && args[1] != "guard" {
			continue
		}
		dir := filepath.Dir(path)
		host := environ(dir, "HOSTNAME")
		u := out[host]
		if u.by == nil {
			u.by = map[string]time.Duration{}
		}
		u.rss += field(dir+"/status", "VmRSS:")
		u.anon += field(dir+"/status", "RssAnon:")
		u.file = max(u.file, field(dir+"/status", "RssFile:"))
		cpu := ticks(dir)
		u.cpu += cpu
		u.by[args[1]] += cpu
		out[host] = u
	}
	return out
}

func environ(dir, name string) string {
	data, _ := os.ReadFile(dir + "/environ")
	for _, e := range strings.Split(string(data), "\x00") {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// field reads a number of KiB.
func field(path, name string) int {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// ticks is the processor time of a process, to 10 ms.
func ticks(dir string) time.Duration {
	data, _ := os.ReadFile(dir + "/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
