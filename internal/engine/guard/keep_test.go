package guard

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// threeKeepers is threeGuards with a service as change makes it.
func threeKeepers(t *testing.T, change func(*guardwire.Seek), f func(w *wire, s []*site)) {
	t.Helper()
	threeGuards(t, func(w *wire, s []*site) {
		for slot, x := range s {
			d := dutyOf(uint8(slot))
			change(&d.Seeks[0])
			x.tell(t, guardwire.Message{Duty: &d})
		}
		pass(t, s, 2*time.Second)
		if diff := cmp.Diff([]spec.ServiceName{"shop"}, s[0].holds()); diff != "" {
			t.Fatalf("a's leases: %s", diff)
		}
		f(w, s)
	})
}

func (w *wire) setMute(slot uint8, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute[slot] = on
}

func TestServiceThatIsKeptGoesOnWithoutQuorumAndEndsWhenAnotherHasIt(t *testing.T) {
	kept := func(s *guardwire.Seek) { s.Exclusive, s.Keep = false, true }
	threeKeepers(t, kept, func(w *wire, s []*site) {
		cut := s[0].fence.cutAt("/cg/shop")
		epoch := s[0].last().Holds[0].Epoch
		w.setMute(0, true)
		for range 500 {
			pass(t, s, 20*time.Millisecond)
			now := s[0].fence.clock.Boot()
			s[0].fence.mu.Lock()
			passes := s[0].fence.passes
			s[0].fence.mu.Unlock()
			holds := s[0].last().Holds
			if passes <= now || len(holds) != 1 || time.Duration(holds[0].Until) <= now || holds[0].Epoch != epoch {
				t.Fatalf("at %s the address passes until %s, and the agent was told %+v", now, passes, holds)
			}
		}
		if !s[0].last().Holds[0].Kept || s[0].last().Quorate {
			t.Errorf("the agent was told %+v", s[0].last())
		}
		if len(s[1].holds()) != 1 || s[1].last().Holds[0].Kept {
			t.Errorf("b holds %+v", s[1].last().Holds)
		}
		if s[0].fence.cutAt("/cg/shop") != cut {
			t.Error("it was cut off")
		}
		if !slices.Contains(s[0].kinds, string(event.ServiceKept)) {
			t.Errorf("the agent did not hear that it is kept: %v", s[0].kinds)
		}
		w.setMute(0, false)
		pass(t, s, 2*time.Second)
		if len(s[0].holds()) != 0 || len(s[1].holds()) != 1 {
			t.Errorf("together again a has %+v and b %+v", s[0].last().Holds, s[1].last().Holds)
		}
		if s[0].fence.cutAt("/cg/shop") == cut {
			t.Error("what a had kept was not cut off")
		}
	})
}

func TestServiceThatIsKeptGoesOnUnderANewLeaseIfNobodyHasIt(t *testing.T) {
	alone := func(s *guardwire.Seek) { s.Exclusive, s.Keep, s.Order = false, true, []uint8{0} }
	threeKeepers(t, alone, func(w *wire, s []*site) {
		cut, epoch := s[0].fence.cutAt("/cg/shop"), s[0].last().Holds[0].Epoch
		w.setMute(0, true)
		pass(t, s, 5*time.Second)
		w.setMute(0, false)
		pass(t, s, 2*time.Second)
		if h := s[0].last().Holds; len(h) != 1 || h[0].Kept || h[0].Epoch <= epoch {
			t.Errorf("after epoch %d a has %+v", epoch, h)
		}
		if s[0].fence.cutAt("/cg/shop") != cut {
			t.Error("it was cut off")
		}
	})
}

func TestNothingElseIsKept(t *testing.T) {
	tests := []struct {
		name            string
		exclusive, keep bool
	}{
		{"exclusive", true, false},
		{"exclusive, and said to be kept", true, true},
		{"not exclusive", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			change := func(s *guardwire.Seek) { s.Exclusive, s.Keep = tt.exclusive, tt.keep }
			threeKeepers(t, change, func(w *wire, s []*site) {
				cut := s[0].fence.cutAt("/cg/shop")
				w.setMute(0, true)
				pass(t, s, 2*time.Second)
				if h := s[0].last().Holds; len(h) != 0 {
					t.Errorf("the agent was told %+v", h)
				}
				if s[0].fence.cutAt("/cg/shop") == cut || s[0].fence.passes > s[0].fence.clock.Boot() {
					t.Error("it was not cut off")
				}
			})
		})
	}
}

func TestServiceThatIsKeptIsLostWithItsAgent(t *testing.T) {
	kept := func(s *guardwire.Seek) { s.Exclusive, s.Keep = false, true }
	threeKeepers(t, kept, func(w *wire, s []*site) {
		cut := s[0].fence.cutAt("/cg/shop")
		w.setMute(0, true)
		pass(t, s[1:], 4*time.Second) // a's agent is silent
		if len(s[0].holds()) != 1 || s[0].fence.cutAt("/cg/shop") != cut {
			t.Fatal("it was given up before agent_loss had passed")
		}
		pass(t, s[1:], 2500*time.Millisecond)
		if s[0].fence.cutAt("/cg/shop") == cut || s[0].fence.passes > s[0].fence.clock.Boot() {
			t.Error("it was not cut off")
		}
	})
}
