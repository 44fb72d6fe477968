package plane

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/detect"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// ErrState means that a State is not that of a Node. The node it was meant for
// has to begin without memory.
var ErrState = errors.New("not the state of a lease plane")

// State is all that a Node remembers, as plain data, so that a guard can be
// replaced by another without a gap. A Node made of it does, to the byte, what
// the one it was taken from would have done. It is good on the same host and
// for one life only; see [lease.State].
type State struct {
	Self      uint8
	Inc       uint64
	Duty      Duty
	Detector  detect.State
	Leases    lease.State
	Interval  time.Duration
	NextBeat  Boot
	Held      []HeldState // sorted by service
	Pending   []Packet    // sorted by slot
	Packets   []Packet
	Urgent    bool
	NextHurry Boot
	Restless  Boot
	Gone      quorum.Set
	Idle      bool
	Keeping   bool
	Version   uint64
}

// HeldState says that a service is not claimed before a moment.
type HeldState struct {
	ID    lease.ID
	Until Boot
}

// State returns all that n remembers; it shares no memory with n.
func (n *Node) State() State {
	s := State{
		Self: n.self, Inc: n.inc, Duty: n.duty.clone(), Detector: n.detector.State(), Leases: n.leases.State(),
		Interval: n.interval, NextBeat: n.nextBeat, Packets: clonePackets(n.packets), Urgent: n.urgent, NextHurry: n.nextHurry, Restless: n.restless, Gone: n.gone, Idle: n.idle, Keeping: n.keeping,
		Version: n.version,
	}
	for id, until := range n.held {
		s.Held = append(s.Held, HeldState{ID: id, Until: until})
	}
	slices.SortFunc(s.Held, func(a, b HeldState) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	for slot, data := range n.pending {
		if len(data) > 0 {
			s.Pending = append(s.Pending, Packet{To: uint8(slot), Data: slices.Clone(data)})
		}
	}
	return s
}

// Restore makes n go on as the node that s was taken from. It returns
// [ErrState], [lease.ErrState] or [detect.ErrState], and leaves n as it was, if
// s is no state, or one of another node or incarnation.
func (n *Node) Restore(s State) error {
	if s.Self != n.self || s.Inc != n.inc || s.Interval < 0 || s.Interval > detect.Cap {
		return fmt.Errorf("slot %d, incarnation %d, every %s: %w", s.Self, s.Inc, s.Interval, ErrState)
	}
	next := New(s.Self, s.Inc)
	if err := next.detector.Restore(s.Detector); err != nil {
		return fmt.Errorf("detector: %w", err)
	}
	if err := next.leases.Restore(s.Leases); err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	next.duty, next.interval, next.nextBeat = s.Duty.clone(), s.Interval, s.NextBeat
	for _, h := range s.Held {
		next.held[h.ID] = h.Until
	}
	for _, p := range slices.Concat(s.Pending, s.Packets) {
		if p.To > 31 || len(p.Data) > MaxPacket {
			return fmt.Errorf("packet of %d bytes to slot %d: %w", len(p.Data), p.To, ErrState)
		}
	}
	for _, p := range s.Pending {
		next.pending[p.To] = slices.Clone(p.Data)
	}
	next.packets, next.urgent, next.version = clonePackets(s.Packets), s.Urgent, s.Version
	next.nextHurry, next.restless, next.gone, next.keeping, next.idle = s.NextHurry, s.Restless, s.Gone, s.Keeping, s.Idle
	*n = *next
	return nil
}

func (d Duty) clone() Duty {
	d.Seeks = slices.Clone(d.Seeks)
	for i := range d.Seeks {
		d.Seeks[i].Order = slices.Clone(d.Seeks[i].Order)
	}
	return d
}

func clonePackets(in []Packet) []Packet {
	out := slices.Clone(in)
	for i := range out {
		out[i].Data = slices.Clone(out[i].Data)
	}
	return out
}
