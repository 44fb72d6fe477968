// Package member decides which nodes of a cell vote, and makes it so.
//
// It has two halves. On every node it makes the node's own wish true: become a
// voter of the store, or stop being one. On the controller it chooses the
// voters, asks nodes to take or give back a vote, replaces a voter that is gone
// for good, and lets the voters of the lease plane follow.
//
// Its main rule: one change at a time, and each step is found from what is
// true now, so that it may be interrupted anywhere. It refuses to touch the
// members of an external store and to remove the only voter.
package member

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

const (
	// busyPeriod is the pause between two looks while something is under way,
	// quietPeriod when not. A changed wish or node wakes at once.
	busyPeriod  = 500 * time.Millisecond
	quietPeriod = 2 * time.Second

	callTimeout  = 5 * time.Second  // of one call of the store or its cluster
	startTimeout = 30 * time.Second // of the start of the server
	stopTimeout  = 20 * time.Second // of its stop

	// strangerPatience is how long a member of the store may be no node of the
	// cell until it is expelled, awaitPatience how long a change of votes may
	// take until the operator is told.
	strangerPatience = time.Minute
	awaitPatience    = 2 * time.Minute

	defaultPeerPort = 7482
)

// Cluster changes the members of the store's cluster.
type Cluster interface {
	Members(context.Context) ([]store.Member, error)
	// AddLearner adds a server to be reached at HOST:PORT.
	AddLearner(ctx context.Context, peer string) (store.Member, error)
	Promote(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	// MoveLeader makes another voter lead if member id does.
	MoveLeader(ctx context.Context, id string) error
}

// Server is this node's store server. Whoever owns it restarts it on the data
// it has; this package starts it for the first time and stops it for the last.
type Server interface {
	// StartJoin starts the server of a learner; members are all there are.
	StartJoin(ctx context.Context, members []store.Member) error
	// Ready waits until it takes part.
	Ready(context.Context) error
	Stop(context.Context) error
	// Discard puts the data of a stopped server aside.
	Discard(at time.Time) error
	// MemberID is empty while the server does not run.
	MemberID() string
}

// Options are what a Member needs.
type Options struct {
	Node     spec.NodeName
	External bool // the store is the operator's own; Cluster, Server and HasData may be nil

	Store   store.Store
	Cluster Cluster
	Server  Server
	HasData func() bool // the server has a data directory

	// Leading reports whether this node is the controller.
	Leading func() bool
	// Liveness is what the cell holds of its nodes; a missing one is suspect.
	Liveness func() map[spec.NodeName]fact.Liveness
	// Record takes an event and returns at once.
	Record func(event.Event)

	Clock clock.Clock
	Log   *slog.Logger
}

// Member is one node's part in the choice of voters. Make one with [New].
type Member struct {
	options Options
	wake    chan struct{} // has room for one

	// Used by Run alone.
	lost      map[spec.NodeName]time.Duration // CLOCK_BOOTTIME at which this controller first saw it lost
	adopted   adoption
	uneven    uneven
	strangers map[string]time.Duration // members that are no nodes, since when
	awaited   time.Duration            // since when a change is awaited, 0: none is
	lastStep  step
	lastErr   string

	mu    sync.Mutex
	own   []string // notes on this node
	whole []string // notes on the cell, while this node is the controller
}

// New returns a Member that does nothing until Run.
func New(o Options) *Member {
	return &Member{options: o, wake: make(chan struct{}, 1), lost: make(map[spec.NodeName]time.Duration)}
}

// Notes returns sentences for the operator: what stands against a safe number
// of votes, and what to do. It is safe for concurrent use.
func (m *Member) Notes() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Concat(m.own, m.whole)
}

// Run works until ctx ends and returns its error. It waits for a store that
// does not answer.
func (m *Member) Run(ctx context.Context) error {
	var watches sync.WaitGroup
	defer watches.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, prefix := range []string{record.KeyWishes + string(m.options.Node), record.KeyNodes} {
		watches.Go(func() { m.watch(ctx, prefix) })
	}
	for {
		timer := m.options.Clock.Timer(m.pass(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		case <-m.wake:
			timer.Stop()
		}
	}
}

// watch wakes Run at every change under prefix.
func (m *Member) watch(ctx context.Context, prefix string) {
	for {
		err := m.options.Store.Watch(ctx, prefix, 0, func([]store.Event) error {
			select {
			case m.wake <- struct{}{}:
			default:
			}
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		m.options.Log.DebugContext(ctx, "watch ended, starting again", logkey.Err, err)
		if m.options.Clock.Sleep(ctx, busyPeriod) != nil {
			return
		}
	}
}

// pass looks once, does what is due and returns how long to wait.
func (m *Member) pass(ctx context.Context) time.Duration {
	all, err := m.load(ctx)
	if err != nil {
		m.complain(ctx, "votes not looked at", err)
		return busyPeriod
	}
	busy, err := m.nodePass(ctx, all)
	if err == nil {
		var more bool
		more, err = m.controllerPass(ctx, all)
		busy = busy || more
	}
	if err != nil {
		m.complain(ctx, "vote not changed yet", err)
		return busyPeriod
	}
	m.lastErr = ""
	if busy {
		return busyPeriod
	}
	return quietPeriod
}

// complain logs err once until it changes or is over. That the store does not
// answer now, or wants a change later, is no news.
func (m *Member) complain(ctx context.Context, what string, err error) {
	if ctx.Err() != nil || err.Error() == m.lastErr {
		return
	}
	m.lastErr = err.Error()
	level := slog.LevelWarn
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrBehind) || errors.Is(err, store.ErrUnhealthy) {
		level = slog.LevelDebug
	}
	m.options.Log.Log(ctx, level, "membership pass ended early", "stage", what, logkey.Err, err)
}

func (m *Member) tell(kind event.Kind, about spec.NodeName, text string) {
	if m.options.Record != nil {
		m.options.Record(event.Event{Kind: kind, About: about, Text: text})
	}
}

// call bounds one call.
func call(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}
