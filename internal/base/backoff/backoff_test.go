package backoff

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDelay(t *testing.T) {
	tests := []struct {
		name string
		rule Backoff
		want []time.Duration // after 0, 1, 2 ... failures
	}{
		{
			"the zero value never waits",
			Backoff{},
			[]time.Duration{0, 0, 0},
		},
		{
			"delays double up to the limit",
			Backoff{Min: time.Second, Max: 5 * time.Second},
			[]time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second},
		},
		{
			"a factor of one keeps the delay",
			Backoff{Min: time.Second, Max: 5 * time.Second, Factor: 1},
			[]time.Duration{0, time.Second, time.Second, time.Second},
		},
		{
			"a limit below the least delay counts as the least delay",
			Backoff{Min: time.Second, Max: time.Millisecond},
			[]time.Duration{0, time.Second, time.Second},
		},
		{
			"a factor that is not a number counts as two",
			Backoff{Min: time.Second, Max: time.Minute, Factor: math.NaN()},
			[]time.Duration{0, time.Second, 2 * time.Second},
		},
		{
			"no least delay never waits",
			Backoff{Max: time.Minute},
			[]time.Duration{0, 0, 0},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []time.Duration
			for failed := range tt.want {
				got = append(got, tt.rule.Delay(failed, 7))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("delays (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJitterTakesOffAtMostItsShareAndIsTheSameForTheSameSeed(t *testing.T) {
	rule := Backoff{Min: time.Second, Max: time.Minute, Jitter: 0.2}
	seen := map[time.Duration]bool{}
	for seed := range uint64(1000) {
		got := rule.Delay(1, seed)
		if got < 800*time.Millisecond || got > time.Second {
			t.Fatalf("seed %d: delay %s outside 800 ms to 1 s", seed, got)
		}
		if again := rule.Delay(1, seed); again != got {
			t.Fatalf("seed %d: %s, then %s", seed, got, again)
		}
		seen[got] = true
	}
	if len(seen) < 900 {
		t.Errorf("1000 seeds gave only %d delays", len(seen))
	}
}

func FuzzDelayStaysInRange(f *testing.F) {
	f.Add(int64(time.Second), int64(time.Minute), 2.0, 0.5, 3, uint64(1))
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), 1e300, 2.0, math.MaxInt, uint64(0))
	f.Add(int64(-1), int64(0), math.Inf(1), math.NaN(), -5, uint64(9))
	f.Fuzz(func(t *testing.T, least, most int64, factor, jitter float64, failed int, seed uint64) {
		b := Backoff{Min: time.Duration(least), Max: time.Duration(most), Factor: factor, Jitter: jitter}
		got := b.Delay(failed, seed)
		if limit := max(b.Max, b.Min, 0); got < 0 || got > limit {
			t.Errorf("%+v after %d failures: %s, want 0 to %s", b, failed, got, limit)
		}
	})
}
