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
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/app/guardlink"
	"github.com/keelson/keelson/internal/app/sentence"
	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/base/descriptors"
	"github.com/keelson/keelson/internal/base/footprint"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/base/thread"
	"github.com/keelson/keelson/internal/driver/cutoff"
	"github.com/keelson/keelson/internal/driver/realtime"
	"github.com/keelson/keelson/internal/driver/watchdog"
	"github.com/keelson/keelson/internal/engine/guard"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// warden is the process of a guard: what it opened, and what it can hand over to
// the program that takes its place.
type warden struct {
	*App
	folders     folders
	log         *slog.Logger
	incarnation uint64
	lock        int // the descriptor of the locked file
	listener    *net.UnixListener
	dog         *watchdog.Device // nil: none is configured, or it cannot be opened
	keeper      *realtime.Keeper
	watch       guardlink.Watch
	filter      *cutoff.Fence
	hangups     chan os.Signal
	upgrades    chan guardwire.Upgrade
	warnings    []string // about this process
}

// Guard runs the guard until ctx ends.
func (a *App) Guard(ctx context.Context, o cli.GuardOptions) error {
	if o.CanResume > 0 {
		return canResume(o)
	}
	w := &warden{
		App: a, folders: folders{data: o.Folders.Data, run: o.Folders.Run},
		log: a.logger(o.Logging).With("process", "guard"), lock: -1,
		hangups: make(chan os.Signal, 1), upgrades: make(chan guardwire.Upgrade),
	}
	// The agent whose standard error this is may be gone.
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(w.hangups, syscall.SIGHUP)
	w.keeper = realtime.NewKeeper(a.clock, w.log)
	g, err := w.resume(o)
	if g == nil && err == nil {
		g, err = w.begin(ctx, o)
	}
	if err = errors.Join(err, descriptors.Keep()); err != nil { // what is handed over is made to stay open then
		return err
	}
	return w.guard(ctx, g)
}

// resume goes on where the guard before has left off, if there was one in this
// process. One whose state cannot be taken over is forgotten: a guard without
// memory is silent for a while, and breaks no promise.
func (w *warden) resume(o cli.GuardOptions) (*guard.Guard, error) {
	if o.Resume == 0 {
		return nil, nil
	}
	h, err := w.inherit(o)
	if err == nil {
		w.steady()
		var g *guard.Guard
		if g, err = guard.Resume(w.options(), h); err == nil {
			return g, nil
		}
	}
	w.log.Error("state of the guard before this one not taken over, this one begins without memory", logkey.Err, err)
	return nil, w.disinherit()
}

// begin makes a guard without memory.
func (w *warden) begin(ctx context.Context, o cli.GuardOptions) (*guard.Guard, error) {
	if err := makeFolder(w.folders.run); err != nil {
		return nil, err
	}
	var err error
	if w.lock, err = lockFile(filepath.Join(w.folders.run, "guard.lock")); err != nil {
		return nil, err
	}
	if w.lock < 0 {
		return nil, refused("already-running", "nothing needs to be done", "a guard runs on %s already", w.folders.run)
	}
	if w.incarnation, err = w.newIncarnation(w.folders); err != nil {
		return nil, err
	}
	if err := w.listen(ctx); err != nil {
		return nil, err
	}
	if w.dog == nil {
		w.openWatchdog(o.Watchdog)
	}
	w.steady()
	w.log.Info("guard started", "incarnation", w.incarnation, logkey.Version, w.version)
	return guard.New(w.options()), nil
}

func (w *warden) listen(ctx context.Context) error {
	if err := os.Remove(w.folders.guard()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old socket: %w", err)
	}
	old := unix.Umask(0o177)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", w.folders.guard())
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("listen for agents: %w", err)
	}
	w.listener = listener.(*net.UnixListener)
	return nil
}

// openWatchdog opens the watchdog at path, if there is one. Without it the guard
// runs all the same, and says so.
func (w *warden) openWatchdog(path string) {
	if path == "" {
		return
	}
	d, err := watchdog.Open(path, w.clock)
	if err != nil {
		w.log.Error("watchdog not opened", logkey.Err, err)
		w.warnings = append(w.warnings, fmt.Sprintf("The watchdog %s of this node's file cannot be used, so nothing restarts this host if the guard hangs: %v. "+
			"Correct the file, or load the driver of the watchdog, and end the guard in a quiet moment (`kill %d`); it is started again.", path, err, os.Getpid()))
		return
	}
	w.dog = d
	w.keepsArmed()
	w.log.Info("watchdog armed", logkey.Path, path, "timeout", d.Timeout())
}

// keepsArmed warns of a watchdog that cannot be disarmed.
func (w *warden) keepsArmed() {
	if w.dog.Stays() {
		w.warnings = append(w.warnings, fmt.Sprintf("The watchdog of this host cannot be switched off (nowayout): the host restarts %s after the guard has ended, also in order.", w.dog.Timeout()))
	}
}

func (w *warden) options() guard.Options {
	w.filter = cutoff.New(cutoff.Options{Clock: w.clock, Log: w.log})
	o := guard.Options{
		Clock: w.clock, Log: w.log, Listener: w.listener, Incarnation: w.incarnation, Build: w.version,
		OpenLink: func(lo guard.LinkOptions) (guard.Link, error) { return w.watch.Open(w.clock, w.log, lo) },
		Fence:    fence{w.filter, w.clock}, Warnings: w.warn(), Dropped: func() map[string]uint64 { return w.watch.Dropped(w.clock.Boot()) },
		Collect: runtime.GC, Littered: footprint.NewLitter().Much,
		Successor: w, Upgrades: w.upgrades,
	}
	if w.dog != nil {
		o.Watchdog = w.dog
	}
	return o
}

// guard runs g, and what watches over it, until ctx ends.
func (w *warden) guard(ctx context.Context, g *guard.Guard) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beside sync.WaitGroup
	beside.Go(func() { w.keeper.Run(ctx) })
	beside.Go(func() { w.heedHangups(ctx) })
	err := g.Run(ctx)
	cancel()
	beside.Wait()
	return errors.Join(err, w.filter.Close(), unix.Close(w.lock))
}

// warn returns the sentences about this process. It makes them anew only when
// there is another one.
func (w *warden) warn() func() []string {
	var last [2]string
	all := w.warnings
	return func() []string {
		now := [...]string{w.keeper.Overrun(), w.watch.Warning(w.clock.Boot())}
		if now != last {
			last, all = now, slices.Clone(w.warnings)
			for _, text := range now {
				if text != "" {
					all = append(all, text)
				}
			}
		}
		return all
	}
}

// newIncarnation returns a number larger than that of every guard before on this
// node, also if the wall clock was set back.
func (a *App) newIncarnation(f folders) (uint64, error) {
	number := uint64(max(a.clock.Now().UnixNano(), 1))
	data, err := atomicfile.Read(f.starts(), 64)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if last, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err == nil && last >= number {
		number = last + 1
	}
	if err := atomicfile.Write(f.starts(), []byte(strconv.FormatUint(number, 10)+"\n"), 0o600); err != nil {
		return 0, sentence.Disk(f.data, err)
	}
	return number, nil
}

// Garbage is collected when the loop says so; by itself the runtime does it only
// where much is made at once.
const (
	garbagePercent = 400
	memoryLimit    = 128 << 20 // bytes
)

// steady makes this process one that is not paused without need, and notes what
// the kernel refuses.
func (w *warden) steady() {
	if err := footprint.Shed(); err != nil {
		w.log.Debug("pages not given back", logkey.Err, err)
	}
	// Only what was touched is locked: the binary holds much that the guard
	// never runs.
	const onFault = 4 // MCL_ONFAULT, Linux 4.4
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | onFault); err != nil {
		w.warnings = append(w.warnings, "the guard's memory cannot be locked: under memory pressure it may be late ("+err.Error()+")")
		w.log.Warn("memory not locked", logkey.Err, err)
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0o600); err != nil {
		w.log.Warn("kill order not changed", logkey.Err, err)
	}
	debug.SetGCPercent(garbagePercent)
	debug.SetMemoryLimit(memoryLimit)
	// One thread of Go code is enough, and waking a second one for each datagram
	// costs more than the datagram. It also makes a loop that spins one thread's,
	// which is what the kernel's limit counts.
	runtime.GOMAXPROCS(1)
	if err := realtime.Enter(); err != nil {
		w.warnings = append(w.warnings, "the guard has no real-time priority: under load it may be late ("+err.Error()+")")
		w.log.Warn("priority not raised", logkey.Err, err)
		if err := realtime.Leave(); err != nil {
			w.log.Warn("normal priority not raised either", logkey.Err, err)
		}
	}
}

// guardArgs are the arguments that an agent starts a guard with.
func guardArgs(f folders, logging cli.Logging, config cli.Config) []string {
	args := []string{
		"guard", "--data", f.data, "--run", f.run,
		"--log-level", orDefault(logging.Level, "info"), "--log-format", orDefault(logging.Format, "text"),
	}
	if config.Watchdog != "" {
		args = append(args, "--watchdog", config.Watchdog)
	}
	return args
}

// ownProgram is the file of this program, or what an upgrade put in its place
// while it ran.
func ownProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's file: %w", err)
	}
	return strings.TrimSuffix(self, " (deleted)"), nil
}

// guardUpgrade is what this agent asks a guard of another version to become.
func (n *node) guardUpgrade(logging cli.Logging) func() (guardwire.Upgrade, error) {
	return func() (guardwire.Upgrade, error) {
		self, err := ownProgram()
		return guardwire.Upgrade{Path: self, Args: guardArgs(n.folders, logging, n.config), Build: n.version}, err
	}
}

// startGuard starts a guard that goes on without this process.
func (a *App) startGuard(args []string) func(context.Context) error {
	return func(context.Context) error {
		self, err := ownProgram()
		if err != nil {
			return err
		}
		//nolint:noctx // the guard must outlive this process and everything in it
		cmd := exec.Command(self, args...)
		cmd.Stderr = os.Stderr
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := thread.Apart(cmd.Start); err != nil {
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
