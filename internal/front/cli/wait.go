package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/awaiting"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
)

// Limits of waiting.
const (
	defaultWait = 2 * time.Minute
	redial      = 500 * time.Millisecond // between two attempts to follow the cell
	quiet       = time.Second            // nothing is shown before
	surely      = 2 * time.Second        // what has failed for so long has failed for good
)

const waitFlagsHelp = `    --no-wait            return as soon as the cell has taken note of it
    --timeout DURATION   wait no longer than this (default 2m)
`

// waiting is how a command waits for what it asked for.
type waiting struct {
	no      bool
	timeout time.Duration
}

func (w *waiting) register(c *cobra.Command) {
	c.Flags().BoolVar(&w.no, "no-wait", false, "")
	w.limit(c)
}

func (w *waiting) limit(c *cobra.Command) {
	c.Flags().DurationVar(&w.timeout, "timeout", defaultWait, "")
}

func (w *waiting) check() error {
	if w.timeout <= 0 {
		return wrong("write it as 30s or 2m", "--timeout must be longer than nothing")
	}
	return nil
}

// errReached ends a watch that has seen what it waited for.
var errReached = errors.New("reached")

// errLost ends a watch that has seen what looks like a failure for good.
var errLost = errors.New("lost")

// await follows the cell until reached says that what was asked for is done, or
// for some time that it has failed for good. It shows on a terminal how far it is.
// A connection that breaks is made again.
func (s *shell) await(ctx context.Context, api *client.Client, limit time.Duration, what string, reached func(client.Status) awaiting.Verdict) error {
	began := s.env.Clock.Now()
	var last awaiting.Verdict
	var lost time.Time // since when it has failed
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := api.WatchStatus(timed, func(c client.Status) error {
			last = reached(c)
			passed := s.env.Clock.Now().Sub(began)
			if passed > quiet {
				s.tty.Progress(fmt.Sprintf("%s: %s (%s)", what, last.Far, screen.Age(passed)))
			}
			switch {
			case last.Done:
				return errReached
			case last.Failed:
				return errLost
			}
			lost = time.Time{}
			return nil
		})
		switch {
		case errors.Is(err, errReached):
			s.tty.ClearProgress()
			return nil
		case ctx.Err() != nil:
			return &request.Error{
				Kind: request.Canceled, Code: "interrupted", Text: "interrupted: " + what + " goes on in the cell",
				Hint: "see `keelson status`",
			}
		case errors.Is(err, errLost) && lost.IsZero():
			lost = s.env.Clock.Now()
		case errors.Is(err, errLost) && s.env.Clock.Now().Sub(lost) >= surely:
			return &lostError{fmt.Sprintf("%s has failed: %s", what, last.Far), last.Next}
		case timed.Err() != nil:
			return late(what, limit, last)
		case !errors.Is(err, errLost) && !transient(err):
			return err
		}
		if s.env.Clock.Sleep(timed, redial) != nil {
			continue // the cases above say why
		}
	}
}

func late(what string, limit time.Duration, last awaiting.Verdict) error {
	if last.Far == "" {
		last.Far = "the cell did not say how far it is"
	}
	return &request.Error{
		Kind: request.Expired, Code: "timeout",
		Text: fmt.Sprintf("%s is not done after %s: %s", what, limit, last.Far),
		Hint: "the cell goes on with it; see `keelson status`",
	}
}

// transient tells whether it is worth to follow the cell again after err. A
// stream that ended without an error was ended by a node that stops.
func transient(err error) bool {
	var known *request.Error
	if err == nil {
		return true
	}
	if !errors.As(err, &known) {
		return false
	}
	switch known.Kind {
	case request.Unreachable, request.Unavailable, request.Internal, request.Exhausted, request.Expired, request.Canceled:
		return true
	case request.Invalid, request.NotFound, request.Exists, request.Refused, request.Denied, request.Unknown, request.Conflict:
	}
	return false
}
