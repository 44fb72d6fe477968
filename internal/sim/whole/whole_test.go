package whole

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/sim/whole/script"
)

// TestInvariantsHoldInEveryHistory plays many seeds. KEELSON_SIM_SEEDS sets how
// many, KEELSON_SIM_FROM the first.
func TestInvariantsHoldInEveryHistory(t *testing.T) {
	seeds := number("KEELSON_SIM_SEEDS", 60)
	if testing.Short() {
		seeds = 10
	}
	c := Campaign{From: uint64(number("KEELSON_SIM_FROM", 1)), Seeds: uint64(seeds), Workers: runtime.GOMAXPROCS(0)}
	began := time.Now()
	r := c.Run(t.Context(), nil)
	took := time.Since(began)
	t.Logf("%d histories, %.1f cell-hours in %s (%.1f a minute), %d starts, %d plans, %d cuts, %d packets, faults %v",
		r.Runs, r.Time.Hours(), took.Round(time.Second), r.Time.Hours()/took.Minutes(), r.Starts, r.Plans, r.Cuts, r.Packets, r.Faults)
	if b := r.Broken; b != nil {
		v := Shrink(t.Context(), b.Seed, Options{})
		t.Fatalf("seed %d, %d nodes, at %s: %s: %s\nfaults:\n%s\ntrace:\n%s", b.Seed, b.Nodes, v.At, v.Invariant, v.Text,
			strings.Join(v.Faults, "\n"), strings.Join(v.Trace, "\n"))
	}
	if r.Runs != seeds {
		t.Fatalf("%d of %d histories were played", r.Runs, seeds)
	}
	if seeds < 60 {
		return
	}
	for k, n := range r.Faults {
		if n == 0 {
			t.Errorf("%s never happened", script.Kinds()[k])
		}
	}
	if r.Starts < 10*seeds || r.Cuts < seeds {
		t.Errorf("only %d programs were started and %d cut off: little happens", r.Starts, r.Cuts)
	}
}

func TestOneSeedIsOneHistory(t *testing.T) {
	for seed := range uint64(3) {
		if diff := cmp.Diff(Run(seed, Options{Nodes: 3}), Run(seed, Options{Nodes: 3})); diff != "" {
			t.Errorf("seed %d gave two histories: %s", seed, diff)
		}
	}
}

func TestEverySpecOfAHistoryCouldBeApplied(t *testing.T) {
	for seed := range uint64(200) {
		for _, s := range script.Write(seed, Options{}).Services {
			for _, problem := range s.Spec.Validate() {
				if !problem.Warning {
					t.Errorf("seed %d: %s: %v", seed, s.Spec.Name, problem)
				}
			}
		}
	}
}

func number(name string, or int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return or
}
