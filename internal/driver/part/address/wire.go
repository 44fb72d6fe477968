package address

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// probes is how often a duplicate is asked for within the wait.
	probes = 2
	// maxFrame is enough for any ARP or neighbour packet.
	maxFrame = 2048
	// maxSpent is how many used sockets wait to be closed by Run.
	maxSpent = 256
)

// wire is a packet socket on one link for questions and announcements about
// one address. It belongs to one goroutine.
type wire struct {
	conn *packet.Conn // nil if the link carries no such packets, or may not
	link link
	addr netip.Addr
}

// openWire opens a socket that receives nothing but claims of addr. Where the
// link has no ARP, or the process no right to packet sockets, the wire is mute;
// the latter becomes a warning.
func (d *Driver) openWire(l link, addr netip.Addr) (*wire, error) {
	w := &wire{link: l, addr: addr}
	if !l.ethernet {
		return w, nil
	}
	protocol, filter := etherIPv6, ndFilter()
	if addr.Is4() {
		protocol, filter = etherARP, arpFilter(addr)
	}
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return nil, fmt.Errorf("assemble the packet filter: %w", err)
	}
	conn, err := packet.Listen(&net.Interface{Index: l.index, Name: l.name, HardwareAddr: l.mac[:]},
		packet.Raw, protocol, &packet.Config{Filter: raw})
	if errors.Is(err, os.ErrPermission) {
		d.warn("The agent may not open packet sockets (CAP_NET_RAW is missing): addresses are neither probed for duplicates " +
			"nor announced.")
		return w, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open a packet socket on %s: %w", l.name, err)
	}
	w.conn = conn
	return w, nil
}

// arpFilter passes ARP packets whose sender address is addr.
func arpFilter(addr netip.Addr) []bpf.Instruction {
	a := addr.As4()
	want := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherHeader + 14, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: want, SkipFalse: 1},
		bpf.RetConstant{Val: maxFrame},
		bpf.RetConstant{Val: 0},
	}
}

// ndFilter passes neighbour advertisements.
func ndFilter() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherHeader + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMPv6, SkipFalse: 3},
		bpf.LoadAbsolute{Off: etherHeader + ipv6Header, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ndAdvertise, SkipFalse: 1},
		bpf.RetConstant{Val: maxFrame},
		bpf.RetConstant{Val: 0},
	}
}

// probe asks whether another host has the address and returns [ErrDuplicate],
// naming its MAC address, if one answers within the wait.
func (d *Driver) probe(ctx context.Context, w *wire) error {
	if w.conn == nil {
		return nil
	}
	question := arpProbe(w.addr, w.link.mac)
	if w.addr.Is6() {
		question = ndProbe(w.addr, w.link.mac)
	}
	begun := d.clock.Now()
	for i := range probes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.send(question); err != nil {
			return fmt.Errorf("probe for a duplicate: %w", err)
		}
		until := begun.Add(d.opts.ProbeWait * time.Duration(i+1) / probes)
		other, found, err := w.answer(until)
		if err != nil {
			return fmt.Errorf("probe for a duplicate: %w", err)
		}
		if found {
			return fmt.Errorf("%w: %s answers for it", ErrDuplicate, other)
		}
	}
	return nil
}

// answer waits until the given moment for another host's claim of the address.
func (w *wire) answer(until time.Time) (mac, bool, error) {
	if err := w.conn.SetReadDeadline(until); err != nil {
		return mac{}, false, err
	}
	buf := make([]byte, maxFrame)
	for {
		n, _, err := w.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return mac{}, false, nil
		}
		if err != nil {
			return mac{}, false, err
		}
		if other, ok := claimant(buf[:n], w.addr); ok && other != w.link.mac {
			return other, true, nil
		}
	}
}

// claimant is the MAC address that a frame claims to have addr, false if the
// frame claims nothing of the kind.
func claimant(frame []byte, addr netip.Addr) (mac, bool) {
	if a, ok := parseARP(frame); ok && a.sender == addr {
		return a.senderMAC, true
	}
	n, ok := parseNeighbour(frame)
	if !ok || n.kind != ndAdvertise || n.target != addr {
		return mac{}, false
	}
	if n.link != (mac{}) {
		return n.link, true
	}
	return n.from, true
}

// announce tells everyone on the link that the address is here.
func (w *wire) announce() error {
	if w.conn == nil {
		return nil
	}
	if w.addr.Is4() {
		for _, frame := range arpAnnouncements(w.addr, w.link.mac) {
			if err := w.send(frame); err != nil {
				return err
			}
		}
		return nil
	}
	router, err := forwards(w.link.name)
	if err != nil {
		return err
	}
	return w.send(ndAnnouncement(w.addr, w.link.mac, router))
}

func (w *wire) send(frame []byte) error {
	_, err := w.conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:len(mac{})]})
	if errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("%w: %s: %w", ErrLinkDown, w.link.name, err)
	}
	return err
}

// announceOnce opens a wire for one announcement.
func (d *Driver) announceOnce(l link, addr netip.Addr) error {
	w, err := d.openWire(l, addr)
	if err != nil {
		return err
	}
	defer d.retire(w)
	return w.announce()
}

// retire leaves the closing to Run: the kernel waits for its readers before it
// lets a packet socket go, which would cost a failover tens of milliseconds.
func (d *Driver) retire(w *wire) {
	if w.conn == nil {
		return
	}
	select {
	case d.spent <- w.conn:
	default:
		closeQuietly(w.conn)
	}
}

// closeQuietly closes a socket from which nothing more is wanted.
func closeQuietly(c *packet.Conn) {
	// Nothing was buffered, and the descriptor is gone either way.
	_ = c.Close()
}
