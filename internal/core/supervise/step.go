package supervise

import (
	"cmp"
	"fmt"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
)

// Step decides what is done next for one service. It is pure: the same state
// and input give the same answer, and neither is changed.
//
// The caller carries the operation out, at most one at a time, and comes back
// with its result, with news, or when the wake time is over.
func Step(st State, in Input) (State, Decision) {
	m := &machine{State: st.clone(), in: in, before: st.Phase, under: st.Epoch}
	ran := st.touched()

	m.finish()
	m.judgeLease()
	m.followSpec()
	m.clear()
	m.endBan()
	m.judgeFailures()

	aimed, why := m.aim()
	if !aimed && why != "" && m.why == "" {
		m.why = why
	}
	if m.busy.Kind != None {
		m.review(aimed)
	} else {
		m.pick(aimed)
	}
	m.enter(m.phaseNow(aimed))
	if ran && !m.touched() && !aimed {
		m.note(event.ServiceStopped, "", "It stopped, because %s.", cmp.Or(m.why, "it is not wanted here"))
	}
	if aimed || !m.MayRun() {
		m.why = ""
	}
	m.wakeAt(m.leaseEnd())
	return m.State, m.out
}

// machine is one call of [Step].
type machine struct {
	State
	in     Input
	out    Decision
	before fact.Phase
	under  uint64  // the epoch at first
	failed []Death // to be counted, if the service is to run
}

// finish takes the result of the operation in flight.
func (m *machine) finish() {
	r := m.in.Done
	if r == nil || m.busy.Kind == None {
		return
	}
	done, canceled := m.busy, m.canceled
	m.busy, m.busyUntil, m.canceled = Operation{}, 0, false
	switch done.Kind {
	case Probe:
		m.stuck = false
		m.probed(done.Part, r)
	case Start:
		m.stuck = false // which could only mean that it took too long
		if r.Err == nil {
			m.Parts[done.Part] = Up
			m.note(event.PartStarted, m.PartName(done.Part), "Part %s started.", m.PartName(done.Part))
			return
		}
		m.Parts[done.Part] = Dirty
		if !canceled && !r.Refused {
			m.failed = append(m.failed, Death{Part: done.Part, Why: r.Err.Error()})
		}
	case Stop:
		m.stopped(done, canceled, r)
	case None, Release:
	}
}

// probed takes what was seen of a part that may have run before this agent.
func (m *machine) probed(i int, r *Result) {
	expected := m.expect[i]
	if r.Err != nil {
		if m.tries++; m.tries < probeTries {
			m.tryAt = m.in.Boot + retryPause
			return
		}
		m.tries = 0
		m.Parts[i] = Dirty
		return
	}
	m.tries, m.tryAt = 0, 0
	switch {
	case !r.Seen.Running && (expected == Down || expected == Unknown):
		m.Parts[i] = Down
	case !r.Seen.Running:
		m.Parts[i] = Dead
		if expected == Up {
			m.failed = append(m.failed, Death{Part: i, Why: "it ended while the agent was away"})
		}
	case expected == Up || expected == Unknown:
		m.Parts[i] = m.adopt(expected, r)
	default:
		m.Parts[i] = Dirty
	}
}

// adopt says whether a running part that another agent started may go on. Its
// epoch must be that of all others, but for a service that was kept without a
// lease: it may be older there. Whether the lease still has that epoch,
// judgeLease sees.
func (m *machine) adopt(expected PartState, r *Result) PartState {
	seen := r.Seen
	if expected == Unknown && seen.Generation != 0 && seen.Generation != m.Run.Generation {
		return Dirty
	}
	if m.Epoch == 0 {
		m.Epoch = seen.Epoch
	}
	if seen.Epoch != 0 && seen.Epoch != m.Epoch && (seen.Epoch > m.Epoch || !m.Run.Spec.KeptOnQuorumLoss()) {
		return Dirty
	}
	return Up
}

// stopped takes the result of a stop.
func (m *machine) stopped(done Operation, canceled bool, r *Result) {
	if r.Err == nil {
		m.Parts[done.Part] = Down
		m.tries, m.tryAt, m.stuck = 0, 0, false
		return
	}
	if canceled {
		return
	}
	m.tries++
	m.tryAt = m.in.Boot + retryPause
	if m.tries < stopTries {
		return
	}
	m.tries = stopTries
	m.tryAt = m.in.Boot + stuckPause
	m.setStuck(done.Part, r.Err.Error())
}

// setStuck says once what a person must do.
func (m *machine) setStuck(part int, why string) {
	if m.stuck {
		return
	}
	m.stuck = true
	name := m.PartName(part)
	m.note(event.ServiceStuck, name, "Part %s does not stop: %s. Its lease is kept, so that it starts nowhere else. "+
		"Force is tried again every %v; stop it by hand, or switch this server off.", name, why, stuckPause)
}

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
		if !m.leaseValid(StopAhead) && (m.Epoch != 0 || m.touched() && !m.unsure()) && !m.force {
			m.force, m.why = true, "its lease ended"
		}
		return
	}
	m.force = false
	if m.Epoch != 0 && !m.leaseValid(StopAhead) {
		m.Epoch, m.Guard = 0, 0
	}
	if m.Epoch == 0 && h.Held && !h.Kept && h.Epoch != m.released && h.Until-m.in.Boot > StopAhead && m.mayTake() {
		m.Epoch, m.Guard, m.Placed = h.Epoch, h.Guard, m.in.Wish.Placed
	}
}

// followSpec takes up a changed spec as far as what runs allows it.
func (m *machine) followSpec() {
	w := m.in.Wish
	if w.Service == nil {
		if w.Gone && !m.MayRun() {
			m.Failures, m.FailedUntil, m.retryAt = nil, time.Time{}, 0
		}
		return
	}
	changed := w.Service.Generation != m.Run.Generation
	replaced := m.Run.ID != 0 && w.Service.ID != m.Run.ID
	switch {
	case !m.MayRun():
		if replaced && m.Epoch != 0 {
			// The lease is that of a service which is no more.
			m.released, m.Epoch, m.Guard = m.Epoch, 0, 0
		}
		if replaced {
			m.Took = 0
		}
		m.Run = *w.Service
		m.Parts = make([]PartState, len(m.Run.Spec.Parts))
		for i := range m.Parts {
			m.Parts[i] = Down
		}
		m.expect = nil
	case !replaced && sameParts(m.Run.Spec.Parts, w.Service.Spec.Parts):
		m.Run = *w.Service
	default:
		return
	}
	if changed {
		m.Failures, m.FailedUntil, m.retryAt = nil, time.Time{}, 0
	}
}

// clear forgets failures that an operator has cleared since.
func (m *machine) clear() {
	if w := m.in.Wish; w.Service != nil && w.Cleared != m.Cleared {
		m.Cleared = w.Cleared
		m.Failures, m.FailedUntil, m.retryAt = nil, time.Time{}, 0
	}
}

// endBan forgets failures that are older than the window, and all of them when
// the ban that they led to is over. A wall clock that was set back cannot make
// a ban longer than its window.
func (m *machine) endBan() {
	if n := m.RecentFailures(m.in.Now); n < len(m.Failures) {
		m.Failures = m.Failures[len(m.Failures)-n:]
	}
	if m.FailedUntil.IsZero() {
		return
	}
	if limit := m.in.Now.Add(m.Run.Spec.Failover.EffectiveWithin()); m.FailedUntil.After(limit) {
		m.FailedUntil = limit
	}
	if m.in.Now.Before(m.FailedUntil) {
		m.wakeAt(m.in.Boot + m.FailedUntil.Sub(m.in.Now))
		return
	}
	m.Failures, m.FailedUntil, m.retryAt = nil, time.Time{}, 0
}

// judgeFailures counts what failed, unless it was to stop anyway.
func (m *machine) judgeFailures() {
	for _, d := range m.in.Died {
		if d.Part >= len(m.Parts) || m.Parts[d.Part] != Up {
			continue
		}
		m.Parts[d.Part] = Dirty
		if d.Ended {
			m.Parts[d.Part] = Dead
		}
		m.failed = append(m.failed, d)
	}
	for _, d := range m.failed {
		aimed, _ := m.aim()
		if !aimed || m.in.Hold.Known && !m.leaseValid(StopAhead) {
			continue
		}
		m.countFailure(d)
	}
}

func (m *machine) countFailure(d Death) {
	name, f := m.PartName(d.Part), m.Run.Spec.Failover
	m.Failures = append(m.Failures, fact.Failure{At: m.in.Now, Part: name, Why: d.Why})
	if n := len(m.Failures); n > maxFailures {
		m.Failures = m.Failures[n-maxFailures:]
	}
	count := m.RecentFailures(m.in.Now)
	m.note(event.ServiceFailed, name, "Part %s failed: %s.", name, d.Why)
	if count > f.EffectiveRestarts() {
		m.FailedUntil = m.in.Now.Add(f.EffectiveWithin())
		m.note(event.ServiceGaveUp, name, "It failed %d times within %v. This node does not try again for %v.",
			count, f.EffectiveWithin(), f.EffectiveWithin())
		return
	}
	m.retryAt = m.in.Boot + restartDelay(count)
}

// review looks at an operation that is in flight: it is canceled if it no
// longer fits.
func (m *machine) review(aimed bool) {
	op := m.busy
	var misfit bool
	switch op.Kind {
	case Start:
		misfit = !aimed || m.prefix() < op.Part
	case Stop:
		misfit = m.force && !op.Force
	case None, Probe, Release:
	}
	if misfit && !m.canceled {
		m.canceled = true
		m.out.Cancel = true
	}
	if m.in.Boot < m.busyUntil {
		m.wakeAt(m.busyUntil)
		return
	}
	m.setStuck(op.Part, fmt.Sprintf("the %s does not return", op.Kind))
}

// pick chooses the next operation.
func (m *machine) pick(aimed bool) {
	if m.in.Boot < m.tryAt {
		m.wakeAt(m.tryAt)
		return
	}
	for i, p := range m.Parts {
		if p == Unknown {
			m.begin(Operation{Kind: Probe, Part: i}, probeLimit)
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
	case aimed && keep < len(m.Parts):
		m.pickStart(keep)
	case !aimed:
		m.pickRelease()
	}
}

func (m *machine) pickStop(i int) {
	force := m.force || m.Parts[i] == Dead || m.tries > 0
	limit := m.Run.Spec.Parts[i].EffectiveStopTimeout()
	if force {
		limit = forceLimit
	}
	if m.Parts[i] == Up {
		m.Parts[i] = Dirty
	}
	m.begin(Operation{Kind: Stop, Part: i, Force: force}, limit)
}

func (m *machine) pickStart(i int) {
	if m.in.Boot < m.retryAt {
		m.wakeAt(m.retryAt)
		return
	}
	if !m.leaseValid(startAhead) {
		m.wakeAt(m.in.Boot + retryPause)
		return
	}
	m.Parts[i] = Dirty
	m.begin(Operation{Kind: Start, Part: i, Epoch: m.Epoch}, m.Run.Spec.Parts[i].EffectiveStartTimeout())
}

// pickRelease gives back a lease that is of no use here. Nothing runs.
func (m *machine) pickRelease() {
	h, w := m.in.Hold, m.in.Wish
	if !h.Known || !h.Held || m.MayRun() {
		return
	}
	unwanted := m.Epoch != 0 || !m.mayTake() && (w.Service != nil || w.Gone)
	if !unwanted && h.Epoch != m.released {
		return
	}
	if h.Epoch == m.released && m.in.Boot < m.releaseAt {
		m.wakeAt(m.releaseAt)
		return
	}
	m.released, m.releaseAt = h.Epoch, m.in.Boot+releasePause
	m.Epoch, m.Guard = 0, 0
	m.out.Op = Operation{Kind: Release, Epoch: h.Epoch}
	m.wakeAt(m.releaseAt)
}

func (m *machine) begin(op Operation, limit time.Duration) {
	m.busy, m.busyUntil, m.canceled = op, m.in.Boot+limit+overdue, false
	m.out.Op, m.out.Limit = op, limit
	m.wakeAt(m.busyUntil)
}

// enter changes the phase and tells of the changes that are worth telling.
func (m *machine) enter(p fact.Phase) {
	if p == m.before {
		return
	}
	m.Phase, m.Since = p, m.in.Now
	m.measure(p)
	switch p {
	case fact.Starting:
		m.note(event.ServiceStarting, "", "It starts under epoch %d.", m.Epoch)
	case fact.Running:
		m.note(event.ServiceRunning, "", "All %d parts run.", len(m.Parts))
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

func (m *machine) phaseNow(aimed bool) fact.Phase {
	switch {
	case m.stuck:
		return fact.Stuck
	case m.unsure():
		return m.before
	case !aimed && m.MayRun():
		return fact.Stopping
	case !aimed && m.Banned(m.in.Now):
		return fact.Failed
	case !aimed && m.mayTake():
		return fact.Waiting
	case !aimed:
		return fact.Idle
	case m.prefix() == len(m.Parts):
		return fact.Running
	case m.busy.Kind == Start || m.in.Boot >= m.retryAt && m.top() < m.prefix():
		return fact.Starting
	}
	return fact.Backoff
}

func (m *machine) note(kind event.Kind, part, format string, args ...any) {
	m.out.Notes = append(m.out.Notes, Note{Kind: kind, Part: part, Epoch: cmp.Or(m.Epoch, m.under), Text: fmt.Sprintf(format, args...)})
}

// wakeAt asks to be called again at boot time t at the latest.
func (m *machine) wakeAt(t time.Duration) {
	if t <= 0 {
		return
	}
	wait := max(t-m.in.Boot, time.Millisecond)
	if m.out.Wake == 0 || wait < m.out.Wake {
		m.out.Wake = wait
	}
}

// leaseEnd is when the lease must be looked at again, 0 for never.
func (m *machine) leaseEnd() time.Duration {
	if !m.MayRun() || !m.leaseValid(StopAhead) {
		return 0
	}
	return m.in.Hold.Until - StopAhead
}
