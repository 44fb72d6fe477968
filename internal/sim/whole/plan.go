package whole

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/spec"
)

// plan is a history before it is played.
type plan struct {
	seed     uint64
	nodes    int
	voters   quorum.Set
	rates    [MaxNodes]float64
	skews    [MaxNodes]time.Duration
	labels   [MaxNodes]map[string]string
	services []served
	faults   []fault
	length   time.Duration // until the last fault is over
}

// served is a service and how its programs behave.
type served struct {
	spec spec.Service
	nature
}

// nature is how long programs take.
type nature struct{ start, stop, role time.Duration }

// nature returns how the programs of a service behave.
func (p *plan) nature(name spec.ServiceName) nature {
	for i := range p.services {
		if p.services[i].spec.Name == name {
			return p.services[i].nature
		}
	}
	return nature{}
}

const (
	// settle is how long all is well before the end.
	settle = 50 * time.Second
	// warm is when the first fault may begin.
	warm      = 4 * time.Second
	minFaults = 12
	maxFaults = 24
	// mostOff is by how much the rates of two clocks differ at most.
	mostOff = 0.008
)

// dice is what a plan is written with.
type dice struct{ *rand.Rand }

func (d dice) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.Int64N(int64(high-low)))
}

func (d dice) chance(p float64) bool { return d.Float64() < p }

// write makes the plan of a seed.
func write(seed uint64, o Options) plan {
	d := dice{rand.New(rand.NewPCG(seed, 0x706c616e))}
	p := plan{seed: seed, nodes: o.Nodes, length: d.between(45*time.Second, 70*time.Second)}
	if p.nodes == 0 {
		p.nodes = []int{3, 3, 3, 3, 3, 2, 4, 5}[d.IntN(8)]
	}
	p.nodes = min(max(p.nodes, 1), MaxNodes)
	for slot := range p.nodes {
		p.rates[slot] = 1 + mostOff*(d.Float64()-0.5)
		p.skews[slot] = d.between(-2*time.Second, 2*time.Second)
		p.labels[slot] = map[string]string{"rack": fmt.Sprint(slot % 2)}
	}
	p.voters = 1<<min(p.nodes, 3) - 1
	if p.nodes == 5 {
		p.voters = 1<<5 - 1
	}
	p.hire(d)
	for range minFaults + d.IntN(maxFaults-minFaults) {
		p.faults = append(p.faults, p.mischief(d))
	}
	slices.SortStableFunc(p.faults, func(a, b fault) int { return int(a.at - b.at) })
	return p
}

// hire chooses the services: one that is exclusive with an address, and some of
// the others.
func (p *plan) hire(d dice) {
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
	db := spec.Service{Name: "db", Parts: []spec.Part{part}, Copies: &spec.Copies{Count: min(p.nodes, 2+d.IntN(2)), Primaries: 1}}
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
func (p *plan) add(d dice, s spec.Service) {
	s.Failover.TTL = []spec.TTL{0, spec.TTL(300 * time.Millisecond), spec.TTL(500 * time.Millisecond), spec.TTL(time.Second)}[d.IntN(4)]
	if d.chance(0.6) {
		loss := spec.Duration(d.between(2*time.Second, 6*time.Second))
		s.Failover.AgentLoss = &loss
	}
	restarts := d.IntN(4)
	s.Failover.Restarts, s.Failover.Within = &restarts, spec.Duration(d.between(8*time.Second, 20*time.Second))
	if d.chance(0.4) {
		s.Place.Prefer = []spec.Preference{{Node: nodeName(uint8(d.IntN(p.nodes))), Score: 50 + d.IntN(300)}}
	}
	if d.chance(0.15) && s.Name != "shop" && s.Copies == nil {
		s.Place.Apart = []spec.ServiceName{"shop"}
	}
	for i := range s.Parts {
		s.Parts[i].StartTimeout = spec.Duration(d.between(2*time.Second, 4*time.Second))
		s.Parts[i].StopTimeout = spec.Duration(d.between(time.Second, 2*time.Second))
	}
	p.services = append(p.services, served{spec: s.Normalize(), nature: nature{
		start: d.between(20*time.Millisecond, 900*time.Millisecond), stop: d.between(5*time.Millisecond, 600*time.Millisecond),
		role: d.between(5*time.Millisecond, 300*time.Millisecond),
	}})
}

func address(prefix string) spec.Part {
	return spec.Part{Address: &spec.Address{Prefix: prefix, Interface: "eth0"}}
}

func program1(name string) spec.Part {
	none := spec.Duration(500 * time.Millisecond)
	return spec.Part{Name: name, Exec: &spec.Exec{Command: []string{"/bin/" + name, "1"}, Grace: &none}}
}
