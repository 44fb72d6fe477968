// Package rank compares the nodes that may run a unit.
//
// Its main rule is the order of the criteria: what an operator asked for and whether a
// node is safe come before the score, and among equals nothing moves. It weighs what
// it is given and refuses nothing: nodes that a rule forbids are no candidates. The
// package is pure.
package rank

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	why "github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
)

// Candidate is a node that may run a unit, and what speaks for and against it.
type Candidate struct {
	Node     spec.NodeName
	Index    int // of the node
	Score    int
	Made     []string // what the score is made of
	Sticky   int      // the part of the score that is for staying
	Others   int      // the part that is for where other services are now
	Sitting  int      // members that are there now
	Doubt    string   // why it is to come last; empty: it is not
	Crowd    int      // services that would have to leave it, or find no place
	Load     int      // services that are there
	Free     []int    // room there, by kind of unit
	Takeover int      // further ones that would come at the same death
	Suspect  bool
	Kept     bool // it stays there, since its move waits
	Named    bool // place.prefer names the node and wants it
	Wanted   bool // an operator asked for it
	Unwanted bool // an operator asked to leave it
}

// Add adds to the score, and notes what for.
func (c *Candidate) Add(score int, what string) {
	if score != 0 {
		c.Score += score
		c.Made = append(c.Made, what+" "+strconv.Itoa(score))
	}
}

// Stay adds to the score that the unit is on the node, or will be once another has
// moved.
func (c *Candidate) Stay(score int, already bool) {
	c.Sticky += score
	if already {
		c.Add(score, "staying")
	} else {
		c.Add(score, "staying there then")
	}
}

// Successor returns the candidate as one who may follow: what counts is the
// node alone, not who is there now or what an operator asked for at the moment.
func (c Candidate) Successor() Candidate {
	c.Score -= c.Sticky + c.Others
	c.Made = slices.DeleteFunc(slices.Clone(c.Made), func(what string) bool {
		return strings.HasPrefix(what, "staying ") || strings.HasPrefix(what, "other services ")
	})
	c.Others = 0
	c.Sticky, c.Sitting, c.Crowd, c.Kept, c.Wanted, c.Unwanted = 0, 0, 0, false, false, false
	return c
}

// Likings are the preferences of a service that concern it in any role and count
// now, read once for all nodes.
type Likings []liking

// liking is one preference.
type liking struct {
	node       spec.NodeName
	key, value string // of the label; empty: it is about the node
	score      int
	rule       string   // its node or label
	made       []string // what it adds to a score, in words
}

// LikingsOf reads what a service prefers at a time.
func LikingsOf(s *spec.Service, now time.Time) Likings {
	var out Likings
	for i := range s.Place.Prefer {
		pref := &s.Place.Prefer[i]
		if !pref.Holds(now) || pref.Role != "" {
			continue
		}
		one := liking{score: pref.Score}
		if key, value, isLabel := spec.SplitLabel(pref.Label); isLabel {
			one.key, one.value, one.rule = key, value, pref.Label
			one.made = []string{"label " + pref.Label + " " + strconv.Itoa(pref.Score)}
		} else {
			one.node, one.rule = pref.Node, string(pref.Node)
			one.made = []string{"node " + string(pref.Node) + " " + strconv.Itoa(pref.Score)}
		}
		out = append(out, one)
	}
	return out
}

// about reports whether the preference is about the node.
func (l *liking) about(n *fact.Node) bool {
	if l.key == "" {
		return l.node == n.Name
	}
	got, has := n.Labels[l.key]
	return has && got == l.value
}

// Shuns says why a service's preferences keep it from the node: one is -1000000,
// which nothing outweighs, or they add up to that. It is empty if neither is so.
// Those for a role concern the role alone.
func (l Likings) Shuns(n *fact.Node) string {
	sum, worst, rule := 0, 0, ""
	for i := range l {
		one := &l[i]
		if !one.about(n) {
			continue
		}
		sum += one.score
		if one.score < worst {
			worst, rule = one.score, one.rule
		}
	}
	if min(sum, worst) > -spec.MaxScore {
		return ""
	}
	return fmt.Sprintf("place.prefer forbids %s (score %d)", rule, min(sum, worst))
}

// Rate scores the candidate by a service's preferences.
func (c *Candidate) Rate(l Likings, n *fact.Node) {
	for i := range l {
		one := &l[i]
		if one.score == 0 || !one.about(n) {
			continue
		}
		c.Score += one.score
		c.Named = c.Named || one.key == "" && one.score > 0
		if c.Made == nil {
			c.Made = one.made // shared, and without room: whoever adds to it makes its own
		} else {
			c.Made = append(c.Made, one.made...)
		}
	}
}

// Ail adds the health of a node to the score.
func (c *Candidate) Ail(n *fact.Node) {
	if n.Health > -spec.MaxScore {
		c.Add(n.Health, "health") // else it may only stay, and that does not count
	}
}

// Sum says the score and what it is made of.
func (c *Candidate) Sum() string {
	sum := "score " + strconv.Itoa(c.Score)
	if len(c.Made) == 0 {
		return sum
	}
	return sum + " (" + strings.Join(c.Made, ", ") + ")"
}

// Tally writes a sum and what it is made of.
func Tally(sum int, scores []why.Score) string {
	if len(scores) == 0 {
		return strconv.Itoa(sum)
	}
	parts := make([]string, 0, len(scores))
	for _, s := range scores {
		parts = append(parts, fmt.Sprintf("%s %+d", s.Rule, s.Score))
	}
	return fmt.Sprintf("%d (%s)", sum, strings.Join(parts, ", "))
}

// Criterion is one way in which two candidates can differ.
type Criterion struct {
	By      why.By                                // its name; that of the score stands for what the score is made of
	Compare func(a, b *Candidate) int             // negative: a is better
	Because func(better, worse *Candidate) string // in a few words
}

// Criteria are what counts, the weightiest first.
//
// The order is that of docs/service.md: score, free capacity, fewest
// instances, preferred node, node name. Before the score come what an operator
// asked for and that a suspect node is no place to go to (but one to stay on:
// suspicion passes). After it comes staying, so that nothing moves for nothing.
// Fewest instances counts first those that are there, then those that would
// come with it at a death.
var Criteria = [...]Criterion{
	{
		why.ByHeld,
		func(a, b *Candidate) int { return Yes(a.Kept, b.Kept) },
		func(better, _ *Candidate) string { return fmt.Sprintf("its move away from %s waits", better.Node) },
	},
	{
		why.ByAsked,
		func(a, b *Candidate) int { return Yes(a.Wanted, b.Wanted) },
		func(better, _ *Candidate) string { return fmt.Sprintf("an operator asked for %s", better.Node) },
	},
	{
		why.BySuspicion,
		func(a, b *Candidate) int { return Yes(a.Refuge(), b.Refuge()) },
		func(_, worse *Candidate) string { return worse.Unsafe() },
	},
	{
		why.ByUnwanted,
		func(a, b *Candidate) int { return Yes(b.Unwanted, a.Unwanted) },
		func(_, worse *Candidate) string { return fmt.Sprintf("an operator asked to leave %s", worse.Node) },
	},
	{
		why.ByPreference,
		func(a, b *Candidate) int { return cmp.Compare(b.Score, a.Score) },
		func(better, worse *Candidate) string { return better.Sum() + " against " + worse.Sum() },
	},
	{
		why.ByPresence,
		func(a, b *Candidate) int { return cmp.Compare(b.Sitting, a.Sitting) },
		func(better, _ *Candidate) string {
			return fmt.Sprintf("equal scores, and it is on %s now", better.Node)
		},
	},
	{
		why.ByDisplacing,
		func(a, b *Candidate) int { return cmp.Compare(a.Crowd, b.Crowd) },
		func(_, worse *Candidate) string {
			return fmt.Sprintf("equal scores, and on %s it would displace another", worse.Node)
		},
	},
	{
		why.ByCapacity,
		func(a, b *Candidate) int { return moreRoom(a.Free, b.Free) },
		func(better, worse *Candidate) string {
			return fmt.Sprintf("equal scores, with more room on %s than on %s", better.Node, worse.Node)
		},
	},
	{
		why.ByLoad,
		func(a, b *Candidate) int { return cmp.Compare(a.Load, b.Load) },
		func(better, worse *Candidate) string {
			return fmt.Sprintf("equal scores, with %d services against %d", better.Load, worse.Load)
		},
	},
	{
		why.ByTakeover,
		func(a, b *Candidate) int { return cmp.Compare(a.Takeover, b.Takeover) },
		func(better, worse *Candidate) string {
			return fmt.Sprintf("equal scores and services, taking over %d against %d", better.Takeover, worse.Takeover)
		},
	},
	{
		why.ByNamed,
		func(a, b *Candidate) int { return Yes(a.Named, b.Named) },
		func(better, _ *Candidate) string {
			return fmt.Sprintf("all else is equal, and place.prefer names %s", better.Node)
		},
	},
	{
		why.ByName,
		func(a, b *Candidate) int { return cmp.Compare(a.Node, b.Node) },
		func(_, _ *Candidate) string { return "all else is equal, so the names decide" },
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

// Sort puts the better ones first.
func Sort(c []Candidate) { sort.Stable(byRank(c)) }

// byRank sorts where they are: candidates are large.
type byRank []Candidate

func (c byRank) Len() int           { return len(c) }
func (c byRank) Less(i, k int) bool { return Compare(&c[i], &c[k]) < 0 }
func (c byRank) Swap(i, k int)      { c[i], c[k] = c[k], c[i] }

// Compare is negative if a is better.
func Compare(a, b *Candidate) int {
	if a.Score != b.Score && a.Kept == b.Kept && a.Wanted == b.Wanted && a.Unwanted == b.Unwanted && a.Refuge() == b.Refuge() {
		return cmp.Compare(b.Score, a.Score) // all that counts more is equal
	}
	for _, c := range Criteria {
		if n := c.Compare(a, b); n != 0 {
			return n
		}
	}
	return 0
}

// Reason says what puts one Candidate before another.
func Reason(better, worse *Candidate) string {
	for _, c := range Criteria {
		if c.Compare(better, worse) != 0 {
			return c.Because(better, worse)
		}
	}
	return ""
}

// Refuge reports whether the node is one to go to or to stay on.
func (c *Candidate) Refuge() bool { return !c.Suspect && c.Doubt == "" || c.Sitting > 0 }

// Unsafe says why the node is none to go to.
func (c *Candidate) Unsafe() string {
	if c.Suspect {
		return fmt.Sprintf("%s is suspect", c.Node)
	}
	return c.Doubt
}

// Yes compares two statements: the true one is better.
func Yes(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Class is what comes before the score: what an operator asked for, and that a
// suspect node is no refuge.
func (c *Candidate) Class() int {
	n := 0
	if c.Kept {
		return -1
	}
	if !c.Wanted {
		n += 4
	}
	if !c.Refuge() {
		n += 2
	}
	if c.Unwanted {
		n++
	}
	return n
}
