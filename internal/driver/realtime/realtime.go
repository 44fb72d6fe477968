// Package realtime gives this process the processor before others, within a
// budget.
//
// Its main rule: no real-time priority without a limit. A thread that spins at
// such a priority is a fault of the whole host, and of every other host that
// waits for it; so the kernel is told beforehand to warn such a thread, and to
// end the process if it does not listen (RLIMIT_RTTIME in setrlimit(2)). A
// [Keeper] listens, and goes back to normal priority for a while.
//
// All threads of the process get the priority, for Go moves work between them;
// those that the runtime makes later inherit it. Programs that are started must
// not: start them within [Apart].
package realtime

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/thread"
)

const (
	// Priority is low among the real-time ones (1 to 99): above all normal work,
	// below the kernel's own interrupt threads, which have 50.
	Priority = 5
	// Warn is how long a thread may run without waiting for anything until the
	// process is warned.
	Warn = 200 * time.Millisecond
	// End is how long it may until the kernel ends the process.
	End = 2 * time.Second
	// Share is the part of a core, as a divisor, that the process may use over
	// Span at this priority. It is for work that goes round in circles but waits
	// a little each time, which the kernel does not count.
	Share = 2
	// Span is the time between two looks at what was used.
	Span = 5 * time.Second

	// nice is the priority instead.
	nice = -20
)

// ErrRefused means that this process may not have real-time priority: it needs
// CAP_SYS_NICE, or RLIMIT_RTPRIO. Call [Leave]: some threads may have it.
var ErrRefused = errors.New("real-time priority refused")

// Enter gives all threads real-time priority, first in, first out. The error is
// [ErrRefused].
func Enter() error { return enter(Warn, End) }

func enter(soft, hard time.Duration) error {
	limit := unix.Rlimit{Cur: uint64(soft.Microseconds()), Max: uint64(hard.Microseconds())}
	var had unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_RTTIME, nil, &had); err != nil {
		return fmt.Errorf("%w: no limit for it: %w", ErrRefused, err)
	}
	limit.Max = min(limit.Max, had.Max)
	limit.Cur = min(limit.Cur, limit.Max)
	if err := unix.Prlimit(0, unix.RLIMIT_RTTIME, &limit, nil); err != nil {
		return fmt.Errorf("%w: no limit for it: %w", ErrRefused, err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: Priority}
	if err := thread.Each(func(tid int) error { return unix.SchedSetAttr(tid, &attr, 0) }); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// Leave gives all threads the best of the normal priorities, or the usual one if
// that is refused.
func Leave() error {
	return thread.Each(func(tid int) error {
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: nice}
		err := unix.SchedSetAttr(tid, &attr, 0)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			attr.Nice = 0
			err = errors.Join(err, unix.SchedSetAttr(tid, &attr, 0))
		}
		return err
	})
}

// Apart calls f on a thread of which children do not inherit the priority
// (SCHED_RESET_ON_FORK in sched(7)). f must start them itself, not by way of
// another goroutine.
func Apart(f func() error) error { return thread.ResetOnFork(f) }

// processor is the time that this process has run.
func processor() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
