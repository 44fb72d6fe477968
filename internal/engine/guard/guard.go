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
	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// Link carries datagrams to and from the other guards. What it hands out is
// authentic and not a replay.
type Link interface {
	Carrier
	Rester
	Asker
	// HandOver returns what another program needs to go on with the link after an
	// exec of this process, whose descriptors stay open then. undo takes that
	// back. Nothing may be sent between the two.
	HandOver() (resume []byte, undo func(), err error)
}

// Carrier is the part of a Link that carries.
type Carrier interface {
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

// Rester is the part of a Link that saves work while nothing happens.
type Rester interface {
	// Rest chooses whether Receive leaves what arrives to Drain. Refusals are
	// told at once all the same.
	Rest(on bool)
	// Drain calls f with what is there now and does not wait.
	Drain(f func(Datagram))
}

// Asker is the part of a Link that asks kernels. Neither method waits; where
// asking is not allowed nobody answers.
type Asker interface {
	// Ping asks the kernel of a peer's host whether it lives.
	Ping(to uint8)
	// Answers calls f with the slots of those that have answered since the last
	// call.
	Answers(f func(from uint8))
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
	// Resume is what Link.HandOver returned in the program before this one; the
	// link goes on where that one stopped. Nil: there was none.
	Resume []byte
}

// Fence cuts things off without the agent.
type Fence interface {
	// Manage sets which addresses pass only while they are held.
	Manage(addrs []netip.Addr) error
	// Hold lets addresses pass until the given moment of the boot clock. It fails,
	// and drops them, if that is past by the time that it is done.
	Hold(addrs []netip.Addr, until time.Duration) error
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
	Build       string       // this program's version
	OpenLink    func(LinkOptions) (Link, error)
	Fence       Fence
	// Warnings returns sentences about this process, shown to the operator. It is
	// called often and from one goroutine. Nil: there are none.
	Warnings func() []string
	// Dropped is how many datagrams of each kind the link has dropped. It is called
	// often and from one goroutine; nobody may change the map. Nil: that is not known.
	Dropped func() map[string]uint64
	// Collect collects garbage. It is called in moments when nothing is waited
	// for. Nil: the runtime does it when it likes.
	Collect func()
	// Littered reports whether the runtime is about to collect garbage by itself, at
	// any moment. It is called with each heartbeat. Nil: it never is.
	Littered func() bool
	// Watchdog, if not nil, is petted while all is in order.
	Watchdog Watchdog
	// Successor puts another program in this one's place. Nil: an upgrade is
	// refused.
	Successor Successor
	// Upgrades asks for that, as an agent does by guardwire.Upgrade. May be nil.
	Upgrades <-chan guardwire.Upgrade
}

// Limits.
const (
	inboxSize  = 1024 // datagrams that wait for the loop
	wordsSize  = 64   // words of agents that wait for the loop
	happenings = 4096 // happenings kept for an agent that is away, or is told later
	// collectEvery is the time between two collections of garbage; the runtime's
	// own clock would start one after two minutes, at any moment.
	collectEvery = 110 * time.Second
	// collectLeast is the least time between two.
	collectLeast = 2 * time.Second
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
	names map[lease.ID]spec.ServiceName // of the duty
	slots map[uint8]string              // names of nodes, of the duty
	link  Link
	inbox chan *arrival
	free  chan *arrival // to be used again
	words chan word
	links chan error

	agent    *agentConn         // the connection in use
	present  custody.Attendance // of agents
	enforcer *enforcer
	upgrade  upgrade

	told     told
	troubles map[string]string // by what is in trouble
	parting  parting
	pace     pace
	rest     rest
	room     room
}

// told is what the agent has been told, and is to be.
type told struct {
	sent     guardwire.State // the last state sent
	due      time.Duration   // when the next one is, if nothing changes
	happened []guardwire.Happened
	peers    plane.View // the view of which the agent was last told in events
	suspects [32]flaps  // by slot
}

// pace is when things were done last.
type pace struct {
	dirty     bool          // something changed that others must hear of at once
	looked    time.Duration // when that was last settled
	sent      time.Duration // when packets were last sent
	petted    time.Duration // when the watchdog was
	collected time.Duration // when garbage was
	unruly    string        // why the watchdog is not petted
}

// room is memory that is used again, so that nothing is allocated while nothing
// changes.
type room struct {
	ruling   ruling            // of addresses
	primary  map[uint32]uint64 // the highest epoch held, by service with roles
	holds    []lease.Hold
	orders   []custody.Order
	twice    bool             // the duty has a name under two leases
	at       map[lease.ID]int // where the duty names a lease
	state    guardwire.State
	hear     func(Datagram)
	answered func(from uint8)
	gone     func(spec.ServiceName) bool
}

// arrival is a datagram.
type arrival struct {
	from        uint8
	incarnation uint64
	refused     bool
	data        []byte
}

// New returns a guard that does nothing until Run.
func New(opts Options) *Guard {
	if opts.Warnings == nil {
		opts.Warnings = func() []string { return nil }
	}
	if opts.Dropped == nil {
		opts.Dropped = func() map[string]uint64 { return nil }
	}
	if opts.Collect == nil {
		opts.Collect = func() {}
	}
	if opts.Littered == nil {
		opts.Littered = func() bool { return false }
	}
	g := &Guard{
		opts:  opts,
		inbox: make(chan *arrival, inboxSize), free: make(chan *arrival, inboxSize),
		words: make(chan word, wordsSize), links: make(chan error, 1),
		names: map[lease.ID]spec.ServiceName{}, slots: map[uint8]string{},
		troubles: map[string]string{}, parting: parting{forsaken: map[spec.ServiceName]time.Duration{}},
		upgrade: upgrade{checked: make(chan error, 1)},
	}
	g.room.hear, g.room.answered, g.room.primary = g.hear, g.answered, map[uint32]uint64{}
	g.room.gone = func(s spec.ServiceName) bool { return g.enforcer.gone(s) }
	return g
}

// Run guards until ctx ends or an agent says Quit, then cuts off what is held,
// gives the leases back, and returns nil. It goes on, and says so, while
// something cannot be cut off whose lease it can keep from others. A guard that
// was replaced by another program does not return at all.
func (g *Guard) Run(ctx context.Context) error {
	g.enforcer = newEnforcer(g.opts)
	// All goes on until everything was let go.
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	tasks := newTasks(working)
	defer tasks.wait()
	defer rest()
	if g.node != nil {
		g.takeOver(tasks)
	}
	tasks.start(func() { g.enforcer.run(working) })
	tasks.start(func() { g.serveAgents(working, tasks) })
	tasks.start(func() {
		<-working.Done()
		_ = g.opts.Listener.Close() // ends the accept; nobody is left to tell
	})
	off, err := g.loop(ctx, tasks)
	if !off {
		g.opts.Log.Error("the guard ends although not everything could be cut off; this node must be switched off before its services run elsewhere")
	}
	g.disarm(ctx, off)
	rest()
	if g.link != nil {
		err = errors.Join(err, g.link.Close())
	}
	if errors.Is(err, errQuit) || errors.Is(err, errAnew) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// loop is the one goroutine that owns the plane. It returns why the guard ends,
// and whether all that it held is off.
func (g *Guard) loop(ctx context.Context, tasks *tasks) (off bool, why error) {
	timer := g.opts.Clock.Timer(g.wait())
	defer timer.Stop()
	asked := ctx.Done()
	for {
		ticked := false
		select {
		case <-asked:
			asked = nil
			g.part(ctx.Err())
		case err := <-g.links:
			g.part(fmt.Errorf("heartbeat link: %w", err))
		case a := <-g.inbox:
			g.arrived(a)
		case w := <-g.words:
			g.pace.dirty = true
			if err := g.heard(ctx, tasks, w); err != nil {
				g.part(err)
			}
		case r := <-g.enforcer.gate.ruled:
			g.rule(r)
		case u := <-g.opts.Upgrades:
			g.askUpgrade(ctx, tasks, u)
		case err := <-g.upgrade.checked:
			g.upgradeChecked(err)
		case <-timer.C:
			g.tick()
			ticked = true
		}
		g.settle()
		if over, off := g.parted(); over {
			if g.node != nil {
				g.send() // what was just given back
			}
			return off, g.parting.why
		}
		if ticked {
			g.chores()
		}
		timer.Reset(g.wait())
	}
}

// wait is how long the loop may sleep.
func (g *Guard) wait() time.Duration {
	now := g.opts.Clock.Boot()
	// What the agent is to hear is looked at no more often than lookEvery.
	next := max(g.told.due, g.pace.looked+g.lookEvery())
	if g.parting.why != nil {
		next = g.opts.Clock.Boot() + lastWait
	}
	if g.node != nil {
		next = min(next, g.node.Next())
	}
	return max(next-now, 200*time.Microsecond)
}

// calm is how long nothing may be due for it to be a good moment for chores.
const calm = 20 * time.Millisecond

// chores does what is best done right after a heartbeat went out, when nothing
// else is due for a while.
func (g *Guard) chores() {
	g.pet()
	g.replace()
	now := g.opts.Clock.Boot()
	if len(g.duty.Peers) == 0 {
		g.resumed(now)
	}
	since := now - g.pace.collected
	if due := since >= collectEvery || since >= collectLeast && g.opts.Littered(); due && g.wait() >= calm {
		g.pace.collected = now
		g.opts.Collect()
	}
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
	if g.node == nil {
		return
	}
	if g.rest.on {
		g.link.Drain(g.room.hear)
	} else {
		g.link.Answers(g.room.answered)
	}
	g.node.Tick(g.opts.Clock.Boot())
}

func (g *Guard) arrived(a *arrival) {
	g.hear(Datagram{From: a.from, Incarnation: a.incarnation, Refused: a.refused, Data: a.data})
	select {
	case g.free <- a:
	default:
	}
}

// take keeps a datagram for the loop. It is called by the link's goroutine.
func (g *Guard) take(d Datagram) {
	var a *arrival
	select {
	case a = <-g.free:
	default:
		a = &arrival{}
	}
	a.from, a.incarnation, a.refused = d.From, d.Incarnation, d.Refused
	a.data = append(a.data[:0], d.Data...)
	select {
	case g.inbox <- a:
	default: // the loop is far behind; heartbeats are repeated anyway
	}
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
	for i := range g.duty.Seeks {
		if ttl := g.duty.Seeks[i].TTL; ttl > 0 {
			every = min(every, max(ttl/10, minLook))
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
		g.relax(now)
	}
	if !g.pace.dirty && now-g.pace.looked < g.lookEvery() {
		return
	}
	g.pace.dirty, g.pace.looked = false, now
	if g.node != nil {
		g.notePeers(now)
		g.forsake(now)
		g.dropKept(now)
		g.enforcer.order(g.enforcement(now))
	}
	for _, h := range g.enforcer.take() {
		g.happen(h)
	}
	g.tell(now)
}

// send hands the plane's packets to the link.
func (g *Guard) send() {
	packets := g.node.Packets()
	for _, p := range packets {
		g.link.Send(p.To, p.Data)
	}
	if len(packets) > 0 {
		now := g.opts.Clock.Boot()
		g.resumed(now)
		g.pace.sent = now
	}
}
