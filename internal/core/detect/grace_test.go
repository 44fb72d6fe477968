package detect

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// An observer that stood still for an hour gave everyone an hour: with three
// voters, the death of one in that hour was noticed by one voter only.
func TestLongPauseOfAnObserverDoesNotBlindItForLong(t *testing.T) {
	d := New(0)
	d.Configure(0, quorum.Of(0, 1, 2), quorum.Config{Version: 1, Voters: quorum.Of(0, 1, 2)}, 40*time.Millisecond)
	now, seq := Boot(0), uint64(0)
	live := func(until Boot, alive ...uint8) {
		for ; now < until; now += 40 * time.Millisecond {
			seq++
			for _, slot := range alive {
				d.Heard(now, slot, 1, Beat{Seq: seq, Heard: quorum.Of(0, 1, 2)})
			}
			d.Tick(now)
		}
	}
	live(5*time.Second, 1, 2)
	now += time.Hour
	live(now+100*time.Millisecond, 1, 2)
	live(now+3*Cap, 1) // node 2 dies
	if !d.Suspect().Has(2) {
		t.Errorf("node 2 has been silent for %s and is not missed", 3*Cap)
	}
}

// Two clocks that differ by as much as they may were found to differ by more:
// after a cut, the windows that were compared lay further apart than was
// counted. And a path that was slow for a while made a clock look odd, on the
// way there and on the way back.
func TestClockWithinTheBoundIsNeverFoundOff(t *testing.T) {
	const step = 40 * time.Millisecond
	for name, delay := range map[string]func(now Boot) time.Duration{
		"a path that is cut now and then": func(now Boot) time.Duration {
			if now%(33*time.Second) > 17*time.Second {
				return -1
			}
			return now % (7 * time.Millisecond)
		},
		"a path that is slow for 40 s": func(now Boot) time.Duration {
			if now > 50*time.Second && now < 90*time.Second {
				return 700 * time.Millisecond
			}
			return 0
		},
	} {
		for _, drift := range []float64{-0.00985, 0, 0.00985} {
			var r rate
			for now := step; now < 5*time.Minute; now += step {
				if d := delay(now); d >= 0 {
					r.add(now, time.Duration(float64(now-d)*(1+drift)))
				}
				if r.off {
					t.Fatalf("%s: a clock that differs by %.3f %% was found off after %s", name, 100*drift, now)
				}
			}
		}
	}
}

// TestClockThatLeasesDoNotCoverIsFound plays clocks of all rates on a path whose
// least delay goes up and down by what can be expected, as badly as it can.
func TestClockThatLeasesDoNotCoverIsFound(t *testing.T) {
	const step, noise = 40 * time.Millisecond, 40 * time.Millisecond
	paths := map[string]func(now Boot) time.Duration{
		"a quick path":           func(Boot) time.Duration { return 0 },
		"a slow path":            func(now Boot) time.Duration { return noise - now%(7*time.Millisecond) },
		"slow every other time":  func(now Boot) time.Duration { return noise * (now / rateWindow % 2) },
		"quick every other time": func(now Boot) time.Duration { return noise * (1 - now/rateWindow%2) },
		"ever slower":            func(now Boot) time.Duration { return noise * min(now, 2*time.Minute) / (2 * time.Minute) },
		"ever quicker":           func(now Boot) time.Duration { return noise - noise*min(now, 2*time.Minute)/(2*time.Minute) },
	}
	for name, delay := range paths {
		for tenths := -50; tenths <= 50; tenths++ {
			drift := float64(tenths) / 1000
			var r rate
			found := time.Duration(0)
			for now := step; now < 2*time.Minute && found == 0; now += step {
				if r.add(now, time.Duration(float64(now-delay(now))*(1+drift))); r.off {
					found = now
				}
			}
			switch size := max(drift, -drift); {
			case size <= 0.01 && found > 0:
				t.Errorf("%s: a clock that differs by %.1f %% was found off after %s", name, 100*drift, found)
			case size >= 0.015 && (found == 0 || found > 80*time.Second):
				t.Errorf("%s: a clock that differs by %.1f %% was found off after %s (0: never)", name, 100*drift, found)
			}
		}
	}
}
