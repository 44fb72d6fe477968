package lease

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// ErrState means that a State is not that of a Node. The node it was meant for
// has to begin without memory, and to be silent (silent-restart).
var ErrState = errors.New("not the state of a lease node")

// State is all that a Node remembers, as plain data: votes, leases and claims.
// A Node made of it does what the one it was taken from would have done. It is
// good on the same host only, for moments of another clock mean nothing, and
// for one life: of two nodes that go on from the same state one would break the
// promises of the other.
type State struct {
	Self     uint8
	Inc      uint64
	Config   quorum.Config
	Lost     quorum.Set
	Skewed   quorum.Set
	Voter    VoterState
	Holder   HolderState
	Claimant ClaimantState
	Keeper   KeeperState
	Notes    []Note
}

// VoterState is the memory of a node's vote.
type VoterState struct {
	Admitted    bool
	SilentUntil Boot
	Floor       uint64
	Records     []RecordState // sorted by service
	Holders     []ViewState   // of the slots that were heard, sorted
}

// PeerState is one incarnation of a node, or nobody, in slot NoSlot.
type PeerState struct {
	Slot uint8
	Inc  uint64
}

// RecordState is what was promised and accepted for one service.
type RecordState struct {
	ID           ID
	Promised     uint64
	PromisedTo   PeerState
	PromisedRank uint8
	PromisedAt   Boot
	By           PeerState
	Number       uint64
	TTL          time.Duration
	Soft         bool
	At           Boot
	InSet        bool
	Keep         Boot
	Owed         Boot `json:",omitempty"`
	Queue        []WaitingState
}

// WaitingState is a claim that waits.
type WaitingState struct {
	From   PeerState
	Number uint64
	Rank   uint8
	Soft   bool
	At     Boot
}

// ViewState is what is known of one holder's set.
type ViewState struct {
	Slot       uint8
	Inc        uint64
	Set        uint64
	Entries    []Entry
	LastBeat   Boot
	LastSent   Boot
	Refused    []ID
	Assembling uint64
	Have       uint64
	Parts      [][]Entry
}

// HolderState is what a node holds.
type HolderState struct {
	Set      uint64
	Entries  []HeldState // sorted by service
	Acks     []AckState  // of the slots that answered or were asked, sorted
	Releases []ReleaseState
}

// HeldState is one lease held.
type HeldState struct {
	Entry
	Until Boot
	Since uint64
	Keep  bool
}

// AckState is the newest acknowledgement of one voter.
type AckState struct {
	Slot    uint8
	Sent    Boot
	Set     uint64
	Refused []ID
	All     bool
	PartsAt Boot
}

// ReleaseState is a release that is sent again.
type ReleaseState struct {
	ID     ID
	Number uint64
	Left   int
}

// ClaimantState is what a node tries to win.
type ClaimantState struct {
	Admitted    bool
	Floor       uint64
	Ceiling     uint64
	HighestSeen uint64
	Claims      []ClaimState // sorted by service
}

// ClaimState is the attempt to win one lease.
type ClaimState struct {
	Seek
	Phase    uint8
	Number   uint64
	Asked    Entry
	Highest  uint64
	Promises quorum.Set
	Accepts  quorum.Set
	Nacks    quorum.Set
	Waits    quorum.Set
	Sent     Boot
	Retry    Boot
	Attempt  int
}

// State returns all that n remembers; it shares no memory with n. What waits in
// the outbox is not part of it: take that out before.
func (n *Node) State() State {
	return State{
		Self: n.self, Inc: n.inc, Config: n.config, Lost: n.lost, Skewed: n.skewed,
		Voter: n.voter.state(), Holder: n.holder.state(), Claimant: n.claimant.state(),
		Keeper: n.keeper.state(), Notes: slices.Clone(n.notes),
	}
}

// Restore makes n go on as the node that s was taken from. It returns
// [ErrState], and leaves n as it was, if s is no state, or one of another node
// or incarnation.
func (n *Node) Restore(s State) error {
	if s.Self != n.self || s.Inc != n.inc || s.Self > 31 {
		return fmt.Errorf("slot %d, incarnation %d instead of %d, %d: %w", s.Self, s.Inc, n.self, n.inc, ErrState)
	}
	if err := s.check(); err != nil {
		return err
	}
	next := New(s.Self, s.Inc)
	next.config, next.lost, next.skewed, next.notes = s.Config, s.Lost, s.Skewed, slices.Clone(s.Notes)
	next.voter.restore(s.Voter)
	next.holder.restore(s.Holder)
	next.claimant.restore(s.Claimant)
	next.keeper.restore(s.Keeper)
	*n = *next
	return nil
}

func (p PeerState) peer() peer { return peer{p.Slot, p.Inc} }
func (p peer) state() PeerState {
	return PeerState{p.slot, p.inc}
}

func (v *voter) state() VoterState {
	s := VoterState{Admitted: v.admitted, SilentUntil: v.silentUntil, Floor: v.floor}
	for i := range v.records {
		r := &v.records[i]
		out := RecordState{
			ID: r.id, Promised: r.promised, PromisedTo: r.promisedTo.state(), PromisedRank: r.promisedRank, PromisedAt: r.promisedAt,
			By: r.by.state(), Number: r.number, TTL: r.ttl, Soft: r.soft, At: r.at, InSet: r.inSet, Keep: r.keep, Owed: r.owed,
		}
		for _, w := range r.queue {
			out.Queue = append(out.Queue, WaitingState{From: w.from.state(), Number: w.number, Rank: w.rank, Soft: w.soft, At: w.at})
		}
		s.Records = append(s.Records, out)
	}
	for slot := range v.holders {
		h := &v.holders[slot]
		if h.inc == 0 && h.lastSent < 0 {
			continue // never heard
		}
		s.Holders = append(s.Holders, ViewState{
			Slot: uint8(slot), Inc: h.inc, Set: h.set, Entries: slices.Clone(h.entries), LastBeat: h.lastBeat, LastSent: h.lastSent,
			Refused: slices.Clone(v.refusals(uint8(slot))), Assembling: h.assembling, Have: h.have, Parts: cloneParts(h.parts),
		})
	}
	return s
}

func cloneParts(in [][]Entry) [][]Entry {
	out := slices.Clone(in)
	for i := range out {
		out[i] = slices.Clone(out[i])
	}
	return out
}

// restore fills a voter that was just made.
func (v *voter) restore(s VoterState) {
	v.admitted, v.silentUntil, v.floor = s.Admitted, s.SilentUntil, s.Floor
	for i := range s.Records {
		in := &s.Records[i]
		r := voteRecord{
			id: in.ID, promised: in.Promised, promisedTo: in.PromisedTo.peer(), promisedRank: in.PromisedRank, promisedAt: in.PromisedAt,
			by: in.By.peer(), number: in.Number, ttl: in.TTL, soft: in.Soft, at: in.At, inSet: in.InSet, keep: in.Keep, owed: in.Owed,
		}
		for _, w := range in.Queue {
			r.queue = append(r.queue, waiting{from: w.From.peer(), number: w.Number, rank: w.Rank, soft: w.Soft, at: w.At})
		}
		v.queued += len(r.queue)
		v.records = append(v.records, r)
	}
	for i := range s.Holders {
		in := &s.Holders[i]
		v.holders[in.Slot] = holderView{
			inc: in.Inc, set: in.Set, entries: slices.Clone(in.Entries), lastBeat: in.LastBeat, lastSent: in.LastSent,
			refused: slices.Clone(in.Refused), assembling: in.Assembling, have: in.Have, parts: cloneParts(in.Parts),
		}
	}
}

func (h *holder) state() HolderState {
	s := HolderState{Set: h.set}
	for _, e := range h.entries {
		s.Entries = append(s.Entries, HeldState{Entry: e.Entry, Until: e.until, Since: e.since, Keep: e.keep})
	}
	for slot := range h.acks {
		a := &h.acks[slot]
		if a.sent < 0 && a.partsAt < 0 {
			continue // never asked
		}
		s.Acks = append(s.Acks, AckState{
			Slot: uint8(slot), Sent: a.sent, Set: a.set, Refused: slices.Clone(a.refused), All: a.all, PartsAt: a.partsAt,
		})
	}
	for _, r := range h.releases {
		s.Releases = append(s.Releases, ReleaseState{ID: r.id, Number: r.number, Left: r.left})
	}
	return s
}

// restore fills a holder that was just made.
func (h *holder) restore(s HolderState) {
	h.set = s.Set
	for _, e := range s.Entries {
		h.entries = append(h.entries, heldEntry{Entry: e.Entry, until: e.Until, since: e.Since, keep: e.Keep})
	}
	for i := range s.Acks {
		a := &s.Acks[i]
		h.acks[a.Slot] = ackView{sent: a.Sent, set: a.Set, refused: slices.Clone(a.Refused), all: a.All, partsAt: a.PartsAt}
	}
	for _, r := range s.Releases {
		h.releases = append(h.releases, pendingRelease{id: r.ID, number: r.Number, left: r.Left})
	}
}

func (c *claimant) state() ClaimantState {
	s := ClaimantState{Admitted: c.admitted, Floor: c.floor, Ceiling: c.ceiling, HighestSeen: c.highestSeen}
	for i := range c.claims {
		x := &c.claims[i]
		s.Claims = append(s.Claims, ClaimState{
			Seek: x.Seek, Phase: uint8(x.phase), Number: x.number, Asked: x.asked, Highest: x.highest,
			Promises: x.promises, Accepts: x.accepts, Nacks: x.nacks, Waits: x.waits,
			Sent: x.sent, Retry: x.retry, Attempt: x.attempt,
		})
	}
	return s
}

// restore fills a claimant that was just made.
func (c *claimant) restore(s ClaimantState) {
	c.admitted, c.floor, c.ceiling, c.highestSeen = s.Admitted, s.Floor, s.Ceiling, s.HighestSeen
	for i := range s.Claims {
		in := &s.Claims[i]
		c.claims = append(c.claims, claim{
			Seek: in.Seek, phase: phase(in.Phase), number: in.Number, asked: in.Asked, highest: in.Highest,
			promises: in.Promises, accepts: in.Accepts, nacks: in.Nacks, waits: in.Waits,
			sent: in.Sent, retry: in.Retry, attempt: in.Attempt,
		})
	}
}

// check reports whether a node can go on from s without harm: all orders and
// bounds that the code counts on.
func (s *State) check() error {
	for _, wrong := range []struct {
		what string
		is   bool
	}{
		{"votes", !ordered(s.Voter.Records, func(r *RecordState) ID { return r.ID }) || len(s.Voter.Records) > MaxServices},
		{"a vote", slices.ContainsFunc(s.Voter.Records, RecordState.wrong)},
		{"sets", !ordered(s.Voter.Holders, func(v *ViewState) uint8 { return v.Slot }) || slices.ContainsFunc(s.Voter.Holders, ViewState.wrong)},
		{"leases", !ordered(s.Holder.Entries, func(e *HeldState) ID { return e.ID }) || len(s.Holder.Entries) > MaxServices},
		{"a lease", slices.ContainsFunc(s.Holder.Entries, func(e HeldState) bool { return badTTL(e.TTL) || e.Since > s.Holder.Set })},
		{"answers", !ordered(s.Holder.Acks, func(a *AckState) uint8 { return a.Slot }) || slices.ContainsFunc(s.Holder.Acks, AckState.wrong)},
		{"what is kept", !ordered(s.Keeper.Entries, func(e *KeptState) ID { return e.ID }) || len(s.Keeper.Entries) > MaxServices},
		{"releases", slices.ContainsFunc(s.Holder.Releases, func(r ReleaseState) bool { return r.Left < 0 || r.Left > releaseSends })},
		{"claims", !ordered(s.Claimant.Claims, func(c *ClaimState) ID { return c.ID }) || len(s.Claimant.Claims) > MaxServices},
		{"a claim", slices.ContainsFunc(s.Claimant.Claims, ClaimState.wrong)},
	} {
		if wrong.is {
			return fmt.Errorf("%s: %w", wrong.what, ErrState)
		}
	}
	return nil
}

// ordered reports whether the keys of all grow strictly.
func ordered[T any, K cmp.Ordered](all []T, key func(*T) K) bool {
	for i := 1; i < len(all); i++ {
		if key(&all[i-1]) >= key(&all[i]) {
			return false
		}
	}
	return true
}

func badTTL(d time.Duration) bool { return d < 0 || d > MaxTTL }

func (p PeerState) wrong() bool { return p.Slot > 31 && p.peer() != nobody }

func (r RecordState) wrong() bool {
	return r.PromisedTo.wrong() || r.By.wrong() || badTTL(r.TTL) || len(r.Queue) > MaxQueue ||
		slices.ContainsFunc(r.Queue, func(w WaitingState) bool { return w.From.Slot > 31 })
}

func (v ViewState) wrong() bool {
	entry := func(e Entry) bool { return badTTL(e.TTL) }
	return v.Slot > 31 || v.LastSent < -1 || len(v.Entries) > MaxServices || slices.ContainsFunc(v.Entries, entry) ||
		len(v.Parts) > 64 || slices.ContainsFunc(v.Parts, func(p []Entry) bool { return len(p) > PartEntries || slices.ContainsFunc(p, entry) })
}

func (a AckState) wrong() bool { return a.Slot > 31 || a.Sent < -1 || !slices.IsSorted(a.Refused) }

func (c ClaimState) wrong() bool {
	return c.Phase > uint8(proposing) || badTTL(c.TTL) || badTTL(c.Asked.TTL) || c.Attempt < 0 || c.Attempt > maxDuel
}
