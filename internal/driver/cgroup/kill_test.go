package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/keelson/keelson/internal/base/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trees returns one tree for each way to track that this host can be tested
// with. Those of cgroups have a base of their own.
func trees(t *testing.T) map[string]*Tree {
	base := fmt.Sprintf("/keelson-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	out := map[string]*Tree{"session": Open(Options{Clock: clock.System{}, Sessions: true})}
	if os.Getuid() != 0 {
		return out
	}
	best := Open(Options{Clock: clock.System{}, Base: base})
	if best.track != nil && best.track.v2 {
		out["v2"] = best
		// The same tree as on a kernel that lacks both of v2's conveniences.
		old := *best
		old.clones = false
		out["v2 without birth in a group"] = &old
	}
	v1 := &Tree{clock: clock.System{}, proc: "/proc", limits: map[string]hierarchy{}}
	mounts, own, err := v1.read()
	if err != nil {
		t.Fatal(err)
	}
	v1.trackV1(mounts, own, base)
	if v1.track != nil {
		out["v1"] = v1
	}
	return out
}

func eachTree(t *testing.T, test func(t *testing.T, tree *Tree)) {
	for name, tree := range trees(t) {
		t.Run(name, func(t *testing.T) { test(t, tree) })
	}
}

// member starts a shell script in a new group, and waits until it has said
// so in a file of that name. It returns the group and what the script wrote.
func member(t *testing.T, tree *Tree, script string) (g *Group, pid int, said string) {
	t.Helper()
	dir := t.TempDir()
	g, err := tree.Group(filepath.Join(dir, "pidfile"), "cell", "n1", "", "shop", "exec")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Create(Limits{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(g.Kill(ctx), g.Remove(ctx)); err != nil {
			t.Errorf("clean up: %v", err)
		}
		if tree.track != nil {
			if _, err := os.Stat(tree.track.base); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left behind: %v", tree.track.base, err)
			}
		}
	})
	attr := &syscall.SysProcAttr{Setsid: true}
	done, err := g.Enter(attr)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	out, gate := filepath.Join(dir, "out"), filepath.Join(dir, "gate")
	// The gate holds the script back until it is placed, as the driver does by
	// other means.
	pid, err = syscall.ForkExec("/bin/sh", []string{"sh", "-c", "while [ ! -e $GATE ]; do sleep 0.01; done; " + script}, &syscall.ProcAttr{
		Env: append(g.Env(), "PATH=/bin:/usr/bin", "OUT="+out, "GATE="+gate), Sys: attr,
		Files: []uintptr{^uintptr(0), 1, 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
			t.Errorf("reap: %v", err)
		}
	})
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // runs before the reaping
	if g.NeedsPlace(Limits{}) {
		if err := g.Place(pid, Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.HasSuffix(said, "\n"); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the script never came up")
		}
		text, _ := os.ReadFile(out)
		said = string(text)
	}
	return g, pid, said
}

const family = "setsid sh -c 'sleep 1001 & sleep 1002 & wait' & sleep 1003 & sleep 0.05; echo up >$OUT; trap '' TERM; wait"

func TestKillIsCompleteAndProven(t *testing.T) {
	eachTree(t, func(t *testing.T, tree *Tree) {
		g, pid, _ := member(t, tree, family)
		pids, err := g.Members()
		if err != nil || len(pids) != 5 || !slices.Contains(pids, pid) {
			t.Errorf("members %v, %v; want 5 with %d", pids, err, pid)
		}
		if err := g.Kill(t.Context()); err != nil {
			t.Errorf("kill: %v", err)
		}
		for _, p := range pids {
			if alive("/proc", p) {
				t.Errorf("process %d lives after the kill", p)
			}
		}
		if err := g.Kill(t.Context()); err != nil {
			t.Errorf("kill of the dead: %v", err)
		}
		if left, err := g.Members(); err != nil || len(left) != 0 {
			t.Errorf("members after the kill: %v, %v", left, err)
		}
	})
}

func TestKillByHandle(t *testing.T) {
	eachTree(t, func(t *testing.T, tree *Tree) {
		g, pid, _ := member(t, tree, family)
		for _, h := range g.Handles() {
			if err := KillHandle(t.Context(), clock.System{}, h); err != nil {
				t.Errorf("kill %s: %v", h, err)
			}
		}
		if pids, err := g.Members(); err != nil || len(pids) != 0 || alive("/proc", pid) {
			t.Errorf("left: %v, %v", pids, err)
		}
	})
}

func TestKillByHandleBeforeTheNumberIsKnown(t *testing.T) {
	g, _, _ := member(t, Open(Options{Clock: clock.System{}, Sessions: true}), family)
	if err := writePidfile("/proc", g.pidfile, 0, g.mark()); err != nil { // as between fork and Place
		t.Fatal(err)
	}
	if err := KillHandle(t.Context(), clock.System{}, g.Handles()[0]); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.Members(); err != nil || len(pids) != 0 {
		t.Errorf("left: %v, %v", pids, err)
	}
}

func TestHandlesOfWhatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	for _, handle := range []string{filepath.Join(dir, "none"), PidfilePrefix + filepath.Join(dir, "none")} {
		if err := KillHandle(t.Context(), clock.System{}, handle); err != nil {
			t.Errorf("kill %s: %v, want nil: nothing lives there", handle, err)
		}
	}
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("what\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, handle := range []string{dir, PidfilePrefix + broken} {
		if err := KillHandle(t.Context(), clock.System{}, handle); err == nil {
			t.Errorf("kill %s: proven dead, though it says nothing of any process", handle)
		}
	}
}

func TestKillOfTheOwnGroupIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("cgroups need root")
	}
	for name, tree := range trees(t) {
		if tree.track == nil {
			continue
		}
		if err := KillHandle(t.Context(), clock.System{}, tree.track.own); !errors.Is(err, ErrOwnGroup) {
			t.Errorf("%s: kill of our own group %s: %v, want ErrOwnGroup", name, tree.track.own, err)
		}
	}
}

func TestRemoveTakesGroupsThatTheProgramMade(t *testing.T) {
	for name, tree := range trees(t) {
		if tree.track == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g, _, _ := member(t, tree, "echo up >$OUT; sleep 1000")
			if err := os.MkdirAll(filepath.Join(g.folder(), "a", "b"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := g.Remove(t.Context()); err == nil {
				t.Error("a group with a living process was removed")
			}
			if err := errors.Join(g.Kill(t.Context()), g.Remove(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

// immortal is a herd that does not die, as on a disk that hangs.
type immortal struct{ strikes int }

func (h *immortal) strike() error        { h.strikes++; return nil }
func (h *immortal) left() ([]int, error) { return []int{1, 0}, nil }

func TestKillThatCannotBeProvenIsAnErrorInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		h := &immortal{}
		err := kill(t.Context(), clock.System{}, "/proc", h)
		if !errors.Is(err, ErrAlive) || !strings.Contains(err.Error(), "1 (") {
			t.Errorf("kill: %v, want ErrAlive that names process 1", err)
		}
		if took := time.Since(start); took < KillLimit || took > KillLimit+lastPause {
			t.Errorf("it took %s, want %s", took, KillLimit)
		}
		if h.strikes < 100 {
			t.Errorf("only %d strikes", h.strikes)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h = &immortal{}
		if err := kill(ctx, clock.System{}, "/proc", h); !errors.Is(err, ErrAlive) || !errors.Is(err, context.Canceled) || h.strikes != 1 {
			t.Errorf("kill with a dead context: %v after %d strikes, want both errors after one", err, h.strikes)
		}
	})
}

func TestNamesOfGroups(t *testing.T) {
	tree := Open(Options{Clock: clock.System{}, Sessions: true})
	for _, names := range [][]string{{}, {""}, {"a", ".."}, {"."}, {"a/b"}, {"a\x00"}, {"a\n"}, {strings.Repeat("x", 256)}} {
		if _, err := tree.Group("", names...); !errors.Is(err, ErrBadName) {
			t.Errorf("names %q: %v, want ErrBadName", names, err)
		}
	}
	if _, err := tree.Group("/a\nb", "a"); !errors.Is(err, ErrBadName) {
		t.Errorf("pidfile of two lines: %v, want ErrBadName", err)
	}
}

func TestWarningsSayWhichFallbackIsUsed(t *testing.T) {
	proc := func(mounts, own string) string {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "self"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"mountinfo": mounts, "cgroup": own} {
			if err := os.WriteFile(filepath.Join(dir, "self", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	const tail = " No limits apply to them, and one that hides on purpose can outlive its stop. " +
		"Run the agent as root, or in a systemd unit with Delegate=yes."
	tests := []struct {
		name string
		o    Options
		want []string
	}{
		{
			"no cgroups are mounted",
			Options{Proc: proc("", "")},
			[]string{"Programs are tracked by session and not by cgroup, because no cgroup can be made (no cgroup file system is mounted)." + tail},
		},
		{
			"the folder cannot be made",
			Options{Proc: proc("50 31 0:38 / /proc/self/fdinfo rw - cgroup2 cgroup2 rw\n", "0::/\n")},
			[]string{"Programs are tracked by session and not by cgroup, because no cgroup can be made " +
				"(mkdir /proc/self/fdinfo/keelson: no such file or directory)." + tail},
		},
		{
			"sessions are asked for",
			Options{Sessions: true},
			[]string{"Programs are tracked by session, as asked for. No limits apply to them."},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Clock = clock.System{}
			if diff := cmp.Diff(tt.want, Open(tt.o).Warnings()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingCanBePutIntoAGroupThatWasKilledByHandle(t *testing.T) {
	eachTree(t, func(t *testing.T, tree *Tree) {
		if tree.track == nil {
			t.Skip("a session cannot be removed")
		}
		g, _, _ := member(t, tree, family)
		entered, err := g.Enter(&syscall.SysProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		defer entered()
		if err := KillHandle(t.Context(), clock.System{}, g.Handles()[0]); err != nil {
			t.Fatal(err)
		}
		if !g.Removed() {
			t.Error("the group is there")
		}
		_, err = g.Enter(&syscall.SysProcAttr{})
		if !tree.clones {
			err = g.Place(os.Getpid(), Limits{})
		}
		if !errors.Is(err, ErrRemoved) {
			t.Errorf("a program can be put into it: %v", err)
		}
	})
}
