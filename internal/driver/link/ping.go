package link

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// An echo asks a host's kernel whether it lives (RFC 792 and RFC 4443). Its
// payload is a cookie that only who sees the question knows.
const (
	cookieSize  = 8
	echoHeader  = 8 // type, code, checksum, identifier, sequence number
	echoSize    = echoHeader + cookieSize
	maxIPHeader = 60

	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129

	// Neither option is in package unix.
	icmpFilter   = 1 // ICMP_FILTER at SOL_RAW, linux/icmp.h
	icmp6Filter  = 1 // ICMPV6_FILTER at SOL_ICMPV6, linux/icmpv6.h
	solICMP6     = 58
	maxAnswers   = 64 // read at once
	answerBuffer = maxIPHeader + 2*echoSize
)

// Pinger asks the kernels of other hosts whether they live. It is for one
// goroutine.
type Pinger struct {
	fds    [2]int // IPv4, IPv6; -1: not allowed here
	id     uint16
	cookie [cookieSize]byte
	seq    uint16
}

// NewPinger opens what it takes, which needs CAP_NET_RAW. It returns the
// system's error if neither IP version can be asked.
func NewPinger() (*Pinger, error) {
	p := &Pinger{}
	var seed [2 + cookieSize]byte
	// It never fails.
	_, _ = rand.Read(seed[:])
	p.id = binary.BigEndian.Uint16(seed[:])
	copy(p.cookie[:], seed[2:])
	var err4, err6 error
	p.fds[0], err4 = openEcho(unix.AF_INET, unix.IPPROTO_ICMP)
	p.fds[1], err6 = openEcho(unix.AF_INET6, unix.IPPROTO_ICMPV6)
	if err4 != nil && err6 != nil {
		return nil, fmt.Errorf("open a socket for echo requests: %w", err4)
	}
	return p, nil
}

// openEcho opens a raw socket that hears echo replies and nothing else.
func openEcho(family, protocol int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, err
	}
	if family == unix.AF_INET {
		var blocked [4]byte
		binary.NativeEndian.PutUint32(blocked[:], ^uint32(1<<echoReply4))
		err = unix.SetsockoptString(fd, unix.SOL_RAW, icmpFilter, string(blocked[:]))
	} else {
		var blocked [32]byte // a set bit blocks its type
		for i := range blocked {
			blocked[i] = 0xff
		}
		binary.NativeEndian.PutUint32(blocked[echoReply6/32*4:], ^uint32(1<<(echoReply6%32)))
		err = unix.SetsockoptString(fd, solICMP6, icmp6Filter, string(blocked[:]))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Ask sends an echo request. Whether it leaves is of no interest: what counts is
// an answer.
func (p *Pinger) Ask(to netip.Addr) {
	to = to.Unmap()
	fd, request := p.fds[0], byte(echoRequest4)
	if to.Is6() {
		fd, request = p.fds[1], echoRequest6
	}
	addr, err := sockaddr(netip.AddrPortFrom(to, 0))
	if fd < 0 || err != nil {
		return
	}
	p.seq++
	var m [echoSize]byte
	m[0] = request
	binary.BigEndian.PutUint16(m[4:], p.id)
	binary.BigEndian.PutUint16(m[6:], p.seq)
	copy(m[echoHeader:], p.cookie[:])
	if to.Is4() {
		binary.BigEndian.PutUint16(m[2:], checksum(m[:])) // for IPv6 the kernel does it
	}
	_ = unix.Sendto(fd, m[:], unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, addr)
}

// Answers calls f with the address of every host that has answered since the
// last call. It does not wait.
func (p *Pinger) Answers(f func(netip.Addr)) {
	var buf [answerBuffer]byte
	for i, fd := range p.fds {
		for range maxAnswers {
			if fd < 0 {
				break
			}
			n, from, err := unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			if addr, ok := address(from); ok && p.ours(buf[:n], i == 0) {
				f(addr.Addr())
			}
		}
	}
}

// ours reports whether an arrival answers a question of this Pinger. An IPv4 one
// begins with the IP header.
func (p *Pinger) ours(m []byte, v4 bool) bool {
	reply := byte(echoReply6)
	if v4 {
		reply = echoReply4
		if len(m) < 1 || len(m) < int(m[0]&0xf)*4 {
			return false
		}
		m = m[int(m[0]&0xf)*4:]
	}
	return len(m) == echoSize && m[0] == reply && m[1] == 0 &&
		binary.BigEndian.Uint16(m[4:]) == p.id && [cookieSize]byte(m[echoHeader:]) == p.cookie
}

// Close frees the sockets.
func (p *Pinger) Close() {
	for i, fd := range p.fds {
		if fd >= 0 {
			_ = unix.Close(fd)
			p.fds[i] = -1
		}
	}
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(m []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(m); i += 2 {
		sum += uint32(m[i])<<8 | uint32(m[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
