//go:build keelson_mutant

package sim

import (
	"runtime"
	"testing"

	"github.com/keelson/keelson/internal/core/lease"
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
	for _, name := range lease.Mutations() {
		t.Run(name, func(t *testing.T) {
			lease.Plant(name)
			defer lease.Plant("")
			find(t)
		})
	}
	for m, name := range mutationNames[1:] {
		t.Run(name, func(t *testing.T) {
			active = mutation(m + 1)
			defer func() { active = noMutation }()
			find(t)
		})
	}
}
