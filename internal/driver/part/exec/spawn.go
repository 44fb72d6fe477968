package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/base/thread"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/instance"
)

// spawn starts the program, whose output is kept, and returns its process number.
func (d *Driver) spawn(ctx context.Context, run instance.Run, l launch) (int, error) {
	out, err := d.openOutput(ctx, run, l)
	if err != nil {
		return 0, err
	}
	defer func() { _ = out.Close() }() // nothing was written through it
	return d.spawnInto(ctx, run, l, out)
}

// spawnInto starts a program that writes to out. Where the agent is root, all its
// bounds are in place before its first instruction.
func (d *Driver) spawnInto(ctx context.Context, run instance.Run, l launch, out *os.File) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", run.Key(), err)
	}
	defer func() { _ = null.Close() }()

	sys := &syscall.SysProcAttr{Setsid: true, Credential: l.who}
	entered, err := l.group.Enter(sys)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", run.Key(), err)
	}
	defer entered()
	attr := &syscall.ProcAttr{Dir: l.dir, Env: l.env, Files: []uintptr{null.Fd(), out.Fd(), out.Fd()}, Sys: sys}

	// All that could take long is over. Nothing starts for a caller who has given
	// up meanwhile, or whose lease has ended. If this process stands still right
	// after it was told that it may, the guard removes the group that was entered
	// above, and the program is not born.
	if err := errors.Join(ctx.Err(), run.Allowed()); err != nil {
		return 0, fmt.Errorf("start %s: %w", run.Key(), err)
	}
	if b := l.bounds(); b.set != nil {
		return d.spawnBound(ctx, run, l, attr, b)
	}
	pid, err := fork(l, attr)
	if err != nil {
		return 0, l.refused(run, err)
	}
	return pid, nil
}

// fork starts the program with nothing of what this process's threads have.
func fork(l launch, attr *syscall.ProcAttr) (pid int, err error) {
	err = thread.Apart(func() error {
		pid, err = syscall.ForkExec(l.command[0], l.command, attr)
		return err
	})
	return pid, err
}

// bounds is what must be done to a new process.
type bounds struct {
	set func(pid int) error // nil if nothing
	// hold tells that it must be done before the first instruction. Only root
	// can do so without harm: a program that another user traces loses the
	// rights that its file would give it (execve(2), "setuid").
	hold bool
}

func (l launch) bounds() bounds {
	place, adjust := l.group.NeedsPlace(l.limits), ownScore() < 0
	if !place && l.openFiles == 0 && !adjust {
		return bounds{}
	}
	set := func(pid int) error {
		var errs []error
		if place {
			errs = append(errs, l.group.Place(pid, l.limits))
		}
		if adjust { // the agent's own protection from the OOM killer is not for its programs
			errs = append(errs, os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "oom_score_adj"), []byte("0"), 0))
		}
		return errors.Join(errs...)
	}
	hold := os.Geteuid() == 0 && (l.group.NeedsHold(l.limits) || l.openFiles > 0 || adjust)
	return bounds{set, hold}
}

// ownScore is the agent's protection from the OOM killer.
func ownScore() int {
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return score
}

// spawnBound starts the program, stopped at its first instruction by tracing it
// if b says so, sets its bounds and lets it go.
func (d *Driver) spawnBound(ctx context.Context, run instance.Run, l launch, attr *syscall.ProcAttr, b bounds) (int, error) {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()

	attr.Sys.Ptrace = b.hold
	pid, err := fork(l, attr)
	traced := b.hold && err == nil
	if b.hold && errors.Is(err, unix.EPERM) {
		attr.Sys.Ptrace = false
		if pid, err = fork(l, attr); err == nil {
			d.log.WarnContext(ctx, "program ran before its limits were set, because tracing is forbidden here",
				logkey.Service, run.Service, logkey.Part, run.Part.Name)
		}
	}
	if err != nil {
		return 0, l.refused(run, err)
	}
	if traced {
		if status, err := awaitTrap(pid); err != nil || !status.Stopped() {
			how := "ended"
			if err == nil {
				how = describe(&exit{status}, false).Sentence
			}
			return 0, &Error{Ended, fmt.Sprintf("%s %s while it was being started.", run.Key(), how), err}
		}
	}
	failed := b.set(pid)
	if failed == nil && l.openFiles > 0 {
		d.limitFiles(ctx, run, l, pid)
	}
	if traced {
		if err := unix.PtraceDetach(pid); err != nil && !errors.Is(err, unix.ESRCH) {
			failed = errors.Join(failed, fmt.Errorf("let process %d go: %w", pid, err))
		}
	}
	if failed != nil {
		return 0, errors.Join(fmt.Errorf("start %s: %w", run.Key(), failed), abort(pid))
	}
	return pid, nil
}

// awaitTrap waits until a traced child has reached its first instruction, or
// has died before it.
func awaitTrap(pid int) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			return status, err
		}
	}
}

// abort kills a child that is not to run after all, and reaps it.
func abort(pid int) error {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	_, err := awaitTrap(pid)
	return err
}

// refused words the kernel's refusal to start the program.
func (l launch) refused(run instance.Run, err error) error {
	p, missing := &Error{Reason: NotStarted, Err: err}, ""
	path, key := l.command[0], run.Key()
	switch {
	case l.group.Removed():
		p.Err = errors.Join(cgroup.ErrRemoved, err)
		p.Sentence = fmt.Sprintf("%s was not started: the guard cut it off meanwhile.", key)
	case errors.Is(err, unix.ENOENT):
		p.Reason, missing = NoProgram, "the interpreter of "+path
		p.Sentence = fmt.Sprintf("%s, the program of %s, is there, but its interpreter or loader is not. Install that.", path, key)
	case errors.Is(err, unix.ENOEXEC):
		p.Reason, missing = NotExecutable, executable+path
		p.Sentence = fmt.Sprintf("%s, the program of %s, is neither a program for this machine nor a script that begins with #!.", path, key)
	case errors.Is(err, unix.EPERM) && l.who != nil:
		p.Reason = NotAllowed
		p.Sentence = fmt.Sprintf("The agent may not run %s as %s. Run the agent as root, or correct `user` and `group`.", key, l.as)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		p.Reason = NotAllowed
		p.Sentence = fmt.Sprintf("%s, the program of %s, may not be executed by %s in %s. "+
			"Check the permissions of both, and of the folders above them.", path, key, l.as, l.dir)
	case errors.Is(err, unix.EAGAIN):
		p.Sentence = fmt.Sprintf("%s was not started: a limit of processes is reached on this node.", key)
	default:
		p.Sentence = fmt.Sprintf("%s was not started: %v.", key, err)
	}
	if missing != "" {
		return lacking(missing, p)
	}
	return p
}
