package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/engine/agent/journal"
	"github.com/keelson/keelson/internal/engine/agent/lastknown"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	// dutyRepeat is how long a guard may stay without a duty that was sent to
	// it, until it is sent again.
	dutyRepeat = time.Second
	tickEvery  = time.Second
	// batch is how much news is taken before the whole is looked at once.
	batch = 256
)

// Agent runs services on one node. Make one with [New].
type Agent struct {
	options Options
	began   time.Duration // boot time

	view     *view
	fromDisk bool // the view began as the last known one
	dirty    bool // the view is to be saved
	settled  bool // what ran before this agent is known
	found    map[string]netip.Addr
	services map[instance.Name]*trust
	entries  map[instance.Name]journal.Entry // of the journal, for instances not met yet
	troubles []string                        // for the report

	releases []guardwire.Release // to be sent after the duty
	duty     sentDuty
	guard    guardMemory
	reported record.Report
	latest   atomic.Pointer[record.Report] // see Own
	organs
}

// trust is one instance of a service that this node knows of.
type trust struct {
	runner *runner
	stop   context.CancelFunc
	wish   wish  // as handed over last
	hold   holds // likewise, see signature
	status status
	heard  bool          // a status has come
	found  bool          // any of it may have run when the runner began
	unused time.Duration // boot time since which its lease is held and of no use; 0: it is not
}

// sentDuty is the duty sent last.
type sentDuty struct {
	guard uint64
	duty  guardwire.Duty
	at    time.Duration // boot time; 0: none was sent
}

// guardMemory is what the agent remembers of the guard.
type guardMemory struct {
	up    bool
	seen  uint64 // incarnation
	asked uint64 // for which the ceiling is being raised
	floor mandate.Raised
}

// organs are the goroutines beside the loop, and what they say to it.
type organs struct {
	tasks    sync.WaitGroup
	news     chan change
	statuses chan status
	floors   chan mandate.Raised
	answers  chan map[string]netip.Addr

	raiser   *raiser
	resolver *resolver
	places   *places
	views    mailbox[*view] // to be saved
	keeper   *lastknown.Keeper
	reporter *reporter
}

// New returns an agent that does nothing until Run. The error is [ErrOptions].
func New(o Options) (*Agent, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	a := &Agent{options: o, view: newView(o.Node), services: make(map[instance.Name]*trust)}
	a.places = newPlaces(o.atOnce())
	a.news, a.statuses = make(chan change), make(chan status)
	a.floors, a.answers = make(chan mandate.Raised), make(chan map[string]netip.Addr)
	a.raiser = &raiser{options: &a.options, asked: newMailbox[uint64](), done: a.floors}
	a.resolver = &resolver{options: &a.options, names: newMailbox[[]string](), answers: a.answers}
	a.views = newMailbox[*view]()
	a.keeper = &lastknown.Keeper{Path: o.LastKnown, Clock: o.Clock, Log: o.Log}
	a.reporter = &reporter{options: &a.options, reports: newMailbox[record.Report]()}
	return a, nil
}

// Run runs services until ctx ends and then returns nil. It stops nothing: what
// runs goes on under the guard's eyes, for the next agent to adopt. Any error
// comes before anything was started. Run may be called once.
func (a *Agent) Run(ctx context.Context) error {
	a.began = a.options.Clock.Boot()
	if err := a.recall(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer a.tasks.Wait()
	defer cancel()
	for _, topic := range topics(a.options.Node) {
		w := &watcher{options: &a.options, topic: topic, news: a.news}
		a.tasks.Go(func() { w.run(ctx) })
	}
	a.tasks.Go(func() { a.raiser.run(ctx) })
	a.tasks.Go(func() { a.resolver.run(ctx) })
	a.tasks.Go(func() { lastknown.Keep(ctx, a.keeper, a.views) })
	a.tasks.Go(func() { a.reporter.run(ctx) })
	a.options.emit(event.Event{Kind: event.AgentStarted, Text: fmt.Sprintf("The agent of %s started.", a.options.Node)})
	a.loop(ctx)
	return nil
}

// recall reads what an agent before this one left.
func (a *Agent) recall() error {
	entries, broken, err := journal.Read(a.options.JournalDir)
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	a.entries = entries
	for _, err := range broken {
		a.options.Log.Error("journal entry put aside, all known services are probed", logkey.Err, err)
		a.troubles = append(a.troubles, "A journal entry could not be read and was put aside; what ran was found by looking: "+cleanText(err)+".")
	}
	v, err := readLastKnown(a.options.LastKnown, a.options.Node)
	switch {
	case err == nil:
		a.view, a.fromDisk = v, true
		a.resolver.names.put(namesIn(v.Nodes))
	case !errors.Is(err, fs.ErrNotExist):
		a.options.Log.Error("last known state not read, the store is asked", logkey.Err, err)
		a.troubles = append(a.troubles, "The copy of the cell's last state could not be read; nothing starts until the store answers: "+cleanText(err)+".")
	}
	return nil
}

// loop is the goroutine that owns the agent's state.
func (a *Agent) loop(ctx context.Context) {
	tick := a.options.Clock.Tick(tickEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		changed := a.options.Guard.Changed()
		a.sync(ctx)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-tick.C:
		case f := <-a.floors:
			a.guard.floor = f
		case a.found = <-a.answers:
		case h := <-a.options.Guard.Happened():
			a.forward(h)
		case c := <-a.news:
			a.learn(c)
		case s := <-a.statuses:
			a.hear(s)
		}
		a.drain()
	}
}

// drain takes what else has come already.
func (a *Agent) drain() {
	for range batch {
		select {
		case h := <-a.options.Guard.Happened():
			a.forward(h)
		case c := <-a.news:
			a.learn(c)
		case s := <-a.statuses:
			a.hear(s)
		default:
			return
		}
	}
}

// learn takes news of the store.
func (a *Agent) learn(c change) {
	for _, err := range a.view.apply(c) {
		a.options.Log.Error("record of the store not used", logkey.Err, err)
	}
	a.dirty = true
	if c.topic == record.KeyNodes {
		a.resolver.names.put(namesIn(a.view.Nodes))
	}
}

// hear takes a runner's status.
func (a *Agent) hear(s status) {
	t, ok := a.services[instance.NameOf(s.instance.Service, s.instance.Copy)]
	if !ok {
		return
	}
	t.status, t.heard = s, true
	if s.release != 0 {
		a.releases = append(a.releases, guardwire.Release{Service: instance.LeaseName(s.instance.Service, s.of), Epoch: s.release})
	}
}

// forward makes an event of what the guard tells.
func (a *Agent) forward(h guardwire.Happened) {
	at := time.Duration(h.At)
	service, _ := instance.LeaseOf(h.Service)
	a.options.emit(event.Event{
		Kind: event.Kind(h.Kind), Service: service, About: h.About, Epoch: h.Epoch, Text: h.Text,
		At: a.options.Clock.Now().Add(at - a.options.Clock.Boot()), Boot: at,
	})
}

// sync brings all that depends on what changed up to date.
func (a *Agent) sync(ctx context.Context) {
	g := a.options.Guard.Latest()
	a.noteGuard(g)
	a.meet(ctx, g)
	a.handOver(g)
	a.sendDuty(g)
	a.releases = append(a.releases, a.orphans(g)...)
	for _, r := range a.releases {
		a.options.Log.Info("lease given back", logkey.Service, r.Service, logkey.Epoch, r.Epoch)
		a.options.Guard.Release(r.Service, r.Epoch)
	}
	a.releases = nil
	r := a.makeReport(g)
	if a.heardAll(a.settled || a.fromDisk) {
		a.latest.Store(&r)
	}
	if !a.heardAll(a.settled) {
		// It would say that what runs does not.
	} else if !sameReport(a.reported, r) || a.reported.Node == "" {
		a.reported = r
		a.reporter.reports.put(r)
	}
	if a.dirty {
		a.dirty = false
		a.views.put(a.view.clone())
	}
}

// noteGuard tells when the guard came or went, and has the ceiling raised for
// one that starts without memory.
func (a *Agent) noteGuard(g guardclient.View) {
	m := &a.guard
	if m.up && !g.Up {
		a.options.emit(event.Event{Kind: event.GuardLost, Text: fmt.Sprintf("The guard of %s does not answer.", a.options.Node)})
	}
	m.up = g.Up
	if !g.Up {
		return
	}
	id := g.State.Guard
	if m.seen != id && (m.seen != 0 || g.State.Fresh) {
		a.options.emit(event.Event{Kind: event.GuardStarted, Text: fmt.Sprintf("The guard of %s started.", a.options.Node)})
	}
	m.seen = id
	if g.State.Fresh && m.asked != id {
		m.asked = id
		a.raiser.asked.put(id)
	}
}

// meet makes a runner for each instance that there is a reason to know of, and
// lets go of those for which there is none any more.
func (a *Agent) meet(ctx context.Context, g guardclient.View) {
	a.view.note(g)
	for name := range a.entries {
		a.entrust(ctx, g, name)
	}
	wanted := a.view.Instances()
	for name := range wanted {
		a.entrust(ctx, g, name)
	}
	asked := a.view.listed[record.KeyServices]
	if asked && g.Heard {
		for _, h := range g.State.Holds {
			if h.Service.Valid() && a.view.Services[h.Service] == nil {
				a.entrust(ctx, g, instance.Name(h.Service))
			}
		}
	}
	a.settled = a.settled || asked && a.view.Cell.Name != ""
	for name, t := range a.services {
		gone := t.wish.Gone && a.view.wish(name, 0).Gone && !a.signature(g, name.Service()).any()
		if t.heard && t.status.clear && (gone || asked && !wanted[name] && name.Number() > 0) {
			t.stop()
			delete(a.services, name)
		}
	}
}

// entrust starts a runner for an instance, if it has none. At the agent's start
// any may have been left running by an agent before. Drivers find what runs by
// the cell's name among others, so nothing begins without it.
func (a *Agent) entrust(ctx context.Context, g guardclient.View, name instance.Name) {
	e, journaled := a.entries[name]
	cell := cmp.Or(a.view.Cell.Name, e.Cell)
	if _, known := a.services[name]; known || cell == "" {
		return
	}
	st := supervise.New()
	switch service := a.view.Services[name.Service()]; {
	case journaled:
		st = supervise.Restore(e.Memory)
		delete(a.entries, name)
	case service != nil && !a.settled:
		st = supervise.Unseen(*service)
	}
	w := a.view.wish(name, alive(g))
	w.cell, w.Gates = cell, a.view.Gates(&mandate.Guest{Name: name}, nil, nil)
	r := newRunner(&a.options, name, a.statuses, st, w)
	r.places = a.places
	ctx, stop := context.WithCancel(ctx)
	a.services[name] = &trust{runner: r, stop: stop, wish: w, hold: a.signature(g, name.Service()), found: st.MayRun()}
	a.tasks.Go(func() { r.run(ctx) })
}

// handOver tells runners what changed for them. The end of a lease changes all
// the time; runners look at that themselves, but for one that was renewed late.
func (a *Agent) handOver(g guardclient.View) {
	town, house := a.town(), a.house(g)
	for _, guest := range house.Guests() {
		name := guest.Name
		t := a.services[name]
		w, h := a.view.wish(name, alive(g)), a.signature(g, name.Service())
		w.Gates = a.view.Gates(&guest, town, house)
		t.use(h[0], a.options.Clock.Boot())
		if w != t.wish || h != t.hold {
			t.wish, t.hold = w, h
			t.runner.wishes.put(w)
		}
	}
}

// use notes since when the lease is held for nothing, given what is known of it.
func (t *trust) use(h supervise.Hold, now time.Duration) {
	i := &t.status.instance
	waits := t.heard && i.Phase == fact.Waiting && i.Waits == "" && !i.Maintenance && t.status.doing.Run.Spec.Copies == nil
	switch {
	case !waits || !h.Held || h.Kept:
		t.unused = 0
	case t.unused == 0:
		t.unused = now
	}
}

// Own is what the report of this node says now, whether the store takes it or not;
// nil: what runs here is not known yet. It is not to be changed. It is safe for
// concurrent use.
func (a *Agent) Own() *record.Report { return a.latest.Load() }

// heardAll reports whether every runner has said how its instance is, if it is
// known which there are.
func (a *Agent) heardAll(known bool) bool {
	if len(a.entries) > 0 || !known {
		return false
	}
	for _, t := range a.services {
		if !t.heard {
			return false
		}
	}
	return true
}

// alive returns the slots of the nodes that are alive beyond doubt.
func alive(g guardclient.View) uint32 {
	if !g.Up {
		return 0
	}
	return mandate.Certain(&g.State)
}

// signature is what is known of a lease but for its end, of which it only says
// whether that is near or past: 0 if so.
func (a *Agent) signature(g guardclient.View, name spec.ServiceName) holds {
	var out holds
	for lease := range out {
		h := holdOf(g, instance.LeaseName(name, lease))
		if h.Until-a.options.Clock.Boot() > supervise.StopAhead {
			h.Until = 1
		} else {
			h.Until = 0
		}
		out[lease] = h
	}
	return out
}

// holds is what is known of each lease of a service.
type holds [spec.MaxPrimaries]supervise.Hold

func (h holds) any() bool {
	return slices.ContainsFunc(h[:], func(one supervise.Hold) bool { return one.Held })
}

// orphans are leases of further primaries that are held here, and that nothing here
// knows of any more: those of a service that was deleted.
func (a *Agent) orphans(g guardclient.View) []guardwire.Release {
	var out []guardwire.Release
	for _, h := range g.State.Holds {
		name, lease := instance.LeaseOf(h.Service)
		known := slices.ContainsFunc(slices.Collect(maps.Keys(a.services)), func(n instance.Name) bool { return n.Service() == name })
		if g.Heard && lease > 0 && !known && a.informed() && a.view.Services[name] == nil && a.view.listed[record.KeyServices] {
			out = append(out, guardwire.Release{Service: h.Service, Epoch: h.Epoch})
		}
	}
	return out
}

// sendDuty tells the guard its duty, if that is known and changed.
func (a *Agent) sendDuty(g guardclient.View) {
	if !g.Up || g.State.Guard == 0 || !a.view.complete() || !a.informed() {
		return
	}
	p := plan{view: a.view, found: a.found, statuses: make(map[instance.Name]status), held: make(map[spec.ServiceName]bool)}
	if a.guard.floor.Guard == g.State.Guard {
		p.floor = a.guard.floor
	} else if g.State.Fresh {
		return // without a floor it could promise what it promised before
	}
	for name, t := range a.services {
		p.statuses[name] = t.status
		for lease := range spec.MaxPrimaries {
			n := instance.LeaseName(name.Service(), lease)
			p.held[n] = holdOf(g, n).Held
		}
	}
	duty, now := p.duty(), a.options.Clock.Boot()
	again := g.State.Fresh && now-a.duty.at >= dutyRepeat
	if len(duty.Listen) == 0 || !again && a.duty.guard == g.State.Guard && sameDuty(duty, a.duty.duty) {
		return
	}
	a.duty = sentDuty{guard: g.State.Guard, duty: duty, at: now}
	a.options.Guard.SetDuty(g.State.Guard, duty)
}

// informed reports whether the whole of the duty is known: all topics, and what
// every service needs. Until then the guard keeps the duty it has.
func (a *Agent) informed() bool {
	if a.duty.at != 0 {
		return true
	}
	for _, topic := range topics(a.options.Node) {
		if !a.fromDisk && !a.view.listed[topic] {
			return false
		}
	}
	for _, t := range a.services {
		if !t.heard {
			return false
		}
	}
	return true
}
