package cutoff

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// question is one way to ask whether a host has an address.
type question struct {
	name string
	ask  func(patience time.Duration) bool
}

// serve answers UDP and TCP on the managed addresses of this process's host.
func serve(t *testing.T) {
	t.Helper()
	for _, a := range vips {
		at := netip.AddrPortFrom(a, port)
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		check(t, err)
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		check(t, err)
		var all sync.WaitGroup
		t.Cleanup(func() { udp.Close(); tcp.Close(); all.Wait() })
		all.Go(func() {
			buf := make([]byte, 64)
			for {
				n, from, err := udp.ReadFromUDPAddrPort(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				udp.WriteToUDPAddrPort(buf[:n], from)
			}
		})
		all.Go(func() {
			for {
				conn, err := tcp.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		})
	}
}

func (h *host) knows(t *testing.T, a netip.Addr, mac net.HardwareAddr) {
	t.Helper()
	h.do(t, func() {
		eth0, err := netlink.LinkByName("eth0")
		check(t, err)
		check(t, netlink.NeighSet(&netlink.Neigh{
			LinkIndex: eth0.Attrs().Index, IP: a.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT,
		}))
	})
}

// questions are all ways to ask, from this host.
func (h *host) questions(t *testing.T) []question {
	t.Helper()
	var all []question
	h.do(t, func() {
		all = append(all, arpQuestion(t, h.mac), ndQuestion(t, h.mac))
		for _, a := range vips {
			all = append(all, udpQuestion(t, a))
		}
	})
	for _, a := range vips {
		all = append(all, question{"tcp " + a.String(), func(patience time.Duration) (answered bool) {
			h.do(t, func() {
				conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(a, port).String(), patience)
				if answered = err == nil; answered {
					conn.Close()
				}
			})
			return answered
		}})
	}
	return all
}

func udpQuestion(t *testing.T, a netip.Addr) question {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	number := uint64(0)
	return question{"udp " + a.String(), func(patience time.Duration) bool {
		number++
		_, err := conn.Write(binary.BigEndian.AppendUint64(nil, number))
		check(t, err)
		check(t, conn.SetReadDeadline(time.Now().Add(patience)))
		buf := make([]byte, 64)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return false
			}
			if n == 8 && binary.BigEndian.Uint64(buf) == number {
				return true
			}
		}
	}}
}

// arpQuestion is a duplicate probe: it has no sender address.
func arpQuestion(t *testing.T, own net.HardwareAddr) question {
	eth0, err := net.InterfaceByName("eth0")
	check(t, err)
	conn, err := packet.Listen(eth0, packet.Raw, 0x0806, nil)
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	everyone := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	frame := slices.Concat(everyone, own, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, own, make([]byte, 10), vip4.AsSlice())
	return question{"arp", func(patience time.Duration) bool {
		_, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: everyone})
		check(t, err)
		check(t, conn.SetReadDeadline(time.Now().Add(patience)))
		buf := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return false
			}
			if n >= 42 && buf[21] == 2 && [4]byte(buf[28:32]) == vip4.As4() {
				return true
			}
		}
	}}
}

func ndQuestion(t *testing.T, own net.HardwareAddr) question {
	conn, err := net.ListenPacket("ip6:ipv6-icmp", "fd77::2")
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.(*net.IPConn).SyscallConn()
	check(t, err)
	check(t, raw.Control(func(fd uintptr) {
		check(t, unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255))
	}))
	body := slices.Concat([]byte{typeSolicit, 0, 0, 0, 0, 0, 0, 0}, vip6.AsSlice(), []byte{1, 1}, own)
	eth0, err := netlink.LinkByName("eth0")
	check(t, err)
	// By number: the net package remembers the numbers of names for all hosts.
	group := &net.IPAddr{IP: net.ParseIP("ff02::1:ff00:100"), Zone: strconv.Itoa(eth0.Attrs().Index)}
	return question{"nd", func(patience time.Duration) bool {
		_, err := conn.WriteTo(body, group)
		check(t, err)
		check(t, conn.SetReadDeadline(time.Now().Add(patience)))
		buf := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return false
			}
			if n >= 24 && buf[0] == typeAdvertise && netip.AddrFrom16([16]byte(buf[8:24])) == vip6 {
				return true
			}
		}
	}}
}
