package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bind opens and binds one UDP socket. The address need not exist yet.
func bind(addr netip.AddrPort) (port, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	to, err := sockaddr(addr)
	if err != nil {
		return port{}, fmt.Errorf("listen on %s: %w: %w", addr, ErrOptions, err)
	}
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return port{}, fmt.Errorf("open a socket for %s: %w", addr, err)
	}
	if err := errors.Join(setOptions(fd, family), unix.Bind(fd, to)); err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			return port{}, portInUse(addr)
		}
		return port{}, fmt.Errorf("listen on UDP %s: %w", addr, err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return port{}, fmt.Errorf("ask for the port of %s: %w", addr, err)
	}
	if at, ok := address(bound); ok {
		addr = netip.AddrPortFrom(addr.Addr(), at.Port())
	}
	return port{fd: fd, addr: addr}, nil
}

func setOptions(fd, family int) error {
	// A longer queue and a better class are wishes: without them it works too.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TCLASS, serviceClass)
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1),
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1),
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1),
		)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TOS, serviceClass)
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1),
	)
}

// sockaddr returns addr as the system wants it. A zone may be the name of an
// interface or its number.
func sockaddr(addr netip.AddrPort) (unix.Sockaddr, error) {
	ip := addr.Addr()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}, nil
	}
	if !ip.IsValid() {
		return nil, errors.New("no IP address")
	}
	to := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		if number, err := strconv.ParseUint(zone, 10, 32); err == nil {
			to.ZoneId = uint32(number)
			return to, nil
		}
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, fmt.Errorf("zone of %s: %w", ip, err)
		}
		to.ZoneId = uint32(link.Index)
	}
	return to, nil
}

// address is the inverse of sockaddr, without the zone.
func address(from unix.Sockaddr) (netip.AddrPort, bool) {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// source is where a datagram came from, as the system wrote it.
type source struct {
	raw  [unix.SizeofSockaddrAny]byte
	size uint32
}

// addr returns the address, the zero value if there is none.
func (s *source) addr() netip.AddrPort {
	port := binary.BigEndian.Uint16(s.raw[2:])
	switch family := binary.NativeEndian.Uint16(s.raw[:]); {
	case family == unix.AF_INET && s.size >= unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s.raw[4:8])), port)
	case family == unix.AF_INET6 && s.size >= unix.SizeofSockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(s.raw[8:24])), port)
	}
	return netip.AddrPort{}
}

// receive reads one datagram without waiting. It is recvfrom(2) as
// unix.Recvfrom has it, which would allocate the source for each datagram.
func receive(fd int, into []byte, from *source) (int, error) {
	from.size = uint32(len(from.raw))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(&into[0])), uintptr(len(into)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&from.raw[0])), uintptr(unsafe.Pointer(&from.size)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
