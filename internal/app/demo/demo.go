// Package demo shows a failover on this machine: a cell of real hosts made of
// namespaces, a service, a client that asks for it all the time, and a fault.
//
// Its one rule: what it shows was measured. The outage is the client's, who
// asks the service and never the cell; the steps between are events of the cell,
// on the clock of uptime that all hosts of one machine share. Nothing is left
// when it ends, however it ends.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/internal/model/request"
)

// The sample service.
const (
	service  = "web"
	address  = "10.77.0.100"
	listen   = address + ":80"
	url      = "http://" + address + "/"
	client   = "client"
	partAddr = "address"
	partExec = "program"
)

// maxVoters is how many nodes of a cell vote at most.
const maxVoters = 5

// interval is the time between two questions of the client.
const interval = probe.DefaultEvery

// Limits of what the demo waits for.
const (
	formLimit  = 25 * time.Second // for the nodes to be a cell
	voteLimit  = 40 * time.Second // for the votes to be given out
	serveLimit = 15 * time.Second // for the service to run at first
)

// hostNames are the hosts, as many as are asked for.
func hostNames(n int) []string {
	all := []string{"alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india"}
	return all[:min(n, len(all))]
}

// Options says what to show. All but the embedded options is needed.
type Options struct {
	cli.DemoOptions
	Version string
	Clock   clock.Clock
}

// show is one run of the demo.
type show struct {
	Options
	voice *voice
	nodes []string
	lab   *lab.Lab
	cell  *cell.Cell
	logs  *logbook
}

// Run runs the demo until it is over or ctx ends. It returns an error that says
// what to do if the demo could not be shown, or if the service was not taken over.
func Run(ctx context.Context, o Options) error {
	s := &show{Options: o, voice: newVoice(o), nodes: hostNames(o.Nodes), logs: newLogbook()}
	s.voice.title(fmt.Sprintf("Keelson %s: a failover on this machine", o.Version))
	if err := s.raise(ctx); err != nil {
		return interrupted(ctx, err)
	}
	err := s.play(ctx)
	if err != nil && ctx.Err() == nil {
		err = s.keepLogs(err)
	}
	closed := s.voice.step("taking it all down", func(func(string)) (string, error) { return "nothing is left", s.lab.Close() })
	return cmp.Or(interrupted(ctx, err), closed)
}

// interrupted puts a plain word for what goes wrong when ctx ends.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// play does what comes after the lab stands.
func (s *show) play(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	i, err := s.breakIt(ctx, order{verb: s.Fault, rehearsed: true})
	if err != nil {
		return err
	}
	if s.JSON {
		if err := writeJSON(s.Out, reportOf(i, s.nodes, s.Version)); err != nil {
			return err
		}
	} else {
		s.tell(i)
	}
	if s.Once {
		return i.verdict()
	}
	return s.converse(ctx)
}

// raise makes the hosts.
func (s *show) raise(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's file: %w", err)
	}
	what := fmt.Sprintf("%d hosts and a client, made of namespaces", len(s.nodes))
	err = s.voice.step(what, func(func(string)) (string, error) {
		s.lab, err = lab.New(ctx, lab.Options{
			Hosts: append(slices.Clone(s.nodes), client), Shares: []lab.Share{cell.Share(self)},
		})
		return "", err
	})
	if errors.Is(err, lab.ErrForbidden) {
		return &request.Error{Kind: request.Refused, Code: "forbidden", Text: withoutCause(err.Error()), Err: err}
	}
	return err
}

// withoutCause cuts off what the kernel said, in brackets at the end of a
// sentence that says it better.
func withoutCause(text string) string {
	if n := strings.LastIndex(text, " ("); n > 0 && strings.HasSuffix(text, ")") {
		return text[:n]
	}
	return text
}

// prepare forms the cell and starts the service on it.
func (s *show) prepare(ctx context.Context) error {
	what := fmt.Sprintf("a cell of %d nodes, each joined by a token, with mutual TLS", len(s.nodes))
	err := s.voice.step(what, func(tell func(string)) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, formLimit)
		defer cancel()
		var err error
		s.cell, err = cell.Form(ctx, s.lab, cell.Options{Nodes: s.nodes, Output: s.logs.of, Progress: tell})
		return "", err
	})
	if err != nil {
		return err
	}
	if err := s.awaitVotes(ctx); err != nil {
		return err
	}
	return s.serve(ctx)
}

// awaitVotes waits until enough nodes vote to survive the loss of one.
func (s *show) awaitVotes(ctx context.Context) error {
	voters := votersOf(len(s.nodes))
	return s.voice.step(fmt.Sprintf("%d nodes with a vote", voters), func(tell func(string)) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, voteLimit)
		defer cancel()
		_, err := s.cell.Await(ctx, "the nodes to have their votes", func(c cell.Status) bool {
			n := countVoters(c)
			tell(fmt.Sprintf("%d so far", n))
			return n == voters && c.Whole(s.nodes)
		})
		return "", err
	})
}

// serve applies the service, and waits until it is ready and has successors.
func (s *show) serve(ctx context.Context) error {
	return s.voice.step("a service of an address and a web program", func(tell func(string)) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, serveLimit)
		defer cancel()
		if err := s.cell.Apply(ctx, webService()); err != nil {
			return "", err
		}
		tell("waiting for it to be ready")
		c, err := s.cell.Await(ctx, "the service to be ready and to have successors", func(c cell.Status) bool {
			w := c.Service(service)
			return w.Ready && w.Node != "" && len(w.Successors) > 0
		})
		return "runs on " + c.Service(service).Node, err
	})
}

// webService is the service as a user writes it.
func webService() string {
	return fmt.Sprintf(`kind: service
name: %s
parts:
  - name: %s
    address: %s/24
  - name: %s
    exec:
      command: [%s, %q]
      env: {%s: %s}
    check: {http: %q}
`, service, partAddr, address, partExec, lab.SelfPath, listen, lab.RoleVariable, lab.RoleWeb, url)
}

// votersOf is how many of n nodes vote: the largest odd number that is not above
// n or maxVoters.
func votersOf(n int) int {
	n = min(n, maxVoters)
	return n - 1 + n%2
}

func countVoters(c cell.Status) int {
	n := 0
	for _, m := range c.Nodes {
		if m.Voter {
			n++
		}
	}
	return n
}
