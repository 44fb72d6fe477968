package whole

import (
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// adoptWait is how long an agent that hears nothing of a guard goes on without
// knowing what is held, as in package agent.
const adoptWait = 2 * time.Second

// maxTurns is how often in a row a runner may ask what to do without anything to
// wait for.
const maxTurns = 20

// runner owns one instance, as in package agent: it asks package supervise and
// has carried out what that says.
type runner struct {
	name   instance.Name
	began  Boot
	st     supervise.State
	wish   mandate.Wish
	hold   holds // as they were when the runner last looked, but for their ends
	done   *supervise.Result
	died   []supervise.Death
	flight *flight
	lag    supervise.Lag
	turn   int // of the planned turns, the one that counts
	heard  bool
}

// step asks [supervise.Step] until there is nothing more to do at once.
func (w *world) step(n *node, r *runner) {
	now := w.boottime(n)
	heard, _ := w.heard(n)
	r.lag.Note(now, heard)
	for turns := 0; ; turns++ {
		if turns > maxTurns {
			w.violate("comes-to-rest", "%s on node %s is told to release without end", r.name, n.name)
			return
		}
		in := w.look(n, r)
		next, d := supervise.Step(r.st, in)
		r.st, r.done, r.died = next, nil, nil
		wake := d.Wake
		if !in.Hold.Known {
			wake = sooner(wake, r.began+adoptWait-now)
		}
		if in.Hold.Awaited || in.Right.Awaited {
			wake = sooner(wake, supervise.LookEvery)
		}
		r.lag.Due = 0
		if wake > 0 {
			r.lag.Due = now + wake
		}
		if d.Cancel && r.flight != nil {
			f := r.flight
			w.after(w.random(3*time.Millisecond), n.agent.Only(func() { w.finish(n, r, f, supervise.Result{Err: errCanceled}) }))
		}
		if r.st.Memorable() {
			n.journal[r.name] = r.st.Memory
		} else {
			delete(n.journal, r.name)
		}
		for _, note := range d.Notes {
			w.trace("node %s: %s: %s %s", n.name, r.name, note.Kind, note.Text)
		}
		if d.Op.Kind == supervise.Release {
			if !d.Op.Own {
				n.agent.releases = append(n.agent.releases, release{instance.LeaseName(r.name.Service(), d.Op.Lease), d.Op.Epoch})
			}
			continue
		}
		w.begin(n, r, d.Op, d.Limit)
		break
	}
	for i := range r.st.Parts {
		if k := (key{r.name, r.st.PartName(i)}); watched(r.st.Parts[i]) && n.find(k) == nil {
			w.after(time.Millisecond, n.agent.Only(func() { w.missed(n, k) }))
		}
	}
	r.heard = true
	w.planStep(n, r)
	w.syncSoon(n)
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if b = max(b, time.Millisecond); a == 0 || b < a {
		return b
	}
	return a
}

// planStep has the runner look again when it asked to.
func (w *world) planStep(n *node, r *runner) {
	r.turn++
	if r.lag.Due == 0 {
		return
	}
	turn := r.turn
	w.after(n.clock.True(r.lag.Due)-w.now+w.random(time.Millisecond), n.agent.Only(func() {
		if r.turn == turn {
			w.step(n, r)
		}
	}))
}

// look gathers what [supervise.Step] looks at.
func (w *world) look(n *node, r *runner) supervise.Input {
	now := w.boottime(n)
	in := supervise.Input{Now: w.wall(n), Boot: now, Wish: r.wish.Wish, Done: r.done, Died: r.died}
	r.st.Look(&in, r.wish.Rights, func(lease int) supervise.Hold {
		h := w.holdOf(n, instance.LeaseName(r.name.Service(), lease))
		h.Lease, h.Known = lease, h.Known || now >= r.began+adoptWait
		return h
	})
	heard, up := w.heard(n)
	in.Hold.Awaited = up && !in.Hold.Own && r.lag.Awaits(in.Hold, now, heard)
	in.Right.Awaited = up && r.lag.Awaits(in.Right, now, heard)
	return in
}

// holdOf is what the agent was told of a lease.
func (w *world) holdOf(n *node, name spec.ServiceName) supervise.Hold {
	s := &n.agent.seen
	return mandate.HoldOf(&s.State, s.Heard, s.Gone, name)
}

// signature is what is known of a lease but for its end, of which it only says
// whether that is near or past.
func (w *world) signature(n *node, name spec.ServiceName) holds {
	var out holds
	for lease := range out {
		h := w.holdOf(n, instance.LeaseName(name, lease))
		if h.Until-w.boottime(n) > supervise.StopAhead {
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

// instance describes the runner's instance for a report.
func (w *world) instance(n *node, r *runner) fact.Instance {
	i := r.st.Instance(r.name, w.wall(n), r.wish.Maintenance)
	i.Ready = i.Phase == fact.Running
	return i
}

// doing is what the runner does, for the guard's duty.
func (w *world) doing(n *node, r *runner) *mandate.Doing {
	d := mandate.DoingOf(&r.st, w.wall(n))
	d.Held = map[spec.ServiceName]bool{}
	for lease, h := range w.signature(n, r.name.Service()) {
		d.Held[instance.LeaseName(r.name.Service(), lease)] = h.Held
	}
	services := []*record.Service{&r.st.Run}
	if r.wish.Service != nil {
		services = append(services, r.wish.Service)
	}
	for _, s := range services {
		for i := range s.Spec.Parts {
			p := &s.Spec.Parts[i]
			if p.Address != nil {
				d.Addresses = append(d.Addresses, script.HandleOf(r.name, p))
			} else {
				d.Cgroups = append(d.Cgroups, script.HandleOf(r.name, p))
			}
		}
	}
	slices.Sort(d.Addresses)
	slices.Sort(d.Cgroups)
	d.Addresses, d.Cgroups = slices.Compact(d.Addresses), slices.Compact(d.Cgroups)
	return &d
}
