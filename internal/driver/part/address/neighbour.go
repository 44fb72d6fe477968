package address

import (
	"encoding/binary"
	"net/netip"
)

// Sizes and numbers of IPv6 (RFC 8200) and neighbour discovery (RFC 4861).
const (
	ipv6Header    = 40
	protoICMPv6   = 58
	ndHopLimit    = 255 // proof that no router forwarded the packet
	ndLen         = 24  // type to target
	ndSolicit     = 135
	ndAdvertise   = 136
	ndFlagRouter  = 0x80
	ndFlagReplace = 0x20 // "override": replace what is in the cache

	ndOptionUnit   = 8
	ndOptionTarget = 2 // target link-layer address
)

// neighbour is a neighbour solicitation or advertisement.
type neighbour struct {
	kind   uint8
	flags  uint8
	from   mac // the frame's source
	source netip.Addr
	target netip.Addr
	// link is the link-layer address that the packet gives for the target,
	// zero if it gives none.
	link mac
}

// ndProbe asks who has addr without claiming it: the source is unspecified.
// Source: RFC 4862, section 5.4.2.
func ndProbe(addr netip.Addr, own mac) []byte {
	a := addr.As16()
	group := [16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]}

	body := make([]byte, ndLen)
	body[0] = ndSolicit
	copy(body[8:], a[:])
	return ndFrame(own, netip.IPv6Unspecified(), netip.AddrFrom16(group), body)
}

// ndAnnouncement tells all nodes of the link that addr is at own, replacing
// what they believed. router says whether this host forwards packets, so that
// nobody takes a router for a host. Source: RFC 4861, section 7.2.6.
func ndAnnouncement(addr netip.Addr, own mac, router bool) []byte {
	a := addr.As16()
	body := make([]byte, ndLen+ndOptionUnit)
	body[0] = ndAdvertise
	body[4] = ndFlagReplace
	if router {
		body[4] |= ndFlagRouter
	}
	copy(body[8:], a[:])
	body[ndLen], body[ndLen+1] = ndOptionTarget, 1
	copy(body[ndLen+2:], own[:])
	return ndFrame(own, addr, netip.IPv6LinkLocalAllNodes(), body)
}

// ndFrame puts an ICMPv6 body into an IPv6 packet to a multicast group, and
// that into an Ethernet frame.
func ndFrame(own mac, source, group netip.Addr, body []byte) []byte {
	src, dst := source.As16(), group.As16()
	b := make([]byte, etherHeader+ipv6Header+len(body))
	putEther(b, mac{0x33, 0x33, dst[12], dst[13], dst[14], dst[15]}, own, etherIPv6)

	p := b[etherHeader:]
	p[0] = 6 << 4
	binary.BigEndian.PutUint16(p[4:], uint16(len(body)))
	p[6], p[7] = protoICMPv6, ndHopLimit
	copy(p[8:], src[:])
	copy(p[24:], dst[:])
	copy(p[ipv6Header:], body)
	binary.BigEndian.PutUint16(p[ipv6Header+2:], icmpv6Sum(src, dst, body))
	return b
}

// icmpv6Sum is the ICMPv6 checksum of body, whose checksum field counts as
// zero. Source: RFC 4443, section 2.3.
func icmpv6Sum(src, dst [16]byte, body []byte) uint16 {
	sum := uint32(len(body)) + protoICMPv6
	add := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	add(src[:])
	add(dst[:])
	add(body)
	sum -= uint32(binary.BigEndian.Uint16(body[2:]))
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// parseNeighbour reads an Ethernet frame with a neighbour solicitation or
// advertisement. It returns false for anything else, and for packets that
// RFC 4861, section 7.1, tells a receiver to discard.
func parseNeighbour(frame []byte) (neighbour, bool) {
	if len(frame) < etherHeader+ipv6Header+ndLen || binary.BigEndian.Uint16(frame[12:]) != etherIPv6 {
		return neighbour{}, false
	}
	p := frame[etherHeader:]
	size := int(binary.BigEndian.Uint16(p[4:]))
	if p[0]>>4 != 6 || p[6] != protoICMPv6 || p[7] != ndHopLimit || size < ndLen || ipv6Header+size > len(p) {
		return neighbour{}, false
	}
	src, dst, body := [16]byte(p[8:24]), [16]byte(p[24:40]), p[ipv6Header:ipv6Header+size]
	if body[0] != ndSolicit && body[0] != ndAdvertise || body[1] != 0 {
		return neighbour{}, false
	}
	if binary.BigEndian.Uint16(body[2:]) != icmpv6Sum(src, dst, body) {
		return neighbour{}, false
	}
	link, ok := targetOption(body[ndLen:])
	if !ok {
		return neighbour{}, false
	}
	return neighbour{
		kind:   body[0],
		flags:  body[4],
		from:   mac(frame[6:12]),
		source: netip.AddrFrom16(src),
		target: netip.AddrFrom16([16]byte(body[8:24])),
		link:   link,
	}, true
}

// targetOption finds the target link-layer address among the options of a
// neighbour packet: zero if there is none, false if the options are malformed.
func targetOption(options []byte) (mac, bool) {
	var found mac
	for len(options) > 0 {
		if len(options) < ndOptionUnit || options[1] == 0 || int(options[1])*ndOptionUnit > len(options) {
			return mac{}, false
		}
		if options[0] == ndOptionTarget {
			found = mac(options[2:8])
		}
		options = options[int(options[1])*ndOptionUnit:]
	}
	return found, true
}
