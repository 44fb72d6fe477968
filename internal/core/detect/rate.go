package detect

import (
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// Comparing the rates of two clocks.
const (
	// rateWindow is the time over which rates are compared. What delays a
	// heartbeat, and its waiting for the receiver's tick, is up to 40 ms or so;
	// over a window that is a fifth of what counts as too much.
	rateWindow = 20 * time.Second
	// rateBound is a difference that is never found, as a divisor: good clocks
	// differ by far less. rateNoise is how much delays may make of it. So all
	// differences from 1.25 % on are found on a path without noise, and from 1.5 %
	// on with as much as that; leases cover 2 % (lease.DriftBound), so that
	// nothing lies between what is covered and what is found.
	rateBound = 100
	rateNoise = 50 * time.Millisecond
	// rateProof is how many windows in a row it takes to change the verdict. To
	// find a clock off, they must agree on the direction: a path that is slow for
	// a while moves to and fro.
	rateProof = 2
)

// rate compares another node's clock with this node's. The least of what lies
// between sending and arrival, by the two clocks, moves by the difference of
// their rates: delays only add to it.
type rate struct {
	since    Boot          // when the window began; 0: not yet
	least    time.Duration // in this window
	leastAt  Boot          // when that was
	before   time.Duration // in the one before
	beforeAt Boot
	full     bool // there was one before
	odd      int8 // windows in a row that contradict the verdict; negative: by a slower clock
	off      bool // the verdict: the rates differ by too much
}

// add takes a heartbeat sent at a moment of the other clock.
func (r *rate) add(now, sent Boot) {
	apart := now - sent
	if r.since == 0 {
		r.since, r.least, r.leastAt = now, apart, now
		return
	}
	if apart <= r.least {
		r.least, r.leastAt = apart, now
	}
	if now-r.since < rateWindow {
		return
	}
	if r.full {
		r.judge()
	}
	r.before, r.beforeAt, r.full = r.least, r.leastAt, true
	r.since, r.least, r.leastAt = now, apart, now
}

// judge compares the window that ended with the one before.
func (r *rate) judge() {
	moved := r.least - r.before
	off := moved.Abs() > (r.leastAt-r.beforeAt)/rateBound+rateNoise
	if planted(hastyRates) {
		off = moved.Abs() > (r.leastAt-r.beforeAt)/(2*rateBound)
	}
	direction := int8(1)
	if off && moved < 0 {
		direction = -1
	}
	switch {
	case off == r.off:
		r.odd = 0
	case r.odd*direction < 0:
		r.odd = direction
	default:
		r.odd += direction
	}
	if r.odd >= rateProof || r.odd <= -rateProof {
		r.off, r.odd = off, 0
	}
}

// odd is the set of nodes whose clocks run at another rate than this node's.
func (d *Detector) odd() quorum.Set {
	var odd quorum.Set
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		if slot := rest.First(); d.peers[slot].rate.off {
			odd |= 1 << slot
		}
	}
	return odd
}

// countSkew decides whether a majority of the voters finds a node's clock off.
func (d *Detector) countSkew(now Boot, slot uint8) {
	var votes quorum.Set
	if d.peers[slot].rate.off {
		votes |= 1 << d.self
	}
	for rest := d.others(); rest != 0; rest &= rest - 1 {
		o := rest.First()
		p := &d.peers[o]
		if o != slot && p.known && p.heard && now-p.beatAt <= VoteLife && p.beat.Skewed.Has(slot) {
			votes |= 1 << o
		}
	}
	d.skewed &^= 1 << slot
	if d.voters.Reached(votes) {
		d.skewed |= 1 << slot
	}
}
