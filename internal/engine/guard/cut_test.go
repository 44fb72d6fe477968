package guard

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// slowFence takes long to remove an address, and remembers each beginning.
type slowFence struct {
	*fence
	takes  time.Duration
	begins []time.Duration // of what was to be killed
	first  time.Duration   // when an address was first asked to be removed
}

func (f *slowFence) RemoveAddress(h string) error {
	f.mu.Lock()
	if f.first == 0 {
		f.first = f.clock.Boot()
	}
	f.mu.Unlock()
	time.Sleep(f.takes)
	return f.fence.RemoveAddress(h)
}

func (f *slowFence) Kill(ctx context.Context, h string) error {
	f.mu.Lock()
	f.begins = append(f.begins, f.clock.Boot())
	f.mu.Unlock()
	return f.fence.Kill(ctx, h)
}

func withEnforcer(t *testing.T, takes time.Duration, run func(e *enforcer, f *slowFence)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		clk := bubbleClock{zero: time.Now()}
		f := &slowFence{fence: &fence{clock: clk, cuts: map[string]time.Duration{}}, takes: takes}
		e := newEnforcer(Options{Clock: clk, Log: slog.New(slog.DiscardHandler), Fence: f})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.run(ctx); close(done) }()
		run(e, f)
		cancel()
		<-done
	})
}

func TestSlowAddressDoesNotHoldUpTheEndOfTheProcesses(t *testing.T) {
	for _, takes := range []time.Duration{0, time.Millisecond, 2 * time.Second} {
		t.Run(takes.String(), func(t *testing.T) {
			withEnforcer(t, takes, func(e *enforcer, f *slowFence) {
				until := f.clock.Boot() + time.Second
				e.order([]custody.Order{{
					Service: "shop", Epoch: 1, Until: until, Exclusive: true,
					Addresses: []string{"10.0.0.1/24%eth0", "10.0.0.2/24%eth0"}, Cgroups: []string{"/cg/shop"},
				}})
				time.Sleep(time.Second)
				killed := f.cutAt("/cg/shop")
				if killed == 0 || killed >= until {
					t.Errorf("cut-before-end: the processes were killed at %s, the lease ended at %s", killed, until)
				}
				if f.first > killed || f.first == killed && takes > 0 {
					t.Errorf("the address was begun with at %s, the processes ended at %s", f.first, killed)
				}
				if removed := f.cutAt("10.0.0.2/24%eth0"); takes < addressLead/2 && (removed == 0 || removed > killed) {
					t.Errorf("the addresses were gone at %s, the processes at %s", removed, killed)
				}
				if e.gone("shop") != (takes < time.Second) {
					t.Error("it counts as off while an address is not")
				}
			})
		})
	}
}

func TestWhatDoesNotRunIsNotCutOffWithoutAPause(t *testing.T) {
	withEnforcer(t, 0, func(e *enforcer, f *slowFence) {
		const looks = 200
		for i := range looks {
			e.order([]custody.Order{{Service: "shop", Cgroups: []string{fmt.Sprintf("/cg/%d", i%2)}}})
			time.Sleep(20 * time.Millisecond)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for i := 1; i < len(f.begins); i++ {
			if pause := f.begins[i] - f.begins[i-1]; pause < custody.RetryCut {
				t.Fatalf("cut %d began %s after the one before", i, pause)
			}
		}
		if len(f.begins) < 3 {
			t.Errorf("it was cut off at %v", f.begins)
		}
	})
}

func TestLeaseThatIsWonDuringACutIsOfUseWhenThatIsOver(t *testing.T) {
	withEnforcer(t, 300*time.Millisecond, func(e *enforcer, f *slowFence) {
		o := custody.Order{Service: "shop", Exclusive: true, Addresses: []string{"10.0.0.1/24%eth0"}, Cgroups: []string{"/cg/shop"}}
		e.order([]custody.Order{o})
		time.Sleep(100 * time.Millisecond)
		o.Epoch, o.Until = 7, f.clock.Boot()+time.Hour
		e.order([]custody.Order{o})
		if !e.cutting("shop") {
			t.Error("the address may be removed at any moment, and it is not said")
		}
		time.Sleep(time.Second)
		if e.cutting("shop") {
			t.Error("the cut is over, and it is not said")
		}
		at := f.cutAt("10.0.0.1/24%eth0")
		time.Sleep(10 * time.Second)
		if again := f.cutAt("10.0.0.1/24%eth0"); again != at {
			t.Errorf("the address was removed at %s, under the lease", again)
		}
	})
}

func TestAgentHearsOfALeaseWhenTheCutBeforeItIsOver(t *testing.T) {
	g, clk := lonely(t)
	holds := func() int { return len(g.state(clk.now).Holds) }
	g.told.sent = guardwire.State{}
	g.enforcer.atWork["shop"] = true
	if holds() != 0 {
		t.Error("it is told while the cut may still end what is started")
	}
	delete(g.enforcer.atWork, "shop")
	if holds() != 1 {
		t.Error("it is not told after that")
	}
	g.told.sent = clone(g.state(clk.now))
	g.enforcer.atWork["shop"] = true
	if holds() != 1 {
		t.Error("what was told already is taken back")
	}
}

func TestOrdersOfOneNameAreMerged(t *testing.T) {
	const now = time.Hour
	tests := []struct {
		name    string
		in, out []custody.Order
	}{
		{
			"what may run decides, whichever comes first",
			[]custody.Order{{Service: "a", Cgroups: []string{"new"}}, {Service: "b"}, {Service: "a", Epoch: 5, Until: 2 * now, Cgroups: []string{"old"}}},
			[]custody.Order{{Service: "a", Epoch: 5, Until: 2 * now, Cgroups: []string{"old"}}, {Service: "b"}},
		},
		{
			"what may not run takes nothing from what may",
			[]custody.Order{{Service: "a", Epoch: 5, Until: 2 * now, Cgroups: []string{"old"}}, {Service: "a", Exclusive: true, Cgroups: []string{"new"}}},
			[]custody.Order{{Service: "a", Epoch: 5, Until: 2 * now, Cgroups: []string{"old"}}},
		},
		{
			"if nothing may run, all is cut off",
			[]custody.Order{
				{Service: "a", Spared: true, Proof: 1, Addresses: []string{"x"}, Cgroups: []string{"old", "both"}},
				{Service: "a", Exclusive: true, Proof: 2, Addresses: []string{"y"}, Cgroups: []string{"both", "new"}},
			},
			[]custody.Order{{Service: "a", Exclusive: true, Proof: 2, Addresses: []string{"x", "y"}, Cgroups: []string{"old", "both", "new"}}},
		},
		{
			"of two that may run the later end counts",
			[]custody.Order{{Service: "a", Epoch: 5, Until: 2 * now, Cgroups: []string{"c"}}, {Service: "a", Epoch: 6, Until: 3 * now, Cgroups: []string{"c"}}},
			[]custody.Order{{Service: "a", Epoch: 6, Until: 3 * now, Cgroups: []string{"c"}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.out, custody.ByName(slices.Clone(tt.in), now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestServiceThatIsAppliedAgainWhileItsOldLeaseIsHeldIsNotCutOff(t *testing.T) {
	threeGuards(t, func(_ *wire, s []*site) {
		old, cut := s[0].last().Holds[0].Epoch, s[0].fence.cutAt("/cg/shop")
		for slot, x := range s {
			d := dutyOf(uint8(slot))
			d.Seeks[0].ID = 2
			x.tell(t, guardwire.Message{Duty: &d})
		}
		looks := func(what string) {
			t.Helper()
			for range 100 {
				pass(t, s, 20*time.Millisecond)
				s[0].fence.mu.Lock()
				passes := s[0].fence.passes
				s[0].fence.mu.Unlock()
				if now := s[0].fence.clock.Boot(); passes <= now {
					t.Fatalf("%s: at %s the address passes until %s", what, now, passes)
				}
			}
			if at := s[0].fence.cutAt("/cg/shop"); at != cut {
				t.Fatalf("%s: it was cut off at %s", what, at)
			}
		}
		looks("with the old lease")
		s[0].tell(t, guardwire.Message{Release: &guardwire.Release{Service: "shop", Epoch: old}})
		pass(t, s, 2*time.Second)
		cut = s[0].fence.cutAt("/cg/shop")
		looks("with the new lease")
		if h := s[0].last().Holds; len(h) != 1 || h[0].Epoch <= old {
			t.Errorf("after epoch %d a has %+v", old, h)
		}
	})
}

func TestWatchdogEndsANodeWhoseNewGuardCannotCutOffWhatItFinds(t *testing.T) {
	for _, exclusive := range []bool{true, false} {
		t.Run(fmt.Sprintf("exclusive %v", exclusive), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clk := bubbleClock{zero: time.Now()}
				d := &dog{clock: clk}
				w := &wire{ends: map[uint8]*end{}, mute: map[uint8]bool{0: true}}
				s := startSite(t, w, clk, 0, func(o *Options) { o.Watchdog = d })
				s.fence.stuck("/cg/shop")
				duty := dutyOf(0)
				duty.Seeks[0].Exclusive = exclusive
				s.tell(t, guardwire.Message{Duty: &duty})
				pass(t, []*site{s}, 60*time.Second)
				if hungry := d.hungry() > 50*time.Second; hungry != exclusive {
					t.Errorf("after 60 s of cuts that fail it was not petted for %s", d.hungry())
				}
				s.cancel()
				s.ends(t)
				s.conn.Close()
				if d.disarmed == exclusive {
					t.Errorf("it was disarmed in the end: %v", d.disarmed)
				}
			})
		})
	}
}

// Once it was off, a cut that fails later says nothing of a lease.
func TestCutThatFailsAfterOneThatDidNotIsNoReasonToEndTheNode(t *testing.T) {
	withEnforcer(t, 0, func(e *enforcer, f *slowFence) {
		e.order([]custody.Order{{Service: "shop", Exclusive: true, Cgroups: []string{"/cg/shop"}}})
		time.Sleep(time.Second)
		f.stuck("/cg/shop")
		time.Sleep(20*time.Second + custody.RetryCut/2) // between two attempts
		if ok, why := e.inOrder(); !ok || !e.idle() {
			t.Errorf("not in order: %s", why)
		}
	})
}

func TestOldLeaseOfANameIsForgottenWhenItIsOverAndNothingIsLeft(t *testing.T) {
	g, clk := lonely(t)
	d := g.duty
	d.Seeks = slices.Clone(d.Seeks)
	d.Seeks[0].ID, d.Seeks[0].Order = 2, nil
	if err := g.setDuty(newTasks(t.Context()), d); err != nil {
		t.Fatal(err)
	}
	known := func(what string, want ...uint32) {
		t.Helper()
		clk.add(2 * time.Second)
		g.present.Last = clk.now
		g.pace.dirty = true
		g.settle()
		var ids []uint32
		for i := range g.duty.Seeks {
			ids = append(ids, g.duty.Seeks[i].ID)
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	g.enforcer.proven["shop"] = false
	g.release(clk.now, &guardwire.Release{Service: "shop", Epoch: g.node.Holds(clk.now, nil)[0].Number})
	known("it may still run", 2, 1)
	g.enforcer.proven["shop"] = true
	known("it is off", 2)
	if g.room.twice {
		t.Error("the name still counts as being there twice")
	}
}
