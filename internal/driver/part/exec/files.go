package exec

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/instance"
)

// limitFiles bounds the open files of a process. A host that does not grant as
// many as asked for gives as many as it can: a program with fewer files than
// it wants is better than none. What is in force then is logged and warned of,
// once for each program.
func (d *Driver) limitFiles(ctx context.Context, run instance.Run, l launch, pid int) {
	want := uint64(l.openFiles)
	set := func(r unix.Rlimit) error { return setFiles(pid, l.who, r) }
	err := set(unix.Rlimit{Cur: want, Max: want})
	var now unix.Rlimit
	if err != nil && unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now) == nil {
		_ = set(unix.Rlimit{Cur: min(want, now.Max), Max: min(want, now.Max)}) // what came of it is read below
	}
	known := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now) == nil
	text := ""
	switch {
	case known && now.Cur == want:
	case known:
		text = fmt.Sprintf("%s has a limit of %d open files, not the %d of its `limits`, because this host does not let the agent set it (%v).",
			run.Key(), now.Cur, want, err)
	case err != nil:
		text = fmt.Sprintf("%s does not have the limit of %d open files of its `limits`, because this host does not let the agent set it (%v).",
			run.Key(), want, err)
	}
	if news := d.trouble(aboutFiles(run), text); news {
		d.log.WarnContext(ctx, "limit of open files not set as asked for", logkey.Service, run.Service,
			logkey.Part, run.Part.Name, "asked", l.openFiles, "in_force", now.Cur, logkey.Err, err)
	}
}

func aboutFiles(run instance.Run) string { return "files " + run.Key() }

// setFiles sets the limit of open files of a process that runs as who, nil for this
// process's own user. Root without CAP_SYS_RESOURCE may do that to nobody but
// itself (prlimit(2)), by its real user and group: so a thread takes those of the
// process for the moment.
func setFiles(pid int, who *syscall.Credential, r unix.Rlimit) error {
	err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &r, nil)
	if who == nil || !errors.Is(err, unix.EPERM) {
		return err
	}
	done := make(chan error)
	go func() { done <- as(who, func() error { return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &r, nil) }) }()
	return <-done
}

// as calls f on a thread with who's real user and group, and its own effective
// ones. It is to be called on a goroutine of its own: a thread that cannot be made
// what it was ends with it.
func as(who *syscall.Credential, f func() error) error {
	const same = ^uintptr(0)
	runtime.LockOSThread()
	uid, gid := unix.Getuid(), unix.Getgid()
	// Not by way of the library, which changes all threads.
	set := func(uid, gid int) error {
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), same, same); e != 0 {
			return fmt.Errorf("take group %d: %w", gid, e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), same, same); e != 0 {
			return fmt.Errorf("take user %d: %w", uid, e)
		}
		return nil
	}
	err := set(int(who.Uid), int(who.Gid))
	if err == nil {
		err = f()
	}
	back := set(uid, gid)
	if back == nil {
		runtime.UnlockOSThread()
	}
	return errors.Join(err, back)
}
