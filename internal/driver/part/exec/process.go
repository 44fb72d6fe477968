package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/driver/cgroup"
)

// errNoProcess means that the process of a record is gone.
var errNoProcess = errors.New("no such process")

// held is a process whose number cannot pass to another while it is held, by a
// pidfd (Linux 5.10).
type held struct{ file *os.File }

// hold returns the process of r, dead or alive. The caller closes it.
func hold(r record) (held, error) {
	fd, err := unix.PidfdOpen(r.Pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return held{}, errNoProcess
	}
	if err != nil {
		return held{}, fmt.Errorf("hold process %d: %w", r.Pid, err)
	}
	h := held{os.NewFile(uintptr(fd), "pidfd")}
	if p, err := cgroup.Look(r.Pid); err != nil || p.Start != r.Ticks {
		h.Close()
		return held{}, errNoProcess
	}
	return h, nil
}

// Close lets go of the number. Nothing can be lost by an error.
func (h held) Close() { _ = h.file.Close() }

// control calls do with the descriptor.
func (h held) control(do func(fd int) error) error {
	conn, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) { result = do(int(fd)) })
	return errors.Join(err, result)
}

// ask sends a signal, and wakes the process if it is stopped, so that it sees it.
func (h held) ask(signal int) error {
	return h.control(func(fd int) error {
		err := unix.PidfdSendSignal(fd, unix.Signal(signal), nil, 0)
		return errors.Join(err, unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0))
	})
}

// wait blocks until the process is dead, or returns ctx's error.
func (h held) wait(ctx context.Context) error {
	past := time.Unix(1, 0)
	release := context.AfterFunc(ctx, func() { _ = h.file.SetReadDeadline(past) }) // fails only once closed
	defer release()
	conn, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	err = conn.Read(func(fd uintptr) bool { return dead(int(fd)) })
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

// dead reports whether the process of a pidfd is: it then becomes readable.
func dead(fd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

// reap takes the status of a dead child of ours. It is a no-op for others, and
// for the living. The caller holds the driver's mutex, so that no process is
// waited for twice: its number could be another child's by then.
func (k *known) reap() {
	if k.exit != nil {
		return
	}
	p, err := cgroup.Look(k.record.Pid)
	if err != nil || p.Start != k.record.Ticks || p.Alive() || p.Parent != os.Getpid() {
		return
	}
	var status unix.WaitStatus
	if pid, err := unix.Wait4(p.Pid, &status, unix.WNOHANG, nil); err == nil && pid == p.Pid {
		k.exit = &exit{status}
	}
}

// The kernel can tell the status of a process that is not our child (6.15), but
// only once its parent, mostly init, has reaped it.
const (
	statusTries = 5
	statusPause = 2 * time.Millisecond
)

// learn notes how the dead process h of k ended, if that can be known.
func (d *Driver) learn(ctx context.Context, k *known, h held) {
	for range statusTries {
		d.mu.Lock()
		k.reap()
		done := k.exit != nil
		d.mu.Unlock()
		if done {
			return
		}
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		err := h.control(func(fd int) error { return unix.IoctlPidfdInfo(fd, &info) })
		if err != nil {
			return
		}
		if info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			d.mu.Lock()
			k.exit = &exit{unix.WaitStatus(info.Exit_code)}
			d.mu.Unlock()
			return
		}
		if d.clock.Sleep(ctx, statusPause) != nil {
			return
		}
	}
}
