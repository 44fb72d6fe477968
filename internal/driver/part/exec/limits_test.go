package exec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/thread"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/spec"
)

// limited returns a bench on which a limit is kept, or skips the test.
func limited(t *testing.T, l cgroup.Limits) *bench {
	if os.Getuid() != 0 {
		t.Skip("limits need cgroups, which need root")
	}
	b := newBench(t, mode{"cgroups", false})
	if missing := b.d.groups.Unlimited(l); len(missing) > 0 {
		t.Skipf("this host has no cgroup controller for %s", strings.Join(missing, ", "))
	}
	return b
}

// output returns what the program has written so far.
func (b *bench) output() string {
	text, err := os.ReadFile(filepath.Join(b.run.LogDir, outputName))
	if err != nil {
		return ""
	}
	return string(text)
}

func TestMemoryLimitKillsAndIsNamed(t *testing.T) {
	b := limited(t, cgroup.Limits{MemoryBytes: 1})
	b.run.Part.Exec.Limits.Memory = 32 << 20
	b.run.Part.Exec.Command = []string{"/usr/bin/tail", "/dev/zero"} // keeps the one endless line
	b.start()
	err := b.d.Wait(t.Context(), b.run)
	if err == nil || err.Error() != "killed by signal KILL (out of memory)" {
		t.Errorf("wait: %v, want out of memory", err)
	}
}

func TestMemoryLimitOfAChildIsNamed(t *testing.T) {
	b := limited(t, cgroup.Limits{MemoryBytes: 1})
	b.run.Part.Exec.Limits.Memory = 32 << 20
	b.shell("tail /dev/zero; exit 6")
	b.start()
	err := b.d.Wait(t.Context(), b.run)
	if err == nil || err.Error() != "exited with status 6 (a process of it was killed: out of memory)" {
		t.Errorf("wait: %v, want status 6 and out of memory", err)
	}
}

func TestLimitsHoldFromTheFirstInstruction(t *testing.T) {
	b := limited(t, cgroup.Limits{Processes: 1})
	b.run.Part.Exec.Limits.Processes = 1
	b.shell("/bin/true & wait; echo forked; sleep 1000")
	b.start()
	b.eventually("the shell cannot fork", func() bool { return strings.Contains(b.output(), "Cannot fork") })
	if got := b.output(); strings.Contains(got, "forked") {
		t.Errorf("output %q: it forked in spite of the limit", got)
	}
}

func TestOpenFilesAreLimitedFromTheFirstInstruction(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("holding a program back until its limits are set needs root")
	}
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			b := newBench(t, m)
			b.run.Part.Exec.Limits.OpenFiles = 77
			b.shell("ulimit -Sn; ulimit -Hn; exec sleep 1000")
			b.start()
			b.eventually("two lines", func() bool { return strings.Count(b.output(), "\n") == 2 })
			if got := b.output(); got != "77\n77\n" {
				t.Errorf("limits of open files %q, want 77 twice", got)
			}
		})
	}
}

func TestOpenFilesOfAnotherUserAreLimited(t *testing.T) {
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			b := newBench(t, m)
			b.nobody()
			b.run.Part.Exec.Limits.OpenFiles = 77
			b.shell("ulimit -Sn; ulimit -Hn; id -un; grep -c '^Threads' /proc/self/status; exec sleep 1000")
			b.start()
			b.eventually("four lines", func() bool { return strings.Count(b.output(), "\n") == 4 })
			if got := b.output(); got != "77\n77\nnobody\n1\n" {
				t.Errorf("it wrote %q, want limits of 77", got)
			}
			if warned := strings.Join(b.d.Warnings(), " "); strings.Contains(warned, "open files") {
				t.Errorf("it warns: %s", warned)
			}
			if err := thread.Each(func(tid int) error {
				text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", tid))
				if err == nil && !strings.Contains(string(text), "\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n") {
					t.Errorf("thread %d is not root any more", tid)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestALimitOfOpenFilesThatCannotBeSetIsTold(t *testing.T) {
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
		t.Fatal(err)
	}
	if unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most.Cur, Max: most.Max + 1}, nil) == nil {
		_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &most, nil)
		t.Skip("this user may raise limits")
	}
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part.Exec.Limits.OpenFiles = int(most.Max) + 7
		b.shell("ulimit -Sn; exec sleep 1000")
		b.start()
		b.eventually("a line", func() bool { return strings.Count(b.output(), "\n") == 1 })
		if got, want := b.output(), fmt.Sprintf("%d\n", most.Max); got != want {
			t.Errorf("its limit is %q, want %q", got, want)
		}
		want := fmt.Sprintf("shop/exec has a limit of %d open files, not the %d of its `limits`", most.Max, most.Max+7)
		if warned := strings.Join(b.d.Warnings(), " "); !strings.Contains(warned, want) {
			t.Errorf("it warns %q, want %q in it", warned, want)
		}
		b.stop()
		if warned := strings.Join(b.d.Warnings(), " "); strings.Contains(warned, "open files") {
			t.Errorf("after its stop it warns: %s", warned)
		}
	})
}

func TestCPULimitIsSet(t *testing.T) {
	b := limited(t, cgroup.Limits{CPU: 1})
	b.run.Part.Exec.Limits.CPU = 0.05
	b.shell("while :; do :; done")
	b.start()
	_, pid := b.probe(b.d)
	ticks := func() (busy int) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(text))
		if _, err := fmt.Sscan(fields[13], &busy); err != nil { // user time, in 1/100 s
			t.Fatal(err)
		}
		return busy
	}
	b.eventually("it used some time", func() bool { return ticks() >= 2 })
	before, start := ticks(), time.Now()
	b.eventually("a second went by", func() bool { return time.Since(start) > time.Second })
	// 5 ticks a second are allowed, 100 would be used without a limit.
	if used := float64(ticks()-before) / time.Since(start).Seconds(); used > 25 {
		t.Errorf("it used %.0f %% of a core, limit 5 %%", used)
	}
}

func TestWhatCannotStartIsNamed(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, perm os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), perm); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := file("plain", "#!/bin/sh\n", 0o644)
	garbage := file("garbage", "\x00\x01\x02", 0o755)
	orphan := file("orphan", "#!/no/such/shell\n", 0o755)
	tests := []struct {
		name string
		exec spec.Exec
		want string
		code Code
	}{
		{
			"no program at all",
			spec.Exec{},
			"shop/exec names no program by its absolute path. Correct its `exec`.", BadSpec,
		},
		{
			"a relative path",
			spec.Exec{Command: []string{"sleep"}},
			"shop/exec names no program by its absolute path. Correct its `exec`.", BadSpec,
		},
		{
			"a program that is not there",
			spec.Exec{Command: []string{"/no/such"}},
			"/no/such, the program of shop/exec, is not on this node. Install it, or correct `exec`.", NoProgram,
		},
		{
			"a folder",
			spec.Exec{Command: []string{"/tmp"}},
			"/tmp, the program of shop/exec, is not a file. Correct `exec`.", NotExecutable,
		},
		{
			"a file without the permission",
			spec.Exec{Command: []string{plain}},
			fmt.Sprintf("%s, the program of shop/exec, is not executable. Make it so with `chmod +x %[1]s`.", plain), NotExecutable,
		},
		{
			"a file that is no program",
			spec.Exec{Command: []string{garbage}},
			garbage + ", the program of shop/exec, is neither a program for this machine nor a script that begins with #!.", NotExecutable,
		},
		{
			"a script without its interpreter",
			spec.Exec{Command: []string{orphan}},
			orphan + ", the program of shop/exec, is there, but its interpreter or loader is not. Install that.", NoProgram,
		},
		{
			"a folder to work in that is not there",
			spec.Exec{Command: []string{"/bin/true"}, Dir: "/no/such"},
			"The working folder /no/such of shop/exec is not there. Make it, or correct `dir`.", NoDir,
		},
		{
			"a user that is not there",
			spec.Exec{Command: []string{"/bin/true"}, User: "nosuch"},
			"There is no user \"nosuch\" on this node, which shop/exec wants to run as. Add it, or correct `user`. " +
				"Users that are not in /etc/passwd must be given by number, with a `group`.", NoUser,
		},
		{
			"a group that is not there",
			spec.Exec{Command: []string{"/bin/true"}, Group: "nosuch"},
			"There is no group \"nosuch\" on this node, which shop/exec wants to run as. Add it, or correct `group`.", NoGroup,
		},
		{
			"a number without an entry and without a group",
			spec.Exec{Command: []string{"/bin/true"}, User: "54321"},
			"The group of user 54321 is not known on this node. Give shop/exec a `group`.", NoGroup,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, b *bench) {
				b.run.Part.Exec = &tt.exec
				err := b.d.Start(t.Context(), b.run)
				if err == nil {
					t.Fatal("it started")
				}
				if diff := cmp.Diff(tt.want, err.Error()); diff != "" || code(err) != tt.code {
					t.Errorf("code %s, want %s; sentence (-want +got):\n%s", code(err), tt.code, diff)
				}
				if seen, _ := b.probe(b.d); seen.Running {
					t.Errorf("probe: %+v", seen)
				}
			})
		})
	}
}

func TestAFailedStartLeavesTheOldProgramAlone(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part.Exec.Command = []string{"/bin/sleep", "1000"}
		b.start()
		_, pid := b.probe(b.d)
		b.run.Generation++
		b.run.Part.Exec = &spec.Exec{Command: []string{"/no/such"}}
		if err := b.d.Start(t.Context(), b.run); code(err) != NoProgram {
			t.Errorf("start: %v", err)
		}
		if !alive(pid) {
			t.Error("the old program was stopped for one that cannot start")
		}
	})
}

// needUsers skips the test where programs cannot run as others.
func needUsers(t *testing.T) {
	var inside, outside, count uint64
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &inside, &outside, &count); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 || count < 65535 {
		t.Skip("running as another user needs root, and more than one user in the namespace")
	}
}

func TestProgramRunsAsItsUser(t *testing.T) {
	needUsers(t)
	tests := []struct {
		name string
		exec spec.Exec
		want string
	}{
		{"by name, with the user's group and home", spec.Exec{User: "nobody"}, "65534 65534 65534 /nonexistent nobody\n"},
		{"by number", spec.Exec{User: "65534"}, "65534 65534 65534 /nonexistent nobody\n"},
		{"with another group", spec.Exec{User: "nobody", Group: "daemon"}, "65534 1 1 65534 /nonexistent nobody\n"},
		{"by numbers without entries", spec.Exec{User: "54321", Group: "54322"}, "54321 54322 54322  \n"},
		{"only another group", spec.Exec{Group: "1"}, "0 1 1  \n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, b *bench) {
				b.run.Part.Exec = &tt.exec
				// Through /dev/stdout, which only its owner may open.
				b.shell(`echo "$(id -u) $(id -g) $(id -G) $HOME $USER" >>/dev/stdout; exec sleep 1000`)
				b.start()
				b.eventually("it said who it is", func() bool { return b.output() != "" })
				if diff := cmp.Diff(tt.want, b.output()); diff != "" {
					t.Errorf("identity (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestProgramThatItsUserMayNotExecute(t *testing.T) {
	needUsers(t)
	path := filepath.Join(t.TempDir(), "mine")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part.Exec = &spec.Exec{Command: []string{path}, User: "nobody"}
		err := b.d.Start(t.Context(), b.run)
		want := path + ", the program of shop/exec, may not be executed by nobody in /. " +
			"Check the permissions of both, and of the folders above them."
		if err == nil || err.Error() != want || code(err) != NotAllowed {
			t.Errorf("start: %v, want %q", err, want)
		}
	})
}

func TestAUserThatTheAgentMayNotBecome(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may become anybody")
	}
	eachMode(t, func(t *testing.T, b *bench) {
		b.run.Part.Exec = &spec.Exec{Command: []string{"/bin/true"}, User: "root"}
		err := b.d.Start(t.Context(), b.run)
		want := "The agent may not run shop/exec as root. Run the agent as root, or correct `user` and `group`."
		if err == nil || err.Error() != want || code(err) != NotAllowed {
			t.Errorf("start: %v, want %q", err, want)
		}
	})
}

func TestOutputThatCannotBeKeptStopsNoProgram(t *testing.T) {
	b := newBench(t, mode{"sessions", true})
	if err := os.WriteFile(b.run.LogDir, nil, 0o600); err != nil { // a file where the folder belongs
		t.Fatal(err)
	}
	b.shell("echo lost; exec sleep 1000")
	b.start()
	if seen, _ := b.probe(b.d); !seen.Running {
		t.Errorf("probe: %+v, want it running", seen)
	}
}

func BenchmarkStart(b *testing.B) {
	for _, m := range modes() {
		for _, limits := range []struct {
			name string
			l    spec.Limits
		}{{"plain", spec.Limits{}}, {"limits", spec.Limits{Memory: 64 << 20, OpenFiles: 100}}} {
			b.Run(m.name+"/"+limits.name, func(b *testing.B) {
				n := newBench(b, m)
				n.run.RunDir = filepath.Join("/dev/shm", filepath.Base(n.base))
				b.Cleanup(func() { _ = os.RemoveAll(n.run.RunDir) })
				n.run.Part.Exec.Command = []string{"/bin/sleep", "1000"}
				n.run.Part.Exec.Grace = new(spec.Duration)
				n.run.Part.Exec.Limits = limits.l
				for b.Loop() {
					if err := n.d.Start(b.Context(), n.run); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := n.d.Stop(b.Context(), n.run); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
	}
}
