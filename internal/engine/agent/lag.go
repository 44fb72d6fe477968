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
	// hearingTime is how long a guard that was late as well has to say something.
	hearingTime = supervise.LookAhead
	// hearingMost is how long what the guard said may lie unread, in time in which
	// the runner ran, and hearingLook how often it looks whether it does.
	hearingMost = 5 * time.Second
	hearingLook = 10 * time.Millisecond
)

// lag is what a runner knows of its own lateness. A runner looks at a lease
// LookAhead before it would stop what runs under it, and again when it would. One
// that is on time for both and has heard of no renewal knows that there was none
// to hear, if nothing that the guard said lies unread: the guard says it halfway to
// the end. While something does, it waits until that is read, however long the
// reader takes to run. One that was late itself also waits for a word that the
// guard said after that, for hearingTime at most.
//
// Nothing runs longer for that than the guard allows: it cuts off what has lost
// its lease by itself. A guard that is away or stands still gives a runner that
// was late hearingTime once, and one that is on time nothing.
type lag struct {
	wake   time.Duration  // as the last step says; 0: none
	due    time.Duration  // boot time at which it is to run next; 0: for news only
	since  time.Duration  // when it last saw that it was late; 0: never
	spent  guardwire.Boot // the moment of the last state after which newer word was awaited
	looked time.Duration  // when it last saw that something lies unread
	waited time.Duration  // for that to be read, but for the time in which it did not run
}

// note is called when the runner runs again. A guard that says nothing is not
// waited for twice after the same state.
func (l *lag) note(now time.Duration, g guardclient.View) {
	if l.due != 0 && now-l.due > lagWorth && g.State.Now != l.spent {
		l.since = now
	}
	if !g.Unread {
		l.waited = 0
	}
}

// awaits reports whether newer word of the guard is to be awaited, since the end
// of the lease that it showed last is near or past. It is asked again after
// hearingLook.
func (l *lag) awaits(h supervise.Hold, now time.Duration, g guardclient.View) bool {
	if !g.Up || !h.Held || h.Until-now > supervise.StopAhead {
		return false
	}
	if g.Unread && l.waited < hearingMost {
		l.waited += min(now-l.looked, hearingLook)
		l.looked = now
		return true
	}
	awaits := l.since > 0 && now < l.since+hearingTime && time.Duration(g.State.Now) < l.since
	if awaits {
		l.spent = g.State.Now
	}
	return awaits
}
