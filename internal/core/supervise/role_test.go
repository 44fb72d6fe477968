package supervise

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// database is a service of a program with roles and an address of the primary.
func database() *record.Service {
	return &record.Service{ID: 1, Generation: 1, Spec: spec.Service{
		Name: "db", Copies: &spec.Copies{Count: 2, Primaries: 1},
		Parts: []spec.Part{
			{Name: "db", Exec: &spec.Exec{Command: []string{"/bin/db"}, Promote: []string{"/bin/up"}, Demote: []string{"/bin/down"}}},
			{Name: "ip", Address: &spec.Address{Prefix: "10.0.0.9/24"}, Role: spec.RolePrimary},
			{Name: "exporter", Exec: &spec.Exec{Command: []string{"/bin/exporter"}}},
		},
	}}
}

// copyDesk is a desk for a copy, which holds itself.
func copyDesk(t *testing.T, s *record.Service) *desk {
	d := newDesk(t, 1)
	d.in.Wish = Wish{Service: s, Placed: 10, Copy: true, Right: Right{Rank: -1}}
	if s.Spec.HasRoles() {
		d.in.Wish.Right = Right{Rank: 1, FirstAlive: true}
		d.in.Right = Hold{Known: true, Guard: deskGuard}
	}
	return d.own()
}

// own is the hold that the agent gives itself.
func (d *desk) own() *desk {
	d.in.Hold = Hold{
		Known: true, Own: true, Guard: 1, Epoch: d.st.NextOwn(), Until: d.in.Boot + time.Hour,
		Held: d.st.Epoch != 0 || d.in.Wish.Rank >= 0,
	}
	return d
}

func (d *desk) right(epoch uint64) *desk {
	d.in.Right.Held, d.in.Right.Epoch, d.in.Right.Until = true, epoch, d.in.Boot+time.Second
	return d
}

func (d *desk) next(err error) *desk { return d.own().done(err).own() }

// replica is a copy of the database that runs, and is not primary.
func replica(t *testing.T) *desk {
	t.Helper()
	d := copyDesk(t, database()).step().want("start 0", fact.Starting)
	d.next(nil).want("start 2", fact.Starting)
	return d.next(nil).want("", fact.Running)
}

// primary is a copy of the database that is primary under epoch 5.
func primary(t *testing.T) *desk {
	t.Helper()
	d := replica(t)
	d.in.Wish.Right = Right{Rank: 0}
	d.right(5).step().told("promote", 0)
	d.next(nil).want("start 1", fact.Running)
	if d.out.Op.Epoch != 5 {
		t.Fatalf("the primary's part starts under epoch %d", d.out.Op.Epoch)
	}
	d.next(nil).want("", fact.Running)
	if !d.st.Primary() {
		t.Fatalf("it is no primary: %+v", d.st)
	}
	d.notes = nil
	return d
}

// told checks that a part is told its role.
func (d *desk) told(kind Kind, part int) *desk {
	d.t.Helper()
	if d.out.Op.Kind != kind || d.out.Op.Part != part {
		d.t.Fatalf("%+v, want %s %d", d.out.Op, kind, part)
	}
	return d
}

func TestACopyRunsWithoutALease(t *testing.T) {
	s := service(1, 1, 1)
	s.Spec.Copies = &spec.Copies{Count: 2}
	d := copyDesk(t, s).step().want("start 0", fact.Starting).next(nil).want("", fact.Running)
	// Its place is elsewhere.
	d.in.Wish.Rank, d.in.Wish.Empty, d.in.Wish.Placed = -1, true, 11
	d.own().step().want("stop 0", fact.Stopping).next(nil)
	if d.out.Op != (Operation{Kind: Release, Epoch: 1, Own: true}) {
		t.Fatalf("%+v, want a release of its own", d.out.Op)
	}
	d.own().step().want("", fact.Idle)
	// And here again, in another life.
	d.in.Wish.Rank, d.in.Wish.Empty, d.in.Wish.Placed = 0, false, 12
	d.own().step().want("start 0", fact.Starting)
	if d.out.Op.Epoch != 2 {
		t.Errorf("its second life has the number %d", d.out.Op.Epoch)
	}
}

func TestASpecThatTakesTheCopiesAwayNeedsALease(t *testing.T) {
	s := service(1, 1, 1)
	s.Spec.Copies = &spec.Copies{Count: 2}
	d := copyDesk(t, s).step().next(nil).want("", fact.Running)
	d.in.Wish = Wish{Service: service(1, 2, 1), Placed: 11, Rank: 0}
	d.own().step().want("stop 0", fact.Stopping).next(nil)
	if !d.out.Op.Own {
		t.Fatalf("%+v", d.out.Op)
	}
	d.in.Hold = Hold{Known: true, Guard: deskGuard}
	d.step().want("", fact.Waiting)
	d.hold(5).step().want("start 0", fact.Starting)
}

func TestAReplicaIsPromotedUnderTheRightAlone(t *testing.T) {
	d := replica(t)
	d.in.Wish.Right = Right{Rank: 0}
	d.own().step().want("", fact.Running)
	if d.st.Primary() || d.st.MayBePrimary() {
		t.Error("it is primary without the right")
	}
	d.right(5).step().told(Promote, 0)
	if d.out.Op.Epoch != 5 {
		t.Errorf("promoted under epoch %d", d.out.Op.Epoch)
	}
	d.next(nil).want("start 1", fact.Running).next(nil).want("", fact.Running)
	if diff := cmp.Diff([]event.Kind{event.PartStarted, event.ServicePromoted}, d.notes[len(d.notes)-2:]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAPrimaryThatIsToMoveIsDemotedAndGivesTheRightBack(t *testing.T) {
	d := primary(t)
	d.in.Wish.Right, d.in.Wish.Placed = Right{Rank: 1, FirstAlive: true}, 11
	d.step().want("stop 1", fact.Running)
	d.next(nil).told(Demote, 0).next(nil)
	if d.out.Op != (Operation{Kind: Release, Epoch: 5, Right: true}) {
		t.Fatalf("%+v, want the right given back", d.out.Op)
	}
	d.in.Right.Held = false
	d.step().want("", fact.Running)
	if d.st.Primary() || d.st.Right.Shed != 5 {
		t.Errorf("%+v", d.st.Right)
	}
}

func TestThePlacementFromBeforeTheTakeoverDemotesNobody(t *testing.T) {
	d := primary(t)
	d.in.Wish.Right = Right{Rank: 1, FirstAlive: true}
	d.step().want("", fact.Running)
	d.in.Wish.Placed, d.in.Wish.Right.Known = 11, 4
	d.step().want("", fact.Running)
	d.in.Wish.Right.Known = 5
	d.step().want("stop 1", fact.Running)
}

func TestWhatIsPrimaryIsStoppedByForceWhenItsRightEnds(t *testing.T) {
	d := primary(t)
	d.in.Boot = d.in.Right.Until - StopAhead
	d.own().step().want("stop 2 force", fact.Backoff)
	d.next(nil).want("stop 1 force", fact.Backoff)
	d.next(nil).want("stop 0 force", fact.Backoff)
	d.in.Right.Held = false
	d.next(nil).want("start 0", fact.Starting) // as a replica again
	if d.st.MayBePrimary() || d.st.Right.Epoch != 0 || d.st.Right.Shed != 5 {
		t.Errorf("%+v", d.st.Right)
	}
	// The same lease, shown again by a guard that was late, is not used again.
	d.in.Boot += time.Second
	d.right(5)
	d.next(nil)
	if d.out.Op.Kind != Release || d.out.Op.Epoch != 5 {
		t.Errorf("%+v, want the right given back", d.out.Op)
	}
}

func TestADemotionThatFailsEndsByForce(t *testing.T) {
	d := primary(t)
	d.in.Wish.Right, d.in.Wish.Placed = Right{Rank: 1, FirstAlive: true}, 11
	d.step().want("stop 1", fact.Running)
	d.next(nil).told(Demote, 0)
	d.next(errTest).want("stop 2 force", fact.Backoff)
	if d.next(nil); d.out.Op.Kind != Stop || d.out.Op.Part != 0 {
		t.Fatalf("%+v, want part 0 stopped", d.out.Op)
	}
	d.next(nil)
	if d.out.Op.Kind != Release || !d.out.Op.Right {
		t.Errorf("%+v, want the right given back", d.out.Op)
	}
}

func TestADemotionUnderWayIsGivenUpWhenTheRightEnds(t *testing.T) {
	d := primary(t)
	d.in.Wish.Right, d.in.Wish.Placed = Right{Rank: 1, FirstAlive: true}, 11
	d.step().want("stop 1", fact.Running)
	d.next(nil).told(Demote, 0)
	d.in.Boot = d.in.Right.Until - StopAhead
	if d.own().step(); !d.out.Cancel {
		t.Fatal("it is not canceled")
	}
	d.next(errTest).want("stop 2 force", fact.Backoff)
}

func TestAPromotionThatFailsRestartsTheProgram(t *testing.T) {
	d := replica(t)
	d.in.Wish.Right = Right{Rank: 0}
	d.right(5).step().told(Promote, 0)
	d.next(errTest).want("stop 2", fact.Backoff)
	d.next(nil).want("stop 0", fact.Backoff)
	d.next(nil).want("start 0", fact.Starting)
	if len(d.st.Failures) != 1 {
		t.Errorf("%d failures, want 1", len(d.st.Failures))
	}
}

func TestAProgramWithoutADemotionIsStartedAnew(t *testing.T) {
	s := database()
	s.Spec.Parts[0].Exec.Demote = nil
	d := copyDesk(t, s).step().next(nil).next(nil).want("", fact.Running)
	d.in.Wish.Right = Right{Rank: 0}
	d.right(5).step().told(Promote, 0)
	d.next(nil).next(nil).want("", fact.Running)
	d.in.Wish.Right, d.in.Wish.Placed = Right{Rank: 1, FirstAlive: true}, 11
	d.step().want("stop 1", fact.Running)
	d.next(nil).want("stop 2", fact.Backoff).next(nil).want("stop 0", fact.Backoff).next(nil)
	if d.out.Op.Kind != Release || !d.out.Op.Right {
		t.Errorf("%+v, want the right given back", d.out.Op)
	}
}

func TestTheNextAgentAdoptsAPrimary(t *testing.T) {
	for name, tt := range map[string]struct {
		held uint64
		want string
	}{
		"under the same right":     {5, ""},
		"but not under another":    {6, "stop 2 force"},
		"nor without one any more": {0, "stop 2 force"},
	} {
		t.Run(name, func(t *testing.T) {
			before := primary(t)
			d := copyDesk(t, database())
			d.st = Restore(before.st.Memory)
			if d.in.Wish.Right = (Right{Rank: 0}); tt.held > 0 {
				d.right(tt.held)
			}
			d.own().step().want("probe 0", fact.Running)
			for i := range 3 {
				d.own()
				d.in.Done = &Result{}
				d.in.Done.Seen.Running = true
				if i == 1 {
					d.in.Done.Seen.Epoch = 5
				}
				d.step()
			}
			if got := string(d.out.Op.Kind); tt.want == "" && got != "" || tt.want != "" && got == "" {
				t.Fatalf("%+v, want %q", d.out.Op, tt.want)
			}
			if tt.want == "" && !d.st.Primary() {
				t.Error("it is no primary any more")
			}
		})
	}
}

func TestUnderMaintenanceNothingIsDoneButForALostLease(t *testing.T) {
	d := running(t, 2)
	d.in.Wish.Maintenance = true
	d.dies(1).want("", fact.Backoff)
	d.in.Wish.Service.Spec.Stopped = true
	d.pass(time.Minute).step().want("", fact.Backoff)
	d.in.Wish.Service.Spec.Stopped = false
	if len(d.st.Failures) != 0 {
		t.Errorf("a failure was counted: %+v", d.st.Failures)
	}
	d.in.Wish.Maintenance = false
	d.step().want("stop 1 force", fact.Backoff).done(nil).want("start 1", fact.Starting).done(nil).want("", fact.Running)

	d.in.Wish.Maintenance = true
	d.in.Hold.Held = false
	d.step().want("stop 1 force", fact.Stopping)
}

func TestAStartThatIsCrowdedOutSaysSo(t *testing.T) {
	d := newDesk(t, 1).hold(5)
	d.in.Crowded = true
	if d.step().want("", fact.Starting); !d.out.Crowded {
		t.Fatal("it does not say that it waits for a place")
	}
	d.in.Crowded = false
	d.step().want("start 0", fact.Starting)
}
