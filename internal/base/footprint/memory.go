// Package footprint keeps small what a long-lived process takes of its host while
// it has little to do: memory that only its start needed, and threads that wake
// each other. It never limits a process that has work.
package footprint

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Shed gives the pages of the program's own code back to the kernel that were
// read during the start and may never be needed again; what is needed is read
// again, mostly from the page cache. The program holds far more than one process
// of it runs.
func Shed() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's file: %w", err)
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read own memory map: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		// Only code of this very file: nobody has written to it, not even the
		// loader, so nothing is lost. Read-only data may have been relocated.
		if len(fields) < 6 || fields[5] != self || fields[1] != "r-xp" {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil || to <= from {
			continue
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("give back pages of %s: %w", fields[5], errno)
		}
	}
	return nil
}
