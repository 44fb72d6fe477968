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
	"syscall"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
)

// KillLimit is how long a kill may take to be proven. What lives longer hangs
// in the kernel, on a dead disk or mount.
const KillLimit = 5 * time.Second

// Pauses between two looks at a group that is dying.
const (
	firstPause = 500 * time.Microsecond
	lastPause  = 20 * time.Millisecond
)

// removeTries bounds how often a folder is removed again that the kernel still
// holds after its last process died.
const removeTries = 20

// herd is processes that die together.
type herd interface {
	// strike kills what is there now. It may miss what is being born.
	strike() error
	// left returns the living. Without an error, none means that all are dead. A
	// number 0 stands for a process that cannot be seen from here.
	left() ([]int, error)
}

// Members returns the process numbers of the group's living processes, lowest
// first. Number 0 stands for one that cannot be seen from here.
func (g *Group) Members() ([]int, error) { return g.herd().left() }

// Kill kills all processes of the group and returns nil when they are proven
// dead; a group that does not exist is. It tries for [KillLimit] or until ctx
// ends, but always at least once.
//
// The error is [ErrAlive] if there is a process that would not die, or
// [ErrOwnGroup].
func (g *Group) Kill(ctx context.Context) error {
	return kill(ctx, g.tree.clock, g.tree.proc, g.herd())
}

func (g *Group) herd() herd {
	if g.tree.track == nil {
		return session{proc: g.tree.proc, pidfile: g.pidfile, mark: g.mark()}
	}
	return folder{path: g.folder(), proc: g.tree.proc}
}

// KillHandle kills what a handle from [Group.Handles] stands for, with the
// promise and the errors of [Group.Kill]. It needs no [Tree], so that another
// process than the one that made the group can use it.
//
// It also removes the group, and returns nil only once it is gone: a start that
// is under way and has entered the group finds none, and fails (see
// [Group.Removed]). A group that is only a session cannot be removed; what is born late
// there is found by the next KillHandle.
func KillHandle(ctx context.Context, c clock.Clock, handle string) error {
	const proc = "/proc"
	if file, ok := strings.CutPrefix(handle, PidfilePrefix); ok {
		return kill(ctx, c, proc, session{proc: proc, pidfile: file})
	}
	f := folder{path: handle, proc: proc}
	var err error
	for range removeTries {
		if err := kill(ctx, c, proc, f); err != nil {
			return err
		}
		// Busy: something was born in it since, or the kernel is not done.
		if err = removeAll(handle); !errors.Is(err, syscall.EBUSY) || c.Sleep(ctx, lastPause/4) != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}

func kill(ctx context.Context, c clock.Clock, proc string, h herd) error {
	deadline := c.Now().Add(KillLimit)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if err := h.strike(); err != nil {
			return err
		}
		pids, err := h.left()
		if err == nil && len(pids) == 0 {
			return nil
		}
		late := !c.Now().Before(deadline)
		if !late && c.Sleep(ctx, pause) == nil {
			continue
		}
		return errors.Join(fmt.Errorf("%w: %s", ErrAlive, describe(proc, pids)), err, ctx.Err())
	}
}

// describeLimit is how many processes an error names.
const describeLimit = 5

// describe names processes for a person: `812 (shopd, waiting for the disk)`.
func describe(proc string, pids []int) string {
	var out []string
	for _, pid := range pids[:min(len(pids), describeLimit)] {
		s, err := lookIn(proc, pid)
		switch {
		case err != nil:
			out = append(out, strconv.Itoa(pid))
		case s.State == 'D':
			out = append(out, fmt.Sprintf("%d (%s, stuck in the kernel)", pid, s.Command))
		default:
			out = append(out, fmt.Sprintf("%d (%s)", pid, s.Command))
		}
	}
	if more := len(pids) - describeLimit; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	if len(out) == 0 {
		return "none that can be named"
	}
	return strings.Join(out, ", ")
}

// folder is a cgroup of either version.
type folder struct{ path, proc string }

func (f folder) strike() error {
	pids, err := listed(f.path)
	if err != nil || len(pids) == 0 {
		return err
	}
	if slices.Contains(pids, os.Getpid()) {
		return fmt.Errorf("kill %s: %w", f.path, ErrOwnGroup)
	}
	err = write(filepath.Join(f.path, killFile), "1")
	if !errors.Is(err, fs.ErrNotExist) {
		return gone(err)
	}
	for _, pid := range pids { // cgroup v1, or Linux before 5.14
		if pid <= 0 {
			continue // in another pid namespace: 0 would be ourselves
		}
		if err := killListed(f, pid); err != nil {
			return err
		}
	}
	return nil
}

// killListed kills pid if it is still a member of f once its number is held.
func killListed(f folder, pid int) error {
	return killHeld(pid, func() (bool, error) {
		pids, err := listed(f.path)
		return slices.Contains(pids, pid), err
	})
}

func (f folder) left() ([]int, error) {
	// In v2 this counts the whole tree at once, and also what is in other pid
	// namespaces.
	populated, v2 := readKey(filepath.Join(f.path, eventsFile), "populated")
	if v2 && populated == 0 {
		return nil, nil
	}
	pids, err := listed(f.path)
	if err != nil {
		return nil, err
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid > 0 && !alive(f.proc, pid) })
	if v2 && len(pids) == 0 {
		pids = []int{0}
		if n, ok := readKey(filepath.Join(f.path, eventsFile), "populated"); !ok || n == 0 {
			pids = nil
		}
	}
	return pids, nil
}

// listed returns the processes in a cgroup and all below it, sorted. A folder
// that does not exist has none.
func listed(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return gone(err)
		}
		text, err := os.ReadFile(filepath.Join(path, procsFile))
		if _, still := os.Stat(path); err != nil && still == nil && gone(err) == nil {
			return fmt.Errorf("%s is no cgroup", path)
		}
		if err != nil {
			return gone(err)
		}
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("%s: %q is no process number", filepath.Join(path, procsFile), field)
			}
			pids = append(pids, pid)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list cgroup: %w", err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// gone hides the errors that say that a cgroup or process is no more.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Remove takes the empty group away, with folders above it that are empty then.
// The caller has killed it.
func (g *Group) Remove(ctx context.Context) error {
	var failed []error
	seen := map[string]bool{}
	if g.tree.track == nil {
		if err := os.Remove(g.pidfile); err != nil {
			failed = append(failed, gone(err))
		}
	} else {
		seen[g.tree.track.base] = true
		failed = append(failed, g.removeFrom(ctx, *g.tree.track))
	}
	for _, c := range []string{memory, cpu, pids} {
		if h, ok := g.tree.limits[c]; ok && g.outer == nil && !seen[h.base] {
			seen[h.base] = true
			failed = append(failed, g.removeFrom(ctx, h))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}

func (g *Group) removeFrom(ctx context.Context, h hierarchy) error {
	dir := g.in(h)
	var err error
	for range removeTries {
		if err = removeAll(dir); !errors.Is(err, syscall.EBUSY) {
			break
		}
		if g.tree.clock.Sleep(ctx, lastPause/4) != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	for range g.names { // up to and including the base
		dir = filepath.Dir(dir)
		if os.Remove(dir) != nil {
			break
		}
	}
	return nil
}

// removeAll removes a cgroup and the groups that its program made in it.
func removeAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return gone(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return gone(syscall.Rmdir(dir))
}
