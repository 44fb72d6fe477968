package guard

import (
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// enders are ways to ask a guard to end.
var enders = map[string]func(t *testing.T, s *site){
	"an agent says quit": func(t *testing.T, s *site) { t.Helper(); s.tell(t, guardwire.Message{Quit: &guardwire.Quit{}}) },
	"a signal":           func(_ *testing.T, s *site) { s.cancel() },
}

func TestGuardThatIsAskedToEndGivesBackWhatItHas(t *testing.T) {
	for name, end := range enders {
		t.Run(name, func(t *testing.T) {
			threeGuards(t, func(_ *wire, s []*site) {
				began := s[0].fence.clock.Boot()
				end(t, s[0])
				s[0].ends(t)
				if took := s[0].fence.clock.Boot() - began; took > 1500*time.Millisecond {
					t.Errorf("it took %s", took)
				}
				pass(t, s[1:], 200*time.Millisecond)
				if len(s[1].holds()) != 1 {
					t.Errorf("b holds %v", s[1].holds())
				}
				if at := s[0].fence.cutAt("/cg/shop"); at < began {
					t.Errorf("it was cut off at %s, the end began at %s", at, began)
				}
			})
		})
	}
}

func TestGuardDoesNotEndWhileItHoldsWhatItCannotCutOff(t *testing.T) {
	for name, end := range enders {
		t.Run(name, func(t *testing.T) {
			threeGuards(t, func(_ *wire, s []*site) {
				s[0].fence.stuck("/cg/shop")
				end(t, s[0])
				for range 40 {
					pass(t, s, 500*time.Millisecond)
					if got := s[1].holds(); len(got) != 0 {
						t.Fatalf("b holds %v while a's instance cannot be proven off", got)
					}
				}
				if s[0].fence.passes > s[0].fence.clock.Boot() {
					t.Error("its address passes")
				}
				if got := s[0].holds(); len(got) != 0 {
					t.Errorf("the agent is told that it may run %v", got)
				}
				if ws := strings.Join(s[0].last().Warnings, "\n"); !strings.Contains(ws, "was asked to end, and goes on: it cannot cut off shop") {
					t.Errorf("it warns: %q", ws)
				}
				select {
				case <-s[0].done:
					t.Fatal("it ended")
				default:
				}
				s[0].cancel() // once more changes nothing
				pass(t, s, time.Second)
				s[0].fence.stuck("")
				s[0].ends(t)
				pass(t, s[1:], 200*time.Millisecond)
				if len(s[1].holds()) != 1 {
					t.Errorf("b holds %v after a has cut it off", s[1].holds())
				}
			})
		})
	}
}

func TestGuardWhoseLeaseIsOverEndsAlthoughSomethingCannotBeCutOff(t *testing.T) {
	withDog(t, func(t *testing.T, _ *dog, w *wire, s []*site) bool {
		s[0].fence.stuck("/cg/shop")
		w.setMute(0, true)
		began := s[0].fence.clock.Boot()
		s[0].cancel()
		s[0].ends(t)
		if took := s[0].fence.clock.Boot() - began; took < partLimit || took > partLimit+2*time.Second {
			t.Errorf("it took %s", took)
		}
		return false // the watchdog does what the guard could not
	})
}

// TestWhatIsForsakenIsOffWhenItsAgentGoesOn is about an agent that stands still and
// goes on at any moment: it starts what the guard last said it might.
func TestWhatIsForsakenIsOffWhenItsAgentGoesOn(t *testing.T) {
	tests := map[string]func(t *testing.T, s *site){
		"the agent was away for too long": func(*testing.T, *site) {},
	}
	for name, end := range enders {
		tests[name] = end
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			threeGuards(t, func(_ *wire, s []*site) {
				told, started := time.Duration(s[0].last().Holds[0].Until), time.Duration(0)
				end(t, s[0])
				for range 1000 {
					pass(t, s[1:], 10*time.Millisecond)
					now := s[0].fence.clock.Boot()
					for _, h := range s[0].last().Holds {
						told = max(told, time.Duration(h.Until))
					}
					if len(s[1].holds()) > 0 {
						break
					}
					if told-now > supervise.StopAhead {
						started = now
					}
				}
				if len(s[1].holds()) == 0 || started == 0 {
					t.Fatalf("b holds nothing, what runs on a was started at %s", started)
				}
				if at := s[0].fence.cutAt("/cg/shop"); at < started {
					t.Errorf("what the agent started at %s was last cut off at %s, and b has the lease", started, at)
				}
				cut := s[0].fence.cutAt("/cg/shop")
				if s[0].ended = len(s[0].done) > 0; !s[0].ended {
					pass(t, s[1:], 2*custody.Recut)
					if name == "the agent was away for too long" && s[0].fence.cutAt("/cg/shop") == cut {
						t.Error("it is not cut off again and again")
					}
				}
			})
		})
	}
}

// The first successor's agent connects, says its duty, beats for 2 s and ends, again
// and again, when the holder's host dies. It can start nothing that lasts.
func TestAnAgentThatEndsAgainAndAgainKeepsNobodyFromTakingOver(t *testing.T) {
	threeGuards(t, func(w *wire, s []*site) {
		w.setMute(0, true)
		for range 5 {
			pass(t, s[1:], 2*time.Second)
			s[1].conn.Close()
			pass(t, s[2:], 2*time.Second)
			s[1].connect()
			d := dutyOf(1)
			s[1].tell(t, guardwire.Message{Duty: &d})
		}
		if pass(t, s[1:], time.Second); len(s[2].holds()) == 0 {
			t.Errorf("20 s later c has not taken over, b holds %v", s[1].last().Holds)
		}
	})
}

func TestANodeWithoutAnAgentIsNotWaitedFor(t *testing.T) {
	threeGuards(t, func(w *wire, s []*site) {
		s[1].conn.Close()
		pass(t, s[2:], 1500*time.Millisecond)
		w.setMute(0, true)
		if pass(t, s[2:], 2*time.Second); len(s[2].holds()) == 0 {
			t.Error("2 s after the holder fell silent c has not taken over, it waits for b, whose agent is away")
		}
		s[1].connect()
	})
}

func TestAnAgentThatIsRestartedKeepsWhatItsGuardHolds(t *testing.T) {
	threeGuards(t, func(_ *wire, s []*site) {
		epoch := s[0].last().Holds[0].Epoch
		s[0].conn.Close()
		pass(t, s[1:], 3*time.Second)
		s[0].connect()
		d := dutyOf(0)
		s[0].tell(t, guardwire.Message{Duty: &d})
		pass(t, s, custody.Steady)
		if holds := s[0].last().Holds; len(holds) != 1 || holds[0].Epoch != epoch {
			t.Errorf("it holds %+v", holds)
		}
	})
}
