package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// candidate is a node that may run a unit, and what speaks for and against it.
type candidate struct {
	node     spec.NodeName
	suspect  bool
	score    int
	made     []string // what the score is made of
	sticky   int      // the part of the score that is for staying
	named    bool     // place.prefer names the node and wants it
	sitting  int      // members that are there now
	wanted   bool     // an operator asked for it
	unwanted bool     // an operator asked to leave it
	crowd    int      // services that would have to leave it, or find no place
	load     int      // services that are there
	takeover int      // further ones that would come at the same death
}

func (c *candidate) add(score int, what string) {
	if score != 0 {
		c.score += score
		c.made = append(c.made, fmt.Sprintf("%s %d", what, score))
	}
}

// stay adds to the score that the unit is on the node.
func (c *candidate) stay(score int) {
	c.sticky += score
	c.add(score, "staying")
}

// successor returns the candidate as one who may follow: what counts is the
// node alone, not who is there now or what an operator asked for at the moment.
func (c candidate) successor() candidate {
	c.score -= c.sticky
	c.made = slices.DeleteFunc(slices.Clone(c.made), func(what string) bool { return strings.HasPrefix(what, "staying ") })
	c.sticky, c.sitting, c.crowd, c.wanted, c.unwanted = 0, 0, 0, false, false
	return c
}

// rate returns the node as a candidate, scored by the members' preferences.
func rate(u *unit, n fact.Node) candidate {
	c := candidate{node: n.Name, suspect: n.Liveness != fact.Alive}
	for _, s := range u.members {
		for _, pref := range s.Spec.Place.Prefer {
			key, value, isLabel := spec.SplitLabel(pref.Label)
			got, has := n.Labels[key]
			switch {
			case pref.Node == n.Name:
				c.add(pref.Score, "node "+string(n.Name))
				c.named = c.named || pref.Score > 0
			case isLabel && has && got == value:
				c.add(pref.Score, "label "+pref.Label)
			}
		}
	}
	return c
}

// sum says the score and what it is made of.
func (c candidate) sum() string {
	if len(c.made) == 0 {
		return fmt.Sprintf("score %d", c.score)
	}
	return fmt.Sprintf("score %d (%s)", c.score, strings.Join(c.made, ", "))
}

// better compares two candidates, the better one first, and says what made the
// difference in a few words that follow "a before b: ".
//
// The order is that of DESIGN.md, section 3: score, free capacity, fewest
// instances, preferred node, node name. Before the score come what an operator
// asked for and that a suspect node is no place to go to (but one to stay on:
// suspicion passes). After it comes staying, so that nothing moves for nothing.
// Until nodes have capacities, the freest is the one with the fewest services;
// fewest instances then counts those that would come with it at a death.
func better(a, b candidate) (int, string) {
	switch {
	case a.wanted != b.wanted:
		return first(a.wanted), fmt.Sprintf("an operator asked for %s", either(a.wanted, a, b).node)
	case a.refuge() != b.refuge():
		return first(a.refuge()), fmt.Sprintf("%s is suspect", either(b.refuge(), a, b).node)
	case a.unwanted != b.unwanted:
		return first(b.unwanted), fmt.Sprintf("an operator asked to leave %s", either(a.unwanted, a, b).node)
	case a.score != b.score:
		return cmp.Compare(b.score, a.score), fmt.Sprintf("%s against %s", a.sum(), b.sum())
	case a.sitting != b.sitting:
		return cmp.Compare(b.sitting, a.sitting), fmt.Sprintf("equal scores, and it is on %s now", either(a.sitting > b.sitting, a, b).node)
	case a.crowd != b.crowd:
		return cmp.Compare(a.crowd, b.crowd), fmt.Sprintf("equal scores, and on %s it would displace another", either(a.crowd > b.crowd, a, b).node)
	case a.load != b.load:
		return cmp.Compare(a.load, b.load), fmt.Sprintf("equal scores, with %d services against %d", a.load, b.load)
	case a.takeover != b.takeover:
		return cmp.Compare(a.takeover, b.takeover), fmt.Sprintf("equal scores and services, taking over %d against %d", a.takeover, b.takeover)
	case a.named != b.named:
		return first(a.named), fmt.Sprintf("all else is equal, and place.prefer names %s", either(a.named, a, b).node)
	}
	return cmp.Compare(a.node, b.node), "all else is equal, so the names decide"
}

// refuge reports whether the node is one to go to or to stay on.
func (c candidate) refuge() bool { return !c.suspect || c.sitting > 0 }

// first is the comparison's result where a comes first, or b.
func first(a bool) int {
	if a {
		return -1
	}
	return 1
}

func either(condition bool, a, b candidate) candidate {
	if condition {
		return a
	}
	return b
}
