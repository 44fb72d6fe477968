package survey

import (
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	ceilingRoom = 500  // left below the ceiling when it is raised
	ceilingStep = 1000 // by which it is raised

	// Unlearned is how long a node that reports may still hold a lease longer than
	// any that is asked for, because it has not heard of the change.
	Unlearned = 10 * time.Minute
)

// Patience is since when a shorter longest TTL would do.
type Patience struct {
	Wanted time.Duration // 0: nothing is waited for
	Since  time.Duration // CLOCK_BOOTTIME
}

// Revise returns the lease configuration that is due, and whether it differs
// from old. ballot is the highest ballot number seen, longest the longest TTL
// of all specs, now the boot time, heard what [Cell.Heard] says.
//
// A longer TTL counts at once, since it may be used only once it is written. A
// shorter one waits until nobody has used the old one for twice its length, by
// the clock of one controller, and for Unlearned on top, while all nodes report: a
// voter that starts is silent for as long as LongestTTL says, and must outlast every
// lease that it may have granted. A node that does not report may not have heard
// of the change, whether it is in touch with the voters or comes back some day.
func (p *Patience) Revise(old record.Lease, ballot uint64, longest, now time.Duration, heard bool) (record.Lease, bool) {
	due := old
	if ballot+ceilingRoom >= old.Ceiling {
		due.Ceiling = max(ballot, old.Ceiling) + ceilingStep
	}
	current := time.Duration(old.LongestTTL)
	switch {
	case longest >= current:
		*p = Patience{}
		due.LongestTTL = spec.Duration(longest)
	case p.Wanted != longest || !heard:
		*p = Patience{Wanted: longest, Since: now}
	case now-p.Since >= 2*current+Unlearned:
		*p = Patience{}
		due.LongestTTL = spec.Duration(longest)
	}
	return due, due != old
}

// Heard reports whether every member of the cell has reported lately.
func (c *Cell) Heard(now time.Time) bool {
	for name := range c.Nodes {
		r := c.Reports[name]
		if r.Seen.IsZero() || r.mute(now) {
			return false
		}
	}
	return true
}
