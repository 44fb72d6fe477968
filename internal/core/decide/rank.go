package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// candidate is a node that may run a unit, and what speaks for and against it.
type candidate struct {
	node     spec.NodeName
	index    int // of the node
	score    int
	made     []string // what the score is made of
	sticky   int      // the part of the score that is for staying
	others   int      // the part that is for where other services are now
	sitting  int      // members that are there now
	doubt    string   // why it is to come last; empty: it is not
	crowd    int      // services that would have to leave it, or find no place
	load     int      // services that are there
	free     []int    // room there, by kind of unit
	takeover int      // further ones that would come at the same death
	suspect  bool
	kept     bool // it stays there, since its move waits
	named    bool // place.prefer names the node and wants it
	wanted   bool // an operator asked for it
	unwanted bool // an operator asked to leave it
}

func (c *candidate) add(score int, what string) {
	if score != 0 {
		c.score += score
		c.made = append(c.made, what+" "+strconv.Itoa(score))
	}
}

// stay adds to the score that the unit is on the node, or will be once another has
// moved.
func (c *candidate) stay(score int, already bool) {
	c.sticky += score
	if already {
		c.add(score, "staying")
	} else {
		c.add(score, "staying there then")
	}
}

// successor returns the candidate as one who may follow: what counts is the
// node alone, not who is there now or what an operator asked for at the moment.
func (c candidate) successor() candidate {
	c.score -= c.sticky + c.others
	c.made = slices.DeleteFunc(slices.Clone(c.made), func(what string) bool {
		return strings.HasPrefix(what, "staying ") || strings.HasPrefix(what, "other services ")
	})
	c.others = 0
	c.sticky, c.sitting, c.crowd, c.kept, c.wanted, c.unwanted = 0, 0, 0, false, false, false
	return c
}

// rate scores the candidate by the members' preferences.
func (c *candidate) rate(u *unit, n *fact.Node, now time.Time) {
	for k := range u.members {
		for i := range u.members[k].Spec.Place.Prefer {
			pref := &u.members[k].Spec.Place.Prefer[i]
			key, value, isLabel := spec.SplitLabel(pref.Label)
			got, has := n.Labels[key]
			switch {
			case !pref.Holds(now) || pref.Role != "":
			case pref.Node == n.Name:
				c.add(pref.Score, "node "+string(n.Name))
				c.named = c.named || pref.Score > 0
			case isLabel && has && got == value:
				c.add(pref.Score, "label "+pref.Label)
			}
		}
	}
	if n.Health > -spec.MaxScore {
		c.add(n.Health, "health") // else it may only stay, and that does not count
	}
}

// sum says the score and what it is made of.
func (c *candidate) sum() string {
	if len(c.made) == 0 {
		return fmt.Sprintf("score %d", c.score)
	}
	return fmt.Sprintf("score %d (%s)", c.score, strings.Join(c.made, ", "))
}

// criterion is one way in which two candidates can differ.
type criterion struct {
	compare func(a, b *candidate) int             // negative: a is better
	because func(better, worse *candidate) string // in a few words
}

// criteria are what counts, the weightiest first.
//
// The order is that of DESIGN.md, section 3: score, free capacity, fewest
// instances, preferred node, node name. Before the score come what an operator
// asked for and that a suspect node is no place to go to (but one to stay on:
// suspicion passes). After it comes staying, so that nothing moves for nothing.
// Fewest instances counts first those that are there, then those that would
// come with it at a death.
var criteria = [...]criterion{
	{
		func(a, b *candidate) int { return yes(a.kept, b.kept) },
		func(better, _ *candidate) string { return fmt.Sprintf("its move away from %s waits", better.node) },
	},
	{
		func(a, b *candidate) int { return yes(a.wanted, b.wanted) },
		func(better, _ *candidate) string { return fmt.Sprintf("an operator asked for %s", better.node) },
	},
	{
		func(a, b *candidate) int { return yes(a.refuge(), b.refuge()) },
		func(_, worse *candidate) string { return worse.unsafe() },
	},
	{
		func(a, b *candidate) int { return yes(b.unwanted, a.unwanted) },
		func(_, worse *candidate) string { return fmt.Sprintf("an operator asked to leave %s", worse.node) },
	},
	{
		func(a, b *candidate) int { return cmp.Compare(b.score, a.score) },
		func(better, worse *candidate) string { return better.sum() + " against " + worse.sum() },
	},
	{
		func(a, b *candidate) int { return cmp.Compare(b.sitting, a.sitting) },
		func(better, _ *candidate) string {
			return fmt.Sprintf("equal scores, and it is on %s now", better.node)
		},
	},
	{
		func(a, b *candidate) int { return cmp.Compare(a.crowd, b.crowd) },
		func(_, worse *candidate) string {
			return fmt.Sprintf("equal scores, and on %s it would displace another", worse.node)
		},
	},
	{
		func(a, b *candidate) int { return moreRoom(a.free, b.free) },
		func(better, worse *candidate) string {
			return fmt.Sprintf("equal scores, with more room on %s than on %s", better.node, worse.node)
		},
	},
	{
		func(a, b *candidate) int { return cmp.Compare(a.load, b.load) },
		func(better, worse *candidate) string {
			return fmt.Sprintf("equal scores, with %d services against %d", better.load, worse.load)
		},
	},
	{
		func(a, b *candidate) int { return cmp.Compare(a.takeover, b.takeover) },
		func(better, worse *candidate) string {
			return fmt.Sprintf("equal scores and services, taking over %d against %d", better.takeover, worse.takeover)
		},
	},
	{
		func(a, b *candidate) int { return yes(a.named, b.named) },
		func(better, _ *candidate) string {
			return fmt.Sprintf("all else is equal, and place.prefer names %s", better.node)
		},
	},
	{
		func(a, b *candidate) int { return cmp.Compare(a.node, b.node) },
		func(_, _ *candidate) string { return "all else is equal, so the names decide" },
	},
}

// moreRoom is negative if a has more of more kinds of unit than b.
func moreRoom(a, b []int) int {
	d := 0
	for k := range min(len(a), len(b)) {
		d += cmp.Compare(b[k], a[k])
	}
	return d
}

// rank puts the better candidate first.
func rank(a, b candidate) int { return compare(&a, &b) }

func compare(a, b *candidate) int {
	if a.score != b.score && a.kept == b.kept && a.wanted == b.wanted && a.unwanted == b.unwanted && a.refuge() == b.refuge() {
		return cmp.Compare(b.score, a.score) // all that counts more is equal
	}
	for _, c := range criteria {
		if n := c.compare(a, b); n != 0 {
			return n
		}
	}
	return 0
}

// reason says what puts one candidate before another.
func reason(better, worse *candidate) string {
	for _, c := range criteria {
		if c.compare(better, worse) != 0 {
			return c.because(better, worse)
		}
	}
	return ""
}

// refuge reports whether the node is one to go to or to stay on.
func (c *candidate) refuge() bool { return !c.suspect && c.doubt == "" || c.sitting > 0 }

// unsafe says why the node is none to go to.
func (c *candidate) unsafe() string {
	if c.suspect {
		return fmt.Sprintf("%s is suspect", c.node)
	}
	return c.doubt
}

// yes compares two statements: the true one is better.
func yes(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
