package sim

import (
	"context"
	"slices"
)

// maxShrinks bounds the histories that are played to make one shorter.
const maxShrinks = 1000

// Shrink finds the shortest way to what the history of seed violates: with as
// few of its faults as still break the same invariant, and cut at that moment.
// It returns nil if the history violates nothing. If ctx ends it returns the
// shortest found until then.
func Shrink(ctx context.Context, seed uint64, opts Options) *Violation {
	return shrink(ctx, write(seed, opts))
}

func shrink(ctx context.Context, p plan) *Violation {
	w := new(world)
	worst := w.run(p).Violation
	if worst == nil {
		return nil
	}
	p.faults = slices.DeleteFunc(slices.Clone(p.faults), func(f fault) bool { return f.at > worst.At })
	try := func(without int) bool {
		fewer := p
		fewer.faults = slices.Delete(slices.Clone(p.faults), without, without+1)
		if p.trials { // what is to be borne has to be learned first
			scene := p.faults[without].scene
			fewer.faults = slices.DeleteFunc(slices.Clone(p.faults), func(f fault) bool { return f.scene == scene })
		}
		v := w.run(fewer).Violation
		if v == nil || v.Invariant != worst.Invariant {
			return false
		}
		p.faults = slices.DeleteFunc(fewer.faults, func(f fault) bool { return f.at > v.At })
		return true
	}
	tries := 0
	for again := true; again; {
		again = false
		// The last faults first: what came before them may have needed them.
		for i := len(p.faults) - 1; i >= 0; i-- {
			if tries++; tries > maxShrinks || ctx.Err() != nil {
				again = false
				break
			}
			if i < len(p.faults) && try(i) {
				again = true
			}
		}
	}
	w.tracing = true
	return w.run(p).Violation
}
