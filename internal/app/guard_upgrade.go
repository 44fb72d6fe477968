package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/driver/realtime"
	"github.com/keelson/keelson/internal/driver/watchdog"
	"github.com/keelson/keelson/internal/engine/guard"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// A guard is upgraded by exec: the process stays, with its number, its leases and
// what it has open, and becomes another program. What it remembers lies in a
// file in memory whose descriptor the new program is told by --resume.

// estate is what a guard's process leaves to the program that takes its place: a
// line of JSON, and the guard's state behind it.
type estate struct {
	Format   string
	Version  int
	Listener int // descriptors
	Lock     int
	Watchdog int // 0: none
}

const (
	estateFormat  = "keelson guard estate"
	estateVersion = 1
	maxEstate     = guard.MaxState + 64<<10
)

var errEstate = errors.New("not what a guard leaves behind")

// canResume says whether this program could go on from the state that stands at
// standard input. The caller prints the answer.
func canResume(o cli.GuardOptions) error {
	state, err := io.ReadAll(io.LimitReader(o.State, guard.MaxState+1))
	if err == nil && (o.CanResume > guard.StateVersion || o.CanResume < guard.OldestState) {
		err = fmt.Errorf("version %d: %w", o.CanResume, guard.ErrState)
	}
	if err == nil {
		_, err = guard.Decode(state)
	}
	if err != nil {
		return refused("cannot-resume", "let the guard go on as it is, or end it in a quiet moment; the agent starts this program's guard then",
			"this program cannot go on from the running guard's state: %v", err)
	}
	return nil
}

// Check implements guard.Successor: it has the program asked, at normal
// priority.
func (w *warden) Check(ctx context.Context, u guardwire.Upgrade, state []byte) error {
	if !filepath.IsAbs(u.Path) || len(u.Args) == 0 || u.Args[0] != "guard" {
		return fmt.Errorf("%q %q is no command that starts a guard", u.Path, u.Args)
	}
	cmd := exec.CommandContext(ctx, u.Path, "guard", "--can-resume", strconv.Itoa(guard.StateVersion))
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = bytes.NewReader(state), &out, &complaint, "/"
	if err := realtime.Apart(cmd.Start); err != nil {
		return fmt.Errorf("%s cannot be started: %w", u.Path, err)
	}
	err := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s did not answer in time whether it can go on", u.Path)
	case err != nil:
		w.log.Warn("program cannot take over", logkey.Path, u.Path, logkey.Err, err, "says", strings.TrimSpace(complaint.String()))
		return fmt.Errorf("%s cannot go on from the state of this one", u.Path)
	case strings.TrimSpace(out.String()) != cli.ResumeAnswer:
		return fmt.Errorf("%s is no keelson that can take over", u.Path)
	}
	return nil
}

// Become implements guard.Successor.
func (w *warden) Become(u guardwire.Upgrade, state []byte) error {
	socket, err := w.listener.File()
	if err != nil {
		return fmt.Errorf("hand over the local socket: %w", err)
	}
	defer socket.Close() //nolint:errcheck // a copy of a descriptor
	e := estate{Format: estateFormat, Version: estateVersion, Listener: int(socket.Fd()), Lock: w.lock}
	if w.dog != nil {
		e.Watchdog = w.dog.Descriptor()
	}
	memory, err := e.file(state)
	if err != nil {
		return err
	}
	defer memory.Close() //nolint:errcheck // nothing is kept in it
	open := []int{int(memory.Fd()), e.Listener, e.Lock}
	if e.Watchdog > 0 {
		open = append(open, e.Watchdog)
	}
	if err := leaveOpen(open, true); err != nil {
		return errors.Join(err, leaveOpen(open, false))
	}
	// Until the new program listens for these they must not end it.
	signal.Ignore(syscall.SIGHUP, syscall.SIGXCPU)
	args := slices.Concat([]string{u.Path}, u.Args, []string{"--resume", strconv.Itoa(int(memory.Fd()))})
	err = syscall.Exec(u.Path, args, os.Environ())
	signal.Notify(w.hangups, syscall.SIGHUP)
	w.keeper.Listen()
	return errors.Join(fmt.Errorf("%s cannot be started: %w", u.Path, err), leaveOpen(open, false))
}

// file writes e and the state to a file in memory and returns it, set to its
// beginning.
func (e estate) file(state []byte) (*os.File, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode what the guard leaves behind: %w", err)
	}
	fd, err := unix.MemfdCreate("keelson-guard", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "keelson-guard")
	_, err = f.Write(slices.Concat(data, []byte("\n"), state))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write what the guard leaves behind: %w", err), f.Close())
	}
	return f, nil
}

// leaveOpen chooses whether descriptors outlive an exec.
func leaveOpen(fds []int, yes bool) error {
	flags := unix.FD_CLOEXEC
	if yes {
		flags = 0
	}
	var failed error
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags); err != nil {
			failed = errors.Join(failed, fmt.Errorf("descriptor %d: %w", fd, err))
		}
	}
	return failed
}

// inherit takes over what the guard before left, but for its link.
func (w *warden) inherit(o cli.GuardOptions) (*guard.Handed, error) {
	e, h, err := readEstate(o.Resume)
	if err != nil {
		return nil, err
	}
	w.incarnation = h.Incarnation
	if err := unix.Flock(e.Lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("the guard's lock: %w", err)
	}
	unix.CloseOnExec(e.Lock)
	w.lock = e.Lock
	socket := os.NewFile(uintptr(e.Listener), "guard.sock")
	if socket == nil {
		return nil, fmt.Errorf("descriptor %d: %w", e.Listener, errEstate)
	}
	listener, err := net.FileListener(socket)
	if err := errors.Join(err, socket.Close()); err != nil { // the listener has a copy
		return nil, fmt.Errorf("the local socket: %w", err)
	}
	var ok bool
	if w.listener, ok = listener.(*net.UnixListener); !ok {
		return nil, errors.Join(fmt.Errorf("%s: %w", listener.Addr(), errEstate), listener.Close())
	}
	w.listener.SetUnlinkOnClose(true) // as if this program had made it
	return h, w.inheritWatchdog(e.Watchdog, o.Watchdog)
}

// inheritWatchdog goes on with the watchdog of the guard before, if this one is
// to have one.
func (w *warden) inheritWatchdog(fd int, path string) error {
	if fd == 0 {
		w.openWatchdog(path)
		return nil
	}
	var err error
	if w.dog, err = watchdog.Adopt(fd, w.clock); err != nil {
		return err
	}
	if path == "" { // not any more
		w.log.Info("watchdog disarmed")
		dog := w.dog
		w.dog = nil
		return dog.Disarm()
	}
	w.keepsArmed()
	return nil
}

// disinherit lets go of all that the guard before left, but for the watchdog:
// that goes on, whoever pets it.
func (w *warden) disinherit() error {
	if w.listener != nil {
		_ = w.listener.Close() // another is opened in its place
	}
	if w.lock >= 0 {
		_ = unix.Close(w.lock)
	}
	w.listener, w.lock, w.warnings = nil, -1, nil
	return closeInherited()
}

// readEstate reads what the guard before left in a file in memory.
func readEstate(fd int) (estate, *guard.Handed, error) {
	memory := os.NewFile(uintptr(fd), "keelson-guard")
	if memory == nil {
		return estate{}, nil, fmt.Errorf("descriptor %d: %w", fd, errEstate)
	}
	data, err := io.ReadAll(io.LimitReader(memory, maxEstate+1))
	if err := errors.Join(err, memory.Close()); err != nil {
		return estate{}, nil, fmt.Errorf("read what the guard before left: %w", err)
	}
	return parseEstate(data)
}

// parseEstate reads what a guard left, and all of it.
func parseEstate(data []byte) (estate, *guard.Handed, error) {
	var e estate
	if len(data) > maxEstate {
		return e, nil, fmt.Errorf("%d bytes: %w", len(data), errEstate)
	}
	head, state, _ := bytes.Cut(data, []byte("\n"))
	d := json.NewDecoder(bytes.NewReader(head))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return estate{}, nil, fmt.Errorf("%w: %w", errEstate, err)
	}
	if e.Format != estateFormat || e.Version != estateVersion || e.Listener < 3 || e.Lock < 3 || e.Watchdog < 0 {
		return estate{}, nil, fmt.Errorf("%q, version %d: %w", e.Format, e.Version, errEstate)
	}
	h, err := guard.Decode(state)
	if err != nil {
		return estate{}, nil, err
	}
	return e, h, nil
}

// closeInherited closes all that another program has left open: what Go and this
// program open is closed by an exec, and so looks different.
func closeInherited() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open descriptors: %w", err)
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}

// heedHangups asks for an upgrade to this program's own file on each SIGHUP.
func (w *warden) heedHangups(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.hangups:
		}
		self, err := ownProgram()
		if err != nil {
			w.log.Error("own program not found", logkey.Err, err)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case w.upgrades <- guardwire.Upgrade{Path: self, Args: withoutResume(os.Args[1:]), Build: "the program in " + self}:
		}
	}
}

// withoutResume leaves out the descriptor that this very process resumed from.
func withoutResume(args []string) []string {
	i := slices.Index(args, "--resume")
	if i < 0 {
		return args
	}
	return slices.Delete(slices.Clone(args), i, min(i+2, len(args)))
}
