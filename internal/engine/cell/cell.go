// Package cell carries out what operators ask of a cell, and says how it is.
//
// A [Clerk] turns requests into guarded transactions on the store; [Assemble]
// turns records and the live view of this node into a status. Package mirror keeps
// a copy of the records for those who watch, package recorder writes events. The main rule: a request changes wishes, never facts. It is done when it is
// written; the controller and the agents make it so. Nothing here starts,
// stops or places a service.
package cell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// Limits of writing to the store.
const (
	// Attempts is how often a guarded transaction is tried, against others who
	// change the same keys and against a store that elects a leader.
	Attempts = 8
	// AttemptTimeout bounds one attempt. It is a few election timeouts, so that
	// an attempt that was lost with a leader is repeated soon.
	AttemptTimeout = 2 * time.Second
	// MaxServices is how many services a cell holds.
	MaxServices = 1000
)

// Events takes note of what happened. Add must not block.
type Events interface {
	Add(event.Event)
}

// Clerk carries out the requests of operators. Its fields are set once; it is
// safe for concurrent use. Every method returns a [*request.Error] or the
// context's error.
type Clerk struct {
	Store  store.Store
	Clock  clock.Clock
	Events Events
	// Live returns what this node sees right now.
	Live func() Live
}

// again is what one attempt at a guarded transaction came to.
type again bool

// attempt calls f until it is done, fails for good, or has been tried
// [Attempts] times. f reads what it needs, and returns true if others changed
// it before it could write. An unanswered call is repeated too: what f reads
// then shows whether its write happened.
func (c *Clerk) attempt(ctx context.Context, what string, f func(context.Context) (again, error)) error {
	pause := 10 * time.Millisecond
	var last error
	for range Attempts {
		once, cancel := context.WithTimeout(ctx, AttemptTimeout)
		retry, err := f(once)
		cancel()
		switch {
		case err == nil && !bool(retry):
			return nil
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case err != nil && !unanswered(err):
			return outcome(what, err)
		}
		last = err
		if err := c.Clock.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
	if last != nil {
		return outcome(what, last)
	}
	return &request.Error{
		Kind: request.Conflict, Code: "conflict",
		Text: fmt.Sprintf("%s: others kept changing the same records", what),
		Hint: "nothing was changed; try again in a moment",
	}
}

func unanswered(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// outcome turns an error of the store into an answer for people; answers pass.
func outcome(what string, err error) error {
	var answer *request.Error
	switch {
	case errors.As(err, &answer):
		return answer
	case unanswered(err):
		return &request.Error{
			Kind: request.Unavailable, Code: "store-unavailable", Err: err,
			Text: what + ": the cell's store does not answer",
			Hint: "a majority of the voters must be up and in touch: see `keelson status`",
		}
	case errors.Is(err, store.ErrTooLarge):
		return &request.Error{
			Kind: request.Exhausted, Code: "too-large", Err: err,
			Text: what + ": that is more than the store takes at once (1 MiB)",
			Hint: "split it into smaller pieces; nothing was changed",
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// edit changes the JSON record at key under a guard. f gets the record and
// whether it exists; it returns the new one and whether to write it.
func edit[T any](ctx context.Context, c *Clerk, key string, f func(T, bool) (T, bool, error)) (again, error) {
	entry, found, err := c.Store.Get(ctx, key)
	if err != nil {
		return false, err
	}
	var old T
	if found {
		if err := json.Unmarshal(entry.Value, &old); err != nil {
			return false, fmt.Errorf("read %s: %w", key, err)
		}
	}
	changed, write, err := f(old, found)
	if err != nil || !write {
		return false, err
	}
	value, err := json.Marshal(changed)
	if err != nil {
		return false, err
	}
	done, _, err := c.Store.Txn(ctx,
		[]store.Guard{{Key: key, Revision: entry.Revision}},
		[]store.Op{{Key: key, Value: value}})
	return again(!done), err
}

func noSuchService(name spec.ServiceName) error {
	return &request.Error{
		Kind: request.NotFound, Code: "no-such-service",
		Text: fmt.Sprintf("there is no service %q", string(name)),
		Hint: "see `keelson get services`",
	}
}

func noSuchNode(name spec.NodeName) error {
	return &request.Error{
		Kind: request.NotFound, Code: "no-such-node",
		Text: fmt.Sprintf("there is no node %q", string(name)),
		Hint: "see `keelson get nodes`",
	}
}

func refused(code, hint, format string, args ...any) error {
	return &request.Error{Kind: request.Refused, Code: code, Text: fmt.Sprintf(format, args...), Hint: hint}
}
