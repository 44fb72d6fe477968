package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/driver/cutoff"
	"github.com/keelson/keelson/internal/engine/guard"
	"github.com/keelson/keelson/internal/front/cli"
)

// Guard runs the guard until ctx ends.
func (a *App) Guard(ctx context.Context, o cli.GuardOptions) error {
	f := folders{data: o.Folders.Data, run: o.Folders.Run}
	log := a.logger(o.Logging).With("process", "guard")
	// The agent whose standard error this is may be gone.
	signal.Ignore(syscall.SIGPIPE)
	if err := makeFolder(f.run); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(f.run, "guard.lock"))
	if err != nil {
		return err
	}
	if unlock == nil {
		return refused("already-running", "nothing needs to be done", "a guard runs on %s already", f.run)
	}
	defer unlock()
	incarnation, err := a.incarnation(f)
	if err != nil {
		return err
	}
	if err := os.Remove(f.guard()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old socket: %w", err)
	}
	old := unix.Umask(0o177)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", f.guard())
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("listen for agents: %w", err)
	}
	filter := cutoff.New(cutoff.Options{Clock: a.clock, Log: log})
	g := guard.New(guard.Options{
		Clock: a.clock, Log: log, Listener: listener, Incarnation: incarnation,
		OpenLink: func(lo guard.LinkOptions) (guard.Link, error) { return openLink(a.clock, log, lo) },
		Fence:    fence{filter, a.clock},
		Warnings: steady(log),
	})
	log.Info("guard started", "incarnation", incarnation)
	err = g.Run(ctx)
	return errors.Join(err, filter.Close())
}

// incarnation returns a number larger than that of every guard before on this
// node, also if the wall clock was set back.
func (a *App) incarnation(f folders) (uint64, error) {
	number := uint64(max(a.clock.Now().UnixNano(), 1))
	data, err := atomicfile.Read(f.starts(), 64)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if last, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err == nil && last >= number {
		number = last + 1
	}
	if err := atomicfile.Write(f.starts(), []byte(strconv.FormatUint(number, 10)+"\n"), 0o600); err != nil {
		return 0, diskError(f.data, err)
	}
	return number, nil
}

// steady makes this process one that is not paused without need. It returns
// sentences about what the kernel refused.
func steady(log *slog.Logger) []string {
	var warnings []string
	if err := shed(); err != nil {
		log.Debug("pages not given back", "err", err)
	}
	// Only what was touched is locked: the binary holds much that the guard
	// never runs.
	const onFault = 4 // MCL_ONFAULT, Linux 4.4
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | onFault); err != nil {
		warnings = append(warnings, "the guard's memory cannot be locked: under memory pressure it may be late ("+err.Error()+")")
		log.Warn("memory not locked", "err", err)
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20); err != nil {
		warnings = append(warnings, "the guard runs at normal priority: under load it may be late ("+err.Error()+")")
		log.Warn("priority not raised", "err", err)
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0o600); err != nil {
		log.Warn("kill order not changed", "err", err)
	}
	debug.SetGCPercent(50)
	// One thread of Go code is enough, and waking a second one for each datagram
	// costs more than the datagram.
	runtime.GOMAXPROCS(1)
	return warnings
}

// startGuard starts a guard that goes on without this process.
func (a *App) startGuard(f folders, logging cli.Logging) func(context.Context) error {
	return func(context.Context) error {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program's file: %w", err)
		}
		// An upgrade has replaced the file under the running agent.
		self = strings.TrimSuffix(self, " (deleted)")
		//nolint:noctx // the guard must outlive this process and everything in it
		cmd := exec.Command(self, "guard", "--data", f.data, "--run", f.run,
			"--log-level", orDefault(logging.Level, "info"), "--log-format", orDefault(logging.Format, "text"))
		cmd.Stderr = os.Stderr
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start the guard: %w", err)
		}
		// Its end is seen at its socket; this only reaps it.
		go func() { _ = cmd.Wait() }()
		return nil
	}
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
