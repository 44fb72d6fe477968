package agent

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// Promote and Demote tell a program of the test its role.
func (f *fakeParts) Promote(_ context.Context, run instance.Run) error {
	f.log.add("promote %s epoch %d as %s", run.Key(), run.Epoch, run.Role)
	return nil
}

func (f *fakeParts) Demote(_ context.Context, run instance.Run) error {
	f.log.add("demote %s epoch %d as %s", run.Key(), run.Epoch, run.Role)
	return nil
}

// seat says where copies of the shop are to be.
func (w *world) seat(generation uint64, order []spec.NodeName, copies ...record.Copy) {
	w.t.Helper()
	w.put(record.KeyPlacements+"shop", record.Placement{Service: "shop", Generation: generation, Order: order, Copies: copies})
}

func alike(s *record.Service) { s.Spec.Copies = &spec.Copies{Count: 2} }

func TestACopyRunsWhereItIsPlacedAndWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, alike)
		w.up()
		w.pass(time.Second)
		w.want()
		w.seat(1, nil, record.Copy{Node: "a"}, record.Copy{Node: "b"})
		w.want("start shop/db epoch 1", "start shop/web epoch 1")
		if s := w.guard.seek("shop"); s != nil {
			t.Errorf("the guard is asked for a lease: %+v", s)
		}
		w.pass(time.Second)
		if _, i := w.report(); i.Epoch != 0 || i.Phase != fact.Running {
			t.Errorf("reported as %+v", i)
		}
		// The next agent goes on with it.
		w.down()
		w.up()
		w.pass(10 * time.Second)
		w.want()
		w.guard.set(func(v *guardclient.View) { v.Up, v.Heard, v.Gone = false, false, true })
		w.pass(time.Minute)
		w.want() // it needs no guard either
		w.seat(1, nil, record.Copy{Node: "b"}, record.Copy{Node: "c"})
		w.want("stop shop/web", "stop shop/db")
	})
}

func TestCopiesThatDifferHaveNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, func(s *record.Service) {
			s.Spec.Copies = &spec.Copies{Count: 3, PerNode: 2, Unique: true}
			s.Spec.Parts = s.Spec.Parts[:1]
		})
		w.seat(1, nil, record.Copy{Node: "a", Number: 1}, record.Copy{Node: "b", Number: 2}, record.Copy{Node: "a", Number: 3})
		w.up()
		w.pass(time.Second)
		got := map[string]bool{}
		for _, line := range w.log.take() {
			got[line] = true
		}
		if diff := cmp.Diff(map[string]bool{"start shop:1/db epoch 1": true, "start shop:3/db epoch 1": true}, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		w.down()
		w.up()
		w.pass(time.Second)
		w.want()
		w.seat(1, nil, record.Copy{Node: "a", Number: 1}, record.Copy{Node: "b", Number: 2}, record.Copy{Node: "c", Number: 3})
		w.want("stop shop:3/db")
		r, _ := w.report()
		if len(r.Instances) != 2 && len(r.Instances) != 1 {
			t.Errorf("reported: %+v", r.Instances)
		}
	})
}

// roles gives the shop a primary; web is there only with it.
func roles(s *record.Service) {
	s.Spec.Copies = &spec.Copies{Count: 2, Primaries: 1}
	s.Spec.Parts[0].Exec.Promote, s.Spec.Parts[0].Exec.Demote = []string{"/bin/up"}, []string{"/bin/down"}
	s.Spec.Parts[1].Role = spec.RolePrimary
}

func TestAReplicaIsPromotedWhenItsGuardHasTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, roles)
		seats := []record.Copy{{Node: "a", Role: spec.RoleReplica}, {Node: "b", Role: spec.RolePrimary}}
		w.seat(1, []spec.NodeName{"b", "a"}, seats...)
		w.up()
		w.want("start shop/db epoch 1")
		s := w.guard.seek("shop")
		if s == nil || !s.Replica || s.Demoted != 0 || !s.Exclusive || len(s.Order) != 2 {
			t.Fatalf("seek of a replica: %+v", s)
		}
		// b dies; nothing is written, but a's guard has the lease.
		w.guard.grant("shop", 7)
		w.want("promote shop/db epoch 7 as primary", "start shop/web epoch 7")
		w.pass(time.Second)
		if s := w.guard.seek("shop"); s == nil || s.Replica {
			t.Fatalf("seek of a primary: %+v", s)
		}
		if _, i := w.report(); i.Role != spec.RolePrimary || i.Epoch != 7 {
			t.Errorf("reported as %s under epoch %d", i.Role, i.Epoch)
		}
		// b is back, and is to be primary again. The duty says that a is none before
		// the lease is given back.
		w.put(record.KeyPlacements+"shop", record.Placement{Service: "shop", Generation: 1, Order: []spec.NodeName{"b", "a"}, Copies: seats, Epoch: 7})
		w.want("stop shop/web", "demote shop/db epoch 7 as replica", "release shop epoch 7")
		if s := w.guard.seek("shop"); s == nil || !s.Replica || s.Demoted != 7 {
			t.Fatalf("seek after the demotion: %+v", s)
		}
		w.pass(time.Second)
		if _, i := w.report(); i.Role != spec.RoleReplica || i.Phase != fact.Running {
			t.Errorf("reported as %s, %s", i.Role, i.Phase)
		}
	})
}

func TestAPrimaryThatLosesItsLeaseIsStoppedByForceAndIsAReplicaAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, roles)
		w.seat(1, []spec.NodeName{"a", "b"}, record.Copy{Node: "a", Role: spec.RolePrimary}, record.Copy{Node: "b", Role: spec.RoleReplica})
		w.up()
		w.guard.grant("shop", 7)
		w.want("start shop/db epoch 1", "promote shop/db epoch 7 as primary", "start shop/web epoch 7")
		w.guard.lose()
		w.want("kill shop/web", "kill shop/db", "start shop/db epoch 1")
		if s := w.guard.seek("shop"); s == nil || !s.Replica || s.Demoted != 7 {
			t.Fatalf("seek: %+v", s)
		}
	})
}

// pair gives the shop two primaries.
func pair(s *record.Service) {
	roles(s)
	s.Spec.Copies, s.Rights = &spec.Copies{Count: 3, Primaries: 2}, []uint32{77}
}

func TestANodeIsPrimaryUnderOneLeaseOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(1, pair)
		seats := []record.Copy{{Node: "a", Role: spec.RoleReplica}, {Node: "b", Role: spec.RolePrimary}, {Node: "c", Role: spec.RolePrimary}}
		placement := record.Placement{
			Service: "shop", Generation: 1, Order: []spec.NodeName{"b", "a"}, Orders: [][]spec.NodeName{{"c", "a"}}, Copies: seats,
		}
		w.put(record.KeyPlacements+"shop", placement)
		w.up()
		w.want("start shop/db epoch 1")
		first, second := w.guard.seek("shop"), w.guard.seek("shop/2")
		if first == nil || second == nil || first.ID == second.ID || second.ID != 77 || len(first.Order) != 2 || len(second.Order) != 2 {
			t.Fatalf("seeks of a replica: %+v and %+v", first, second)
		}
		if !first.Replica || !second.Replica || len(first.Cgroups) == 0 || len(second.Cgroups) == 0 {
			t.Fatalf("what can be cut off: %+v and %+v", first, second)
		}
		// c dies. Only the second lease's list matters, and the first is not claimed
		// any more: a node is primary once.
		w.guard.grant("shop/2", 3)
		w.want("promote shop/db epoch 3 as primary", "start shop/web epoch 3")
		first, second = w.guard.seek("shop"), w.guard.seek("shop/2")
		if first == nil || first.Order != nil || len(first.Cgroups)+len(first.Addresses) > 0 || second == nil || second.Replica || len(second.Cgroups) == 0 {
			t.Fatalf("seeks of a primary: %+v and %+v", first, second)
		}
		w.pass(time.Second)
		if _, i := w.report(); i.Role != spec.RolePrimary || i.Epoch != 3 || i.Right != 1 {
			t.Errorf("reported as %s under epoch %d of lease %d", i.Role, i.Epoch, i.Right)
		}
		// The first one was won all the same, at the same moment: it is given back, and
		// what is primary goes on.
		w.guard.grant("shop", 9)
		w.want("release shop epoch 9")
		// The next agent goes on too.
		w.down()
		w.up()
		w.pass(2 * time.Second)
		w.want()
		// c is back. The lease that is used is given back, and the other may be won,
		// though its number is lower.
		placement.Epochs = []uint64{3}
		w.put(record.KeyPlacements+"shop", placement)
		w.want("stop shop/web", "demote shop/db epoch 3 as replica", "release shop/2 epoch 3")
		if s := w.guard.seek("shop/2"); s == nil || !s.Replica || s.Demoted != 3 {
			t.Fatalf("seek after the demotion: %+v", s)
		}
		if s := w.guard.seek("shop"); s == nil || !s.Replica || s.Demoted != 9 || len(s.Order) != 2 {
			t.Fatalf("seek of the other: %+v", s)
		}
		w.pass(time.Second)
		w.guard.grant("shop", 10)
		w.want("promote shop/db epoch 10 as primary", "start shop/web epoch 10")
		// It is lost: what is primary is stopped by force.
		w.guard.lose()
		w.want("kill shop/web", "kill shop/db", "start shop/db epoch 1")
	})
}

func TestALeaseOfADeletedServicesSecondPrimaryIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.up()
		w.guard.grant("shop/2", 3)
		w.want("release shop/2 epoch 3")
	})
}

// neighbor is what another node reports of a service db.
func (w *world) neighbor(node spec.NodeName, at time.Time, phase fact.Phase, change ...func(*fact.Instance)) {
	w.t.Helper()
	i := fact.Instance{Service: "db", Phase: phase, Epoch: 3, Since: time.UnixMilli(1)}
	for _, c := range change {
		c(&i)
	}
	w.put(record.KeyReports+string(node), record.Report{Node: node, At: at, Instances: []fact.Instance{i}})
}

// afterDB is a shop that is after a service db.
func afterDB(t *testing.T) *world {
	w := newWorld(t)
	w.put(record.KeyServices+"db", record.Service{ID: 2, Generation: 1, Spec: spec.Service{
		Name: "db", Parts: []spec.Part{{Name: "p", Exec: &spec.Exec{Command: []string{"/bin/p"}}}},
	}})
	w.put(record.KeyPlacements+"db", record.Placement{Service: "db", Generation: 1, Order: []spec.NodeName{"b", "c"}})
	w.apply(1, func(s *record.Service) {
		s.Spec.Parts = s.Spec.Parts[:1]
		s.Spec.After = []spec.After{{Service: "db"}}
	})
	w.place("a", "b", "c")
	w.up()
	w.guard.grant("shop", 5)
	return w
}

func TestAStartWaitsForAnotherNodesReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := afterDB(t)
		w.pass(time.Minute)
		w.want()
		if _, i := w.report(); i.Waits != "db to run" || i.Phase != fact.Waiting {
			t.Errorf("reported: %+v", i)
		}
		w.neighbor("b", time.Now(), fact.Starting)
		w.want()
		w.neighbor("b", time.Now(), fact.Running)
		w.want("start shop/db epoch 5")
		// It is about to stop there: this one stops first, and keeps its lease.
		w.neighbor("b", time.Now(), fact.Running, func(i *fact.Instance) { i.Leaving = true })
		w.want("stop shop/db")
		w.neighbor("b", time.Now(), fact.Idle)
		w.neighbor("c", time.Now(), fact.Running)
		w.want("start shop/db epoch 5")
		// Its node is lost.
		w.guard.set(func(v *guardclient.View) { v.State.Lost, v.State.Alive = 0b100, 0b011 })
		w.want("stop shop/db")
		// It is back, and what it said before counts no more.
		w.guard.set(func(v *guardclient.View) { v.State.Lost, v.State.Alive = 0, 0b111 })
		w.pass(time.Minute)
		w.want()
		w.neighbor("c", time.Now(), fact.Running)
		w.want("start shop/db epoch 5")
	})
}

func TestWhatWasReportedBeforeTheAgentStartedMayBeOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.neighbor("b", time.Now(), fact.Running)
		w.put(record.KeyServices+"db", record.Service{ID: 2, Generation: 1, Spec: spec.Service{
			Name: "db", Parts: []spec.Part{{Name: "p", Exec: &spec.Exec{Command: []string{"/bin/p"}}}},
		}})
		w.apply(1, func(s *record.Service) {
			s.Spec.Parts, s.Spec.After = s.Spec.Parts[:1], []spec.After{{Service: "db"}}
		})
		w.place("a", "b", "c")
		w.up()
		w.guard.grant("shop", 5)
		w.pass(mandate.ReportDue - 2*time.Second)
		w.want()
		w.pass(3 * time.Second) // every node that reports has done so by now
		w.want("start shop/db epoch 5")
		// An agent that starts stops nothing for want of news.
		w.down()
		w.up()
		w.pass(time.Minute)
		w.want()
	})
}

func TestAPlannedStopWaitsForDependentsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t)
		w.put(record.KeyServices+"till", record.Service{ID: 3, Generation: 1, Spec: spec.Service{
			Name: "till", Parts: []spec.Part{{Name: "p", Exec: &spec.Exec{Command: []string{"/bin/p"}}}}, After: []spec.After{{Service: "shop"}},
		}})
		till := func(phase fact.Phase) {
			w.put(record.KeyReports+"b", record.Report{Node: "b", At: time.Now(), Instances: []fact.Instance{{Service: "till", Phase: phase}}})
		}
		till(fact.Running)
		w.apply(1, func(s *record.Service) { s.Spec.Stopped = true })
		w.pass(time.Second)
		w.want()
		if _, i := w.report(); !i.Leaving || i.Waits != "till to stop" {
			t.Errorf("reported: %+v", i)
		}
		till(fact.Stopping)
		w.want()
		till(fact.Waiting)
		w.want("stop shop/web", "stop shop/db", "release shop epoch 5")
	})
}

func TestUnderMaintenanceAChecksNoIsShownAndNotActedUpon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runningWorld(t, func(s *record.Service) { s.Spec.Parts[1].Check = &spec.Check{TCP: "x:1"} })
		w.put(record.KeyWishes+"a", record.NodeWish{Maintenance: true})
		w.checks.say("shop/web x:1", false)
		w.pass(time.Minute)
		w.want()
		if _, i := w.report(); !i.Maintenance || i.Ready || i.Parts[1].Detail == "pid 1" || i.Parts[1].Unready == "" {
			t.Errorf("reported: %+v", i)
		}
		if s := w.guard.seek("shop"); s == nil || s.Order != nil {
			t.Errorf("seek: %+v", s)
		}
		w.put(record.KeyWishes+"a", record.NodeWish{})
		w.want("stop shop/web", "start shop/web epoch 5", "stop shop/web") // it is no better
		w.checks.say("shop/web x:1", true)
		w.pass(time.Minute)
		w.want("start shop/web epoch 5")

		w.put(record.KeyCellWish, record.CellWish{Maintenance: true})
		w.parts.kill("shop/web")
		w.want("shop/web dies")
		w.pass(time.Minute)
		w.want()
		w.guard.lose() // the lease counts all the same
		w.want("kill shop/web", "kill shop/db")
	})
}

func TestALongStartDelaysNobodyForLong(t *testing.T) {
	p := newPlaces(1)
	first, second, third := p.ask(), p.ask(), p.ask()
	if !first.held() || second.held() || third.held() {
		t.Fatal("the wrong one has the place")
	}
	second.giveBack() // it does not want it any more
	first.giveBack()
	first.giveBack()
	if !third.held() {
		t.Fatal("the last has no place")
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.atOnce = 1
		for n := range 3 {
			name := fmt.Sprintf("s%d", n)
			w.parts.took[name+"/p"] = time.Minute
			w.put(record.KeyServices+name, record.Service{ID: uint32(n + 1), Generation: 1, Spec: spec.Service{
				Name: spec.ServiceName(name), Parts: []spec.Part{{Name: "p", Exec: &spec.Exec{Command: []string{"/bin/p"}}, StartTimeout: spec.Duration(2 * time.Minute)}},
			}})
			w.put(record.KeyPlacements+name, record.Placement{Service: spec.ServiceName(name), Order: []spec.NodeName{"a"}})
		}
		w.up()
		for n := range 3 { // what is held before its placement is known would be given back
			w.guard.grant(spec.ServiceName(fmt.Sprintf("s%d", n)), 5)
		}
		for n := range 3 {
			synctest.Wait()
			if got := w.log.take(); len(got) != 1 {
				t.Fatalf("after %d s %d starts began: %q", n*5, len(got), got)
			}
			w.pass(longStart)
		}
	})
}
