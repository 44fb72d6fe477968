package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/lab"
)

// errNoProgram means that there is nothing to kill.
var errNoProgram = errors.New("the web program does not run")

// findProgram returns the directory in a host's /proc of the process that runs
// with these arguments; the caller closes it. It runs nothing on the host.
func findProgram(ctx context.Context, h *lab.Host, args []string) (*os.File, error) {
	proc, err := h.Open(ctx, "/proc", os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	names, err := proc.Readdirnames(-1)
	if err := errors.Join(err, proc.Close()); err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", h.Name(), err)
	}
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		process, err := h.Open(ctx, "/proc/"+name, os.O_RDONLY, 0)
		if err != nil {
			continue // it has ended meanwhile
		}
		line, err := h.ReadFile(ctx, "/proc/"+name+"/cmdline")
		if err == nil && slices.Equal(strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"), args) {
			return process, nil
		}
		_ = process.Close() // it was only looked at
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, errNoProgram
}

// killProgram kills the program with these arguments on a host by SIGKILL, and
// returns the moment before. A directory of /proc stands for its process in
// pidfd_send_signal(2), so that a number that is used again cannot be meant.
func (s *show) killProgram(ctx context.Context, h *lab.Host, args []string) (time.Duration, error) {
	process, err := findProgram(ctx, h, args)
	if err != nil {
		return 0, fmt.Errorf("look for the program on %s: %w", h.Name(), err)
	}
	defer func() { _ = process.Close() }()
	at := s.Clock.Boot()
	if err := unix.PidfdSendSignal(int(process.Fd()), unix.SIGKILL, nil, 0); err != nil {
		return 0, fmt.Errorf("kill the program on %s: %w", h.Name(), err)
	}
	return at, nil
}
