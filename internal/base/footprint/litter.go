package footprint

import "runtime/metrics"

// Litter says when the runtime is about to collect garbage by itself, so that one
// who cannot be disturbed at any moment does so at a good one. It allocates nothing.
// It is not safe for concurrent use.
type Litter struct{ samples [2]metrics.Sample }

// litterShare is the part of the heap at which the runtime would begin, in tenths:
// it may begin at seven tenths of what it lets be added.
const litterShare = 6

// NewLitter returns a Litter of this process.
func NewLitter() *Litter {
	l := &Litter{}
	l.samples[0].Name, l.samples[1].Name = "/memory/classes/heap/objects:bytes", "/gc/heap/goal:bytes"
	return l
}

// Much reports whether it is about to. A runtime that does not say how much there
// is never has much.
func (l *Litter) Much() bool {
	metrics.Read(l.samples[:])
	for i := range l.samples {
		if l.samples[i].Value.Kind() != metrics.KindUint64 {
			return false
		}
	}
	there, goal := l.samples[0].Value.Uint64(), l.samples[1].Value.Uint64()
	return there/litterShare >= goal/10
}
