// Package backoff works out how long to wait before the next attempt.
//
// It is arithmetic only: the caller counts the attempts and does the waiting.
// The jitter comes from a seed that the caller hands in, so that the same
// inputs give the same delay on every node and in every replay.
package backoff

import (
	"math"
	"time"
)

// Backoff is a rule for delays that grow. The zero value never waits.
type Backoff struct {
	// Min is the delay before the second attempt, Max the longest delay. A Max
	// below Min counts as Min.
	Min, Max time.Duration
	// Factor is by how much each delay is longer than the one before. Below 1
	// (so also when it is left out) it counts as 2.
	Factor float64
	// Jitter is the share of a delay that the seed may take off, 0 to 1: with
	// 0.2 a delay of 10 s becomes one between 8 s and 10 s. Values outside the
	// range count as the nearest end.
	Jitter float64
}

// DefaultFactor doubles each delay.
const DefaultFactor = 2

// Delay returns how long to wait after failed attempts have failed in a row.
//
// It is 0 for failed < 1, Min for the first failure, and grows by Factor to
// Max. The result is never negative and never above Max. Different seeds spread
// callers that failed at the same moment.
func (b Backoff) Delay(failed int, seed uint64) time.Duration {
	least := max(b.Min, 0)
	most := max(b.Max, least)
	if failed < 1 || most == 0 {
		return 0
	}

	factor := b.Factor
	if !(factor >= 1) { // also not a number
		factor = DefaultFactor
	}
	grown := float64(least) * math.Pow(factor, float64(failed-1))
	delay := most
	if grown < float64(most) { // false for infinity and for 0 times infinity
		delay = time.Duration(grown)
	}

	jitter := min(max(b.Jitter, 0), 1)
	if !(jitter > 0) {
		return delay
	}
	off := time.Duration(float64(delay) * jitter * unit(seed, uint64(failed)))
	return delay - min(off, delay)
}

// unit spreads seed and n over [0, 1). It is the finisher of SplitMix64 (Steele,
// Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
func unit(seed, n uint64) float64 {
	z := seed + n*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11) / (1 << 53)
}
