// Package script writes the histories that package whole plays: a cell, its
// services, and the faults and operators that befall them, all from one seed.
//
// It decides nothing and plays nothing.
package script

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/spec"
)

// Plan is a history before it is played.
type Plan struct {
	Seed     uint64
	Nodes    int
	Voters   quorum.Set
	Rates    [MaxNodes]float64
	Skews    [MaxNodes]time.Duration
	Labels   [MaxNodes]map[string]string
	Services []Served
	Faults   []Fault
	Length   time.Duration // until the last fault is over
}

// Served is a service and how its programs behave.
type Served struct {
	Spec spec.Service
	Nature
}

// Nature is how long programs take.
type Nature struct{ Start, Stop, Role time.Duration }

// Nature returns how the programs of a service behave.
func (p *Plan) Nature(name spec.ServiceName) Nature {
	for i := range p.Services {
		if p.Services[i].Spec.Name == name {
			return p.Services[i].Nature
		}
	}
	return Nature{}
}

const (
	// MaxNodes is how many nodes a cell may have here.
	MaxNodes = 5
	// Settle is how long nothing befalls a cell at the end of a history.
	Settle = 50 * time.Second
	// warm is when the first fault may begin.
	warm      = 4 * time.Second
	minFaults = 12
	maxFaults = 24
	// mostOff is by how much the rates of two clocks differ at most.
	mostOff = 0.008
)

// Options choose the kind of history.
type Options struct {
	// Nodes is the size of the cell, 1 to MaxNodes. 0 lets the seed choose: 3 more
	// often than not, else 2, 4 or 5.
	Nodes int
}

// dice is what a plan is written with.
type dice struct{ *rand.Rand }

func (d dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.Int64N(int64(high-low)))
}

func (d dice) chance(p float64) bool { return d.Float64() < p }

// Write makes the plan of a seed.
func Write(seed uint64, o Options) Plan {
	d := dice{rand.New(rand.NewPCG(seed, 0x706c616e))}
	p := Plan{Seed: seed, Nodes: o.Nodes, Length: d.between(45*time.Second, 70*time.Second)}
	if p.Nodes == 0 {
		p.Nodes = []int{3, 3, 3, 3, 3, 2, 4, 5}[d.IntN(8)]
	}
	p.Nodes = min(max(p.Nodes, 1), MaxNodes)
	for slot := range p.Nodes {
		p.Rates[slot] = 1 + mostOff*(d.Float64()-0.5)
		p.Skews[slot] = d.between(-2*time.Second, 2*time.Second)
		p.Labels[slot] = map[string]string{"rack": fmt.Sprint(slot % 2)}
	}
	if d.chance(0.5) {
		for slot := range p.Nodes {
			p.Labels[slot][spec.CapacityLabel+"/"+unit] = fmt.Sprint(3 + d.IntN(4))
		}
	}
	p.Voters = 1<<min(p.Nodes, 3) - 1
	if p.Nodes == 5 {
		p.Voters = 1<<5 - 1
	}
	p.hire(d)
	for range minFaults + d.IntN(maxFaults-minFaults) {
		p.Faults = append(p.Faults, p.mischief(d))
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return int(a.At - b.At) })
	return p
}

// hire chooses the services: one that is exclusive with an address, and some of
// the others.
func (p *Plan) hire(d dice) {
	p.add(d, spec.Service{Name: "shop", Parts: []spec.Part{address("10.0.0.1/24"), program1("shop")}})
	if d.chance(0.5) {
		p.add(d, spec.Service{Name: "job", Parts: []spec.Part{program1("job"), program1("log")}})
	}
	if d.chance(0.3) {
		no := false
		soft := spec.Service{Name: "soft", Exclusive: &no, Parts: []spec.Part{address("10.0.0.2/24"), program1("soft")}}
		if d.chance(0.5) {
			soft.Failover.OnQuorumLoss = spec.QuorumLossKeep
		}
		p.add(d, soft)
	}
	var after []spec.After
	if d.chance(0.4) {
		after = []spec.After{{Service: "shop"}}
	}
	if d.chance(0.4) {
		p.add(d, spec.Service{Name: "web", After: after, Parts: []spec.Part{program1("web")}, Copies: &spec.Copies{Count: d.IntN(3)}})
	}
	if d.chance(0.3) {
		p.add(d, spec.Service{
			Name: "cache", After: after, Parts: []spec.Part{program1("cache")},
			Copies: &spec.Copies{Count: 2 + d.IntN(2), Unique: true, PerNode: 1 + d.IntN(2)},
		})
	}
	if !d.chance(0.6) {
		return
	}
	part := program1("db")
	part.Exec.Promote, part.Exec.Demote = []string{"/bin/up"}, []string{"/bin/down"}
	db := spec.Service{Name: "db", Parts: []spec.Part{part}, Copies: &spec.Copies{Count: min(p.Nodes, 2+d.IntN(2)), Primaries: 1}}
	if d.chance(0.4) {
		public := address("10.0.0.3/24")
		public.Role = spec.RolePrimary
		db.Parts = append(db.Parts, public)
	}
	p.add(d, db)
	if d.chance(0.6) {
		p.add(d, spec.Service{Name: "app", Parts: []spec.Part{program1("app")}, After: []spec.After{{Service: "db", Role: spec.RolePrimary}}})
		if d.chance(0.6) {
			p.add(d, spec.Service{
				Name: "gui", Parts: []spec.Part{address("10.0.0.4/24"), program1("gui")},
				After: []spec.After{{Service: "app"}, {Service: "shop", Optional: true}},
			})
		}
	}
}

// add makes a service with lengths and limits of its own.
func (p *Plan) add(d dice, s spec.Service) {
	s.Failover.TTL = []spec.TTL{0, spec.TTL(300 * time.Millisecond), spec.TTL(500 * time.Millisecond), spec.TTL(time.Second), spec.TTL(4 * time.Second)}[d.IntN(5)]
	if d.chance(0.6) {
		loss := spec.Duration(d.between(2*time.Second, 6*time.Second))
		s.Failover.AgentLoss = &loss
	}
	restarts := d.IntN(4)
	s.Failover.Restarts, s.Failover.Within = &restarts, spec.Duration(d.between(8*time.Second, 20*time.Second))
	if d.chance(0.4) {
		s.Place.Prefer = []spec.Preference{{Node: NodeName(uint8(d.IntN(p.Nodes))), Score: 50 + d.IntN(300)}}
	}
	if d.chance(0.3) && s.Name != "shop" && s.Copies == nil {
		s.Place.Apart = []spec.ServiceName{"shop"}
	}
	if d.chance(0.2) {
		s.Priority = d.IntN(3)
	}
	if d.chance(0.6) {
		s.Needs = map[string]int{unit: 1 + d.IntN(2)}
	}
	for i := range s.Parts {
		s.Parts[i].StartTimeout = spec.Duration(d.between(2*time.Second, 4*time.Second))
		s.Parts[i].StopTimeout = spec.Duration(d.between(time.Second, 2*time.Second))
	}
	p.Services = append(p.Services, Served{Spec: s.Normalize(), Nature: Nature{
		Start: d.between(20*time.Millisecond, 900*time.Millisecond), Stop: d.between(5*time.Millisecond, 600*time.Millisecond),
		Role: d.between(5*time.Millisecond, 300*time.Millisecond),
	}})
}

// NodeName is the name of the node in a slot.
func NodeName(slot uint8) spec.NodeName { return spec.NodeName(string(rune('a' + slot))) }

func address(prefix string) spec.Part {
	return spec.Part{Address: &spec.Address{Prefix: prefix, Interface: "eth0"}}
}

func program1(name string) spec.Part {
	none := spec.Duration(500 * time.Millisecond)
	return spec.Part{Name: name, Exec: &spec.Exec{Command: []string{"/bin/" + name, "1"}, Grace: &none}}
}
