//go:build keelson_mutant

package sim

import (
	"runtime"
	"testing"

	"github.com/keelson/keelson/internal/core/bound"
	"github.com/keelson/keelson/internal/core/detect"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
)

// TestEveryMutantIsFound plants one fault after the other in the protocol and
// plays histories until the simulator finds it. KEELSON_SIM_SEEDS bounds how
// many.
func TestEveryMutantIsFound(t *testing.T) {
	limit := number("KEELSON_SIM_SEEDS", 2000)
	find := func(t *testing.T) {
		t.Helper()
		r := Campaign{From: 1, Seeds: uint64(limit), Workers: runtime.GOMAXPROCS(0)}.Run(t.Context(), nil)
		if r.Broken == nil {
			t.Fatalf("not found in %d histories", limit)
		}
		t.Logf("found by history %d, of %d nodes: %s", r.Broken.Seed, r.Broken.Nodes, r.Broken.Violation.Invariant)
	}
	plants := []struct {
		names []string
		plant func(string)
	}{
		{lease.Mutations(), lease.Plant},
		{detect.Mutations(), detect.Plant},
		{plane.Mutations(), plane.Plant},
		{bound.Mutations(), bound.Plant},
	}
	for _, p := range plants {
		for _, name := range p.names {
			t.Run(name, func(t *testing.T) {
				p.plant(name)
				defer p.plant("")
				find(t)
			})
		}
	}
	for m, name := range mutationNames[1:] {
		t.Run(name, func(t *testing.T) {
			active = mutation(m + 1)
			defer func() { active = noMutation }()
			find(t)
		})
	}
}
