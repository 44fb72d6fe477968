package app

import (
	"context"
	"time"

	"github.com/keelson/keelson/internal/front/cli/histories"
	"github.com/keelson/keelson/internal/sim"
	"github.com/keelson/keelson/internal/sim/whole"
)

// Simulate plays histories of a cell. When ctx ends it returns what was played
// until then.
func (a *App) Simulate(ctx context.Context, o histories.Options) histories.Result {
	if o.Whole {
		return a.simulateWhole(ctx, o)
	}
	began := a.clock.Now()
	opts := sim.Options{Nodes: o.Nodes}
	report := sim.Campaign{From: o.From, Seeds: o.Seeds, Workers: o.Workers, Options: opts}.Run(ctx, func(r sim.Report) {
		o.Progress(r.Runs, r.Time)
	})
	out := histories.Result{
		Runs: report.Runs, Cell: report.Time, Took: a.clock.Now().Sub(began).Round(time.Millisecond), Wins: report.Wins, Packets: report.Packets,
	}
	for i, kind := range sim.Kinds() {
		out.Faults = append(out.Faults, histories.Fault{Kind: kind, Count: report.Faults[i]})
	}
	if b := report.Broken; b != nil {
		v := b.Violation
		if short := sim.Shrink(ctx, b.Seed, opts); short != nil {
			v = short
		}
		out.Broken = &histories.Broken{
			Seed: b.Seed, Nodes: b.Nodes, Invariant: v.Invariant, At: v.At.Seconds(), Text: v.Text, Faults: v.Faults, Trace: v.Trace,
		}
	}
	return out
}

// simulateWhole plays histories of whole nodes.
func (a *App) simulateWhole(ctx context.Context, o histories.Options) histories.Result {
	began := a.clock.Now()
	opts := whole.Options{Nodes: o.Nodes}
	report := whole.Campaign{From: o.From, Seeds: o.Seeds, Workers: o.Workers, Options: opts}.Run(ctx, func(r whole.Report) {
		o.Progress(r.Runs, r.Time)
	})
	out := histories.Result{
		Runs: report.Runs, Cell: report.Time, Took: a.clock.Now().Sub(began).Round(time.Millisecond),
		Starts: report.Starts, Plans: report.Plans, Cuts: report.Cuts, Packets: report.Packets,
	}
	for i, kind := range whole.Kinds() {
		out.Faults = append(out.Faults, histories.Fault{Kind: kind, Count: report.Faults[i]})
	}
	if b := report.Broken; b != nil {
		v := b.Violation
		if short := whole.Shrink(ctx, b.Seed, opts); short != nil {
			v = short
		}
		out.Broken = &histories.Broken{
			Seed: b.Seed, Nodes: b.Nodes, Invariant: v.Invariant, At: v.At.Seconds(), Text: v.Text, Faults: v.Faults, Trace: v.Trace,
		}
	}
	return out
}
