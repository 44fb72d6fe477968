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

	// StallLimit is how long a node may be silent whose kernel answers: it is
	// late, not dead.
	StallLimit = 600 * time.Millisecond

	// AnswerLife is how long the answer of a kernel counts.
	AnswerLife = 150 * time.Millisecond

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
	Skewed  quorum.Set    // nodes whose clocks run at another rate than the sender's
	Late    time.Duration // the sender's own worst lateness in the last 10 min, up to Cap
	Abstain bool          // the sender does not trust its own suspicions now, or is cut off itself
	Idle    bool          // the sender cannot start anything: others need not wait for it
}

// Detector is one node's view of the others.
type Detector struct {
	self     uint8
	members  quorum.Set
	voters   quorum.Config
	interval time.Duration

	peers [32]peer
	seq   uint64

	begun    Boot          // the first tick; 0: not ticked yet
	due      Boot          // when the next tick should come; 0: not ticked yet
	late     recent        // lateness up to Cap, which timeouts can cover
	stall    recent        // all lateness
	grace    time.Duration // added to all deadlines after a late tick
	graceEnd Boot
	abstain  Boot // votes do not count until then

	silent  quorum.Set // not heard in time
	suspect quorum.Set // silent, or cut off by the matrix
	lost    quorum.Set
	outside bool       // not in touch, in both directions, with a majority that is
	skewed  quorum.Set // nodes whose clocks a majority finds off
	idle    bool
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

	beat     Beat
	beatAt   Boot
	answered Boot // when its kernel last answered a probe
	cut      Boot // since when the matrix cuts it off; 0: it does not
	rate     rate
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
	d.silent &= members
	d.suspect &= members
	d.lost &= members
}

// Heard takes a heartbeat of another node's incarnation.
func (d *Detector) Heard(now Boot, from uint8, inc uint64, b Beat) {
	if from > 31 || !d.peers[from].known {
		return
	}
	p := &d.peers[from]
	// What no timeout can cover was an outage, often of this node itself. It says
	// nothing of the gaps and the loss of a network that works.
	outage := now-p.last > Cap
	if inc != p.inc {
		if inc < p.inc {
			return
		}
		p.inc, p.since, p.seq = inc, now, b.Seq-1
		p.gaps.turn(now)
		p.rate = rate{}
	} else if p.heard && !d.lost.Has(from) && !outage {
		p.gaps.add(now, now-p.last)
	}
	if b.Seq > p.seq {
		missed := min(b.Seq-p.seq-1, 64)
		if outage {
			missed = 0
		}
		for range missed {
			p.got -= p.got / 64
		}
		p.got += (1 - p.got) / 64
		p.seq = b.Seq
		p.beat, p.beatAt = b, now
		p.rate.add(now, b.Sent)
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

// Answered takes positive evidence: the kernel of the node in slot lives. It
// says nothing of the guard there.
func (d *Detector) Answered(now Boot, slot uint8) {
	if slot < 32 && d.peers[slot].known {
		d.peers[slot].answered = now
	}
}

// Probe is the set of nodes of which it would help to know whether their kernel
// answers: those that have been silent for half of their timeout.
func (d *Detector) Probe(now Boot) quorum.Set {
	var ask quorum.Set
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		if p := &d.peers[slot]; p.known && p.heard && !d.lost.Has(slot) && now-p.last > d.timeout(p)/2 {
			ask |= 1 << slot
		}
	}
	return ask
}

// Tick judges anew. It is called once an interval; what lies between two calls
// beyond that is this node's own lateness. Drain the sockets first.
func (d *Detector) Tick(now Boot) {
	d.measure(now)
	d.silent = 0
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		if p := &d.peers[slot]; p.known && (p.refused || d.missing(now, p)) {
			d.silent |= 1 << slot
		}
	}
	d.suspect = d.silent | d.cutOff(now)
	d.count(now)
}

// missing reports whether p has been silent for too long.
func (d *Detector) missing(now Boot, p *peer) bool {
	silent := now - p.last - d.slack(now)
	if silent <= d.timeout(p) {
		return false
	}
	late := p.answered > 0 && now-p.answered <= AnswerLife && !planted(answersIgnored)
	if late && planted(answersForEver) {
		return false
	}
	return !late || silent > max(StallLimit, d.timeout(p))
}

// Quiet is the set of nodes that refuse, are suspect, or have not been heard for
// the shortest timeout there is or three intervals. It is too hasty for a verdict; it is enough to
// claim a lease that cannot be had before its holder has lost it.
func (d *Detector) Quiet(now Boot) quorum.Set {
	quiet := d.suspect
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		if p := &d.peers[slot]; p.known && p.heard && now-p.last > max(Floor, 3*d.interval)+d.slack(now) {
			quiet |= 1 << slot
		}
	}
	return quiet
}

// measure notes how late this tick came.
func (d *Detector) measure(now Boot) {
	if d.due > 0 && now > d.due {
		late := now - d.due
		d.stall.add(now, late)
		if late <= Cap {
			d.late.add(now, late)
		}
		if late > LateTolerance {
			// No pause, however long, makes deadlines longer than twice Cap.
			grace := min(late, Cap)
			d.grace, d.graceEnd = max(grace, d.slack(now)), now+grace+2*d.interval
		}
		if late > Floor && !planted(noAbstaining) {
			d.abstain = now + Floor
		}
	}
	if d.begun == 0 {
		d.begun = now
	}
	d.due = now + d.interval
}

// slack is what is added to the deadlines because of own lateness.
func (d *Detector) slack(now Boot) time.Duration {
	if now < d.graceEnd && !planted(noSlack) {
		return d.grace
	}
	return 0
}

// timeout is how long p may be silent. It follows the longest gap up to Cap that
// turned out harmless, the target's own lateness, and the loss.
func (d *Detector) timeout(p *peer) time.Duration {
	if !p.heard {
		return Cap
	}
	t := Floor
	if !planted(latenessNotLearned) {
		t = Patience(p.beat.Late)
	}
	if !planted(gapsNotLearned) {
		t = max(t, p.gaps.max()*gapMargin/2)
	}
	t = max(t, time.Duration(misses(1-p.got))*d.interval+d.interval/2)
	if planted(fixedTimeout) {
		return 90 * time.Millisecond
	}
	if planted(nothingLearned) {
		return Floor
	}
	return min(t, Cap)
}

// Patience is how long a node may be silent that itself is late by up to late.
// Long gaps and loss on the way make it longer, up to [Cap].
func Patience(late time.Duration) time.Duration {
	return min(max(Floor, late*gapMargin/2), Cap)
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
	d.countSkew(now, d.self)
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		if !d.peers[slot].known {
			continue
		}
		var votes quorum.Set
		if d.suspect.Has(slot) && !d.abstains(now) {
			votes |= 1 << d.self
		}
		for rest := d.others(); rest != 0; rest &= rest - 1 {
			o := rest.First()
			p := &d.peers[o]
			if o != slot && p.known && p.heard && now-p.beatAt <= VoteLife && !p.beat.Abstain && p.beat.Suspect.Has(slot) {
				votes |= 1 << o
			}
		}
		d.countSkew(now, slot)
		switch {
		case !d.suspect.Has(slot) && planted(lostForEver):
		case !d.suspect.Has(slot):
			// What this node hears is not lost, whatever the others say.
			d.lost &^= 1 << slot
		case d.voters.Reached(votes) || planted(oneObserver) && votes != 0:
			d.lost |= 1 << slot
		}
	}
}

// abstains reports whether this node's suspicions are no votes: it was late, or it
// misses others because it is itself cut off.
func (d *Detector) abstains(now Boot) bool {
	return now < d.abstain || d.outside
}

// Beat returns what this node's next heartbeat says.
func (d *Detector) Beat(now Boot) Beat {
	d.seq++
	return Beat{
		Seq: d.seq, Sent: now, Heard: d.hears(), Suspect: d.suspect, Skewed: d.odd(),
		Late: d.late.max(), Abstain: d.abstains(now), Idle: d.idle,
	}
}

// Alive is the set of nodes, this one included, that are heard and not suspect.
func (d *Detector) Alive() quorum.Set { return d.hears() &^ d.suspect }

// hears is the set of nodes, this one included, whose heartbeats come.
func (d *Detector) hears() quorum.Set {
	heard := quorum.Set(1) << d.self
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		if p := &d.peers[slot]; p.known && p.heard && !d.silent.Has(slot) {
			heard |= 1 << slot
		}
	}
	return heard
}

// others is the set of all members but this node.
func (d *Detector) others() quorum.Set { return d.members &^ (1 << d.self) }

// SetIdle says whether this node can start anything.
func (d *Detector) SetIdle(idle bool) { d.idle = idle }

// Idle is the set of other nodes that say that they cannot start anything.
func (d *Detector) Idle() quorum.Set {
	var idle quorum.Set
	for slot := range d.peers {
		if p := &d.peers[slot]; p.known && p.beat.Idle {
			idle |= 1 << slot
		}
	}
	return idle
}

// Suspect is the set of nodes that this node misses.
func (d *Detector) Suspect() quorum.Set { return d.suspect }

// Lost is the set of nodes that a majority of the voters misses.
func (d *Detector) Lost() quorum.Set { return d.lost }

// Quorate reports two-way contact with a majority of the voters: this node
// hears them and they say that they hear it.
func (d *Detector) Quorate(now Boot) bool {
	yes := quorum.Set(1) << d.self
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		slot := rest.First()
		p := &d.peers[slot]
		if p.known && p.heard && !d.silent.Has(slot) && now-p.beatAt <= Cap && p.beat.Heard.Has(d.self) {
			yes |= 1 << slot
		}
	}
	return d.voters.Reached(yes)
}

// Late is this node's own worst lateness in the last ten minutes, as far as
// waiting can cover it: up to [Cap].
func (d *Detector) Late() time.Duration { return d.late.max() }

// Measured is for how long own lateness has been measured.
func (d *Detector) Measured(now Boot) time.Duration {
	if d.begun == 0 {
		return 0
	}
	return now - d.begun
}

// Stall is this node's own worst lateness in the last ten minutes.
func (d *Detector) Stall() time.Duration { return d.stall.max() }

// Skewed is the set of nodes, perhaps with this one, whose clocks a majority of
// the voters finds to run at another rate than their own.
func (d *Detector) Skewed() quorum.Set { return d.skewed }

// Waits is how long this node waits at present for that of the nodes that are not
// lost which it waits for longest: what it learned of lateness, gaps and loss.
func (d *Detector) Waits() time.Duration {
	longest := time.Duration(0)
	for rest := d.others() &^ d.lost; rest != 0; rest &= rest - 1 {
		if p := &d.peers[rest.First()]; p.known && p.heard {
			longest = max(longest, d.timeout(p))
		}
	}
	return longest
}

// Timeout is how long the node in slot may be silent at present.
func (d *Detector) Timeout(slot uint8) time.Duration {
	if slot > 31 || !d.peers[slot].known {
		return 0
	}
	return d.timeout(&d.peers[slot])
}
