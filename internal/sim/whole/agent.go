package whole

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// agent is an agent process: the loop of package agent around the real rules of
// packages mandate and supervise.
type agent struct {
	script.Process
	began    Boot
	ran      time.Duration // true time since which it has not stood still
	view     mandate.View
	others   mandate.Others
	listed   [topics]bool
	fromDisk bool
	settled  bool // what ran before this agent is known
	runners  map[instance.Name]*runner
	entries  map[instance.Name]supervise.Memory
	releases []release
	syncing  bool // a sync is planned
	client
	watching
	reporting
}

type release struct {
	service spec.ServiceName
	epoch   uint64
}

// client is what package guardclient knows, and the duty.
type client struct {
	seen    seen
	fresh   bool // no state was heard on this connection yet
	heardAt time.Duration
	startAt time.Duration // no guard is started before
	starts  int
	asked   uint64 // guard for which the ceiling is being raised
	floor   mandate.Raised
	duty    *guardwire.Duty
	dutyFor uint64
	dutyAt  Boot
}

// seen is what is known of the guard, as guardclient.View has it.
type seen struct {
	State guardwire.State
	Heard bool
	Up    bool
	Gone  bool
}

// reporting is how the report gets into the store.
type reporting struct {
	reported record.Report
	due      bool
	writing  bool
	wrote    time.Duration
}

const (
	tickEvery    = time.Second
	dutyRepeat   = time.Second
	guardSilence = 3 * time.Second
	changeover   = time.Second
	reportEvery  = 8 * time.Second
	ceilingStep  = 1000
)

// startAgent begins an agent on what one before it has left.
func (w *world) startAgent(n *node) {
	a := &n.agent
	*a = agent{Process: a.Next(), began: w.boottime(n), ran: w.now, runners: map[instance.Name]*runner{}}
	a.view, a.others = mandate.NewView(n.name), mandate.NewOthers()
	if n.disk != nil {
		a.view, a.fromDisk = n.disk.Clone(), true
	}
	a.entries = maps.Clone(n.journal)
	if planted(journalForgotten) {
		a.entries, a.settled = nil, true
		clear(n.journal)
	}
	w.trace("node %s: an agent starts", n.name)
	for t := range topics {
		a.behind[t] = true
	}
	w.connect(n)
	w.listSoon(n)
	var tick, beat func()
	tick = a.Only(func() {
		w.sync(n)
		w.listSoon(n)
		w.after(tickEvery, a.Only(tick))
	})
	beat = a.Only(func() {
		w.tellGuard(n, func() { w.agentSays(n) })
		w.mindSilence(n)
		w.after(guardwire.BeatEvery, a.Only(beat))
	})
	w.after(tickEvery, tick)
	w.after(guardwire.BeatEvery, beat)
	w.syncSoon(n)
}

// killAgent ends the agent; what it started goes on.
func (w *world) killAgent(n *node) {
	n.agent.End()
	n.agent.runners = nil
	n.begun = map[key]*start{}
	w.cutWire(n)
	n.guard.agent = false
}

// connect connects to the guard, and starts one where none is.
func (w *world) connect(n *node) {
	a := &n.agent
	again := a.Only(func() { w.connect(n) })
	switch {
	case n.wire.open:
	case n.guard.Up:
		w.cutWire(n)
		n.wire.open = true
		a.fresh, a.heardAt, a.seen.Gone = true, w.now, false
		w.tellGuard(n, func() { w.agentConnects(n) })
	case w.now < a.startAt:
		a.seen.Gone = true
		w.after(w.between(50*time.Millisecond, 200*time.Millisecond), again)
	default:
		a.seen.Gone = true
		a.starts++
		a.startAt = w.now + min(time.Duration(a.starts)*500*time.Millisecond, 5*time.Second)
		w.after(w.between(20*time.Millisecond, 150*time.Millisecond), a.Only(func() {
			if !n.guard.Up {
				w.startGuard(n)
			}
			w.connect(n)
		}))
	}
	w.syncSoon(n)
}

// loseWire ends the connection from the guard's side.
func (w *world) loseWire(n *node) {
	open := n.wire.open
	w.cutWire(n)
	n.guard.agent = false
	if open {
		w.after(w.random(5*time.Millisecond), n.agent.Only(func() {
			n.agent.seen.Up = n.agent.seen.Up && n.guard.Up
			w.connect(n)
		}))
	}
}

// mindSilence gives up a connection on which nothing is said.
func (w *world) mindSilence(n *node) {
	a := &n.agent
	if !n.wire.open || w.now-a.heardAt <= a.patience() {
		return
	}
	a.seen.Up = a.seen.Up && !a.fresh && planted(silenceAwaited)
	w.loseWire(n)
}

// patience is how long a guard that says nothing counts as there: one whose
// connection ended and that listens on may be becoming another program.
func (a *agent) patience() time.Duration {
	if a.fresh && a.seen.Up {
		return changeover
	}
	return guardSilence
}

// heard is what an agent has of its guard's words, and whether the guard is there.
func (w *world) heard(n *node) (h supervise.Heard, up bool) {
	a := &n.agent
	up = a.seen.Up && (w.now-a.heardAt <= a.patience() || planted(silenceAwaited))
	return supervise.Heard{Said: time.Duration(a.seen.State.Now), Unread: up && (a.fresh || n.wire.unread > 0)}, up
}

// hearGuard takes a state of the guard.
func (w *world) hearGuard(n *node, s *guardwire.State) {
	a := &n.agent
	a.seen = seen{State: *s, Heard: true, Up: true}
	a.heardAt = w.now
	if a.fresh && a.duty != nil && a.dutyFor == s.Guard {
		w.sayDuty(n)
	}
	a.fresh = false
	w.sync(n)
	w.sighted(n)
}

// syncSoon has the agent look at the whole a little later.
func (w *world) syncSoon(n *node) {
	a := &n.agent
	if a.syncing || !a.Up {
		return
	}
	a.syncing = true
	w.after(w.random(time.Millisecond), a.Only(func() {
		a.syncing = false
		w.sync(n)
	}))
}

// sync brings all that depends on what changed up to date.
func (w *world) sync(n *node) {
	a := &n.agent
	w.raise(n)
	w.meet(n)
	w.handOver(n)
	w.sendDuty(n)
	for _, r := range a.releases {
		w.trace("node %s: %s is released, epoch %d", n.name, r.service, r.epoch)
		if !a.fresh {
			w.tellGuard(n, func() { w.takeRelease(n, guardwire.Release{Service: r.service, Epoch: r.epoch}) })
		}
	}
	a.releases = nil
	w.noteReport(n)
}

// raise has the ceiling raised for a guard that starts without memory.
func (w *world) raise(n *node) {
	a := &n.agent
	if !a.seen.Up || !a.seen.State.Fresh || a.asked == a.seen.State.Guard {
		return
	}
	a.asked = a.seen.State.Guard
	w.tryRaise(n, a.asked)
}

func (w *world) tryRaise(n *node, guard uint64) {
	a := &n.agent
	w.after(w.between(2*time.Millisecond, 30*time.Millisecond), a.Only(func() {
		if a.asked != guard {
			return
		}
		if !w.reaches(n) {
			w.after(w.between(100*time.Millisecond, 500*time.Millisecond), a.Only(func() { w.tryRaise(n, guard) }))
			return
		}
		lease := w.store.lease
		a.floor = mandate.Raised{Guard: guard, Floor: lease.Ceiling, Ceiling: lease.Ceiling + ceilingStep, Lease: lease}
		lease.Ceiling = a.floor.Ceiling
		w.putLease(lease)
		w.syncSoon(n)
	}))
}

// meet makes a runner for each instance that there is a reason to know of, and
// lets go of those for which there is none any more.
func (w *world) meet(n *node) {
	a := &n.agent
	if a.seen.Up {
		a.others.Lose(a.seen.State.Lost, &a.view, a.listed[nodesTopic])
	}
	for _, name := range slices.Sorted(maps.Keys(a.entries)) {
		w.entrust(n, name)
	}
	wanted := a.view.Instances()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		w.entrust(n, name)
	}
	asked := a.listed[servicesTopic]
	if asked && a.seen.Heard {
		for _, h := range a.seen.State.Holds {
			if a.view.Services[h.Service] == nil && h.Service.Valid() {
				w.entrust(n, instance.Name(h.Service))
			}
		}
	}
	a.settled = a.settled || asked
	for _, name := range slices.Sorted(maps.Keys(a.runners)) {
		r := a.runners[name]
		gone := r.wish.Gone && a.wish(name, 0).Gone && !w.signature(n, name.Service()).any()
		if r.heard && r.st.Clear(w.wall(n)) && (gone || asked && !wanted[name] && name.Number() > 0) {
			r.turn++
			delete(a.runners, name)
		}
	}
}

// entrust starts a runner for an instance, if it has none.
func (w *world) entrust(n *node, name instance.Name) {
	a := &n.agent
	if _, known := a.runners[name]; known || !a.listed[cellTopic] && !a.fromDisk {
		return
	}
	memory, journaled := a.entries[name]
	st := supervise.New()
	switch service := a.view.Services[name.Service()]; {
	case journaled:
		st = supervise.Restore(memory)
		delete(a.entries, name)
	case service != nil && !a.settled:
		st = supervise.Unseen(*service)
	}
	r := &runner{name: name, began: w.boottime(n), st: st, wish: a.wish(name, a.certain()), hold: w.signature(n, name.Service())}
	if !planted(gatesLate) {
		r.wish.Gates = a.view.Gates(&mandate.Guest{Name: name}, nil, nil)
	}
	a.runners[name] = r
	w.step(n, r)
}

// certain are the slots of the nodes that are alive beyond doubt.
func (a *agent) certain() uint32 {
	if !a.seen.Up {
		return 0
	}
	return mandate.Certain(&a.seen.State)
}

// wish is what the cell wants of an instance.
func (a *agent) wish(name instance.Name, alive uint32) mandate.Wish {
	wish := a.view.Wanted(name, alive)
	wish.Gone = wish.Service == nil && a.listed[servicesTopic]
	return wish
}

// handOver tells runners what changed for them.
func (w *world) handOver(n *node) {
	a := &n.agent
	town, house := w.town(n), w.house(n)
	for _, guest := range house.Guests() {
		name := guest.Name
		r := a.runners[name]
		wish, hold := a.wish(name, a.certain()), w.signature(n, name.Service())
		wish.Gates = a.view.Gates(&guest, town, house)
		if planted(besideAnyone) {
			wish.Gates = supervise.Gates{}
		}
		if wish != r.wish || hold != r.hold {
			r.wish, r.hold = wish, hold
			w.step(n, r)
		}
	}
}

// house is who is on the node.
func (w *world) house(n *node) *mandate.House {
	a := &n.agent
	var guests []mandate.Guest
	for _, name := range slices.Sorted(maps.Keys(a.runners)) {
		r := a.runners[name]
		d := mandate.DoingOf(&r.st, w.wall(n))
		guests = append(guests, mandate.Guest{
			Name: name, Run: d.Run, There: d.MayRun, Let: r.wish.Gates.Open(),
			Coming: a.view.Coming(name, &d, w.holdOf(n, name.Service()).Held),
		})
	}
	return a.view.House(guests)
}

func (w *world) town(n *node) *supervise.Town {
	a := &n.agent
	here := mandate.Here{Known: a.listed[reportsTopic], Since: w.boottime(n) - a.began}
	for _, name := range slices.Sorted(maps.Keys(a.runners)) {
		here.Instances = append(here.Instances, w.instance(n, a.runners[name]))
	}
	return a.others.Town(&a.view, here)
}

// sendDuty tells the guard its duty, if that is known and changed.
func (w *world) sendDuty(n *node) {
	a := &n.agent
	s := &a.seen.State
	if !a.seen.Up || !a.informed() {
		return
	}
	var floor mandate.Raised
	if a.floor.Guard == s.Guard {
		floor = a.floor
	} else if s.Fresh {
		return // without a floor it could promise what it promised before
	}
	d, now := w.makeDuty(n, floor), w.boottime(n)
	again := s.Fresh && now-a.dutyAt >= dutyRepeat
	if !again && a.dutyFor == s.Guard && reflect.DeepEqual(d, *a.duty) {
		return
	}
	a.duty, a.dutyFor, a.dutyAt = &d, s.Guard, now
	w.sayDuty(n)
}

func (w *world) sayDuty(n *node) {
	d := *n.agent.duty
	w.tellGuard(n, func() { w.takeDuty(n, d) })
}

func (w *world) makeDuty(n *node, floor mandate.Raised) guardwire.Duty {
	a := &n.agent
	d := guardwire.Duty{Protocol: guardwire.Version, Cell: "cell", Node: n.name, Slot: n.slot, Lease: a.view.Bounds(floor)}
	for _, name := range slices.Sorted(maps.Keys(a.view.Nodes)) {
		if name != n.name {
			d.Peers = append(d.Peers, guardwire.Peer{Slot: a.view.Nodes[name].Slot, Name: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.runners)) {
		d.Seeks = append(d.Seeks, a.view.Seeks(name, w.doing(n, a.runners[name]))...)
	}
	d.Seeks = mandate.Sort(d.Seeks)
	return d
}

// informed reports whether the whole of the duty is known.
func (a *agent) informed() bool {
	if a.dutyAt != 0 {
		return true
	}
	if _, member := a.view.Nodes[a.view.Self]; !member || a.view.Lease.Version == 0 {
		return false
	}
	return a.fromDisk || !slices.Contains(a.listed[:], false)
}

// noteReport has the report written, if it says anything new.
func (w *world) noteReport(n *node) {
	a := &n.agent
	if len(a.entries) > 0 || !a.settled {
		return // it would say that what runs does not
	}
	r := record.Report{Node: n.name, GuardUp: a.seen.Up, LeaseVersion: a.seen.State.LeaseVersion}
	for _, name := range slices.Sorted(maps.Keys(a.runners)) {
		if i := w.instance(n, a.runners[name]); i.Phase != fact.Idle || len(i.Failures) > 0 {
			r.Instances = append(r.Instances, i)
		}
	}
	if !reflect.DeepEqual(r, a.reported) || w.now-a.wrote >= reportEvery {
		a.reported, a.due = r, true
	}
	if a.due && !a.writing {
		a.writing = true
		w.after(w.between(2*time.Millisecond, 60*time.Millisecond), a.Only(func() { w.writeReport(n) }))
	}
}

func (w *world) writeReport(n *node) {
	a := &n.agent
	if !w.reaches(n) {
		w.after(w.between(100*time.Millisecond, 500*time.Millisecond), a.Only(func() { w.writeReport(n) }))
		return
	}
	r := a.reported
	r.At = w.wall(n)
	a.due, a.writing, a.wrote = false, false, w.now
	w.store.reports[n.name] = survey.Report{Report: r, Seen: epochDay.Add(w.now)}
	w.publish(reportsTopic, func(a *agent) { a.others.Take(n.name, r, false) })
	w.officeDue(w.random(10 * time.Millisecond))
}
