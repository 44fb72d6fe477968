//go:build keelson_mutant

package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keelson/keelson/internal/core/lease"
)

// TestEveryMutantIsFound plants one fault after the other in the protocol and
// plays histories until the simulator finds it. KEELSON_SIM_SEEDS bounds how
// many.
func TestEveryMutantIsFound(t *testing.T) {
	limit := number("KEELSON_SIM_SEEDS", 2000)
	for _, name := range lease.Mutations() {
		t.Run(name, func(t *testing.T) {
			lease.Plant(name)
			defer lease.Plant("")
			r, seeds := firstViolation(uint64(limit))
			if r == nil {
				t.Fatalf("not found in %d histories", limit)
			}
			t.Logf("found by history %d, of %d nodes: %s", seeds, r.Nodes, r.Violation.Invariant)
		})
	}
}

// firstViolation plays histories from seed 1 on and returns the first that
// breaks an invariant, or nil.
func firstViolation(limit uint64) (*Result, uint64) {
	var next, best atomic.Uint64
	best.Store(limit + 1)
	results := make([]*Result, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() {
			for seed := next.Add(1); seed < best.Load(); seed = next.Add(1) {
				if r := Run(seed, Options{}); r.Violation != nil {
					results[i] = &r
					for old := best.Load(); seed < old && !best.CompareAndSwap(old, seed); old = best.Load() {
					}
					return
				}
			}
		})
	}
	all.Wait()
	for _, r := range results {
		if r != nil && r.Seed == best.Load() {
			return r, r.Seed
		}
	}
	return nil, limit
}
