// Package realtime gives this process the processor before others, within a
// budget.
//
// Its main rule: no real-time priority without a limit. A thread that spins at
// such a priority is a fault of the whole host, and of every other host that
// waits for it; so the kernel is told beforehand to warn such a thread, and to
// end the process if it does not listen (RLIMIT_RTTIME in setrlimit(2)). A
// [Keeper] listens, and goes back to normal priority.
//
// All threads of the process get the priority, for Go moves work between them;
// those that the runtime makes later inherit it. Programs that are started must
// not: start them within [Apart].
package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
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
	// passes bounds how often all threads are gone through.
	passes = 10
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
	if err := eachThread(func(tid int) error { return unix.SchedSetAttr(tid, &attr, 0) }); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// Leave gives all threads the best of the normal priorities, or the usual one if
// that is refused.
func Leave() error {
	return eachThread(func(tid int) error {
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: nice}
		err := unix.SchedSetAttr(tid, &attr, 0)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			attr.Nice = 0
			err = errors.Join(err, unix.SchedSetAttr(tid, &attr, 0))
		}
		return err
	})
}

// eachThread calls f for each thread of this process until it has met no new
// one. A thread that has ended is no error.
func eachThread(f func(tid int) error) error {
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
			if err := f(tid); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("thread %d: %w", tid, err)
			}
		}
		if !fresh {
			return nil
		}
	}
	return nil
}

// Apart calls f on a thread of which children do not inherit the priority
// (SCHED_RESET_ON_FORK in sched(7)). f must start them itself, not by way of
// another goroutine.
func Apart(f func() error) error {
	runtime.LockOSThread()
	// The thread is not unlocked if it cannot be made what it was: it then ends
	// with its goroutine.
	was, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("look at own priority: %w", err)
	}
	reset := *was
	reset.Flags |= unix.SCHED_FLAG_RESET_ON_FORK
	if err := unix.SchedSetAttr(0, &reset, 0); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("keep children from inheriting the priority: %w", err)
	}
	failed := f()
	if unix.SchedSetAttr(0, was, 0) == nil {
		runtime.UnlockOSThread()
	}
	return failed
}

// Keeper keeps the process within its budget.
type Keeper struct {
	clock   clock.Clock
	log     *slog.Logger
	signals chan os.Signal
	why     atomic.Pointer[string]
}

// NewKeeper returns a keeper that listens for the kernel's warning from now on.
// Call it before [Enter], and Run after.
func NewKeeper(clk clock.Clock, log *slog.Logger) *Keeper {
	k := &Keeper{clock: clk, log: log, signals: make(chan os.Signal, 1)}
	k.Listen()
	return k
}

// Listen makes the keeper listen again after somebody had the kernel's warning
// ignored, which would else end the process.
func (k *Keeper) Listen() { signal.Notify(k.signals, unix.SIGXCPU) }

// Run waits until the budget is overrun, and then takes the priority away for
// good. It returns when ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := k.clock.Tick(Span)
	defer tick.Stop()
	used := processor()
	for {
		why := ""
		select {
		case <-ctx.Done():
			return
		case <-k.signals:
			why = fmt.Sprintf("a thread of it ran for %s without a pause", Warn)
		case <-tick.C:
			now := processor()
			if now-used > Span/Share {
				why = fmt.Sprintf("it used %s of %s", (now - used).Round(10*time.Millisecond), Span)
			}
			used = now
		}
		if why == "" || k.why.Load() != nil {
			continue
		}
		err := Leave()
		text := "the guard overran its budget of real-time priority, " + why + "; it goes on at normal priority and may be late under load"
		k.why.Store(&text)
		k.log.Error("real-time priority given up", "why", why, logkey.Err, err)
	}
}

// Overrun returns a sentence if the budget was overrun, else "".
func (k *Keeper) Overrun() string {
	if why := k.why.Load(); why != nil {
		return *why
	}
	return ""
}

// processor is the time that this process has run.
func processor() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
