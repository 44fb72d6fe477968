package controller

import (
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	ceilingRoom = 500  // left below the ceiling when it is raised
	ceilingStep = 1000 // by which it is raised

	// unlearned is how long a holder may go without the store and with a lease
	// longer than any that is still asked for.
	unlearned = 10 * time.Minute
)

// patience is since when a shorter longest TTL would do.
type patience struct {
	wanted time.Duration // 0: nothing is waited for
	since  time.Duration // CLOCK_BOOTTIME
}

// revise returns the lease configuration that is due, and whether it differs
// from old. ballot is the highest ballot number seen, longest the longest TTL
// of all specs, now the boot time.
//
// A longer TTL counts at once, since it may be used only once it is written. A
// shorter one waits until nobody has used the old one for twice its length, by
// the clock of one controller, and for unlearned on top, for a holder that has not
// heard of the change: a voter that starts is silent for as long as LongestTTL
// says, and must outlast every lease that it may have granted.
func (p *patience) revise(old record.Lease, ballot uint64, longest, now time.Duration) (record.Lease, bool) {
	due := old
	if ballot+ceilingRoom >= old.Ceiling {
		due.Ceiling = max(ballot, old.Ceiling) + ceilingStep
	}
	current := time.Duration(old.LongestTTL)
	switch {
	case longest >= current:
		*p = patience{}
		due.LongestTTL = spec.Duration(longest)
	case p.wanted != longest:
		*p = patience{wanted: longest, since: now}
	case now-p.since >= 2*current+unlearned:
		*p = patience{}
		due.LongestTTL = spec.Duration(longest)
	}
	return due, due != old
}

// longestTTL is the longest lease that any service of the cell asks for, or may
// come to ask for when its hosts stall more: following that would change it too
// often.
func (m *mirror) longestTTL() time.Duration {
	longest := spec.LongestAutoTTL
	for _, svc := range m.services {
		longest = max(longest, svc.value.Spec.Failover.EffectiveTTL())
	}
	return longest
}

// epochOf is the highest epoch under which any node reports to run the service.
func (m *mirror) epochOf(service spec.ServiceName, lease int) uint64 {
	var newest uint64
	for _, r := range m.reports {
		for _, i := range r.value.Instances {
			if i.Service == service && i.Right == lease {
				newest = max(newest, i.Epoch)
			}
		}
	}
	return newest
}

// newestEpoch is the highest ballot number that any node reports to run under. A
// guard that does not vote hears of few itself.
func (m *mirror) newestEpoch() uint64 {
	var newest uint64
	for _, r := range m.reports {
		for _, i := range r.value.Instances {
			newest = max(newest, i.Epoch)
		}
	}
	return newest
}
