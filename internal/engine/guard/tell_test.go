package guard

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/guardwire"
)

func TestRenewalsReachAgentAndKernelInTimeAndSeldom(t *testing.T) {
	const ttl = 300 * time.Millisecond
	short := func(s *guardwire.Seek) { s.TTL = ttl }
	threeKeepers(t, short, func(_ *wire, s []*site) {
		// What an agent needs to hear of it, and a kernel call to be made, at least.
		const late = 40 * time.Millisecond
		told, passed := 0, 0
		var was guardwire.Boot
		var pass time.Duration
		const span = 10 * time.Second
		for i := range int(span / time.Millisecond) {
			if i%1000 == 0 {
				s[0].tell(t, guardwire.Message{Beat: &guardwire.Beat{}})
				s[1].tell(t, guardwire.Message{Beat: &guardwire.Beat{}})
				s[2].tell(t, guardwire.Message{Beat: &guardwire.Beat{}})
			}
			time.Sleep(time.Millisecond)
			state := s[0].last()
			s[0].fence.mu.Lock()
			passes := s[0].fence.passes
			s[0].fence.mu.Unlock()
			now := s[0].fence.clock.Boot()
			if len(state.Holds) != 1 || time.Duration(state.Holds[0].Until)-now < supervise.StopAhead+late {
				t.Fatalf("at %s the agent knows of %+v", now, state.Holds)
			}
			if passes-now < late {
				t.Fatalf("at %s the address passes until %s", now, passes)
			}
			if state.Now != was {
				was, told = state.Now, told+1
			}
			if passes != pass {
				pass, passed = passes, passed+1
			}
		}
		t.Logf("in %s the agent was told %d times, the kernel %d times", span, told, passed)
		if most := int(span / (ttl / 4)); told > most || passed > most {
			t.Errorf("in %s the agent was told %d times, the kernel %d times; both are to be at most %d", span, told, passed, most)
		}
	})
}
