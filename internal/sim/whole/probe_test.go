package whole

import (
	"fmt"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/sim/whole/script"
)

func TestProbe(t *testing.T) {
	from := number("P2_FROM", 1)
	for seed := from; seed < from+number("P2_N", 8); seed++ {
		b := time.Now()
		w := new(world)
		r := w.run(script.Write(uint64(seed), Options{}))
		fmt.Println(seed, r.Nodes, time.Since(b).Round(time.Millisecond), r.Length.Round(time.Second), "starts", r.Starts, "plans", r.Plans, "cuts", r.Cuts, "events", w.order)
		if v := r.Violation; v != nil {
			fmt.Println("   ", v.Invariant, v.Text)
		}
	}
}

func TestHang(t *testing.T) {
	w := new(world)
	w.tracing = true
	done := make(chan struct{})
	go func() { w.run(script.Write(uint64(number("P2_FROM", 1)), Options{})); close(done) }()
	select {
	case <-done:
		for _, f := range w.result.Violation.Faults {
			fmt.Println(f)
		}
	case <-time.After(8 * time.Second):
		fmt.Println(w.now, w.order)
	}
	s := w.said
	for _, l := range s[max(0, len(s)-number("P2_TAIL", 40)):] {
		fmt.Println(l)
	}
	if w.result.Violation == nil {
		panic("stacks")
	}
}
