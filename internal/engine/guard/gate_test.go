package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// withNew is dutyOf with a second service, which has an address of its own.
func withNew(slot uint8) guardwire.Duty {
	d := dutyOf(slot)
	s := d.Seeks[0]
	s.Service, s.ID, s.Addresses, s.Cgroups = "wiki", 2, []string{"10.0.0.10/24%eth0"}, []string{"/cg/wiki"}
	d.Seeks = append(d.Seeks, s)
	return d
}

func TestAddressIsManagedBeforeItsLeaseIsWonAndASlowKernelDelaysNothingElse(t *testing.T) {
	address := netip.MustParseAddr("10.0.0.10")
	threeGuards(t, func(_ *wire, s []*site) {
		s[0].fence.slow(1500*time.Millisecond, nil)
		epoch := s[0].last().Holds[0].Epoch
		for slot, x := range s {
			d := withNew(uint8(slot))
			x.tell(t, guardwire.Message{Duty: &d})
		}
		won := false
		for range 150 {
			pass(t, s, 20*time.Millisecond)
			holds := s[0].last().Holds
			if len(holds) == 0 || holds[0].Service != "shop" || holds[0].Epoch != epoch {
				t.Fatalf("the other service's lease was not renewed: %+v", holds)
			}
			for _, x := range s[1:] {
				if st := x.last(); st.Suspect != 0 || st.Lost != 0 {
					t.Fatalf("the node fell silent: suspect %b, lost %b", st.Suspect, st.Lost)
				}
			}
			if len(holds) < 2 {
				continue
			}
			won = true
			if !s[0].fence.isManaged(address) {
				t.Fatal("the lease was won although the kernel lets its address pass")
			}
			if diff := cmp.Diff([]string{"10.0.0.10/24%eth0"}, holds[1].Ruled); diff != "" {
				t.Fatalf("the agent was told: %s", diff)
			}
		}
		if !won {
			t.Errorf("after 3 s the leases are %v", s[0].holds())
		}
	})
}

func TestNewAddressOfAServiceThatRunsIsNotRuledBeforeTheKernelKnows(t *testing.T) {
	address := netip.MustParseAddr("10.0.0.11")
	threeGuards(t, func(_ *wire, s []*site) {
		s[0].fence.slow(time.Second, nil)
		d := dutyOf(0)
		d.Seeks[0].Addresses = []string{"10.0.0.11/24%eth0", "10.0.0.9/24%eth0"}
		s[0].tell(t, guardwire.Message{Duty: &d})
		for range 100 {
			pass(t, s, 20*time.Millisecond)
			st := s[0].last()
			if len(st.Holds) != 1 || !st.Rules {
				t.Fatalf("the state is %+v", st)
			}
			if slices.Contains(st.Holds[0].Ruled, d.Seeks[0].Addresses[0]) && !s[0].fence.isManaged(address) {
				t.Fatal("it counts as ruled before the kernel was told")
			}
		}
		if diff := cmp.Diff(d.Seeks[0].Addresses, s[0].last().Holds[0].Ruled); diff != "" {
			t.Errorf("in the end: %s", diff)
		}
	})
}

func TestKernelThatCannotRuleAddressesIsAWarningUntilItCan(t *testing.T) {
	threeGuards(t, func(_ *wire, s []*site) {
		s[0].fence.slow(0, errors.New("no such table"))
		for slot, x := range s {
			d := withNew(uint8(slot))
			x.tell(t, guardwire.Message{Duty: &d})
		}
		pass(t, s, time.Second)
		if diff := cmp.Diff([]spec.ServiceName{"shop", "wiki"}, s[0].holds()); diff != "" {
			t.Errorf("the leases, which are enforced otherwise: %s", diff)
		}
		if ws := strings.Join(s[0].last().Warnings, "\n"); !strings.Contains(ws, "does not enforce the leases of addresses here: no such table") {
			t.Errorf("it warns: %q", ws)
		}
		s[0].fence.slow(0, nil)
		pass(t, s, remanage+time.Second)
		if ws := s[0].last().Warnings; len(ws) > 0 {
			t.Errorf("it still warns: %q", ws)
		}
		if !s[0].fence.isManaged(netip.MustParseAddr("10.0.0.10")) {
			t.Error("it was not tried again")
		}
	})
}

func TestGuardLeavesTheAddressesAloneUntilItHasADuty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := bubbleClock{zero: time.Now()}
		s := startSite(t, &wire{ends: map[uint8]*end{}, mute: map[uint8]bool{}}, clk, 0)
		pass(t, []*site{s}, 5*time.Second)
		s.fence.mu.Lock()
		if s.fence.managed != nil {
			t.Errorf("what a guard before it had managed was replaced by %v", s.fence.managed)
		}
		s.fence.mu.Unlock()
		d := dutyOf(0)
		d.Seeks = nil
		s.tell(t, guardwire.Message{Duty: &d})
		pass(t, []*site{s}, 2*time.Second)
		s.fence.mu.Lock()
		if s.fence.managed == nil {
			t.Error("addresses of a guard before it are still managed although its duty has none")
		}
		s.fence.mu.Unlock()
		s.cancel()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		s.conn.Close()
	})
}

func TestHangingPacketFilterDelaysNoCut(t *testing.T) {
	threeGuards(t, func(w *wire, s []*site) {
		s[0].fence.hang(2 * time.Second)
		pass(t, s, 500*time.Millisecond)
		w.setMute(0, true)
		for range 200 {
			pass(t, s, 20*time.Millisecond)
			if len(s[1].holds()) > 0 {
				break
			}
		}
		now := s[0].fence.clock.Boot()
		if at := s[0].fence.cutAt("/cg/shop"); len(s[1].holds()) == 0 || at == 0 || at > now || at < now-2*time.Second {
			t.Errorf("cut-before-end: a was cut off at %s, b held %v at %s", at, s[1].holds(), now)
		}
		s[0].fence.hang(0)
		pass(t, s, 2*time.Second)
	})
}

// lateClock stands still for a while at its n-th reading.
type lateClock struct {
	bubbleClock
	n     *int
	still time.Duration
}

func (c lateClock) Boot() time.Duration {
	now := c.bubbleClock.Boot()
	if *c.n--; *c.n < 0 {
		now += c.still
	}
	return now
}

// Wherever the guard stands still on its way to the kernel, what it asks for ends
// with the lease, and it looks again when the lease is over.
func TestTheKernelIsToldOfNoMomentAfterTheLease(t *testing.T) {
	const still = 5 * time.Second
	for n := range 8 {
		synctest.Test(t, func(t *testing.T) {
			left := n
			clk := lateClock{bubbleClock{zero: time.Now()}, &left, still}
			until := clk.bubbleClock.Boot() + 300*time.Millisecond
			f := &fence{clock: clk.bubbleClock}
			g := newGate(Options{Clock: clk.bubbleClock, Fence: f, Log: slog.New(slog.DiscardHandler)})
			g.opts.Clock = clk
			wait := g.serve(&passes{
				Order: custody.Order{Service: "db", Until: until},
				addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
			})
			if f.passes > until {
				t.Errorf("late at reading %d: the kernel lets it pass for %s after the lease's end", n, f.passes-until)
			}
			if n > 0 && left < 0 && wait > 0 {
				t.Errorf("late at reading %d: the gate looks again in %s only", n, wait)
			}
		})
	}
}

func TestWhatIsInNoOrderIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := bubbleClock{zero: time.Now()}
		e := newEnforcer(Options{Clock: clk, Log: slog.New(slog.DiscardHandler), Fence: &fence{clock: clk, cuts: map[string]time.Duration{}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.run(ctx); close(done) }()
		for i := range 20 {
			o := custody.Order{
				Service: spec.ServiceName(fmt.Sprint("s", i)), Until: clk.Boot() + time.Second,
				Addresses: []string{"10.0.0.1/24%eth0"}, Cgroups: []string{"/cg/shop"},
			}
			e.order([]custody.Order{o})
			time.Sleep(2 * time.Second)
		}
		if !e.gone("s19") {
			t.Error("it is not proven off: this test shows nothing")
		}
		e.order(nil)
		time.Sleep(5 * time.Second)
		e.mu.Lock()
		if n := len(e.state) + len(e.proven) + len(e.gate.passes) + len(e.gate.open); n > 0 {
			t.Errorf("%d things are known of services that are in no order", n)
		}
		e.mu.Unlock()
		cancel()
		<-done
	})
}
