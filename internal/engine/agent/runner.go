package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/engine/agent/guardclient"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
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

// reportedFailures is how many failures a report names, see [fact.Instance].
const reportedFailures = 20

// runner owns one service on this node: its goroutine alone asks [supervise.Step]
// and has carried out what that says.
type runner struct {
	options *Options
	name    spec.ServiceName
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
	wake time.Duration
	hands

	told    status // the last one sent
	reach   reach
	journal *journal
	trouble string // a sentence for the report; empty: none
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
func newRunner(o *Options, name spec.ServiceName, statuses chan<- status, st supervise.State, w wish) *runner {
	return &runner{
		options: o, name: name, cell: w.cell, began: o.Clock.Boot(), statuses: statuses, st: st, wish: w,
		wishes: newMailbox[wish](), results: make(chan supervise.Result, 1), notices: make(chan notice, noticeRoom),
		journal: newJournal(o.JournalDir, name),
	}
}

// status is what a runner tells of its service.
type status struct {
	instance fact.Instance
	run      record.Service // as it runs, or as it would
	mayRun   bool
	banned   bool
	clear    bool   // nothing is left to do or to remember
	trouble  string // for the report
	release  uint64 // an epoch to give back now; 0: none

	addresses, cgroups []string // handles of all that may run or may start
}

// run drives the service until ctx ends. What runs then goes on running.
func (r *runner) run(ctx context.Context) {
	defer r.tasks.Wait()
	defer r.unwatch()
	timer := r.options.Clock.Timer(time.Hour)
	defer timer.Stop()
	for {
		r.settle(ctx)
		if ctx.Err() != nil {
			return
		}
		if r.wake > 0 {
			timer.Reset(r.wake)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case r.wish = <-r.wishes:
			r.cell = cmp.Or(r.wish.cell, r.cell)
		case res := <-r.results:
			r.done = &res
		case n := <-r.notices:
			r.take(n)
		case <-timer.C:
		}
	}
}

// settle asks [supervise.Step] until there is nothing more to do at once.
func (r *runner) settle(ctx context.Context) {
	for {
		in := r.look()
		next, d := supervise.Step(r.st, in)
		r.st, r.done, r.died, r.wake = next, nil, nil, d.Wake
		if !in.Hold.Known {
			r.wakeIn(r.began + adoptWait - in.Boot)
		}
		if d.Cancel && r.cancel != nil {
			r.cancel()
		}
		r.write()
		for _, n := range d.Notes {
			r.options.emit(event.Event{Kind: n.Kind, Service: r.name, Part: n.Part, Epoch: n.Epoch, Text: n.Text})
		}
		r.rewatch(ctx)
		var release uint64
		if d.Op.Kind == supervise.Release {
			release = d.Op.Epoch
		}
		r.tell(ctx, in, release)
		if release == 0 {
			r.begin(ctx, d.Op, d.Limit)
			return
		}
	}
}

// look gathers what [supervise.Step] looks at.
func (r *runner) look() supervise.Input {
	in := supervise.Input{Now: r.options.Clock.Now(), Boot: r.options.Clock.Boot(), Wish: r.wish.Wish, Done: r.done, Died: r.died}
	in.Hold = holdOf(r.options.Guard.Latest(), r.name)
	in.Hold.Known = in.Hold.Known || in.Boot >= r.began+adoptWait
	return in
}

// holdOf returns what the guard shows of a service's lease.
func holdOf(g guardclient.View, name spec.ServiceName) supervise.Hold {
	h := supervise.Hold{Known: g.Heard || g.Gone}
	if !g.Heard {
		return h
	}
	h.Guard = g.State.Guard
	i, held := slices.BinarySearchFunc(g.State.Holds, name, func(h guardwire.Hold, name spec.ServiceName) int {
		return strings.Compare(string(h.Service), string(name))
	})
	if held {
		of := &g.State.Holds[i]
		h.Held, h.Epoch, h.Until, h.Kept = true, of.Epoch, time.Duration(of.Until), of.Kept
	}
	return h
}

func (r *runner) wakeIn(d time.Duration) {
	if d = max(d, time.Millisecond); r.wake == 0 || d < r.wake {
		r.wake = d
	}
}

// write brings the journal up to date. An agent that cannot write it goes on:
// the guard enforces the lease, and the next agent probes what it knows of.
func (r *runner) write() {
	err := r.journal.write(r.cell, r.st)
	switch {
	case err == nil && r.trouble == "":
	case err == nil:
		r.trouble = ""
	case r.trouble == "":
		r.trouble = "The journal of service " + string(r.name) + " cannot be written: " + err.Error() + ". Make room in the run directory."
		r.options.Log.Error("journal not written", logkey.Service, r.name, logkey.Err, err)
	}
}

// tell hands the status on if it changed or asks for a release.
func (r *runner) tell(ctx context.Context, in supervise.Input, release uint64) {
	s := status{
		instance: r.instance(in.Now), run: r.st.Run, mayRun: r.st.MayRun(), banned: r.st.Banned(in.Now),
		clear: r.st.Clear(in.Now), trouble: r.trouble, release: release,
	}
	s.addresses, s.cgroups = r.handles()
	if s.trouble == "" && r.st.Stuck() {
		s.trouble = "Service " + string(r.name) + " has a part that does not stop. Stop it by hand, or switch the server off; " +
			"until then its lease is kept and it starts nowhere else."
	}
	if release == 0 && s.equal(&r.told) {
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
	return s.mayRun == o.mayRun && s.banned == o.banned && s.clear == o.clear && s.trouble == o.trouble &&
		s.run.ID == o.run.ID && s.run.Generation == o.run.Generation &&
		slices.Equal(s.addresses, o.addresses) && slices.Equal(s.cgroups, o.cgroups) &&
		sameInstance(&s.instance, &o.instance)
}

func sameInstance(a, b *fact.Instance) bool {
	return a.Service == b.Service && a.Generation == b.Generation && a.Phase == b.Phase && a.Ready == b.Ready &&
		a.Epoch == b.Epoch && a.Since.Equal(b.Since) && slices.Equal(a.Parts, b.Parts) &&
		slices.Equal(a.Failures, b.Failures) && a.FailedUntil.Equal(b.FailedUntil) && a.Restarts == b.Restarts && a.Took == b.Took &&
		a.Cleared.Equal(b.Cleared)
}

// instance describes the service for the report.
func (r *runner) instance(now time.Time) fact.Instance {
	i := fact.Instance{
		Service: r.name, Generation: r.st.Run.Generation, Phase: r.st.Phase, Epoch: r.st.Epoch, Since: r.st.Since,
		Failures: slices.Clone(r.st.Failures), FailedUntil: r.st.FailedUntil, Restarts: r.st.RecentFailures(now),
		Took: r.st.Took,
	}
	if r.st.Cleared != 0 {
		i.Cleared = time.Unix(0, r.st.Cleared).UTC()
	}
	if n := len(i.Failures); n > reportedFailures {
		i.Failures = i.Failures[n-reportedFailures:]
	}
	i.Ready = r.ready()
	for n, p := range r.st.Run.Spec.Parts {
		if n >= len(r.st.Parts) {
			break
		}
		part := fact.Part{Name: p.Name, Kind: p.Kind()}
		part.State, part.Detail = r.describe(n)
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
	case supervise.Up:
		if w := r.watches[n]; w != nil {
			detail = w.detail
		}
		return "running", detail
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
	return !slices.ContainsFunc(r.watches, func(w *watch) bool { return w == nil || !w.ready })
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
	case noticeEnded, noticeUnwell:
		r.died = append(r.died, supervise.Death{Part: n.part, Ended: n.kind == noticeEnded, Why: n.text})
	case noticeReady, noticeUnready:
		was := r.ready()
		w.ready = n.kind == noticeReady
		r.tellReady(was, n)
	case noticeDetail:
		w.detail = n.text
	}
}

func (r *runner) tellReady(was bool, n notice) {
	e := event.Event{Service: r.name, Epoch: r.st.Epoch, Part: r.st.PartName(n.part)}
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

// errRefused means that a start was not begun, since the lease was gone by then.
var errRefused = errors.New("the lease was gone before the start")

// cleanText makes one line of an error's text.
func cleanText(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
