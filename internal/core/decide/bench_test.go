package decide

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/keelson/keelson/internal/core/decide/restrain"
	"github.com/keelson/keelson/internal/core/place"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// large is a cell that has been placed, and then loses its first node.
func large(nodes, services int) fact.Snapshot {
	s := fact.Snapshot{Now: noon, Quorate: true}
	for i := range nodes {
		s.Nodes = append(s.Nodes, fact.Node{
			Name: spec.NodeName(fmt.Sprintf("n%02d", i)), Liveness: fact.Alive,
			Labels: map[string]string{"rack": fmt.Sprintf("r%d", i/8), "capacity/cpu": "64", "ssd": fmt.Sprint(i%2 == 0)},
		})
	}
	for i := range services {
		svc := fact.Service{
			Spec: spec.Service{Name: spec.ServiceName(fmt.Sprintf("s%04d", i)), Needs: map[string]int{"cpu": 1}}, Generation: 1,
		}
		if i%5 == 1 {
			svc.Spec.Place.Apart = []spec.ServiceName{spec.ServiceName(fmt.Sprintf("s%04d", i-1))}
		}
		if i%5 == 2 {
			svc.Spec.Place.Prefer = []spec.Preference{{Label: "ssd=true", Score: 50}}
		}
		if i%5 == 3 {
			svc.Spec.Place.Near = []spec.Near{{Service: spec.ServiceName(fmt.Sprintf("s%04d", i-1)), Score: 20}}
		}
		s.Services = append(s.Services, svc)
	}
	s = outcome(s, Decide(s))
	s.Nodes[0].Liveness = fact.Lost
	return s
}

// BenchmarkSuccession is the lists alone: who follows whom at the death of each
// node and each domain.
func BenchmarkSuccession(b *testing.B) {
	s := large(32, 1000)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		p, _ := settled(s, nil)
		p.tell()
		b.StartTimer()
		p.succession()
	}
}

// spent measures what is done by the processor too: on a machine that others use as
// well, time by the clock says little.
func spent(b *testing.B, do func()) {
	b.Helper()
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	n := 0
	for b.Loop() {
		do()
		n++
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1e6/float64(n), "cpu-ms/op")
}

// BenchmarkPlacement is the decision alone: who runs what after a node's death.
func BenchmarkPlacement(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("32x%d", n), func(b *testing.B) {
			s := large(32, n)
			b.ReportAllocs()
			spent(b, func() { settled(s, nil) })
		})
	}
}

// BenchmarkEngine is the engine alone, on the same cell.
func BenchmarkEngine(b *testing.B) {
	p := newPlanner(large(32, 1000), nil, stage{Restraint: restrain.New(large(32, 1000), fact.History{})})
	b.ReportAllocs()
	for b.Loop() {
		place.Solve(p.problem)
	}
}

// BenchmarkDecide is the whole: placement, all succession lists, reasons, steps.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("32x%d", n), func(b *testing.B) {
			s := large(32, n)
			b.ReportAllocs()
			spent(b, func() { Decide(s) })
		})
	}
}

// BenchmarkDecideShapes is the whole for cells that are all rules, or all copies.
func BenchmarkDecideShapes(b *testing.B) {
	drawn := func(n int) func(int, *spec.Service) {
		return func(i int, s *spec.Service) {
			for k := range n {
				s.Place.Near = append(s.Place.Near, spec.Near{Service: spec.ServiceName(fmt.Sprintf("s%04d", (i+k+1)%1000)), Score: 50})
			}
		}
	}
	for _, shape := range []struct {
		name     string
		services int
		write    func(int, *spec.Service)
	}{
		{"1000-of-16-nears", 1000, drawn(16)},
		{"1000-of-64-nears", 1000, drawn(64)},
		{"20-of-256-copies", 20, func(_ int, s *spec.Service) {
			s.Copies, s.Place.Spread = &spec.Copies{Count: 256, PerNode: 64, Unique: true}, []string{"rack"}
		}},
	} {
		b.Run(shape.name, func(b *testing.B) {
			s := fact.Snapshot{Now: noon, Quorate: true, Nodes: large(32, 0).Nodes}
			s.Nodes[0].Liveness = fact.Alive
			for i := range shape.services {
				svc := fact.Service{Spec: spec.Service{Name: spec.ServiceName(fmt.Sprintf("s%04d", i))}, Generation: 1}
				shape.write(i, &svc.Spec)
				s.Services = append(s.Services, svc)
			}
			s = outcome(s, Decide(s))
			s.Nodes[0].Liveness = fact.Lost
			b.ReportAllocs()
			spent(b, func() { Decide(s) })
		})
	}
}
