package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiter parks the receiver until one of several descriptors is ready.
//
// It lends the descriptors to the runtime's own poller, by way of an epoll of
// epolls. A system call that blocks would do the same, but each return from one
// wakes the runtime's monitor thread, which costs several times the datagram.
// For the same reason everything here that cannot block is a raw system call.
type waiter struct {
	file *os.File
	conn syscall.RawConn
	fds  []int32
}

func newWaiter(fds []unix.PollFd) (*waiter, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open an epoll: %w", err)
	}
	watched := make([]int32, 0, len(fds))
	for _, f := range fds {
		watched = append(watched, f.Fd)
		if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, int(f.Fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: f.Fd}); err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("wait for datagrams: %w", err)
		}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("wait for datagrams: %w", err)
	}
	w := &waiter{file: os.NewFile(uintptr(fd), "datagrams"), fds: watched}
	if w.conn, err = w.file.SyscallConn(); err != nil {
		_ = w.file.Close()
		return nil, fmt.Errorf("wait for datagrams: %w", err)
	}
	return w, nil
}

// until parks until look finds something or the deadline has passed, and returns
// what look returned last.
func (w *waiter) until(deadline time.Time, look func() (int, error)) (int, error) {
	if err := w.file.SetReadDeadline(deadline); err != nil {
		return 0, fmt.Errorf("set a deadline for datagrams: %w", err)
	}
	var n int
	var failed error
	err := w.conn.Read(func(uintptr) bool {
		n, failed = look()
		return n != 0 || failed != nil
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, fmt.Errorf("wait for datagrams: %w", err)
	}
	return n, failed
}

func (w *waiter) close() { _ = w.file.Close() }

// heed chooses whether datagrams end the parking. Errors always do, and the last
// of the descriptors.
func (w *waiter) heed(yes bool) error {
	events := uint32(0)
	if yes {
		events = unix.EPOLLIN
	}
	var failed error
	err := w.conn.Control(func(epoll uintptr) {
		for _, fd := range w.fds[:len(w.fds)-1] {
			e := unix.EpollEvent{Events: events, Fd: fd}
			failed = errors.Join(failed, unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, int(fd), &e))
		}
	})
	return errors.Join(err, failed)
}

// ready looks which of fds are ready, without waiting.
func ready(fds []unix.PollFd) (int, error) {
	var now unix.Timespec
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)),
			uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("look for datagrams: %w", errno)
		}
	}
}

// target is a socket address as the system reads it.
type target struct {
	raw  [unix.SizeofSockaddrInet6]byte
	size uintptr
}

func newTarget(to unix.Sockaddr) target {
	var t target
	switch a := to.(type) {
	case *unix.SockaddrInet4:
		binary.NativeEndian.PutUint16(t.raw[0:], unix.AF_INET)
		binary.BigEndian.PutUint16(t.raw[2:], uint16(a.Port))
		copy(t.raw[4:], a.Addr[:])
		t.size = unix.SizeofSockaddrInet4
	case *unix.SockaddrInet6:
		binary.NativeEndian.PutUint16(t.raw[0:], unix.AF_INET6)
		binary.BigEndian.PutUint16(t.raw[2:], uint16(a.Port))
		copy(t.raw[8:], a.Addr[:])
		binary.NativeEndian.PutUint32(t.raw[24:], a.ZoneId)
		t.size = unix.SizeofSockaddrInet6
	}
	return t
}

// sendTo is sendto(2) without waiting.
func sendTo(fd int, packet []byte, to *target) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
		uintptr(unsafe.Pointer(&to.raw[0])), to.size)
	if errno != 0 {
		return errno
	}
	return nil
}
