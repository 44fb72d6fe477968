// Package agent is the organ on each node that runs services: it reads what
// the cell wants, asks its guard for leases, starts and stops the parts, writes
// down what it did and reports what it sees.
//
// Its main rule is that a part of a service starts only under a lease that the
// guard shows as held, and that a lease is given back only when nothing of the
// service can still run. The rule lives in one pure function, [supervise.Step],
// which is asked before everything that is done.
//
// The package does not decide where services run (the controller does), does
// not vote or renew leases (the guard does) and knows no kind of part (drivers
// do). It keeps nothing running by itself: when Run ends, programs, addresses
// and leases stay, and the next agent adopts them.
package agent

import (
	"context"

	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// A Part is a driver for one kind of part. All calls are idempotent, return
// soon after ctx ends, and may come from different goroutines, but for one part
// of one service never two of Start, Stop and Probe at once.
type Part interface {
	// Start returns nil once the part runs. After an error the part may run in
	// part, and Stop is called.
	Start(context.Context, instance.Run) error

	// Stop returns nil once nothing of the part runs or can run. A Run whose
	// program has a grace of 0 asks for force at once.
	Stop(context.Context, instance.Run) error

	// Probe says whether the part runs, also if another agent process started
	// it. It says so only of what a driver has started.
	Probe(context.Context, instance.Run) (instance.Observed, error)

	// Wait blocks while the part runs and returns an error that describes how
	// it ended, or ctx's error.
	Wait(context.Context, instance.Run) error

	// Handles returns what the guard can cut off without the driver. It does
	// not block.
	Handles(instance.Run) instance.Handles
}

// A Promoter is a driver whose running parts can be told their role. Both calls
// may be repeated, and what is said of [Part] holds for them too.
type Promoter interface {
	// Promote returns nil once the part is primary. After an error it may be.
	Promote(context.Context, instance.Run) error
	// Demote returns nil once the part is not primary. After an error it may be.
	Demote(context.Context, instance.Run) error
}

// A Checker asks one question of a part again and again.
type Checker interface {
	// Watch asks until ctx ends, then returns. It calls verdict, from one
	// goroutine, with its first judgement and with every change of it; why is
	// one sentence if ok is false. A judgement of "no" needs as many failures
	// in a row as the check says.
	Watch(ctx context.Context, check spec.Check, run instance.Run, verdict func(ok bool, why string))
}

// A Guard is this node's guard, as package guardclient shows it. No call blocks.
type Guard interface {
	// Latest returns what is known of the guard.
	Latest() guardclient.View
	// Changed returns a channel that is closed when Latest will differ from
	// what it returned after the call of Changed.
	Changed() <-chan struct{}
	// Happened delivers what the guard tells, for the event log.
	Happened() <-chan guardwire.Happened
	// SetDuty sets the duty of the guard with this incarnation, and of no
	// other: a duty may hold a floor that only that guard may take.
	SetDuty(guard uint64, duty guardwire.Duty)
	// Release gives a lease back, after the duty that was set before. It is
	// lost if the guard is away; the caller looks at the state and repeats.
	Release(service spec.ServiceName, epoch uint64)
}

// Events takes what happened. Emit does not block.
type Events interface {
	Emit(event.Event)
}
