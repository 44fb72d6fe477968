package exec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestANewAgentFindsTheProgramAgain(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
		b.start()
		b.eventually("it is up", func() bool { return b.output() != "" })
		before, pid := b.probe(b.d)

		next := b.driver()
		after, _ := b.probe(next)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("probe before and after (-before +after):\n%s", diff)
		}
		if err := next.Start(t.Context(), b.run); err != nil {
			t.Fatal(err)
		}
		if _, again := b.probe(next); again != pid {
			t.Errorf("the new agent started pid %d beside %d", again, pid)
		}
		done := make(chan error, 1)
		go func() { done <- next.Wait(t.Context(), b.run) }()
		if err := unix.Kill(pid, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil || err.Error() != "exited with status 5" {
			t.Errorf("wait: %v, want status 5", err)
		}
	})
}

// shortAgent is an agent that starts the part it is told of and is gone.
func shortAgent() {
	b := &bench{base: os.Getenv("KEELSON_TEST_BASE"), mode: mode{"", os.Getenv("KEELSON_TEST_SESSIONS") != ""}}
	d := New(Options{
		Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Base: b.base, Sessions: b.mode.sessions,
	})
	dir := os.Getenv(agentVariable)
	run := instance.Run{
		Cell: "cell", Node: "n1", Service: "shop", Generation: 1, Epoch: 7,
		Part:   spec.Part{Name: "exec", Exec: &spec.Exec{Command: []string{"/bin/sh", "-c", os.Getenv("KEELSON_TEST_SCRIPT")}}},
		RunDir: filepath.Join(dir, "run"), LogDir: filepath.Join(dir, "log"),
	}
	if err := d.Start(context.Background(), run); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestAProgramOutlivesItsAgentAndIsAdopted(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part.Exec.Command = []string{"/bin/sh", "-c", "while :; do echo tick; sleep 0.02; done"}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		sessions := ""
		if b.mode.sessions {
			sessions = "1"
		}
		agent, err := os.StartProcess(self, []string{self}, &os.ProcAttr{
			Env: []string{
				agentVariable + "=" + filepath.Dir(b.run.RunDir), "KEELSON_TEST_BASE=" + b.base,
				"KEELSON_TEST_SESSIONS=" + sessions, "KEELSON_TEST_SCRIPT=" + b.run.Part.Exec.Command[2],
			},
			Files: []*os.File{nil, os.Stdout, os.Stderr},
		})
		if err != nil {
			t.Fatal(err)
		}
		if state, err := agent.Wait(); err != nil || !state.Success() {
			t.Fatalf("the first agent: %v, %v", state, err)
		}

		seen, pid := b.probe(b.d)
		if !seen.Running || seen.Epoch != 7 {
			t.Fatalf("probe: %+v, want it running", seen)
		}
		done := make(chan error, 1)
		go func() { done <- b.d.Wait(t.Context(), b.run) }()
		size := func() int64 {
			info, err := os.Stat(filepath.Join(b.run.LogDir, outputName))
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		before := size()
		b.eventually("it goes on writing", func() bool { return size() > before })
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		err = <-done
		if code(err) != Ended {
			t.Errorf("wait: %v, want the end", err)
		}
		// Kernels before 6.15 cannot tell the status of what is not a child.
		if got := err.Error(); got != "killed by signal KILL" && got != "ended with unknown status" {
			t.Errorf("wait: %q", got)
		}
		b.stop()
	})
}

func TestAnInterruptedStartIsSeenAndCleared(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part.Exec.Command = []string{"/bin/sleep", "1000"}
		b.start()
		_, pid := b.probe(b.d)
		for _, damage := range []func() error{
			func() error { return os.Remove(recordPath(b.run)) },
			func() error { return os.WriteFile(recordPath(b.run), []byte("{"), 0o600) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			next := b.driver()
			want := instance.Observed{
				Running: true, Detail: fmt.Sprintf("processes without a record, left by an interrupted start: %d", pid),
			}
			seen, _ := b.probe(next)
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Errorf("probe (-want +got):\n%s", diff)
			}
			if err := next.Start(t.Context(), b.run); err != nil {
				t.Fatal(err)
			}
			if alive(pid) {
				t.Errorf("unknown process %d lives beside the new one", pid)
			}
			if seen, pid = b.probe(next); !seen.Running || pid == 0 {
				t.Errorf("probe: %+v, want a new one running", seen)
			}
		}
	})
}

func TestARecordOfAnotherProcessOrBootIsNotBelieved(t *testing.T) {
	b := newBench(t, mode{"sessions", true})
	self, err := cgroup.Look(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	right := record{Pid: self.Pid, Ticks: self.Start, Boot: b.d.boot}
	reused, oldBoot := right, right
	reused.Ticks--
	oldBoot.Boot = "another"
	for _, tt := range []struct {
		name string
		r    record
		want bool
	}{
		{"the right process", right, true},
		{"a number that was given to another process", reused, false},
		{"the right numbers on another boot", oldBoot, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.MkdirAll(b.run.RunDir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := saveRecord(b.run, tt.r); err != nil {
				t.Fatal(err)
			}
			if seen, _ := b.probe(b.driver()); seen.Running != tt.want {
				t.Errorf("running: %t, want %t", seen.Running, tt.want)
			}
			if err := dropRecord(b.run); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestConcurrentStartsMakeOneProgram(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.shell("echo $$ >>" + b.file("starts") + "; exec sleep 1000")
		var group sync.WaitGroup
		for range 8 {
			d := b.driver() // locks must hold across agents
			group.Go(func() {
				if err := d.Start(t.Context(), b.run); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if pids := b.pids("starts"); len(pids) != 1 || !alive(pids[0]) {
			t.Errorf("started %v, want one that is alive", pids)
		}
	})
}

func TestALockedPartIsNotTouched(t *testing.T) {
	b := newBench(t, mode{"sessions", true})
	b.run.Part.Exec.Command = []string{"/bin/sleep", "1000"}
	unlock, err := b.d.lock(t.Context(), b.run)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.driver().Start(ctx, b.run); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("start: %v, want that it waited for the lock", err)
	}
}
