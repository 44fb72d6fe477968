package sim

import (
	"context"
	"sync"
	"time"
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
	Time    time.Duration // cell time that was played
	Faults  [kinds]int    // that happened, in the order of [Kinds]
	Wins    int
	Packets int
	// Takeovers were timed after a death, and were within their bound.
	Takeovers int
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
			w := new(world)
			for seed, ok := take(); ok; seed, ok = take() {
				done(w.run(write(seed, c.Options)))
			}
		})
	}
	all.Wait()
	return report
}

func (r *Report) add(one Result) {
	r.Runs++
	r.Time += one.Length
	r.Wins += one.Wins
	r.Packets += one.Packets
	r.Takeovers += one.Takeovers
	for k := range one.Faults {
		r.Faults[k] += one.Faults[k]
	}
	if one.Violation != nil && (r.Broken == nil || one.Seed < r.Broken.Seed) {
		r.Broken = &one
	}
}
