// Package place chooses the nodes on which items run: it is the engine under
// every decision, for the cell's own services and for imported clusters alike.
//
// It works on a small language of its own: nodes with room, items with a score
// for each node, attraction and repulsion between items, stacks of items that
// go together, and copies of one item with their roles. Its main rule is that
// items are placed one after the other and never taken back: by priority, and
// what an item depends on before the item itself. A mandatory rule is never
// broken: an item that no node may run gets none.
//
// The package is pure, uses no map, and ends: every item is placed once. It
// refuses to search all combinations; a placement that needs an earlier item
// to give way is not found unless a score says so beforehand.
package place

// Inf is the score that is a rule and no preference. Scores saturate at it, and
// against each other -Inf wins.
const Inf = 1_000_000

// Nowhere is the index of no node, and of no item.
const Nowhere = -1

// Sum adds two scores.
func Sum(a, b int) int {
	switch {
	case a <= -Inf || b <= -Inf:
		return -Inf
	case a >= Inf || b >= Inf:
		return Inf
	}
	return max(-Inf, min(Inf, a+b))
}

// Role is what an item is or shall be on its node.
type Role uint8

// The roles, from low to high.
const (
	Any     Role = iota // of a rule: whatever the role; of an item: not decided
	Stopped             // runs nowhere
	Started             // runs, and has no roles
	Replica             // runs, and is not primary
	Primary             // runs as primary
)

// Node is a place to run.
type Node struct {
	Name string
	// Open nodes can be given something: alive, clean, and neither drained, in
	// standby nor under maintenance.
	Open bool
	// Room is how much there is of each kind of unit.
	Room []int
}

// Kind is what an item is made of.
type Kind uint8

// The kinds of item.
const (
	One    Kind = iota // runs on one node
	Stack              // its children, in order, on the same node
	Copies             // several of the same; each child is one copy
)

// Item is what is placed. Items refer to each other and to nodes by index.
type Item struct {
	Name     string
	Kind     Kind
	Parent   int // Nowhere: none
	Children []int
	// Weight is how many instances it counts as where instances are counted;
	// 0 means 1.
	Weight   int
	Priority int
	// Score, by node, is what speaks for and against each node, staying
	// included. Nil: nothing does.
	Score []int
	// Rank, by node, comes before the score: lower is better. Nil: all equal.
	Rank []int
	// Demand is how much it needs of each kind of unit.
	Demand []int
	// Target limits the role: Stopped keeps it from running, Replica from being
	// primary. Any: no limit.
	Target Role
	State  State
	Set    Set
	// Named says of each node whether the operator prefers it by name. Nil: none.
	Named []bool
	// Loose stacks need not be on one node.
	Loose bool
	// Minor parts of a stack are left behind rather than move the part before them,
	// if that runs somewhere.
	Minor bool
}

// State is how an item is now.
type State struct {
	At   []int // the nodes it runs on, the one that counts first
	Role Role
	// Unmanaged items stay as they are. Blocked ones do too, and nobody may
	// count on them.
	Unmanaged bool
	Blocked   bool
	Failed    bool
	// Late items are unmanaged from when they are placed; a copy too many, which is
	// not, is managed and [Placed.Spare].
	Late bool
	// Fixed items stay as they are and are placed before all others.
	Fixed bool
	// Share, by node, is how many of the item's instances are there, where it
	// counts as several. Nil: all are where it is.
	Share []int
	Known []bool // by node: its state there was looked at
}

// Set are the numbers of an item of kind [Copies].
type Set struct {
	Max, PerNode int
	// Primaries and PrimariesPerNode are 0 for copies without roles.
	Primaries, PrimariesPerNode int
	Roles                       bool // copies have roles, even if none may be primary
	Unique                      bool // copies differ from each other
	Interleave                  bool // dependence between copies is by node
	// Promotion, by node, is what speaks for a primary there; NoPromotion where
	// nothing is said, which forbids it unless a rule adds to it.
	Promotion []int
	// Parts, by part of a copy that is a stack, are what speaks for each part
	// instead. Nil: Promotion counts.
	Parts [][]int
	// PrimaryScore and ReplicaScore, by node, are preferences for that role alone.
	PrimaryScore []int
	Spread       []Spread
}

// Spread speaks against each copy that would be at the same place as another of its
// set. It forbids nothing, however many there are.
type Spread struct {
	Score int   // for each other copy that is there; negative
	Class []int // by node, which count as the same place; negative: none does
}

// NoPromotion says that no score was given for being primary on a node.
const NoPromotion = -Inf - 1

// Pull draws Item to the node of With, or keeps it away if Score is negative.
type Pull struct {
	Name               string // the last thing that pulls are ordered by
	Item, With         int
	Score              int
	ItemRole, WithRole Role
	// Class, by node, tells which nodes count as the same place; nil: each node
	// for itself.
	Class []int
	// Mutual rules hold both ways, and for whichever is placed later; neither goes
	// first for it.
	Mutual bool
	// Weak rules hold for Item only: With pays no heed to what Item prefers.
	Weak bool
}

// Tie is one way to choose between nodes of the same score.
type Tie uint8

// The ties.
const (
	ByRoom   Tie = iota // more free room first
	ByCount             // fewer instances placed first
	ByLoad              // fewer instances first, those not placed yet counted where they are
	ByFresh             // fewer instances first that are not fixed
	ByCrowd             // displacing fewer others first
	ByStay              // where it is first
	ByNaming            // a node that is preferred by name first
)

// Problem is the whole input.
type Problem struct {
	Nodes []Node // ordered by name, which is the last tie
	Items []Item
	Pulls []Pull
	Ties  []Tie
	// Heed makes room count; without it, Demand is ignored.
	Heed bool
	// SortByScore places, among equal priorities, the item first that has the
	// higher score where it is, and then the higher score anywhere.
	SortByScore bool
	// Freeze lets nothing become primary that is not now, and StopAll nothing run.
	Freeze, StopAll bool
	// Soft makes a negative score a dislike; without it, it is a ban. -Inf always
	// is one.
	Soft bool
	// Keep lets no item go to where another is and may stay, if there is not room for
	// both or they must not share a node, unless its priority is higher. A mandatory
	// pull acts on whichever of the two is placed later, and an item that others
	// must be where it is, or must not, is not placed after them for a preference.
	Keep bool
	// Explain fills Placed.Choice.
	Explain bool
	// MandatoryFirst lets the mandatory pulls act on an item before all others,
	// so that as many as possible of them are kept. Without it, what the item is
	// drawn to comes before what is drawn to it.
	MandatoryFirst bool
}

// Placed is the outcome for one item. Items that have children have the node of
// their first child.
type Placed struct {
	Node  int
	Role  Role
	Score []int // by node, as they were when the item was placed
	// Choice is nil unless it was asked for.
	Choice *Choice
	// Spare is a copy too many that was not placed, though it is not managed.
	Spare bool
}

// Choice is what an item of kind [One] was placed by.
type Choice struct {
	// Load and Crowd, by node, are as [ByLoad] and [ByCrowd] count.
	Load, Crowd []int
	// Free was the room left, by node and, within it, by kind of unit. Nil: room
	// does not count.
	Free []int
}

// Solve places all items, in the order of the problem's items in the result.
func Solve(p Problem) []Placed {
	s := newSolver(&p)
	for i := range p.Items {
		item := &p.Items[i]
		if item.Kind == One && item.State.Fixed {
			s.settle(i, s.at(i))
		}
	}
	s.settleSets()
	for _, i := range s.sequence() {
		s.assign(i, Nowhere)
	}
	out := make([]Placed, len(p.Items))
	for i := range out {
		c := &s.cells[i]
		out[i] = Placed{Node: c.node, Role: c.next, Score: c.score, Choice: c.choice, Spare: c.spare}
		if c.node == Nowhere || c.next == Any {
			out[i].Role = s.defaultRole(i)
		}
	}
	return out
}

// defaultRole is the role of an item about whose role nothing was decided.
func (s *solver) defaultRole(i int) Role {
	switch {
	case s.cells[i].node == Nowhere:
		return Stopped
	case s.withRoles(i):
		return Replica
	}
	return Started
}
