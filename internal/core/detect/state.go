package detect

import (
	"errors"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// ErrState means that a State is not that of a Detector. The detector it was
// meant for has to begin without memory.
var ErrState = errors.New("not the state of a detector")

// State is all that a Detector remembers, as plain data. A Detector made of it
// judges as the one it was taken from would have. It is good on the same host
// only: moments of another clock mean nothing.
type State struct {
	Self     uint8
	Members  quorum.Set
	Voters   quorum.Config
	Interval time.Duration
	Peers    []PeerState // those known, sorted by slot
	Seq      uint64
	Begun    Boot
	Due      Boot
	Late     RecentState
	Stall    RecentState
	Grace    time.Duration
	GraceEnd Boot
	Abstain  Boot
	Silent   quorum.Set
	Suspect  quorum.Set
	Lost     quorum.Set
	Skewed   quorum.Set
	Idle     bool
}

// PeerState is what one node knows of another.
type PeerState struct {
	Slot     uint8
	Inc      uint64
	Since    Boot
	Last     Boot
	Heard    bool
	Refused  bool
	Gaps     RecentState
	Seq      uint64
	Got      float64
	Beat     Beat
	BeatAt   Boot
	Answered Boot
	Cut      Boot
	Rate     RateState
}

// RecentState is the largest value of the last one to two windows.
type RecentState struct {
	Now, Before time.Duration
	Turned      Boot
}

// RateState is what is known of the rate of another node's clock.
type RateState struct {
	Since             Boot
	Least, Before     time.Duration
	LeastAt, BeforeAt Boot
	Full              bool
	Odd               int8
	Off               bool
}

func (r *rate) state() RateState {
	return RateState{
		Since: r.since, Least: r.least, Before: r.before, LeastAt: r.leastAt, BeforeAt: r.beforeAt,
		Full: r.full, Odd: r.odd, Off: r.off,
	}
}

func (r RateState) rate() rate {
	return rate{
		since: r.Since, least: r.Least, before: r.Before, leastAt: r.LeastAt, beforeAt: r.BeforeAt,
		full: r.Full, odd: r.Odd, off: r.Off,
	}
}

func (r recent) state() RecentState {
	return RecentState{Now: r.now, Before: r.before, Turned: r.turned}
}

func (r RecentState) recent() recent {
	return recent{now: r.Now, before: r.Before, turned: r.Turned}
}

// State returns all that d remembers; it shares no memory with d.
func (d *Detector) State() State {
	s := State{
		Self: d.self, Members: d.members, Voters: d.voters, Interval: d.interval, Seq: d.seq,
		Begun: d.begun, Due: d.due, Late: d.late.state(), Grace: d.grace, GraceEnd: d.graceEnd, Abstain: d.abstain,
		Silent: d.silent, Suspect: d.suspect, Lost: d.lost, Skewed: d.skewed, Idle: d.idle,
		Stall: d.stall.state(),
	}
	for slot := range d.peers {
		p := &d.peers[slot]
		if !p.known {
			continue
		}
		s.Peers = append(s.Peers, PeerState{
			Slot: uint8(slot), Inc: p.inc, Since: p.since, Last: p.last, Heard: p.heard, Refused: p.refused,
			Gaps: p.gaps.state(), Seq: p.seq, Got: p.got, Beat: p.beat, BeatAt: p.beatAt,
			Answered: p.answered, Cut: p.cut, Rate: p.rate.state(),
		})
	}
	return s
}

// Restore makes d go on as the detector that s was taken from. It returns
// [ErrState], and leaves d as it was, if s is no state, or one of another node.
func (d *Detector) Restore(s State) error {
	if s.Self != d.self || s.Interval <= 0 || s.Interval > Cap || s.Grace < 0 {
		return fmt.Errorf("slot %d, every %s: %w", s.Self, s.Interval, ErrState)
	}
	next := New(s.Self)
	next.members, next.voters, next.interval, next.seq = s.Members, s.Voters, s.Interval, s.Seq
	next.begun = s.Begun
	next.due, next.late, next.grace, next.graceEnd, next.abstain = s.Due, s.Late.recent(), s.Grace, s.GraceEnd, s.Abstain
	next.silent, next.suspect, next.lost, next.skewed, next.idle, next.stall = s.Silent, s.Suspect, s.Lost, s.Skewed, s.Idle, s.Stall.recent()
	for i := range s.Peers {
		p := &s.Peers[i]
		if p.Slot > 31 || i > 0 && s.Peers[i-1].Slot >= p.Slot || !(p.Got >= 0 && p.Got <= 1) || p.Beat.Late < 0 || p.Beat.Late > time.Hour {
			return fmt.Errorf("slot %d: %w", p.Slot, ErrState)
		}
		next.peers[p.Slot] = peer{
			known: true, inc: p.Inc, since: p.Since, last: p.Last, heard: p.Heard, refused: p.Refused,
			gaps: p.Gaps.recent(), seq: p.Seq, got: p.Got, beat: p.Beat, beatAt: p.BeatAt,
			answered: p.Answered, cut: p.Cut, rate: p.Rate.rate(),
		}
	}
	*d = *next
	return nil
}
