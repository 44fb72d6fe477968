package agent

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// jumpy is the clock of an agent that does not run at times: its timers come
// later than they are due.
type jumpy struct {
	bubble
	missed *atomic.Int64
}

func (j jumpy) Boot() time.Duration { return j.bubble.Boot() + time.Duration(j.missed.Load()) }

// say is a state of the guard that is sent and read now.
func (w *world) say(until time.Duration) {
	now := w.clock.Boot()
	w.guard.set(func(v *guardclient.View) {
		v.State.Now = guardwire.Boot(now)
		v.State.Holds = nil
		if until > 0 {
			v.State.Holds = []guardwire.Hold{{Service: "shop", Epoch: 5, Until: guardwire.Boot(now + until)}}
		}
	})
	synctest.Wait()
}

func TestAnAgentThatWasLateHearsTheGuardBeforeItStopsAnything(t *testing.T) {
	const step = 10 * time.Millisecond
	kills := []string{"kill shop/web", "kill shop/db"}
	tests := []struct {
		name  string
		then  func(w *world, missed *atomic.Int64)
		after time.Duration // since it went on; what happened by then
		want  []string
	}{
		{"a lease that was renewed meanwhile", func(w *world, _ *atomic.Int64) {
			w.pass(4 * step)
			w.say(time.Hour)
		}, time.Second, nil},
		{"two words of the guard wait, and the first is old too", func(w *world, _ *atomic.Int64) {
			w.guard.set(func(v *guardclient.View) {
				v.State.Now += guardwire.Boot(time.Second)
				holds := slices.Clone(v.State.Holds)
				holds[0].Until += guardwire.Boot(time.Second)
				v.State.Holds = holds
			})
			w.pass(4 * step)
			w.say(time.Hour)
		}, time.Second, nil},
		{"a lease that is gone stops at once", func(w *world, _ *atomic.Int64) { w.say(0) }, 0, kills},
		{"a guard that says nothing is not waited for any longer", func(*world, *atomic.Int64) {}, supervise.HearingTime + time.Millisecond, kills},
		{"not yet", func(*world, *atomic.Int64) {}, supervise.HearingTime - time.Millisecond, nil},
		{"one that is late again does not wait again", func(w *world, missed *atomic.Int64) {
			w.pass(step)
			missed.Add(int64(time.Second))
		}, supervise.HearingTime + time.Millisecond, kills},
		{"a guard that is away is not waited for", func(w *world, _ *atomic.Int64) {
			w.guard.set(func(v *guardclient.View) { v.Up = false })
			w.place("a", "c", "b") // wakes it
		}, 0, kills},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var missed atomic.Int64
				w.clock = jumpy{missed: &missed}
				w.apply(1)
				w.place("a", "b", "c")
				w.up()
				w.say(time.Second)
				w.want("start shop/db epoch 5", "start shop/web epoch 5")
				w.pass(step)
				w.pass(time.Second - supervise.StopAhead - supervise.LookAhead - 2*step)
				missed.Add(int64(2 * step)) // a little late, with the lease as it was
				w.place("a", "b", "c")
				w.want()
				missed.Add(int64(3 * time.Second)) // it does not run
				w.place("a", "b", "c")             // the first that it sees when it goes on
				w.want()
				began := w.clock.Boot() - time.Duration(missed.Load())
				tt.then(w, &missed)
				w.pass(max(tt.after-(w.clock.Boot()-time.Duration(missed.Load())-began), 0))
				w.want(tt.want...)
				if cut := slices.Contains(w.log.kinds(), event.ServiceCut); cut != (tt.want != nil) {
					t.Errorf("told that it was stopped by force: %v", cut)
				}
			})
		})
	}
}

func TestAnAgentThatIsOnTimeDoesNotWaitForAGuardThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1)
		w.place("a", "b", "c")
		w.up()
		w.say(time.Second)
		w.want("start shop/db epoch 5", "start shop/web epoch 5")
		w.pass(time.Second - supervise.StopAhead - time.Millisecond)
		w.want()
		w.pass(2 * time.Millisecond)
		w.want("kill shop/web", "kill shop/db")
	})
}

// A renewal of the same epoch is no news, and what was stopped for want of one
// must start again all the same.
func TestWhatWasStoppedForALateRenewalStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1)
		w.place("a", "b", "c")
		w.up()
		w.say(time.Second)
		w.want("start shop/db epoch 5", "start shop/web epoch 5")
		w.pass(time.Second)
		w.want("kill shop/web", "kill shop/db")
		w.pass(unusedWorth - 2*time.Second)
		warned := func() bool {
			r, _ := w.report()
			return slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, "though its lease is held here") })
		}
		if warned() {
			t.Error("told at once that it does not run")
		}
		w.pass(4 * time.Second)
		if !warned() {
			t.Error("nobody is told that it does not run")
		}
		w.guard.mu.Lock() // as if the news of it were lost
		w.guard.view.State.Holds[0].Until = guardwire.Boot(w.clock.Boot() + time.Hour)
		w.guard.mu.Unlock()
		w.pass(time.Second)
		w.want("start shop/db epoch 5", "start shop/web epoch 5")
		w.pass(3 * time.Second)
		if warned() {
			t.Error("told that it does not run, when it does")
		}
	})
}

func TestWhatLiesUnreadIsReadBeforeAnythingStops(t *testing.T) {
	const most = 5 * time.Second
	tests := []struct {
		name   string
		missed time.Duration // by the agent, before the lease would end
		then   func(w *world)
		want   []string
	}{
		{"an agent that was late, and is late again", 3 * time.Second, func(*world) {}, nil},
		{"one that is on time, but for its reader", 0, func(*world) {}, nil},
		{"it is read, and the lease was renewed", 0, func(w *world) { w.say(time.Hour) }, nil},
		{"it is read, and the lease is gone", 0, func(w *world) { w.say(0) }, []string{"kill shop/web", "kill shop/db"}},
		{"it is read, and was old", 0, func(w *world) {
			w.guard.set(func(v *guardclient.View) { v.Unread = false })
		}, []string{"kill shop/web", "kill shop/db"}},
		{"the guard is away", 0, func(w *world) {
			w.guard.set(func(v *guardclient.View) { v.Up = false })
		}, []string{"kill shop/web", "kill shop/db"}},
		{"it is never read", 0, func(w *world) { w.pass(most) }, []string{"kill shop/web", "kill shop/db"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var missed atomic.Int64
				w.clock = jumpy{missed: &missed}
				w.apply(1)
				w.place("a", "b", "c")
				w.up()
				w.say(time.Second)
				w.want("start shop/db epoch 5", "start shop/web epoch 5")
				w.guard.set(func(v *guardclient.View) { v.Unread = true })
				w.pass(time.Second - supervise.StopAhead - supervise.LookAhead/2)
				missed.Add(int64(tt.missed))
				w.pass(time.Second)
				missed.Add(int64(2 * tt.missed))
				w.pass(most / 2)
				w.want()
				tt.then(w)
				w.pass(2 * supervise.LookEvery)
				w.want(tt.want...)
			})
		})
	}
}
