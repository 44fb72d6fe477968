package member

import (
	"math/bits"
	"testing"

	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/record"
)

// TestEveryWayLeadsToTheWantedVotersOneNodeAtATime walks from every set of
// voters to every other of five slots.
func TestEveryWayLeadsToTheWantedVotersOneNodeAtATime(t *testing.T) {
	t.Parallel()
	for from := uint32(1); from < 32; from++ {
		for wanted := uint32(1); wanted < 32; wanted++ {
			now := record.Lease{Version: 1, Voters: from, Ceiling: 9, LongestTTL: 8}
			steps := 2 * bits.OnesCount32(from^wanted)
			for range steps {
				next, changed := NextLease(now, wanted, 0, true)
				switch {
				case !changed || next.Version != now.Version+1 || next.LongestTTL != 8:
					t.Fatalf("%v -> %v, %v", now, next, changed)
				case next.Floor != now.Ceiling || next.Ceiling <= next.Floor:
					t.Fatalf("%v -> %v: numbers that may have been won before can be won again", now, next)
				case now.Prior == 0 && (next.Prior != now.Voters || bits.OnesCount32(next.Voters^now.Voters) != 1):
					t.Fatalf("%v -> %v: not one node by joint configuration", now, next)
				case now.Prior != 0 && (next.Prior != 0 || next.Voters != now.Voters):
					t.Fatalf("%v -> %v: the joint configuration is not ended", now, next)
				case next.Voters == 0:
					t.Fatalf("%v -> %v: no voters", now, next)
				}
				now = next
			}
			if now.Voters != wanted || now.Prior != 0 {
				t.Fatalf("from %b to %b ended at %v", from, wanted, now)
			}
		}
	}
}

// TestNoStepLeavesTheLivingWithoutAMajority walks the same ways for every set of
// nodes that may be lost, as long as the ends can bear it.
func TestNoStepLeavesTheLivingWithoutAMajority(t *testing.T) {
	t.Parallel()
	bears := func(l record.Lease, lost uint32) bool { return config(l).Reached(^quorum.Set(lost)) }
	for from := uint32(1); from < 32; from++ {
		for wanted := uint32(1); wanted < 32; wanted++ {
			for lost := range uint32(32) {
				now := record.Lease{Version: 1, Voters: from, Ceiling: 9, LongestTTL: 8}
				if !bears(now, lost) || !bears(record.Lease{Voters: wanted}, lost) {
					continue
				}
				for range 2 * bits.OnesCount32(from^wanted) {
					next, changed := NextLease(now, wanted, lost, true)
					if !changed || !bears(next, lost) {
						t.Fatalf("from %b to %b, lost %b: %v -> %v, %v", from, wanted, lost, now, next, changed)
					}
					now = next
				}
				if now.Voters != wanted || now.Prior != 0 {
					t.Fatalf("from %b to %b, lost %b, ended at %v", from, wanted, lost, now)
				}
			}
		}
	}
}
