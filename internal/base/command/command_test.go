package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name string
		cmd  Command
		want Result
		err  error
	}{
		{
			"a program that ends well",
			Command{Path: "/bin/sh", Args: []string{"-c", "echo out; echo err >&2"}},
			Result{Output: []byte("out\nerr\n")},
			nil,
		},
		{
			"an exit status is a result, not an error",
			Command{Path: "/bin/sh", Args: []string{"-c", "exit 3"}},
			Result{Code: 3},
			nil,
		},
		{
			"a signal that the program got from elsewhere is a result",
			Command{Path: "/bin/sh", Args: []string{"-c", "kill -TERM $$"}},
			Result{Code: -1, Signal: "TERM"},
			nil,
		},
		{
			"output is cut to the limit and the program goes on",
			Command{Path: "/bin/sh", Args: []string{"-c", "head -c 300000 /dev/zero | tr '\\0' x; exit 4"}, OutputBytes: 5},
			Result{Code: 4, Output: []byte("xxxxx"), Truncated: true},
			nil,
		},
		{
			"output of exactly the limit is not called cut",
			Command{Path: "/bin/echo", Args: []string{"1234"}, OutputBytes: 5},
			Result{Output: []byte("1234\n")},
			nil,
		},
		{
			"the environment and folder are those that were asked for",
			Command{Path: "/bin/sh", Args: []string{"-c", "echo $A-$HOME-$PWD"}, Env: []string{"A=b"}, Dir: dir},
			Result{Output: []byte("b--" + dir + "\n")},
			nil,
		},
		{
			"no environment means an empty one, not ours",
			Command{Path: "/bin/sh", Args: []string{"-c", "echo [$HOME]"}},
			Result{Output: []byte("[]\n")},
			nil,
		},
		{
			"a program that takes too long is killed with its children",
			Command{Path: "/bin/sh", Args: []string{"-c", "echo so far; sleep 1000 & sleep 1000"}, Timeout: 100 * time.Millisecond},
			Result{Code: -1, Signal: "KILL", Output: []byte("so far\n")},
			ErrTimeout,
		},
		{
			"a child left in the background does not delay the result",
			Command{Path: "/bin/sh", Args: []string{"-c", "sleep 1000 & echo done"}},
			Result{Output: []byte("done\n")},
			nil,
		},
		{
			"a missing program never started",
			Command{Path: "/no/such/program"},
			Result{Code: -1},
			ErrNotStarted,
		},
		{
			"a missing folder is not started in",
			Command{Path: "/bin/true", Dir: "/no/such/folder"},
			Result{Code: -1},
			ErrNotStarted,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Run(t.Context(), tt.cmd)
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCancelKillsTheWholeGroup(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, Command{
			Path: "/bin/sh",
			Args: []string{"-c", "trap '' TERM; sleep 1000 & echo $! $$ > " + pids + ".new; mv " + pids + ".new " + pids + "; wait"},
			Env:  []string{"PATH=/bin:/usr/bin"},
		})
		done <- err
	}()
	var text []byte
	eventually(t, "the program is up", func() bool {
		var err error
		text, err = os.ReadFile(pids)
		return err == nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	for pid := range strings.FieldsSeq(string(text)) {
		eventually(t, "process "+pid+" is dead", func() bool { return !alive(pid) })
	}
}

// eventually fails the test if what does not come true within 20 s, far beyond
// what any of it takes.
func eventually(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !isTrue(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// alive reports whether the process runs: a zombie that init has yet to reap
// does not count.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestCanceledBeforeTheStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Command{Path: "/bin/true"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}
