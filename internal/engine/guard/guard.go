// Package guard is the second process of a node: the lease plane, and its
// enforcement.
//
// It is small, long-lived and needs nobody: when the agent crashes, hangs or is
// upgraded, the guard goes on renewing what it holds, for a limited time. When a
// lease ends it cuts off what the agent has not stopped, before the moment from
// which another node may hold it (cut-before-end). It decides nothing but what
// package plane decides, keeps nothing on disk but the number of its start, and
// never starts anything.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// Link carries datagrams to and from the other guards. What it hands out is
// authentic and not a replay.
type Link interface {
	// Configure replaces the peers' addresses and the keys.
	Configure(peers map[uint8][]netip.AddrPort, keys []record.LinkKey) error
	// Send sends data to a peer, over all its addresses. A datagram may be lost.
	Send(to uint8, data []byte)
	// Receive waits for the next datagram and calls f with it, or with Refused
	// set. It returns when ctx ends or the link is broken.
	Receive(ctx context.Context, f func(Datagram)) error
	// Close frees the ports.
	Close() error
}

// Datagram is one arrival. Data is valid during the call only.
type Datagram struct {
	From        uint8
	Incarnation uint64
	Data        []byte
	// Refused: no data; the kernel of From says that its port is closed.
	Refused bool
}

// LinkOptions are what a link needs to open.
type LinkOptions struct {
	Cell        string
	Slot        uint8
	Incarnation uint64
	Listen      []netip.AddrPort
	Keys        []record.LinkKey
}

// Fence cuts things off without the agent.
type Fence interface {
	// Manage sets which addresses pass only while they are held.
	Manage(addrs []netip.Addr) error
	// Hold lets addresses pass for the given time from now.
	Hold(addrs []netip.Addr, d time.Duration) error
	// Drop stops addresses from passing.
	Drop(addrs []netip.Addr) error
	// RemoveAddress takes "prefix%interface" off. Not there is no error.
	RemoveAddress(handle string) error
	// Kill ends all processes of a cgroup handle (instance.Handles) and returns
	// nil only if none is left.
	Kill(ctx context.Context, handle string) error
}

// Options are what a guard needs.
type Options struct {
	Clock       clock.Clock
	Log         *slog.Logger
	Listener    net.Listener // where agents connect
	Incarnation uint64       // larger than that of every guard before on this node
	OpenLink    func(LinkOptions) (Link, error)
	Fence       Fence
	// Warnings are sentences about this process, shown to the operator.
	Warnings []string
}

// Limits.
const (
	inboxSize  = 1024 // datagrams that wait for the loop
	wordsSize  = 64   // words of agents that wait for the loop
	happenings = 256  // happenings kept for an agent that is away
)

var (
	errQuit = errors.New("the agent asked the guard to end")
	errAnew = errors.New("the node is another one now")
)

// Guard is the guard of one node.
type Guard struct {
	opts Options

	node  *plane.Node // nil until the first duty
	duty  guardwire.Duty
	slots map[uint8]string
	link  Link
	inbox chan arrival
	words chan word
	links chan error

	agent    *agentConn // the connection in use
	lastBeat time.Duration
	enforcer *enforcer

	sent     guardwire.State // the last state sent
	sentAt   time.Duration
	happened []guardwire.Happened
	troubles map[string]string         // by what is in trouble
	forsaken map[spec.ServiceName]bool // cut off because the agent is away
	dirty    bool                      // something changed that others must hear of at once
	looked   time.Duration             // when that was last settled
	peers    plane.View                // the view of which the agent was last told in events
}

// arrival is a datagram with the moment it was read.
type arrival struct {
	Datagram
	buf []byte
}

// New returns a guard that does nothing until Run.
func New(opts Options) *Guard {
	return &Guard{
		opts:  opts,
		inbox: make(chan arrival, inboxSize), words: make(chan word, wordsSize), links: make(chan error, 1),
		slots: map[uint8]string{}, troubles: map[string]string{}, forsaken: map[spec.ServiceName]bool{},
	}
}

// Run guards until ctx ends or an agent says Quit, then cuts off what is held
// and gives the leases back. It returns nil in both cases.
func (g *Guard) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.enforcer = newEnforcer(g.opts)
	tasks := newTasks()
	defer tasks.wait()
	defer cancel()
	// The enforcer goes on until everything was let go.
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	defer rest()
	tasks.start(func() { g.enforcer.run(working) })
	tasks.start(func() { g.serveAgents(ctx, tasks) })
	tasks.start(func() {
		<-ctx.Done()
		_ = g.opts.Listener.Close() // ends the accept; nobody is left to tell
	})
	err := g.loop(ctx, tasks)
	if !errors.Is(err, errQuit) && !g.letGo(ctx) {
		g.opts.Log.Error("the guard ends although not everything could be cut off; this node must be switched off before its services run elsewhere")
	}
	rest()
	if g.link != nil {
		err = errors.Join(err, g.link.Close())
	}
	if errors.Is(err, errQuit) || errors.Is(err, errAnew) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// loop is the one goroutine that owns the plane.
func (g *Guard) loop(ctx context.Context, tasks *tasks) error {
	timer := g.opts.Clock.Timer(guardwire.StateEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-g.links:
			return fmt.Errorf("heartbeat link: %w", err)
		case a := <-g.inbox:
			g.arrived(a)
		case w := <-g.words:
			g.dirty = true
			if err := g.heard(ctx, tasks, w); err != nil {
				return err
			}
		case <-timer.C:
			g.tick()
		}
		g.settle()
		timer.Reset(g.wait())
	}
}

// wait is how long the loop may sleep.
func (g *Guard) wait() time.Duration {
	now := g.opts.Clock.Boot()
	next := g.sentAt + g.stateEvery()
	if g.node != nil {
		next = min(next, g.node.Next())
	}
	return max(next-now, 200*time.Microsecond)
}

// stateEvery is how often the agent hears of the leases: four times within the
// shortest of them, so that it never stops what goes on being renewed.
func (g *Guard) stateEvery() time.Duration {
	every := guardwire.StateEvery
	for _, s := range g.duty.Seeks {
		if s.TTL > 0 {
			every = min(every, max(s.TTL/4, minLook))
		}
	}
	return every
}

// tick lets time pass. What has arrived is read first, so that a late guard
// does not hold the others for lost.
func (g *Guard) tick() {
	for range inboxSize {
		select {
		case a := <-g.inbox:
			g.arrived(a)
			continue
		default:
		}
		break
	}
	if g.node != nil {
		g.node.Tick(g.opts.Clock.Boot())
	}
}

func (g *Guard) arrived(a arrival) {
	if g.node == nil {
		return
	}
	if a.Refused {
		g.node.Refused(a.From)
		return
	}
	// A malformed payload under a good seal is a peer of another version; what
	// could be read of it has taken effect.
	_ = g.node.Receive(g.opts.Clock.Boot(), a.From, a.Incarnation, a.buf)
}

// minLook and maxLook bound lookEvery.
const (
	minLook = 20 * time.Millisecond
	maxLook = 100 * time.Millisecond
)

// lookEvery is the longest time until a renewal reaches the enforcer, or a
// change that brought no note reaches the agent: a small part of the shortest
// lease.
func (g *Guard) lookEvery() time.Duration {
	every := maxLook
	for _, s := range g.duty.Seeks {
		if s.TTL > 0 {
			every = min(every, max(s.TTL/10, minLook))
		}
	}
	return every
}

// settle sends what the plane wants sent, hands the leases to the enforcer, and
// tells the agent.
func (g *Guard) settle() {
	now := g.opts.Clock.Boot()
	if g.node != nil {
		g.send()
		g.noteLeases()
	}
	if !g.dirty && now-g.looked < g.lookEvery() {
		return
	}
	g.dirty, g.looked = false, now
	if g.node != nil {
		g.notePeers(now)
		g.agentLoss(now)
		g.enforcer.order(g.enforcement(now))
	}
	for _, h := range g.enforcer.take() {
		g.happen(h)
	}
	g.tell(now)
}

// letGo cuts off what is held and gives it back, and reports whether nothing is
// left. What could not be proven off keeps its lease.
func (g *Guard) letGo(ctx context.Context) bool {
	if g.node == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*killTimeout)
	defer cancel()
	held := g.node.Holds(g.opts.Clock.Boot(), nil)
	orders := g.enforcement(g.opts.Clock.Boot())
	for i := range orders {
		orders[i].until = 0
	}
	g.enforcer.order(orders)
	all := true
	for _, h := range held {
		name := g.serviceName(h.ID)
		for !g.enforcer.gone(name) && g.opts.Clock.Sleep(ctx, lastWait) == nil {
			g.node.Tick(g.opts.Clock.Boot()) // goes on renewing meanwhile
			g.send()
		}
		if !g.enforcer.gone(name) {
			all = false
			continue
		}
		g.node.Release(g.opts.Clock.Boot(), h.ID, h.Number)
	}
	g.send()
	return all
}

// send hands the plane's packets to the link.
func (g *Guard) send() {
	for _, p := range g.node.Packets() {
		g.link.Send(p.To, p.Data)
	}
}
