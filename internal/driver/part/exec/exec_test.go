package exec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// agentVariable makes the test binary an agent that starts one part and exits.
const agentVariable = "KEELSON_TEST_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(agentVariable) != "" {
		shortAgent()
		return
	}
	goleak.VerifyTestMain(m)
}

// mode is one way to track programs.
type mode struct {
	name     string
	sessions bool
}

// modes are those that this host can be tested with.
func modes() []mode {
	all := []mode{{"sessions", true}}
	if os.Getuid() == 0 {
		all = append(all, mode{"cgroups", false})
	}
	return all
}

func eachMode(t *testing.T, test func(t *testing.T, b *bench)) {
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) { test(t, newBench(t, m)) })
	}
}

// bench is a driver, with a part to run, that leaves nothing behind.
type bench struct {
	t    testing.TB
	base string
	mode mode
	d    *Driver
	run  instance.Run
}

func newBench(t testing.TB, m mode) *bench {
	dir := t.TempDir()
	b := &bench{t: t, mode: m, base: fmt.Sprintf("/keelson-test-%d-%d", os.Getpid(), time.Now().UnixNano())}
	b.run = instance.Run{
		Cell: "cell", Node: "n1", Service: "shop", Generation: 1, Epoch: 7,
		Part:   spec.Part{Name: "exec", Exec: &spec.Exec{}},
		RunDir: filepath.Join(dir, "run"), LogDir: filepath.Join(dir, "log"),
	}
	b.d = b.driver()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		b.run.Part.Exec = &spec.Exec{Grace: new(spec.Duration)}
		if err := b.driver().Stop(ctx, b.run); err != nil {
			t.Errorf("clean up: %v", err)
		}
		for _, h := range b.d.Handles(b.run).Cgroups {
			if strings.HasPrefix(h, "/") {
				if _, err := os.Stat(filepath.Dir(filepath.Dir(h))); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("cgroups are left at %s: %v", filepath.Dir(filepath.Dir(h)), err)
				}
			}
		}
	})
	return b
}

// driver returns a new driver on the same folders, as a restarted agent has.
func (b *bench) driver() *Driver {
	return New(Options{
		Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(testWriter{b.t}, nil)),
		Base: b.base, Sessions: b.mode.sessions,
	})
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// shell makes the part a script.
func (b *bench) shell(script string) { b.run.Part.Exec.Command = []string{"/bin/sh", "-c", script} }

func (b *bench) start() {
	b.t.Helper()
	if err := b.d.Start(b.t.Context(), b.run); err != nil {
		b.t.Fatalf("start: %v", err)
	}
}

func (b *bench) stop() {
	b.t.Helper()
	if err := b.d.Stop(b.t.Context(), b.run); err != nil {
		b.t.Fatalf("stop: %v", err)
	}
}

// probe returns what is seen of the part, with the pid apart.
func (b *bench) probe(d *Driver) (seen instance.Observed, pid int) {
	b.t.Helper()
	seen, err := d.Probe(b.t.Context(), b.run)
	if err != nil {
		b.t.Fatalf("probe: %v", err)
	}
	if n, ok := strings.CutPrefix(seen.Detail, "pid "); ok {
		if pid, err = strconv.Atoi(n); err != nil {
			b.t.Fatal(err)
		}
	}
	return seen, pid
}

// file returns a path that scripts can write to.
func (b *bench) file(name string) string { return filepath.Join(filepath.Dir(b.run.RunDir), name) }

// pids waits for a script to have written process numbers to name.
func (b *bench) pids(name string) []int {
	b.t.Helper()
	var out []int
	b.eventually("process numbers in "+name, func() bool {
		text, err := os.ReadFile(b.file(name))
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			return false
		}
		out = nil
		for f := range strings.FieldsSeq(string(text)) {
			n, err := strconv.Atoi(f)
			if err != nil {
				b.t.Fatal(err)
			}
			out = append(out, n)
		}
		return true
	})
	return out
}

// eventually fails the test if what does not come true in far more time than
// any of it takes.
func (b *bench) eventually(what string, isTrue func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !isTrue(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never came true: %s", what)
		}
	}
}

func alive(pid int) bool {
	p, err := cgroup.Look(pid)
	return err == nil && p.Alive()
}

func code(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestStartProbeStop(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part.Exec.Command = []string{"/bin/sleep", "1000"}
		b.start()

		seen, pid := b.probe(b.d)
		if !alive(pid) || time.Since(seen.Since) > time.Minute {
			t.Errorf("pid %d alive: %t, since %s", pid, alive(pid), seen.Since)
		}
		want := instance.Observed{Running: true, Since: seen.Since, Generation: 1, Epoch: 7, Detail: seen.Detail}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("probe (-want +got):\n%s", diff)
		}

		b.start()
		if _, again := b.probe(b.d); again != pid {
			t.Errorf("the second start made pid %d of %d", again, pid)
		}

		b.stop()
		if alive(pid) {
			t.Errorf("pid %d lives after the stop", pid)
		}
		if seen, _ := b.probe(b.d); seen.Running {
			t.Errorf("running after the stop: %+v", seen)
		}
		b.stop() // of what is stopped
	})
}

func TestAnotherEpochOrGenerationReplacesTheProgram(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("echo $KEELSON_EPOCH >>" + b.file("epochs") + "; exec sleep 1000")
		started := func(want string) {
			b.start()
			b.eventually("epochs "+want, func() bool {
				text, _ := os.ReadFile(b.file("epochs"))
				return string(text) == want
			})
		}
		started("7\n")
		_, first := b.probe(b.d)
		b.run.Epoch++
		started("7\n8\n")
		_, second := b.probe(b.d)
		b.run.Generation++
		started("7\n8\n8\n")
		seen, third := b.probe(b.d)
		if alive(first) || alive(second) || !alive(third) {
			t.Errorf("alive: %t %t %t, want only the third", alive(first), alive(second), alive(third))
		}
		if seen.Epoch != 8 || seen.Generation != 2 {
			t.Errorf("epoch %d generation %d, want 8 and 2", seen.Epoch, seen.Generation)
		}
	})
}

func TestWaitSaysHowItEnded(t *testing.T) {
	tests := []struct {
		name, script, want string
	}{
		{"a status", "exit 3", "exited with status 3"},
		{"a clean end is an end, too", "exit 0", "exited with status 0"},
		{"a signal", "kill -TERM $$", "killed by signal TERM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, b *bench) {
				b.shell(tt.script)
				b.start()
				err := b.d.Wait(t.Context(), b.run)
				if err == nil || err.Error() != tt.want || code(err) != Ended {
					t.Errorf("wait: %v (%s), want %q", err, code(err), tt.want)
				}
				if seen, _ := b.probe(b.d); seen.Running || seen.Detail != tt.want {
					t.Errorf("probe: %+v, want not running and %q", seen, tt.want)
				}
				if err := b.d.Wait(t.Context(), b.run); err == nil || err.Error() != tt.want {
					t.Errorf("second wait: %v, want %q", err, tt.want)
				}
			})
		})
	}
}

func TestWaitEndsWithItsContextAndWithAStop(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part.Exec.Command = []string{"/bin/sleep", "1000"}
		b.start()
		ctx, cancel := context.WithCancel(t.Context())
		canceled, stopped := make(chan error, 1), make(chan error, 1)
		go func() { canceled <- b.d.Wait(ctx, b.run) }()
		go func() { stopped <- b.d.Wait(t.Context(), b.run) }()
		cancel()
		if err := <-canceled; !errors.Is(err, context.Canceled) {
			t.Errorf("wait: %v, want canceled", err)
		}
		b.eventually("the other waits", func() bool {
			b.d.mu.Lock()
			defer b.d.mu.Unlock()
			return b.d.known[b.run.Key()] != nil
		})
		b.stop()
		if err := <-stopped; code(err) != Stopped && code(err) != Ended {
			t.Errorf("wait: %v, want the end", err)
		}
	})
}

func TestProgramGetsItsEnvironmentAndFolder(t *testing.T) {
	b := newBench(t, mode{"sessions", true})
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_OF_THE_AGENT", "1")
	b.run.Part.Exec.Dir = dir
	b.run.Part.Exec.Env = map[string]string{"LEVEL": "9", "KEELSON_EPOCH": "0"}
	b.shell("(env; pwd) | sort >" + b.file("env.new") + "; mv " + b.file("env.new") + " " + b.file("env") + "; exec sleep 1000")
	b.start()
	var text []byte
	b.eventually("environment", func() bool {
		text, err = os.ReadFile(b.file("env"))
		return err == nil
	})
	want := []string{
		dir, "KEELSON_CELL=cell", "KEELSON_EPOCH=7", "KEELSON_INSTANCE=cell/n1/shop/exec@" + pidfilePath(b.run), "KEELSON_NODE=n1",
		"KEELSON_PART=exec", "KEELSON_SERVICE=shop", "LEVEL=9", "PATH=" + searchPath, "PWD=" + dir,
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(string(text)), "\n")); diff != "" {
		t.Errorf("environment and folder (-want +got):\n%s", diff)
	}
}

func TestStopSignalGraceAndKill(t *testing.T) {
	grace := func(d time.Duration) *spec.Duration { return (*spec.Duration)(&d) }
	tests := []struct {
		name   string
		exec   spec.Exec
		script string // writes "up" when ready
		want   string // left in the file by the program
	}{
		{"the program may tidy up", spec.Exec{}, "trap 'echo bye >>$F; exit' TERM; echo up >>$F; while :; do sleep 0.05; done", "up\nbye\n"},
		{
			"the signal is the one asked for",
			spec.Exec{StopSignal: "SIGUSR1"},
			"trap 'echo usr >>$F; exit' USR1; echo up >>$F; while :; do sleep 0.05; done", "up\nusr\n",
		},
		{
			"one that ignores the signal is killed after its grace",
			spec.Exec{Grace: grace(500 * time.Millisecond)},
			"trap 'echo no >>$F' TERM; echo up >>$F; while :; do sleep 0.02; done", "up\nno\n",
		},
		{
			"no grace means killed at once",
			spec.Exec{Grace: grace(0)},
			"trap 'echo no >>$F' TERM; echo up >>$F; while :; do sleep 0.02; done", "up\n",
		},
		{
			"one that is paused is woken to hear the signal",
			spec.Exec{},
			"trap 'echo bye >>$F; exit' TERM; echo up >>$F; kill -STOP $$; while :; do sleep 0.05; done", "up\nbye\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, b *bench) {
				b.run.Part.Exec = &tt.exec
				b.run.Part.Exec.Env = map[string]string{"F": b.file("said")}
				b.shell(tt.script)
				b.start()
				_, pid := b.probe(b.d)
				b.eventually("program is up", func() bool {
					text, _ := os.ReadFile(b.file("said"))
					return len(text) > 0
				})
				b.stop()
				text, err := os.ReadFile(b.file("said"))
				if err != nil || string(text) != tt.want || alive(pid) {
					t.Errorf("it said %q, %v, alive %t; want %q and dead", text, err, alive(pid), tt.want)
				}
			})
		})
	}
}

func TestDeadlineOfAStopCutsTheGraceShort(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		hour := spec.Duration(time.Hour)
		b.run.Part.Exec.Grace = &hour
		b.shell("trap '' TERM; echo up; while :; do sleep 0.02; done")
		b.start()
		b.eventually("it is up", func() bool { return b.output() != "" })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := b.d.Stop(ctx, b.run); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

func TestStopCatchesDescendantsThatHideInTheirOwnSessions(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("setsid sh -c 'setsid sleep 1001 & echo $! >>" + b.file("pids.new") + "; exit' & " +
			"wait; setsid sleep 1002 & echo $! $$ >>" + b.file("pids.new") + "; mv " + b.file("pids.new") + " " + b.file("pids") + "; wait")
		b.start()
		pids := b.pids("pids")
		if len(pids) != 3 {
			t.Fatalf("process numbers %v, want 3", pids)
		}
		b.stop()
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("process %d of %v lives after the stop", pid, pids)
			}
		}
	})
}

func TestChildrenThatOutliveTheProgramDoNotCountAndAreKilledByTheNextStart(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("sleep 1000 & echo $! >" + b.file("pids") + "; exit 4")
		b.start()
		if err := b.d.Wait(t.Context(), b.run); err == nil || err.Error() != "exited with status 4" {
			t.Errorf("wait: %v", err)
		}
		child := b.pids("pids")[0]
		want := instance.Observed{Detail: fmt.Sprintf("program ended, processes it left behind: %d", child)}
		seen, _ := b.probe(b.d)
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("probe (-want +got):\n%s", diff)
		}
		b.run.Part.Exec.Command = []string{"/bin/sleep", "1000"}
		b.start()
		if alive(child) {
			t.Errorf("child %d lives beside the new program", child)
		}
	})
}
