// Package cgroup keeps the lab's own directories in the machine's cgroup
// hierarchies: one per lab, and in it one per host.
//
// Its one rule: cgroups are the only part of a lab that outlives its
// processes, so every directory carries the process that made it in its name,
// and whoever starts a lab removes those of the dead. Pure v2, pure v1 and
// both side by side are the same to it: a [wire.Cgroup] for each hierarchy
// that has something to give. It never touches a directory that is not a
// lab's.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/lab/wire"
)

const (
	// Prefix begins the name of every lab's directory.
	Prefix = "keelson-lab-"
	// realTimeMicros is the real-time budget of a whole lab per second, where
	// the v1 cpu controller hands it out. A new directory has none, and a
	// process in it could not become real-time.
	realTimeMicros = 300_000
	// realTimeOfHost is what each host has of it at least, if the machine has so
	// much left: with less, the kernel stops the guards of a large cell for a good
	// part of each second, at rest.
	realTimeOfHost = 25_000
	// removeTries times removePause bounds the wait for a directory that is
	// still busy: the kernel empties it a moment after the last process died.
	removeTries = 100
	removePause = 20 * time.Millisecond
)

// wanted are the controllers that a lab makes use of.
func wanted() []string { return []string{"freezer", "cpu", "memory", "pids"} }

// ParseMounts returns the usable hierarchies listed in the text of a
// mountinfo file, the unified one first. Dir is left empty.
// Source: proc_pid_mountinfo(5).
func ParseMounts(mountinfo string) []wire.Cgroup {
	var out []wire.Cgroup
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		mount := left[4]
		if slices.ContainsFunc(out, func(c wire.Cgroup) bool { return c.Mount == mount }) {
			continue
		}
		switch right[0] {
		case "cgroup2":
			out = slices.Insert(out, 0, wire.Cgroup{Mount: mount, Unified: true})
		case "cgroup":
			var has []string
			for o := range strings.SplitSeq(right[2], ",") {
				if slices.Contains(wanted(), o) {
					has = append(has, o)
				}
			}
			if len(has) > 0 {
				out = append(out, wire.Cgroup{Mount: mount, Controllers: has})
			}
		}
	}
	return out
}

// Create makes the directory id in each hierarchy and returns those where that
// was possible, which for an ordinary user is none. Create removes what dead
// labs left behind first.
func Create(ctx context.Context, id string) ([]wire.Cgroup, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the mounts: %w", err)
	}
	var out []wire.Cgroup
	for _, c := range ParseMounts(string(text)) {
		if err := removeStale(ctx, c.Mount); err != nil {
			return out, err
		}
		c.Dir = filepath.Join(c.Mount, id)
		if err := os.Mkdir(c.Dir, 0o755); err != nil {
			continue // not ours to use
		}
		if c.Unified {
			c.Controllers = enable(c.Mount)
			enable(c.Dir)
		}
		_ = write(c.Dir, "cpu.rt_runtime_us", strconv.Itoa(realTimeMicros))
		out = append(out, c)
	}
	return out, nil
}

// enable hands the wanted controllers down from dir to its children, as far as
// the kernel lets it, and returns those that dir now hands down.
func enable(dir string) []string {
	var on []string
	for _, c := range wanted() {
		if write(dir, "cgroup.subtree_control", "+"+c) == nil {
			on = append(on, c)
		}
	}
	return on
}

// AddHost makes the directories of one of n hosts below the lab's and returns
// them. They may exist already.
func AddHost(lab []wire.Cgroup, host string, n int) ([]wire.Cgroup, error) {
	n = max(n, 1)
	var out []wire.Cgroup
	for _, c := range lab {
		whole := realTime(c.Dir, n)
		c.Dir = filepath.Join(c.Dir, host)
		if err := os.MkdirAll(c.Dir, 0o755); err != nil {
			return nil, fmt.Errorf("make a cgroup for %s: %w", host, err)
		}
		_ = write(c.Dir, "cpu.rt_runtime_us", strconv.Itoa(whole/n))
		out = append(out, c)
	}
	return out, nil
}

// realTime makes the real-time budget of a lab as large as n hosts need, as far as
// other labs leave that much, and returns it in microseconds per second.
func realTime(dir string, n int) int {
	for want := n * realTimeOfHost; want > realTimeMicros; want -= realTimeMicros / 4 {
		if write(dir, "cpu.rt_runtime_us", strconv.Itoa(want)) == nil {
			return want
		}
	}
	return realTimeMicros
}

// Enter moves the calling process into the host's directories.
func Enter(host []wire.Cgroup) error {
	for _, c := range host {
		if err := write(c.Dir, "cgroup.procs", "0"); err != nil {
			return err
		}
	}
	return nil
}

// Settle moves the calling process into a leaf of its own at dir, the root of
// a unified hierarchy as a host sees it, and hands the controllers down, so
// that programs of the host can make children with limits: a v2 directory
// with processes may not have both.
func Settle(dir string) error {
	leaf := filepath.Join(dir, "init")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return fmt.Errorf("make the cgroup of init: %w", err)
	}
	if err := write(leaf, "cgroup.procs", "0"); err != nil {
		return err
	}
	enable(dir)
	return nil
}

// Freeze stops or continues all processes in the host's directories and waits
// until the kernel confirms it. It returns [wire.ErrNoCgroup] if there is no
// freezer, and ctx's error if the kernel takes too long.
func Freeze(ctx context.Context, host []wire.Cgroup, frozen bool) error {
	for _, c := range host {
		switch {
		case c.Unified:
			if err := write(c.Dir, "cgroup.freeze", map[bool]string{true: "1", false: "0"}[frozen]); err != nil {
				continue // a kernel before 5.2
			}
			want := map[bool]string{true: "frozen 1", false: "frozen 0"}[frozen]
			return await(ctx, c.Dir, "cgroup.events", want)
		case slices.Contains(c.Controllers, "freezer"):
			want := map[bool]string{true: "FROZEN", false: "THAWED"}[frozen]
			if err := write(c.Dir, "freezer.state", want); err != nil {
				return err
			}
			return await(ctx, c.Dir, "freezer.state", want)
		}
	}
	return wire.ErrNoCgroup
}

func await(ctx context.Context, dir, file, want string) error {
	for {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if strings.Contains(string(text), want) {
			return nil
		}
		if err := (clock.System{}).Sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("wait for %q in %s: %w", want, file, err)
		}
	}
}

// LimitCPU gives the host percent of one core; 0 lifts the limit.
func LimitCPU(host []wire.Cgroup, percent float64) error {
	const period = 100_000
	quota := strconv.Itoa(int(percent / 100 * period))
	for _, c := range host {
		switch {
		case !slices.Contains(c.Controllers, "cpu"):
		case c.Unified && percent == 0:
			return write(c.Dir, "cpu.max", "max "+strconv.Itoa(period))
		case c.Unified:
			return write(c.Dir, "cpu.max", quota+" "+strconv.Itoa(period))
		case percent == 0:
			return write(c.Dir, "cpu.cfs_quota_us", "-1")
		default:
			if err := write(c.Dir, "cpu.cfs_period_us", strconv.Itoa(period)); err != nil {
				return err
			}
			return write(c.Dir, "cpu.cfs_quota_us", quota)
		}
	}
	return wire.ErrNoCgroup
}

// LimitMemory lets the host use this many bytes; 0 lifts the limit.
func LimitMemory(host []wire.Cgroup, bytes int64) error {
	for _, c := range host {
		switch {
		case !slices.Contains(c.Controllers, "memory"):
		case c.Unified && bytes == 0:
			return write(c.Dir, "memory.max", "max")
		case c.Unified:
			return write(c.Dir, "memory.max", strconv.FormatInt(bytes, 10))
		case bytes == 0:
			return write(c.Dir, "memory.limit_in_bytes", "-1")
		default:
			return write(c.Dir, "memory.limit_in_bytes", strconv.FormatInt(bytes, 10))
		}
	}
	return wire.ErrNoCgroup
}

// Processes returns the ids of the processes in the host's directories, as the
// caller's PID namespace numbers them.
func Processes(host []wire.Cgroup) []int {
	var pids []int
	for _, c := range host {
		for _, dir := range tree(c.Dir) {
			text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue // removed meanwhile
			}
			for f := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 && !slices.Contains(pids, pid) {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// Remove removes a lab's directories and all below them, and waits for those
// that are still busy. What is frozen is thawed, since v1 cannot kill it
// otherwise. Directories that are gone already are fine.
func Remove(ctx context.Context, lab []wire.Cgroup) error {
	var failed []error
	for _, c := range lab {
		if !strings.HasPrefix(filepath.Base(c.Dir), Prefix) {
			continue
		}
		failed = append(failed, removeTree(ctx, c.Dir))
	}
	return errors.Join(failed...)
}

func removeTree(ctx context.Context, root string) error {
	for try := 1; ; try++ {
		var last error
		for _, dir := range slices.Backward(tree(root)) {
			_ = write(dir, "freezer.state", "THAWED")
			_ = write(dir, "cgroup.freeze", "0")
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				last = err
			}
		}
		if last == nil || try == removeTries {
			return last
		}
		if err := (clock.System{}).Sleep(ctx, removePause); err != nil {
			return last
		}
	}
}

// tree lists root and all directories below it, parents first.
func tree(root string) []string {
	var out []string
	// A directory that vanishes while it is walked needs no removal.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			out = append(out, path)
		}
		return nil
	})
	return out
}

// removeStale removes the directories of labs whose process is gone.
func removeStale(ctx context.Context, mount string) error {
	entries, err := os.ReadDir(mount)
	if err != nil {
		return nil // not ours to read, so none of ours is in it
	}
	for _, e := range entries {
		pid, started, ok := ParseID(e.Name())
		if !ok || StartTime(pid) == started {
			continue
		}
		// Busy means that its stage is still cleaning up: it will do the rest.
		dir := filepath.Join(mount, e.Name())
		if len(Processes([]wire.Cgroup{{Dir: dir}})) > 0 {
			continue
		}
		if err := removeTree(ctx, dir); err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// ID returns a name for a lab of the calling process. serial tells the labs of
// one process apart.
func ID(serial string) string {
	pid := os.Getpid()
	return fmt.Sprintf("%s%d-%d-%s", Prefix, pid, StartTime(pid), serial)
}

// ParseID takes apart what [ID] made.
func ParseID(id string) (pid int, started uint64, ok bool) {
	rest, ok := strings.CutPrefix(id, Prefix)
	if !ok {
		return 0, 0, false
	}
	parts := strings.SplitN(rest, "-", 3)
	if len(parts) != 3 {
		return 0, 0, false
	}
	pid, err := strconv.Atoi(parts[0])
	if err != nil || pid <= 0 {
		return 0, 0, false
	}
	started, err = strconv.ParseUint(parts[1], 10, 64)
	return pid, started, err == nil
}

// StartTime returns when the process started, in clock ticks since boot, or 0
// if there is no such process. Source: proc_pid_stat(5), field 22.
func StartTime(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in field 2 may hold anything, so count from its last bracket.
	_, rest, ok := cutLast(string(text), ")")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0
	}
	t, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return 0
	}
	return t
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func write(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
