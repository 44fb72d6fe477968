// Package command runs a program to its end, within bounds.
//
// The rule: nothing of the program outlives the call. It runs in a session of
// its own, and when it ends, or its context does, every process that is still
// in its process group is killed. A descendant that has left the group on
// purpose is not followed. The package does not interpret what the program
// prints, and uses no shell.
package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/thread"
)

var (
	// ErrTimeout means that the program was killed because it took longer than
	// its time limit. What it did until then is not known.
	ErrTimeout = errors.New("took too long")

	// ErrNotStarted means that the program never ran: it is missing, may not be
	// executed, or its folder does not exist.
	ErrNotStarted = errors.New("did not start")
)

// Bounds that apply when a [Command] names none.
const (
	DefaultTimeout     = 30 * time.Second
	DefaultOutputBytes = 64 << 10
)

// pipeWait is how long the output of a dead program is still read when a
// descendant outside its group holds it open.
const pipeWait = 500 * time.Millisecond

// Command is one program to run.
type Command struct {
	Path string   // absolute, or found along the PATH of this process
	Args []string // without the program's name
	Env  []string // "KEY=value", the whole environment; nil means an empty one
	Dir  string   // working directory, default that of this process

	Timeout     time.Duration // 0 means DefaultTimeout
	OutputBytes int           // how much output is kept; 0 means DefaultOutputBytes
}

// Result is what came of it.
type Result struct {
	// Code is the exit status, or -1 if a signal ended the program.
	Code int
	// Signal ended the program, such as "KILL". Empty if it exited.
	Signal string
	// Output is what it printed, standard output and error in the order of
	// writing, cut to the limit. Truncated tells that there was more.
	Output    []byte
	Truncated bool
}

// Run runs c and waits for its end. An exit status other than 0 is no error.
//
// The error is [ErrNotStarted], [ErrTimeout], or that of ctx; the Result then
// holds the output so far. Run is safe for concurrent use.
func Run(ctx context.Context, c Command) (Result, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, ErrTimeout)
	defer cancel()

	out := &keeper{limit: c.OutputBytes}
	if out.limit <= 0 {
		out.limit = DefaultOutputBytes
	}
	cmd := exec.CommandContext(bounded, c.Path, c.Args...)
	cmd.Env = append([]string{}, c.Env...) // not nil, which would mean ours
	cmd.Dir = c.Dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = pipeWait

	if err := thread.Apart(cmd.Start); err != nil {
		if cause := context.Cause(bounded); cause != nil {
			return Result{Code: -1}, fmt.Errorf("run %s: %w", c.Path, cause)
		}
		return Result{Code: -1}, fmt.Errorf("run %s: %w: %w", c.Path, ErrNotStarted, err)
	}
	// The group is killed while its dead leader still holds the number, so that
	// no stranger can have got it.
	awaitExit(cmd.Process.Pid)
	if err := killGroup(cmd.Process.Pid); err != nil {
		return Result{Code: -1}, errors.Join(fmt.Errorf("run %s: kill its group: %w", c.Path, err), cmd.Wait())
	}
	err := cmd.Wait()

	result := ending(cmd.ProcessState.Sys().(syscall.WaitStatus))
	result.Output, result.Truncated = out.take()
	if cause := context.Cause(bounded); cause != nil && result.Signal != "" {
		return result, fmt.Errorf("run %s: %w", c.Path, cause)
	}
	var exit *exec.ExitError
	switch {
	case err == nil, errors.As(err, &exit), errors.Is(err, exec.ErrWaitDelay), errors.Is(err, context.Cause(bounded)):
		return result, nil
	default:
		return result, fmt.Errorf("run %s: %w", c.Path, err)
	}
}

// awaitExit returns when the process is dead but not yet reaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func killGroup(leader int) error {
	if err := unix.Kill(-leader, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

func ending(status syscall.WaitStatus) Result {
	if status.Signaled() {
		name := unix.SignalName(status.Signal())
		if len(name) > len("SIG") {
			name = name[len("SIG"):]
		}
		return Result{Code: -1, Signal: name}
	}
	return Result{Code: status.ExitStatus()}
}

// keeper keeps the first limit bytes written to it and drops the rest, so that
// the program never blocks on its output.
type keeper struct {
	mu    sync.Mutex
	limit int
	kept  []byte
	more  bool
}

// Write never fails.
func (k *keeper) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	room := k.limit - len(k.kept)
	if room < len(p) {
		k.more = true
	}
	k.kept = append(k.kept, p[:min(room, len(p))]...)
	return len(p), nil
}

func (k *keeper) take() ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept, k.more
}
