package whole

import (
	"fmt"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/sim/whole/script"
)

// illness is what a service suffers from on a node.
type illness struct {
	kind    script.Kind
	service spec.ServiceName
	node    uint8
}

// ill is what a service suffers from on a node now.
func (w *world) ill(n *node, name spec.ServiceName) script.Kind {
	for _, i := range w.ills {
		if i.node == n.slot && i.service == name {
			return i.kind
		}
	}
	return script.Well
}

// strike lets a fault happen.
func (w *world) strike(f *script.Fault) {
	w.result.Faults[f.Kind]++
	w.fired = append(w.fired, f.String())
	w.trace("%s", f.String())
	n := w.nodes[f.Node]
	switch f.Kind {
	case script.Crash, script.KillGuard, script.StopGuard, script.KillAgent, script.StopAgent:
		w.hit(n, f)
	case script.Isolate, script.CutLink, script.CutOneWay, script.Lose, script.StoreAway:
		w.sever(f)
	case script.ProgramEnds:
		w.endProgram(f.Service)
	case script.StartFails, script.StartHangs, script.StopHangs, script.StopFails, script.RoleFails:
		i := illness{f.Kind, f.Service, f.Node}
		w.ills = append(w.ills, i)
		w.after(f.Length, func() {
			if at := slices.Index(w.ills, i); at >= 0 {
				w.ills = slices.Delete(w.ills, at, at+1)
			}
		})
	default:
		w.operate(f)
	}
}

// hit is a fault of one host.
func (w *world) hit(n *node, f *script.Fault) {
	if !n.up {
		return
	}
	switch f.Kind {
	case script.Crash:
		w.crash(n, f.Length)
	case script.KillGuard:
		if n.guard.Up {
			w.killGuard(n)
		}
	case script.StopGuard:
		w.halt(&n.guard.Process, f.Length, func() { n.guard.joined = max(n.guard.joined, w.now) })
	case script.KillAgent:
		if n.agent.Up {
			w.killAgent(n)
			w.after(f.Length, n.agent.Only(func() {
				if n.up && !n.agent.Up {
					w.startAgent(n)
				}
			}))
		}
	default:
		w.halt(&n.agent.Process, f.Length, func() { n.agent.ran = w.now })
	}
}

// halt stops a process for a while.
func (w *world) halt(p *script.Process, d time.Duration, then func()) {
	if !p.Up {
		return
	}
	p.Stop()
	life := p.Life
	w.after(d, func() {
		if p.Life == life {
			p.Resume()
			then()
		}
	})
}

// sever is a fault of the network, or of the store.
func (w *world) sever(f *script.Fault) {
	net := &w.net
	var pairs [][2]uint8
	switch f.Kind {
	case script.Isolate:
		for _, o := range w.nodes {
			if o.slot != f.Node {
				pairs = append(pairs, [2]uint8{f.Node, o.slot}, [2]uint8{o.slot, f.Node})
			}
		}
	case script.CutLink:
		pairs = [][2]uint8{{f.Node, f.Other}, {f.Other, f.Node}}
	case script.CutOneWay:
		pairs = [][2]uint8{{f.Node, f.Other}}
	case script.Lose:
		net.loss += f.Share
		w.after(f.Length, func() { net.loss = max(net.loss-f.Share, 0) })
		return
	default:
		w.store.away++
		w.after(f.Length, func() { w.store.away-- })
		return
	}
	for _, p := range pairs {
		if p[0] != p[1] {
			net.cut[p[0]][p[1]]++
			w.after(f.Length, func() { net.cut[p[0]][p[1]]-- })
		}
	}
}

// endProgram ends one running program of a service.
func (w *world) endProgram(name spec.ServiceName) {
	for _, n := range w.nodes {
		for _, p := range n.programs {
			if p.name.Service() == name && p.part.Address == nil {
				w.remove(n, p)
				return
			}
		}
	}
}

// operate is what an operator does, if the store answers anybody.
func (w *world) operate(f *script.Fault) {
	if !slices.ContainsFunc(w.nodes, w.reaches) {
		return
	}
	name := script.NodeName(f.Node)
	switch f.Kind {
	case script.Drain:
		w.wishFor(f, func(r *record.NodeWish, on bool) { r.Drain = on })
	case script.MaintainNode:
		w.wishFor(f, func(r *record.NodeWish, on bool) { r.Maintenance = on })
	case script.MaintainCell:
		w.putCellWish(record.CellWish{Maintenance: true})
		w.after(f.Length, func() { w.putCellWish(record.CellWish{}) })
	case script.MaintainService, script.StopService:
		w.revise(f.Service, func(r *record.Service) bool {
			r.Spec.Maintenance = r.Spec.Maintenance || f.Kind == script.MaintainService
			r.Spec.Stopped = r.Spec.Stopped || f.Kind == script.StopService
			r.Generation++
			return true
		})
		w.after(f.Length, func() { w.relieve(f.Service) })
	case script.ApplyNew:
		w.revise(f.Service, func(r *record.Service) bool {
			parts := slices.Clone(r.Spec.Parts)
			last := len(parts) - 1
			if parts[last].Exec == nil {
				return false
			}
			exec := *parts[last].Exec
			exec.Command = []string{exec.Command[0], fmt.Sprint(r.Generation + 1)}
			parts[last].Exec = &exec
			r.Spec.Parts = parts
			r.Generation++
			return true
		})
	case script.ApplyAnew:
		w.revise(f.Service, func(r *record.Service) bool {
			r.Deleting = true
			return true
		})
		w.after(f.Length, func() { w.applyAgain(f.Service) })
	case script.Move:
		w.revise(f.Service, func(r *record.Service) bool {
			r.Move = &record.Move{To: name, At: epochDay.Add(w.now)}
			return r.Spec.Copies == nil
		})
	default:
	}
}

// wishFor changes what is asked of a node, for a while.
func (w *world) wishFor(f *script.Fault, set func(*record.NodeWish, bool)) {
	name := script.NodeName(f.Node)
	change := func(on bool) {
		wish := w.store.wishes[name]
		set(&wish, on)
		w.putWish(name, wish)
	}
	change(true)
	w.after(f.Length, func() { change(false) })
}

// revise changes a service's record.
func (w *world) revise(name spec.ServiceName, change func(*record.Service) bool) {
	was := w.store.services[name]
	if was == nil || was.Deleting {
		return
	}
	r := *was
	if change(&r) {
		w.putService(&r)
	}
}

// relieve ends the maintenance of a service, and lets it run.
func (w *world) relieve(name spec.ServiceName) {
	w.revise(name, func(r *record.Service) bool {
		changed := r.Spec.Maintenance || r.Spec.Stopped
		r.Spec.Maintenance, r.Spec.Stopped = false, false
		r.Generation++
		return changed
	})
}

// applyAgain applies a service that was deleted, as soon as it is forgotten. Nodes
// that were cut off meanwhile do not know of either.
func (w *world) applyAgain(name spec.ServiceName) {
	switch r := w.store.services[name]; {
	case r != nil && !r.Deleting:
		return
	case r != nil || !slices.ContainsFunc(w.nodes, w.reaches):
		w.after(200*time.Millisecond, func() { w.applyAgain(name) })
		return
	}
	for i := range w.plan.Services {
		if s := &w.plan.Services[i].Spec; s.Name == name {
			w.apply(*s)
		}
	}
}

// mend ends all that is left of faults; the operator forgives everyone.
func (w *world) mend() {
	w.trace("all faults are over")
	w.net, w.ills, w.store.away = network{}, nil, 0
	for _, n := range w.nodes {
		w.store.wishes[n.name] = record.NodeWish{Trust: epochDay.Add(w.now)}
		w.putWish(n.name, w.store.wishes[n.name])
	}
	w.putCellWish(record.CellWish{})
	for i := range w.plan.Services {
		name := w.plan.Services[i].Spec.Name
		w.relieve(name)
		w.applyAgain(name)
		w.revise(name, func(r *record.Service) bool {
			r.Cleared = map[spec.NodeName]time.Time{}
			for _, n := range w.nodes {
				r.Cleared[n.name] = epochDay.Add(w.now)
			}
			return true
		})
	}
	w.watch.mended = w.now
}
