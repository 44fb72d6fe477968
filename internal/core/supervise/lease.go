package supervise

import (
	"time"

	"github.com/keelson/keelson/internal/model/event"
)

// What is known of a lease is old by the time it is looked at. These rules keep an
// agent that was late from taking its own lateness for the end of a lease, and one
// that was not from running on without a lease:
//
//   - A lease that is shown as another one, as another guard's or as not held is
//     over at once.
//   - One whose end, as it was heard last, has come is over too, but for a [Hold]
//     that is Awaited: then nothing stops for it, and nothing starts under it.
//   - What is held and may be taken is looked at again until it is taken, for that
//     it was renewed is no news.

// judgeLease compares what runs with what the guard shows as held.
func (m *machine) judgeLease() {
	h := m.in.Hold
	if !h.Known {
		return
	}
	if h.Held && h.Epoch == m.Epoch && m.Guard == 0 {
		m.Guard = h.Guard // adopted without knowing under which guard it started
	}
	if m.MayRun() {
		m.follow()
		// Probing comes first where nothing is known to run: it may show that
		// there is nothing to stop, or which epoch runs.
		if m.leaseOver() && (m.Epoch != 0 || m.touched() && !m.unsure()) && !m.force {
			m.force, m.why = true, m.leaseLoss()
			m.note(event.ServiceCut, "", "It is stopped by force, because %s.", m.why)
		}
		return
	}
	m.force = false
	if m.Epoch != 0 && m.leaseOver() {
		m.Epoch, m.Guard = 0, 0
	}
	if planted(startUnleased) && m.Epoch == 0 && m.mayTake() {
		m.Epoch, m.Guard, m.Placed = max(h.Epoch, 1), h.Guard, m.in.Wish.Placed
	}
	if m.Epoch != 0 || !h.Held || h.Kept || h.Epoch == m.released || !m.mayTake() {
		return
	}
	if h.Until-m.in.Boot <= StopAhead {
		m.wakeAt(m.in.Boot + retryPause)
		return
	}
	m.Epoch, m.Guard, m.Placed = h.Epoch, h.Guard, m.in.Wish.Placed
}

// follow goes on under a new lease if the guard won it for what was kept without
// one. The guard let what runs go on meanwhile; of anything else it has cut off
// what ran under the old lease.
func (m *machine) follow() {
	h := m.in.Hold
	if m.Epoch == 0 || !h.Held || h.Kept || h.Guard != m.Guard || h.Epoch <= m.Epoch ||
		h.Until-m.in.Boot <= StopAhead || !m.Run.Spec.KeptOnQuorumLoss() {
		return
	}
	m.note(event.LeaseWon, "", "It goes on under epoch %d, without a restart.", h.Epoch)
	m.Epoch = h.Epoch
}

// leaseValid reports whether the lease that the service runs under is shown as
// held and lasts longer than margin.
func (m *machine) leaseValid(margin time.Duration) bool {
	if planted(startUnleased) {
		return true
	}
	return m.leaseShown() && m.in.Hold.Until-m.in.Boot > margin
}

// leaseOver reports whether what runs under the lease must stop now.
func (m *machine) leaseOver() bool {
	if planted(leaseUnwatched) || planted(startUnleased) {
		return false
	}
	if m.in.Hold.Awaited && m.leaseShown() {
		return false
	}
	return !m.leaseValid(StopAhead)
}

// leaseShown reports whether the guard showed the lease as held last, whenever it
// ends.
func (m *machine) leaseShown() bool {
	h := m.in.Hold
	return h.shows(m.Epoch, m.Guard) && (!h.Kept || m.Run.Spec.KeptOnQuorumLoss())
}

// shows reports whether what the guard showed last is this lease.
func (h Hold) shows(epoch, guard uint64) bool {
	return h.Known && h.Held && epoch != 0 && h.Epoch == epoch && h.Guard == guard
}

// leaseLoss says why the lease is over.
func (m *machine) leaseLoss() string {
	switch h := m.in.Hold; {
	case m.Guard != 0 && h.Guard != m.Guard:
		return "the guard that won its lease is gone"
	case !h.Held:
		return "its lease ended"
	case h.Epoch != m.Epoch:
		return "its lease is another one by now"
	case h.Kept:
		return "its lease ended, and nothing may run without one"
	}
	return "the guard did not say in time that its lease was renewed"
}

// leaseEnd is when the lease must be looked at again, 0 for never: at its end, and
// a little before that.
func (m *machine) leaseEnd() time.Duration {
	end := time.Duration(0)
	if m.MayRun() && m.leaseValid(StopAhead) {
		end = m.in.Hold.Until - StopAhead
	}
	if m.raised() && m.rightValid(StopAhead) && (end == 0 || m.in.Right.Until-StopAhead < end) {
		end = m.in.Right.Until - StopAhead
	}
	if end-LookAhead > m.in.Boot {
		end -= LookAhead
	}
	return end
}
