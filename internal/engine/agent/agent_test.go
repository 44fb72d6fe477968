package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/engine/agent/lastknown"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestNothingStartsWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1)
		w.place("a", "b", "c")
		w.up()
		w.pass(time.Minute)
		w.want()
		w.phase(fact.Waiting)
		want := &guardwire.Seek{
			Service: "shop", ID: 1, TTL: spec.DefaultTTL, Exclusive: true, Order: []uint8{0, 1, 2},
			AgentLoss: spec.DefaultAgentLoss, Cgroups: []string{"/cg/shop/db", "/cg/shop/web"},
		}
		if diff := cmp.Diff(want, w.guard.seek("shop")); diff != "" {
			t.Errorf("seek (-want +got):\n%s", diff)
		}
	})
}

func TestServiceStartsInOrderAndStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.phase(fact.Running)
		_, i := w.report()
		i.Since = time.Time{}
		want := fact.Instance{
			Service: "shop", Generation: 1, Phase: fact.Running, Ready: true, Epoch: 5,
			Parts: []fact.Part{
				{Name: "db", Kind: "exec", State: "running", Detail: "pid 1"},
				{Name: "web", Kind: "exec", State: "running", Detail: "pid 1"},
			},
		}
		if diff := cmp.Diff(want, i); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}

		w.apply(1, func(s *record.Service) { s.Spec.Stopped = true })
		w.want("stop shop/web", "stop shop/db", "release shop epoch 5")
		if s := w.guard.seek("shop"); s != nil {
			t.Errorf("a stopped service is sought: %+v", s)
		}
		wantEvents := []event.Kind{
			event.AgentStarted, event.ServiceStarting, event.PartStarted, event.PartStarted,
			event.ServiceRunning, event.ServiceReady, event.ServiceStopped,
		}
		if diff := cmp.Diff(wantEvents, w.log.kinds()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestLeaseLostInTheMiddleOfAStartStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1)
		w.place("a", "b", "c")
		w.parts.took["shop/web"] = 10 * time.Second
		w.up()
		w.guard.grant("shop", 5)
		w.want("start shop/db epoch 5", "start shop/web epoch 5")
		w.pass(time.Second)
		w.guard.lose()
		w.want("kill shop/web", "kill shop/db")
		w.phase(fact.Waiting)
	})
}

func TestLeaseThatIsNotRenewedStopsBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1)
		w.place("a", "b", "c")
		w.up()
		w.guard.grant("shop", 5, bubble{}.Boot()+time.Second)
		w.want("start shop/db epoch 5", "start shop/web epoch 5")
		w.guard.set(func(v *guardclient.View) { v.Up, v.Gone = false, true }) // and the guard dies
		w.pass(time.Second - supervise.StopAhead - time.Millisecond)
		w.want()
		w.pass(2 * time.Millisecond)
		w.want("kill shop/web", "kill shop/db")
	})
}

func TestRenewalsKeepItRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1)
		w.place("a", "b", "c")
		w.up()
		for range 100 {
			w.guard.grant("shop", 5, bubble{}.Boot()+300*time.Millisecond)
			w.pass(200 * time.Millisecond)
		}
		w.want("start shop/db epoch 5", "start shop/web epoch 5")
	})
}

func TestPartThatDiesIsRestartedInPlaceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.parts.kill("shop/web")
		w.want("shop/web dies", "kill shop/web", "start shop/web epoch 5") // no time has passed
		w.parts.kill("shop/db")
		w.want("shop/db dies", "stop shop/web", "kill shop/db")
		w.phase(fact.Backoff)
		w.pass(time.Second) // before the second restart
		w.want("start shop/db epoch 5", "start shop/web epoch 5")
		w.phase(fact.Running)
		if _, i := w.report(); i.Restarts != 2 || len(i.Failures) != 2 || i.Failures[0].Why != "exit status 1" {
			t.Errorf("reported %+v, want two failures", i)
		}
	})
}

func TestPartThatKeepsDyingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		for range spec.DefaultRestarts {
			w.parts.kill("shop/web")
			w.pass(30 * time.Second) // the longest before a restart
			w.want("shop/web dies", "kill shop/web", "start shop/web epoch 5")
		}
		w.parts.kill("shop/web")
		w.want("shop/web dies", "kill shop/web", "stop shop/db", "release shop epoch 5")
		w.phase(fact.Failed)
		r, i := w.report()
		if ban := i.FailedUntil.Sub(r.At); ban < spec.DefaultWithin-time.Second || ban > spec.DefaultWithin {
			t.Errorf("banned for %v, want %v", ban, spec.DefaultWithin)
		}
		if s := w.guard.seek("shop"); s != nil {
			t.Errorf("the failed service is sought: %+v", s)
		}
		if !slices.Contains(w.log.kinds(), event.ServiceGaveUp) {
			t.Error("no event says that it gave up")
		}

		// Neither the agent's restart nor a lease makes it try again too early.
		w.down()
		w.up()
		w.phase(fact.Failed)
		w.want()
		w.pass(spec.DefaultWithin)
		w.phase(fact.Waiting)
		if s := w.guard.seek("shop"); s == nil || s.Order == nil {
			t.Errorf("after the ban the seek is %+v", s)
		}
	})
}

func TestUnhealthyPartIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t, func(s *record.Service) {
			s.Spec.Parts[1].Check = &spec.Check{TCP: "x:1"}
			s.Spec.Parts[0].Checks.Readiness = &spec.Check{TCP: "y:1"}
		})
		w.checks.say("shop/db y:1", false)
		w.phase(fact.Running)
		if _, i := w.report(); i.Ready {
			t.Error("reported as ready, although a check says no")
		}
		w.checks.say("shop/db y:1", true)
		w.phase(fact.Running)
		if _, i := w.report(); !i.Ready {
			t.Error("reported as not ready, although all checks say yes")
		}
		w.want() // readiness restarts nothing

		w.checks.say("shop/web x:1", false)
		synctest.Wait()
		w.checks.say("shop/web x:1", true)
		w.pass(time.Minute)
		if got := w.log.take(); len(got) < 2 || got[0] != "stop shop/web" || got[1] != "start shop/web epoch 5" {
			t.Errorf("got %q, want a restart of shop/web", got)
		}
	})
}

func TestStartupCheckMustPassBeforeTheNextPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, func(s *record.Service) {
			s.Spec.Parts[0].Checks.Startup = &spec.Check{TCP: "x:1"}
			s.Spec.Failover.Restarts = new(0)
		})
		w.place("a")
		w.checks.say("shop/db x:1", false)
		w.up()
		w.guard.grant("shop", 5)
		w.want("start shop/db epoch 5")
		w.pass(spec.DefaultStartTimeout - time.Second)
		w.want()
		w.checks.say("shop/db x:1", true)
		w.want("start shop/web epoch 5")

		// Once more, and it never passes.
		w.checks.say("shop/db x:1", false)
		w.parts.set(func(f *fakeParts) { f.sick["shop/web"] = nil })
		w.apply(2, func(s *record.Service) {
			s.Spec.Parts[0].Checks.Startup = &spec.Check{TCP: "x:1"}
			s.Spec.Failover.Restarts = new(0)
			s.Spec.Parts[1].Exec.Dir = "/srv"
		})
		w.want("stop shop/web", "stop shop/db", "start shop/db epoch 5")
		w.pass(spec.DefaultStartTimeout)
		w.want("stop shop/db", "release shop epoch 5")
		w.phase(fact.Failed)
		if _, i := w.report(); !strings.Contains(i.Failures[0].Why, "startup check did not pass: connection refused") {
			t.Errorf("why: %q", i.Failures[0].Why)
		}
	})
}

func TestProgramThatEndsBeforeItsStartupCheckPassesFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, func(s *record.Service) { s.Spec.Parts[0].Checks.Startup = &spec.Check{TCP: "x:1"} })
		w.place("a")
		w.checks.say("shop/db x:1", false)
		w.up()
		w.guard.grant("shop", 5)
		w.want("start shop/db epoch 5")
		w.parts.kill("shop/db")
		w.want("shop/db dies", "stop shop/db", "start shop/db epoch 5")
	})
}

func TestPlannedMoveStopsBeforeTheRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.place("b", "a", "c")
		w.want("stop shop/web", "stop shop/db", "release shop epoch 5")
		w.phase(fact.Waiting)
		if s := w.guard.seek("shop"); s == nil || !slices.Equal(s.Order, []uint8{1, 0, 2}) {
			t.Errorf("seek %+v, want the order b, a, c", s)
		}
	})
}

func TestSuccessorKeepsWhatItTookOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1)
		w.place("b", "a", "c")
		w.guard.set(func(v *guardclient.View) { v.State.Alive, v.State.Lost = 0b101, 0b010 })
		w.up()
		w.guard.grant("shop", 6)
		w.want("start shop/db epoch 6", "start shop/web epoch 6")
		w.guard.set(func(v *guardclient.View) { v.State.Alive, v.State.Lost = 0b111, 0 })
		w.pass(time.Minute)
		w.want() // b is back, but nobody has decided anew

		w.place("b", "a", "c")
		w.want("stop shop/web", "stop shop/db", "release shop epoch 6")
	})
}

func TestRemovedServiceStopsAndIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.remove(record.KeyServices + "shop")
		w.want("stop shop/web", "stop shop/db", "release shop epoch 5")
		w.phase("")
		files, err := os.ReadDir(filepath.Join(w.dir, "journal"))
		if err != nil || len(files) != 0 {
			t.Errorf("the journal has %v (%v), want nothing", files, err)
		}
	})
}

func TestAgentThatRestartsAdoptsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.down()
		w.want()
		w.pass(5 * time.Second)
		w.up()
		w.pass(time.Minute)
		w.want()
		w.phase(fact.Running)

		// What dies afterwards is noticed.
		w.parts.kill("shop/web")
		w.want("shop/web dies", "kill shop/web", "start shop/web epoch 5")
	})
}

func TestReportSaysHowLongTheLastStartTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.parts.took["shop/db"], w.parts.took["shop/web"] = 3*time.Second, time.Second
		w.apply(1)
		w.place("a", "b", "c")
		w.up()
		w.guard.grant("shop", 5)
		w.pass(3900 * time.Millisecond)
		w.phase(fact.Running)
		if _, i := w.report(); i.Took != 4*time.Second {
			t.Errorf("reported %v, want 4 s", i.Took)
		}

		// The next agent has it from the journal.
		w.down()
		w.up()
		w.phase(fact.Running)
		if _, i := w.report(); i.Took != 4*time.Second {
			t.Errorf("after a restart of the agent reported %v, want 4 s", i.Took)
		}
	})
}

func TestAgentThatRestartsWithoutTheStoreAdoptsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.pass(2 * lastknown.SaveEvery)
		before, _ := w.guard.last()
		w.down()
		w.store.SetUnavailable(true)
		w.guard.set(func(*guardclient.View) {})
		w.guard.duty = nil
		w.up()
		w.pass(time.Minute)
		w.want()
		after, _ := w.guard.last()
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("the duty from the last known state (-before +after):\n%s", diff)
		}
		w.parts.kill("shop/web")
		w.want("shop/web dies", "kill shop/web", "start shop/web epoch 5")
		w.guard.lose()
		w.want("kill shop/web", "kill shop/db")
	})
}

func TestAgentThatRestartsAfterItsLeaseIsGoneStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.down()
		w.guard.lose()
		w.up()
		w.want("kill shop/web", "kill shop/db")
	})
}

func TestAgentThatRestartsAndFindsNoGuardStops(t *testing.T) {
	tests := []struct {
		name string
		view guardclient.View
		wait time.Duration
	}{
		{"at once if nobody listens", guardclient.View{Gone: true}, 0},
		{"after a while if nobody answers", guardclient.View{}, adoptWait},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := runningWorld(t)
				w.down()
				w.guard.set(func(v *guardclient.View) { *v = tt.view })
				w.up()
				if tt.wait > 0 {
					w.pass(tt.wait - time.Millisecond)
					w.want()
					w.pass(time.Millisecond)
				}
				w.want("kill shop/web", "kill shop/db")
			})
		})
	}
}

func TestBrokenJournalIsPutAsideAndWhatRunsIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.pass(2 * lastknown.SaveEvery)
		w.down()
		path := filepath.Join(w.dir, "journal", "shop.json")
		if err := os.WriteFile(path, []byte(`{"parts":`), 0o600); err != nil {
			t.Fatal(err)
		}
		w.up()
		w.pass(time.Second)
		w.want() // it runs under the epoch of the lease: adopted
		w.phase(fact.Running)
		r, _ := w.report()
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "put aside") {
			t.Errorf("warnings %q", r.Warnings)
		}
		if _, err := os.Stat(filepath.Join(w.dir, "journal", "shop.json.broken")); err != nil {
			t.Error(err)
		}
		w.guard.lose()
		w.want("kill shop/web", "kill shop/db")
	})
}

func TestAgentWithoutAnyMemoryWaitsForTheCellAndFindsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.down()
		for _, f := range []string{"lastknown.json", "journal/shop.json"} {
			if err := os.Remove(filepath.Join(w.dir, f)); err != nil && f != "lastknown.json" {
				t.Fatal(err)
			}
		}
		w.remove(record.KeyCell)
		w.up()
		w.pass(time.Minute)
		w.want()
		w.put(record.KeyCell, record.Cell{Name: "cell", ID: "id1"})
		w.pass(time.Minute)
		w.want()
		w.phase(fact.Running)
		w.guard.lose()
		w.want("kill shop/web", "kill shop/db")
	})
}

func TestAnotherGuardStopsWhatIsExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.guard.set(func(v *guardclient.View) {
			v.State.Guard, v.State.Fresh, v.State.Holds = 8, true, nil
		})
		w.want("kill shop/web", "kill shop/db")

		// It gets a floor above all that the one before can have promised.
		d, guard := w.guard.last()
		want := guardwire.Lease{Version: 1, Voters: 0b111, Floor: 5000, Ceiling: 6000, LongestTTL: 2 * time.Second}
		if diff := cmp.Diff(want, d.Lease); diff != "" || guard != 8 {
			t.Errorf("lease for guard %d (-want +got):\n%s", guard, diff)
		}
		w.guard.grant("shop", 5001)
		w.want("start shop/db epoch 5001", "start shop/web epoch 5001")

		// The controller raises the ceiling later on; the floor stays.
		w.put(record.KeyLease, record.Lease{Version: 1, Voters: 0b111, Ceiling: 9000, LongestTTL: spec.Duration(2 * time.Second)})
		d, _ = w.guard.last()
		want.Ceiling = 9000
		if diff := cmp.Diff(want, d.Lease); diff != "" {
			t.Errorf("lease (-want +got):\n%s", diff)
		}
	})
}

func TestFreshGuardWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.pass(2 * lastknown.SaveEvery)
		w.down()
		w.guard.lose()
		w.guard.set(func(v *guardclient.View) { v.State.Guard, v.State.Fresh = 8, true })
		w.store.SetUnavailable(true)
		w.up()
		w.pass(time.Minute)
		if _, guard := w.guard.last(); guard == 8 {
			t.Fatal("a guard without memory got a duty while the store is away")
		}
		w.store.LoseAnswers(1) // the first raise happens, but nobody hears of it
		w.store.SetUnavailable(false)
		w.pass(time.Minute)
		d, guard := w.guard.last()
		want := guardwire.Lease{Version: 1, Voters: 0b111, Floor: 6000, Ceiling: 7000, LongestTTL: 2 * time.Second}
		if d.Lease.Floor == 5000 { // the report's answer was the one that got lost
			want.Floor, want.Ceiling = 5000, 6000
		}
		if diff := cmp.Diff(want, d.Lease); diff != "" || guard != 8 {
			t.Errorf("lease for guard %d (-want +got):\n%s", guard, diff)
		}
	})
}

func TestDutyIsRepeatedToAGuardThatCouldNotUseIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		before := w.guard.duties
		w.pass(10 * time.Second)
		if w.guard.duties != before {
			t.Errorf("%d duties although nothing changed", w.guard.duties-before)
		}
		w.guard.set(func(v *guardclient.View) { v.State.Guard, v.State.Fresh = 8, true })
		w.pass(time.Second)
		before = w.guard.duties
		w.guard.set(func(v *guardclient.View) { v.State.Fresh = true }) // as if its port were taken
		w.pass(3 * dutyRepeat)
		if w.guard.duties == before {
			t.Error("the duty was not repeated")
		}
	})
}

func TestWhatDoesNotStopIsTheGuardsToFenceIfItsSpecSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t, func(s *record.Service) { s.Spec.Failover.StopFailure = spec.StopFence })
		w.parts.set(func(f *fakeParts) { f.stuck["shop/web"] = true })
		w.place("b", "a")
		w.pass(20 * time.Second)
		w.phase(fact.Stuck)
		s := w.guard.seek("shop")
		if s == nil || !s.Fence || s.Order != nil || len(s.Cgroups) == 0 {
			t.Fatalf("seek: %+v", s)
		}
		w.guard.lose() // it was cut off, and the lease given back
		w.parts.set(func(f *fakeParts) { f.stuck["shop/web"] = false })
		w.pass(10 * time.Second)
		if s := w.guard.seek("shop"); s != nil && s.Fence {
			t.Errorf("it has stopped, and is still to be fenced: %+v", s)
		}
	})
}

func TestStuckPartKeepsTheLeaseAndIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.parts.set(func(f *fakeParts) { f.stuck["shop/web"] = true })
		w.place("b", "a", "c")
		w.pass(10 * time.Minute)
		w.phase(fact.Stuck)
		got := w.log.take()
		if n := len(got); got[0] != "stop shop/web" || got[1] != "kill shop/web" || n < 100 || n > 130 {
			t.Errorf("%d tries in 10 minutes, beginning %q", n, got[:2])
		}
		for _, line := range got {
			if strings.HasPrefix(line, "release") {
				t.Fatal("the lease was given back while a part may run")
			}
		}
		r, _ := w.report()
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "switch the server off") {
			t.Errorf("warnings %q, want what to do", r.Warnings)
		}
		if !slices.Contains(w.log.kinds(), event.ServiceStuck) {
			t.Error("no event says that it is stuck")
		}

		w.parts.set(func(f *fakeParts) { f.stuck["shop/web"] = false })
		w.pass(5 * time.Second) // between two stops of a part that is stuck
		w.want("kill shop/web", "stop shop/db", "release shop epoch 5")
	})
}

func TestStoreThatIsAwayStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.store.SetUnavailable(true)
		w.pass(10 * time.Minute)
		w.want()
		w.parts.kill("shop/web")
		w.want("shop/web dies", "kill shop/web", "start shop/web epoch 5")
		w.guard.lose()
		w.want("kill shop/web", "kill shop/db")
		w.guard.grant("shop", 9) // the lease plane needs no store
		w.want("start shop/db epoch 9", "start shop/web epoch 9")

		w.store.SetUnavailable(false)
		w.pass(20 * time.Second)
		w.phase(fact.Running)
		w.apply(2, func(s *record.Service) { s.Spec.Stopped = true })
		w.want("stop shop/web", "stop shop/db", "release shop epoch 9")
	})
}

func TestNewsThatWereCompactedAwayAreFoundByListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.store.SetUnavailable(true)
		w.pass(time.Second)
		w.store.SetUnavailable(false) // nobody looks yet: all wait for their next try
		for range 10 {
			w.put("other", 1)
		}
		_, revision, err := w.store.Txn(t.Context(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.store.SetUnavailable(true)
		w.store.Compact(revision)
		w.store.SetUnavailable(false)
		w.remove(record.KeyServices + "shop")
		w.pass(time.Minute)
		w.want("stop shop/web", "stop shop/db", "release shop epoch 5")
	})
}

func TestServiceThatCannotBeReadGoesOnAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.put(record.KeyServices+"shop", "of a later version")
		w.pass(time.Minute)
		w.want()
		w.down()
		os.Remove(filepath.Join(w.dir, "lastknown.json"))
		w.up()
		w.pass(time.Minute)
		w.want()
	})
}

func TestReportIsWrittenInGoodTimeAndNotTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		revisions := func(d time.Duration) int {
			n, last := 0, time.Time{}
			for end := time.Now().Add(d); time.Now().Before(end); w.pass(10 * time.Millisecond) {
				if r, _ := w.report(); !r.At.Equal(last) {
					n, last = n+1, r.At
				}
			}
			return n - 1
		}
		w.pass(time.Minute)
		if n := revisions(100 * time.Second); n < 10 || n > 15 {
			t.Errorf("%d reports in 100 s without a change, want 10 to 15", n)
		}
		go func() {
			for range 500 {
				w.guard.set(func(v *guardclient.View) { v.State.LeaseVersion++ })
				time.Sleep(10 * time.Millisecond)
			}
		}()
		if n := revisions(5 * time.Second); n < 15 || n > 26+reportBurst {
			t.Errorf("%d reports in 5 s of changes, want at most 5 a second and a few at once", n)
		}
	})
}

func TestEventsOfTheGuardAreForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.up()
		at := bubble{}.Boot() - 30*time.Millisecond
		w.guard.happened <- guardwire.Happened{Kind: "lease-won", At: guardwire.Boot(at), Service: "shop", Epoch: 5, Text: "Won."}
		synctest.Wait()
		got := w.log.events[len(w.log.events)-1]
		if !got.At.Equal(time.Now().Add(-30 * time.Millisecond)) {
			t.Errorf("at %v, want 30 ms ago", got.At)
		}
		got.At = time.Time{}
		want := event.Event{Node: "a", Kind: event.LeaseWon, Boot: at, Service: "shop", Epoch: 5, Text: "Won."}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestUnknownKindOfPartFailsAndMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, func(s *record.Service) {
			s.Spec.Parts[0] = spec.Part{Name: "ip", Address: &spec.Address{Prefix: "10.77.0.100/24"}}
		})
		w.place("a", "b")
		w.up()
		w.guard.grant("shop", 5)
		w.pass(time.Minute)
		w.want("release shop epoch 5")
		w.phase(fact.Failed)
	})
}

func TestAgentNeedsAllItsOptions(t *testing.T) {
	if _, err := New(Options{Node: "a"}); !errors.Is(err, ErrOptions) {
		t.Errorf("got %v, want ErrOptions", err)
	}
}

func TestStartLooksAtTheLeaseOnceMore(t *testing.T) {
	tests := []struct {
		name    string
		epoch   uint64
		left    time.Duration
		started bool
	}{
		{"and starts under the lease it was asked for", 5, time.Second, true},
		{"and refuses under another one", 6, time.Second, false},
		{"and refuses when it is about to end", 5, supervise.StopAhead, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.guard.grant("shop", tt.epoch, bubble{}.Boot()+tt.left)
				s := *service(1, 1, 1)
				r := newRunner(&Options{Guard: w.guard, Clock: bubble{}}, "shop", nil, supervise.State{Memory: supervise.Memory{Run: s, Epoch: 5}}, wish{cell: "cell"})
				res := r.start(t.Context(), w.parts, r.runOf(s, s.Spec.Parts[0]))
				if started := len(w.log.take()) > 0; started != tt.started || res.Refused == tt.started {
					t.Errorf("started %v, result %+v", started, res)
				}
			})
		})
	}
}

func TestAddressComesUpOnlyOnceTheGuardEnforcesIt(t *testing.T) {
	tests := []struct {
		name    string
		rules   bool
		ruled   []string      // at first
		then    []string      // after a second
		started time.Duration // 0: not at all
	}{
		{name: "it does", rules: true, ruled: []string{"10.0.0.9/24%eth1"}, started: time.Millisecond},
		{name: "it does a moment later", rules: true, ruled: []string{"10.0.0.8/24%eth0"}, then: []string{"10.0.0.9/24%eth0"}, started: time.Second + time.Millisecond},
		{name: "it does not say so in time", rules: true, ruled: []string{"10.0.0.8/24%eth0"}},
		{name: "it is one that does not say", started: time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.guard.grant("shop", 5)
				rule := func(handles []string) {
					w.guard.set(func(v *guardclient.View) {
						v.State.Rules = tt.rules
						v.State.Holds = slices.Clone(v.State.Holds)
						v.State.Holds[0].Ruled = handles
					})
				}
				rule(tt.ruled)
				if tt.then != nil {
					time.AfterFunc(time.Second, func() { rule(tt.then) })
				}
				s := *service(1, 1, 1)
				r := newRunner(&Options{Guard: w.guard, Clock: bubble{}}, "shop", nil, supervise.State{Memory: supervise.Memory{Run: s, Epoch: 5}}, wish{cell: "cell"})
				began := time.Now()
				res := r.start(t.Context(), addressed{w.parts}, r.runOf(s, s.Spec.Parts[0]))
				took := time.Since(began)
				if started := len(w.log.take()) > 0; started != (tt.started > 0) || started == res.Refused {
					t.Errorf("started %v, result %+v", started, res)
				}
				if tt.started > 0 && took > tt.started || tt.started == 0 && took != ruleWait {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// addressed are parts with an address.
type addressed struct{ Part }

func (addressed) Handles(instance.Run) instance.Handles {
	return instance.Handles{Addresses: []string{"10.0.0.9/24%eth0"}}
}

func TestReportNamesWhatMayGoOnWithoutALeaseUntilTheGuardWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		shared := false
		kept := func(s *record.Service) {
			s.Spec.Exclusive, s.Spec.Failover.OnQuorumLoss = &shared, spec.QuorumLossKeep
		}
		keeps := func(want ...spec.ServiceName) {
			t.Helper()
			w.pass(time.Second)
			if r, _ := w.report(); !slices.Equal(r.Keeps, want) {
				t.Errorf("it may keep %v, want %v", r.Keeps, want)
			}
		}
		w.apply(1, kept)
		w.place("a", "b")
		w.guard.grant("shop", 5)
		w.up()
		keeps("shop")
		w.down()
		// The next agent knows nothing of the store yet; its guard goes by the duty
		// of the one before.
		w.apply(2, func(s *record.Service) { s.Spec.Exclusive = &shared })
		w.up()
		keeps()
		if seek := w.guard.seek("shop"); seek == nil || seek.Keep {
			t.Errorf("and the guard was told %+v", seek)
		}
	})
}

func TestAgentThatHasNotSentADutyTakesWhatIsHeldForKept(t *testing.T) {
	shared := false
	a := &Agent{view: newView("a")}
	a.view.Services["wiki"] = &record.Service{Spec: spec.Service{Name: "wiki", Exclusive: &shared, Failover: spec.Failover{OnQuorumLoss: spec.QuorumLossKeep}}}
	a.view.Services["mail"] = &record.Service{Spec: spec.Service{Name: "mail"}}
	g := guardclient.View{State: guardwire.State{Holds: []guardwire.Hold{{Service: "shop"}}}}
	if diff := cmp.Diff([]spec.ServiceName{"shop", "wiki"}, a.keeps(g)); diff != "" {
		t.Error(diff)
	}
}
