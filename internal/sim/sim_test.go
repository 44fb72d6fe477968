package sim

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestInvariantsHoldInEveryHistory plays many seeds for cells of several sizes.
// KEELSON_SIM_SEEDS sets how many a size; KEELSON_SIM_FROM the first.
func TestInvariantsHoldInEveryHistory(t *testing.T) {
	seeds := number("KEELSON_SIM_SEEDS", 100)
	if testing.Short() {
		seeds = 20
	}
	from := number("KEELSON_SIM_FROM", 1)
	for _, nodes := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			t.Parallel()
			opts := Default
			opts.Nodes = nodes
			var mu sync.Mutex
			faults, wins := map[string]int{}, 0
			for seed := from; seed < from+seeds; seed++ {
				r := Run(uint64(seed), opts)
				if r.Violation != "" {
					t.Fatalf("seed %d, %d nodes, at %s: %s\n%s", seed, nodes, r.At, r.Violation, strings.Join(r.Trace, "\n"))
				}
				mu.Lock()
				for k, v := range r.Faults {
					faults[k] += v
				}
				wins += r.Wins
				mu.Unlock()
			}
			t.Logf("%d histories, %.1f cell-hours, %d leases won, faults %v", seeds, float64(seeds)*opts.Hours(), wins, faults)
		})
	}
}

// TestOneSeedIsOneHistory shows that a seed can be replayed.
func TestOneSeedIsOneHistory(t *testing.T) {
	opts := Default
	opts.Nodes = 5
	a, b := Run(7, opts), Run(7, opts)
	if x, y := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b); x != y {
		t.Errorf("seed 7 gave two histories:\n%s\n%s", x, y)
	}
}

func number(name string, or int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return or
}
