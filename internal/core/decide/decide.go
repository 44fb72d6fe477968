// Package decide is the mind of a cell: it turns a snapshot of what is known
// into a plan of what shall be.
//
// Its main rule: whoever holds a service keeps it, unless a rule forbids the
// node or another node is better by more than the service's stickiness. For
// each service the plan holds a succession list worked out in advance, so that
// nobody has to decide anything when a node dies.
//
// The package is pure. The same snapshot gives the same plan to the byte, on
// every node and in every replay. It refuses to plan without quorum, and
// returns no plan that breaks an invariant: it says so instead.
//
// What services and nodes say is written in the language of package place, whose
// engine chooses; package step says what has to be done for it. Placing goes
// through the services by priority and never takes back what it has placed. It
// does not search all combinations: services that are to be apart and have few
// nodes to choose from may find no place although one exists.
package decide

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/keelson/keelson/internal/core/decide/verify"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/core/recovery"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Decide returns the plan for a snapshot, which it leaves alone.
//
// Without quorum the plan is a Hold and nothing else: the other side of a
// partition may be deciding the opposite. Every other plan has one placement
// for each service, sorted by name. A service that no node may run has an empty
// order and, for each node, a refusal that names the rule.
func Decide(s fact.Snapshot) action.Plan {
	s = sorted(s)
	plan := action.Plan{ID: id(s)}
	if !s.Quorate {
		plan.Hold = "no majority of the voters is in touch: the other side may be deciding the opposite"
		return plan
	}

	p, notes := settled(s)
	p.succession()
	for _, svc := range p.services {
		plan.Placements = append(plan.Placements, p.placement(svc))
		if p.gone(svc) {
			plan.Forget = append(plan.Forget, svc.Spec.Name)
		}
	}
	plan.Steps = p.steps()
	history, told := p.remember()
	plan.History, plan.Notes = &history, append(notes, told...)
	if fault := verify.Plan(s, plan); fault != "" {
		return action.Plan{ID: plan.ID, Hold: "the plan would break a rule, which is a fault in Keelson: " + fault}
	}
	return plan
}

// settled returns a planner whose units have their first places. Units that
// could not start for want of what they are after are not placed at all: they
// would stand in others' way.
//
// Nor is what waits moved: where more would be moved than recovery allows, it is
// held back, and all is placed again. The notes are what was remembered anew.
func settled(s fact.Snapshot) (*planner, []action.Note) {
	halted := make(map[spec.ServiceName]string)
	history, notes := recovery.Review(s)
	r := newRestraint(s, history)
	for {
		p := newPlanner(s, halted, r)
		p.place()
		if !p.halt(halted) && !p.restrain() {
			return p, notes
		}
	}
}

// planner is the state of one decision.
type planner struct {
	snapshot fact.Snapshot
	nodes    []fact.Node    // sorted by name
	services []fact.Service // sorted by name
	units    []*unit        // in the order of placing
	unitOf   map[spec.ServiceName]*unit

	kinds []string                // of capacity
	free  map[spec.NodeName][]int // beside what is placed
	spare []candidate             // room for candidates, and for what items hold

	troubled   map[spec.ServiceName]bool // see trouble
	spareInts  []int
	spareBools []bool
	problem    place.Problem
	halted     map[spec.ServiceName]string // units that cannot start, and why
	*restraint

	// load is how many services each node is to have.
	load map[spec.NodeName]int
	// takeovers counts, for two nodes, the services that the second gets if the
	// first dies.
	takeovers map[[2]spec.NodeName]int
}

func newPlanner(s fact.Snapshot, halted map[spec.ServiceName]string, r *restraint) *planner {
	p := &planner{
		snapshot:  s,
		nodes:     slices.Clone(s.Nodes),
		services:  slices.Clone(s.Services),
		unitOf:    make(map[spec.ServiceName]*unit),
		halted:    halted,
		restraint: r,
		load:      make(map[spec.NodeName]int),
		takeovers: make(map[[2]spec.NodeName]int),
	}
	slices.SortStableFunc(p.nodes, func(a, b fact.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(p.services, func(a, b fact.Service) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) })
	for i := range p.nodes {
		bySvc := func(a, b fact.Instance) int { return cmp.Compare(a.Service, b.Service) }
		if !slices.IsSortedFunc(p.nodes[i].Instances, bySvc) {
			p.nodes[i].Instances = slices.SortedStableFunc(slices.Values(p.nodes[i].Instances), bySvc)
		}
	}
	p.trouble()
	p.group()
	p.setApart()
	for _, u := range p.units {
		p.consider(u)
	}
	p.compile()
	return p
}

// node returns the node of that name.
func (p *planner) node(name spec.NodeName) (*fact.Node, bool) {
	i, ok := slices.BinarySearchFunc(p.nodes, name, func(n fact.Node, name spec.NodeName) int { return cmp.Compare(n.Name, name) })
	if !ok {
		return &fact.Node{}, false
	}
	return &p.nodes[i], true
}

// alive reports whether the node is known and not lost.
func (p *planner) alive(name spec.NodeName) bool {
	n, ok := p.node(name)
	return ok && n.Liveness != fact.Lost
}

// sits returns the node where the service is: its holder or, if that is lost
// or nobody is, the first of the succession list that is not lost, who acts
// by itself. It is empty for a service that is nowhere.
func (p *planner) sits(s *fact.Service) spec.NodeName {
	if p.alive(s.Holder) {
		return s.Holder
	}
	for _, n := range s.Order {
		if p.alive(n) {
			return n
		}
	}
	return ""
}

// gone reports whether a deleted service runs nowhere any more. What a lost
// node said before it was lost does not count: its lease ends by itself, and
// when it returns its agent stops what it does not know. Until that end the
// voters name it as the holder, and the service is not forgotten: one that is
// applied again gets a lease of its own, which the old one would not keep from
// being won.
func (p *planner) gone(s fact.Service) bool {
	if !s.Deleting || s.Holder != "" || slices.ContainsFunc(s.Rights, func(r fact.Right) bool { return r.Holder != "" }) {
		return false
	}
	for k := range p.nodes {
		n := &p.nodes[k]
		if n.Liveness == fact.Lost {
			continue
		}
		if slices.ContainsFunc(n.Instances, func(i fact.Instance) bool {
			return i.Service == s.Spec.Name && i.Phase != fact.Idle && i.Phase != fact.Failed
		}) {
			return false
		}
	}
	return true
}

// instance returns the service's instance on the node, nil if there is none.
// The node is one of the planner's, whose instances are sorted.
func instance(n *fact.Node, s spec.ServiceName) *fact.Instance {
	i, ok := slices.BinarySearchFunc(n.Instances, s, func(i fact.Instance, s spec.ServiceName) int { return cmp.Compare(i.Service, s) })
	if !ok {
		return nil
	}
	return &n.Instances[i]
}

// sorted returns the snapshot with nodes and services sorted by name, so that
// their order does not matter.
func sorted(s fact.Snapshot) fact.Snapshot {
	s.Nodes, s.Services = slices.Clone(s.Nodes), slices.Clone(s.Services)
	slices.SortStableFunc(s.Nodes, func(a, b fact.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Services, func(a, b fact.Service) int { return cmp.Compare(a.Spec.Name, b.Spec.Name) })
	return s
}

// id names the snapshot by its content.
func id(s fact.Snapshot) string {
	text, err := json.Marshal(s)
	if err != nil {
		// A value without JSON form never passes spec's Validate. The plan
		// still needs a name.
		text = []byte(err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
