package detect

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// A node that had been cut off for more than a second took that for a gap to be
// ready for, and for a loss of most heartbeats. For the next five to ten minutes it
// missed nobody within a second, so that with three voters a service moved at the
// verdict after a second instead of a sixth of it.
func TestAnOutageTeachesNoPatience(t *testing.T) {
	tests := []struct {
		name   string
		silent []uint8
		lasted time.Duration
		want   time.Duration
	}{
		{"this node was cut off from all", []uint8{1, 2}, 2 * time.Second, Floor},
		{"this node was cut off for an hour", []uint8{1, 2}, time.Hour, Floor},
		{"the link to one node failed", []uint8{1}, 2 * time.Second, Floor},
		{"a gap that a timeout can cover", []uint8{1, 2}, 500 * time.Millisecond, 750 * time.Millisecond},
		{"the longest gap that teaches", []uint8{1, 2}, Cap - every, Cap},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRoom()
			for _, slot := range test.silent {
				r.heard[slot] = false
			}
			r.pass(test.lasted - every) // the gap ends with the heartbeat after it
			if !r.d.Suspect().Has(1) || r.d.Lost() != 0 {
				t.Fatalf("suspect %b, lost %b", r.d.Suspect(), r.d.Lost())
			}
			r.heard = map[uint8]bool{1: true, 2: true}
			r.pass(every)
			if got := r.d.Timeout(1); got != test.want {
				t.Errorf("the timeout is %s right after %s of silence, want %s", got, test.lasted, test.want)
			}
		})
	}
}

func TestANodeThatWasCutOffMissesTheNextToDieAsSoonAsBefore(t *testing.T) {
	r := newRoom()
	r.heard[1], r.heard[2] = false, false
	r.pass(3 * time.Second)
	r.heard[1], r.heard[2] = true, true
	r.pass(2 * Cap)
	r.heard[1], r.suspect[2] = false, quorum.Of(1)
	began := r.now
	for !r.d.Lost().Has(1) && r.now < began+2*time.Second {
		r.pass(every)
	}
	if took := r.now - began; took > Floor+3*every {
		t.Errorf("declared lost after %s, the floor is %s", took, Floor)
	}
}
