package footprint

import (
	"runtime"
	"runtime/debug"
	"testing"
)

var litter [][]byte // is on the heap

func TestLitterIsSeenBeforeTheRuntimeCollectsIt(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	l := NewLitter()
	runtime.GC()
	if l.Much() {
		t.Error("there is much right after a collection")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	seen := false
	for range 1 << 12 { // 64 MB: more than the heap may grow by
		litter = append(litter[:0], make([]byte, 16<<10))
		if seen = l.Much(); seen {
			break
		}
	}
	runtime.ReadMemStats(&after)
	if !seen || after.NumGC != before.NumGC {
		t.Errorf("seen: %v, after the runtime collected %d times by itself", seen, after.NumGC-before.NumGC)
	}
	if n := testing.AllocsPerRun(100, func() { l.Much() }); n > 0 {
		t.Errorf("%v allocations for each look", n)
	}
}
