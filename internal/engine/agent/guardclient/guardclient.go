// Package guardclient is the agent's end of the socket to this node's guard.
//
// Its main rule is that a duty reaches only the guard that it was made for:
// nothing is sent on a connection before the guard has said on it who it is.
// It starts a guard where none listens, asks one of another version to become
// that of the agent, and never ends one. It decides nothing else;
// what a lost connection means for what runs, package agent knows.
package guardclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keelson/keelson/internal/base/backoff"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	dialLimit     = 2 * time.Second
	writeLimit    = 2 * time.Second
	startLimit    = 15 * time.Second       // for one start of a guard
	startedWait   = 3 * time.Second        // until a guard that was started must listen
	startedPause  = 20 * time.Millisecond  // between two looks whether it does
	guardSilence  = 3 * time.Second        // without a state, until the connection is given up
	lastLook      = 50 * time.Millisecond  // at what came in, before that
	happenedRoom  = 1024                   // happenings that wait; the oldest are dropped
	releaseRoom   = 4096                   // releases that wait; see core/lease MaxServices
	redialLeast   = 50 * time.Millisecond  // between two attempts to connect
	redialMost    = 2 * time.Second        //
	restartLeast  = 500 * time.Millisecond // between two starts of a guard
	restartMost   = 30 * time.Second       //
	quickRedials  = 3                      // without a pause, until a connection was steady
	steadyAfter   = 10 * time.Second       // connected, until earlier troubles are forgotten
	protocolSpare = 1                      // a guard may be one version ahead
	upgradeAgain  = 10 * time.Minute       // until a guard that is still of another version is asked again
	// hangLimit is how long the agent may not look for happenings until it counts
	// as one that hangs; it looks every second.
	hangLimit = 5 * time.Second
	// changeover is how long after the end of a connection a guard that goes on
	// listening has to be heard again, until it counts as away: one that becomes
	// another program takes far less. One that falls silent is away at once.
	changeover = time.Second
)

// errProtocol means that the guard speaks a version that this agent does not.
var errProtocol = errors.New("the guard speaks another version")

// Options are what a client of the guard needs.
type Options struct {
	// Socket is the path of the guard's unix socket.
	Socket string
	Clock  clock.Clock
	Log    *slog.Logger

	// Start starts a guard that goes on without this process. It is called when
	// nobody listens on the socket, again and again with pauses from 0.5 to
	// 30 s. It must not start a second guard beside one that lives. Nil: the
	// guard is somebody else's business.
	Start func(context.Context) error

	// Dial connects to the guard. Nil: to the unix socket.
	Dial func(context.Context) (net.Conn, error)

	// Build is the agent's version, and Upgrade what a guard of another version is
	// asked to become. Nil: it is left as it is.
	Build   string
	Upgrade func() (guardwire.Upgrade, error)
}

// View is what is known of the guard.
type View struct {
	// State is the last one heard, valid if Heard. What it says of leases holds
	// until their Until, also after the connection is lost.
	State guardwire.State
	Heard bool
	// Up: connected, and a state was heard on this connection, or a moment ago on
	// the one before.
	Up bool
	// Gone: the last attempt to connect failed, so no guard listens.
	Gone bool
	// Unread: the guard is Up, and something that it said is not in State yet, or
	// may not be, since nothing was heard on a new connection. If not, State is the
	// last one that had come in when this was asked.
	Unread bool
}

// Client keeps the connection to this node's guard. It is safe for
// concurrent use.
type Client struct {
	options  Options
	happened chan guardwire.Happened
	looked   atomic.Int64  // CLOCK_BOOTTIME when the agent last looked for them
	wake     chan struct{} // something waits to be written

	mu       sync.Mutex
	view     View
	changed  chan struct{} // closed and replaced when view changes
	heard    bool          // a state, on this connection
	listener *listener     // of this connection, or of the one before; nil: none yet
	duty     *guardwire.Duty
	dutyFor  uint64
	dutySent bool // on this connection
	upgrade  *guardwire.Upgrade
	askAgain time.Duration // no upgrade is asked for before
	releases []guardwire.Release
	quit     bool
	quitting bool // Quit was called: no guard is started any more
}

// New returns a client that connects when it runs.
func New(o Options) *Client {
	if o.Dial == nil {
		o.Dial = func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", o.Socket)
		}
	}
	return &Client{
		options: o, happened: make(chan guardwire.Happened, happenedRoom),
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// Latest returns what is known of the guard.
func (c *Client) Latest() View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view
	v.Unread = v.Up && (!c.heard || c.listener.unread())
	return v
}

// Changed returns a channel that is closed when Latest will differ from what it
// returned after the call of Changed.
func (c *Client) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Happened delivers what the guard tells. If nobody takes it, the oldest is
// dropped. An agent that does not call it for a while counts as one that hangs:
// the guard hears no beat of it, and lets go in time.
func (c *Client) Happened() <-chan guardwire.Happened {
	c.looked.Store(int64(c.options.Clock.Boot()))
	return c.happened
}

// hangs reports whether the agent has not looked for happenings for long.
func (c *Client) hangs() bool {
	return c.options.Clock.Boot()-time.Duration(c.looked.Load()) > hangLimit
}

// SetDuty sets the duty of the guard with this incarnation. It is sent at once,
// and again on every new connection to the same guard, but to no other.
func (c *Client) SetDuty(guard uint64, duty guardwire.Duty) {
	c.mu.Lock()
	c.duty, c.dutyFor, c.dutySent = &duty, guard, false
	c.mu.Unlock()
	c.poke()
}

// Release gives a lease back, after the duty that was set before. It is lost if
// the guard is away.
func (c *Client) Release(service spec.ServiceName, epoch uint64) {
	c.mu.Lock()
	if c.heard && len(c.releases) < releaseRoom {
		c.releases = append(c.releases, guardwire.Release{Service: service, Epoch: epoch})
	}
	c.mu.Unlock()
	c.poke()
}

// Quit asks the guard to cut off what it holds, release all leases and end, and
// starts no other. The request is lost if the guard is away.
func (c *Client) Quit() {
	c.mu.Lock()
	c.quit, c.quitting = c.heard, true
	c.mu.Unlock()
	c.poke()
}

func (c *Client) hasQuit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quitting
}

func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run keeps the connection until ctx ends and then returns nil. The guard goes
// on without it.
func (c *Client) Run(ctx context.Context) error {
	redial := backoff.Backoff{Min: redialLeast, Max: redialMost, Jitter: 0.2}
	var t troubles
	c.looked.Store(int64(c.options.Clock.Boot()))
	for ctx.Err() == nil {
		conn, err := c.connect(ctx, &t)
		for err == nil {
			began := c.options.Clock.Boot()
			c.setView(func(v *View) { v.Gone = false })
			why := c.converse(ctx, conn)
			if ctx.Err() != nil {
				c.setView(func(v *View) { v.Up = false })
				return nil
			}
			c.options.Log.Warn("connection to the guard lost", logkey.Err, why)
			if c.options.Clock.Boot()-began >= steadyAfter {
				t = troubles{}
			}
			// One that fell silent stands still: its socket goes on accepting.
			silent := errors.Is(why, os.ErrDeadlineExceeded)
			if t.quick++; t.quick > quickRedials || !c.hasHeard() || silent {
				break
			}
			// One that becomes another program ends its connections, and listens on.
			conn, err = c.dial(ctx)
		}
		c.setView(func(v *View) { v.Up = false })
		t.failed++
		if c.options.Clock.Sleep(ctx, redial.Delay(t.failed, uint64(c.options.Clock.Boot()))) != nil {
			return nil
		}
	}
	return nil
}

func (c *Client) hasHeard() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

// troubles are what went wrong since the last steady connection.
type troubles struct {
	failed  int           // attempts to connect
	quick   int           // connections that were made again at once
	starts  int           // of a guard
	startAt time.Duration // no start before
}

// connect dials, and where nobody listens starts a guard, if it is time to.
func (c *Client) connect(ctx context.Context, t *troubles) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err == nil {
		return conn, nil
	}
	c.setView(func(v *View) { v.Gone = true })
	if c.options.Start == nil || c.hasQuit() || c.options.Clock.Boot() < t.startAt || ctx.Err() != nil {
		return nil, err
	}
	conn, err = c.start(ctx)
	restart := backoff.Backoff{Min: restartLeast, Max: restartMost, Jitter: 0.2}
	now := c.options.Clock.Boot()
	t.starts++
	t.startAt = now + restart.Delay(t.starts, uint64(now))
	if err != nil && ctx.Err() == nil {
		c.options.Log.Error("guard not started", logkey.Err, err)
	}
	return conn, err
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	return c.options.Dial(ctx)
}

// start starts a guard and connects to it once it listens.
func (c *Client) start(ctx context.Context) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := c.options.Start(limited); err != nil {
		return nil, fmt.Errorf("start a guard: %w", err)
	}
	limit := c.options.Clock.Boot() + startedWait
	for {
		conn, err := c.dial(ctx)
		if err == nil {
			c.options.Log.Info("guard started")
			return conn, nil
		}
		if c.options.Clock.Boot() >= limit {
			return nil, fmt.Errorf("connect to the guard that was started: %w", err)
		}
		if err := c.options.Clock.Sleep(ctx, startedPause); err != nil {
			return nil, err
		}
	}
}

// converse reads and writes until one of both fails or ctx ends, and closes
// conn.
func (c *Client) converse(ctx context.Context, conn net.Conn) error {
	c.mu.Lock()
	c.heard, c.dutySent, c.releases, c.quit, c.upgrade = false, false, nil, false, nil
	c.listener = newListener(conn, c.options.Clock)
	c.mu.Unlock()

	ctx, cancel := context.WithCancelCause(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		<-ctx.Done()
		_ = conn.Close() // ends both below; there is nothing to lose
	})
	tasks.Go(func() { cancel(c.write(ctx, conn)) })
	err := c.read(c.listener)
	cancel(err)
	tasks.Wait()
	return context.Cause(ctx)
}

func (c *Client) read(conn *listener) error {
	for first := true; ; first = false {
		limit := guardSilence
		if first && c.Latest().Up {
			limit = changeover
		}
		if err := conn.SetReadDeadline(c.options.Clock.Now().Add(limit)); err != nil {
			return fmt.Errorf("read from the guard: %w", err)
		}
		conn.done()
		m, err := guardwire.ReadFrame(conn)
		if errors.Is(err, guardwire.ErrMessage) {
			continue // of a newer guard
		}
		if err != nil {
			return fmt.Errorf("read from the guard: %w", err)
		}
		switch {
		case m.State != nil:
			p := m.State.Protocol
			if p < guardwire.Version || p > guardwire.Version+protocolSpare || m.State.Guard == 0 {
				return fmt.Errorf("state of version %d: %w", p, errProtocol)
			}
			c.setView(func(v *View) {
				*v, c.heard = View{State: *m.State, Heard: true, Up: true}, true
			})
			c.compare(m.State.Build)
			c.poke()
		case m.Happened != nil:
			c.keep(*m.Happened)
		}
	}
}

// compare asks a guard of another version to become that of this agent. One that
// refuses says why in its warnings, and is asked again after a while.
func (c *Client) compare(build string) {
	now := c.options.Clock.Boot()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.options.Upgrade == nil || build == c.options.Build || now < c.askAgain {
		return
	}
	c.askAgain = now + upgradeAgain
	if build == "" {
		c.options.Log.Warn("guard is too old to be upgraded while it runs; end it in a quiet moment, a new one is started")
		return
	}
	u, err := c.options.Upgrade()
	if err != nil {
		c.options.Log.Error("guard not upgraded", logkey.Err, err)
		return
	}
	c.upgrade = &u
	c.options.Log.Info("guard asked to become another version", "from", build, "to", u.Build)
}

// keep queues a happening. If nobody takes them, the oldest is dropped.
func (c *Client) keep(h guardwire.Happened) {
	for {
		select {
		case c.happened <- h:
			return
		default:
		}
		select {
		case <-c.happened:
		default:
		}
	}
}

// write sends what waits, and a beat in good time.
func (c *Client) write(ctx context.Context, conn net.Conn) error {
	tick := c.options.Clock.Tick(guardwire.BeatEvery)
	defer tick.Stop()
	for {
		for _, m := range c.outbox() {
			if err := c.send(conn, m); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		case <-tick.C:
			if c.hangs() {
				continue
			}
			if err := c.send(conn, guardwire.Message{Beat: &guardwire.Beat{}}); err != nil {
				return err
			}
		}
	}
}

func (c *Client) send(conn net.Conn, m guardwire.Message) error {
	if err := conn.SetWriteDeadline(c.options.Clock.Now().Add(writeLimit)); err != nil {
		return fmt.Errorf("write to the guard: %w", err)
	}
	if err := guardwire.WriteFrame(conn, m); err != nil {
		return fmt.Errorf("write to the guard: %w", err)
	}
	return nil
}

// outbox returns what is to be sent now: the duty before the releases. A duty
// is sent only to the guard that it was made for.
func (c *Client) outbox() []guardwire.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.heard {
		return nil // not heard on this connection: it may be another guard
	}
	var out []guardwire.Message
	if c.duty != nil && c.dutyFor == c.view.State.Guard && !c.dutySent {
		c.dutySent = true
		out = append(out, guardwire.Message{Duty: c.duty})
	}
	for i := range c.releases {
		out = append(out, guardwire.Message{Release: &c.releases[i]})
	}
	c.releases = nil
	if c.upgrade != nil {
		out = append(out, guardwire.Message{Upgrade: c.upgrade})
		c.upgrade = nil
	}
	if c.quit {
		c.quit = false
		out = append(out, guardwire.Message{Quit: &guardwire.Quit{}})
	}
	return out
}

func (c *Client) setView(f func(*View)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.view)
	close(c.changed)
	c.changed = make(chan struct{})
}
