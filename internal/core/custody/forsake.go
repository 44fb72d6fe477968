package custody

import (
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// Steady is how long an agent that came anew has to be heard until its absences
// before that count no more. A guard whose agent was away for longer than that, and
// is not steady yet, claims nothing.
const Steady = 10 * guardwire.BeatEvery

// away is the silence of an agent that beats no more.
const away = 2 * guardwire.BeatEvery

// Attendance is how an agent looks after its node, as its guard hears it. One that
// ends again and again is away for as long as its absences take together: what it
// says in between starts nothing that lasts, and must not keep the other nodes from
// taking over. The zero value is of one that was never heard.
type Attendance struct {
	Last  time.Duration // when it was last heard; 0: never
	since time.Duration // when it came; silence on its connection is added
	lost  time.Duration // its absences before that, in all
}

// Heard notes a word of the agent; anew: the first on its connection. That it
// connects is no word.
func (a *Attendance) Heard(now time.Duration, anew bool) {
	gap := now - a.Last
	switch {
	case a.Last == 0:
		a.since = now
	case anew:
		a.lost += gap
		a.since = now
	case gap >= away:
		a.since += gap
	}
	a.Last = now
	if now-a.since >= Steady {
		a.lost = 0
	}
}

// Absence is how long the agent has been away.
func (a *Attendance) Absence(now time.Duration) Absence {
	return Absence{Silent: now - a.Last, Alone: a.lost + now - a.Last}
}

// Absence is why a guard may have to give up what it holds.
type Absence struct {
	Silent time.Duration // since the agent was heard
	Alone  time.Duration // the same, and its absences since it was steady
	Ends   bool          // the guard is to end
}

// Away reports whether the agent is away.
func (a Absence) Away() bool { return a.Alone >= away }

// Idle reports whether the node cannot start anything, so that nothing new is to be
// claimed for it. What is held goes on for as long as its service says.
func (a Absence) Idle(d *guardwire.Duty) bool {
	return a.Ends || a.Silent >= away || a.Alone > min(Steady, ShortestLoss(d))
}

// Parts reports whether anything could have to be given up: the agent is away, could
// not stop something, or the guard is to end.
func (b Books) Parts(why Absence) bool {
	return why.Ends || why.Away() || slices.ContainsFunc(b.Duty.Seeks, func(s guardwire.Seek) bool { return s.Fence })
}

// Heard notes that the agent was heard. What it is back for in time goes on; what it
// asked to have cut off, and what it was away from for too long, does not.
func (b Books) Heard(why Absence) {
	maps.DeleteFunc(b.Forsaken, func(name spec.ServiceName, _ time.Duration) bool {
		return !slices.ContainsFunc(b.Duty.Seeks, func(s guardwire.Seek) bool {
			return s.Service == name && (s.Fence || why.Alone > s.AgentLoss)
		})
	})
}

// Given is a lease that is given back.
type Given struct {
	Service spec.ServiceName
	ID      lease.ID
	Epoch   uint64
	Fence   bool // the agent could not stop it
}

// Forsake gives up what is held and must not be any more: what the agent has not
// looked after for too long or could not stop, and all of it if the guard is to end.
// It returns what
// is given up from now on, and what is to be given back, and notes both in
// Forsaken and in the duty.
//
// A lease is given back only when nothing runs under it any more, and nothing can
// start. An agent that stood still may go on at any moment, and looks at the
// lease as the guard last told it right before it starts something. So what is
// forsaken is told no more; and the cut that proves it off begins when all that
// was told of its lease has passed.
func (b Books) Forsake(now time.Duration, why Absence, holds []lease.Hold) (up []spec.ServiceName, back []Given) {
	if !b.Parts(why) {
		return nil, nil
	}
	for i := range holds {
		h := &holds[i]
		s := b.Seek(h.ID)
		if s == nil || !why.Ends && !s.Fence && (!why.Away() || why.Alone <= s.AgentLoss) {
			continue
		}
		name := s.Service
		if _, known := b.Forsaken[name]; !known {
			b.Forsaken[name] = RunsUntil(h, s, now)
			up = append(up, name)
			if !planted(releaseAtOnce) {
				continue
			}
		}
		// The cut comes first, then the release; what cannot be cut off keeps its
		// lease.
		if !b.Gone(name) && !planted(releaseAtOnce) {
			continue
		}
		back = append(back, Given{Service: name, ID: h.ID, Epoch: h.Number, Fence: s.Fence})
		// It is cut off again and again, and not claimed, until the agent says more.
		if len(back) == 1 {
			b.Duty.Seeks = slices.Clone(b.Duty.Seeks)
		}
		b.Seek(h.ID).Order = nil
		delete(b.Forsaken, name)
	}
	return up, back
}
