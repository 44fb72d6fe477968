package whole

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/sim/whole/script"
)

// Campaign plays many histories, one seed after the other.
type Campaign struct {
	From    uint64 // first seed
	Seeds   uint64 // how many
	Workers int    // at once; less than 1 counts as 1
	Options Options
}

// Report is what a campaign has shown so far.
type Report struct {
	Runs    int
	Time    time.Duration     // cell time that was played
	Faults  [script.Count]int // that happened, in the order of [Kinds]
	Starts  int
	Plans   int
	Cuts    int
	Packets int
	// Broken is the history of the lowest seed that broke an invariant; nil: none
	// did.
	Broken *Result
}

// Run plays the histories until all are played, ctx ends or an invariant is
// broken; then it plays those of lower seeds to their end. progress is called
// after every history, by one caller at a time; it may be nil.
func (c Campaign) Run(ctx context.Context, progress func(Report)) Report {
	var (
		mu     sync.Mutex
		report Report
		next   = c.From
		end    = c.From + c.Seeds
		all    sync.WaitGroup
	)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next >= end || ctx.Err() != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	done := func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		report.add(r)
		if report.Broken != nil {
			end = min(end, report.Broken.Seed)
		}
		if progress != nil {
			progress(report)
		}
	}
	for range max(c.Workers, 1) {
		all.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				done(Run(seed, c.Options))
			}
		})
	}
	all.Wait()
	return report
}

func (r *Report) add(one Result) {
	r.Runs++
	r.Time += one.Length
	r.Starts += one.Starts
	r.Plans += one.Plans
	r.Cuts += one.Cuts
	r.Packets += one.Packets
	for k := range one.Faults {
		r.Faults[k] += one.Faults[k]
	}
	if one.Violation != nil && (r.Broken == nil || one.Seed < r.Broken.Seed) {
		r.Broken = &one
	}
}

// maxShrinks bounds the histories that are played to make one shorter.
const maxShrinks = 400

// Shrink finds a short way to what the history of seed violates: with as few of
// its faults as still break the same invariant. It returns nil if the history
// violates nothing. If ctx ends it returns the shortest found until then.
func Shrink(ctx context.Context, seed uint64, opts Options) *Violation {
	w, p := new(world), script.Write(seed, opts)
	worst := w.run(p).Violation
	if worst == nil {
		return nil
	}
	tries := 0
	for again := true; again; {
		again = false
		// The last faults first: what came before them may have needed them.
		for i := len(p.Faults) - 1; i >= 0; i-- {
			if tries++; tries > maxShrinks || ctx.Err() != nil {
				break
			}
			fewer := p
			fewer.Faults = slices.Delete(slices.Clone(p.Faults), i, i+1)
			if v := w.run(fewer).Violation; v != nil && v.Invariant == worst.Invariant {
				p, again = fewer, true
			}
		}
	}
	w.tracing = true
	return w.run(p).Violation
}
