// Package lateness is what one who watches a lease by the guard's words knows of
// its own lateness.
//
// Its main rule: that nobody read a word in time is no proof that it was not said.
// It extends no lease, and says nothing about what is to be done when one is over.
package lateness

import (
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/guardwire"
)

const (
	// lagWorth is by how much a watcher may be late without being taken for one
	// that did not run.
	lagWorth = 5 * time.Millisecond
	// HearingTime is how long a guard that was late as well has to say something.
	HearingTime = supervise.LookAhead
	// hearingMost is how long what the guard said may lie unread, in time in which
	// the watcher ran.
	hearingMost = 5 * time.Second
	// LookEvery is the time between two looks while newer word is awaited.
	LookEvery = 10 * time.Millisecond
)

// Lag is what a watcher knows. It looks at a lease LookAhead before it would stop
// what runs under it, and again when it would. One that is on time for both and
// has heard of no renewal knows that there was none to hear, if nothing that the
// guard said lies unread: the guard says it halfway to the end. While something
// does, it waits until that is read, however long the reader takes to run. One
// that was late itself also waits for a word that the guard said after that, for
// HearingTime at most.
//
// Nothing runs longer for that than the guard allows: it cuts off what has lost
// its lease by itself. A guard that is away or stands still gives a watcher that
// was late HearingTime once, and one that is on time nothing.
//
// The zero value was never late. It is for one goroutine.
type Lag struct {
	due    time.Duration  // boot time at which it is to run next; 0: for news only
	since  time.Duration  // when it last saw that it was late; 0: never
	spent  guardwire.Boot // the moment of the last state after which newer word was awaited
	looked time.Duration  // when it last saw that something lies unread
	waited time.Duration  // for that to be read, but for the time in which it did not run
}

// Due is the boot time at which the watcher is to run next, 0 if for news only.
func (l *Lag) Due() time.Duration { return l.due }

// Next says that the watcher is to run wake after the boot time now, or, if wake
// is 0, when there is news.
func (l *Lag) Next(now, wake time.Duration) {
	l.due = 0
	if wake > 0 {
		l.due = now + wake
	}
}

// Note is called when the watcher runs again, at the boot time now. A guard that
// says nothing is not waited for twice after the same state.
func (l *Lag) Note(now time.Duration, g guardclient.View) {
	if l.due != 0 && now-l.due > lagWorth && g.State.Now != l.spent {
		l.since = now
	}
	if !g.Unread {
		l.waited = 0
	}
}

// Awaits reports whether newer word of the guard is to be awaited at the boot time
// now, since the end of the lease that it showed last is near or past. It is to be
// asked again after LookEvery, with what is known of the guard by then.
func (l *Lag) Awaits(h supervise.Hold, now time.Duration, g guardclient.View) bool {
	if !g.Up || !h.Held || h.Until-now > supervise.StopAhead {
		return false
	}
	if g.Unread && l.waited < hearingMost {
		l.waited += min(now-l.looked, LookEvery)
		l.looked = now
		return true
	}
	awaits := l.since > 0 && now < l.since+HearingTime && time.Duration(g.State.Now) < l.since
	if awaits {
		l.spent = g.State.Now
	}
	return awaits
}
