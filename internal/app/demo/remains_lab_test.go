//go:build integration

package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// staysUp is what a demo says when its failover is over.
const staysUp = "It stays up"

// TestNothingIsLeftOfADemoThatIsEnded ends demos by signals, in the middle and
// when they stay up, and looks for what they may have left on the machine. Those
// that came so far have shown a failover.
func TestNothingIsLeftOfADemoThatIsEnded(t *testing.T) {
	binary := binaryFor(t)
	const both = "At no time did two hosts hold"
	for _, tt := range []struct {
		name     string
		fault    string
		signal   syscall.Signal
		when     string // what it says last before that
		says     []string
		code     int
		ordinary bool
	}{
		{"it is killed while nodes join", verbKill, syscall.SIGKILL, "made of namespaces", nil, -1, false},
		{"it gets Ctrl-C while nodes join", verbKill, syscall.SIGINT, "made of namespaces", nil, 1, false},
		{"it is an ordinary user's, who freezes a host, and is killed when it stays up", verbFreeze, syscall.SIGKILL, staysUp, []string{"took over from", both}, -1, true},
		{"its program dies, and it gets Ctrl-C when it stays up", verbService, syscall.SIGINT, staysUp, []string{"serves on", both}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.ordinary && os.Getuid() != 0 {
				t.Skip("only root can become another user")
			}
			before := files(t)
			cmd := as(exec.CommandContext(t.Context(), binary, "demo", "--fault", tt.fault), tt.ordinary)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(out)
			said := ""
			for !strings.Contains(said, tt.when) {
				line, err := in.ReadString('\n')
				if said += line; err != nil {
					_ = cmd.Wait()
					if strings.Contains(stderr.String(), "does not let you make a lab") {
						t.Skipf("SKIPPED: %s", stderr.String())
					}
					t.Fatalf("the demo ended with %v: %s%s", err, said, stderr.String())
				}
			}
			t.Log(outage(said))
			for _, w := range tt.says {
				if !strings.Contains(said, w) {
					t.Errorf("it does not say %q: %s", w, said)
				}
			}
			time.Sleep(time.Second) // for agents and programs to begin, if it is early
			made := madeBy(t, cmd.Process.Pid)
			if len(made.processes) < 5 || len(made.spaces) < 20 {
				t.Errorf("the demo has the processes %v and %d namespaces", made.processes, len(made.spaces))
			}
			ended := time.Now()
			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(in)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("it ended with status %d, not %d: %s", code, tt.code, rest)
			}
			if tt.signal == syscall.SIGINT {
				made.gone(t, 0) // it has taken down all before its own end
			}
			made.gone(t, 30*time.Second)
			if diff := cmp.Diff(before, files(t)); diff != "" {
				t.Errorf("files on this machine (-before +after):\n%s", diff)
			}
			t.Logf("%d processes and %d namespaces were gone %s after the signal", len(made.processes), len(made.spaces), time.Since(ended).Round(time.Millisecond))
		})
	}
}

// outage is the sentence of a demo that tells it.
func outage(said string) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, "without an answer") {
			return strings.TrimSpace(line)
		}
	}
	return "no failover so far"
}

// made is what a demo has made on this machine.
type made struct {
	lab       string // how the names of its lab begin
	processes []int
	spaces    map[string]bool
}

// madeBy finds the children of a demo and theirs, and their namespaces. Those are
// kept open until the test ends: the number of one that is gone may be given to
// another.
func madeBy(t *testing.T, pid int) made {
	t.Helper()
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		if fields := statFields(s); len(fields) > 1 {
			child, _ := strconv.Atoi(strings.Split(s, "/")[2])
			parent, _ := strconv.Atoi(fields[1])
			children[parent] = append(children[parent], child)
		}
	}
	m := made{lab: fmt.Sprintf("keelson-lab-%d-", pid), spaces: map[string]bool{}}
	for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
		m.processes = append(m.processes, queue[0])
		queue = append(queue, children[queue[0]]...)
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", queue[0]))
		for _, l := range links {
			f, err := os.Open(l)
			if err != nil {
				continue // the process has ended
			}
			t.Cleanup(func() { _ = f.Close() })
			if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil {
				m.spaces[to] = true
			}
		}
	}
	for own := range spacesOf(os.Getpid()) {
		delete(m.spaces, own)
	}
	return m
}

// statFields are those behind the name in a stat file of a process.
func statFields(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

func spacesOf(pid int) map[string]bool {
	out := map[string]bool{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", pid))
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			out[to] = true
		}
	}
	return out
}

// gone waits until none of it is left, and fails after a while.
func (m made) gone(t *testing.T, patience time.Duration) {
	t.Helper()
	left := m.left()
	for until := time.Now().Add(patience); len(left) > 0 && time.Now().Before(until); left = m.left() {
		time.Sleep(20 * time.Millisecond)
	}
	if len(left) > 0 {
		t.Errorf("after %s there are left: %q", patience, left)
	}
}

// left are the processes that go on, those in a namespace that it made, and its
// control groups and mounts.
func (m made) left() []string {
	var out []string
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		pid, _ := strconv.Atoi(filepath.Base(p))
		f := statFields(p + "/stat")
		if len(f) == 0 || f[0] == "Z" || f[0] == "X" {
			continue
		}
		inside := slices.Contains(m.processes, pid)
		for s := range spacesOf(pid) {
			inside = inside || m.spaces[s]
		}
		if inside {
			line, _ := os.ReadFile(p + "/cmdline")
			out = append(out, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(line), "\x00", " ")))
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		found, _ := filepath.Glob(pattern + m.lab + "*")
		out = append(out, found...)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), m.lab) {
		out = append(out, string(mounts))
	}
	return out
}

// files are those of this machine that a demo could leave, but for control groups
// and mounts, which are named after it.
func files(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"/tmp/*keelson*", "/tmp/*lab-h*", "/tmp/hosts", "/tmp/shares", "/run/*keelson*", "/run/lab", "/var/lib/keelson*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}
