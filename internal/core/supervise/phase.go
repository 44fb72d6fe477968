package supervise

import (
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
)

// enter changes the phase and tells of the changes that are worth telling.
func (m *machine) enter(p fact.Phase) {
	if p == m.before {
		return
	}
	m.Phase, m.Since = p, m.in.Now
	m.measure(p)
	switch p {
	case fact.Starting:
		if m.in.Hold.Own {
			m.note(event.ServiceStarting, "", "It starts.")
			break
		}
		m.note(event.ServiceStarting, "", "It starts under epoch %d.", m.Epoch)
	case fact.Running:
		if len(m.Parts) == 1 {
			m.note(event.ServiceRunning, "", "It runs.")
		} else {
			m.note(event.ServiceRunning, "", "All %d parts run.", len(m.Parts))
		}
	case fact.Idle, fact.Waiting, fact.Stopping, fact.Backoff, fact.Failed, fact.Stuck:
	}
}

// measure takes the time of a start, when phase p is entered. Only a start of
// all parts counts: a restart of the upper ones says nothing of how long the
// service takes elsewhere.
func (m *machine) measure(p fact.Phase) {
	switch p {
	case fact.Starting:
		if m.began == 0 && m.prefix() == 0 {
			m.began = m.in.Boot
		}
	case fact.Running:
		if m.began != 0 {
			m.Took = m.in.Boot - m.began
		}
		m.began = 0
	case fact.Stuck: // a start that takes too long is still that start
	case fact.Idle, fact.Waiting, fact.Stopping, fact.Backoff, fact.Failed:
		m.began = 0
	}
}

func (m *machine) phaseNow(g goal) fact.Phase {
	switch {
	case m.stuck:
		return fact.Stuck
	case m.unsure():
		return m.before
	case !g.run && m.MayRun():
		return fact.Stopping
	case !g.here && m.Banned(m.in.Now):
		return fact.Failed
	case g.here && !g.run, !g.here && m.mayTake():
		return fact.Waiting
	case !g.run:
		return fact.Idle
	case m.based():
		return fact.Running
	case m.busy.Kind == Start || m.in.Boot >= m.retryAt && m.top() < m.prefix():
		return fact.Starting
	}
	return fact.Backoff
}
