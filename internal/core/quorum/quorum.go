// Package quorum counts votes over a set of at most 32 nodes.
//
// Its one rule: any two sets that Reached accepts, of the same configuration or
// of two neighbouring ones, have a member in common.
package quorum

import "math/bits"

// Set is a set of slots, bit n standing for slot n.
type Set uint32

// Of returns the set of the given slots, each below 32.
func Of(slots ...uint8) Set {
	var s Set
	for _, n := range slots {
		s |= 1 << n
	}
	return s
}

// Has reports whether slot is in the set.
func (s Set) Has(slot uint8) bool { return slot < 32 && s&(1<<slot) != 0 }

// First is the lowest slot of a set that is not empty. Together with s &= s - 1,
// which takes it out, it visits all members.
func (s Set) First() uint8 { return uint8(bits.TrailingZeros32(uint32(s))) }

// Len is the number of members.
func (s Set) Len() int { return bits.OnesCount32(uint32(s)) }

// Config is a set of voters. While the voters change, Prior holds those from
// before the change, and a majority of both is needed (joint consensus, as in
// D. Ongaro and J. Ousterhout, "In Search of an Understandable Consensus
// Algorithm", 2014, section 6).
type Config struct {
	Version uint64
	Voters  Set
	Prior   Set // 0: no change under way
}

// Reached reports whether yes holds a majority of every set that counts. An
// empty configuration is never reached.
func (c Config) Reached(yes Set) bool {
	if c.Voters == 0 || !majority(yes, c.Voters) {
		return false
	}
	return c.Prior == 0 || majority(yes, c.Prior)
}

// All is the set of nodes that may vote.
func (c Config) All() Set { return c.Voters | c.Prior }

func majority(yes, of Set) bool { return (yes & of).Len() > of.Len()/2 }
