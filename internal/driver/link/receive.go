package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Receive waits for the next packet, at most for wait, and returns it with its
// payload in buf, which must have room for [MaxPayload] bytes
// ([io.ErrShortBuffer]). With wait 0 or less it looks once and does not wait.
//
// It returns [ErrTimeout], [ErrWoken], [net.ErrClosed], or the system's error
// if the sockets can no longer be waited for. One bad datagram, and one port in
// trouble, is never an error.
func (s *Socket) Receive(buf []byte, wait time.Duration) (Packet, error) {
	if len(buf) < MaxPayload {
		return Packet{}, fmt.Errorf("receive into %d bytes: %w", len(buf), io.ErrShortBuffer)
	}
	var deadline time.Duration
	for looked := false; ; looked = true {
		if s.closed.Load() {
			return Packet{}, net.ErrClosed
		}
		if p, ok := s.next(buf, untilRest); ok {
			return p, nil
		}
		now := s.opts.Clock.Boot()
		if !looked {
			deadline = now + max(wait, 0)
		} else if now >= deadline {
			return Packet{}, ErrTimeout
		}
		if err := s.poll(deadline - now); err != nil {
			return Packet{}, err
		}
	}
}

// Each calls f with every packet until ctx ends, and returns ctx's error, or
// that of Receive. Packet.Payload is valid during the call only.
func (s *Socket) Each(ctx context.Context, f func(Packet)) error {
	stop := context.AfterFunc(ctx, s.Wake)
	defer stop()
	buf := make([]byte, MaxPayload)
	for {
		p, err := s.Receive(buf, eachWait)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			f(p)
		case !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrWoken):
			return err
		}
	}
}

// eachWait is how long Each waits at a time.
const eachWait = time.Minute

// poll waits until a socket is ready, or for d. It returns [ErrWoken] if it was
// woken and nothing else is the matter.
func (s *Socket) poll(d time.Duration) error {
	n, err := 0, error(nil)
	if d <= 0 {
		n, err = s.look(untilRest)
	} else {
		n, err = s.waiter.until(s.opts.Clock.Now().Add(d), func() (int, error) { return s.look(untilRest) })
	}
	switch woken := err == nil && n > 0 && s.woken(); {
	case s.closed.Load():
		return net.ErrClosed
	case woken:
		return ErrWoken
	}
	return err
}

// heed is what a reader takes of a socket that rests.
type heed bool

const (
	untilRest  heed = false // refusals and Wake only
	everything heed = true
)

// look notes which sockets are ready, and returns how many.
func (s *Socket) look(h heed) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	wanted := int16(unix.POLLIN)
	if s.resting && h != everything {
		wanted = 0 // errors are told all the same
	}
	for i := range s.polled {
		s.polled[i].Events, s.polled[i].Revents = wanted, 0
	}
	s.polled[len(s.polled)-1].Events = unix.POLLIN
	return ready(s.polled)
}

// woken reports whether Wake was called since the last time.
func (s *Socket) woken() bool {
	s.reading.Lock()
	defer s.reading.Unlock()
	waker := &s.polled[len(s.polled)-1]
	if waker.Revents == 0 || s.closed.Load() {
		return false
	}
	waker.Revents = 0
	var count [8]byte
	_, _ = unix.Read(int(waker.Fd), count[:]) // sets it back; there is nothing to learn
	return true
}

// next returns the next good packet of the sockets that the last look found
// ready. It takes them in turn, and gives up after [maxBatch] bad ones.
func (s *Socket) next(buf []byte, h heed) (Packet, bool) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.closed.Load() {
		return Packet{}, false
	}
	ports := s.polled[:len(s.polled)-1]
	datagrams := !s.resting || h == everything
	idle := 0
	for range maxBatch {
		if idle == len(ports) {
			return Packet{}, false
		}
		s.turn = (s.turn + 1) % len(ports)
		fd := &ports[s.turn]
		var p Packet
		var more, ok bool
		switch {
		case fd.Revents&unix.POLLERR != 0:
			if p, more, ok = s.refusal(int(fd.Fd)); !more {
				fd.Revents &^= unix.POLLERR
			}
		case fd.Revents != 0 && datagrams:
			if p, more, ok = s.arrival(int(fd.Fd), buf); !more {
				fd.Revents = 0
			}
		default:
			idle++
			continue
		}
		if ok {
			return p, true
		}
		idle = 0
	}
	for i := range ports {
		ports[i].Revents = 0 // look at all of them anew
	}
	return Packet{}, false
}

// arrival reads one datagram. more means that the socket may have another.
func (s *Socket) arrival(fd int, buf []byte) (p Packet, more, ok bool) {
	n, err := receive(fd, s.inbox[:], &s.from)
	if err != nil {
		// EAGAIN: empty. EINTR, and what an earlier datagram came to: a poll shows
		// what is there.
		return Packet{}, false, false
	}
	s.mu.Lock()
	h, payload, k := s.codec.open(buf, s.inbox[:n])
	s.mu.Unlock()
	if k != taken {
		s.drop(k)
		return Packet{}, true, false
	}
	s.counters.received.Add(1)
	return Packet{From: h.from, Incarnation: h.incarnation, Payload: payload}, true, true
}

// refusal reads one entry of a socket's error queue.
func (s *Socket) refusal(fd int) (p Packet, more, ok bool) {
	var quote [headerSize]byte
	var control [256]byte
	n, size, _, from, err := unix.Recvmsg(fd, quote[:], control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return Packet{}, false, false
	}
	to, known := address(from)
	reporter, closed := portClosed(control[:size])
	if !known || !closed || reporter != to.Addr() {
		return Packet{}, true, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, peer := s.owner[to]
	if !peer || !s.codec.ours(quote[:n], slot) {
		return Packet{}, true, false
	}
	s.counters.refused.Add(1)
	return Packet{From: slot, Refused: to}, true, true
}

// Layout of struct sock_extended_err (linux/errqueue.h), which is followed by
// the address of the host that reported the error.
const (
	errnoAt     = 0
	originAt    = 4
	reporterAt  = 16
	originICMP  = 2
	originICMP6 = 3
)

// portClosed reads the control data of an error: whether it says that a port is
// closed, and which host says so.
func portClosed(control []byte) (netip.Addr, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < reporterAt {
			continue
		}
		if unix.Errno(binary.NativeEndian.Uint32(m.Data[errnoAt:])) != unix.ECONNREFUSED {
			continue
		}
		origin, reporter := m.Data[originAt], m.Data[reporterAt:]
		switch {
		case v4 && origin == originICMP && len(reporter) >= 8:
			return netip.AddrFrom4([4]byte(reporter[4:8])), true
		case v6 && origin == originICMP6 && len(reporter) >= 24:
			return netip.AddrFrom16([16]byte(reporter[8:24])), true
		}
	}
	return netip.Addr{}, false
}
