// Package descriptors keeps the open files of a process to itself.
//
// Its main rule: what somebody else has opened is not closed, since it may be
// needed; it is only not passed on.
package descriptors

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Keep lets no program that is started from now on inherit what this process has
// open by now, except standard input, output and error. What Go opens later is
// inherited by none anyhow.
func Keep() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil || !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return err
	}
	return each() // Linux before 5.11, or a filter forbids it
}

func each() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open descriptors: %w", err)
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
