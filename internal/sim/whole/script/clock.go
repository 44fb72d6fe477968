package script

import (
	"math"
	"time"
)

// Clock is a host's CLOCK_BOOTTIME.
type Clock struct {
	Base, Origin time.Duration // local and true time of one moment
	Rate         float64
}

// Local is what the clock shows at true time t.
func (c *Clock) Local(t time.Duration) time.Duration {
	return c.Base + time.Duration(float64(t-c.Origin)*c.Rate)
}

// True is the true time at which the clock shows at least local.
func (c *Clock) True(local time.Duration) time.Duration {
	return c.Origin + time.Duration(math.Ceil(float64(local-c.Base)/c.Rate))
}
