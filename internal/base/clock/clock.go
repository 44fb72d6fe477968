// Package clock is the only door to time.
//
// Everything that waits takes a Clock, so that tests and the simulator can
// hold the time in their hands. Boot is the time that leases count in.
package clock

import (
	"context"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Clock tells the time and waits. It is safe for concurrent use.
type Clock interface {
	// Now is the wall clock, with Go's monotonic reading.
	Now() time.Time
	// Boot is CLOCK_BOOTTIME: it goes on while the host sleeps and never goes
	// back. It means nothing on another host.
	Boot() time.Duration
	// Sleep waits for d or until ctx ends, and returns ctx's error in that case.
	Sleep(ctx context.Context, d time.Duration) error
	// Tick returns a ticker with the given period, which must be positive. The
	// caller stops it.
	Tick(d time.Duration) *time.Ticker
	// Timer returns a timer that fires after d. The caller stops it.
	Timer(d time.Duration) *time.Timer
}

// System is the host's own clock.
type System struct{}

// Now returns the wall clock.
func (System) Now() time.Time { return time.Now() }

// Boot returns CLOCK_BOOTTIME. It panics if the kernel has no such clock, which
// no Linux since 2.6.39 lacks.
func (System) Boot() time.Duration {
	var ts unix.Timespec
	// It cannot block, so the scheduler need not hear of it.
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		panic("no CLOCK_BOOTTIME: " + errno.Error())
	}
	return time.Duration(ts.Nano())
}

// Sleep waits for d or until ctx ends.
func (System) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Tick returns a ticker of period d.
func (System) Tick(d time.Duration) *time.Ticker { return time.NewTicker(d) }

// Timer returns a timer of d.
func (System) Timer(d time.Duration) *time.Timer { return time.NewTimer(d) }
