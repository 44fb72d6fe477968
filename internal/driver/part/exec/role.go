package exec

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/instance"
)

// Promote runs the command that makes run's program primary, beside it and with
// the same bounds, and returns nil if it exits with status 0. It may run again
// after an error or after another agent. When ctx ends, it is killed.
//
// The error is a [*Error] if the operator can do something about it.
func (d *Driver) Promote(ctx context.Context, run instance.Run) error {
	if run.Part.Exec == nil {
		return nil
	}
	return d.tell(ctx, run, run.Part.Exec.Promote, "promote")
}

// Demote runs the command that makes run's program a replica, as Promote does.
func (d *Driver) Demote(ctx context.Context, run instance.Run) error {
	if run.Part.Exec == nil {
		return nil
	}
	return d.tell(ctx, run, run.Part.Exec.Demote, "demote")
}

// tell runs a command in the part's cgroup, where a cut reaches it too. Its
// output is kept with the program's.
func (d *Driver) tell(ctx context.Context, run instance.Run, command []string, what string) error {
	if len(command) == 0 {
		return nil
	}
	exec := *run.Part.Exec
	exec.Command = command
	run.Part.Exec = &exec
	l, err := d.prepare(run)
	if err != nil {
		return err
	}
	unlock, err := d.lock(ctx, run)
	if err != nil {
		return err
	}
	defer unlock()
	pid, err := d.spawn(ctx, run, l)
	if err != nil {
		return err
	}
	ended, err := d.await(ctx, pid)
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, run.Key(), err)
	}
	d.log.InfoContext(ctx, "program told its role", logkey.Service, run.Service, logkey.Part, run.Part.Name,
		"role", run.Role, logkey.Epoch, run.Epoch)
	if ended.status.Exited() && ended.status.ExitStatus() == 0 {
		return nil
	}
	return &Error{Ended, fmt.Sprintf("its %s command %s", what, describe(&ended, false).Sentence), nil}
}

// await waits for the end of a child and kills its session when ctx ends.
func (d *Driver) await(ctx context.Context, pid int) (exit, error) {
	p, err := cgroup.Look(pid)
	if err == nil {
		err = d.sit(ctx, record{Pid: pid, Ticks: p.Start})
	}
	if killed := unix.Kill(-pid, unix.SIGKILL); errors.Is(killed, unix.ESRCH) { // what it left behind, or all of it
		_ = unix.Kill(pid, unix.SIGKILL) // it is not yet the head of its session; if it is dead, this does nothing
	}
	status, waited := awaitTrap(pid)
	if err != nil {
		return exit{}, err
	}
	return exit{status}, waited
}

// sit waits until a process is dead, or ctx ends.
func (d *Driver) sit(ctx context.Context, r record) error {
	h, err := hold(r)
	if errors.Is(err, errNoProcess) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.Close()
	return h.wait(ctx)
}
