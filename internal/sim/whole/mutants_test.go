//go:build keelson_mutant

package whole

import (
	"runtime"
	"testing"

	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/core/supervise"
)

// TestEveryMutantIsFound plants one fault after the other in the rules of agents
// and guards, and in what stands around them, and plays histories until the
// simulator finds it. KEELSON_SIM_SEEDS bounds how many.
func TestEveryMutantIsFound(t *testing.T) {
	limit := number("KEELSON_SIM_SEEDS", 1000)
	find := func(name string, plant func(string)) {
		t.Run(name, func(t *testing.T) {
			plant(name)
			defer plant("")
			r := Campaign{From: 1, Seeds: uint64(limit), Workers: runtime.GOMAXPROCS(0)}.Run(t.Context(), nil)
			if r.Broken == nil {
				t.Fatalf("not found in %d histories", limit)
			}
			t.Logf("found by history %d, of %d nodes: %s: %s", r.Broken.Seed, r.Broken.Nodes, r.Broken.Violation.Invariant, r.Broken.Violation.Text)
		})
	}
	for _, name := range custody.Mutations() {
		find(name, custody.Plant)
	}
	for _, name := range supervise.Mutations() {
		find(name, supervise.Plant)
	}
	for _, name := range mutationNames[1:] {
		find(name, plant)
	}
}
