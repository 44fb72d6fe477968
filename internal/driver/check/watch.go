package check

import (
	"context"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/spec"
)

// Watch asks one question for as long as it is needed. Clock is required.
type Watch struct {
	Clock clock.Clock
	Check spec.Check
	// Program runs a program that is asked. It is required if Check names one.
	Program Program
	// Ask is how the question is asked; nil means [Once].
	Ask func(ctx context.Context, c spec.Check, run Program) error
}

// Run waits for as long as the check says, then asks at once and every so
// often, and calls report with each change of the verdict and the sentence of
// the last failure, which is empty for Passing. The first verdict is a change.
// It goes on until ctx ends and returns ctx's error; report is not called after
// ctx has ended.
//
// A question that takes longer than the interval delays the next; there is
// never more than one at a time.
func (w Watch) Run(ctx context.Context, report func(v Verdict, why string)) error {
	ask := w.Ask
	if ask == nil {
		ask = Once
	}
	if err := w.Clock.Sleep(ctx, time.Duration(w.Check.After)); err != nil {
		return err
	}
	judge := Judge{Failures: w.Check.EffectiveFailures(), Successes: w.Check.EffectiveSuccesses()}
	tick := w.Clock.Tick(w.Check.EffectiveEvery())
	defer tick.Stop()
	for {
		err := ask(ctx, w.Check, w.Program)
		if ctx.Err() != nil {
			return ctx.Err() // the answer was cut off and says nothing
		}
		var changed bool
		if judge, changed = judge.Note(err == nil); changed {
			why := ""
			if err != nil {
				why = err.Error()
			}
			report(judge.Verdict, why)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
