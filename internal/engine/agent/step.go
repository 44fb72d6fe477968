package agent

import (
	"cmp"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
)

// step decides what is done next for one service. It is pure: the same state
// and input give the same answer, and neither is changed.
//
// The caller carries the operation out, at most one at a time, and comes back
// with its result, with news, or when the wake time is over.
func step(st state, in input) (state, decision) {
	m := &machine{state: st.clone(), in: in, before: st.phase, under: st.epoch}
	ran := st.touched()

	m.finish()
	m.judgeLease()
	m.followSpec()
	m.endBan()
	m.judgeFailures()

	aimed, why := m.aim()
	if !aimed && why != "" && m.why == "" {
		m.why = why
	}
	if m.busy.kind != opNone {
		m.review(aimed)
	} else {
		m.pick(aimed)
	}
	m.enter(m.phaseNow(aimed))
	if ran && !m.touched() && !aimed {
		m.note(event.ServiceStopped, "", "It stopped, because %s.", cmp.Or(m.why, "it is not wanted here"))
	}
	if aimed || !m.mayRun() {
		m.why = ""
	}
	m.wakeAt(m.leaseEnd())
	return m.state, m.out
}

// machine is one call of step.
type machine struct {
	state
	in     input
	out    decision
	before fact.Phase
	under  uint64  // the epoch at first
	failed []death // to be counted, if the service is to run
}

// finish takes the result of the operation in flight.
func (m *machine) finish() {
	r := m.in.done
	if r == nil || m.busy.kind == opNone {
		return
	}
	done, canceled := m.busy, m.canceled
	m.busy, m.busyUntil, m.canceled = operation{}, 0, false
	switch done.kind {
	case opProbe:
		m.stuck = false
		m.probed(done.part, r)
	case opStart:
		m.stuck = false // which could only mean that it took too long
		if r.err == nil {
			m.parts[done.part] = partUp
			m.note(event.PartStarted, m.partName(done.part), "Part %s started.", m.partName(done.part))
			return
		}
		m.parts[done.part] = partDirty
		if !canceled && !r.refused {
			m.failed = append(m.failed, death{part: done.part, why: r.err.Error()})
		}
	case opStop:
		m.stopped(done, canceled, r)
	case opNone, opRelease:
	}
}

// probed takes what was seen of a part that may have run before this agent.
func (m *machine) probed(i int, r *result) {
	expected := m.expect[i]
	if r.err != nil {
		if m.tries++; m.tries < probeTries {
			m.tryAt = m.in.boot + retryPause
			return
		}
		m.tries = 0
		m.parts[i] = partDirty
		return
	}
	m.tries, m.tryAt = 0, 0
	switch {
	case !r.seen.Running && (expected == partDown || expected == partUnknown):
		m.parts[i] = partDown
	case !r.seen.Running:
		m.parts[i] = partDead
		if expected == partUp {
			m.failed = append(m.failed, death{part: i, why: "it ended while the agent was away"})
		}
	case expected == partUp || expected == partUnknown:
		m.parts[i] = m.adopt(expected, r)
	default:
		m.parts[i] = partDirty
	}
}

// adopt says whether a running part that another agent started may go on. Its
// epoch must be that of all others; whether the lease still has that epoch,
// judgeLease sees.
func (m *machine) adopt(expected partState, r *result) partState {
	seen := r.seen
	if expected == partUnknown && seen.Generation != 0 && seen.Generation != m.run.Generation {
		return partDirty
	}
	if m.epoch == 0 {
		m.epoch = seen.Epoch
	}
	if seen.Epoch != 0 && seen.Epoch != m.epoch {
		return partDirty
	}
	return partUp
}

// stopped takes the result of a stop.
func (m *machine) stopped(done operation, canceled bool, r *result) {
	if r.err == nil {
		m.parts[done.part] = partDown
		m.tries, m.tryAt, m.stuck = 0, 0, false
		return
	}
	if canceled {
		return
	}
	m.tries++
	m.tryAt = m.in.boot + retryPause
	if m.tries < stopTries {
		return
	}
	m.tries = stopTries
	m.tryAt = m.in.boot + stuckPause
	m.setStuck(done.part, r.err.Error())
}

// setStuck says once what a person must do.
func (m *machine) setStuck(part int, why string) {
	if m.stuck {
		return
	}
	m.stuck = true
	name := m.partName(part)
	m.note(event.ServiceStuck, name, "Part %s does not stop: %s. Its lease is kept, so that it starts nowhere else. "+
		"Force is tried again every %v; stop it by hand, or switch this server off.", name, why, stuckPause)
}

// judgeLease compares what runs with what the guard shows as held.
func (m *machine) judgeLease() {
	h := m.in.hold
	if !h.known {
		return
	}
	if h.held && h.epoch == m.epoch && m.guard == 0 {
		m.guard = h.guard // adopted without knowing under which guard it started
	}
	if m.mayRun() {
		// Probing comes first where nothing is known to run: it may show that
		// there is nothing to stop, or which epoch runs.
		if !m.leaseValid(stopAhead) && (m.epoch != 0 || m.touched() && !m.unsure()) && !m.force {
			m.force, m.why = true, "its lease ended"
		}
		return
	}
	m.force = false
	if m.epoch != 0 && !m.leaseValid(stopAhead) {
		m.epoch, m.guard = 0, 0
	}
	if m.epoch == 0 && h.held && h.epoch != m.released && h.until-m.in.boot > stopAhead && m.mayTake() {
		m.epoch, m.guard, m.placed = h.epoch, h.guard, m.in.wish.placed
	}
}

// followSpec takes up a changed spec as far as what runs allows it.
func (m *machine) followSpec() {
	w := m.in.wish
	if w.service == nil {
		if w.gone && !m.mayRun() {
			m.failures, m.failedUntil, m.retryAt = nil, time.Time{}, 0
		}
		return
	}
	changed := w.service.Generation != m.run.Generation
	replaced := m.run.ID != 0 && w.service.ID != m.run.ID
	switch {
	case !m.mayRun():
		if replaced && m.epoch != 0 {
			// The lease is that of a service which is no more.
			m.released, m.epoch, m.guard = m.epoch, 0, 0
		}
		m.run = *w.service
		m.parts = make([]partState, len(m.run.Spec.Parts))
		for i := range m.parts {
			m.parts[i] = partDown
		}
		m.expect = nil
	case !replaced && sameParts(m.run.Spec.Parts, w.service.Spec.Parts):
		m.run = *w.service
	default:
		return
	}
	if changed {
		m.failures, m.failedUntil, m.retryAt = nil, time.Time{}, 0
	}
}

// endBan forgets failures that are older than the window, and all of them when
// the ban that they led to is over. A wall clock that was set back cannot make
// a ban longer than its window.
func (m *machine) endBan() {
	if n := m.recentFailures(m.in.now); n < len(m.failures) {
		m.failures = m.failures[len(m.failures)-n:]
	}
	if m.failedUntil.IsZero() {
		return
	}
	if limit := m.in.now.Add(m.run.Spec.Failover.EffectiveWithin()); m.failedUntil.After(limit) {
		m.failedUntil = limit
	}
	if m.in.now.Before(m.failedUntil) {
		m.wakeAt(m.in.boot + m.failedUntil.Sub(m.in.now))
		return
	}
	m.failures, m.failedUntil, m.retryAt = nil, time.Time{}, 0
}

// judgeFailures counts what failed, unless it was to stop anyway.
func (m *machine) judgeFailures() {
	for _, d := range m.in.died {
		if d.part >= len(m.parts) || m.parts[d.part] != partUp {
			continue
		}
		m.parts[d.part] = partDirty
		if d.ended {
			m.parts[d.part] = partDead
		}
		m.failed = append(m.failed, d)
	}
	for _, d := range m.failed {
		aimed, _ := m.aim()
		if !aimed || m.in.hold.known && !m.leaseValid(stopAhead) {
			continue
		}
		m.countFailure(d)
	}
}

func (m *machine) countFailure(d death) {
	name, f := m.partName(d.part), m.run.Spec.Failover
	m.failures = append(m.failures, fact.Failure{At: m.in.now, Part: name, Why: d.why})
	if n := len(m.failures); n > maxFailures {
		m.failures = m.failures[n-maxFailures:]
	}
	count := m.recentFailures(m.in.now)
	m.note(event.ServiceFailed, name, "Part %s failed: %s.", name, d.why)
	if count > f.EffectiveRestarts() {
		m.failedUntil = m.in.now.Add(f.EffectiveWithin())
		m.note(event.ServiceGaveUp, name, "It failed %d times within %v. This node does not try again for %v.",
			count, f.EffectiveWithin(), f.EffectiveWithin())
		return
	}
	m.retryAt = m.in.boot + restartDelay(count)
}

// review looks at an operation that is in flight: it is canceled if it no
// longer fits.
func (m *machine) review(aimed bool) {
	op := m.busy
	var misfit bool
	switch op.kind {
	case opStart:
		misfit = !aimed || m.prefix() < op.part
	case opStop:
		misfit = m.force && !op.force
	case opNone, opProbe, opRelease:
	}
	if misfit && !m.canceled {
		m.canceled = true
		m.out.cancel = true
	}
	if m.in.boot < m.busyUntil {
		m.wakeAt(m.busyUntil)
		return
	}
	m.setStuck(op.part, fmt.Sprintf("the %s does not return", op.kind))
}

// pick chooses the next operation.
func (m *machine) pick(aimed bool) {
	if m.in.boot < m.tryAt {
		m.wakeAt(m.tryAt)
		return
	}
	for i, p := range m.parts {
		if p == partUnknown {
			m.begin(operation{kind: opProbe, part: i}, probeLimit)
			return
		}
	}
	keep := 0
	if aimed {
		keep = m.prefix()
	}
	top := m.top()
	switch {
	case top >= keep:
		m.pickStop(top)
	case aimed && keep < len(m.parts):
		m.pickStart(keep)
	case !aimed:
		m.pickRelease()
	}
}

func (m *machine) pickStop(i int) {
	force := m.force || m.parts[i] == partDead || m.tries > 0
	limit := m.run.Spec.Parts[i].EffectiveStopTimeout()
	if force {
		limit = forceLimit
	}
	if m.parts[i] == partUp {
		m.parts[i] = partDirty
	}
	m.begin(operation{kind: opStop, part: i, force: force}, limit)
}

func (m *machine) pickStart(i int) {
	if m.in.boot < m.retryAt {
		m.wakeAt(m.retryAt)
		return
	}
	if !m.leaseValid(startAhead) {
		m.wakeAt(m.in.boot + retryPause)
		return
	}
	m.parts[i] = partDirty
	m.begin(operation{kind: opStart, part: i, epoch: m.epoch}, m.run.Spec.Parts[i].EffectiveStartTimeout())
}

// pickRelease gives back a lease that is of no use here. Nothing runs.
func (m *machine) pickRelease() {
	h, w := m.in.hold, m.in.wish
	if !h.known || !h.held || m.mayRun() {
		return
	}
	unwanted := m.epoch != 0 || !m.mayTake() && (w.service != nil || w.gone)
	if !unwanted && h.epoch != m.released {
		return
	}
	if h.epoch == m.released && m.in.boot < m.releaseAt {
		m.wakeAt(m.releaseAt)
		return
	}
	m.released, m.releaseAt = h.epoch, m.in.boot+releasePause
	m.epoch, m.guard = 0, 0
	m.out.op = operation{kind: opRelease, epoch: h.epoch}
	m.wakeAt(m.releaseAt)
}

func (m *machine) begin(op operation, limit time.Duration) {
	m.busy, m.busyUntil, m.canceled = op, m.in.boot+limit+overdue, false
	m.out.op, m.out.limit = op, limit
	m.wakeAt(m.busyUntil)
}

// enter changes the phase and tells of the changes that are worth telling.
func (m *machine) enter(p fact.Phase) {
	if p == m.before {
		return
	}
	m.phase, m.since = p, m.in.now
	switch p {
	case fact.Starting:
		m.note(event.ServiceStarting, "", "It starts under epoch %d.", m.epoch)
	case fact.Running:
		m.note(event.ServiceRunning, "", "All %d parts run.", len(m.parts))
	case fact.Idle, fact.Waiting, fact.Stopping, fact.Backoff, fact.Failed, fact.Stuck:
	}
}

func (m *machine) phaseNow(aimed bool) fact.Phase {
	switch {
	case m.stuck:
		return fact.Stuck
	case m.unsure():
		return m.before
	case !aimed && m.mayRun():
		return fact.Stopping
	case !aimed && m.banned(m.in.now):
		return fact.Failed
	case !aimed && m.mayTake():
		return fact.Waiting
	case !aimed:
		return fact.Idle
	case m.prefix() == len(m.parts):
		return fact.Running
	case m.busy.kind == opStart || m.in.boot >= m.retryAt && m.top() < m.prefix():
		return fact.Starting
	}
	return fact.Backoff
}

func (m *machine) note(kind event.Kind, part, format string, args ...any) {
	m.out.notes = append(m.out.notes, note{kind: kind, part: part, epoch: cmp.Or(m.epoch, m.under), text: fmt.Sprintf(format, args...)})
}

// wakeAt asks to be called again at boot time t at the latest.
func (m *machine) wakeAt(t time.Duration) {
	if t <= 0 {
		return
	}
	wait := max(t-m.in.boot, time.Millisecond)
	if m.out.wake == 0 || wait < m.out.wake {
		m.out.wake = wait
	}
}

// leaseEnd is when the lease must be looked at again, 0 for never.
func (m *machine) leaseEnd() time.Duration {
	if !m.mayRun() || !m.leaseValid(stopAhead) {
		return 0
	}
	return m.in.hold.until - stopAhead
}
