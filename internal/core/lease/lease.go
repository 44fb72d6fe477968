// Package lease grants the right to run exclusive services: at most one node
// holds a valid lease for a service at any time.
//
// The protocol is PaxosLease (M. Trencseni, A. Gazso, H. Reinhardt,
// "PaxosLease: Diskless Paxos for Leases", 2012, with the prepare and propose
// phases kept apart), extended by renewal of all leases of a holder at once and
// by claims that wait at the voters. It holds whatever messages are lost,
// delayed, doubled or reordered and whichever nodes crash, pause or restart, as
// long as the CLOCK_BOOTTIME of any two nodes differ in rate by less than
// [DriftBound] and datagrams are authentic.
//
// The invariants, by name; each is kept at the place that names it:
//
//	exact-promise      a voter accepts a proposal only for the very ballot, from
//	                   the very incarnation, that it remembers having promised
//	promise-kept       a voter under an unexpired acceptance promises nobody else
//	silent-restart     a voter that starts is silent for the longest TTL in use,
//	                   and promises only numbers above the ceiling it found
//	count-from-send    a holder counts from the moment it sent what a majority
//	                   acknowledged, shortened by the drift bound
//	no-second-life     a lease that lapsed is never renewed, only claimed again
//	one-number         a voter promises each ballot number of a service once, and
//	                   a set of voters only numbers above all that were in use
//	                   before it, so that epochs strictly grow
//	newest-config      a voter does not serve a node with an older set of voters
//	known-rates        a voter whose clock is found to run at another rate does not
//	                   count, and such a node holds nothing
//
// The package is pure: no clock, no I/O. A [Node] is driven by one caller and is
// not safe for concurrent use.
package lease

import (
	"cmp"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// Boot is a moment on the CLOCK_BOOTTIME of the node that says it. Moments of
// two nodes cannot be compared.
type Boot = time.Duration

// ID is a service's number within its cell.
type ID = uint32

// The protocol's constants.
const (
	// DriftBound is the largest difference in rate between two nodes' clocks,
	// as a divisor: 1/50. The detector finds every larger one, and most from 1/80
	// on; what it does not find is covered here.
	DriftBound = 50

	// Resend is the pause between two attempts of the same request.
	Resend = 40 * time.Millisecond

	// QueueLife is how long a voter remembers a waiting claim that is not
	// repeated.
	QueueLife = 10 * Resend

	// PromiseHold is how long a voter gives a claimant that it promised before
	// it promises a claimant of a worse rank. It prevents duels.
	PromiseHold = 100 * time.Millisecond

	// MaxServices bounds the leases of one holder and the records of a voter: 64
	// parts of a set.
	MaxServices = 64 * PartEntries

	// MaxQueue bounds the claims that wait at one voter for one service.
	MaxQueue = 32

	// PartEntries is how many entries one SetPart holds, so that it fits one
	// datagram.
	PartEntries = 56
)

// Seek is a service that this node may come to hold.
type Seek struct {
	ID  ID
	TTL time.Duration
	// Soft leases may be taken over as soon as their holder is declared lost,
	// before they expire. Two nodes may then hold it for a bounded time.
	Soft bool
	// Keep says that what runs under the lease goes on when the lease lapses,
	// until another node is known to hold it. It counts only for soft leases.
	Keep bool
	// Rank is this node's place in the succession list, 0 for the first.
	Rank uint8
	// Claim says to claim the lease now. Without it the node goes on holding
	// what it holds and claims nothing.
	Claim bool
}

// Kind tells the messages apart.
type Kind uint8

// The messages of the protocol.
const (
	// KindBeat asks the voters to renew the holder's set. KindAck answers it.
	KindBeat Kind = iota + 1
	KindAck
	// KindSet tells a voter one part of what the holder's set contains.
	KindSet
	KindPrepare
	KindPromise
	KindPropose
	KindAccept
	// KindNack refuses a prepare or a proposal, or says that a claim waits.
	KindNack
	// KindRelease gives a lease back.
	KindRelease
	// KindConfig tells a node a newer set of voters, and the floor and ceiling of
	// ballot numbers that go with it.
	KindConfig
)

// Message is one message of the protocol; which fields count depends on Kind.
type Message struct {
	Kind    Kind
	Version uint64 // the sender's configuration

	ID     ID     // Prepare .. Release
	Number uint64 // ballot number: Prepare .. Release. Config: the floor
	Rank   uint8  // Prepare
	Soft   bool   // Prepare, Propose, and entries

	TTL  time.Duration // Propose
	Sent Boot          // Beat, Propose: sender's clock. Ack, Accept: that echoed

	// Inc is the incarnation of the receiver that an answer is meant for.
	Inc uint64 // Ack, Promise, Accept, Nack

	Set     uint64  // Beat, Ack, Set
	Part    uint8   // Set
	Parts   uint8   // Set
	Entries []Entry // Set
	Refused []ID    // Ack: services of the set that this voter does not renew
	// RefusedAll says that more are refused than fit; all count as refused.
	RefusedAll bool

	// Highest is a number that the next attempt must exceed, or 0 if the claim
	// waits. Config: the ceiling.
	Highest uint64 // Nack, Config
	Holder  uint8  // Nack: who holds it, or NoSlot

	Voters quorum.Set // Config
	Prior  quorum.Set // Config
}

// NoSlot stands for no node.
const NoSlot uint8 = 255

// Entry is one lease of a holder's set.
type Entry struct {
	ID     ID
	Number uint64
	TTL    time.Duration
	Soft   bool
}

// Envelope is a message on its way out.
type Envelope struct {
	To uint8
	Message
}

// NoteKind tells notes apart.
type NoteKind uint8

// What a note can say.
const (
	Won       NoteKind = iota + 1 // this node holds the lease
	Ended                         // the lease lapsed
	Released                      // this node gave it back
	Free                          // a majority promised: nobody else holds it
	Exhausted                     // no ballot number is left under the ceiling
	Kept                          // the lease lapsed, and what it was for goes on
	Unkept                        // that has ended too
)

// Note is something that happened to a lease of this node.
type Note struct {
	Kind   NoteKind
	At     Boot
	ID     ID
	Number uint64
}

// Hold is a lease that this node holds, or one that has lapsed and is kept.
type Hold struct {
	ID     ID
	Number uint64 // the epoch
	Until  Boot   // not valid at this moment or later; in the past: kept, and no lease
	Keep   bool   // what it is for goes on after Until, see Seek
}

// Node is the lease protocol on one node: voter, holder and claimant in one.
type Node struct {
	self   uint8
	inc    uint64
	config quorum.Config
	lost   quorum.Set
	skewed quorum.Set

	voter    voter
	holder   holder
	claimant claimant
	keeper   keeper

	out, sent    []Envelope // the outbox and the one handed out last
	notes, noted []Note
}

// New returns the protocol's state for a node that knows nothing. It votes
// only after [Node.Configure] and [Node.Admit].
func New(self uint8, incarnation uint64) *Node {
	n := &Node{self: self, inc: incarnation}
	n.voter.init()
	n.holder.init()
	return n
}

// Configure takes a newer set of voters; an older or equal version changes
// nothing.
func (n *Node) Configure(c quorum.Config) {
	if c.Version > n.config.Version {
		n.config = c
	}
}

// Config returns the set of voters in use.
func (n *Node) Config() quorum.Config { return n.config }

// Admit opens the node's vote and its claims. A node that starts without
// memory calls it first with the ceiling that was in force before it started
// as floor and the longest TTL in use. It votes when longest has passed
// (silent-restart).
//
// Later calls only raise floor and ceiling. With a new set of voters the floor
// is the ceiling that was in force before it: of the voters there are now, none
// need have heard of the numbers that were used before (one-number). Call
// [Node.Configure] first.
func (n *Node) Admit(now Boot, floor, ceiling uint64, longest time.Duration) {
	n.claimant.admitted = true
	known := n.claimant.ceiling
	n.raise(now, floor, ceiling)
	n.voter.admit(now, longest)
	if ceiling > known {
		// Before this node uses a number that the voters have none above: it may die
		// at once, and they be out of the store's reach.
		n.tellCeiling()
	}
}

// raise takes a higher floor and ceiling of ballot numbers.
func (n *Node) raise(now Boot, floor, ceiling uint64) {
	if planted(noFloor) {
		floor = 0
	}
	n.voter.floor = max(n.voter.floor, floor)
	n.claimant.raise(n, now, floor, ceiling)
}

// Forget tells which nodes belong to the cell no more: the next one in a slot is
// another, whose incarnation may be a lower one. What a node held runs out.
func (n *Node) Forget(gone quorum.Set) {
	for ; gone != 0; gone &= gone - 1 {
		n.voter.forget(gone.First())
	}
}

// SetLost tells which nodes a majority holds for lost. Only soft leases use it.
func (n *Node) SetLost(lost quorum.Set) { n.lost = lost }

// SetSkewed tells whose clocks run at a rate that the drift bound does not
// cover. Their votes do not count; a node that is among them itself neither
// votes nor claims, and lets go of what it holds by not renewing it
// (known-rates).
func (n *Node) SetSkewed(skewed quorum.Set) { n.skewed = skewed }

// Seek replaces the list of services that this node may hold.
func (n *Node) Seek(now Boot, seeks []Seek) {
	n.claimant.seek(n, now, seeks)
}

// Release gives back the lease of service id if this node holds it under that
// number; else it does nothing. The instance must have stopped.
func (n *Node) Release(now Boot, id ID, number uint64) {
	n.holder.release(n, now, id, number)
}

// Tick lets time pass: leases lapse, claims are repeated, waiting claims are
// answered. Call it at [Node.Next] or earlier.
func (n *Node) Tick(now Boot) {
	n.holder.expire(n, now)
	n.voter.serveQueues(n, now)
	n.keeper.tick(n, now)
	n.claimant.tick(n, now)
}

// Beat appends to the outbox what goes out with every heartbeat: the request
// to renew, to all voters, and parts of the set where a voter lacks them.
func (n *Node) Beat(now Boot) {
	n.holder.beat(n, now, true)
}

// BeatAlone is Beat without the request to renew: what was given back is told, and
// what has lapsed ends.
func (n *Node) BeatAlone(now Boot) {
	n.holder.beat(n, now, false)
}

// Receive takes a message from another node's incarnation, or from this node.
func (n *Node) Receive(now Boot, from uint8, inc uint64, m *Message) {
	if from > 31 {
		return
	}
	switch m.Kind {
	case KindConfig:
		if m.Version < n.config.Version {
			n.sendConfig(from)
			return
		}
		if m.Version == n.config.Version && m.Highest < n.claimant.ceiling {
			n.sendCeiling(from)
		}
		n.Configure(quorum.Config{Version: m.Version, Voters: m.Voters, Prior: m.Prior})
		n.raise(now, m.Number, m.Highest)
	case KindBeat, KindSet, KindPrepare, KindPropose, KindRelease:
		// newest-config: an older set of voters may have no voter in common
		// with the one that others count by.
		if m.Version < n.config.Version && !planted(noNewestConfig) {
			n.sendConfig(from)
			return
		}
		if m.Version > n.config.Version {
			// Its answer is the newer one: this node may have a vote in it and not
			// know.
			n.sendConfig(from)
		}
		n.voter.receive(n, now, peer{from, inc}, m)
	case KindAck, KindPromise, KindAccept, KindNack:
		// known-rates: a promise by a clock of another rate ends at any time.
		if m.Inc != n.inc || !n.config.All().Has(from) || n.skewed.Has(from) {
			return
		}
		if m.Kind == KindAck {
			n.holder.acked(n, now, from, m)
			return
		}
		n.claimant.answered(n, now, from, m)
	}
}

// sendConfig tells another node the set of voters in use here.
func (n *Node) sendConfig(to uint8) {
	n.send(to, Message{
		Kind: KindConfig, Voters: n.config.Voters, Prior: n.config.Prior, Number: n.voter.floor, Highest: n.claimant.ceiling,
	})
}

// sendCeiling tells another node the ceiling of ballot numbers that this one knows.
// It was in the store before, so anybody may use it. A node that cannot reach the
// store would else run out of numbers once others use higher ones.
func (n *Node) sendCeiling(to uint8) {
	if planted(noCeilingTold) {
		return
	}
	n.send(to, Message{Kind: KindConfig, Voters: n.config.Voters, Prior: n.config.Prior, Highest: n.claimant.ceiling})
}

// tellCeiling tells the other voters the ceiling that this node has read in the store.
func (n *Node) tellCeiling() {
	for slot := uint8(0); slot < 32; slot++ {
		if slot != n.self && n.config.All().Has(slot) {
			n.sendCeiling(slot)
		}
	}
}

// Holds appends the leases held at now to buf, and those that have lapsed and
// are kept, sorted by service.
func (n *Node) Holds(now Boot, buf []Hold) []Hold {
	from := len(buf)
	for i := range n.holder.entries {
		e := &n.holder.entries[i]
		if now < e.until || e.keep {
			buf = append(buf, Hold{ID: e.ID, Number: e.Number, Until: e.until, Keep: e.keep})
		}
	}
	if len(n.keeper.entries) == 0 {
		return buf
	}
	for i := range n.keeper.entries {
		e := &n.keeper.entries[i]
		buf = append(buf, Hold{ID: e.ID, Number: e.Number, Until: e.until, Keep: true})
	}
	slices.SortFunc(buf[from:], func(a, b Hold) int { return cmp.Compare(a.ID, b.ID) })
	return buf
}

// HolderOf returns the slot whose unexpired lease for id this voter knows, or
// NoSlot.
func (n *Node) HolderOf(now Boot, id ID) uint8 { return n.voter.holderOf(now, id) }

// EachKnown calls f for every lease that this voter knows to be unexpired, in
// the order of services.
func (n *Node) EachKnown(now Boot, f func(id ID, holder uint8)) {
	for i := range n.voter.records {
		r := &n.voter.records[i]
		if r.by.slot != NoSlot && now < n.voter.expiry(r) {
			f(r.id, r.by.slot)
		}
	}
}

// Highest is the highest ballot number that this node has seen.
func (n *Node) Highest() uint64 { return n.claimant.highestSeen }

// Voting reports whether this node votes at now.
func (n *Node) Voting(now Boot) bool {
	return n.voter.admitted && now >= n.voter.silentUntil && n.config.All().Has(n.self) && !n.skewed.Has(n.self)
}

// Next returns the moment at which Tick must be called at the latest, or a
// negative value if there is none.
func (n *Node) Next() Boot {
	next := Boot(-1)
	sooner := func(t Boot) {
		if t >= 0 && (next < 0 || t < next) {
			next = t
		}
	}
	for i := range n.holder.entries {
		sooner(n.holder.entries[i].until)
	}
	sooner(n.voter.nextQueue(n))
	sooner(n.claimant.next(n))
	sooner(n.keeper.next())
	return next
}

// Outbox returns the messages to send since the last call. Messages to this
// node itself are among them: deliver them at once. The slice is valid until
// the next call of Outbox.
func (n *Node) Outbox() []Envelope {
	n.out, n.sent = n.sent[:0], n.out
	return n.sent
}

// Notes returns what happened since the last call, like Outbox.
func (n *Node) Notes() []Note {
	n.notes, n.noted = n.noted[:0], n.notes
	return n.noted
}

// reached reports whether yes holds a majority of every set of voters that
// counts.
func (n *Node) reached(yes quorum.Set) bool {
	if planted(noJointMajority) {
		return quorum.Config{Voters: n.config.Voters}.Reached(yes)
	}
	return n.config.Reached(yes)
}

func (n *Node) send(to uint8, m Message) {
	m.Version = n.config.Version
	n.out = append(n.out, Envelope{To: to, Message: m})
}

func (n *Node) sendVoters(m Message) {
	for all, slot := n.config.All(), uint8(0); slot < 32; slot++ {
		if all.Has(slot) {
			n.send(slot, m)
		}
	}
}

func (n *Node) note(kind NoteKind, now Boot, id ID, number uint64) {
	n.notes = append(n.notes, Note{Kind: kind, At: now, ID: id, Number: number})
}

// peer is one incarnation of a node.
type peer struct {
	slot uint8
	inc  uint64
}

var nobody = peer{slot: NoSlot}
