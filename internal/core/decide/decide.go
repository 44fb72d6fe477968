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
	"github.com/keelson/keelson/internal/core/audit"
	"github.com/keelson/keelson/internal/core/decide/ground"
	"github.com/keelson/keelson/internal/core/decide/rank"
	"github.com/keelson/keelson/internal/core/decide/restrain"
	"github.com/keelson/keelson/internal/core/decide/spare"
	"github.com/keelson/keelson/internal/core/place"
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
//
// A plan is looked at by package audit before it is returned. A service that breaks
// a rule nevertheless is left as it is, Held says why, and all else goes on; where
// that does not help the plan is a Hold.
func Decide(s fact.Snapshot) action.Plan {
	s = ground.Sorted(s)
	plan := action.Plan{ID: ground.ID(s)}
	if !s.Quorate {
		plan.Hold = "no majority of the voters is in touch: the other side may be deciding the opposite"
		return plan
	}
	faulty := make(map[spec.ServiceName]string)
	for {
		plan := planFor(s, plan.ID, faulty)
		faults, known := audit.Check(s, plan), len(faulty)
		for _, f := range faults {
			if faulty[f.Service] == "" {
				faulty[f.Service] = f.Text
			}
		}
		switch {
		case len(faults) == 0:
			return plan
		case len(faulty) == known:
			return action.Plan{ID: plan.ID, Hold: "the plan would break a rule, which is a fault in Keelson: " + faults[0].Text}
		}
	}
}

// planFor decides, and leaves the services that are at fault as they are.
func planFor(s fact.Snapshot, id string, faulty map[spec.ServiceName]string) action.Plan {
	plan := action.Plan{ID: id}
	p, notes := settled(s, faulty)
	p.tell()
	p.succession()
	for _, svc := range p.services {
		plan.Placements = append(plan.Placements, p.placement(svc))
		if p.Gone(&svc) {
			plan.Forget = append(plan.Forget, svc.Spec.Name)
		}
	}
	plan.Steps = p.steps()
	history, told := p.remember()
	plan.History, plan.Notes = &history, append(notes, told...)
	return plan
}

// planner is the state of one decision.
type planner struct {
	snapshot fact.Snapshot
	ground.Ground
	services []fact.Service // sorted by name
	units    []*unit        // in the order of placing
	unitOf   map[spec.ServiceName]*unit

	kinds []string // of capacity
	free  [][]int  // by node: beside what is placed
	spare store    // room for what units hold

	sitting  seating        // see there
	calm     bool           // whoever may stay stays, whatever the scores say
	real     []place.State  // of the items, where sitting is not what is; else nil
	placed   []place.Placed // what the engine chose
	avoiding map[*unit][]avoider
	ailing
	problem place.Problem
	halted  map[spec.ServiceName]string // units that cannot start, and why
	*restrain.Restraint

	// load is how many services each node is to have.
	load []int
	// takeovers counts, for two nodes, the services that the second gets if the
	// first dies.
	takeovers [][]int
}

// ailing is what is wrong with nodes and services, see trouble.
type ailing struct {
	troubled map[spec.ServiceName]bool
	stuck    map[spec.NodeName][]spec.ServiceName
	shut     []string // by node: why it may run nothing
}

// store is room for what units hold.
type store struct {
	candidates spare.Room[rank.Candidate]
	ints       spare.Room[int]
	bools      spare.Room[bool]
	items      []place.Item // while it is decided for a loss
}

// stage is what a planner starts from beside the snapshot.
type stage struct {
	*restrain.Restraint
	sitting seating
	calm    bool
}

// newPlanner reads a snapshot that is sorted, and leaves it alone.
func newPlanner(s fact.Snapshot, halted map[spec.ServiceName]string, from stage) *planner {
	p := &planner{
		snapshot:  s,
		Ground:    ground.Ground{Nodes: s.Nodes},
		services:  s.Services,
		unitOf:    make(map[spec.ServiceName]*unit),
		halted:    halted,
		Restraint: from.Restraint,
		sitting:   from.sitting,
		calm:      from.calm,
		load:      make([]int, len(s.Nodes)),
	}
	for i := range p.Nodes {
		p.shut = append(p.shut, ground.Shut(&p.Nodes[i]))
		p.takeovers = append(p.takeovers, make([]int, len(p.Nodes)))
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
