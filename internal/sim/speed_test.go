package sim

import (
	"testing"
	"time"
)

// BenchmarkHistory measures how much cell time passes in a second, for three
// nodes at the real heartbeat rate.
func BenchmarkHistory(b *testing.B) {
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
