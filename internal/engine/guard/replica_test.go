package guard

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/model/guardwire"
)

// A replica runs without the lease. What was primary when the lease ended is cut
// off, unless the agent has said that it is not any more.
func TestAReplicaIsSparedAndAPrimaryIsNot(t *testing.T) {
	replica := func(s *guardwire.Seek) { s.Replica = true }
	// again tells a's duty anew.
	again := func(t *testing.T, x *site, change func(*guardwire.Seek)) {
		t.Helper()
		d := dutyOf(0)
		change(&d.Seeks[0])
		x.tell(t, guardwire.Message{Duty: &d})
	}
	tests := []struct {
		name   string
		change func(s *guardwire.Seek, epoch uint64)
		cut    bool
	}{
		{"the agent says nothing of a promotion", func(s *guardwire.Seek, _ uint64) { s.Replica = true }, true},
		{"it is primary", func(*guardwire.Seek, uint64) {}, true},
		{"it was demoted under this lease", func(s *guardwire.Seek, epoch uint64) { s.Replica, s.Demoted = true, epoch }, false},
		{"it was demoted under the one before", func(s *guardwire.Seek, epoch uint64) { s.Replica, s.Demoted = true, epoch-1 }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			threeKeepers(t, replica, func(w *wire, s []*site) {
				before := s[1].fence.cutAt("/cg/shop") // when it was none yet
				pass(t, s, 10*time.Second)
				if at := s[1].fence.cutAt("/cg/shop"); at != before {
					t.Errorf("b's replica was cut off at %s", at)
				}
				cut, epoch := s[0].fence.cutAt("/cg/shop"), s[0].last().Holds[0].Epoch
				again(t, s[0], func(s *guardwire.Seek) { tt.change(s, epoch) })
				w.setMute(0, true)
				pass(t, s, 3*time.Second)
				if got := s[0].fence.cutAt("/cg/shop") != cut; got != tt.cut {
					t.Errorf("cut off: %v, want %v", got, tt.cut)
				}
			})
		})
	}
}
