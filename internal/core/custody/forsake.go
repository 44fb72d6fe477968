package custody

import (
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/spec"
)

// Absence is why a guard may have to give up what it holds.
type Absence struct {
	Alone time.Duration // since the agent was heard
	Ends  bool          // the guard is to end
}

// Away reports whether the agent is away.
func (a Absence) Away() bool { return a.Alone >= 2*guardwire.BeatEvery }

// Parts reports whether anything could have to be given up: the agent is away, could
// not stop something, or the guard is to end.
func (b Books) Parts(why Absence) bool {
	return why.Ends || why.Away() || slices.ContainsFunc(b.Duty.Seeks, func(s guardwire.Seek) bool { return s.Fence })
}

// Heard notes that the agent is back. What it asked to have cut off still is.
func (b Books) Heard() {
	maps.DeleteFunc(b.Forsaken, func(name spec.ServiceName, _ time.Duration) bool {
		return !slices.ContainsFunc(b.Duty.Seeks, func(s guardwire.Seek) bool { return s.Service == name && s.Fence })
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
		at := slices.IndexFunc(b.Duty.Seeks, func(s guardwire.Seek) bool { return s.ID == h.ID })
		if at < 0 || !why.Ends && !b.Duty.Seeks[at].Fence && (!why.Away() || why.Alone <= b.Duty.Seeks[at].AgentLoss) {
			continue
		}
		name := b.Duty.Seeks[at].Service
		if _, known := b.Forsaken[name]; !known {
			b.Forsaken[name] = RunsUntil(h, &b.Duty.Seeks[at], now)
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
		back = append(back, Given{Service: name, ID: h.ID, Epoch: h.Number, Fence: b.Duty.Seeks[at].Fence})
		// It is cut off again and again, and not claimed, until the agent says more.
		b.Duty.Seeks = slices.Clone(b.Duty.Seeks)
		b.Duty.Seeks[at].Order = nil
		delete(b.Forsaken, name)
	}
	return up, back
}
