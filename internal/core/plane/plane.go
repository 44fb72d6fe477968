// Package plane joins the failure detector and the lease protocol of one node
// into the lease plane: who is alive, and who may run each service right now.
//
// It is the whole real-time mind of a node. The guard drives it with real
// packets and a real clock, the simulator with virtual ones. The package is
// pure; a [Node] is driven by one caller and is not safe for concurrent use.
package plane

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/detect"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// Boot is a moment on this node's CLOCK_BOOTTIME.
type Boot = time.Duration

// MaxPacket is the longest packet, in bytes. It fits one datagram on every
// common network.
const MaxPacket = 1200

// Duty is what this node is to do; it replaces the duty before it.
type Duty struct {
	Members quorum.Set // all nodes of the cell, this one included
	Config  quorum.Config
	Floor   uint64 // see lease.Node.Admit; only the first duty's counts
	Ceiling uint64
	Longest time.Duration // longest TTL in use
	Seeks   []Seek
}

// Seek is one service that this node holds or may hold.
type Seek struct {
	ID    lease.ID
	TTL   time.Duration
	Soft  bool
	Order []uint8 // succession list
	// Without Claim nothing is claimed, but what is held is held on to.
	Claim bool
}

// Packet is bytes for one other node.
type Packet struct {
	To   uint8
	Data []byte
}

// Node is the lease plane on one node.
type Node struct {
	self     uint8
	inc      uint64
	duty     Duty
	detector *detect.Detector
	leases   *lease.Node

	interval time.Duration
	nextBeat Boot
	held     map[lease.ID]Boot // no claim before then; see Release

	pending [32][]byte
	urgent  bool // something pending does not wait for the next heartbeat

	packets []Packet
	msg     lease.Message
}

// releaseHold is how long a lease that this node gave back is not claimed
// again, so that the others have a chance and the agent's next wish arrives.
const releaseHold = 500 * time.Millisecond

// New returns the plane of a node that knows nothing and has no duty.
func New(self uint8, incarnation uint64) *Node {
	return &Node{
		self: self, inc: incarnation,
		detector: detect.New(self), leases: lease.New(self, incarnation),
		held: map[lease.ID]Boot{},
	}
}

// Interval is the time between two heartbeats in a cell of n nodes. It grows
// with the cell so that the packets each node sends a second stay bounded.
func Interval(n int) time.Duration {
	const base = 40 * time.Millisecond
	return base + base*time.Duration(max(n-4, 0))/12
}

// SetDuty takes a new duty.
func (n *Node) SetDuty(now Boot, d Duty) {
	n.duty = d
	n.leases.Configure(d.Config)
	n.interval = Interval(d.Members.Len())
	n.detector.Configure(now, d.Members, n.leases.Config(), n.interval)
	if d.Config.Version > 0 && d.Longest > 0 {
		n.leases.Admit(now, d.Floor, d.Ceiling, d.Longest)
	}
	n.reseek(now)
	n.settle(now)
}

// Receive takes the payload of an authenticated packet. It returns an error if
// it is malformed; what came before the fault has taken effect.
func (n *Node) Receive(now Boot, from uint8, inc uint64, payload []byte) error {
	defer n.settle(now)
	if len(payload) > 0 && payload[0] == beatTag {
		b, rest, err := detect.ParseBeat(payload[1:])
		if err != nil {
			return err
		}
		n.detector.Heard(now, from, inc, b)
		payload = rest
	}
	for len(payload) > 0 {
		rest, err := lease.Parse(payload, &n.msg)
		if err != nil {
			return err
		}
		payload = rest
		n.leases.Receive(now, from, inc, &n.msg)
	}
	return nil
}

// beatTag begins a packet with a heartbeat. No lease message has this kind.
const beatTag = 0xbe

// Refused takes the news that the node in slot has no guard that listens.
func (n *Node) Refused(slot uint8) { n.detector.Refused(slot) }

// Release gives a lease back; the instance must have stopped.
func (n *Node) Release(now Boot, id lease.ID, number uint64) {
	n.held[id] = now + releaseHold
	n.reseek(now)
	n.leases.Release(now, id, number)
	n.settle(now)
}

// Next returns the moment at which Tick is due at the latest.
func (n *Node) Next() Boot {
	if next := n.leases.Next(); next >= 0 {
		return min(next, n.nextBeat)
	}
	return n.nextBeat
}

// Tick lets time pass. Drain the sockets first, so that what has arrived is
// judged before what is missing.
func (n *Node) Tick(now Boot) {
	n.leases.Tick(now)
	if now >= n.nextBeat {
		n.beat(now)
	}
	n.settle(now)
}

func (n *Node) beat(now Boot) {
	n.nextBeat += n.interval
	if n.nextBeat <= now {
		n.nextBeat = now + n.interval
	}
	n.detector.Configure(now, n.duty.Members, n.leases.Config(), n.interval)
	lost := n.detector.Lost()
	n.detector.Tick(now)
	n.leases.SetLost(n.detector.Lost())
	if lost != n.detector.Lost() || len(n.held) > 0 {
		n.reseek(now)
		n.leases.Tick(now)
	}
	b := n.detector.Beat(now)
	for slot := uint8(0); slot < 32; slot++ {
		if slot == n.self || !n.duty.Members.Has(slot) {
			continue
		}
		waiting := n.pending[slot]
		buf := detect.AppendBeat(append(make([]byte, 0, 160), beatTag), b)
		if len(buf)+len(waiting) > MaxPacket {
			n.flushTo(slot)
			waiting = nil
		}
		n.pending[slot] = append(buf, waiting...)
	}
	n.urgent = true
	n.leases.Beat(now)
}

// reseek decides which leases to claim: those for which all nodes before this
// one in the succession list are lost.
func (n *Node) reseek(now Boot) {
	seeks := make([]lease.Seek, 0, len(n.duty.Seeks))
	lost := n.detector.Lost()
	for i := range n.duty.Seeks {
		s := &n.duty.Seeks[i]
		out := lease.Seek{ID: s.ID, TTL: min(s.TTL, n.duty.Longest), Soft: s.Soft, Rank: 255}
		if rank := slices.Index(s.Order, n.self); rank >= 0 {
			out.Rank = uint8(min(rank, 254))
			out.Claim = s.Claim && now >= n.held[s.ID] && !slices.ContainsFunc(s.Order[:rank], func(before uint8) bool { return !lost.Has(before) })
		}
		seeks = append(seeks, out)
	}
	for id, until := range n.held {
		if now >= until {
			delete(n.held, id)
		}
	}
	n.leases.Seek(now, seeks)
}

// settle delivers what the lease protocol sends to this node itself, and packs
// the rest.
func (n *Node) settle(now Boot) {
	for {
		out := n.leases.Outbox()
		if len(out) == 0 {
			return
		}
		for i := range out {
			if out[i].To == n.self {
				n.leases.Receive(now, n.self, n.inc, &out[i].Message)
				continue
			}
			n.pack(out[i].To, &out[i].Message)
		}
	}
}

func (n *Node) pack(to uint8, m *lease.Message) {
	if to > 31 || !n.duty.Members.Has(to) {
		return
	}
	if m.Kind != lease.KindAck {
		n.urgent = true
	}
	buf := n.pending[to]
	was := len(buf)
	buf = lease.Append(buf, m)
	if len(buf) > MaxPacket && was > 0 {
		rest := slices.Clone(buf[was:])
		n.pending[to] = buf[:was]
		n.flushTo(to)
		buf = append(n.pending[to], rest...)
	}
	n.pending[to] = buf
}

func (n *Node) flushTo(to uint8) {
	if len(n.pending[to]) == 0 {
		return
	}
	n.packets = append(n.packets, Packet{To: to, Data: n.pending[to]})
	n.pending[to] = nil
}

// Packets returns what to send since the last call. Acknowledgements wait for
// the next heartbeat and go with it. The slice is valid until the next call of
// any method, the data for good.
func (n *Node) Packets() []Packet {
	if !n.urgent {
		return nil
	}
	n.urgent = false
	for slot := range n.pending {
		n.flushTo(uint8(slot))
	}
	out := n.packets
	n.packets = n.packets[:0]
	return out
}

// Notes returns what happened to this node's leases since the last call.
func (n *Node) Notes() []lease.Note { return n.leases.Notes() }

// Holds appends the leases held at now to buf.
func (n *Node) Holds(now Boot, buf []lease.Hold) []lease.Hold { return n.leases.Holds(now, buf) }

// EachKnown calls f for every lease that this node knows as a voter.
func (n *Node) EachKnown(now Boot, f func(id lease.ID, holder uint8)) { n.leases.EachKnown(now, f) }

// View is the node's opinion of the others.
type View struct {
	Alive, Suspect, Lost quorum.Set
	Quorate              bool
	Voting               bool
	Version              uint64 // of the lease configuration in use
	Highest              uint64 // ballot number
	Late                 time.Duration
}

// View returns the node's opinion at now.
func (n *Node) View(now Boot) View {
	return View{
		Alive: n.detector.Alive(), Suspect: n.detector.Suspect(), Lost: n.detector.Lost(),
		Quorate: n.detector.Quorate(now), Voting: n.leases.Voting(now),
		Version: n.leases.Config().Version, Highest: n.leases.Highest(), Late: n.detector.Late(),
	}
}
