package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		var faults [kinds]int
		begin := time.Now()
		var virtual time.Duration
		wins, packets := 0, 0
		bad := 0
		seeds := number("SEEDS", 60)
		for seed := range uint64(seeds) {
			r := Run(seed+1, Options{Nodes: n})
			if r.Violation != nil {
				bad++
				if bad < 6 {
					t.Errorf("seed %d, %d nodes, at %s: %s: %s", seed+1, n, r.Violation.At, r.Violation.Invariant, r.Violation.Text)
				}
			}
			for k := range faults {
				faults[k] += r.Faults[k]
			}
			virtual += r.Length
			wins += r.Wins
			packets += r.Packets
		}
		took := time.Since(begin)
		fmt.Printf("%d nodes: %d bad, %.0f virtual s/s, %d wins, %d packets, %.0f ns/packet, faults %v\n", n, bad, virtual.Seconds()/took.Seconds(), wins, packets, float64(took.Nanoseconds())/float64(packets+1), faults)
	}
}

func number(name string, or int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return or
}
