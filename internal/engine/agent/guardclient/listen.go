package guardclient

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

// listener reads from the guard, and knows whether something that came in is not
// taken in yet. One goroutine reads; any may ask.
//
// A connection without a file, as tests have, is one on which nothing ever waits.
type listener struct {
	net.Conn
	clock clock.Clock
	raw   syscall.RawConn // nil: no file
	begun bool            // a frame is read in part; of the goroutine that reads
	busy  atomic.Bool     // something was read since the reader found nothing
}

func newListener(conn net.Conn, c clock.Clock) *listener {
	l := &listener{Conn: conn, clock: c}
	if s, ok := conn.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			l.raw = raw
		}
	}
	return l
}

// done says that all that was read has been taken in: the next is a new frame.
func (l *listener) done() { l.begun = false }

// unread reports whether something waits to be read, or was read and is not taken
// in. If not, all that came in before the call has been taken in.
func (l *listener) unread() bool {
	if l.raw == nil {
		return false
	}
	waits := false
	if err := l.raw.Control(func(fd uintptr) { waits = readable(fd) }); err != nil {
		return false // closed, which is told elsewhere
	}
	// The order counts: what the reader has taken off the socket by then, it has
	// said before.
	return waits || l.busy.Load()
}

// readable reports whether a read would return something at once, if only the end.
func readable(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

// Read looks once more at what came in before it gives a silent peer up: where
// this process did not run for a while, its deadline passes before what the peer
// said meanwhile is read.
func (l *listener) Read(b []byte) (int, error) {
	if l.raw == nil {
		n, err := l.Conn.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || l.SetReadDeadline(l.clock.Now().Add(lastLook)) != nil {
			return n, err
		}
		return l.Conn.Read(b)
	}
	n, err := l.take(b, true)
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || l.SetReadDeadline(l.clock.Now().Add(guardSilence)) != nil {
		return n, err
	}
	// However late it is by now, this look does not wait.
	return l.take(b, false)
}

// take reads what is there. If that is nothing, it waits for more or fails with
// [os.ErrDeadlineExceeded].
func (l *listener) take(b []byte, wait bool) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, failed := 0, error(nil)
	err := l.raw.Read(func(fd uintptr) bool {
		l.busy.Store(true)
		n, failed = unix.Read(int(fd), b)
		for errors.Is(failed, unix.EINTR) {
			n, failed = unix.Read(int(fd), b)
		}
		if !errors.Is(failed, unix.EAGAIN) {
			return true
		}
		l.busy.Store(l.begun)
		return !wait
	})
	switch {
	case err != nil:
		return 0, err //nolint:wrapcheck // it says what it is about
	case errors.Is(failed, unix.EAGAIN):
		return 0, os.ErrDeadlineExceeded
	case failed != nil:
		return 0, os.NewSyscallError("read", failed)
	case n == 0:
		return 0, io.EOF
	}
	l.begun = true
	return n, nil
}
