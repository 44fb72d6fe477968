package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
)

// ARP asks again and again who has an IPv4 address, by broadcast, and notes
// every answer: two hosts that hold one address both answer.
type ARP struct {
	Interface string        `json:"interface"`
	Address   string        `json:"address"`
	Every     time.Duration `json:"every,omitempty"`
}

// ARPAnswer is one host's claim to have the address.
type ARPAnswer struct {
	Request uint64        `json:"request"` // the last question before it, from 1
	Asked   time.Duration `json:"asked"`   // CLOCK_BOOTTIME of that question
	At      time.Duration `json:"at"`
	MAC     string        `json:"mac"`
	// Announced means that the host spoke up by itself (a gratuitous ARP).
	Announced bool `json:"announced,omitempty"`
}

const (
	arpFrame    = 42 // Ethernet and ARP header, without padding
	readTimeout = 50 * time.Millisecond
)

// question is the last one asked: its number and time.
type question struct {
	seq uint64
	at  time.Duration
}

func (c ARP) run(ctx context.Context, out *lines) error {
	c.Every = orDefault(c.Every, DefaultEvery)
	target, err := netip.ParseAddr(c.Address)
	if err != nil || !target.Is4() {
		return fmt.Errorf("%q is no IPv4 address", c.Address)
	}
	link, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", c.Interface, err)
	}
	conn, err := packet.Listen(link, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		return fmt.Errorf("open a raw socket on %s: %w", c.Interface, err)
	}
	defer func() { _ = conn.Close() }()
	frame := whoHas(link.HardwareAddr, ownAddress(link), target)

	var last atomic.Pointer[question]
	last.Store(&question{})
	listened := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		listened <- listen(ctx, conn, target, &last, out)
	}()
	tick := clock.System{}.Tick(c.Every)
	defer tick.Stop()
	everyone := &packet.Addr{HardwareAddr: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	for seq := uint64(1); ctx.Err() == nil; seq++ {
		last.Store(&question{seq, clock.System{}.Boot()})
		// Without a carrier nothing is sent and nobody answers: that is seen.
		_, _ = conn.WriteTo(frame, everyone)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return errors.Join(<-listened, out.failed())
}

func listen(ctx context.Context, conn *packet.Conn, target netip.Addr, last *atomic.Pointer[question], out *lines) error {
	buf := make([]byte, 128)
	for ctx.Err() == nil {
		if err := conn.SetReadDeadline(clock.System{}.Now().Add(readTimeout)); err != nil {
			return fmt.Errorf("listen for answers: %w", err)
		}
		n, _, err := conn.ReadFrom(buf)
		at := clock.System{}.Boot()
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return fmt.Errorf("listen for answers: %w", err)
		}
		mac, announced, ok := parseARP(buf[:n], target)
		if !ok {
			continue
		}
		q := last.Load()
		out.put(ARPAnswer{Request: q.seq, Asked: q.at, At: at, MAC: mac.String(), Announced: announced})
		if err := out.failed(); err != nil {
			return err
		}
	}
	return nil
}

// whoHas returns the frame that asks for target. Source: RFC 826.
func whoHas(from net.HardwareAddr, sender, target netip.Addr) []byte {
	f := make([]byte, 0, arpFrame)
	f = append(f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	f = append(f, from...)
	f = binary.BigEndian.AppendUint16(f, unix.ETH_P_ARP)
	f = binary.BigEndian.AppendUint16(f, 1) // Ethernet
	f = binary.BigEndian.AppendUint16(f, unix.ETH_P_IP)
	f = append(f, 6, 4, 0, 1) // address lengths, request
	f = append(f, from...)
	f = append(f, sender.AsSlice()...)
	f = append(f, 0, 0, 0, 0, 0, 0)
	return append(f, target.AsSlice()...)
}

// parseARP returns who claims to have target in the frame. announced is true
// if nobody had asked. ok is false for everything else, such as questions.
func parseARP(frame []byte, target netip.Addr) (mac net.HardwareAddr, announced, ok bool) {
	if len(frame) < arpFrame || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_ARP {
		return nil, false, false
	}
	arp := frame[14:]
	if binary.BigEndian.Uint16(arp) != 1 || binary.BigEndian.Uint16(arp[2:]) != unix.ETH_P_IP || arp[4] != 6 || arp[5] != 4 {
		return nil, false, false
	}
	operation := binary.BigEndian.Uint16(arp[6:])
	sender, _ := netip.AddrFromSlice(arp[14:18])
	about, _ := netip.AddrFromSlice(arp[24:28])
	announced = sender == about
	answers := operation == 2 || operation == 1 && announced
	if sender != target || !answers {
		return nil, false, false
	}
	return net.HardwareAddr(append([]byte(nil), arp[8:14]...)), announced, true
}

// ownAddress returns the first IPv4 address of the link. Without one the
// question is a probe (RFC 5227), which is answered all the same.
func ownAddress(link *net.Interface) netip.Addr {
	none := netip.IPv4Unspecified()
	addresses, err := link.Addrs()
	if err != nil {
		return none
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			return p.Addr()
		}
	}
	return none
}
