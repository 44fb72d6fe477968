package guardlink

import (
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/driver/link"
	"github.com/keelson/keelson/internal/engine/guard"
)

const (
	// remembered is for how long the operator is told of a datagram, and told how
	// often the sentence changes at most: it goes to the store.
	remembered = 10 * time.Minute
	told       = time.Minute
)

// Watch opens links and tells the operator what arrives at them that can come
// from no node of the cell. The zero value watches nothing yet.
//
// Open may be called by another goroutine than Warning and Dropped.
type Watch struct {
	socket atomic.Pointer[link.Socket]

	from    *link.Socket // whose counters last are
	last    link.Counters
	minutes []minute
	until   time.Duration // the sentence stays as it is
	text    string
	count   time.Duration // when to count again
	dropped map[string]uint64
}

// minute is what came in about a minute.
type minute struct {
	at     time.Duration
	counts [len(alien)]uint64
}

// alien are the kinds of datagrams that no node of the cell sends. Those of other
// kinds are dropped in the normal course of joining, restarting and changing keys.
var alien = [...]link.Kind{link.Forged, link.Foreign, link.Truncated, link.Oversize, link.Version, link.Stale}

// words are what the operator is told of them.
var words = [len(alien)]string{"forged", "of another cell", "too short", "too long", "of no known version", "sent before or by a guard that was replaced"}

// noise is how many of each kind are worth no sentence. What was sent before the
// guard of a node was started anew may come late.
var noise = [len(alien)]uint64{len(alien) - 1: 100}

// Open opens the link that o describes, as [Open] does, and watches it.
func (w *Watch) Open(clk clock.Clock, log *slog.Logger, o guard.LinkOptions) (guard.Link, error) {
	l, err := Open(clk, log, o)
	if err != nil {
		return nil, err
	}
	if s, ok := l.(*socketLink); ok {
		w.socket.Store(s.socket)
	}
	return l, nil
}

// Warning is a sentence about what arrived in the ten minutes before now, a
// moment on CLOCK_BOOTTIME; empty: nothing did. It changes once a minute at most.
func (w *Watch) Warning(now time.Duration) string {
	s := w.socket.Load()
	if s == nil || now < w.until {
		return w.text
	}
	if s != w.from {
		w.from, w.last = s, link.Counters{}
	}
	w.note(now, s.Counters())
	text := sentence(w.sum())
	if text != w.text {
		w.text, w.until = text, now+told
	}
	return w.text
}

// Dropped is how many datagrams of each kind were dropped since the link was opened,
// as it was within the last minute; nil: none. Nobody changes the map.
func (w *Watch) Dropped(now time.Duration) map[string]uint64 {
	s := w.socket.Load()
	if s == nil || now < w.count {
		return w.dropped
	}
	w.count = now + told
	c := s.Counters()
	fresh := make(map[string]uint64, len(c.Dropped))
	for _, k := range link.Kinds() {
		if n := c.Dropped[k]; n > 0 {
			fresh[k.String()] = n
		}
	}
	if !maps.Equal(fresh, w.dropped) {
		w.dropped = fresh
	}
	return w.dropped
}

// note takes in what was counted since the last time.
func (w *Watch) note(now time.Duration, c link.Counters) {
	var fresh minute
	some := false
	for i, k := range alien {
		fresh.counts[i] = c.Dropped[k] - w.last.Dropped[k]
		some = some || fresh.counts[i] > 0
	}
	w.last = c
	if some {
		fresh.at = now
		w.minutes = append(w.minutes, fresh)
	}
	for len(w.minutes) > 0 && (w.minutes[0].at+remembered <= now || len(w.minutes) > int(remembered/told)+1) {
		w.minutes = w.minutes[1:]
	}
}

func (w *Watch) sum() (all [len(alien)]uint64) {
	for _, m := range w.minutes {
		for i, n := range m.counts {
			all[i] += n
		}
	}
	return all
}

func sentence(counts [len(alien)]uint64) string {
	var total uint64
	var kinds []string
	for i, n := range counts {
		if n > noise[i] {
			total += n
			kinds = append(kinds, fmt.Sprintf("%d %s", n, words[i]))
		}
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf("Datagrams that no node of the cell sends arrive at the heartbeat port and are dropped: %s in the last 10 min. "+
		"The log of the guard says from where.", strings.Join(kinds, ", "))
}
