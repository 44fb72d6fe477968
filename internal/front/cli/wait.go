package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// Limits of waiting.
const (
	defaultWait = 2 * time.Minute
	redial      = 500 * time.Millisecond // between two attempts to follow the cell
	quiet       = time.Second            // nothing is shown before
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

// verdict is what a status says about something awaited: done, or how far it is.
type verdict struct {
	done bool
	far  string
}

// errReached ends a watch that has seen what it waited for.
var errReached = errors.New("reached")

// await follows the cell until reached says that what was asked for is done. It
// shows on a terminal how far it is. A connection that breaks is made again.
func (s *shell) await(ctx context.Context, api *client.Client, limit time.Duration, what string, reached func(client.Status) verdict) error {
	began := s.env.Clock.Now()
	var last verdict
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := api.WatchStatus(timed, func(c client.Status) error {
			last = reached(c)
			if last.done {
				return errReached
			}
			if passed := s.env.Clock.Now().Sub(began); passed > quiet {
				s.tty.Progress(fmt.Sprintf("%s: %s (%s)", what, last.far, screen.Age(passed)))
			}
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
		case timed.Err() != nil:
			return late(what, limit, last)
		case !transient(err):
			return err
		}
		if s.env.Clock.Sleep(timed, redial) != nil {
			continue // the cases above say why
		}
	}
}

func late(what string, limit time.Duration, last verdict) error {
	if last.far == "" {
		last.far = "the cell did not say how far it is"
	}
	return &request.Error{
		Kind: request.Expired, Code: "timeout",
		Text: fmt.Sprintf("%s is not done after %s: %s", what, limit, last.far),
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

func find(c client.Status, name spec.ServiceName) (client.Service, bool) {
	for _, s := range c.Services {
		if s.Name == name {
			return s, true
		}
	}
	return client.Service{}, false
}

func findNode(c client.Status, name spec.NodeName) (client.Node, bool) {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return client.Node{}, false
}

// applied is reached when all of what was applied runs and is ready, or is
// stopped because it says so.
func applied(c client.Status, result client.ApplyResult) verdict {
	for _, a := range result.Applied {
		s, known := find(c, a.Name)
		switch {
		case !known || s.Generation < a.Generation:
			return verdict{far: fmt.Sprintf("%s has not been seen by %s", a.Name, c.Node)}
		case s.State == status.Stopped:
		case s.State != status.Running || !s.Ready:
			return verdict{far: view.Progress(s)}
		}
	}
	return verdict{done: true}
}

// moved is reached when a service runs on another node than before, and on the
// wanted one if one is.
func moved(c client.Status, name spec.ServiceName, m request.Moved) verdict {
	s, known := find(c, name)
	there := s.Node != m.From
	if m.To != "" {
		there = s.Node == m.To
	}
	if known && there && s.State == status.Running {
		return verdict{done: true}
	}
	return verdict{far: view.Progress(s)}
}

// deleted is reached when the cell knows the service no more.
func deleted(c client.Status, name spec.ServiceName) verdict {
	s, known := find(c, name)
	if known && s.Node != "" {
		return verdict{far: "it is being stopped on " + string(s.Node)}
	}
	return verdict{done: !known, far: "it runs nowhere any more and is being forgotten"}
}

// drained is reached when nothing runs on the node.
func drained(c client.Status, name spec.NodeName) verdict {
	n, known := findNode(c, name)
	switch {
	case !known:
		return verdict{done: true}
	case !n.Draining && !n.Leaving:
		return verdict{far: "the wish has not been seen by " + string(c.Node)}
	case len(n.Services) > 0:
		return verdict{far: "still there: " + view.Names(n.Services)}
	}
	return verdict{done: true}
}

// gone is reached when the node is no member any more.
func gone(c client.Status, name spec.NodeName) verdict {
	n, known := findNode(c, name)
	if known && len(n.Services) > 0 {
		return verdict{far: "still there: " + view.Names(n.Services)}
	}
	return verdict{done: !known, far: "it is giving up its place in the cell"}
}
