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
	Floor   uint64 // see lease.Node.Admit; it only rises
	Ceiling uint64
	Longest time.Duration // longest TTL in use
	Seeks   []Seek
}

// Seek is one service that this node holds or may hold.
type Seek struct {
	ID    lease.ID
	TTL   time.Duration
	Soft  bool
	Keep  bool    // see lease.Seek; only for what is soft
	Order []uint8 // succession list
	// Without Claim nothing is claimed, but what is held is held on to.
	Claim bool
}

// Packet is bytes for one other node. Data is valid until the next call of
// [Node.Packets].
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
	// nextHurry is when renewals may be asked for again between heartbeats.
	nextHurry Boot
	restless  Boot              // when it was last not calm
	gone      quorum.Set        // who was away when the claims were last thought over
	idle      bool              // see SetIdle
	keeping   bool              // something was kept without a lease, then
	held      map[lease.ID]Boot // no claim before then; see Release

	pending [32][]byte
	urgent  bool // something pending does not wait for the next heartbeat

	packets, handed []Packet // the outbox and the one handed out last
	spare           [][]byte // buffers to be used again
	msg             lease.Message
	version         uint64 // of the voters that the detector knows
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
	n.leases.Forget(n.duty.Members &^ d.Members)
	for gone := n.duty.Members &^ d.Members; gone != 0; gone &= gone - 1 {
		n.pending[gone.First()] = nil
	}
	n.duty = d
	n.restless = now
	n.leases.Configure(d.Config)
	n.interval = Interval(d.Members.Len())
	n.configure(now)
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
		n.stir(now, n.msg.Kind)
		n.leases.Receive(now, from, inc, &n.msg)
	}
	return nil
}

// beatTag begins a packet with a heartbeat. No lease message has this kind.
const beatTag = 0xbe

// Refused takes the news that the node in slot has no guard that listens.
func (n *Node) Refused(slot uint8) { n.detector.Refused(slot) }

// Answered takes the news that the kernel of the node in slot lives.
func (n *Node) Answered(now Boot, slot uint8) { n.detector.Answered(now, slot) }

// Probe is the set of nodes of which it would help to know whether their kernel
// answers.
func (n *Node) Probe(now Boot) quorum.Set { return n.detector.Probe(now) }

// SetIdle says whether this node can start anything: it cannot while nobody tells
// it how.
func (n *Node) SetIdle(now Boot, idle bool) {
	if idle != n.idle {
		n.idle = idle
		n.detector.SetIdle(idle)
		n.reseek(now)
		n.settle(now)
	}
}

// Denied is the set of voters that refuse a lease that this node holds.
func (n *Node) Denied() quorum.Set { return n.leases.Denied() }

// Release gives a lease back; the instance must have stopped.
func (n *Node) Release(now Boot, id lease.ID, number uint64) {
	n.held[id] = now + releaseHold
	n.reseek(now)
	n.leases.Release(now, id, number)
	n.settle(now)
}

// Next returns the moment at which Tick is due at the latest.
func (n *Node) Next() Boot {
	next := n.nextBeat
	if at := n.leases.Next(); at >= 0 {
		next = min(next, at)
	}
	if at := n.leases.Pressed(); at >= 0 && !planted(noHurry) {
		next = min(next, max(at, n.nextHurry))
	}
	return next
}

// Tick lets time pass. Drain the sockets first, so that what has arrived is
// judged before what is missing.
func (n *Node) Tick(now Boot) {
	n.leases.Tick(now)
	switch at := n.leases.Pressed(); {
	case now >= n.nextBeat:
		n.beat(now)
	case at >= 0 && now >= at && now >= n.nextHurry && !planted(noHurry):
		n.hurry(now)
	}
	n.settle(now)
}

func (n *Node) beat(now Boot) {
	n.nextBeat += n.interval
	if n.nextBeat <= now {
		n.nextBeat = now + n.interval
	}
	if n.version != n.leases.Config().Version {
		n.configure(now)
	}
	n.nextHurry = now + hurryEvery
	lost := n.detector.Lost()
	n.detector.Tick(now)
	n.look(now)
	n.leases.SetLost(n.detector.Lost())
	n.leases.SetSkewed(n.detector.Skewed())
	n.leases.SetInTouch(n.detector.Quorate(now))
	gone := n.away(now)
	keeping := n.leases.Keeping()
	if planted(claimsAwaitVerdict) {
		gone = n.detector.Lost() | n.detector.Idle()
	}
	if planted(lateSuccessor) && now%time.Second >= n.interval {
		gone = n.gone
	}
	if lost != n.detector.Lost() || n.gone != gone || len(n.held) > 0 || keeping || n.keeping {
		n.gone, n.keeping = gone, keeping
		n.reseek(now)
		n.leases.Tick(now)
	}
	var buf [64]byte
	beat := detect.AppendBeat(append(buf[:0], beatTag), n.detector.Beat(now))
	for rest := n.duty.Members &^ (1 << n.self); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		if len(beat)+len(n.pending[slot]) > MaxPacket {
			n.flushTo(slot)
		}
		// What waited goes behind the heartbeat.
		n.pending[slot] = slices.Insert(n.buffer(slot), 0, beat...)
	}
	n.urgent = true
	n.renew(now)
}

// hurry asks for renewals between two heartbeats.
func (n *Node) hurry(now Boot) {
	n.nextHurry = now + hurryEvery
	n.urgent = true
	n.renew(now)
}

// renew asks for renewals, unless this node is not in touch with a majority in
// both directions: what those voters promise that hear it, and that it does not
// hear, would only keep a successor waiting for another lease's length.
func (n *Node) renew(now Boot) {
	if n.detector.Quorate(now) || planted(renewsAnyway) {
		n.leases.Beat(now)
		return
	}
	n.leases.BeatAlone(now)
}

// hurryEvery is the time between two requests for a renewal while it presses:
// lost packets, not time, must be what a lease ends of.
const hurryEvery = 15 * time.Millisecond

// configure tells the detector who votes by now.
func (n *Node) configure(now Boot) {
	c := n.leases.Config()
	n.version = c.Version
	n.detector.Configure(now, n.duty.Members, c, n.interval)
}

// away are the nodes that are not waited for: those that are lost or quiet, that say
// that they cannot start anything, or that claim no lease because of their clocks.
func (n *Node) away(now Boot) quorum.Set {
	return n.detector.Lost() | n.detector.Quiet(now) | n.detector.Idle() | n.detector.Skewed()
}

// reseek decides which leases to claim: those for which all nodes before this
// one in the succession list are away. No lease can be had before its
// holder has lost it or, if it is soft, is lost itself; then it is to be had at
// once. What goes on here without its lease is claimed whoever is
// before this node: another holder ends it, see lease.Node.Keeps.
func (n *Node) reseek(now Boot) {
	seeks := make([]lease.Seek, 0, len(n.duty.Seeks))
	gone := n.away(now)
	if planted(claimsAwaitVerdict) {
		gone = n.detector.Lost() | n.detector.Idle()
	}
	if planted(lateSuccessor) {
		gone = n.gone
	}
	if planted(everySuccessor) {
		gone = ^quorum.Set(0)
	}
	for i := range n.duty.Seeks {
		s := &n.duty.Seeks[i]
		out := lease.Seek{ID: s.ID, TTL: min(s.TTL, n.duty.Longest), Soft: s.Soft, Keep: s.Keep && s.Soft, Rank: 255}
		if rank := slices.Index(s.Order, n.self); rank >= 0 {
			out.Rank = uint8(min(rank, 254))
			out.Claim = s.Claim && !n.idle && now >= n.held[s.ID] &&
				(n.leases.Keeps(s.ID) || !slices.ContainsFunc(s.Order[:rank], func(before uint8) bool { return !gone.Has(before) }))
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
			n.stir(now, out[i].Kind)
			n.pack(now, out[i].To, &out[i].Message)
		}
	}
}

func (n *Node) pack(now Boot, to uint8, m *lease.Message) {
	if to > 31 || !n.duty.Members.Has(to) {
		return
	}
	// Acknowledgements wait for the next heartbeat unless something is the matter.
	if m.Kind != lease.KindAck || !n.Calm(now) {
		n.urgent = true
	}
	buf := n.buffer(to)
	was := len(buf)
	buf = lease.Append(buf, m)
	if len(buf) > MaxPacket && was > 0 {
		n.pending[to] = buf[:was]
		n.flushTo(to)
		buf = append(n.buffer(to), buf[was:]...)
	}
	n.pending[to] = buf
}

// buffer returns what waits for a node, or an empty buffer.
func (n *Node) buffer(to uint8) []byte {
	if buf := n.pending[to]; buf != nil {
		return buf
	}
	last := len(n.spare) - 1
	if last < 0 {
		return make([]byte, 0, newBuffer)
	}
	buf := n.spare[last]
	n.spare = n.spare[:last]
	return buf
}

// newBuffer is how much a new buffer holds before it grows, spareLimit how many
// are kept.
const (
	newBuffer  = 256
	spareLimit = 64
)

func (n *Node) flushTo(to uint8) {
	if len(n.pending[to]) == 0 {
		return
	}
	n.packets = append(n.packets, Packet{To: to, Data: n.pending[to]})
	n.pending[to] = nil
}

// Packets returns what to send since the last call. Acknowledgements wait for
// the next heartbeat and go with it. The slice and the data are valid until the
// next call of Packets; their memory is then used again.
func (n *Node) Packets() []Packet {
	for i := range n.handed {
		if len(n.spare) < spareLimit {
			n.spare = append(n.spare, n.handed[i].Data[:0])
		}
	}
	n.handed = n.handed[:0]
	if !n.urgent {
		return nil
	}
	n.urgent = false
	for rest := n.duty.Members; rest != 0; rest &= rest - 1 {
		n.flushTo(rest.First())
	}
	n.packets, n.handed = n.handed, n.packets
	return n.handed
}

// Notes returns what happened to this node's leases since the last call.
func (n *Node) Notes() []lease.Note { return n.leases.Notes() }

// Holds appends the leases held at now to buf, and those that are kept.
func (n *Node) Holds(now Boot, buf []lease.Hold) []lease.Hold { return n.leases.Holds(now, buf) }

// EachKnown calls f for every lease that this node knows as a voter.
func (n *Node) EachKnown(now Boot, f func(id lease.ID, holder uint8)) { n.leases.EachKnown(now, f) }

// View is the node's opinion of the others.
type View struct {
	Alive, Suspect, Lost quorum.Set
	Quorate              bool
	Voting               bool
	Version              uint64        // of the lease configuration in use
	Highest              uint64        // ballot number
	Late                 time.Duration // own worst lateness that waiting can cover, in the last 10 min
	Stall                time.Duration // own worst lateness, in the last 10 min
	Measured             time.Duration // for how long
	Skewed               quorum.Set    // nodes whose clocks run at another rate
	Waits                time.Duration // longest timeout at present, of the nodes that are not lost
}

// Lost is that of [View]: whom a majority of the voters misses.
func (n *Node) Lost() quorum.Set { return n.detector.Lost() }

// Voting is that of [View]: whether this node votes on leases at now.
func (n *Node) Voting(now Boot) bool { return n.leases.Voting(now) }

// View returns the node's opinion at now.
func (n *Node) View(now Boot) View {
	return View{
		Alive: n.detector.Alive(), Suspect: n.detector.Suspect(), Lost: n.detector.Lost(),
		Quorate: n.detector.Quorate(now), Voting: n.leases.Voting(now),
		Version: n.leases.Config().Version, Highest: n.leases.Highest(),
		Late: n.detector.Late(), Stall: n.detector.Stall(), Measured: n.detector.Measured(now), Skewed: n.detector.Skewed(),
		Waits: n.detector.Waits(),
	}
}
