package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
)

// How the priority comes back.
const (
	// FirstPause is how long the process has to stay within its budget after an
	// overrun, until it takes the priority again. Each overrun doubles it.
	FirstPause = time.Minute
	// Returns is how often it takes the priority again; what overruns once more
	// stays at normal priority until it is started anew.
	Returns = 6
	// Forgiven is how long it has to stay within its budget at this priority for
	// the overruns before to count no more.
	Forgiven = 2 * time.Hour
)

// Keeper keeps the process within its budget.
type Keeper struct {
	clock   clock.Clock
	log     *slog.Logger
	signals chan os.Signal
	why     atomic.Pointer[string]

	enter, leave func() error
	processor    func() time.Duration // time that this process has run
	stay                              // owned by Run
}

// stay is how it stands with the priority.
type stay struct {
	overruns int           // that count
	away     bool          // the priority was given up
	since    time.Duration // boot time since when it has it, or stays within its budget without
	final    bool          // it does not come back
	used     time.Duration // at the last look
	looked   time.Duration // boot time of that
}

// NewKeeper returns a keeper that listens for the kernel's warning from now on.
// Call it before [Enter], and Run after.
func NewKeeper(clk clock.Clock, log *slog.Logger) *Keeper {
	k := &Keeper{clock: clk, log: log, signals: make(chan os.Signal, 1), enter: Enter, leave: Leave, processor: processor}
	k.Listen()
	return k
}

// Listen makes the keeper listen again after somebody had the kernel's warning
// ignored, which would else end the process.
func (k *Keeper) Listen() { signal.Notify(k.signals, unix.SIGXCPU) }

// Run takes the priority away when the budget is overrun, and gives it back
// after a while within the budget, see [FirstPause]. It returns when ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := k.clock.Tick(Span)
	defer tick.Stop()
	k.since, k.looked, k.used = k.clock.Boot(), k.clock.Boot(), k.processor()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.signals:
			if !k.away { // else it is the echo of the last overrun
				k.giveUp(fmt.Sprintf("a thread of it ran for %s without a pause", Warn))
			}
		case <-tick.C:
			k.look()
		}
	}
}

// look judges what was used since the last look.
func (k *Keeper) look() {
	now, used := k.clock.Boot(), k.processor()
	span, mine := now-k.looked, used-k.used
	k.looked, k.used = now, used
	busy := mine > span/Share
	switch {
	case busy && !k.away:
		k.giveUp(fmt.Sprintf("it used %s of %s", mine.Round(10*time.Millisecond), span.Round(10*time.Millisecond)))
	case busy:
		k.since = now
	case k.away && !k.final && now-k.since >= k.pause():
		k.takeAgain(now)
	case !k.away && now-k.since >= Forgiven:
		k.overruns = 0
	}
}

// pause is how long the priority stays away after the last overrun.
func (k *Keeper) pause() time.Duration { return FirstPause << max(k.overruns-1, 0) }

func (k *Keeper) giveUp(why string) {
	err := k.leave()
	k.overruns++
	k.away, k.since, k.final = true, k.clock.Boot(), k.overruns > Returns
	text := "the guard overran its budget of real-time priority, " + why + "; it goes on at normal priority and may be late under load"
	if k.final {
		text += fmt.Sprintf(". That was the %dth time: it stays so until it is started anew", k.overruns)
	} else {
		text += fmt.Sprintf(", until it has kept to its budget for %s", k.pause())
	}
	k.why.Store(&text)
	k.log.Error("real-time priority given up", "why", why, "times", k.overruns, logkey.Err, err)
}

// takeAgain takes the priority back. Where it is refused now, that counts like
// an overrun.
func (k *Keeper) takeAgain(now time.Duration) {
	if err := k.enter(); err != nil {
		k.overruns++
		k.since, k.final = now, k.overruns > Returns
		text := "the guard gave its real-time priority up and cannot take it again; it may be late under load: " + err.Error()
		k.why.Store(&text)
		k.log.Error("real-time priority not taken again", logkey.Err, errors.Join(err, k.leave()))
		return
	}
	k.away, k.since = false, now
	k.why.Store(nil)
	k.log.Info("real-time priority taken again", "times", k.overruns)
}

// Overrun returns a sentence while the process goes without the priority because
// it overran its budget, else "". It is safe for concurrent use.
func (k *Keeper) Overrun() string {
	if why := k.why.Load(); why != nil {
		return *why
	}
	return ""
}
