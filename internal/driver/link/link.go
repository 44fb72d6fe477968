// Package link carries the lease plane's datagrams: sealed, authenticated and
// never twice, over one or more networks at once.
//
// Its main rule: what [Socket.Receive] hands out was sent by the node it names,
// to this node, in this cell, and was not handed out before. A datagram may
// still be lost, late or out of order. All else that arrives is counted by kind
// and dropped; a flood of it costs time, never memory.
//
// A packet is a header in clear (version, cell, key, sender, receiver,
// incarnation, sequence number) and the payload under XChaCha20-Poly1305 with
// the header as additional data. The nonce is made of sender, incarnation and
// sequence number. So an incarnation must never be used twice with the same
// key: one Socket a process, and a greater incarnation at every start.
//
// The package knows nothing of what it carries, keeps nothing on disk, and
// allocates nothing for a packet.
package link

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
)

// Limits.
const (
	// MaxPayload is the longest payload, in bytes.
	MaxPayload = 1200
	// MaxSlots is how many nodes a cell has at most; slots are below it.
	MaxSlots = 32
	// MaxKeys is how many keys may be open at once.
	MaxKeys = 8
	// MaxLinks is how many addresses a node may have.
	MaxLinks = 9

	// sendTries bounds the attempts for one datagram when errors of earlier
	// datagrams are reported instead of its own.
	sendTries = 4
	// maxBatch is how many datagrams are read before the sockets are polled
	// anew, so that no socket and no waking has to wait for a flood to end.
	maxBatch = 64
	// receiveBuffer is the size asked for of each socket's queue, in bytes.
	receiveBuffer = 512 << 10
	// serviceClass is the IP type of service of all datagrams: CS6, network
	// control (RFC 4594), which local queues too send first.
	serviceClass = 0xc0
)

var (
	// ErrTimeout means that nothing arrived in time.
	ErrTimeout = errors.New("no datagram in time")
	// ErrWoken means that [Socket.Wake] was called.
	ErrWoken = errors.New("woken")
	// ErrNoPeer means that a slot has no address to send to.
	ErrNoPeer = errors.New("no address for this slot")
	// ErrTooLong means that a payload is over [MaxPayload].
	ErrTooLong = errors.New("payload too long")
	// ErrPortInUse means that another program has the port.
	ErrPortInUse = errors.New("port in use")
	// ErrOptions means that addresses, keys or slots are not what they must be.
	// Nothing was changed.
	ErrOptions = errors.New("link options not acceptable")

	errNoPort = errors.New("this node listens on no address of that IP version")
)

// Options are what a Socket needs. All fields are required.
type Options struct {
	Cell string // the cell's id
	Self uint8  // this node's slot
	// Incarnation is greater than that of every Socket before on this node.
	Incarnation uint64
	// Listen are this node's addresses, one a link, at most [MaxLinks]. Port 0
	// takes a free port.
	Listen []netip.AddrPort
	Keys   []record.LinkKey // the first seals, all open
	Clock  clock.Clock
	Log    *slog.Logger
}

// Packet is one arrival.
type Packet struct {
	From        uint8
	Incarnation uint64
	Payload     []byte
	// Refused, if it is valid, is an address of From whose host answered that
	// nobody listens there: the host lives, its guard does not. Incarnation and
	// Payload are empty then. The answer is not authenticated, but it quotes
	// a datagram that this Socket has sent there.
	Refused netip.AddrPort
}

// Socket is one node's end of the lease plane. Its methods are safe for
// concurrent use; one goroutine at a time may be in Receive or Each, and one in
// Drain.
type Socket struct {
	opts     Options
	counters counters
	closed   atomic.Bool

	reading sync.Mutex // guards the next seven, never held while waiting; taken before mu
	waiter  *waiter
	polled  []unix.PollFd
	turn    int
	inbox   [MaxPacket + 1]byte
	from    source
	quiet   [kinds]silence
	resting bool

	mu    sync.Mutex // guards all below, never held while waiting
	ports []port
	wake  int
	peers [MaxSlots][]path
	owner map[netip.AddrPort]uint8
	codec codec
	out   []byte
}

// port is one bound socket.
type port struct {
	fd   int
	addr netip.AddrPort
}

// path is one way to a peer.
type path struct {
	port int
	to   target
}

// Listen opens a Socket. It returns [ErrPortInUse] or [ErrOptions]. An address
// that this host does not have, for example because its network is not up yet,
// is no error: its port works as soon as the address is there.
func Listen(o Options) (*Socket, error) {
	if len(o.Listen) == 0 || len(o.Listen) > MaxLinks || o.Self >= MaxSlots {
		return nil, fmt.Errorf("%d addresses for slot %d: %w", len(o.Listen), o.Self, ErrOptions)
	}
	s := &Socket{opts: o, wake: -1, out: make([]byte, 0, MaxPacket)}
	s.codec.init(o.Cell, o.Self, o.Incarnation)
	if err := s.codec.setKeys(o.Keys); err != nil {
		return nil, err
	}
	for _, addr := range o.Listen {
		p, err := bind(addr)
		if err != nil {
			s.release()
			return nil, err
		}
		s.add(p)
	}
	if err := s.arm(); err != nil {
		s.release()
		return nil, err
	}
	for _, h := range s.homes() {
		if !h.network.IsValid() && !h.addr.IsLoopback() && !h.addr.IsUnspecified() {
			o.Log.Warn("address not on this host yet", logkey.Addr, h.addr)
		}
	}
	return s, nil
}

// add makes p one of the ports that are read.
func (s *Socket) add(p port) {
	s.ports = append(s.ports, p)
	s.polled = append(s.polled, unix.PollFd{Fd: int32(p.fd), Events: unix.POLLIN})
}

// arm opens what wakes a receiver, once all ports are added. After an error the
// Socket is to be released.
func (s *Socket) arm() error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open an eventfd: %w", err)
	}
	s.wake = wake
	s.polled = append(s.polled, unix.PollFd{Fd: int32(wake), Events: unix.POLLIN})
	s.waiter, err = newWaiter(s.polled)
	return err
}

// Addresses returns where the Socket listens, in the order of Options.Listen.
func (s *Socket) Addresses() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]netip.AddrPort, 0, len(s.ports))
	for _, p := range s.ports {
		all = append(all, p.addr)
	}
	return all
}

// SetPeers replaces all peers: their addresses, one a link, by slot. What was
// heard from a slot that is left out is forgotten. An address that no port of
// this node can reach is left out, with a line in the log. It returns
// [ErrOptions] for a slot that is this node's own or too high, and for more
// than [MaxLinks] addresses.
func (s *Socket) SetPeers(peers map[uint8][]netip.AddrPort) error {
	for slot, addrs := range peers {
		if slot >= MaxSlots || slot == s.opts.Self || len(addrs) > MaxLinks {
			return fmt.Errorf("peer in slot %d with %d addresses: %w", slot, len(addrs), ErrOptions)
		}
	}
	homes := s.homes()
	var next [MaxSlots][]path
	owner := make(map[netip.AddrPort]uint8)
	for slot := range uint8(MaxSlots) {
		for i, addr := range peers[slot] {
			addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
			at := choose(homes, addr.Addr(), i)
			to, err := sockaddr(addr)
			if at < 0 {
				err = errNoPort
			}
			if err != nil {
				s.opts.Log.Warn("peer address left out", logkey.Slot, slot, logkey.Addr, addr, logkey.Err, err)
				continue
			}
			next[slot] = append(next[slot], path{port: at, to: newTarget(to)})
			owner[netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port())] = slot
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers, s.owner = next, owner
	for slot := range uint8(MaxSlots) {
		_, known := peers[slot]
		s.codec.admit(slot, known)
	}
	return nil
}

// SetKeys replaces the keys: the first seals, all open. It returns
// [ErrOptions], and keeps the old keys, unless there are 1 to [MaxKeys] keys of
// 32 bytes with different numbers.
func (s *Socket) SetKeys(keys []record.LinkKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.codec.setKeys(keys)
}

// Send seals payload and sends it to the peer in slot to, over all its
// addresses; the peer takes the first copy that arrives. It never waits. It
// returns [ErrNoPeer], [ErrTooLong], [net.ErrClosed], or the system's error if
// not one copy could be sent.
func (s *Socket) Send(to uint8, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("send %d bytes: %w", len(payload), ErrTooLong)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return net.ErrClosed
	}
	if to >= MaxSlots || len(s.peers[to]) == 0 {
		return ErrNoPeer
	}
	s.out = s.codec.seal(s.out[:0], to, payload)
	var failed error
	sent := false
	for i := range s.peers[to] {
		p := &s.peers[to][i]
		if err := send(s.ports[p.port].fd, s.out, &p.to); err != nil {
			s.counters.unsent.Add(1)
			failed = err
			continue
		}
		s.counters.sent.Add(1)
		sent = true
	}
	if !sent {
		return fmt.Errorf("send to slot %d: %w", to, failed)
	}
	return nil
}

// send hands one datagram to the kernel. A socket that has heard of a refusal
// reports it once in place of the next result, whoever that concerns; the
// refusal itself stays in the error queue. So an error counts only if it stays.
func send(fd int, packet []byte, to *target) error {
	var err error
	for range sendTries {
		err = sendTo(fd, packet, to)
		if err == nil || errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
	return err
}

// Wake makes a Receive that waits, or else the next one, return [ErrWoken].
func (s *Socket) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked()
}

func (s *Socket) wakeLocked() {
	if s.wake < 0 {
		return
	}
	// It fails only when the counter is full, and then it wakes as well.
	_, _ = unix.Write(s.wake, []byte{7: 1})
}

// Close ends a Receive that waits, with [net.ErrClosed], and frees the ports.
func (s *Socket) Close() error {
	s.mu.Lock()
	first := s.closed.CompareAndSwap(false, true)
	s.wakeLocked()
	s.mu.Unlock()
	if !first {
		return nil
	}
	// Closing it waits for whoever waits in it, who may want to look once more.
	s.waiter.close()
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
	return nil
}

// release closes what is open. Nothing can be lost by it, so errors are of no use.
func (s *Socket) release() {
	if s.waiter != nil {
		s.waiter.close()
	}
	for _, p := range s.ports {
		_ = unix.Close(p.fd)
	}
	if s.wake >= 0 {
		_ = unix.Close(s.wake)
	}
	s.ports, s.wake = nil, -1
}

// Counters returns what has passed and what was dropped since the start.
func (s *Socket) Counters() Counters { return s.counters.read() }

// home is where one port is on the network: its address, and the network that
// its interface is on, if that is known.
type home struct {
	addr    netip.Addr
	network netip.Prefix
}

// homes returns where the ports are now.
func (s *Socket) homes() []home {
	// Without a list of interfaces the order of the addresses decides.
	known, _ := net.InterfaceAddrs()
	homes := make([]home, 0, MaxLinks)
	for _, addr := range s.Addresses() {
		h := home{addr: addr.Addr().WithZone("")}
		for _, k := range known {
			if p, err := netip.ParsePrefix(k.String()); err == nil && p.Addr().Unmap() == h.addr {
				h.network = p.Masked()
			}
		}
		homes = append(homes, h)
	}
	return homes
}

// choose returns the port to reach a peer's address number index from: one on
// the same network, else the one with the same number, else the first that
// speaks the same IP version; -1 if there is none.
func choose(homes []home, peer netip.Addr, index int) int {
	rank := func(i int) int {
		h := homes[i]
		if h.addr.Is4() != peer.Is4() {
			return -1
		}
		points := 0
		if h.network.IsValid() && h.network.Contains(peer.WithZone("")) {
			points += 2
		}
		if i == index {
			points++
		}
		return points
	}
	best := -1
	for i := range homes {
		if r := rank(i); r >= 0 && (best < 0 || r > rank(best)) {
			best = i
		}
	}
	return best
}

func portInUse(addr netip.AddrPort) error {
	return &request.Error{
		Kind: request.Refused, Code: "port-in-use", Err: ErrPortInUse,
		Text: fmt.Sprintf("UDP port %d of %s is used by another program", addr.Port(), addr.Addr()),
		Hint: fmt.Sprintf("see which one with `ss -ulpn 'sport = :%d'`; stop it, or give this node another port for heartbeats", addr.Port()),
	}
}

// silence bounds how often a kind of dropped datagram is logged.
type silence struct {
	until time.Duration
	count uint64
}

// logEvery is the time between two lines about the same kind.
const logEvery = time.Minute

// drop counts a datagram that was not handed out, and says so once a minute
// for each kind. The caller is the one who receives.
func (s *Socket) drop(k Kind) {
	s.counters.dropped[k].Add(1)
	if k == Duplicate {
		return // with several links every datagram has one
	}
	q := &s.quiet[k]
	q.count++
	now := s.opts.Clock.Boot()
	if now < q.until {
		return
	}
	s.opts.Log.Warn("datagrams dropped", "kind", k.String(), logkey.Count, q.count, logkey.Addr, s.from.addr())
	*q = silence{until: now + logEvery}
}

// Kind says why a datagram was dropped.
type Kind uint8

// The kinds of dropped datagrams.
const (
	Truncated   Kind = iota // shorter than any packet
	Oversize                // longer than any packet
	Version                 // of another version of the protocol
	Foreign                 // of another cell
	Misdirected             // for another node
	Stranger                // from a slot that is no peer
	UnknownKey              // sealed with a key that is not open
	Forged                  // the seal does not fit
	Duplicate               // handed out before; normal with several links
	Stale                   // too old to tell, or of an older incarnation
	kinds

	taken = kinds // not dropped at all
)

var kindNames = [kinds]string{
	"truncated", "oversize", "version", "foreign", "misdirected", "stranger",
	"unknown_key", "forged", "duplicate", "stale",
}

// String returns the kind's name for logs and metrics.
func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return kindNames[k]
}

// Kinds returns all kinds.
func Kinds() []Kind {
	all := make([]Kind, 0, kinds)
	for k := range kinds {
		all = append(all, k)
	}
	return all
}

// Counters are numbers of datagrams.
type Counters struct {
	Sent     uint64 // copies handed to the kernel
	Unsent   uint64 // copies that the kernel did not take
	Received uint64 // handed out
	Refused  uint64 // answers that a peer's port is closed
	Dropped  [kinds]uint64
}

type counters struct {
	sent, unsent, received, refused atomic.Uint64

	dropped [kinds]atomic.Uint64
}

func (c *counters) read() Counters {
	got := Counters{Sent: c.sent.Load(), Unsent: c.unsent.Load(), Received: c.received.Load(), Refused: c.refused.Load()}
	for k := range c.dropped {
		got.Dropped[k] = c.dropped[k].Load()
	}
	return got
}
