package link

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrHandedOver means that what a program has left behind is not a Socket that
// can be gone on with. Its descriptors are as they were.
var ErrHandedOver = errors.New("not a link that can be gone on with")

// sequenceSkip is how many sequence numbers are left out where another program
// goes on: none may ever be used twice with the same key and incarnation.
const sequenceSkip = 1 << 16

// handed is a Socket without its program: its descriptors, and what it must not
// forget.
type handed struct {
	Ports    []handedPort
	Sequence uint64
	Heard    []handedWindow
}

type handedPort struct {
	FD   int
	Addr netip.AddrPort
}

type handedWindow struct {
	Slot        uint8
	Incarnation uint64
	Newest      uint64
	Seen        []uint64
}

// HandOver returns what [Adopt] needs in the program that takes this one's place
// by exec: the ports stay open then. undo takes that back. Nothing may be sent
// between the two; what is received is lost.
func (s *Socket) HandOver() (state []byte, undo func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, nil, net.ErrClosed
	}
	h := handed{Sequence: s.codec.sequence}
	for _, p := range s.ports {
		h.Ports = append(h.Ports, handedPort{FD: p.fd, Addr: p.addr})
	}
	for slot := range s.codec.heard {
		if w := &s.codec.heard[slot]; w.incarnation != 0 {
			h.Heard = append(h.Heard, handedWindow{Slot: uint8(slot), Incarnation: w.incarnation, Newest: w.newest, Seen: slices.Clone(w.seen[:])})
		}
	}
	if state, err = json.Marshal(h); err != nil {
		return nil, nil, fmt.Errorf("encode the link: %w", err)
	}
	keep := func(flags int) error {
		var failed error
		for _, p := range h.Ports {
			if _, err := unix.FcntlInt(uintptr(p.FD), unix.F_SETFD, flags); err != nil {
				failed = errors.Join(failed, fmt.Errorf("keep the port %s open: %w", p.Addr, err))
			}
		}
		return failed
	}
	undo = func() { _ = keep(unix.FD_CLOEXEC) } // it fails for no descriptor that is open
	if err := keep(0); err != nil {
		undo()
		return nil, nil, err
	}
	return state, undo, nil
}

// Adopt opens a Socket on the ports that the program before this one has handed
// over: what waits in their queues is received, and what was received before is
// not received again. The peers are set as after [Listen]. The options are those
// of the Socket before, with the same incarnation. It returns [ErrHandedOver] or
// [ErrOptions].
func Adopt(o Options, state []byte) (*Socket, error) {
	var h handed
	d := json.NewDecoder(bytes.NewReader(state))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandedOver, err)
	}
	if len(h.Ports) == 0 || len(h.Ports) != len(o.Listen) || len(h.Ports) > MaxLinks || o.Self >= MaxSlots {
		return nil, fmt.Errorf("%d ports for %d addresses: %w", len(h.Ports), len(o.Listen), ErrHandedOver)
	}
	s := &Socket{opts: o, wake: -1, out: make([]byte, 0, MaxPacket)}
	s.codec.init(o.Cell, o.Self, o.Incarnation)
	s.codec.sequence = h.Sequence + sequenceSkip
	if err := s.codec.setKeys(o.Keys); err != nil {
		return nil, err
	}
	if err := s.codec.remember(h.Heard); err != nil {
		return nil, err
	}
	for i, p := range h.Ports {
		if err := p.check(o.Listen[i]); err != nil {
			return nil, err
		}
	}
	for _, p := range h.Ports {
		unix.CloseOnExec(p.FD)
		s.add(port{fd: p.FD, addr: p.Addr})
	}
	if err := s.arm(); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// check makes sure that the descriptor is what it is said to be: a socket for
// datagrams that is bound to the address that this node is to have.
func (p handedPort) check(want netip.AddrPort) error {
	want = netip.AddrPortFrom(want.Addr().Unmap(), want.Port())
	if p.Addr.Addr() != want.Addr() || want.Port() != 0 && p.Addr.Port() != want.Port() {
		return fmt.Errorf("port %s in place of %s: %w", p.Addr, want, ErrHandedOver)
	}
	kind, err := unix.GetsockoptInt(p.FD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_DGRAM {
		return fmt.Errorf("descriptor %d is no socket for datagrams: %w", p.FD, ErrHandedOver)
	}
	bound, err := unix.Getsockname(p.FD)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w: %w", p.FD, ErrHandedOver, err)
	}
	at, ok := address(bound)
	if !ok || at != netip.AddrPortFrom(p.Addr.Addr().WithZone(""), p.Addr.Port()) {
		return fmt.Errorf("descriptor %d is bound to %s, not to %s: %w", p.FD, at, p.Addr, ErrHandedOver)
	}
	return nil
}

// remember takes over which packets were taken.
func (c *codec) remember(all []handedWindow) error {
	for _, h := range all {
		if h.Slot >= MaxSlots || len(h.Seen) != windowSize/64 {
			return fmt.Errorf("packets of slot %d: %w", h.Slot, ErrHandedOver)
		}
		w := window{incarnation: h.Incarnation, newest: h.Newest}
		copy(w.seen[:], h.Seen)
		c.heard[h.Slot] = w
	}
	return nil
}
