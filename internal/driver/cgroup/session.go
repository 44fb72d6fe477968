package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/atomicfile"
)

// session is the processes of a part where there is no cgroup: those in the
// session whose leader the pidfile names, their descendants, and those that
// carry the mark in their environment.
type session struct {
	proc    string
	pidfile string
	mark    string // "" means the one in the pidfile
}

// pidfileBytes bounds a pidfile; the mark, with a path in it, is most of it.
const pidfileBytes = 16 << 10

// leader is the content of a pidfile. Its pid is 0 from before the start until
// the number is known: a kill in between goes by the mark.
type leader struct {
	pid   int
	start uint64
	boot  string
	mark  string
}

func (l leader) String() string { return fmt.Sprintf("%d %d %s\n%s\n", l.pid, l.start, l.boot, l.mark) }

// parsePidfile reads what leader.String wrote.
func parsePidfile(text string) (leader, error) {
	first, rest, _ := strings.Cut(text, "\n")
	fields := strings.Fields(first)
	if len(fields) != 3 {
		return leader{}, fmt.Errorf("pidfile with %d words in its first line, want 3", len(fields))
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid < 0 {
		return leader{}, fmt.Errorf("pidfile: %q is no process number", fields[0])
	}
	start, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return leader{}, fmt.Errorf("pidfile: %q is no start time", fields[1])
	}
	mark, _, _ := strings.Cut(rest, "\n")
	return leader{pid: pid, start: start, boot: fields[2], mark: mark}, nil
}

// writePidfile notes the leader of a session, 0 if there is none yet.
func writePidfile(proc, path string, pid int, mark string) error {
	l := leader{pid: pid, mark: mark}
	if pid > 0 {
		s, err := lookIn(proc, pid)
		if err != nil {
			return fmt.Errorf("write pidfile: %w", err)
		}
		l.start = s.Start
	}
	var err error
	if l.boot, err = bootID(proc); err != nil {
		return fmt.Errorf("write pidfile: %w", err)
	}
	return atomicfile.Write(path, []byte(l.String()), 0o600)
}

func (s session) strike() error {
	found, err := s.find()
	if err != nil {
		return err
	}
	for _, p := range found {
		err := killHeld(p.Pid, func() (bool, error) {
			now, err := lookIn(s.proc, p.Pid)
			return now.Start == p.Start, gone(err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s session) left() ([]int, error) {
	found, err := s.find()
	var pids []int
	for _, p := range found {
		pids = append(pids, p.Pid)
	}
	return pids, err
}

// find returns the living processes of the session, by number.
func (s session) find() ([]Process, error) {
	var lead leader
	text, err := atomicfile.Read(s.pidfile, pidfileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		lead, err = parsePidfile(string(text))
		if err != nil && s.mark == "" { // else the mark alone must do
			return nil, fmt.Errorf("%s: %w", s.pidfile, err)
		}
	}
	mark := s.mark
	if mark == "" {
		mark = lead.mark
	}
	if boot, err := bootID(s.proc); err != nil || boot != lead.boot {
		lead = leader{} // of another boot: the number means nothing
	}
	all, err := processes(s.proc)
	if err != nil {
		return nil, err
	}
	return members(all, lead, func(pid int) bool { return carries(s.proc, pid, mark) }), nil
}

// members picks from all processes those that belong to lead's session or carry
// the mark, and their descendants. This process and init never belong.
func members(all []Process, lead leader, marked func(pid int) bool) []Process {
	sessionID := lead.pid
	for _, p := range all {
		if p.Pid == lead.pid && p.Start != lead.start {
			// The number went to a stranger, which the kernel allows only after
			// the last process of the old session has ended.
			sessionID = 0
		}
	}
	self := os.Getpid()
	in := map[int]bool{}
	for _, p := range all {
		if p.Pid != self && p.Pid != 1 {
			in[p.Pid] = sessionID > 0 && p.Session == sessionID || marked(p.Pid)
		}
	}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if was, may := in[p.Pid]; may && !was && in[p.Parent] {
				in[p.Pid] = true
				grown = true
			}
		}
	}
	found := slices.DeleteFunc(slices.Clone(all), func(p Process) bool { return !in[p.Pid] || !p.Alive() })
	slices.SortFunc(found, func(a, b Process) int { return a.Pid - b.Pid })
	return found
}

// carries reports whether mark is in the environment that pid was started with.
func carries(proc string, pid int, mark string) bool {
	if mark == "" {
		return false
	}
	env, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "environ"))
	if err != nil {
		return false // gone, or another user's
	}
	return slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return string(v) == mark })
}

// processes returns all that /proc shows.
func processes(proc string) ([]Process, error) {
	d, err := os.Open(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []Process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := lookIn(proc, pid); err == nil { // else it has just ended
			all = append(all, s)
		}
	}
	return all, nil
}

// killHeld kills the process with number pid if wanted still says so once the
// number is held and can no longer pass to a stranger.
func killHeld(pid int, wanted func() (bool, error)) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold process %d: %w", pid, err)
	}
	ok, err := wanted()
	if err == nil && ok {
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	if errors.Is(err, unix.ESRCH) {
		err = nil
	}
	return errors.Join(err, unix.Close(fd))
}
