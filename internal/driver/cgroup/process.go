package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is what the kernel says of one process.
type Process struct {
	Pid     int
	Command string // first 15 bytes of the program's name
	State   byte   // 'R', 'S', 'D', 'Z' and others of proc_pid_stat(5)
	Parent  int
	Session int
	// Start is when it was started, in ticks since boot. With Pid it tells the
	// process from any other until the next boot.
	Start uint64
}

// Alive reports whether it can still act. A zombie cannot: it is dead and only
// waits for its parent.
func (p Process) Alive() bool { return p.State != 'Z' && p.State != 'X' }

// Look returns the process with number pid. If there is none, the error is
// [os.ErrNotExist] or ESRCH.
func Look(pid int) (Process, error) { return lookIn("/proc", pid) }

// BootID returns the id of this boot of the host.
func BootID() (string, error) { return bootID("/proc") }

func bootID(proc string) (string, error) {
	id, err := os.ReadFile(filepath.Join(proc, "sys/kernel/random/boot_id"))
	return strings.TrimSpace(string(id)), err
}

func lookIn(proc string, pid int) (Process, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return Process{}, err
	}
	return parseStat(string(text))
}

func alive(proc string, pid int) bool {
	p, err := lookIn(proc, pid)
	return err == nil && p.Alive()
}

// parseStat reads /proc/PID/stat, see proc_pid_stat(5). The command, in
// parentheses, may itself hold blanks and parentheses.
func parseStat(text string) (Process, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return Process{}, errors.New("process status without a command")
	}
	const state, parent, session, start = 0, 1, 3, 19 // counted after the command
	fields := strings.Fields(text[end+1:])
	if len(fields) <= start || len(fields[state]) != 1 {
		return Process{}, errors.New("process status is too short")
	}
	p := Process{Command: text[open+1 : end], State: fields[state][0]}
	var errs [4]error
	p.Pid, errs[0] = strconv.Atoi(strings.TrimSpace(text[:open]))
	p.Parent, errs[1] = strconv.Atoi(fields[parent])
	p.Session, errs[2] = strconv.Atoi(fields[session])
	p.Start, errs[3] = strconv.ParseUint(fields[start], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return Process{}, fmt.Errorf("process status: %w", err)
	}
	return p, nil
}
