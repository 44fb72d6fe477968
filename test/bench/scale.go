package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/test/bench/journal"
)

const (
	// restBefore is how long a cell is left alone before it is looked at, and
	// restOver how long it is looked at without clients.
	restBefore = 10 * time.Second
	restOver   = 30 * time.Second
	tick       = 10 * time.Millisecond // of the kernel's count of processor time
)

// scale makes a cell of n nodes, looks at it at rest, watches that it stays
// whole, and kills the host that serves.
func (b *bench) scale(ctx context.Context, n int) journal.Scale {
	s := journal.Scale{Nodes: n, At: b.clock.Now().UTC().Truncate(time.Second), Seconds: b.steady.Seconds()}
	if err := b.grow(ctx, &s); err != nil {
		s.Error = err.Error()
	}
	return s
}

func (b *bench) grow(ctx context.Context, s *journal.Scale) (err error) {
	began := b.clock.Boot()
	a, err := raise(ctx, b.options, contestants()[0], s.Nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.lab.Close()) }()
	s.FormedMS = ms(b.clock.Boot() - began)
	if err := b.clock.Sleep(ctx, restBefore); err != nil {
		return err
	}
	if err := a.atRest(ctx, s); err != nil {
		return err
	}
	watched := a.steady(ctx, &imposed{condition: rest}, b.steady)
	if watched.Error != "" {
		return errors.New(watched.Error)
	}
	s.Alarms, s.Changes, s.UnservedS, s.Bound, s.Load = watched.Alarms, watched.Changes, watched.UnservedS, watched.Bound, watched.Load
	t := a.trial(ctx, kill, 1)
	if t.Error != "" {
		return errors.New(t.Error)
	}
	s.OutageMS, s.FailedOver = t.OutageMS, !t.Lost
	return nil
}

// use is what a node has used so far.
type use struct {
	packets float64
	cpu     time.Duration
	anonKB  int
}

// atRest notes what the nodes use while nobody asks anything.
func (a *arena) atRest(ctx context.Context, s *journal.Scale) error {
	before, err := a.usage(ctx)
	if err != nil {
		return err
	}
	from := a.clock.Boot()
	if err := a.clock.Sleep(ctx, restOver); err != nil {
		return err
	}
	after, err := a.usage(ctx)
	if err != nil {
		return err
	}
	took := (a.clock.Boot() - from).Seconds()
	var packets, cpu []float64
	for h, u := range after {
		packets = append(packets, (u.packets-before[h].packets)/took)
		cpu = append(cpu, 100*(u.cpu-before[h].cpu).Seconds()/took)
		s.MemoryMBTotal += float64(u.anonKB) / 1024
	}
	slices.Sort(packets)
	slices.Sort(cpu)
	s.Packets, s.PacketsMost = packets[len(packets)/2], packets[len(packets)-1]
	s.CPUPercent, s.CPUMost = cpu[len(cpu)/2], cpu[len(cpu)-1]
	return nil
}

// usage returns what each node has used: packets in and out, and what the
// kernel knows of its agent and its guard.
func (a *arena) usage(ctx context.Context) (map[string]use, error) {
	out := map[string]use{}
	for _, h := range a.hosts {
		var u use
		for _, way := range []string{"rx", "tx"} {
			text, err := a.lab.Host(h).ReadFile(ctx, "/sys/class/net/eth0/statistics/"+way+"_packets")
			if err != nil {
				return nil, err
			}
			n, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
			if err != nil {
				return nil, fmt.Errorf("count the packets of %s: %w", h, err)
			}
			u.packets += n
		}
		out[h] = u
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range all {
		host, ok := ours(dir, a.lab)
		if u, known := out[host]; ok && known {
			u.cpu += cpuOf(dir)
			u.anonKB += anonOf(dir)
			out[host] = u
		}
	}
	return out, nil
}

// ours returns the host of an agent or a guard of the lab. A process that ends
// meanwhile is none.
func ours(dir string, l *lab.Lab) (host string, ok bool) {
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	args := strings.Split(string(line), "\x00")
	if err != nil || len(args) < 2 || filepath.Base(args[0]) != "keelson" || args[1] != "agent" && args[1] != "guard" {
		return "", false
	}
	groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	_, rest, found := strings.Cut(string(groups), "/"+l.ID()+"/")
	if err != nil || !found {
		return "", false
	}
	host = rest[:strings.IndexAny(rest+"\n", "/\n")]
	return host, true
}

// cpuOf returns the processor time of a process. Source: proc_pid_stat(5).
func cpuOf(dir string) time.Duration {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	_, rest, ok := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if err != nil || !ok || len(f) < 13 {
		return 0
	}
	var total int
	for _, field := range f[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0
		}
		total += n
	}
	return time.Duration(total) * tick
}

// anonOf returns the resident memory of a process that no file backs, in KiB.
func anonOf(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
