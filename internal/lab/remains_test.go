package lab_test

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cgroup"
)

// keep is a tool: it makes a lab with a busy and a frozen host, prints its id
// and waits to be killed.
func keep([]string) error {
	ctx, cancel := toolContext()
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Hosts: []string{"h1", "h2"}})
	if errors.Is(err, lab.ErrForbidden) {
		fmt.Println("forbidden:", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, h := range l.Hosts() {
		if _, err := h.Start(ctx, lab.Command{Args: []string{"sh", "-c", "setsid sleep 1000 & sleep 1000"}}); err != nil {
			return err
		}
	}
	if err := l.Host("h2").Freeze(ctx); err != nil {
		return err
	}
	fmt.Println(l.ID())
	if len(os.Args) > 2 && os.Args[2] == "close" {
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
			return err
		}
		return l.Close()
	}
	<-ctx.Done()
	return nil
}

// caller is a process that has a lab.
type caller struct {
	cmd     *exec.Cmd
	id      string
	stdin   *os.File
	parts   []int           // every process of the lab
	spaces  map[string]bool // every namespace of the lab that is not ours
	cgroups int
}

// callWith starts a caller, as an ordinary user if attr says so.
func callWith(t *testing.T, attr *syscall.SysProcAttr, args ...string) *caller {
	t.Helper()
	read, write, err := os.Pipe()
	must(t, err)
	c := &caller{cmd: exec.Command("/proc/self/exe", append([]string{"keep"}, args...)...), stdin: write}
	c.cmd.Env = append(os.Environ(), toolVariable+"=1")
	c.cmd.Stdin, c.cmd.Stderr, c.cmd.SysProcAttr = read, os.Stderr, attr
	out, err := c.cmd.StdoutPipe()
	must(t, err)
	must(t, c.cmd.Start())
	read.Close()
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		write.Close()
	})
	first, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	c.id = strings.TrimSpace(first)
	if strings.HasPrefix(c.id, "forbidden") {
		t.Skipf("this needs a machine on which a lab can be made: %s", c.id)
	}
	// The stage, two inits and what they started; shells may still be on their
	// way to start more, or frozen on it.
	for deadline := time.Now().Add(time.Second); len(c.parts) < 9 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		c.parts = descendants(c.cmd.Process.Pid)
	}
	ours := spacesOf(os.Getpid())
	c.spaces = map[string]bool{}
	for _, pid := range c.parts {
		maps.Copy(c.spaces, openSpaces(t, pid))
	}
	maps.DeleteFunc(c.spaces, func(s string, _ bool) bool { return ours[s] })
	if len(c.parts) < 5 || len(c.spaces) < 15 {
		t.Fatalf("the lab has %d processes and %d namespaces", len(c.parts), len(c.spaces))
	}
	c.cgroups = len(cgroupsOf(c.id))
	return c
}

func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		text, err := os.ReadFile(s)
		if err != nil {
			continue
		}
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		child, _ := strconv.Atoi(strings.Split(s, "/")[2])
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], child)
	}
	var out []int
	for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
		out = append(out, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return out
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

// openSpaces is spacesOf, and keeps the namespaces open until the test ends: the
// number of one that is gone may be given to another lab's.
func openSpaces(t *testing.T, pid int) map[string]bool {
	t.Helper()
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", pid))
	out := map[string]bool{}
	for _, l := range links {
		f, err := os.Open(l)
		if err != nil {
			continue // the process has ended
		}
		t.Cleanup(func() { f.Close() })
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil {
			out[to] = true
		}
	}
	return out
}

func cgroupsOf(id string) []string {
	found, _ := filepath.Glob("/sys/fs/cgroup/*/" + id)
	pure, _ := filepath.Glob("/sys/fs/cgroup/" + id)
	return slices.Concat(found, pure)
}

// alive tells a process from none, and from one that has ended but was not
// reaped yet by the machine's init.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0]
	return state != "Z" && state != "X"
}

// nothingLeft waits until nothing of the caller's lab is left.
func (c *caller) nothingLeft(t *testing.T, cgroupsToo bool) {
	t.Helper()
	await(t, "the end of the lab's processes", func() bool {
		return !slices.ContainsFunc(c.parts, alive)
	})
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		pid, _ := strconv.Atoi(filepath.Base(p))
		if !alive(pid) {
			continue
		}
		for s := range spacesOf(pid) {
			if c.spaces[s] {
				t.Errorf("process %d is still in the lab's %s", pid, s)
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), c.id) {
		t.Errorf("a mount is left:\n%s", mounts)
	}
	if cgroupsToo {
		await(t, "the end of the lab's cgroups", func() bool { return len(cgroupsOf(c.id)) == 0 })
	}
	for _, pattern := range []string{"/tmp/*lab-h*", "/tmp/hosts", "/tmp/shares", "/run/lab", "/run/keelson-lab*"} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Run("after a close", func(t *testing.T) {
		c := callWith(t, nil, "close")
		c.stdin.WriteString("x")
		must(t, c.cmd.Wait())
		if left := cgroupsOf(c.id); len(left) > 0 {
			t.Errorf("cgroups are left right after the close: %v", left)
		}
		c.nothingLeft(t, true)
	})
	t.Run("after the caller was killed", func(t *testing.T) {
		c := callWith(t, nil)
		start := time.Now()
		must(t, c.cmd.Process.Kill())
		c.cmd.Wait()
		c.nothingLeft(t, true)
		t.Logf("gone after %s", time.Since(start).Round(time.Millisecond))
	})
	t.Run("after stage and caller were killed at once, by the next lab", func(t *testing.T) {
		c := callWith(t, nil)
		must(t, c.cmd.Process.Signal(syscall.SIGSTOP)) // so that it cannot clean up
		must(t, syscall.Kill(c.parts[0], syscall.SIGKILL))
		must(t, c.cmd.Process.Kill())
		c.cmd.Wait()
		c.nothingLeft(t, false)
		if c.cgroups > 0 && len(cgroupsOf(c.id)) == 0 {
			t.Log("some other lab has removed the cgroups already")
		}
		raise(t, lab.Options{Hosts: []string{"h1"}})
		if left := cgroupsOf(c.id); len(left) > 0 {
			t.Errorf("the next lab left %v", left)
		}
	})
}

func TestTheEndOfTheStageIsNoticed(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1"}})
	ctx := within(t)
	p, err := l.Host("h1").Start(ctx, lab.Command{Args: []string{"sleep", "1000"}})
	must(t, err)
	var stage int
	for _, pid := range descendants(os.Getpid()) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.HasPrefix(string(text), l.ID()) {
			stage = pid
		}
	}
	must(t, syscall.Kill(stage, syscall.SIGKILL))
	exit, err := p.Wait(ctx)
	must(t, err)
	if !exit.HostGone {
		t.Errorf("the process ended with %+v", exit)
	}
	<-l.Ended()
	if _, err := l.State(ctx); !errors.Is(err, lab.ErrClosed) {
		t.Errorf("a request to a lab that is gone: %v", err)
	}
	must(t, l.Close())
	if left := cgroupsOf(l.ID()); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	if pid, started, ok := cgroup.ParseID(l.ID()); !ok || pid != os.Getpid() || started == 0 {
		t.Errorf("the id %s does not name this process", l.ID())
	}
}
