package agent

import (
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/guardwire"
)

const (
	// lagWorth is by how much a runner may be late without being taken for one
	// that did not run.
	lagWorth = 5 * time.Millisecond
	// hearingTime is how long what the guard said meanwhile may take to be read.
	hearingTime = supervise.LookAhead
)

// lag is what a runner knows of its own lateness. A runner looks at a lease
// LookAhead before it would stop what runs under it, and again when it would. One
// that is on time for both and has heard of no renewal knows that there was none
// to hear: the guard says it halfway to the end. One that was late for either knows
// nothing of the kind, since the reader of the guard's words was late like it. It
// then waits for a word that the guard said after that, for hearingTime at most.
//
// Nothing runs longer for that than the guard allows: it cuts off what has lost
// its lease by itself. A guard that is away or stands still gives a runner that
// was late hearingTime once, and one that is on time nothing.
type lag struct {
	wake  time.Duration  // as the last step says; 0: none
	due   time.Duration  // boot time at which it is to run next; 0: for news only
	since time.Duration  // when it last saw that it was late; 0: never
	spent guardwire.Boot // the moment of the last state after which newer word was awaited
}

// note is called when the runner runs again. A guard that says nothing is not
// waited for twice after the same state.
func (l *lag) note(now time.Duration, g guardclient.View) {
	if l.due != 0 && now-l.due > lagWorth && g.State.Now != l.spent {
		l.since = now
	}
}

// awaits reports whether newer word of the guard is to be awaited, since the end
// of the lease that it showed last is near or past.
func (l *lag) awaits(h supervise.Hold, now time.Duration, g guardclient.View) bool {
	awaits := g.Up && h.Held && h.Until-now <= supervise.StopAhead &&
		l.since > 0 && now < l.since+hearingTime && time.Duration(g.State.Now) < l.since
	if awaits {
		l.spent = g.State.Now
	}
	return awaits
}
