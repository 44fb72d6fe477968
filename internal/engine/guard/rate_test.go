package guard

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// hastyClock gains three seconds a minute on the others.
type hastyClock struct{ bubbleClock }

func (c hastyClock) Boot() time.Duration { return c.bubbleClock.Boot() * 105 / 100 }

// TestAClockOfAnotherRateIsToldToTheAgents has three guards, one of them with a
// clock that runs 5 % fast. What the agents hear is what `keelson status` shows.
func TestAClockOfAnotherRateIsToldToTheAgents(t *testing.T) {
	for _, tt := range []struct {
		name   string
		hasty  uint8
		holder uint8 // in the end
	}{
		{"of a voter that stands by", 2, 0},
		{"of the holder, which loses what it holds", 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clk := bubbleClock{zero: time.Now()}
				w := &wire{ends: map[uint8]*end{}, mute: map[uint8]bool{}}
				var sites []*site
				for slot := range uint8(3) {
					s := startSite(t, w, clk, slot, func(o *Options) {
						if slot == tt.hasty {
							o.Clock = hastyClock{clk}
						}
					})
					d := dutyOf(slot)
					s.tell(t, guardwire.Message{Duty: &d})
					sites = append(sites, s)
				}
				pass(t, sites, 100*time.Second)
				for slot, s := range sites {
					if got := s.last().Skewed; uint8(slot) != tt.hasty && got != 1<<tt.hasty {
						t.Errorf("the guard of slot %d tells the slots %b, want that of slot %d", slot, got, tt.hasty)
					}
					var want []spec.ServiceName
					if uint8(slot) == tt.holder {
						want = []spec.ServiceName{"shop"}
					}
					if diff := cmp.Diff(want, s.holds()); diff != "" {
						t.Errorf("what slot %d holds (-want +got):\n%s", slot, diff)
					}
				}
				other := sites[1]
				if !slices.ContainsFunc(other.said(), func(text string) bool {
					return strings.Contains(text, "runs at another rate than the others'; its vote does not count")
				}) {
					t.Errorf("no event tells it: %q", other.said())
				}
				for _, s := range sites {
					s.cancel()
					s.ends(t)
					s.conn.Close()
				}
			})
		})
	}
}

// said are the texts of what the guard told.
func (s *site) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}
