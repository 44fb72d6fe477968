package address

import (
	"net/netip"
	"testing"
	"time"
)

func testRoster() roster { return newRoster(3, 100*time.Millisecond, 10*time.Second) }

func TestRosterAnnouncesOftenFirstAndSlowlyThen(t *testing.T) {
	r := testRoster()
	r.add("shop/address", claim{}, 0)

	var at []time.Duration
	for now := time.Duration(0); now < 25*time.Second; now += r.wait(now) {
		for range r.due(now) {
			at = append(at, now)
		}
	}
	compare(t, at, []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 10200 * time.Millisecond, 20200 * time.Millisecond,
	})
}

func TestRosterPutsOffWhatIsLate(t *testing.T) {
	for _, c := range []struct {
		name string
		now  time.Duration
		want []string
		wait time.Duration
	}{
		{name: "nothing is due before its time", now: 99 * time.Millisecond, wait: time.Millisecond},
		{name: "on time, by name", now: 100 * time.Millisecond, want: []string{"a/address", "b/address"}, wait: 100 * time.Millisecond},
		{name: "a little late is on time", now: 300 * time.Millisecond, want: []string{"a/address", "b/address"}, wait: 100 * time.Millisecond},
		{name: "after a freeze it rests until the lease was enforced", now: 301 * time.Millisecond, wait: settle},
		{name: "after a night's sleep too", now: 8 * time.Hour, wait: settle},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRoster()
			r.add("b/address", claim{}, 0)
			r.add("a/address", claim{}, 0)
			var got []string
			for _, h := range r.due(c.now) {
				got = append(got, h.key)
			}
			compare(t, got, c.want)
			compare(t, r.wait(c.now), c.wait)
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
