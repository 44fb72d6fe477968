// Package detect judges which nodes of a cell are alive, from their heartbeats.
//
// No node is declared lost by one observer: a majority of the cell's voters
// must miss it at the same time. Each observer waits for a timeout that it
// learns from the gaps it has really seen, and trusts its own judgement less
// when its own clock ticks came late (A. Dadgar, J. Phillips, J. Currey,
// "Lifeguard: Local Health Awareness for More Accurate Failure Detection",
// 2018).
//
// The package is pure. A [Detector] is driven by one caller and is not safe for
// concurrent use. It never acts; it only holds opinions.
package detect

import (
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// Boot is a moment on this node's CLOCK_BOOTTIME.
type Boot = time.Duration

// The detector's constants.
const (
	// Floor and Cap bound every timeout.
	Floor = 150 * time.Millisecond
	Cap   = time.Second

	// VoteLife is how long a suspicion heard from another observer counts.
	VoteLife = 250 * time.Millisecond

	// LateTolerance is how late an own tick may be until it counts as late.
	LateTolerance = 10 * time.Millisecond

	// window is the time that half of the gap memory covers.
	window = 5 * time.Minute

	// gapMargin is by how much the longest gap seen is exceeded, in halves.
	gapMargin = 3
)

// Beat is what a heartbeat says of its sender.
type Beat struct {
	Seq     uint64
	Sent    Boot          // the sender's clock
	Heard   quorum.Set    // nodes whose heartbeats reach the sender
	Suspect quorum.Set    // nodes that the sender misses
	Late    time.Duration // the sender's own worst lateness in the last 10 min
	Abstain bool          // the sender does not trust its own suspicions now
}

// Detector is one node's view of the others.
type Detector struct {
	self     uint8
	members  quorum.Set
	voters   quorum.Config
	interval time.Duration

	peers [32]peer
	seq   uint64

	due      Boot // when the next tick should come; 0: not ticked yet
	late     recent
	grace    time.Duration // added to all deadlines after a late tick
	graceEnd Boot
	abstain  Boot // votes do not count until then

	suspect quorum.Set
	lost    quorum.Set
}

// peer is what one node knows of another.
type peer struct {
	known   bool
	inc     uint64
	since   Boot // when it became a member, or its present incarnation was first heard
	last    Boot // when it was last heard
	heard   bool
	refused bool
	gaps    recent
	seq     uint64
	got     float64 // share of heartbeats that arrive, smoothed

	beat   Beat
	beatAt Boot
	deaf   Boot // since when it says that it hears no majority; 0: it does
}

// recent remembers the largest value of the last one to two windows.
type recent struct {
	now, before time.Duration
	turned      Boot
}

func (r *recent) add(at Boot, v time.Duration) {
	r.turn(at)
	r.now = max(r.now, v)
}

func (r *recent) turn(at Boot) {
	if at-r.turned >= window {
		r.before, r.now, r.turned = r.now, 0, at
	}
}

func (r *recent) max() time.Duration { return max(r.now, r.before) }

// New returns a detector for the node in slot self that has heard nobody.
func New(self uint8) *Detector { return &Detector{self: self, interval: 20 * time.Millisecond} }

// Configure sets who belongs to the cell, whose votes count, and how often
// heartbeats come. A member that is new has a full cap to be heard.
func (d *Detector) Configure(now Boot, members quorum.Set, voters quorum.Config, interval time.Duration) {
	for slot := range d.peers {
		p := &d.peers[slot]
		is := members.Has(uint8(slot)) && uint8(slot) != d.self
		if is && !p.known {
			*p = peer{known: true, since: now, last: now, got: 1}
		}
		if !is {
			*p = peer{}
		}
	}
	d.members, d.voters, d.interval = members, voters, interval
	d.suspect &= members
	d.lost &= members
}

// Heard takes a heartbeat of another node's incarnation.
func (d *Detector) Heard(now Boot, from uint8, inc uint64, b Beat) {
	if from > 31 || !d.peers[from].known {
		return
	}
	p := &d.peers[from]
	if inc != p.inc {
		if inc < p.inc {
			return
		}
		p.inc, p.since, p.seq = inc, now, b.Seq-1
		p.gaps.turn(now)
	} else if p.heard && !d.lost.Has(from) {
		p.gaps.add(now, now-p.last)
	}
	if b.Seq > p.seq {
		missed := min(b.Seq-p.seq-1, 64)
		for range missed {
			p.got -= p.got / 64
		}
		p.got += (1 - p.got) / 64
		p.seq = b.Seq
		p.beat, p.beatAt = b, now
		switch {
		case d.voters.Reached(b.Heard | 1<<from):
			p.deaf = 0
		case p.deaf == 0:
			p.deaf = now
		}
	}
	p.last, p.heard, p.refused = now, true, false
}

// Refused takes positive evidence: the kernel of the node in slot is alive and
// says that nobody listens. It counts until the next heartbeat.
func (d *Detector) Refused(slot uint8) {
	if slot < 32 && d.peers[slot].known && d.peers[slot].heard {
		d.peers[slot].refused = true
	}
}

// Tick judges anew. It is called once an interval; what lies between two calls
// beyond that is this node's own lateness. Drain the sockets first.
func (d *Detector) Tick(now Boot) {
	d.measure(now)
	quorate := d.Quorate(now)
	d.suspect = 0
	for slot := uint8(0); slot < 32; slot++ {
		p := &d.peers[slot]
		// One that is heard but hears no majority itself can hold nothing. Only a
		// node that has a majority may say so of another.
		deaf := quorate && p.deaf > 0 && now-p.deaf > Cap+d.slack(now)
		if p.known && (p.refused || deaf || now-p.last > d.timeout(p)+d.slack(now)) {
			d.suspect |= 1 << slot
		}
	}
	d.count(now)
}

// measure notes how late this tick came.
func (d *Detector) measure(now Boot) {
	if d.due > 0 && now > d.due {
		late := now - d.due
		d.late.add(now, late)
		if late > LateTolerance {
			d.grace, d.graceEnd = max(late, d.slack(now)), now+late+2*d.interval
		}
		if late > Floor {
			d.abstain = now + Floor
		}
	}
	d.due = now + d.interval
}

// slack is what is added to the deadlines because of own lateness.
func (d *Detector) slack(now Boot) time.Duration {
	if now < d.graceEnd {
		return d.grace
	}
	return 0
}

// timeout is how long p may be silent. It follows the longest gap that turned
// out harmless, the target's own lateness, and the loss.
func (d *Detector) timeout(p *peer) time.Duration {
	if !p.heard {
		return Cap
	}
	t := max(Floor, p.gaps.max()*gapMargin/2, p.beat.Late*gapMargin/2)
	t = max(t, time.Duration(misses(1-p.got))*d.interval+d.interval/2)
	return min(t, Cap)
}

// misses is how many heartbeats in a row may be lost by chance, at the given
// loss, with less than one false alarm in 1e9 windows, where two observers
// agree.
func misses(loss float64) int {
	p := min(1.15*loss+0.02, 0.9)
	k, all := 0, 1.0
	for all > 3.2e-5 && k < 64 { // the square root of 1e-9: two observers
		all *= p
		k++
	}
	return k
}

// count weighs the suspicions: a node is lost while a majority of the voters
// misses it.
func (d *Detector) count(now Boot) {
	for slot := uint8(0); slot < 32; slot++ {
		if !d.peers[slot].known {
			continue
		}
		var votes quorum.Set
		if d.suspect.Has(slot) && now >= d.abstain {
			votes |= 1 << d.self
		}
		for o := uint8(0); o < 32; o++ {
			p := &d.peers[o]
			if o != slot && p.known && p.heard && now-p.beatAt <= VoteLife && !p.beat.Abstain && p.beat.Suspect.Has(slot) {
				votes |= 1 << o
			}
		}
		switch {
		case !d.suspect.Has(slot):
			// What this node hears is not lost, whatever the others say.
			d.lost &^= 1 << slot
		case d.voters.Reached(votes):
			d.lost |= 1 << slot
		}
	}
}

// Beat returns what this node's next heartbeat says.
func (d *Detector) Beat(now Boot) Beat {
	d.seq++
	return Beat{
		Seq: d.seq, Sent: now, Heard: d.Alive(), Suspect: d.suspect,
		Late: d.Late(), Abstain: now < d.abstain,
	}
}

// Alive is the set of nodes, this one included, that are heard and not missed.
func (d *Detector) Alive() quorum.Set {
	heard := quorum.Set(1) << d.self
	for slot := uint8(0); slot < 32; slot++ {
		if p := &d.peers[slot]; p.known && p.heard && !d.suspect.Has(slot) {
			heard |= 1 << slot
		}
	}
	return heard
}

// Suspect is the set of nodes that this node misses.
func (d *Detector) Suspect() quorum.Set { return d.suspect }

// Lost is the set of nodes that a majority of the voters misses.
func (d *Detector) Lost() quorum.Set { return d.lost }

// Quorate reports two-way contact with a majority of the voters: this node
// hears them and they say that they hear it.
func (d *Detector) Quorate(now Boot) bool {
	yes := quorum.Set(1) << d.self
	for slot := uint8(0); slot < 32; slot++ {
		p := &d.peers[slot]
		if p.known && p.heard && !d.suspect.Has(slot) && now-p.beatAt <= Cap && p.beat.Heard.Has(d.self) {
			yes |= 1 << slot
		}
	}
	return d.voters.Reached(yes)
}

// Late is this node's own worst lateness in the last ten minutes.
func (d *Detector) Late() time.Duration { return d.late.max() }

// Timeout is how long the node in slot may be silent at present.
func (d *Detector) Timeout(slot uint8) time.Duration {
	if slot > 31 || !d.peers[slot].known {
		return 0
	}
	return d.timeout(&d.peers[slot])
}
