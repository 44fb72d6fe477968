package sim

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestInvariantsHoldInEveryHistory plays many seeds, for cells of all sizes.
// KEELSON_SIM_SEEDS sets how many, KEELSON_SIM_FROM the first.
func TestInvariantsHoldInEveryHistory(t *testing.T) {
	seeds := number("KEELSON_SIM_SEEDS", 100)
	if testing.Short() {
		seeds = 20
	}
	c := Campaign{From: uint64(number("KEELSON_SIM_FROM", 1)), Seeds: uint64(seeds), Workers: runtime.GOMAXPROCS(0)}
	began := time.Now()
	r := c.Run(t.Context(), nil)
	if b := r.Broken; b != nil {
		v := Shrink(t.Context(), b.Seed, Options{})
		t.Fatalf("seed %d, %d nodes, at %s: %s: %s\nfaults:\n%s\ntrace:\n%s", b.Seed, b.Nodes, v.At, v.Invariant, v.Text,
			strings.Join(v.Faults, "\n"), strings.Join(v.Trace, "\n"))
	}
	if r.Runs != seeds {
		t.Fatalf("%d of %d histories were played", r.Runs, seeds)
	}
	took := time.Since(began)
	t.Logf("%d histories, %.1f cell-hours in %s (%.1f a minute), %d leases won, %d takeovers timed, %d packets, faults %v",
		r.Runs, r.Time.Hours(), took.Round(time.Second), r.Time.Hours()/took.Minutes(), r.Wins, r.Takeovers, r.Packets, r.Faults)
	if seeds < 100 {
		return
	}
	for k, n := range r.Faults {
		if n == 0 {
			t.Errorf("%s never happened", kind(k))
		}
	}
	if r.Wins < 10*seeds {
		t.Errorf("only %d leases were won: little happens", r.Wins)
	}
	if r.Takeovers < seeds/8 {
		t.Errorf("only %d takeovers were timed", r.Takeovers)
	}
}

func TestOneSeedIsOneHistory(t *testing.T) {
	w := new(world)
	w.run(write(1, Options{Nodes: 5})) // leaves room behind that is used again
	for _, nodes := range []int{0, 1, 5} {
		again := w.run(write(7, Options{Nodes: nodes}))
		if diff := cmp.Diff(Run(7, Options{Nodes: nodes}), again); diff != "" {
			t.Errorf("seed 7 gave two histories: %s", diff)
		}
	}
}

func TestHistoryIsAMinuteWithTenFaultsThatOverlap(t *testing.T) {
	sizes := map[int]int{}
	overlaps := 0
	seeds := 0
	for seed := range uint64(450) {
		p := write(seed, Options{})
		if p.trials {
			continue // one thing at a time
		}
		seeds++
		sizes[p.nodes]++
		if len(p.faults) < minFaults || p.length < time.Minute || p.settle < serveBound(p.longest) {
			t.Errorf("seed %d: %d faults in %s, then %s of rest", seed, len(p.faults), p.length, p.settle)
		}
		for i, f := range p.faults {
			if slices.ContainsFunc(p.faults[:i], func(g fault) bool { return f.at < g.at+g.length && g.at < f.at+f.length }) {
				overlaps++
			}
		}
	}
	if overlaps < minFaults*seeds {
		t.Errorf("only %d faults overlap with another in %d histories", overlaps, seeds)
	}
	if sizes[3] < seeds/2 || sizes[1] == 0 || sizes[2] == 0 || sizes[5] == 0 {
		t.Errorf("the sizes are %v", sizes)
	}
}

// beyond is a plan whose clocks differ by more than the protocol can bear.
func beyond(seed uint64) plan {
	p := write(seed, Options{Nodes: 3})
	for i := range p.rates {
		p.rates[i] = 1 + 0.1*float64(i%3-1)
	}
	return p
}

// TestClocksBeyondTheBoundBreakThePromise shows that the simulator can see it.
func TestClocksBeyondTheBoundBreakThePromise(t *testing.T) {
	for seed := range uint64(300) {
		p := beyond(seed)
		if p.trials {
			continue
		}
		whole := new(world).run(p)
		if whole.Violation == nil || whole.Violation.Invariant != "one-holder" {
			continue
		}
		v := shrink(t.Context(), p)
		if v != nil && len(v.Faults) == 0 {
			continue // the clocks alone did it, when they had gone far apart
		}
		if v == nil || v.Invariant != "one-holder" || v.At > p.length+p.settle || len(v.Faults) > len(p.faults)/2 {
			t.Fatalf("of %d faults the shortest way to %q has %d: %+v", len(p.faults), whole.Violation.Text, len(v.Faults), v)
		}
		if again := shrink(t.Context(), p); !cmp.Equal(v, again) {
			t.Errorf("the same history was shortened in two ways: %s", cmp.Diff(v, again))
		}
		if last := v.Trace[len(v.Trace)-1]; !strings.Contains(last, v.Text) {
			t.Errorf("the trace ends with %q", last)
		}
		return
	}
	t.Error("clocks that differ by 20 % broke nothing in 300 histories")
}

func TestShorteningAHistoryThatBreaksNothingGivesNothing(t *testing.T) {
	if v := Shrink(t.Context(), 2, Options{Nodes: 1}); v != nil {
		t.Errorf("seed 2 violates %+v", v)
	}
}

func TestCampaignEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	runs := 0
	r := Campaign{From: 1, Seeds: 1 << 30, Workers: 2, Options: Options{Nodes: 1}}.Run(ctx, func(r Report) {
		if runs = r.Runs; runs == 4 {
			cancel()
		}
	})
	if r.Runs < 4 || r.Runs > 5 || runs != r.Runs || r.Broken != nil {
		t.Errorf("told of %d, then %+v", runs, r)
	}
}

// TestQuietCellMakesNoGarbage plays a cell that nothing happens to.
func TestQuietCellMakesNoGarbage(t *testing.T) {
	p := write(3, Options{Nodes: 3})
	p.faults = nil
	w := new(world)
	w.reset(p)
	for _, h := range w.hosts {
		w.boot(h)
	}
	w.every(bossStep, w.boss.step)
	w.every(lookEvery, w.watch.look)
	until := func(end time.Duration) {
		for w.next() < end {
			w.advance()
		}
	}
	until(20 * time.Second)
	packets, end := w.result.Packets, 20*time.Second
	got := testing.AllocsPerRun(20, func() {
		end += time.Second
		until(end)
	})
	if got != 0 || w.result.Packets < packets+2000 || w.result.Violation != nil {
		t.Errorf("a second made %v allocations; %d packets were sent; violated: %v", got, w.result.Packets-packets, w.result.Violation)
	}
}

// BenchmarkHistory measures how much cell time passes in a second, for three
// nodes at the real heartbeat rate.
func BenchmarkHistory(b *testing.B) {
	b.ReportAllocs()
	w := new(world)
	var cell time.Duration
	seed := uint64(0)
	for b.Loop() {
		seed++
		cell += w.run(write(seed, Options{Nodes: 3})).Length
	}
	b.ReportMetric(cell.Seconds()/b.Elapsed().Seconds(), "cell-s/s")
	b.ReportMetric(cell.Hours()/b.Elapsed().Minutes(), "cell-h/min")
}

func ExampleKinds() {
	fmt.Println(Kinds()[:3])
	// Output: [crash restart upgrade]
}

func number(name string, or int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return or
}
