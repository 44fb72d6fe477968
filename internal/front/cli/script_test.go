package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/front/cli/build"
	"github.com/keelson/keelson/internal/front/cli/histories"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// noLinger keeps commands that are built with the race detector from waiting a
// second before they end.
const noLinger = "atexit_sleep_ms=0"

// leakFree fails a run that leaves goroutines behind.
type leakFree struct{ *testing.M }

func (m leakFree) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){"keelson": keelson})
}

// keelson is the command under test. Its actions print what they were told.
func keelson() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	os.Exit(cli.Execute(ctx, cli.Environment{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Clock: clock.System{}, Build: build.Of("v0.1.0", nil), Actions: actions(),
	}))
}

func told(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	fmt.Printf("told %s\n", text)
}

func actions() cli.Actions {
	return cli.Actions{
		Init: func(_ context.Context, o cli.InitOptions) (cli.InitResult, error) {
			o.Progress("making keys")
			o.Progress = nil
			told(struct {
				Name, Address, Cell string
				Labels              map[string]string
				Ports               any
				NoStart             bool
				Config              cli.Config
				ReplaceVoterAfter   string
			}{string(o.Name), o.Address, o.Cell, o.Labels, o.Ports, o.NoStart, o.Config, o.ReplaceVoterAfter.String()})
			return cli.InitResult{CellID: "c1", Started: !o.NoStart, Notes: []string{"one node alone moves nothing"}}, nil
		},
		Join: func(_ context.Context, o cli.JoinOptions) (cli.JoinResult, error) {
			if o.Token == "used" {
				return cli.JoinResult{}, &request.Error{Kind: request.Denied, Code: "token-used", Text: "the token was used already", Hint: "make another one"}
			}
			told([]any{o.Server, o.Token, o.Witness, o.Name, o.Address})
			return cli.JoinResult{Cell: "main"}, nil
		},
		Leave: func(_ context.Context, o cli.LeaveOptions) error {
			told(o.Folders)
			return nil
		},
		LeaveOffline: func(_ context.Context, o cli.LeaveOptions) (spec.NodeName, error) {
			told(o.Folders)
			return "b", nil
		},
		Agent: func(_ context.Context, o cli.AgentOptions) error {
			told(o)
			return nil
		},
		Guard: func(_ context.Context, o cli.GuardOptions) error {
			told(o)
			return nil
		},
		Demo: func(_ context.Context, o cli.DemoOptions) error {
			told([]any{o.Once, o.JSON, o.Fault, o.Nodes, o.Terminal})
			return nil
		},
		Simulate: func(_ context.Context, o histories.Options) histories.Result {
			o.Progress(1, time.Minute)
			r := histories.Result{
				Runs: int(o.Seeds), Cell: 24 * time.Minute, Took: 30 * time.Second, Wins: 7, Packets: 9,
				Faults: []histories.Fault{{Kind: "crash", Count: 3}},
			}
			if o.From == 13 {
				r.Broken = &histories.Broken{
					Seed: 13, Nodes: o.Nodes, Invariant: "one-holder", At: 12.5, Text: "two",
					Faults: []string{"12.0s: crash, node 1"}, Trace: []string{"12.5s  won"},
				}
			}
			return r
		},
		Replay: func(snapshot, recorded []byte) (reason.Replayed, error) {
			return reason.Replayed{Decision: reason.Decision{Plan: "here"}, Same: len(recorded) > 0, Compared: true, Difference: string(snapshot)}, nil
		},
		Addresses: func(cli.Folders) ([]string, error) {
			if os.Getenv("TWO_ADDRESSES") != "" {
				return []string{"127.0.0.1", "10.0.0.1", "10.1.0.1"}, nil
			}
			return []string{"127.0.0.1", "::1", "fe80::1", "10.0.0.1"}, nil
		},
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			socket := filepath.Join(env.WorkDir, "api.sock")
			stop, err := newTown().open(t.Context(), socket)
			if err != nil {
				return err
			}
			env.Defer(stop)
			env.Setenv("KEELSON_SOCKET", socket)
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", noLinger)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and checks its exit status: exits STATUS COMMAND...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
