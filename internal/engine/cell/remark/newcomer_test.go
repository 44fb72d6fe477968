package remark_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func TestAWitnessThatGetsNoVoteIsOfNoUse(t *testing.T) {
	for _, c := range []struct {
		name   string
		voters uint32
		others int // nodes beside the witness
		want   bool
	}{
		{"the witness of two nodes votes", 0b1, 2, false},
		{"the votes are not given out yet", 0b1, 3, false},
		{"three others vote", 0b111, 3, true},
		{"it is the fifth node", 0b111, 4, false},
		{"it votes itself", 0b10011, 4, false},
		{"five others vote", 0b1101111, 6, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes := map[spec.NodeName]record.Node{"w": {Name: "w", Slot: 4, Witness: true}}
			seen := status.Cell{Nodes: []status.Node{{Name: "w", Liveness: fact.Alive, Witness: true, Voter: c.voters>>4&1 == 1}}}
			for i := range c.others {
				n := record.Node{Name: spec.NodeName(rune('a' + i)), Slot: uint8(i)}
				if i >= 4 {
					n.Slot++
				}
				nodes[n.Name] = n
				seen.Nodes = append(seen.Nodes, status.Node{Name: n.Name, Liveness: fact.Alive, Voter: c.voters>>n.Slot&1 == 1})
			}
			useless := func(text string) bool { return strings.HasPrefix(text, "witness w is of no use") }
			if got := slices.ContainsFunc(remark.Newcomer("w", nodes, record.Lease{Voters: c.voters}), useless); got != c.want {
				t.Errorf("a join says so: %v, want %v", got, c.want)
			}
			if got := slices.ContainsFunc(remark.Nodes(seen), useless); got != c.want {
				t.Errorf("a status says so: %v, want %v", got, c.want)
			}
		})
	}
}
