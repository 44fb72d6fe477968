package supervise

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Step decides what is done next for one service. It is pure: the same state
// and input give the same answer, and neither is changed.
//
// The caller carries the operation out, at most one at a time, and comes back
// with its result, with news, or when the wake time is over.
func Step(st State, in Input) (State, Decision) {
	m := &machine{State: st.clone(), in: in, before: st.Phase, under: st.Epoch}
	ran, primary := st.touched(), st.Primary()

	m.finish()
	m.judgeLease()
	m.judgeRight()
	m.followSpec()
	m.clear()
	m.endBan()
	m.judgeFailures()

	g := m.patience(m.goal())
	if !g.run && g.why != "" && m.why == "" {
		m.why = g.why
	}
	switch {
	case m.resting():
		m.enter(m.rest())
	case m.spare():
		m.enter(m.phaseNow(g))
	default:
		if m.busy.Kind != None {
			m.review(g)
		} else {
			m.pick(g)
		}
		m.enter(m.phaseNow(g))
	}
	if ran && !m.touched() && !g.run {
		m.note(event.ServiceStopped, "", "It stopped, because %s.", cmp.Or(m.why, "it is not wanted here"))
	}
	m.tellRole(primary)
	if g.run || !m.MayRun() {
		m.why = ""
	}
	m.wakeAt(m.leaseEnd())
	if h := m.in.Hold; !m.MayRun() && m.Epoch == 0 && h.Held && !h.Kept && h.Epoch != m.released && m.mayTake() {
		// It became allowed after the lease was looked at: a ban ended, or the spec is
		// another.
		m.wakeAt(m.in.Boot + retryPause)
	}
	return m.State, m.out
}

// goal is what is to be true here now.
type goal struct {
	here    bool   // the service is to be here, under its lease
	run     bool   // and to run
	right   bool   // the right to be primary is kept
	primary bool   // and used
	alone   bool   // other copies of it go on
	why     string // not empty: why it is not to run
}

func (m *machine) goal() goal {
	var g goal
	g.here, g.why = m.aim()
	g.run, g.alone = g.here, !g.here && g.why == noCopy
	m.waits = ""
	if !g.here {
		m.waitFor, m.waitBy = "", 0
	} else if why := m.gate(); why != "" {
		g.run, g.why = false, why
	}
	g.right = m.aimPrimary(g.here)
	g.primary = g.run && g.right
	return g
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
			if m.Run.Spec.Parts[done.Part].Exec != nil {
				m.Missed = 0
			}
			m.note(event.PartStarted, m.PartName(done.Part), "Part %s started.", m.PartName(done.Part))
			return
		}
		m.Parts[done.Part] = Dirty
		if !canceled && !r.Refused {
			m.failed = append(m.failed, Death{Part: done.Part, Why: r.Err.Error(), Missing: r.Missing})
		}
	case Promote, Demote:
		m.stuck = false
		m.toldRole(done, canceled, r)
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
		if expected == Up || expected == Raised {
			m.failed = append(m.failed, Death{Part: i, Why: "it ended while the agent was away"})
		}
	case expected == Up || expected == Unknown || expected == Raised || expected == Half:
		m.Parts[i] = m.adopt(i, expected, r)
	case expected == Torn:
		m.Parts[i] = Torn
	default:
		m.Parts[i] = Dirty
	}
}

// adopt says whether a running part that another agent started may go on. Its
// epoch must be that of all others, but for a service that was kept without a
// lease: it may be older there. Whether the lease still has that epoch,
// judgeLease sees.
func (m *machine) adopt(i int, expected PartState, r *Result) PartState {
	seen, part := r.Seen, m.Run.Spec.Parts[i]
	dirty, as := Dirty, Up
	switch {
	case expected == Raised || expected == Half:
		dirty, as = Torn, expected
	case expected == Unknown && part.Promotes():
		dirty, as = Torn, Half // nobody knows its role
	}
	if expected == Unknown && seen.Generation != 0 && seen.Generation != m.Run.Generation {
		return dirty
	}
	if part.Role == spec.RolePrimary {
		if seen.Epoch != 0 && seen.Epoch != m.Right.Epoch {
			return dirty
		}
		return as
	}
	if m.Epoch == 0 {
		m.Epoch = seen.Epoch
	}
	if seen.Epoch != 0 && seen.Epoch != m.Epoch && (seen.Epoch > m.Epoch || !m.Run.Spec.KeptOnQuorumLoss()) {
		return dirty
	}
	return as
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
	if m.Run.Spec.Failover.StopFailure == spec.StopFence && m.StopFailed() {
		m.note(event.ServiceStuck, name, "Part %s does not stop: %s. The guard cuts the service off and gives its lease back, "+
			"so that another node may run it; if it cannot make sure of that, the watchdog restarts this server.", name, why)
		return
	}
	m.note(event.ServiceStuck, name, "Part %s does not stop: %s. Its lease is kept, so that it starts nowhere else. "+
		"Force is tried again every %v; stop it by hand, or switch this server off.", name, why, stuckPause)
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
	replaced := m.Run.ID != 0 && (w.Service.ID != m.Run.ID || !sameRight(m.Run.Spec, w.Service.Spec))
	switch {
	case !m.MayRun():
		if replaced && m.Epoch != 0 {
			// The lease is that of a service which is no more.
			m.released, m.Epoch, m.Guard = m.Epoch, 0, 0
		}
		if replaced {
			m.letGo(m.Right.Epoch)
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
	if changed && m.MayRun() {
		m.Under = "" // what it is after may be others now
	}
	if changed {
		m.Failures, m.FailedUntil, m.retryAt, m.Missed = nil, time.Time{}, 0, 0
	}
}

// clear forgets failures that an operator has cleared since.
func (m *machine) clear() {
	if w := m.in.Wish; w.Service != nil && w.Cleared != m.Cleared {
		m.Cleared = w.Cleared
		m.Failures, m.FailedUntil, m.retryAt, m.Missed = nil, time.Time{}, 0, 0
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
		if d.Part >= len(m.Parts) {
			continue
		}
		switch p := m.Parts[d.Part]; {
		case p == Raised || p == Half:
			m.Parts[d.Part] = Torn
		case p == Up && d.Ended:
			m.Parts[d.Part] = Dead
		case p == Up:
			m.Parts[d.Part] = Dirty
		default:
			continue
		}
		m.failed = append(m.failed, d)
	}
	for _, d := range m.failed {
		aimed, _ := m.aim()
		if !aimed || m.leaving || m.resting() || m.in.Hold.Known && m.leaseOver() {
			continue
		}
		m.countFailure(d)
	}
}

func (m *machine) countFailure(d Death) {
	name, f := m.PartName(d.Part), m.Run.Spec.Failover
	m.Failures = append(m.Failures, fact.Failure{At: m.in.Now, Part: name, Why: d.Why, Missing: d.Missing})
	if n := len(m.Failures); n > maxFailures {
		m.Failures = m.Failures[n-maxFailures:]
	}
	count := m.RecentFailures(m.in.Now)
	m.note(event.ServiceFailed, name, "Part %s failed: %s.", name, strings.TrimSuffix(d.Why, "."))
	if d.Missing != "" && !m.mayBring(d.Part) {
		ban := m.missingFor()
		m.Missed++
		m.FailedUntil = m.in.Now.Add(ban)
		m.note(event.ServiceGaveUp, name, "It cannot start here without %s. This node tries again in %v.", d.Missing, spec.Duration(ban))
		return
	}
	if count > f.EffectiveRestarts() {
		m.FailedUntil = m.in.Now.Add(f.EffectiveWithin())
		within, often := spec.Duration(f.EffectiveWithin()), "once"
		if count > 1 {
			often = fmt.Sprintf("%d times within %v", count, within)
		}
		m.note(event.ServiceGaveUp, name, "It failed %s. This node does not try again for %v.", often, within)
		return
	}
	m.retryAt = m.in.Boot + restartDelay(count)
}

// mayBring reports whether a part below may yet bring what the part misses, as a
// program that mounts a file system does.
func (m *machine) mayBring(part int) bool {
	return slices.ContainsFunc(m.Run.Spec.Parts[:part], func(p spec.Part) bool { return p.Exec != nil })
}

// missingFor is how long this node does not try again for want of something.
func (m *machine) missingFor() time.Duration {
	limit, ban := m.Run.Spec.Failover.EffectiveWithin(), firstMissing
	for i := 0; i < m.Missed && ban < limit; i++ {
		ban *= 2
	}
	return min(ban, limit)
}

// review looks at an operation that is in flight: it is canceled if it no
// longer fits.
func (m *machine) review(g goal) {
	op := m.busy
	var misfit bool
	switch op.Kind {
	case Start:
		misfit = !g.run || m.prefix() < op.Part || !g.primary && m.Run.Spec.Parts[op.Part].Role == spec.RolePrimary
	case Promote:
		misfit = !g.primary || m.prefix() < op.Part
	case Stop:
		misfit = (m.force || m.cut) && !op.Force
	case Demote:
		misfit = m.force || m.cut
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
func (m *machine) pick(g goal) {
	if m.in.Boot < m.tryAt {
		m.wakeAt(m.tryAt)
		return
	}
	if m.probe() {
		return
	}
	if !m.force && (m.lower(g) || m.shed(g)) {
		return
	}
	keep := 0
	if g.run {
		keep = m.prefix()
	}
	top := m.top()
	if planted(releaseRunning) && !g.here && m.in.Hold.Held && m.in.Hold.Epoch != m.released {
		m.released = m.in.Hold.Epoch
		m.out.Op = Operation{Kind: Release, Epoch: m.in.Hold.Epoch, Own: m.in.Hold.Own}
		return
	}
	switch {
	case top >= keep:
		m.pickStop(top)
	case g.run && keep < len(m.Parts):
		m.pickStart(keep)
	case g.primary:
		m.raise()
	case !g.here:
		m.pickRelease()
	}
}

// probe looks at the first part of which nothing is known.
func (m *machine) probe() bool {
	for i, p := range m.Parts {
		if p == Unknown {
			m.begin(Operation{Kind: Probe, Part: i}, probeLimit)
			return true
		}
	}
	return false
}

func (m *machine) pickStop(i int) {
	force := m.force || m.cut || m.Parts[i] == Dead || m.tries > 0
	limit := m.Run.Spec.Parts[i].EffectiveStopTimeout()
	if force {
		limit = forceLimit
	}
	switch m.Parts[i] {
	case Up:
		m.Parts[i] = Dirty
	case Raised, Half:
		m.Parts[i] = Torn
	case Down, Dirty, Dead, Unknown, Torn:
	}
	m.begin(Operation{Kind: Stop, Part: i, Force: force}, limit)
}

func (m *machine) pickStart(i int) {
	part := m.Run.Spec.Parts[i]
	epoch, valid := m.Epoch, m.leaseValid(startAhead)
	if part.Role == spec.RolePrimary {
		epoch, valid = m.Right.Epoch, m.rightValid(startAhead)
	}
	if !m.mayBegin(valid) {
		return
	}
	if !m.MayRun() {
		m.Under = m.in.Wish.Gates.Under
	}
	m.Parts[i] = Dirty
	m.begin(Operation{Kind: Start, Part: i, Epoch: epoch}, part.EffectiveStartTimeout())
}

// mayBegin reports whether something may be started or promoted now, given
// whether its lease is valid. If not, it sees to it that it is asked again.
func (m *machine) mayBegin(valid bool) bool {
	switch {
	case m.in.Boot < m.retryAt:
		m.wakeAt(m.retryAt)
	case !valid:
		m.wakeAt(m.in.Boot + retryPause)
	case m.in.Crowded:
		m.out.Crowded = true
	default:
		return true
	}
	return false
}

// pickRelease gives back a lease that is of no use here. Nothing runs.
func (m *machine) pickRelease() {
	h, w := m.in.Hold, m.in.Wish
	if !h.Known || !h.Held || m.MayRun() {
		return
	}
	// What a node gives itself and does not use needs no giving back.
	unwanted := m.Epoch != 0 || !h.Own && !m.mayTake() && (w.Service != nil || w.Gone)
	if !unwanted && h.Epoch != m.released {
		return
	}
	if h.Epoch == m.released && m.in.Boot < m.releaseAt {
		m.wakeAt(m.releaseAt)
		return
	}
	m.released, m.releaseAt = h.Epoch, m.in.Boot+releasePause
	m.Epoch, m.Guard = 0, 0
	m.out.Op = Operation{Kind: Release, Epoch: h.Epoch, Own: h.Own}
	m.wakeAt(m.releaseAt)
}

func (m *machine) begin(op Operation, limit time.Duration) {
	m.busy, m.busyUntil, m.canceled = op, m.in.Boot+limit+overdue, false
	m.out.Op, m.out.Limit = op, limit
	m.wakeAt(m.busyUntil)
}

// resting reports whether all is to be left as it is. What has lost its lease is
// stopped all the same.
func (m *machine) resting() bool { return m.in.Wish.Maintenance && !m.force && !m.cut }

// rest leaves all as it is, and returns the phase that this is shown as.
func (m *machine) rest() fact.Phase {
	switch {
	case m.busy.Kind != None:
		return m.before
	case m.probe():
		return m.before
	case m.MayRun() && m.prefix() == len(m.Parts):
		return fact.Running
	case m.MayRun() && m.before == fact.Running:
		return fact.Backoff // nobody may count on it
	case m.MayRun():
		return m.before
	case m.Banned(m.in.Now):
		return fact.Failed
	}
	return fact.Idle
}

func (m *machine) note(kind event.Kind, part, format string, args ...any) {
	epoch := cmp.Or(m.Epoch, m.under)
	if m.in.Hold.Own {
		epoch = m.Right.Epoch
	}
	m.out.Notes = append(m.out.Notes, Note{Kind: kind, Part: part, Epoch: epoch, Text: fmt.Sprintf(format, args...)})
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
