package app

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/driver/watchdog"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// commandOf is the command line of a process.
func commandOf(t *testing.T, pid int) string {
	t.Helper()
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	must(t, err)
	return strings.ReplaceAll(string(line), "\x00", " ")
}

// beat is what a watchdog's stand-in says.
func beat(t *testing.T, path string) watchdog.Beat {
	t.Helper()
	b, err := watchdog.ReadBeat(path)
	must(t, err)
	return b
}

func TestGuardBecomesAnotherProgramInItsPlace(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	dog := filepath.Join(h.folder, "watchdog")
	must(t, os.WriteFile(dog, nil, 0o600))
	file := filepath.Join(h.folder, "agent.yaml")
	must(t, os.WriteFile(file, []byte("watchdog: "+dog+"\n"), 0o600))
	status, printed := h.init()
	done(t, status, printed)
	h.agent("--config", file)
	h.ready()
	first := beat(t, dog)
	if !first.Armed {
		t.Fatalf("the watchdog is not armed: %+v", first)
	}
	for round := range 3 { // once more from a guard that was itself upgraded
		must(t, unix.Kill(first.Pid, unix.SIGHUP))
		h.until("the guard became another program", func() bool {
			// It counts its pets anew.
			b := beat(t, dog)
			return strings.Contains(commandOf(t, first.Pid), " --resume ") && b.Armed && b.Pid == first.Pid &&
				strings.Count(h.events(), "guard-upgraded") == round+1
		})
		h.ready()
		if n := strings.Count(commandOf(t, first.Pid), "--resume"); n != 1 {
			t.Errorf("its command line is %s", commandOf(t, first.Pid))
		}
	}
	if text := h.events(); strings.Contains(text, "guard-lost") || strings.Count(text, "guard-started") > 1 {
		t.Errorf("the events are:\n%s", text)
	}
	at := beat(t, dog).At
	h.until("the watchdog is petted on", func() bool { return beat(t, dog).At > at+2*time.Second })
	h.endGuard()
	h.until("the watchdog is disarmed", func() bool { return !beat(t, dog).Armed })
}

// events are the kinds and texts of the cell's events.
func (h *host) events() string {
	_, printed := h.keelson("events", "-o", "json")
	return printed
}

func TestProgramThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	w := &warden{App: &App{clock: clock.System{}}, log: slog.New(slog.DiscardHandler)}
	folder := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(folder, name)
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700))
		return path
	}
	tests := []struct {
		name string
		ask  guardwire.Upgrade
		want string
	}{
		{"a path that is relative", guardwire.Upgrade{Path: "keelson", Args: []string{"guard"}}, "no command that starts a guard"},
		{"another command", guardwire.Upgrade{Path: "/bin/true", Args: []string{"leave"}}, "no command that starts a guard"},
		{"a program that is missing", guardwire.Upgrade{Path: folder + "/none", Args: []string{"guard"}}, "cannot be started"},
		{"a program that says yes to all", guardwire.Upgrade{Path: "/bin/true", Args: []string{"guard"}}, "is no keelson that can take over"},
		{"a program that does not know the flag", guardwire.Upgrade{Path: script("old", "exit 2"), Args: []string{"guard"}}, "cannot go on from the state of this one"},
		{"a program that says something else", guardwire.Upgrade{Path: script("odd", "echo yes"), Args: []string{"guard"}}, "is no keelson"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := w.Check(t.Context(), tt.ask, []byte("{}"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the answer is %v", err)
			}
		})
	}
}

func TestProgramSaysWhetherItCouldTakeOver(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, version, state string
		status               int
		says                 string
	}{
		{"a guard without a duty", "1", "keelson guard state 1\n{\"Incarnation\":5}", 0, cli.ResumeAnswer},
		{"a version to come", "9", "keelson guard state 1\n{\"Incarnation\":5}", 1, "cannot go on from the running guard's state: version 9"},
		{"nothing", "1", "", 1, "cannot go on from the running guard's state"},
		{"something unknown", "1", "keelson guard state 1\n{\"Incarnation\":5,\"Other\":1}", 1, "unknown field"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			status := cli.Execute(t.Context(), cli.Environment{
				Args: []string{"guard", "--can-resume", tt.version}, Stdin: strings.NewReader(tt.state), Stdout: &out, Stderr: &out,
				Getenv: os.Getenv, Clock: clock.System{}, Actions: New("test").Actions(),
			})
			if status != tt.status || !strings.Contains(out.String(), tt.says) {
				t.Errorf("[%d] %s", status, out.String())
			}
		})
	}
}

func TestGuardWithAnEstateThatIsNoneBeginsWithoutMemory(t *testing.T) {
	t.Parallel()
	h := newHost(t, "a")
	self, err := os.Executable()
	must(t, err)
	lost, err := net.ListenPacket("udp", "127.0.0.1:0") // a port of the guard before
	must(t, err)
	defer lost.Close()
	port, err := lost.(*net.UDPConn).File()
	must(t, err)
	defer port.Close()
	e := estate{Format: estateFormat, Version: estateVersion + 1, Listener: 4, Lock: 4}
	memory, err := e.file(nil)
	must(t, err)
	defer memory.Close()
	cmd := exec.Command(self, append([]string{"guard", "--resume", "3"}, h.where()...)...)
	cmd.ExtraFiles = []*os.File{memory, port}
	log, err := os.Create(h.folder + "/log")
	must(t, err)
	defer log.Close()
	cmd.Stderr = log
	must(t, os.MkdirAll(h.data(), 0o700))
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	h.until("the guard listens", func() bool {
		c, err := net.Dial("unix", h.folders().guard())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	for _, words := range []string{"not taken over, this one begins without memory", "guard started"} {
		h.until("it says "+words, func() bool { return strings.Contains(h.output(), words) })
	}
	open, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "fd", "*"))
	must(t, err)
	for _, f := range open {
		if to, err := os.Readlink(f); err == nil && strings.Contains(to, "memfd") {
			t.Errorf("it keeps %s open", to)
		}
	}
	h.endGuard()
	must(t, <-ended)
}

func TestArgumentsOfAGuardThatResumedBefore(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"guard", "--run", "/r"},
		{"guard", "--run", "/r", "--resume", "7"},
		{"guard", "--resume", "7", "--run", "/r"},
	} {
		if diff := cmp.Diff([]string{"guard", "--run", "/r"}, withoutResume(slices.Clone(args))); diff != "" {
			t.Errorf("of %q: %s", args, diff)
		}
	}
}

func FuzzParseEstate(f *testing.F) {
	f.Add([]byte("{\"Format\":\"keelson guard estate\",\"Version\":1,\"Listener\":4,\"Lock\":3}\nkeelson guard state 1\n{\"Incarnation\":5}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, h, err := parseEstate(data)
		if (err == nil) != (h != nil) || err != nil && e.Format != "" {
			t.Errorf("%+v, %v, %v", e, h, err)
		}
	})
}
