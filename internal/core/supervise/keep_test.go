package supervise

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// shared makes a service not exclusive, and says what becomes of it without
// quorum.
func shared(s *record.Service, loss spec.QuorumLoss) *record.Service {
	no := false
	s.Spec.Exclusive, s.Spec.Failover.OnQuorumLoss = &no, loss
	return s
}

// sharing is running, with a service that is not exclusive.
func sharing(t *testing.T, n int, loss spec.QuorumLoss) *desk {
	t.Helper()
	d := newDesk(t, n)
	shared(d.in.Wish.Service, loss)
	d.hold(5).step()
	for range n {
		d.done(nil)
	}
	return d.want("", fact.Running)
}

func (d *desk) kept() *desk {
	d.in.Hold.Kept = true
	return d.pass(time.Second)
}

func TestWhatIsKeptGoesOnUnderTheNextEpochWithoutARestart(t *testing.T) {
	d := sharing(t, 2, spec.QuorumLossKeep)
	d.notes = nil
	d.kept().step().want("", fact.Running)
	d.pass(time.Hour).step().want("", fact.Running)
	d.in.Hold.Kept = false
	d.hold(9).step().want("", fact.Running)
	if d.st.Epoch != 9 {
		t.Errorf("it runs under epoch %d", d.st.Epoch)
	}
	if diff := cmp.Diff([]event.Kind{event.LeaseWon}, d.notes); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	d.dies(1).want("stop 1 force", fact.Backoff).done(nil).want("start 1", fact.Starting)
	if d.out.Op.Epoch != 9 {
		t.Errorf("a part is restarted under epoch %d", d.out.Op.Epoch)
	}
}

// A lease that lapsed and was won again within one state of the guard.
func TestWhatIsKeptNeedNotBeSeenToBeKept(t *testing.T) {
	d := sharing(t, 1, spec.QuorumLossKeep)
	d.hold(6).step().want("", fact.Running)
}

func TestAPartThatFailsWhileTheServiceIsKeptIsRestarted(t *testing.T) {
	d := sharing(t, 1, spec.QuorumLossKeep).kept().step()
	d.dies(0).want("stop 0 force", fact.Backoff).done(nil).want("start 0", fact.Starting).done(nil).want("", fact.Running)
}

func TestWhatIsKeptStopsWhenTheGuardShowsItNoMore(t *testing.T) {
	d := sharing(t, 1, spec.QuorumLossKeep).kept().step().want("", fact.Running)
	d.in.Hold.Held, d.in.Hold.Kept = false, false
	d.step().want("stop 0 force", fact.Stopping)
}

func TestWhatIsKeptMovesWhenThePlacementSaysSo(t *testing.T) {
	d := sharing(t, 1, spec.QuorumLossKeep).kept().step()
	d.in.Wish.Placed, d.in.Wish.Rank, d.in.Wish.FirstAlive = 11, 1, true
	d.step().want("stop 0", fact.Stopping).done(nil).want("release 5", fact.Waiting)
}

func TestNothingBeginsWithoutALease(t *testing.T) {
	d := newDesk(t, 1)
	shared(d.in.Wish.Service, spec.QuorumLossKeep)
	d.hold(5).kept().step().want("", fact.Waiting)
}

// Whatever a guard may say, an exclusive service runs under a lease of one epoch.
func TestAnExclusiveServiceIsNeverKept(t *testing.T) {
	for name, change := range map[string]func(*record.Service){
		"exclusive":                      func(*record.Service) {},
		"exclusive, and said to be kept": func(s *record.Service) { s.Spec.Failover.OnQuorumLoss = spec.QuorumLossKeep },
		"not exclusive":                  func(s *record.Service) { shared(s, spec.QuorumLossStop) },
	} {
		t.Run(name, func(t *testing.T) {
			begin := func() *desk {
				d := newDesk(t, 1)
				change(d.in.Wish.Service)
				return d.hold(5).step().done(nil).want("", fact.Running)
			}
			begin().kept().step().want("stop 0 force", fact.Stopping)
			begin().hold(6).step().want("stop 0 force", fact.Stopping)
		})
	}
}

func TestAnotherAgentAdoptsWhatWasKept(t *testing.T) {
	tests := []struct {
		name  string
		loss  spec.QuorumLoss
		epoch uint64 // of the part
		want  string
	}{
		{"as it started, under an older lease", spec.QuorumLossKeep, 5, ""},
		{"under a newer lease than is known", spec.QuorumLossKeep, 10, "stop 0 force"},
		{"of a service that is not kept", spec.QuorumLossStop, 5, "stop 0 force"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, 1)
			shared(d.in.Wish.Service, tt.loss)
			d.st = Restore(Memory{Run: *d.in.Wish.Service, Parts: []PartState{Up}, Epoch: 9, Guard: deskGuard, Phase: fact.Running})
			d.hold(9).step().want("probe 0", fact.Running)
			d.saw(instance.Observed{Running: true, Epoch: tt.epoch, Generation: 1})
			got := ""
			if d.out.Op.Kind != None {
				got = "stop 0 force"
			}
			if got != tt.want {
				t.Errorf("%+v, want %q", d.out.Op, tt.want)
			}
		})
	}
}

// A start that was under way when the epoch changed is refused, and tried again.
func TestAStartThatTheNextEpochOvertookIsRepeated(t *testing.T) {
	d := sharing(t, 1, spec.QuorumLossKeep)
	d.dies(0).want("stop 0 force", fact.Backoff).done(nil).want("start 0", fact.Starting)
	d.hold(6).step()
	d.in.Done = &Result{Refused: true, Err: errors.New("the lease was gone")}
	d.step().want("stop 0", fact.Backoff).done(nil).want("start 0", fact.Starting)
	if d.out.Op.Epoch != 6 {
		t.Errorf("it starts under epoch %d", d.out.Op.Epoch)
	}
}
