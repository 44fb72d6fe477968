package address

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// mac is an Ethernet address.
type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// Sizes and numbers of Ethernet (IEEE 802.3) and ARP (RFC 826).
const (
	etherHeader = 14
	etherMin    = 60 // shortest frame without its checksum
	etherARP    = 0x0806
	etherIPv6   = 0x86dd

	arpLen     = 28
	arpRequest = 1
	arpReply   = 2
)

// arp is an ARP packet for IPv4 over Ethernet.
type arp struct {
	op        uint16
	senderMAC mac
	sender    netip.Addr
	targetMAC mac
	target    netip.Addr
}

// arpProbe asks who has addr without claiming it: the sender address is
// 0.0.0.0. Source: RFC 5227, section 2.1.1.
func arpProbe(addr netip.Addr, own mac) []byte {
	return arp{op: arpRequest, senderMAC: own, sender: netip.IPv4Unspecified(), target: addr}.frame()
}

// arpAnnouncements tell everyone that addr is at own: once as a request and
// once as a reply, since some switches and hosts heed only one of them.
// Source: RFC 5227, section 3, for the request.
func arpAnnouncements(addr netip.Addr, own mac) [][]byte {
	everyone := mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	return [][]byte{
		arp{op: arpRequest, senderMAC: own, sender: addr, target: addr}.frame(),
		arp{op: arpReply, senderMAC: own, sender: addr, targetMAC: everyone, target: addr}.frame(),
	}
}

// frame is the packet in an Ethernet broadcast frame, padded to the shortest
// legal length. Both addresses must be IPv4.
func (a arp) frame() []byte {
	b := make([]byte, etherMin)
	putEther(b, mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, a.senderMAC, etherARP)

	p := b[etherHeader:]
	binary.BigEndian.PutUint16(p[0:], 1)      // Ethernet
	binary.BigEndian.PutUint16(p[2:], 0x0800) // IPv4
	p[4], p[5] = 6, 4
	binary.BigEndian.PutUint16(p[6:], a.op)
	copy(p[8:], a.senderMAC[:])
	copy(p[14:], a.sender.AsSlice())
	copy(p[18:], a.targetMAC[:])
	copy(p[24:], a.target.AsSlice())
	return b
}

// parseARP reads an Ethernet frame with an ARP packet for IPv4. It returns
// false for anything else.
func parseARP(frame []byte) (arp, bool) {
	if len(frame) < etherHeader+arpLen || binary.BigEndian.Uint16(frame[12:]) != etherARP {
		return arp{}, false
	}
	p := frame[etherHeader:]
	if binary.BigEndian.Uint16(p[0:]) != 1 || binary.BigEndian.Uint16(p[2:]) != 0x0800 || p[4] != 6 || p[5] != 4 {
		return arp{}, false
	}
	return arp{
		op:        binary.BigEndian.Uint16(p[6:]),
		senderMAC: mac(p[8:14]),
		sender:    netip.AddrFrom4([4]byte(p[14:18])),
		targetMAC: mac(p[18:24]),
		target:    netip.AddrFrom4([4]byte(p[24:28])),
	}, true
}

func putEther(b []byte, to, from mac, kind uint16) {
	copy(b[0:], to[:])
	copy(b[6:], from[:])
	binary.BigEndian.PutUint16(b[12:], kind)
}
