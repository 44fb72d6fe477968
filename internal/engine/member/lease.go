package member

import (
	"math/bits"

	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/record"
)

// Adopted reports whether a majority of all voters that count use the lease
// configuration or a later one. reported holds, by slot, the version that each
// node's guard said it uses.
//
// A node that has once used a version uses no earlier one, so that an old
// report is as good as a new one.
func Adopted(lease record.Lease, reported map[uint8]uint64) bool {
	var users quorum.Set
	for slot, version := range reported {
		if version >= lease.Version {
			users |= quorum.Of(slot)
		}
	}
	return config(lease).Reached(users)
}

func config(l record.Lease) quorum.Config {
	return quorum.Config{Version: l.Version, Voters: quorum.Set(l.Voters), Prior: quorum.Set(l.Prior)}
}

// NextLease returns the next lease configuration on the way to wanted, a bit
// set of slots, and whether there is one.
//
// settled says that the current one was adopted (see [Adopted]) at least
// current.LongestTTL ago, so that every promise under an earlier one is over.
// Without it nothing changes. A step adds or removes one voter, and takes two
// versions: one in which old and new voters both count, and one in which only
// the new do. Added voters come before removed ones, the lowest slot first. An
// empty wanted set means that there is nothing to wish for.
//
// lost are the slots of nodes that are lost or no members. They go first and
// come last, and no step is made after which the others are no majority: nobody
// could make the next one.
func NextLease(current record.Lease, wanted, lost uint32, settled bool) (record.Lease, bool) {
	if !settled {
		return current, false
	}
	next := current
	next.Version++
	// one-number: the next voters may be none of those who know what was won.
	next.Floor, next.Ceiling = current.Ceiling, current.Ceiling+ceilingStep
	if current.Prior != 0 {
		next.Prior = 0
		return next, true
	}
	if wanted == 0 {
		return current, false
	}
	next.Prior = current.Voters
	missing, surplus := wanted&^current.Voters, current.Voters&^wanted
	for _, set := range [...]uint32{missing &^ lost, surplus & lost, surplus &^ lost, missing & lost} {
		for ; set != 0; set &^= lowest(set) {
			if next.Voters = current.Voters ^ lowest(set); config(next).Reached(^quorum.Set(lost)) {
				return next, true
			}
		}
	}
	return current, false
}

// ceilingStep is the room for ballot numbers that each version begins with.
const ceilingStep = 1000

func lowest(set uint32) uint32 { return 1 << bits.TrailingZeros32(set) }
