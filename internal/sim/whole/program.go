package whole

import (
	"errors"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// key names one part of one instance on a node.
type key struct {
	name instance.Name
	part string
}

func (k key) String() string { return string(k.name) + "/" + k.part }

// program is a part that runs: a process, or an address.
type program struct {
	key
	handle     string
	service    record.Service // that it was started for
	part       spec.Part
	epoch      uint64
	generation uint64
	ready      bool
	primary    bool
	asked      bool // to end; it does, in its own time
}

// start is a start that has found that it may, right before the program is there.
type start struct{ handle string }

// Errors of operations, as drivers have them.
var (
	errCanceled = errors.New("it was canceled")
	errLimit    = errors.New("it took too long")
	errEnded    = errors.New("it ended before it had started")
	errNoGroup  = errors.New("its control group is gone")
	errBusy     = errors.New("it does not end")
	errRole     = errors.New("it does not change its role")
	errRefused  = errors.New("the lease was gone before the start")
)

// flight is an operation that a runner has under way.
type flight struct {
	op   supervise.Operation
	over bool
}

// find returns a program, nil if it is not there.
func (n *node) find(k key) *program {
	i := slices.IndexFunc(n.programs, func(p *program) bool { return p.key == k })
	if i < 0 {
		return nil
	}
	return n.programs[i]
}

// has reports whether p still runs.
func (n *node) has(p *program) bool { return p != nil && slices.Contains(n.programs, p) }

// remove ends a program. An agent that watches it hears of it.
func (w *world) remove(n *node, p *program) {
	i := slices.Index(n.programs, p)
	if i < 0 {
		return
	}
	n.programs = slices.Delete(n.programs, i, i+1)
	w.watch.ended(w, n, p)
	w.after(w.random(5*time.Millisecond), n.agent.Only(func() { w.missed(n, p.key) }))
}

// missed tells the runner of a part that it runs no more, if it thinks that it
// does.
func (w *world) missed(n *node, k key) {
	r := n.agent.runners[k.name]
	if r == nil || n.find(k) != nil {
		return
	}
	for i := range r.st.Parts {
		if r.st.PartName(i) == k.part && watched(r.st.Parts[i]) {
			r.died = append(r.died, supervise.Death{Part: i, Ended: true, Why: "it ended by itself"})
			w.step(n, r)
			return
		}
	}
}

// watched reports whether a part in this state is watched.
func watched(p supervise.PartState) bool {
	return p == supervise.Up || p == supervise.Raised || p == supervise.Half
}

// begin carries an operation out. Its result comes back to the runner.
func (w *world) begin(n *node, r *runner, op supervise.Operation, limit time.Duration) {
	if op.Kind == supervise.None {
		return
	}
	f := &flight{op: op}
	r.flight = f
	part := &r.st.Run.Spec.Parts[op.Part]
	w.trace("node %s: %s %s/%s, epoch %d, force %v", n.name, op.Kind, r.name, part.Name, op.Epoch, op.Force)
	w.after(limit, n.agent.Only(func() { w.finish(n, r, f, supervise.Result{Err: errLimit}) }))
	w.after(w.random(3*time.Millisecond), n.agent.Only(func() {
		switch {
		case f.over:
		case op.Kind == supervise.Start:
			w.beginStart(n, r, f)
		case op.Kind == supervise.Stop:
			w.beginStop(n, r, f)
		case op.Kind == supervise.Promote, op.Kind == supervise.Demote:
			w.beginRole(n, r, f)
		default:
			w.finish(n, r, f, w.probe(n, r, op.Part))
		}
	}))
}

// finish hands a result to the runner, once.
func (w *world) finish(n *node, r *runner, f *flight, res supervise.Result) {
	if f.over {
		return
	}
	f.over = true
	if r.flight == f {
		if res.Err != nil {
			w.trace("node %s: %s of %s/%s: %v", n.name, f.op.Kind, r.name, r.st.PartName(f.op.Part), res.Err)
		}
		r.flight, r.done = nil, &res
		w.step(n, r)
	}
}

func (w *world) probe(n *node, r *runner, part int) supervise.Result {
	p := n.find(key{r.name, r.st.PartName(part)})
	if p == nil {
		return supervise.Result{}
	}
	return supervise.Result{Seen: instance.Observed{Running: true, Generation: p.generation, Epoch: p.epoch}}
}

// holds reports whether the agent was told that the lease is held.
func (w *world) holds(n *node, r *runner, epoch uint64) bool {
	h := w.holdOf(n, r.name.Service())
	return h.Held && h.Epoch == epoch && h.Until-w.boottime(n) > supervise.StopAhead
}

// beginStart looks at the lease last of all, when what cuts the program off is
// there already. The agent may stand still between the look and the start.
func (w *world) beginStart(n *node, r *runner, f *flight) {
	part := r.st.Run.Spec.Parts[f.op.Part]
	own := r.st.Run.Spec.Copies != nil && part.Role != spec.RolePrimary
	if !own && !w.holds(n, r, f.op.Epoch) {
		w.finish(n, r, f, supervise.Result{Refused: true, Err: errRefused})
		return
	}
	k := key{r.name, part.Name}
	s := &start{handle: script.HandleOf(r.name, &part)}
	n.begun[k] = s
	p := &program{
		key: k, handle: s.handle, service: r.st.Run, part: part, epoch: f.op.Epoch, generation: r.st.Run.Generation,
		primary: part.Role == spec.RolePrimary,
	}
	w.after(w.random(time.Millisecond), n.agent.Only(func() {
		if n.begun[k] != s {
			w.finish(n, r, f, supervise.Result{Err: errNoGroup})
			return
		}
		delete(n.begun, k)
		if !f.over {
			w.spawn(n, r, f, p)
		}
	}))
}

// spawn starts a program.
func (w *world) spawn(n *node, r *runner, f *flight, p *program) {
	if old := n.find(p.key); old != nil {
		w.remove(n, old) // a driver makes room first
	}
	n.programs = append(n.programs, p)
	w.result.Starts++
	w.watch.started(w, n, p)
	takes, ill := w.plan.Nature(p.key.name.Service()).Start, w.ill(n, p.key.name.Service())
	switch {
	case p.part.Address != nil:
		takes = time.Millisecond
	case ill == script.StartHangs:
		return // until the limit
	case ill == script.StartFails:
		w.after(takes/2, func() { w.remove(n, p) })
	}
	tell := n.agent.Only(func() {
		if n.has(p) {
			w.finish(n, r, f, supervise.Result{})
		} else {
			w.finish(n, r, f, supervise.Result{Err: errEnded})
		}
	})
	w.after(takes, func() {
		if n.has(p) {
			p.ready = true
			w.watch.note(w)
		}
		tell()
	})
}

// beginStop ends a program. One that was asked to end does so whatever becomes of
// who asked.
func (w *world) beginStop(n *node, r *runner, f *flight) {
	k := key{r.name, r.st.PartName(f.op.Part)}
	delete(n.begun, k)
	p, ill := n.find(k), w.ill(n, r.name.Service())
	takes := w.plan.Nature(r.name.Service()).Stop
	switch {
	case p == nil || p.part.Address != nil:
		takes = time.Millisecond
	case f.op.Force && ill == script.StopFails:
		w.finish(n, r, f, supervise.Result{Err: errBusy})
		return
	case f.op.Force:
		takes = w.random(killTime)
	case ill == script.StopHangs || ill == script.StopFails:
		return // until the limit
	default:
		p.asked = true
	}
	tell := n.agent.Only(func() { w.finish(n, r, f, supervise.Result{}) })
	w.after(takes, func() {
		if n.has(p) {
			w.remove(n, p)
		}
		tell()
	})
}

// beginRole gives a running program a role.
func (w *world) beginRole(n *node, r *runner, f *flight) {
	rises := f.op.Kind == supervise.Promote
	if rises && !w.holds(n, r, f.op.Epoch) {
		w.finish(n, r, f, supervise.Result{Refused: true, Err: errRefused})
		return
	}
	p, ill := n.find(key{r.name, r.st.PartName(f.op.Part)}), w.ill(n, r.name.Service())
	takes := w.plan.Nature(r.name.Service()).Role
	w.after(w.random(time.Millisecond), n.agent.Only(func() {
		if !n.has(p) || f.over {
			w.finish(n, r, f, supervise.Result{Err: errEnded})
			return
		}
		if ill != script.RoleFails || w.chance(0.5) {
			p.primary = rises
			w.watch.raised(w, n, p)
		}
		w.after(takes, n.agent.Only(func() {
			switch {
			case ill == script.RoleFails:
				w.finish(n, r, f, supervise.Result{Err: errRole})
			case !n.has(p):
				w.finish(n, r, f, supervise.Result{Err: errEnded})
			default:
				w.finish(n, r, f, supervise.Result{})
			}
		}))
	}))
}
