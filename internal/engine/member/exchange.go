package member

import (
	"fmt"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/spec"
)

// exchangePatience is for how long a better spread of the votes must have been there
// for the taking, with all nodes well and nothing else changing, until one vote is
// exchanged. It begins anew with each exchange and with each controller.
const exchangePatience = 5 * time.Minute

// uneven is since when a node would serve better as a voter than one that is.
type uneven struct {
	in    spec.NodeName // empty: none would
	since time.Duration // CLOCK_BOOTTIME
}

// Exchange returns the voters after the one exchange that spreads them best over the
// domains, and who comes in; nobody if none spreads them better or a node is not
// well or leaves.
//
// Each exchange makes fewer voters share a domain, the widest first, so a row of them
// ends, and none is taken back while the labels stay. A witness keeps its vote.
func Exchange(nodes []Candidate, voters []spec.NodeName) (after []spec.NodeName, in spec.NodeName) {
	if slices.ContainsFunc(nodes, func(n Candidate) bool { return !n.Alive || n.Leaving || n.Expired }) {
		return voters, ""
	}
	var now, fresh []Candidate
	for _, n := range nodes {
		if slices.Contains(voters, n.Name) {
			now = append(now, n)
		} else {
			fresh = append(fresh, n)
		}
	}
	slices.SortFunc(fresh, byName)
	if len(now) != len(voters) || len(now) < 3 {
		return voters, ""
	}
	after, least := voters, crowding(now)
	for _, n := range fresh {
		names := ChooseVoters(nodes, append(slices.Clone(voters), n.Name))
		var chosen []Candidate
		witness := 0
		for _, c := range nodes {
			if slices.Contains(names, c.Name) {
				chosen = append(chosen, c)
			} else if c.Witness && slices.Contains(voters, c.Name) {
				witness++
			}
		}
		if crowd := crowding(chosen); len(chosen) == len(now) && witness == 0 && slices.Compare(crowd, least) < 0 {
			after, in, least = names, n.Name, crowd
		}
	}
	return after, in
}

// crowding counts for each domain how often two of the voters share it.
func crowding(voters []Candidate) []int {
	sum := make([]int, len(domains))
	for _, v := range voters {
		for i, n := range shared(v, voters) {
			sum[i] += n
		}
	}
	return sum
}

// crowded says that all votes are where one loss takes them all, while the cell has
// nodes elsewhere.
func crowded(nodes []Candidate, voters []spec.NodeName) []string {
	if len(voters) < 3 {
		return nil
	}
	for _, label := range domains {
		values := map[string]bool{}
		elsewhere := 0
		where := ""
		for _, n := range nodes {
			if slices.Contains(voters, n.Name) {
				where = n.Labels[label]
				values[where] = true
			}
		}
		for _, n := range nodes {
			if !n.Leaving && n.Labels[label] != where {
				elsewhere++
			}
		}
		if len(values) != 1 || where == "" || elsewhere == 0 {
			continue
		}
		text := fmt.Sprintf("All votes are in %s %s: if that is lost, all services of the cell stop.", label, where)
		if _, in := Exchange(nodes, voters); in != "" {
			return []string{fmt.Sprintf("%s %s gets a vote by itself once all nodes have been well for %v.", text, in, exchangePatience)}
		}
		return []string{text + " One vote moves elsewhere by itself when all nodes are well."}
	}
	return nil
}

// spread returns who shall vote where wanted do and nothing is under way: the same,
// or after one exchange that has been due for long enough.
func (m *Member) spread(candidates []Candidate, wanted []spec.NodeName) []spec.NodeName {
	after, in := Exchange(candidates, wanted)
	now := m.options.Clock.Boot()
	switch {
	case in == "":
		m.uneven = uneven{}
	case in != m.uneven.in:
		m.uneven = uneven{in, now}
	case now-m.uneven.since >= exchangePatience:
		m.uneven = uneven{}
		return after
	}
	return wanted
}
