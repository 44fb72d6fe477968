// Package truth says what the nodes of a cell have reason to think and to do,
// from what really happens to them.
//
// Its main rule: it shares no line with what it judges. Who is in touch with whom
// is found by trying every set of nodes, and a verdict or a change of holder is
// right if there was a cause for it, whatever the protocol made of it. It judges
// cells of up to [MaxNodes] nodes in which nothing else happens than what a [Cell]
// can say, and packets that are lost by chance.
package truth

import (
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// MaxNodes is how many nodes a cell may have that is judged.
const MaxNodes = 5

// Cell is how things stand.
type Cell struct {
	Members quorum.Set
	Config  quorum.Config
	Up      quorum.Set // their guards have begun
	Awake   quorum.Set // and act
	Excused quorum.Set // stand still, or are not heard, for no longer than the others are to bear
	Patient quorum.Set // of these, those whose leases are long enough for it
	Voting  quorum.Set // for leases; who begins without memory is silent at first
	// Parted is to whom nothing passes from a node.
	Parted [MaxNodes]quorum.Set
}

// whole is the largest set, of those in among, of which each has contact in both
// directions with a majority of the voters within the set, by those votes that
// are cast.
func (c *Cell) whole(among, votes quorum.Set) quorum.Set {
	var best quorum.Set
	for set := quorum.Set(1); set <= c.Members; set++ {
		if set&^among == 0 && set.Len() > best.Len() && c.holds(set, votes) {
			best = set
		}
	}
	return best
}

// holds reports whether each node of a set is in touch with a majority within it.
func (c *Cell) holds(set, votes quorum.Set) bool {
	for a := range uint8(MaxNodes) {
		if !set.Has(a) {
			continue
		}
		touch := quorum.Of(a)
		for b := range uint8(MaxNodes) {
			if b != a && set.Has(b) && !c.Parted[a].Has(b) && !c.Parted[b].Has(a) {
				touch |= 1 << b
			}
		}
		if !c.Config.Reached(touch & votes) {
			return false
		}
	}
	return true
}

// causes are nodes for which there is a reason, or was.
type causes struct {
	now  quorum.Set
	last [MaxNodes]time.Duration
}

func (c *causes) set(now time.Duration, next quorum.Set) {
	for slot := range uint8(MaxNodes) {
		if (c.now | next).Has(slot) {
			c.last[slot] = now
		}
	}
	c.now = next
}

func (c *causes) within(now time.Duration, slot uint8, life time.Duration) bool {
	return c.now.Has(slot) || c.last[slot] > 0 && now-c.last[slot] <= life
}

// Judge follows a cell. The zero Judge, with Longest set, has seen nothing.
type Judge struct {
	// Longest is the longest TTL in use.
	Longest time.Duration

	cell   Cell
	since  time.Duration // since when the cell is as it is
	core   quorum.Set
	absent causes // to be counted as lost
	lame   causes // to lose leases
	lost   [MaxNodes]quorum.Set
	owner  map[int]uint8 // who won a service last
}

// How long a cause counts after it is over.
const (
	// verdictLife: the longest timeout, what is added to it for own lateness, and a
	// word or two between the observers.
	verdictLife = 2500 * time.Millisecond
	claimLife   = 2 * time.Second
)

// See takes how things stand now.
func (j *Judge) See(now time.Duration, c Cell) {
	if c == j.cell {
		return
	}
	j.cell, j.since = c, now
	there, held := c.Awake|c.Excused, c.Awake&^c.Excused|c.Patient
	j.core = c.whole(c.Awake, c.Voting)
	j.absent.set(now, c.Members&^(c.whole(c.Up, ^quorum.Set(0))&there))
	j.lame.set(now, c.Members&^c.whole(held, c.Voting))
}

// Core is the set of nodes that is to go on, as it is since a moment.
func (j *Judge) Core() (quorum.Set, time.Duration) { return j.core, j.since }

// Whole reports whether nothing ails any node, for at least d.
func (j *Judge) Whole(now, d time.Duration) bool { return j.core == j.cell.Members && now-j.since >= d }

// Verdict takes whom an observer counts as lost. It returns what is wrong with
// that, or nothing.
func (j *Judge) Verdict(now time.Duration, observer uint8, lost quorum.Set) string {
	fresh := lost &^ j.lost[observer]
	j.lost[observer] = lost
	for ; fresh != 0; fresh &= fresh - 1 {
		if slot := fresh.First(); !j.absent.within(now, slot, verdictLife) {
			return fmt.Sprintf("node %d counts node %d as lost, which was there and in touch all the time", observer, slot)
		}
	}
	return ""
}

// Won takes that a node has won a service's lease. It returns what is wrong with
// that, or nothing.
func (j *Judge) Won(now time.Duration, service int, node uint8) string {
	before, known := j.owner[service]
	if j.owner == nil {
		j.owner = map[int]uint8{}
	}
	j.owner[service] = node
	if known && !j.lame.within(now, before, j.Longest+claimLife) {
		return fmt.Sprintf("node %d won what node %d held, which was there and in touch all the time", node, before)
	}
	return ""
}

// Ended takes that a node's lease has ended. It returns what is wrong with that,
// or nothing.
func (j *Judge) Ended(now time.Duration, node uint8) string {
	if !j.lame.within(now, node, j.Longest+claimLife) {
		return fmt.Sprintf("node %d lost a lease, though it was there and in touch all the time", node)
	}
	return ""
}

// Opinion compares whom a node of the core counts as lost, when all had the time
// to find out, with those that are. It returns what is wrong, or nothing.
func (j *Judge) Opinion(node uint8, lost quorum.Set) string {
	if want := j.cell.Members &^ j.core; j.core.Has(node) && lost != want {
		return fmt.Sprintf("node %d counts %b as lost, and it should be %b", node, lost, want)
	}
	return ""
}
