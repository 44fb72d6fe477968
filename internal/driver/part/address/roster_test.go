package address

import (
	"net/netip"
	"testing"
	"time"
)

func testRoster() roster { return newRoster(3, 100*time.Millisecond, 10*time.Second) }

func TestRosterAnnouncesOftenFirstAndSlowlyThen(t *testing.T) {
	r := testRoster()
	r.due(time.Hour)
	r.add("shop/address", claim{}, time.Hour)

	var at []time.Duration
	for now := time.Hour; now < time.Hour+25*time.Second; now += r.wait(now) {
		for range r.due(now) {
			at = append(at, now-time.Hour)
		}
	}
	// Each of the slow ones comes after a moment of proved wakefulness.
	compare(t, at, []time.Duration{settle, settle + 100*time.Millisecond, 10400 * time.Millisecond, 20550 * time.Millisecond})
}

func TestRosterPutsOffWhatIsDueUntilItIsSurelyAwake(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		now  time.Duration
		want []string
		wait time.Duration
	}
	both := []string{"a/address", "b/address"}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"awake all the time, by name", []step{
			{now: 0, wait: 200 * ms},
			{now: 200 * ms, want: both, wait: 100 * ms},
		}},
		{"a short pause is no freeze", []step{
			{now: 0, wait: 200 * ms},
			{now: 250 * ms, want: both, wait: 100 * ms},
		}},
		{"after a freeze, however little late", []step{
			{now: 0, wait: 200 * ms},
			{now: 251 * ms, wait: settle},
			{now: 401 * ms, want: both, wait: 100 * ms},
		}},
		{"another reason to look does not prove it", []step{
			{now: 0, wait: 200 * ms},
			{now: 3000 * ms, wait: settle},
			{now: 3001 * ms, wait: settle - ms},
			{now: 3150 * ms, want: both, wait: 100 * ms},
		}},
		{"frozen again in between", []step{
			{now: 0, wait: 200 * ms},
			{now: 3000 * ms, wait: settle},
			{now: 5000 * ms, wait: settle},
			{now: 5150 * ms, want: both, wait: 100 * ms},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const start = time.Hour
			r := newRoster(3, 100*ms, 10*time.Second)
			for now := start - 500*ms; now <= start; now += 100 * ms {
				r.due(now)
			}
			r.add("b/address", claim{}, start+100*ms)
			r.add("a/address", claim{}, start+100*ms)
			for _, s := range c.steps {
				var got []string
				for _, h := range r.due(start + s.now) {
					got = append(got, h.key)
				}
				compare(t, got, s.want)
				compare(t, r.wait(start+s.now), s.wait)
			}
		})
	}
}

func TestRosterKeepsThePlaceOfWhatIsKnown(t *testing.T) {
	r := testRoster()
	r.add("shop/address", claim{Epoch: 1}, 0)
	r.add("shop/address", claim{Epoch: 2}, 50*time.Millisecond)
	compare(t, r.wait(50*time.Millisecond), 50*time.Millisecond)

	r.remove("shop/address")
	compare(t, r.wait(0), idle)
}

func FuzzParseClaim(f *testing.F) {
	f.Add([]byte(`{"prefix":"10.77.0.100/24","interface":"eth0","epoch":7}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"prefix":"::/0","interface":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseClaim(text)
		if err == nil && (!c.Prefix.IsValid() || c.Interface == "" || c.Prefix == netip.Prefix{}) {
			t.Errorf("accepted %+v", c)
		}
	})
}
