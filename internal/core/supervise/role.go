package supervise

import (
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/spec"
)

// Primary reports whether the copy is primary: it has the right, all its parts
// run, and all that have to know of it do.
func (st *State) Primary() bool {
	if !st.Run.Spec.HasRoles() || st.Right.Epoch == 0 || len(st.Parts) == 0 || st.prefix() < len(st.Parts) {
		return false
	}
	for i, p := range st.Parts {
		part := st.Run.Spec.Parts[i]
		if part.Promotes() && p != Raised || part.Role == spec.RolePrimary && p != Up {
			return false
		}
	}
	return true
}

// MayBePrimary reports whether anything of the copy is primary, or may be.
func (st *State) MayBePrimary() bool { return st.raised() }

func (st *State) raised() bool { return st.lowest() >= 0 }

// based reports whether all parts run that a copy has in either role. What comes
// and goes with the role does not change the phase.
func (st *State) based() bool {
	for i, p := range st.Parts {
		if st.Run.Spec.Parts[i].Role != spec.RolePrimary && p != Up && p != Raised && p != Half {
			return false
		}
	}
	return true
}

// lowest is the first part that is or may be primary, -1 for none. What is still
// to be probed does not count.
func (st *State) lowest() int {
	for i, p := range st.Parts {
		switch p {
		case Raised, Half, Torn:
			return i
		case Up, Dirty, Dead:
			if st.Run.Spec.Parts[i].Role == spec.RolePrimary {
				return i
			}
		case Down, Unknown:
		}
	}
	return -1
}

// rightValid reports whether the right to be primary is shown as held and lasts
// longer than margin.
func (m *machine) rightValid(margin time.Duration) bool {
	h := m.in.Right
	if planted(promoteAnyway) {
		return true
	}
	return h.shows(m.Right.Epoch, m.Right.Guard) && !h.Kept && h.Until-m.in.Boot > margin
}

// rightOver reports whether what is primary must stop now.
func (m *machine) rightOver() bool {
	h := m.in.Right
	if h.Awaited && !h.Kept && h.shows(m.Right.Epoch, m.Right.Guard) {
		return false
	}
	return !m.rightValid(StopAhead)
}

// judgeRight compares what is primary with what the guard shows. Whatever may be
// primary without the right is stopped by force: to demote it could take longer
// than the lease lasts.
func (m *machine) judgeRight() {
	h := m.in.Right
	if !h.Known {
		return
	}
	if h.Held && h.Epoch == m.Right.Epoch && m.Right.Guard == 0 {
		m.Right.Guard = h.Guard
	}
	if m.raised() {
		if m.rightOver() && !m.cut {
			m.cut = true
			m.note(event.ServiceCut, "", "It is stopped by force, because its right to be primary ended.")
		}
		return
	}
	m.cut = false
	if m.unsure() {
		return
	}
	if m.Right.Epoch != 0 && m.rightOver() {
		m.letGo(m.Right.Epoch)
	}
	if planted(promoteAnyway) && m.Right.Epoch == 0 && m.mayRise() && m.prefix() > 0 {
		m.Right.Epoch, m.Right.Guard = max(h.Epoch, 1), h.Guard
	}
	m.turnTo(h.Lease)
	if m.Right.Epoch != 0 || !h.Held || h.Kept || h.Epoch <= m.Right.Shed || !m.mayRise() {
		return
	}
	if h.Until-m.in.Boot <= StopAhead {
		m.wakeAt(m.in.Boot + retryPause)
		return
	}
	m.Right.Epoch, m.Right.Guard, m.Right.Placed = h.Epoch, h.Guard, m.in.Wish.Placed
	m.riseBegan = m.in.Boot
}

// letGo forgets the right, and that it was ever of use under epoch or an older one.
func (m *machine) letGo(epoch uint64) {
	r := &m.Right
	r.Epoch, r.Guard, r.Placed, r.Shed = 0, 0, 0, max(epoch, r.Shed)
}

// turnTo makes another lease the one that the right is about. None is used.
func (m *machine) turnTo(lease int) {
	r := &m.Right
	if r.Epoch != 0 || lease == r.Lease {
		return
	}
	r.Sheds[r.Lease] = r.Shed
	r.Lease, r.Shed, r.Sheds[lease] = lease, r.Sheds[lease], 0
	m.shedAt = 0
}

// spare gives back a lease of another primary that is held beside the one in use,
// and reports whether it did: a copy is primary once, whatever it holds.
func (m *machine) spare() bool {
	h := m.in.Spare
	if !h.Known || !h.Held || m.Right.Epoch == 0 || h.Lease == m.Right.Lease {
		return false
	}
	if h.Epoch <= m.Right.Sheds[h.Lease] && m.in.Boot < m.spareAt {
		m.wakeAt(m.spareAt)
		return false
	}
	m.Right.Sheds[h.Lease] = max(h.Epoch, m.Right.Sheds[h.Lease])
	m.spareAt = m.in.Boot + releasePause
	m.out.Op = Operation{Kind: Release, Epoch: h.Epoch, Right: true, Lease: h.Lease}
	m.wakeAt(m.spareAt)
	return true
}

// ShedOf is the highest epoch of a lease under which this node will not be primary
// any more.
func (st *State) ShedOf(lease int) uint64 {
	if lease == st.Right.Lease {
		return st.Right.Shed
	}
	return st.Right.Sheds[lease]
}

// mayRise reports whether the copy may become primary here.
func (m *machine) mayRise() bool {
	return m.mayTake() && m.in.Wish.Service.Spec.HasRoles() && m.in.Wish.Right.Rank >= 0
}

// aimPrimary reports whether the right to be primary, which the copy has, is to
// be kept.
func (m *machine) aimPrimary(here bool) bool {
	w := m.in.Wish
	if !here || m.cut || m.Right.Epoch == 0 {
		return false
	}
	if m.in.Wish.Service != nil && !m.in.Wish.Service.Spec.HasRoles() {
		return false
	}
	meant := w.Placed > m.Right.Placed && (w.Right.Known == 0 || w.Right.Known >= m.Right.Epoch)
	return w.Right.Rank == 0 || !meant || !w.Right.Empty && !w.Right.FirstAlive
}

// lower does the next thing on the way from primary to replica, and reports
// whether there is one. It goes down the stack.
func (m *machine) lower(g goal) bool {
	low := m.lowest()
	if low < 0 || g.primary {
		return false
	}
	if m.cut {
		m.pickStop(m.top())
		return true
	}
	for i := len(m.Parts) - 1; i >= low; i-- {
		part := m.Run.Spec.Parts[i]
		switch p := m.Parts[i]; {
		case part.Role == spec.RolePrimary && p != Down:
			m.pickStop(i)
		case p == Torn, (p == Raised || p == Half) && len(part.Exec.Demote) == 0:
			m.pickStop(m.top())
		case p == Raised || p == Half:
			m.Parts[i] = Half
			m.begin(Operation{Kind: Demote, Part: i, Epoch: m.Right.Epoch}, part.EffectiveStopTimeout())
		default:
			continue
		}
		return true
	}
	return false
}

// raise does the next thing on the way from replica to primary.
func (m *machine) raise() {
	for i, p := range m.Parts {
		part := m.Run.Spec.Parts[i]
		switch {
		case part.Role == spec.RolePrimary && p == Down:
			m.pickStart(i)
			return
		case part.Promotes() && (p == Up || p == Half):
			if !m.mayBegin(m.rightValid(startAhead)) {
				return
			}
			m.Parts[i] = Half
			m.begin(Operation{Kind: Promote, Part: i, Epoch: m.Right.Epoch}, part.EffectiveStartTimeout())
			return
		}
	}
}

// toldRole takes the result of a promotion or a demotion. Where that failed the
// program may be either, so it is stopped.
func (m *machine) toldRole(done Operation, canceled bool, r *Result) {
	if m.Parts[done.Part] != Half {
		return // it ended meanwhile
	}
	switch {
	case r.Err == nil && done.Kind == Promote:
		m.Parts[done.Part] = Raised
	case r.Err == nil:
		m.Parts[done.Part] = Up
	case canceled || r.Refused:
	case done.Kind == Promote:
		m.Parts[done.Part] = Torn
		m.failed = append(m.failed, Death{Part: done.Part, Why: r.Err.Error()})
	default:
		m.Parts[done.Part] = Torn
		m.tries = 1 // by force
		m.note(event.ServiceCut, m.PartName(done.Part), "Part %s is stopped by force, because it could not be demoted: %v.", m.PartName(done.Part), r.Err)
	}
}

// shed gives back the right to be primary where it is of no use, and reports
// whether it did. Nothing here is primary then.
func (m *machine) shed(g goal) bool {
	h, w := m.in.Right, m.in.Wish
	if g.right || m.raised() || !h.Known || !h.Held {
		return false
	}
	unwanted := m.Right.Epoch != 0 || h.Epoch <= m.Right.Shed || !m.mayRise() && (w.Service != nil || w.Gone)
	if !unwanted {
		return false
	}
	if h.Epoch <= m.Right.Shed && m.in.Boot < m.shedAt {
		m.wakeAt(m.shedAt)
		return false
	}
	m.letGo(h.Epoch)
	m.shedAt = m.in.Boot + releasePause
	m.out.Op = Operation{Kind: Release, Epoch: h.Epoch, Right: true, Lease: h.Lease}
	m.wakeAt(m.shedAt)
	return true
}

// tellRole tells when the copy became primary or stopped being it.
func (m *machine) tellRole(was bool) {
	is := m.Primary()
	switch {
	case is && !was:
		if m.riseBegan != 0 {
			m.Took, m.riseBegan = m.in.Boot-m.riseBegan, 0
		}
		m.note(event.ServicePromoted, "", "It is primary under epoch %d.", m.Right.Epoch)
	case was && !is:
		m.note(event.ServiceDemoted, "", "It is not primary any more.")
	}
}
