package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/engine/agent/journal"
	"github.com/keelson/keelson/internal/engine/agent/lastknown"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// adoptWait is how long after its start an agent that finds a guard's socket
// but hears nothing goes on without knowing what is held. The guard itself cuts
// off what has no lease meanwhile.
const adoptWait = 2 * time.Second

// noticeRoom bounds the notices of one service's parts that wait. Who has one
// more waits until there is room.
const noticeRoom = 16

// runner owns one instance of a service on this node: its goroutine alone asks [supervise.Step]
// and has carried out what that says.
type runner struct {
	options *Options
	name    instance.Name
	cell    string        // the cell's name
	began   time.Duration // boot time of the agent's start

	wishes   mailbox[wish]
	statuses chan<- status         // shared by all runners
	results  chan supervise.Result // of the operation in flight, at most one
	notices  chan notice

	st   supervise.State
	wish wish
	done *supervise.Result
	died []supervise.Death
	pacing
	hands

	told    status // the last one sent
	reach   reach
	journal *journal.File
	trouble string // a sentence for the report; empty: none

	places *places // shared by all runners
	place  *place  // that this one has or waits for; nil: none
}

// heard is what was read of the guard's words, and whether there are more.
func heard(g guardclient.View) supervise.Heard {
	return supervise.Heard{Said: time.Duration(g.State.Now), Unread: g.Unread}
}

// pacing is when a runner looks again.
type pacing struct {
	lag  supervise.Lag
	wake time.Duration // as the last step says; 0: none
}

// hands are the goroutines of a runner.
type hands struct {
	tasks   sync.WaitGroup
	cancel  context.CancelFunc // of the operation in flight
	watches []*watch           // by part; nil: not watched
	lives   uint64             // watches begun
}

// reach is what the guard can cut off, and what that was worked out for.
type reach struct {
	id           uint32
	runs, wanted uint64 // generations
	phase        fact.Phase
	addresses    []string
	cgroups      []string
}

// newRunner returns the runner of a service that begins in state st.
func newRunner(o *Options, name instance.Name, statuses chan<- status, st supervise.State, w wish) *runner {
	return &runner{
		options: o, name: name, cell: w.cell, began: o.Clock.Boot(), statuses: statuses, st: st, wish: w,
		wishes: newMailbox[wish](), results: make(chan supervise.Result, 1), notices: make(chan notice, noticeRoom),
		journal: journal.New(o.JournalDir, name),
	}
}

// status is what a runner tells of its service.
type status struct {
	instance fact.Instance
	doing    mandate.Doing // but for the leases that are held
	clear    bool          // nothing is left to do or to remember
	trouble  string        // for the report
	release  uint64        // an epoch to give back now; 0: none
	of       int           // which lease that is of
}

// run drives the service until ctx ends. What runs then goes on running.
func (r *runner) run(ctx context.Context) {
	defer r.tasks.Wait()
	defer r.unwatch()
	defer r.leavePlace()
	timer := r.options.Clock.Timer(time.Hour)
	defer timer.Stop()
	for {
		r.settle(ctx)
		if ctx.Err() != nil {
			return
		}
		if r.lag.Due > 0 {
			timer.Reset(max(r.lag.Due-r.options.Clock.Boot(), 0))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case w := <-r.wishes:
			if r.wish.Maintenance && !w.Maintenance {
				r.died = append(r.died, r.unwell()...)
			}
			r.wish = w
			r.cell = cmp.Or(r.wish.cell, r.cell)
		case <-r.place.granted():
		case res := <-r.results:
			r.done = &res
			if res.Err != nil {
				r.reach = reach{} // an interface may be there by now that was not
			}
		case n := <-r.notices:
			r.take(n)
		case <-timer.C:
		}
	}
}

// settle asks [supervise.Step] until there is nothing more to do at once.
func (r *runner) settle(ctx context.Context) {
	r.lag.Note(r.options.Clock.Boot(), heard(r.options.Guard.Latest()))
	for {
		in := r.look()
		next, d := supervise.Step(r.st, in)
		if d.Crowded && r.askPlace() {
			in.Crowded = false
			next, d = supervise.Step(r.st, in)
		} else if !d.Crowded && d.Op.Kind == supervise.None && next.Doing().Kind == supervise.None {
			r.leavePlace()
		}
		r.st, r.done, r.died, r.wake = next, nil, nil, d.Wake
		if !in.Hold.Known {
			r.wakeIn(r.began + adoptWait - in.Boot)
		}
		if in.Hold.Awaited || in.Right.Awaited {
			r.wakeIn(supervise.LookEvery)
		}
		r.lag.Due = 0
		if r.wake > 0 {
			r.lag.Due = in.Boot + r.wake
		}
		if d.Cancel && r.cancel != nil {
			r.cancel()
		}
		r.write()
		for _, n := range d.Notes {
			r.options.emit(event.Event{Kind: n.Kind, Service: r.name.Service(), Part: n.Part, Epoch: n.Epoch, Text: r.voice(n.Text)})
		}
		r.rewatch(ctx)
		op := d.Op
		if op.Kind != supervise.Release || op.Own {
			op = supervise.Operation{}
		}
		r.tell(ctx, in, op)
		if d.Op.Kind != supervise.Release {
			r.begin(ctx, d.Op, d.Limit)
			return
		}
	}
}

// voice says which copy speaks, if copies differ.
func (r *runner) voice(text string) string {
	if n := r.name.Number(); n > 0 {
		return fmt.Sprintf("Copy %d: %s", n, text)
	}
	return text
}

// look gathers what [supervise.Step] looks at.
func (r *runner) look() supervise.Input {
	in := supervise.Input{Now: r.options.Clock.Now(), Boot: r.options.Clock.Boot(), Wish: r.wish.Wish, Done: r.done, Died: r.died}
	in.Crowded = r.places != nil && !r.place.held()
	g := r.options.Guard.Latest()
	r.st.Look(&in, r.wish.rights, func(lease int) supervise.Hold { return r.holdUnder(g, lease, in.Boot) })
	in.Hold.Awaited = g.Up && !in.Hold.Own && r.lag.Awaits(in.Hold, in.Boot, heard(g))
	in.Right.Awaited = g.Up && r.lag.Awaits(in.Right, in.Boot, heard(g))
	return in
}

// holdUnder is what the guard shows of one of the service's leases, and that there
// is none if it has said nothing for too long.
func (r *runner) holdUnder(g guardclient.View, lease int, now time.Duration) supervise.Hold {
	h := holdOf(g, instance.LeaseName(r.name.Service(), lease))
	h.Lease = lease
	h.Known = h.Known || now >= r.began+adoptWait
	return h
}

// holdOf returns what the guard shows of a service's lease.
func holdOf(g guardclient.View, name spec.ServiceName) supervise.Hold {
	return mandate.HoldOf(&g.State, g.Heard, g.Gone, name)
}

func (r *runner) wakeIn(d time.Duration) {
	if d = max(d, time.Millisecond); r.wake == 0 || d < r.wake {
		r.wake = d
	}
}

// write brings the journal up to date. An agent that cannot write it goes on:
// the guard enforces the lease, and the next agent probes what it knows of.
func (r *runner) write() {
	err := r.journal.Write(r.cell, r.st)
	switch {
	case err == nil && r.trouble == "":
	case err == nil:
		r.trouble = ""
	case r.trouble == "":
		r.trouble = unwritten(r.name, r.options.JournalDir, err)
		r.options.Log.Error("journal not written", logkey.Service, r.name, logkey.Err, err)
	}
}

// unwritten says that the journal of an instance in dir could not be written.
func unwritten(name instance.Name, dir string, err error) string {
	return fmt.Sprintf("The journal of service %s cannot be written: %s. It goes on; an agent that starts now finds what runs by looking.",
		name, lastknown.Words(filepath.Join(dir, string(name)), err))
}

// tell hands the status on if it changed or asks for a release.
func (r *runner) tell(ctx context.Context, in supervise.Input, release supervise.Operation) {
	s := status{
		instance: r.instance(in.Now), doing: mandate.DoingOf(&r.st, in.Now),
		clear: r.st.Clear(in.Now), trouble: r.trouble, release: release.Epoch, of: release.Lease,
	}
	s.doing.Addresses, s.doing.Cgroups = r.handles()
	if s.trouble == "" && s.doing.Fence {
		s.trouble = "Service " + string(r.name) + " has a part that does not stop. Its guard cuts it off and gives the lease back, " +
			"or has the watchdog restart this server if it cannot."
	}
	if s.trouble == "" && r.st.Stuck() {
		s.trouble = "Service " + string(r.name) + " has a part that does not stop. Stop it by hand, or switch the server off; " +
			"until then its lease is kept and it starts nowhere else."
	}
	if release.Epoch == 0 && s.equal(&r.told) {
		return
	}
	r.told = s
	select {
	case r.statuses <- s:
	case <-ctx.Done():
	}
}

// equal reports whether two statuses say the same.
func (s *status) equal(o *status) bool {
	return s.doing.Same(&o.doing) && s.clear == o.clear && s.trouble == o.trouble && sameInstance(&s.instance, &o.instance)
}

func sameInstance(a, b *fact.Instance) bool {
	return a.Service == b.Service && a.Generation == b.Generation && a.Phase == b.Phase && a.Ready == b.Ready &&
		a.Epoch == b.Epoch && a.Since.Equal(b.Since) && slices.Equal(a.Parts, b.Parts) &&
		slices.Equal(a.Failures, b.Failures) && a.FailedUntil.Equal(b.FailedUntil) && a.Restarts == b.Restarts && a.Took == b.Took &&
		a.Copy == b.Copy && a.Role == b.Role && a.Right == b.Right && a.Leaving == b.Leaving && a.Yielding == b.Yielding && a.Waits == b.Waits && a.Under == b.Under && a.Maintenance == b.Maintenance &&
		a.Cleared.Equal(b.Cleared)
}

// instance describes the service for the report.
func (r *runner) instance(now time.Time) fact.Instance {
	i := r.st.Instance(r.name, now, r.wish.Maintenance)
	i.Ready = r.ready()
	for n, p := range r.st.Run.Spec.Parts {
		if n >= len(r.st.Parts) {
			break
		}
		part := fact.Part{Name: p.Name, Kind: p.Kind()}
		part.State, part.Detail = r.describe(n)
		if w := r.watches; n < len(w) && w[n] != nil {
			part.Unready = w[n].unready
		}
		i.Parts = append(i.Parts, part)
	}
	return i
}

// describe returns a part's state in the words of [fact.Part].
func (r *runner) describe(n int) (state, detail string) {
	starts := r.st.Doing().Kind == supervise.Start && r.st.Doing().Part == n
	switch r.st.Parts[n] {
	case supervise.Down:
		return "stopped", ""
	case supervise.Up, supervise.Raised:
		if w := r.watches[n]; w != nil {
			detail = w.detail
			if w.unwell != "" {
				detail = w.unwell
			}
		}
		return "running", detail
	case supervise.Half:
		return "running", "it changes its role"
	case supervise.Torn:
		return "running", "stopping"
	case supervise.Unknown:
		return "running", "not looked at yet since the agent started"
	case supervise.Dead:
		return "failed", "it ended by itself"
	case supervise.Dirty:
		if starts {
			return "starting", ""
		}
		if r.st.Stuck() {
			return "failed", "it does not stop"
		}
		return "running", "stopping"
	}
	return "failed", ""
}

// ready reports whether all parts run and all readiness checks say yes.
func (r *runner) ready() bool {
	if r.st.Phase != fact.Running {
		return false
	}
	for i, w := range r.watches {
		if r.st.Parts[i] != supervise.Down && (w == nil || !w.ready) {
			return false
		}
	}
	return true
}

// handles returns what the guard can cut off, of what runs and of what is
// wanted instead. It asks the drivers anew when either or the phase changes.
func (r *runner) handles() (addresses, cgroups []string) {
	now := reach{id: r.st.Run.ID, runs: r.st.Run.Generation, phase: r.st.Phase}
	services := []record.Service{r.st.Run}
	if w := r.wish.Service; w != nil {
		now.wanted = w.Generation
		services = append(services, *w)
	}
	if was := r.reach; now.id == was.id && now.runs == was.runs && now.wanted == was.wanted && now.phase == was.phase {
		return was.addresses, was.cgroups
	}
	for _, s := range services {
		for _, p := range s.Spec.Parts {
			driver, ok := r.options.Parts[p.Kind()]
			if !ok {
				continue
			}
			h := driver.Handles(r.runOf(s, p))
			now.addresses = append(now.addresses, h.Addresses...)
			now.cgroups = append(now.cgroups, h.Cgroups...)
		}
	}
	slices.Sort(now.addresses)
	slices.Sort(now.cgroups)
	now.addresses, now.cgroups = slices.Compact(now.addresses), slices.Compact(now.cgroups)
	r.reach = now
	return now.addresses, now.cgroups
}

// take takes a notice of a part, unless it is of an earlier life.
func (r *runner) take(n notice) {
	if n.part >= len(r.watches) || r.watches[n.part] == nil || r.watches[n.part].life != n.life {
		return
	}
	w := r.watches[n.part]
	switch n.kind {
	case noticeUnwell, noticeWell:
		w.unwell = n.text
		if n.kind == noticeWell || r.wish.Maintenance {
			return // shown, and not acted upon
		}
		r.died = append(r.died, supervise.Death{Part: n.part, Why: n.text})
	case noticeEnded:
		r.died = append(r.died, supervise.Death{Part: n.part, Ended: true, Why: n.text})
	case noticeReady, noticeUnready:
		was := r.ready()
		w.ready, w.unready = n.kind == noticeReady, ""
		if !w.ready {
			w.unready = cmp.Or(n.text, "it says no")
		}
		r.tellReady(was, n)
	case noticeDetail:
		w.detail = n.text
	}
}

func (r *runner) tellReady(was bool, n notice) {
	e := event.Event{Service: r.name.Service(), Epoch: r.epoch(), Part: r.st.PartName(n.part)}
	switch is := r.ready(); {
	case is == was || r.st.Phase != fact.Running:
		return
	case is:
		e.Kind, e.Text = event.ServiceReady, "All its checks pass."
	default:
		e.Kind, e.Text = event.ServiceUnready, "It runs, but its check says no: "+n.text+"."
	}
	r.options.emit(e)
}

// unwell lists the parts whose checks said no while nobody acted on it.
func (r *runner) unwell() []supervise.Death {
	var out []supervise.Death
	for i, w := range r.watches {
		if w != nil && w.unwell != "" {
			out = append(out, supervise.Death{Part: i, Why: w.unwell})
		}
	}
	return out
}

// epoch is that of the lease, 0 for a copy without one.
func (r *runner) epoch() uint64 {
	switch s := r.st.Run.Spec; {
	case s.Copies == nil:
		return r.st.Epoch
	case s.HasRoles():
		return r.st.Right.Epoch
	}
	return 0
}

// errRefused means that a start was not begun, since the lease was gone by then.
var errRefused = errors.New("the lease was gone before the start")

// cleanText makes one line of an error's text.
func cleanText(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
