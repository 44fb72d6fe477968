package remark

import (
	"fmt"
	"math/bits"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// Newcomer says what the operator who let a node join should know; nodes are all
// nodes, itself included.
func Newcomer(name spec.NodeName, nodes map[spec.NodeName]record.Node, lease record.Lease) []string {
	var out []string
	workers := 0
	for _, m := range nodes {
		if !m.Witness {
			workers++
		}
	}
	if len(nodes) == 2 {
		out = append(out, "two nodes cannot outvote each other, and only one votes: it takes over from the other, but nothing takes over from it. "+
			"Add a third, or a witness that runs no services: `keelson join --witness ADDRESS --token TOKEN`")
	}
	if workers == 0 {
		out = append(out, "no node of this cell runs services yet")
	}
	own := nodes[name]
	if voters := bits.OnesCount32(lease.Voters &^ (1 << own.Slot)); own.Witness && spare(voters, len(nodes)) {
		out = append(out, useless(name, voters))
	}
	return out
}

// witnesses names the witnesses that have no vote and get none.
func witnesses(c status.Cell) []string {
	voters, staying := 0, 0
	for _, n := range c.Nodes {
		if n.Voter {
			voters++
		}
		if !n.Leaving {
			staying++
		}
	}
	var out []string
	for _, n := range c.Nodes {
		if n.Witness && !n.Voter && !n.Leaving && spare(voters, staying) {
			out = append(out, useless(n.Name, voters))
		}
	}
	return out
}

// spare reports whether so many voters are all that a cell of so many nodes has: 3,
// from 5 nodes on 5. Two nodes and their witness all vote.
func spare(voters, nodes int) bool { return voters >= 5 || voters >= 3 && nodes < 5 }

func useless(name spec.NodeName, voters int) string {
	return fmt.Sprintf("witness %s is of no use: it runs no services, and it gets no vote while the %d nodes that vote stay, since a vote more than that makes a cell no safer. "+
		"It only takes the place of a voter that is lost for good or leaves; to take it out, run `keelson leave` there", name, voters)
}
