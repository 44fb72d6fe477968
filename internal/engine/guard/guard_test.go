package guard

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// bubbleClock takes its boot time from the clock of the test's bubble.
type bubbleClock struct{ zero time.Time }

func (bubbleClock) Now() time.Time                    { return time.Now() }
func (c bubbleClock) Boot() time.Duration             { return time.Since(c.zero) + time.Hour }
func (bubbleClock) Tick(d time.Duration) *time.Ticker { return time.NewTicker(d) }
func (bubbleClock) Timer(d time.Duration) *time.Timer { return time.NewTimer(d) }
func (bubbleClock) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// wire joins the links of the guards of a test.
type wire struct {
	mu   sync.Mutex
	ends map[uint8]*end
	mute map[uint8]bool
}

type end struct {
	w    *wire
	opts LinkOptions
	in   chan Datagram
}

func (w *wire) open(o LinkOptions) (Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := &end{w: w, opts: o, in: make(chan Datagram, 100)}
	w.ends[o.Slot] = e
	return e, nil
}

func (e *end) Configure(map[uint8][]netip.AddrPort, []record.LinkKey) error { return nil }
func (e *end) Close() error                                                 { return nil }
func (e *end) Rest(bool)                                                    {} // this end tells everything at once
func (e *end) Drain(func(Datagram))                                         {}
func (e *end) Ping(uint8)                                                   {}
func (e *end) Answers(func(uint8))                                          {}
func (e *end) HandOver() ([]byte, func(), error)                            { return []byte("link"), func() {}, nil }

func (e *end) Send(to uint8, data []byte) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if other := e.w.ends[to]; other != nil && !e.w.mute[to] && !e.w.mute[e.opts.Slot] {
		select {
		case other.in <- Datagram{From: e.opts.Slot, Incarnation: e.opts.Incarnation, Data: slices.Clone(data)}:
		default:
		}
	}
}

func (e *end) Receive(ctx context.Context, f func(Datagram)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-e.in:
			f(d)
		}
	}
}

// fence records what it is told, with the time.
type fence struct {
	mu     sync.Mutex
	clock  bubbleClock
	cuts   map[string]time.Duration
	passes time.Duration // until when the kernel would let the address pass
	cannot string        // a handle that cannot be cut off
	hangs  time.Duration // how long Hold takes

	managed   []netip.Addr  // nil: nothing was ever asked for
	manages   time.Duration // how long Manage takes
	unmanaged error         // why it fails
}

// slow makes Manage take so long, and fail with err.
func (f *fence) slow(d time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manages, f.unmanaged = d, err
}

func (f *fence) isManaged(a netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.managed, a)
}

// hang makes Hold take so long.
func (f *fence) hang(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangs = d
}

// stuck makes one handle that cannot be cut off.
func (f *fence) stuck(handle string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cannot = handle
}

func (f *fence) Manage(addrs []netip.Addr) error {
	f.mu.Lock()
	takes, err := f.manages, f.unmanaged
	f.mu.Unlock()
	if takes > 0 {
		time.Sleep(takes)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.managed = append([]netip.Addr{}, addrs...)
	}
	return err
}

func (f *fence) Hold(_ []netip.Addr, until time.Duration) error {
	f.mu.Lock()
	hangs := f.hangs
	f.mu.Unlock()
	if hangs > 0 {
		time.Sleep(hangs)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passes = until
	return nil
}

func (f *fence) Drop([]netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passes = f.clock.Boot()
	return nil
}
func (f *fence) RemoveAddress(h string) error { return f.cut(h) }
func (f *fence) Kill(_ context.Context, h string) error {
	return f.cut(h)
}

func (f *fence) cut(h string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h == f.cannot {
		return errors.New("a process does not end")
	}
	f.cuts[h] = f.clock.Boot()
	return nil
}

func (f *fence) cutAt(h string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cuts[h]
}

// pipes is a listener of in-memory connections.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p.conns); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// site is one node of a test: a guard and the test's hand as its agent.
type site struct {
	fence    *fence
	listener pipes
	conn     net.Conn
	cancel   context.CancelFunc
	done     chan error
	ended    bool

	mu    sync.Mutex
	state guardwire.State
	kinds []string
	texts []string
}

func (s *site) last() guardwire.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *site) holds() []spec.ServiceName {
	var out []spec.ServiceName
	for _, h := range s.last().Holds {
		out = append(out, h.Service)
	}
	return out
}

func startSite(t *testing.T, w *wire, clk bubbleClock, slot uint8, change ...func(*Options)) *site {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &site{
		fence:    &fence{clock: clk, cuts: map[string]time.Duration{}},
		listener: pipes{conns: make(chan net.Conn, 1)}, cancel: cancel, done: make(chan error, 1),
	}
	o := s.options(w, uint64(clk.Boot())+uint64(slot))
	for _, f := range change {
		f(&o)
	}
	g := New(o)
	go func() { s.done <- g.Run(ctx) }()
	s.connect()
	return s
}

func (s *site) options(w *wire, incarnation uint64) Options {
	return Options{
		Clock: s.fence.clock, Log: slog.New(slog.DiscardHandler), Listener: s.listener,
		Incarnation: incarnation, Build: "v1", OpenLink: w.open, Fence: s.fence,
	}
}

// connect connects the test as the agent, and reads what the guard says.
func (s *site) connect() {
	mine, theirs := net.Pipe()
	s.listener.conns <- theirs
	s.conn = mine
	go func() {
		for {
			m, err := guardwire.ReadFrame(mine)
			if err != nil {
				return
			}
			s.mu.Lock()
			if m.State != nil {
				s.state = *m.State
			}
			if m.Happened != nil {
				s.kinds = append(s.kinds, m.Happened.Kind)
				s.texts = append(s.texts, m.Happened.Text)
			}
			s.mu.Unlock()
		}
	}()
}

func (s *site) tell(t *testing.T, m guardwire.Message) {
	t.Helper()
	if err := guardwire.WriteFrame(s.conn, m); err != nil {
		t.Fatal(err)
	}
}

func dutyOf(slot uint8) guardwire.Duty {
	d := guardwire.Duty{
		Protocol: 1, Cell: "c", Slot: slot, Node: spec.NodeName(rune('a' + slot)),
		Lease: guardwire.Lease{Version: 1, Voters: 7, Floor: 1000, Ceiling: 2000, LongestTTL: time.Second},
		Seeks: []guardwire.Seek{{
			Service: "shop", ID: 1, TTL: time.Second, Exclusive: true, Order: []uint8{0, 1, 2}, AgentLoss: 5 * time.Second,
			Addresses: []string{"10.0.0.9/24%eth0"}, Cgroups: []string{"/cg/shop"},
		}},
	}
	for other := uint8(0); other < 3; other++ {
		if other != slot {
			d.Peers = append(d.Peers, guardwire.Peer{Slot: other, Name: spec.NodeName(rune('a' + other))})
		}
	}
	return d
}

// threeGuards runs f with three guards that have their duty and two seconds of
// peace behind them, and agents that beat.
func threeGuards(t *testing.T, f func(w *wire, sites []*site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		clk := bubbleClock{zero: time.Now()}
		w := &wire{ends: map[uint8]*end{}, mute: map[uint8]bool{}}
		var sites []*site
		for slot := uint8(0); slot < 3; slot++ {
			s := startSite(t, w, clk, slot)
			d := dutyOf(slot)
			s.tell(t, guardwire.Message{Duty: &d})
			sites = append(sites, s)
		}
		pass(t, sites, 3*time.Second)
		f(w, sites)
		for _, s := range sites {
			s.cancel()
			s.ends(t)
			s.conn.Close()
		}
	})
}

// ends waits until the guard has ended.
func (s *site) ends(t *testing.T) {
	t.Helper()
	if !s.ended {
		s.ended = true
		if err := <-s.done; err != nil {
			t.Errorf("guard ended with %v", err)
		}
	}
}

// pass lets d go by while the agents of sites beat.
func pass(t *testing.T, sites []*site, d time.Duration) {
	t.Helper()
	for ; d > 0; d -= guardwire.BeatEvery {
		for _, s := range sites {
			s.tell(t, guardwire.Message{Beat: &guardwire.Beat{}})
		}
		time.Sleep(min(d, guardwire.BeatEvery))
	}
}

func TestFirstInOrderHoldsTheLease(t *testing.T) {
	threeGuards(t, func(_ *wire, s []*site) {
		if diff := cmp.Diff([]spec.ServiceName{"shop"}, s[0].holds()); diff != "" {
			t.Errorf("a's leases: %s", diff)
		}
		if len(s[1].holds())+len(s[2].holds()) > 0 {
			t.Error("b or c holds a lease that a holds")
		}
		if st := s[1].last(); st.Alive != 7 || !st.Quorate || st.Holders[1] != 0 {
			t.Errorf("b sees alive %b, quorate %v, holders %v", st.Alive, st.Quorate, st.Holders)
		}
	})
}

func TestSuccessorTakesOverOnlyAfterTheCut(t *testing.T) {
	threeGuards(t, func(w *wire, s []*site) {
		w.mu.Lock()
		w.mute[0] = true
		w.mu.Unlock()
		epoch := s[0].last().Holds[0].Epoch
		for range 200 {
			pass(t, s, 20*time.Millisecond)
			if len(s[1].holds()) > 0 {
				break
			}
		}
		now := s[0].fence.clock.Boot()
		if got := s[1].holds(); len(got) != 1 || s[1].last().Holds[0].Epoch <= epoch {
			t.Fatalf("b holds %v after epoch %d", s[1].last().Holds, epoch)
		}
		for _, h := range []string{"10.0.0.9/24%eth0", "/cg/shop"} {
			if at := s[0].fence.cutAt(h); at == 0 || at > now || at < now-2*time.Second {
				t.Errorf("cut-before-end: a cut %s off at %s, b held the lease at %s", h, at, now)
			}
		}
		if s[0].fence.passes > now {
			t.Errorf("a's kernel lets the address pass until %s, b held the lease at %s", s[0].fence.passes, now)
		}
	})
}

func TestAgentThatIsAwayLosesTheServiceAfterItsTime(t *testing.T) {
	threeGuards(t, func(_ *wire, s []*site) {
		pass(t, s[1:], 4*time.Second) // a's agent is silent
		if len(s[0].holds()) != 1 {
			t.Fatal("the lease was given up before agent_loss had passed")
		}
		cut := s[0].fence.cutAt("/cg/shop")
		pass(t, s[1:], 2500*time.Millisecond)
		if s[0].fence.cutAt("/cg/shop") == cut {
			t.Error("the service was not cut off")
		}
		// The next in line does not wait for a verdict about a's agent.
		if holder, held := s[1].last().Holders[1]; !held || holder != 1 {
			t.Errorf("b did not take over: it sees the lease with slot %d (%v)", holder, held)
		}
	})
}

func TestLeaseThatTheDutyDoesNotNameIsKeptAndShown(t *testing.T) {
	threeGuards(t, func(_ *wire, s []*site) {
		d := dutyOf(0)
		d.Seeks = nil // the agent's wish, sent before it saw that the lease was won
		s[0].tell(t, guardwire.Message{Duty: &d})
		pass(t, s, 2*time.Second)
		if diff := cmp.Diff([]spec.ServiceName{"shop"}, s[0].holds()); diff != "" {
			t.Fatalf("the lease is not shown by its name: %s", diff)
		}
		cut := s[0].fence.cutAt("/cg/shop")
		s[0].tell(t, guardwire.Message{Release: &guardwire.Release{Service: "shop", Epoch: s[0].last().Holds[0].Epoch}})
		pass(t, s, 2*time.Second)
		if len(s[0].holds()) != 0 {
			t.Error("the lease was not given back")
		}
		if s[0].fence.cutAt("/cg/shop") == cut {
			t.Error("what ran under it was not cut off in the end")
		}
	})
}

func TestReleaseLetsTheNextOneIn(t *testing.T) {
	threeGuards(t, func(_ *wire, s []*site) {
		for slot, x := range s {
			d := dutyOf(uint8(slot))
			d.Seeks[0].Order = []uint8{2, 1, 0}
			x.tell(t, guardwire.Message{Duty: &d})
		}
		pass(t, s, time.Second)
		if len(s[0].holds()) != 1 {
			t.Fatal("the holder lost its lease although it did not give it back")
		}
		s[0].tell(t, guardwire.Message{Release: &guardwire.Release{Service: "shop", Epoch: s[0].last().Holds[0].Epoch}})
		pass(t, s, 500*time.Millisecond)
		if len(s[0].holds()) != 0 || len(s[2].holds()) != 1 {
			t.Errorf("a holds %v, c holds %v", s[0].holds(), s[2].holds())
		}
	})
}

// stuckFence has one process that cannot be killed.
type stuckFence struct {
	*fence
	closed time.Duration // the longest time that the kernel let the address not pass
}

func (f *stuckFence) Hold(addrs []netip.Addr, until time.Duration) error {
	f.mu.Lock()
	if f.passes > 0 {
		f.closed = max(f.closed, f.clock.Boot()-f.passes)
	}
	f.mu.Unlock()
	return f.fence.Hold(addrs, until)
}

func (f *stuckFence) Kill(ctx context.Context, h string) error {
	if h == "/cg/stuck" {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.fence.Kill(ctx, h)
}

func TestProcessThatWillNotDieDelaysNoOtherService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := bubbleClock{zero: time.Now()}
		f := &stuckFence{fence: &fence{clock: clk, cuts: map[string]time.Duration{}}}
		e := newEnforcer(Options{Clock: clk, Log: slog.New(slog.DiscardHandler), Fence: f})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.run(ctx); close(done) }()
		began := clk.Boot()
		for range 100 {
			e.order([]custody.Order{
				{Service: "stuck", Cgroups: []string{"/cg/stuck"}},
				{Service: "ends", Epoch: 1, Until: began + time.Second, Cgroups: []string{"/cg/ends"}},
				{Service: "well", Epoch: 1, Until: clk.Boot() + time.Second, Addresses: []string{"10.0.0.1/24%eth0"}, Cgroups: []string{"/cg/well"}},
			})
			time.Sleep(100 * time.Millisecond)
		}
		if at := f.cutAt("/cg/ends"); at == 0 {
			t.Error("the service whose lease ended was not cut off")
		}
		if at := f.cutAt("/cg/well"); at != 0 {
			t.Errorf("the service that was renewed all the time was cut off after %s", at-began)
		}
		if f.closed > 0 {
			t.Errorf("the address of the service that was renewed did not pass for %s", f.closed)
		}
		if e.gone("stuck") || !e.gone("ends") {
			t.Errorf("proven off: stuck %v, ends %v", e.gone("stuck"), e.gone("ends"))
		}
		cancel()
		<-done
	})
}

func TestCutIsDoneBeforeTheLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := bubbleClock{zero: time.Now()}
		f := &stuckFence{fence: &fence{clock: clk, cuts: map[string]time.Duration{}}}
		e := newEnforcer(Options{Clock: clk, Log: slog.New(slog.DiscardHandler), Fence: f})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.run(ctx); close(done) }()
		until := clk.Boot() + time.Second
		e.order([]custody.Order{{Service: "shop", Epoch: 1, Until: until, Cgroups: []string{"/cg/shop"}, Addresses: []string{"10.0.0.1/24%eth0"}}})
		time.Sleep(until - clk.Boot())
		for _, h := range []string{"/cg/shop", "10.0.0.1/24%eth0"} {
			if at := f.cutAt(h); at == 0 || at >= until {
				t.Errorf("cut-before-end: %s was cut off at %s, the lease ended at %s", h, at, until)
			}
		}
		cancel()
		<-done
	})
}
