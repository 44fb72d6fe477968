package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab"
)

func TestAHostIsAMachineOfItsOwn(t *testing.T) {
	share := filepath.Join(t.TempDir(), "tool")
	must(t, os.WriteFile(share, []byte("#!/bin/sh\necho shared\n"), 0o755))
	l := raise(t, lab.Options{
		Hosts:    []string{"h1", "h2"},
		Networks: 2,
		Shares:   []lab.Share{{Source: share, Target: lab.BinDir + "/tool"}, {Source: filepath.Dir(share), Target: "/tmp/in"}},
	})
	h1, h2 := l.Host("h1"), l.Host("h2")
	for _, c := range []struct{ name, line, want string }{
		{"it has its own name", "cat /proc/sys/kernel/hostname /etc/hostname | sort -u", "h1"},
		{"its init is process 1", "tr '\\0' ' ' </proc/1/cmdline", "keelson-lab-init h1"},
		{"it sees no other processes", "ls -d /proc/[0-9]* | wc -l | awk '{print $1 < 8}'", "1"},
		{"it cannot change the machine's files", "touch /usr/x /root/x 2>/dev/null; echo $?", "1"},
		{"its devices are few", "ls /dev | wc -l | awk '{print $1 < 16}'", "1"},
		{"a bare name finds a shared program", "tool", "shared"},
		{"a shared directory is visible below /tmp", "ls /tmp/in", "tool"},
		{"a share is read-only", "touch /tmp/in/x 2>/dev/null; echo $?", "1"},
		{"other hosts are known by name", "grep -c h2 /etc/hosts", "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, sh(t, h1, c.line)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.line, diff)
			}
		})
	}
	for _, to := range []string{h2.Address(1), h2.Address(2), h2.Address6(1), h2.Address6(2)} {
		if got := pings(t, h1, to, 10); got < 9 {
			t.Errorf("%d of 10 pings to %s were answered", got, to)
		}
	}
	if a, b := sh(t, h1, "cat /proc/sys/kernel/random/boot_id"), sh(t, h2, "cat /proc/sys/kernel/random/boot_id"); a == b {
		t.Errorf("two hosts have the boot id %s", a)
	}
	must(t, h1.WriteFile(within(t), "/etc/new/file", []byte("mine"), 0o600))
	if out, _, _ := h2.Run(within(t), "cat", "/etc/new/file"); strings.Contains(string(out), "mine") {
		t.Error("h2 sees a file of h1")
	}
	if _, err := os.Stat("/etc/new"); err == nil {
		t.Error("the machine sees a file of h1")
	}
}

func TestARebootKeepsTheDiskAndNothingElse(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1", "h2"}})
	h := l.Host("h1")
	ctx := within(t)
	for _, f := range []string{"/var/lib/kept", "/etc/kept", "/srv/kept", "/run/lost", "/tmp/lost", "/dev/shm/lost"} {
		must(t, h.WriteFile(ctx, f, []byte("x"), 0o644))
	}
	before := sh(t, h, "cat /proc/sys/kernel/random/boot_id")
	p, err := h.Start(ctx, lab.Command{Args: []string{"sleep", "1000"}})
	must(t, err)

	must(t, h.Kill(ctx))
	must(t, h.Kill(ctx))
	exit, err := p.Wait(ctx)
	must(t, err)
	if diff := cmp.Diff(lab.Exit{Code: -1, HostGone: true}, exit); diff != "" {
		t.Errorf("the end of what ran on the host (-want +got):\n%s", diff)
	}
	unreachable(t, l.Host("h2"), h)
	if _, err := h.ReadFile(ctx, "/etc/hosts"); !errors.Is(err, lab.ErrOff) {
		t.Errorf("reading from a host that is off: %v", err)
	}

	must(t, h.Boot(ctx))
	must(t, h.Boot(ctx))
	reaches(t, l.Host("h2"), h)
	if after := sh(t, h, "cat /proc/sys/kernel/random/boot_id"); after == before {
		t.Error("the boot id is still the same")
	}
	got := sh(t, h, "ls /var/lib/kept /etc/kept /srv/kept /run/lost /tmp/lost /dev/shm/lost 2>/dev/null || true")
	if diff := cmp.Diff("/etc/kept\n/srv/kept\n/var/lib/kept", got); diff != "" {
		t.Errorf("what is left after the reboot (-want +got):\n%s", diff)
	}
	must(t, h.Reboot(ctx))
	reaches(t, l.Host("h2"), h)
}

func TestAKilledHostSaysNoGoodbye(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1", "h2"}})
	ctx := within(t)
	var listens, said line
	_, err := l.Host("h1").Start(ctx, withOutput(toolCommand("accept", "7000"), &listens))
	must(t, err)
	await(t, "a listener", func() bool { return listens.len() > 0 })
	c := withOutput(toolCommand("hold", l.Host("h1").Address(1)+":7000"), &said)
	wait, stdin, err := os.Pipe()
	must(t, err)
	c.Stdin = wait
	client, err := l.Host("h2").Start(ctx, c)
	must(t, err)
	await(t, "a connection", func() bool { return strings.Contains(said.String(), "connected") })
	must(t, l.Host("h1").Kill(ctx))
	_, err = stdin.WriteString("x")
	must(t, err)
	_, err = client.Wait(ctx)
	must(t, err)
	stdin.Close()
	if diff := cmp.Diff("connected\nsilent\n", said.String()); diff != "" {
		t.Errorf("what the client saw (-want +got):\n%s", diff)
	}
}

func TestAFrozenHostAnswersOnlyByItsKernel(t *testing.T) {
	freezing(t, raise(t, lab.Options{Hosts: []string{"h1", "h2"}}))
}

// freezing is also run as an ordinary user.
func freezing(t *testing.T, l *lab.Lab) {
	t.Helper()
	ctx := within(t)
	h := l.Host("h1")
	var beats, accepts line
	_, err := h.Start(ctx, withOutput(toolCommand("beat"), &beats))
	must(t, err)
	_, err = h.Start(ctx, withOutput(toolCommand("accept", "7000"), &accepts))
	must(t, err)
	await(t, "a first beat", func() bool { return beats.len() > 0 && accepts.len() > 0 })

	must(t, h.Freeze(ctx))
	must(t, h.Freeze(ctx))
	time.Sleep(20 * time.Millisecond) // what was in the pipe
	before := beats.len()
	if got := pings(t, l.Host("h2"), h.Address(1), 5); got < 4 {
		t.Errorf("the frozen host's kernel answered %d of 5 pings", got)
	}
	out := tool2(t, l.Host("h2"), "x", "hold", h.Address(1)+":7000")
	if diff := cmp.Diff("connected\nsilent\n", out); diff != "" {
		t.Errorf("a connection to the frozen host (-want +got):\n%s", diff)
	}
	if after := beats.len(); after != before {
		t.Errorf("a process of the frozen host went on: %d bytes more", after-before)
	}
	states, err := l.State(ctx)
	must(t, err)
	if diff := cmp.Diff(lab.HostState{Name: "h1", On: true, Frozen: true}, states[0]); diff != "" {
		t.Errorf("the frozen host's state (-want +got):\n%s", diff)
	}
	must(t, h.Thaw(ctx))
	must(t, h.Thaw(ctx))
	await(t, "a beat after the thaw", func() bool { return beats.len() > before })

	must(t, h.Freeze(ctx))
	must(t, h.Kill(ctx))
	must(t, h.Boot(ctx))
	reaches(t, l.Host("h2"), h)
}

func TestDisksCanBeFull(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1"}})
	h := l.Host("h1")
	ctx := within(t)
	must(t, h.SmallDisk(ctx, "/var/lib/small", 1<<20))
	for _, dir := range []string{"/var", "/run", "/var/lib/small"} {
		must(t, h.WriteFile(ctx, dir+"/before", []byte("x"), 0o644))
		must(t, h.DiskFull(ctx, dir))
		must(t, h.DiskFull(ctx, dir))
		err := h.WriteFile(ctx, dir+"/more", make([]byte, 64<<10), 0o644)
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("writing to the full %s: %v", dir, err)
		}
		must(t, h.DiskFree(ctx, dir))
		must(t, h.WriteFile(ctx, dir+"/more", make([]byte, 64<<10), 0o644))
	}
	if err := h.WriteFile(ctx, "/var/lib/small/big", make([]byte, 2<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing 2 MiB to a disk of 1 MiB: %v", err)
	}
	if err := h.DiskFull(ctx, "/usr"); err == nil {
		t.Error("the machine's own disk was filled")
	}
}

func TestLimitsHoldAndAreLifted(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1", "h2"}})
	h := l.Host("h1")
	ctx := within(t)
	if !l.Limits() {
		if err := h.CPUQuota(ctx, 50); !errors.Is(err, lab.ErrNoCgroup) {
			t.Errorf("a limit without cgroups: %v", err)
		}
		t.Skip("CPU and memory limits need root")
	}
	must(t, h.CPUQuota(ctx, 5))
	var got int
	_, err := fmt.Sscan(tool(t, h, "spin", "600"), &got)
	must(t, err)
	if got > 150 {
		t.Errorf("with 5 percent of a CPU a program got %d ms of 600", got)
	}
	must(t, h.CPUQuota(ctx, 0))
	must(t, h.MemLimit(ctx, 96<<20))
	r, err := h.Exec(ctx, toolCommand("eat", "200"))
	must(t, err)
	if r.Exit.Signal != syscall.SIGKILL {
		t.Errorf("a program that needs 200 MiB of 96 ended with %+v", r.Exit)
	}
	must(t, h.MemLimit(ctx, 0))
	if out := tool(t, h, "eat", "200"); out != "full 200" {
		t.Errorf("without a limit the program said %q", out)
	}
}

func TestProcesses(t *testing.T) {
	l := raise(t, lab.Options{Hosts: []string{"h1"}})
	h := l.Host("h1")
	ctx := within(t)

	r, err := h.Exec(ctx, lab.Command{
		Args: []string{"sh", "-c", "cat; echo $X; pwd; echo err >&2; exit 7"}, Stdin: strings.NewReader("in\n"),
		Env: []string{"X=y"}, Dir: "/var",
	})
	must(t, err)
	want := lab.Result{Stdout: []byte("in\ny\n/var\n"), Stderr: []byte("err\n"), Exit: lab.Exit{Code: 7}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("a program's result (-want +got):\n%s", diff)
	}
	if _, _, err := h.Run(ctx, "no-such-program"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := h.ReadFile(ctx, "/no/such/file"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := l.Host("nobody").Boot(ctx); !errors.Is(err, lab.ErrNoHost) {
		t.Errorf("a host that is not there: %v", err)
	}

	log := filepath.Join(t.TempDir(), "log")
	p, err := h.Start(ctx, lab.Command{Args: []string{"sh", "-c", "echo a; echo b >&2; sleep 1000 & wait"}, LogPath: log})
	must(t, err)
	await(t, "the log", func() bool { b, _ := os.ReadFile(log); return string(b) == "a\nb\n" })
	must(t, p.Kill(ctx))
	exit, err := p.Wait(ctx)
	must(t, err)
	if diff := cmp.Diff(lab.Exit{Code: -1, Signal: syscall.SIGKILL}, exit); diff != "" {
		t.Errorf("a killed program's end (-want +got):\n%s", diff)
	}
	await(t, "the end of the group", func() bool {
		return !strings.Contains(sh(t, h, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), "sleep 1000")
	})

	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, _, err := h.Run(short, "sleep", "1001"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a program that takes too long: %v", err)
	}

	// Orphans of any kind are reaped: no zombie stays.
	sh(t, h, "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 &) ; done")
	await(t, "the end of the orphans", func() bool {
		return sh(t, h, "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l") == "0"
	})
}

// line collects output.
type line struct{ lockedBuffer }

func withOutput(c lab.Command, to *line) lab.Command {
	c.Stdout, c.Stderr = to, to
	return c
}

// tool2 is tool with input, and keeps the output as it is.
func tool2(t *testing.T, h *lab.Host, stdin string, args ...string) string {
	t.Helper()
	c := toolCommand(args...)
	c.Stdin = strings.NewReader(stdin)
	r, err := h.Exec(within(t), c)
	if err != nil || r.Exit.Code != 0 {
		t.Fatalf("%v on %s: %+v, %v\n%s", args, h.Name(), r.Exit, err, r.Stderr)
	}
	return string(r.Stdout)
}
