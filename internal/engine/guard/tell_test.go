package guard

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/event"
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

func TestPeerWhoseLinkComesAndGoesMakesFewHappenings(t *testing.T) {
	g, clk := lonely(t)
	g.slots[1], g.slots[2] = "b", "c"
	g.told.happened = nil
	begin := clk.now
	for i := range 120 { // 12 s in which b falls silent each 200 ms
		clk.add(100 * time.Millisecond)
		now := clk.now
		g.noteFlaps(now)
		if i%2 == 0 {
			g.noteSuspects(now, quorum.Of(0, 1))
		}
		if i == 60 {
			g.noteSuspects(now, quorum.Of(2))
		}
	}
	for range 200 {
		clk.add(100 * time.Millisecond)
		g.noteFlaps(clk.now)
	}
	at := func(d time.Duration) guardwire.Boot { return guardwire.Boot(begin + d) }
	want := []guardwire.Happened{
		{Kind: string(event.NodeSuspect), At: at(100 * time.Millisecond), About: "b", Text: "b is not heard"},
		{Kind: string(event.NodeSuspect), At: at(5100 * time.Millisecond), About: "b", Text: "b was not heard 24 more times in 5s"},
		{Kind: string(event.NodeSuspect), At: at(6100 * time.Millisecond), About: "c", Text: "c is not heard"},
		{Kind: string(event.NodeSuspect), At: at(10100 * time.Millisecond), About: "b", Text: "b was not heard 25 more times in 5s"},
		{Kind: string(event.NodeSuspect), At: at(15100 * time.Millisecond), About: "b", Text: "b was not heard 10 more times in 5s"},
	}
	if diff := cmp.Diff(want, g.told.happened); diff != "" {
		t.Error(diff)
	}
}
