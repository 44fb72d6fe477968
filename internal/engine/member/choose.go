package member

import (
	"cmp"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// domains are the labels that name what nodes lose together, the widest first.
// A node without the label is in the domain of all others without it.
var domains = [...]string{"zone", "rack", "power"}

// Candidate is what the choice of voters looks at of one node.
type Candidate struct {
	Name    spec.NodeName
	Labels  map[string]string
	Witness bool // votes, runs no services
	Leaving bool // is giving up everything
	Alive   bool // a majority hears it
	// Expired: it has been lost for longer than the cell waits for a voter.
	Expired bool
}

// VoterCount returns how many of n nodes shall vote: 1, 3 or 5. Two would be
// worse than one: both would have to live.
func VoterCount(n int) int {
	switch {
	case n < 3:
		return 1
	case n < 5:
		return 3
	default:
		return 5
	}
}

// ChooseVoters returns who shall vote, sorted by name, given who votes now.
//
// A voter keeps its vote unless it leaves, is lost for too long, or there are
// more voters than wanted. New voters are taken from the nodes that are alive:
// witnesses first, then those that share the fewest domains with the others,
// then by name. A lost voter stays as long as there is nobody in its place. The
// number is always odd; it is 0 only if there is no node that could vote.
func ChooseVoters(nodes []Candidate, current []spec.NodeName) []spec.NodeName {
	var chosen, fresh, overdue []Candidate
	staying := 0
	for _, n := range nodes {
		if n.Leaving {
			continue
		}
		staying++
		switch votes := slices.Contains(current, n.Name); {
		case votes && n.Expired:
			overdue = append(overdue, n)
		case votes:
			chosen = append(chosen, n)
		case n.Alive:
			fresh = append(fresh, n)
		}
	}
	want := VoterCount(staying)
	kept := len(chosen)
	for len(chosen) < want && len(fresh) > 0 {
		chosen, fresh = move(chosen, fresh, best(chosen, fresh))
	}
	slices.SortFunc(overdue, byName)
	for len(chosen) < want && len(overdue) > 0 {
		chosen, overdue = move(chosen, overdue, 0)
	}
	for len(chosen) > want || len(chosen) > 0 && len(chosen)%2 == 0 {
		drop := len(chosen) - 1 // the newest, which has no vote yet
		if len(chosen) <= kept || len(chosen) > want {
			drop = worst(chosen)
		}
		chosen = slices.Delete(chosen, drop, drop+1)
	}
	var names []spec.NodeName
	for _, n := range chosen {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

func byName(a, b Candidate) int { return strings.Compare(string(a.Name), string(b.Name)) }

// move takes from[i] over to the end of to.
func move(to, from []Candidate, i int) ([]Candidate, []Candidate) {
	return append(to, from[i]), slices.Delete(slices.Clone(from), i, i+1)
}

// best returns the index of the candidate that would serve chosen most.
func best(chosen, from []Candidate) int {
	first := 0
	for i := range from {
		order := cmp.Or(
			compareBool(from[first].Witness, from[i].Witness),
			slices.Compare(shared(from[i], chosen), shared(from[first], chosen)),
			byName(from[i], from[first]),
		)
		if order < 0 {
			first = i
		}
	}
	return first
}

// worst returns the index of the voter that would be missed least.
func worst(chosen []Candidate) int {
	last := 0
	for i := range chosen {
		order := cmp.Or(
			compareBool(chosen[i].Alive, chosen[last].Alive),
			compareBool(chosen[i].Witness, chosen[last].Witness),
			slices.Compare(shared(chosen[last], chosen), shared(chosen[i], chosen)),
			byName(chosen[last], chosen[i]),
		)
		if order < 0 {
			last = i
		}
	}
	return last
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// shared returns for each domain how many of others are in that of n.
func shared(n Candidate, others []Candidate) []int {
	counts := make([]int, len(domains))
	for i, label := range domains {
		for _, o := range others {
			if o.Name != n.Name && o.Labels[label] == n.Labels[label] {
				counts[i]++
			}
		}
	}
	return counts
}
