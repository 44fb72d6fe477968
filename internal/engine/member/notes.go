package member

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/spec"
)

// notes returns what the operator should know about the votes, given who votes
// and who shall.
func notes(nodes []Candidate, current, wanted []spec.NodeName) []string {
	var staying, expired []string
	for _, n := range nodes {
		if n.Leaving {
			continue
		}
		staying = append(staying, string(n.Name))
		if n.Expired && slices.Contains(wanted, n.Name) {
			expired = append(expired, string(n.Name))
		}
	}
	var notes []string
	if len(staying) == 2 && len(wanted) == 1 {
		notes = append(notes, fmt.Sprintf(
			"The cell has two nodes, so only %s votes: if it fails, nothing fails over. Add a third vote with any small machine: `keelson join --witness ADDRESS --token TOKEN`",
			wanted[0]))
	}
	if want := VoterCount(len(staying)); len(wanted) < want {
		notes = append(notes, fmt.Sprintf(
			"The cell has %d of %d votes: not enough nodes are alive to take one. Bring lost nodes back or join new ones.",
			len(wanted), want))
	}
	if len(expired) > 0 {
		notes = append(notes, fmt.Sprintf(
			"No other node can take the vote of %s, which is lost. Bring it back or join a new node.",
			strings.Join(expired, ", ")))
	}
	if len(current) > 0 && len(current)%2 == 0 {
		notes = append(notes, fmt.Sprintf(
			"The votes are changing: %d nodes vote now, %d shall.", len(current), len(wanted)))
	}
	return append(notes, crowded(nodes, wanted)...)
}
