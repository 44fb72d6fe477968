// Package thread sets what the kernel keeps for each thread of this process.
//
// Its main rule: nothing that is set here is inherited by a program that is
// started within [Apart], and in a session of its own.
package thread

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// UsualSlack is what a thread has unless somebody changed it (prctl(2),
// PR_SET_TIMERSLACK).
const UsualSlack = 50 * time.Microsecond

// Preferred is the nice value of a process that goes before the usual ones, which
// have 0.
const Preferred = -10

// passes bounds how often all threads are gone through.
const passes = 10

// Each calls f for each thread of this process until it has met no new one. A
// thread that has ended is no error.
func Each(f func(tid int) error) error {
	done := map[int]bool{}
	for range passes {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list own threads: %w", err)
		}
		fresh := false
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || done[tid] {
				continue
			}
			fresh, done[tid] = true, true
			if err := f(tid); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("thread %d: %w", tid, err)
			}
		}
		if !fresh {
			return nil
		}
	}
	return nil
}

// Slack lets the kernel end each sleep of this process up to d later than asked,
// so that it is woken less often: d is at least a nanosecond. Threads that the
// runtime makes later inherit it. It needs CAP_SYS_NICE; the error is then the
// system's, and some threads may have it. Threads with real-time priority have
// no slack whatever is set.
func Slack(d time.Duration) error {
	text := []byte(strconv.FormatInt(max(d.Nanoseconds(), 1), 10))
	return Each(func(tid int) error {
		return os.WriteFile(filepath.Join("/proc", strconv.Itoa(tid), "timerslack_ns"), text, 0)
	})
}

// Prefer gives this process the nice value [Preferred], if it has 0: what somebody
// chose stays. Threads that the runtime makes later inherit it. Where the kernel
// shares the processor among sessions first, one that this process leads is
// preferred too (sched(7), "The autogroup feature"). It needs CAP_SYS_NICE; the
// error is then the system's.
func Prefer() error {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil || own.Policy != unix.SCHED_NORMAL || own.Nice != 0 {
		return err
	}
	err = Each(func(tid int) error { return unix.Setpriority(unix.PRIO_PROCESS, tid, Preferred) })
	if err != nil {
		return err
	}
	if session, err := unix.Getsid(0); err != nil || session != os.Getpid() {
		return err
	}
	err = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(Preferred)), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Apart calls f on a thread with [UsualSlack], which a program that f starts
// inherits; of the nice value [Preferred] it inherits nothing. f must start it
// itself, not by way of another goroutine.
func Apart(f func() error) error { return usualSlack(func() error { return usualNice(f) }) }

// usualNice calls f on a thread whose children have the nice value 0 if it has
// [Preferred].
func usualNice(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	had, err := unix.SchedGetAttr(0, 0)
	if err != nil || had.Policy != unix.SCHED_NORMAL || had.Nice != Preferred {
		return f()
	}
	return ResetOnFork(f)
}

// ResetOnFork calls f on a thread of which children do not inherit the priority,
// nor a nice value below 0 (SCHED_RESET_ON_FORK in sched(7)). f must start them
// itself, not by way of another goroutine.
func ResetOnFork(f func() error) error {
	runtime.LockOSThread()
	had, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("look at own priority: %w", err)
	}
	reset := *had
	reset.Flags |= unix.SCHED_FLAG_RESET_ON_FORK
	if err := unix.SchedSetAttr(0, &reset, 0); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("keep children from inheriting the priority: %w", err)
	}
	failed := f()
	// A thread that cannot be made what it was ends with its goroutine.
	if unix.SchedSetAttr(0, had, 0) == nil {
		runtime.UnlockOSThread()
	}
	return failed
}

// usualSlack calls f on a thread with [UsualSlack].
func usualSlack(f func() error) error {
	runtime.LockOSThread()
	had, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || had == int(UsualSlack) || had <= 0 { // 0: real-time priority
		defer runtime.UnlockOSThread()
		return f()
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(UsualSlack), 0, 0, 0); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("keep the timer slack from being inherited: %w", err)
	}
	failed := f()
	// A thread that cannot be made what it was ends with its goroutine.
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(had), 0, 0, 0) == nil {
		runtime.UnlockOSThread()
	}
	return failed
}
