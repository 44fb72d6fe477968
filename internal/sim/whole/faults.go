package whole

import (
	"fmt"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// kind is what a fault, or an operator, does.
type kind int

const (
	crash kind = iota
	killGuard
	stopGuard
	killAgent
	stopAgent
	isolate
	cutLink
	cutOneWay
	lose
	storeAway
	programEnds
	startFails
	startHangs
	stopHangs
	stopFails
	roleFails
	drain
	maintainNode
	maintainCell
	maintainService
	applyNew
	applyAnew
	move
	stopService

	kinds
)

// well is no illness.
const well = kinds

// Kinds returns what the kinds are called, in the order of [Result.Faults].
func Kinds() []string {
	return []string{
		"crash", "guard killed", "guard stopped", "agent killed", "agent stopped", "node isolated", "link cut", "link cut one way",
		"packets lost", "store away", "program ends", "start fails", "start hangs", "stop hangs", "stop fails", "role fails",
		"node drained", "node maintained", "cell maintained", "service maintained", "new version applied", "deleted and applied",
		"service moved", "service stopped",
	}
}

// fault is one fault of a plan.
type fault struct {
	kind    kind
	at      time.Duration
	length  time.Duration
	node    uint8
	other   uint8
	service spec.ServiceName
	share   float64
}

func (f *fault) String() string {
	text := fmt.Sprintf("%9.4fs  %s, node %s", f.at.Seconds(), Kinds()[f.kind], nodeName(f.node))
	switch f.kind {
	case cutLink, cutOneWay:
		text += " and " + string(nodeName(f.other))
	case lose:
		text += fmt.Sprintf(", %.0f %%", 100*f.share)
	default:
		text += ", service " + string(f.service)
	}
	return text + fmt.Sprintf(", for %.3f s", f.length.Seconds())
}

// mischief draws a fault.
func (p *plan) mischief(d dice) fault {
	f := fault{kind: kind(d.IntN(int(kinds))), at: d.between(warm, p.length-5*time.Second), node: uint8(d.IntN(p.nodes))}
	f.other = uint8((int(f.node) + 1 + d.IntN(max(p.nodes-1, 1))) % p.nodes)
	f.service = p.services[d.IntN(len(p.services))].spec.Name
	f.share = 0.05 + 0.3*d.Float64()
	longest := 12 * time.Second
	if d.chance(0.5) {
		longest = 2 * time.Second
	}
	f.length = min(d.between(50*time.Millisecond, longest), p.length-f.at-time.Millisecond)
	return f
}

// illness is what a service suffers from on a node.
type illness struct {
	kind    kind
	service spec.ServiceName
	node    uint8
}

// ill is what a service suffers from on a node now.
func (w *world) ill(n *node, name spec.ServiceName) kind {
	for _, i := range w.ills {
		if i.node == n.slot && i.service == name {
			return i.kind
		}
	}
	return well
}

// strike lets a fault happen.
func (w *world) strike(f *fault) {
	w.result.Faults[f.kind]++
	w.fired = append(w.fired, f.String())
	w.trace("%s", f.String())
	n := w.nodes[f.node]
	switch f.kind {
	case crash, killGuard, stopGuard, killAgent, stopAgent:
		w.hit(n, f)
	case isolate, cutLink, cutOneWay, lose, storeAway:
		w.sever(f)
	case programEnds:
		w.endProgram(f.service)
	case startFails, startHangs, stopHangs, stopFails, roleFails:
		i := illness{f.kind, f.service, f.node}
		w.ills = append(w.ills, i)
		w.after(f.length, func() {
			if at := slices.Index(w.ills, i); at >= 0 {
				w.ills = slices.Delete(w.ills, at, at+1)
			}
		})
	default:
		w.operate(f)
	}
}

// hit is a fault of one host.
func (w *world) hit(n *node, f *fault) {
	if !n.up {
		return
	}
	switch f.kind {
	case crash:
		w.crash(n, f.length)
	case killGuard:
		if n.guard.up {
			w.killGuard(n)
		}
	case stopGuard:
		w.halt(&n.guard.process, f.length, func() { n.guard.joined = max(n.guard.joined, w.now) })
	case killAgent:
		if n.agent.up {
			w.killAgent(n)
			w.after(f.length, n.agent.only(func() {
				if n.up && !n.agent.up {
					w.startAgent(n)
				}
			}))
		}
	default:
		w.halt(&n.agent.process, f.length, func() {})
	}
}

// halt stops a process for a while.
func (w *world) halt(p *process, d time.Duration, then func()) {
	if !p.up {
		return
	}
	p.stopped++
	life := p.life
	w.after(d, func() {
		if p.life == life {
			p.resume()
			then()
		}
	})
}

// sever is a fault of the network, or of the store.
func (w *world) sever(f *fault) {
	net := &w.net
	var pairs [][2]uint8
	switch f.kind {
	case isolate:
		for _, o := range w.nodes {
			if o.slot != f.node {
				pairs = append(pairs, [2]uint8{f.node, o.slot}, [2]uint8{o.slot, f.node})
			}
		}
	case cutLink:
		pairs = [][2]uint8{{f.node, f.other}, {f.other, f.node}}
	case cutOneWay:
		pairs = [][2]uint8{{f.node, f.other}}
	case lose:
		net.loss += f.share
		w.after(f.length, func() { net.loss = max(net.loss-f.share, 0) })
		return
	default:
		w.store.away++
		w.after(f.length, func() { w.store.away-- })
		return
	}
	for _, p := range pairs {
		if p[0] != p[1] {
			net.cut[p[0]][p[1]]++
			w.after(f.length, func() { net.cut[p[0]][p[1]]-- })
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
func (w *world) operate(f *fault) {
	if !slices.ContainsFunc(w.nodes, w.reaches) {
		return
	}
	name := nodeName(f.node)
	switch f.kind {
	case drain:
		w.wishFor(f, func(r *record.NodeWish, on bool) { r.Drain = on })
	case maintainNode:
		w.wishFor(f, func(r *record.NodeWish, on bool) { r.Maintenance = on })
	case maintainCell:
		w.putCellWish(record.CellWish{Maintenance: true})
		w.after(f.length, func() { w.putCellWish(record.CellWish{}) })
	case maintainService, stopService:
		w.revise(f.service, func(r *record.Service) bool {
			r.Spec.Maintenance = r.Spec.Maintenance || f.kind == maintainService
			r.Spec.Stopped = r.Spec.Stopped || f.kind == stopService
			r.Generation++
			return true
		})
		w.after(f.length, func() { w.relieve(f.service) })
	case applyNew:
		w.revise(f.service, func(r *record.Service) bool {
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
	case applyAnew:
		w.revise(f.service, func(r *record.Service) bool {
			r.Deleting = true
			return true
		})
		w.after(f.length, func() { w.applyAgain(f.service) })
	case move:
		w.revise(f.service, func(r *record.Service) bool {
			r.Move = &record.Move{To: name, At: epochDay.Add(w.now)}
			return r.Spec.Copies == nil
		})
	default:
	}
}

// wishFor changes what is asked of a node, for a while.
func (w *world) wishFor(f *fault, set func(*record.NodeWish, bool)) {
	name := nodeName(f.node)
	change := func(on bool) {
		wish := w.store.wishes[name]
		set(&wish, on)
		w.putWish(name, wish)
	}
	change(true)
	w.after(f.length, func() { change(false) })
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

// applyAgain applies a service that was deleted, as soon as it is forgotten and
// every node has heard so: one that has not could claim the lease that the service
// had, which is another than the one that it gets.
func (w *world) applyAgain(name spec.ServiceName) {
	r := w.store.services[name]
	if r != nil && !r.Deleting {
		return
	}
	if r != nil || slices.ContainsFunc(w.nodes, func(n *node) bool {
		return !n.up || n.agent.view.Services[name] != nil || n.disk != nil && n.disk.Services[name] != nil
	}) {
		w.after(200*time.Millisecond, func() { w.applyAgain(name) })
		return
	}
	for i := range w.plan.services {
		if s := &w.plan.services[i].spec; s.Name == name {
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
	for i := range w.plan.services {
		name := w.plan.services[i].spec.Name
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

// majority reports whether a set of nodes is enough for leases.
func (w *world) majority(s quorum.Set) bool {
	return quorum.Config{Version: 1, Voters: w.plan.voters}.Reached(s)
}
