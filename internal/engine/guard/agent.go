package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/plane"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// word is something that an agent's connection has to say.
type word struct {
	from *agentConn
	msg  guardwire.Message
	gone bool
}

// agentConn is one agent's connection.
type agentConn struct {
	conn   net.Conn
	out    chan guardwire.Message
	unsent atomic.Int64 // messages that were said and not written yet
	drop   func()
	heard  bool // it has said something; owned by the loop
}

// outSize bounds what waits for a slow agent. One that does not read is cut off
// and connects again.
const outSize = 128

// writeTimeout bounds one write to an agent.
const writeTimeout = 2 * time.Second

func (g *Guard) serveAgents(ctx context.Context, t *tasks) {
	for {
		conn, err := g.opts.Listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			g.opts.Log.Warn("agent not accepted", logkey.Err, err)
			if g.opts.Clock.Sleep(ctx, 100*time.Millisecond) != nil {
				return
			}
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		a := &agentConn{conn: conn, out: make(chan guardwire.Message, outSize), drop: cancel}
		t.start(func() {
			<-ctx.Done()
			_ = conn.Close() // ends read and write below
		})
		t.start(func() { g.read(ctx, a) })
		t.start(func() { a.write(ctx, g.opts.Clock) })
	}
}

func (g *Guard) read(ctx context.Context, a *agentConn) {
	defer a.drop()
	put := func(w word) bool {
		select {
		case g.words <- w:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if !put(word{from: a}) {
		return
	}
	for {
		m, err := guardwire.ReadFrame(a.conn)
		if errors.Is(err, guardwire.ErrMessage) {
			continue // of a newer agent
		}
		if err != nil {
			put(word{from: a, gone: true})
			return
		}
		if !put(word{from: a, msg: m}) {
			return
		}
	}
}

func (a *agentConn) write(ctx context.Context, clk clock.Clock) {
	defer a.drop()
	frames := guardwire.NewWriter(a.conn)
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-a.out:
			if err := a.conn.SetWriteDeadline(clk.Now().Add(writeTimeout)); err != nil {
				return
			}
			if err := frames.Write(m); err != nil {
				return
			}
			a.unsent.Add(-1)
		}
	}
}

// say queues a message; an agent that is too slow loses its connection.
func (a *agentConn) say(m guardwire.Message) {
	a.unsent.Add(1)
	select {
	case a.out <- m:
	default:
		a.drop()
	}
}

// heard acts on a word of an agent. The newest connection is the agent.
func (g *Guard) heard(ctx context.Context, t *tasks, w word) error {
	now := g.opts.Clock.Boot()
	switch {
	case w.gone:
		if g.agent == w.from {
			g.agent = nil
			g.opts.Log.Warn("agent went away")
		}
		return nil
	case w.msg == (guardwire.Message{}):
		if g.agent != nil {
			g.agent.drop()
		}
		g.agent = w.from
		g.told.sent, g.told.due = guardwire.State{}, now
		g.opts.Log.Info("agent connected")
		return nil
	case w.from != g.agent:
		return nil
	}
	g.present.Heard(now, !w.from.heard)
	w.from.heard = true
	if g.parting.why == nil {
		g.books().Heard(g.present.Absence(now))
	}
	switch m := w.msg; {
	case m.Duty != nil:
		return g.setDuty(t, *m.Duty)
	case m.Release != nil:
		g.release(now, m.Release)
	case m.Upgrade != nil:
		g.askUpgrade(ctx, t, *m.Upgrade)
	case m.Quit != nil:
		return errQuit
	}
	return nil
}

func (g *Guard) release(now time.Duration, r *guardwire.Release) {
	if g.node == nil {
		return
	}
	for _, s := range g.duty.Seeks {
		if s.Service == r.Service {
			g.node.Release(now, s.ID, r.Epoch)
		}
	}
}

// setDuty takes a new duty. One for another cell or slot ends the guard: it
// cannot be two nodes in one life.
func (g *Guard) setDuty(t *tasks, d guardwire.Duty) error {
	now := g.opts.Clock.Boot()
	if g.node != nil {
		d = g.books().KeepHeld(g.node.Holds(now, nil), d)
	}
	if g.node != nil && (d.Cell != g.duty.Cell || d.Slot != g.duty.Slot || !slices.Equal(d.Listen, g.duty.Listen)) {
		g.opts.Log.Warn("the node's identity or its addresses changed, the guard starts anew")
		return errAnew
	}
	if g.link == nil {
		if err := g.open(t, d); err != nil {
			// The agent hears of it by the state, and repeats the duty.
			trouble := fmt.Sprintf("heartbeats cannot be sent or received: %v", err)
			if g.troubles["link"] != trouble {
				g.opts.Log.Error("heartbeat link not opened", logkey.Err, err)
			}
			g.troubles["link"] = trouble
			// Without a link there are no leases: what a guard before this one left
			// behind is cut off.
			g.enforcer.order(custody.Unheld(d))
			return nil
		}
		delete(g.troubles, "link")
	}
	g.connect(d)
	if g.node == nil {
		g.node = plane.New(d.Slot, g.opts.Incarnation)
	}
	g.know(d)
	g.node.SetDuty(now, g.wish())
	return nil
}

// know takes a duty for the one in force.
func (g *Guard) know(d guardwire.Duty) {
	g.duty = d
	g.slots = map[uint8]string{d.Slot: string(d.Node)}
	for _, p := range d.Peers {
		if p.Slot <= 31 {
			g.slots[p.Slot] = string(p.Name)
		}
	}
	g.names = make(map[lease.ID]spec.ServiceName, len(d.Seeks))
	for i := range d.Seeks {
		g.names[d.Seeks[i].ID] = d.Seeks[i].Service
	}
	g.room.twice, g.room.at = custody.Twice(&d), custody.Index(&d)
}

// connect gives the link its peers and keys.
func (g *Guard) connect(d guardwire.Duty) {
	peers := map[uint8][]netip.AddrPort{}
	for _, p := range d.Peers {
		if p.Slot <= 31 && p.Slot != d.Slot {
			peers[p.Slot] = parse(p.Addresses)
		}
	}
	if err := g.link.Configure(peers, d.Keys); err != nil {
		g.opts.Log.Error("peers not configured", logkey.Err, err)
	}
}

func (g *Guard) open(t *tasks, d guardwire.Duty) error {
	link, err := g.opts.OpenLink(LinkOptions{
		Cell: d.Cell, Slot: d.Slot, Incarnation: g.opts.Incarnation, Listen: parse(d.Listen), Keys: d.Keys,
	})
	if err != nil {
		return err
	}
	g.link = link
	g.receive(t)
	return nil
}

// receive hands what arrives to the loop, until everything was let go.
func (g *Guard) receive(t *tasks) {
	link := g.link
	t.start(func() {
		err := link.Receive(t.working, g.take)
		if t.working.Err() == nil {
			g.links <- err
		}
	})
}

func parse(in []string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range in {
		if a, err := netip.ParseAddrPort(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// tasks are the goroutines of a guard.
type tasks struct {
	group   sync.WaitGroup
	working context.Context //nolint:containedctx // ends when everything was let go
}

func newTasks(working context.Context) *tasks { return &tasks{working: working} }

func (t *tasks) start(f func()) { t.group.Go(f) }
func (t *tasks) wait()          { t.group.Wait() }

// dropKept forgets what was kept of a name that the duty has under another lease.
func (g *Guard) dropKept(now time.Duration) {
	if !g.room.twice {
		return
	}
	g.room.holds = g.node.Holds(now, g.room.holds[:0])
	if d, dropped := g.books().DropKept(g.room.holds); dropped {
		g.know(d)
		g.node.SetDuty(now, g.wish())
	}
}

// wish is what the duty asks of the lease plane: nothing is claimed for a service
// whose addresses are not ruled yet.
func (g *Guard) wish() plane.Duty { return custody.Wish(&g.duty, g.room.ruling.all) }
