package guard

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/custody"
	"github.com/keelson/keelson/internal/model/guardwire"
)

// fenceShop has the first guard cut off what its agent could not stop.
func fenceShop(t *testing.T, s []*site) {
	t.Helper()
	d := dutyOf(0)
	d.Seeks[0].Fence, d.Seeks[0].Order = true, nil
	s[0].tell(t, guardwire.Message{Duty: &d})
	for slot, x := range s[1:] {
		d := dutyOf(uint8(slot + 1))
		d.Seeks[0].Order = []uint8{1, 2}
		x.tell(t, guardwire.Message{Duty: &d})
	}
}

func TestWhatWouldNotStopIsCutOffAndItsLeaseGivenBackOnceThatIsProved(t *testing.T) {
	threeGuards(t, func(_ *wire, s []*site) {
		s[0].fence.stuck("/cg/shop")
		fenceShop(t, s)
		pass(t, s, 4*time.Second)
		if len(s[1].holds()) > 0 {
			t.Fatal("b holds the lease of what may still run on a")
		}
		s[0].fence.stuck("")
		pass(t, s, 4*time.Second)
		if len(s[1].holds()) != 1 {
			t.Errorf("b holds %v after a's cut was proved", s[1].holds())
		}
		if at := s[0].fence.cutAt("/cg/shop"); at == 0 {
			t.Error("it was not cut off")
		}
	})
}

func TestTheWatchdogEndsAHostWhereWhatWouldNotStopCannotBeCutOff(t *testing.T) {
	withDog(t, func(t *testing.T, d *dog, _ *wire, s []*site) bool {
		s[0].fence.stuck("/cg/shop")
		fenceShop(t, s)
		pass(t, s, custody.UnprovenLimit+6*time.Second)
		if d.hungry() < 3*time.Second {
			t.Errorf("the watchdog was petted %s ago", d.hungry())
		}
		if len(s[1].holds()) > 0 {
			t.Error("b holds the lease of what may still run on a")
		}
		if !s[0].last().Watchdog || s[1].last().Watchdog {
			t.Error("a has a watchdog and b has none, and they say otherwise")
		}
		s[0].fence.stuck("") // a person has looked
		pass(t, s, 5*time.Second)
		return true
	})
}
