package whole

import (
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// The topics that an agent watches, each by itself.
const (
	cellTopic = iota
	leaseTopic
	nodesTopic
	servicesTopic
	placementsTopic
	wishesTopic
	reportsTopic

	topics
)

// store is what the store of the cell holds.
type store struct {
	away       int // faults that keep it from everyone
	revision   int64
	lease      record.Lease
	nodes      map[spec.NodeName]record.Node
	wishes     map[spec.NodeName]record.NodeWish
	cellWish   record.CellWish
	services   map[spec.ServiceName]*record.Service
	changed    map[spec.ServiceName]int64 // revision of the service
	placements map[spec.ServiceName]mandate.Placement
	reports    map[spec.NodeName]survey.Report
	history    fact.History
	generation uint64 // the highest that any service had
}

// watching is how far an agent has followed each topic.
type watching struct {
	behind  [topics]bool // news was missed; it must be listed anew
	arrives [topics]time.Duration
}

// watchTime is how long news takes to arrive, at most.
const watchTime = 15 * time.Millisecond

func (s *store) begin(w *world) {
	*s = store{
		lease: record.Lease{Version: 1, Voters: uint32(w.plan.Voters), Ceiling: ceilingStep, LongestTTL: spec.Duration(spec.LongestAutoTTL)},
		nodes: map[spec.NodeName]record.Node{}, wishes: map[spec.NodeName]record.NodeWish{},
		services: map[spec.ServiceName]*record.Service{}, changed: map[spec.ServiceName]int64{},
		placements: map[spec.ServiceName]mandate.Placement{}, reports: map[spec.NodeName]survey.Report{},
	}
	for _, n := range w.nodes {
		s.nodes[n.name] = record.Node{Name: n.name, ID: string(n.name), Slot: n.slot, Labels: w.plan.Labels[n.slot]}
	}
	for i := range w.plan.Services {
		w.apply(w.plan.Services[i].Spec)
	}
}

// publish brings news to every agent that watches, in order for each topic.
func (w *world) publish(topic int, take func(*agent)) {
	w.store.revision++
	for _, n := range w.nodes {
		a := &n.agent
		if !a.Up {
			continue
		}
		if !w.reaches(n) {
			a.behind[topic] = true
			continue
		}
		w.arrive(n, topic, take)
	}
}

// arrive hands news of a topic to an agent, after what is on its way already.
func (w *world) arrive(n *node, topic int, take func(*agent)) {
	a := &n.agent
	a.arrives[topic] = max(a.arrives[topic], w.now+w.random(watchTime))
	w.after(a.arrives[topic]-w.now, a.Only(func() {
		take(a)
		w.saveSoon(n)
		w.syncSoon(n)
	}))
}

// saveSoon keeps a copy of the view on disk.
func (w *world) saveSoon(n *node) {
	a := &n.agent
	w.after(w.between(50*time.Millisecond, time.Second), a.Only(func() {
		v := a.view.Clone()
		n.disk = &v
	}))
}

// listSoon has an agent read what it has missed, if it can.
func (w *world) listSoon(n *node) {
	a := &n.agent
	if !w.reaches(n) {
		return
	}
	for t := range topics {
		if a.behind[t] {
			a.behind[t] = false
			w.arrive(n, t, w.list(t))
		}
	}
}

// list reads a topic as it is now.
func (w *world) list(topic int) func(*agent) {
	s := &w.store
	lease, cellWish := s.lease, s.cellWish
	nodes, wishes, services := maps.Clone(s.nodes), maps.Clone(s.wishes), maps.Clone(s.services)
	placements, reports := maps.Clone(s.placements), maps.Clone(s.reports)
	return func(a *agent) {
		a.listed[topic] = true
		switch topic {
		case leaseTopic:
			a.view.Lease = lease
		case nodesTopic:
			a.view.Nodes = nodes
		case servicesTopic:
			a.view.Services = services
		case placementsTopic:
			a.view.Placements = placements
		case wishesTopic:
			a.view.Wish, a.view.CellWish = wishes[a.view.Self], cellWish
		case reportsTopic:
			for _, name := range slices.Sorted(maps.Keys(reports)) {
				a.others.Take(name, reports[name].Report, true)
			}
		}
	}
}

func (w *world) putLease(l record.Lease) {
	w.store.lease = l
	w.publish(leaseTopic, func(a *agent) { a.view.Lease = l })
	w.officeDue(w.random(10 * time.Millisecond))
}

func (w *world) putWish(name spec.NodeName, wish record.NodeWish) {
	w.store.wishes[name] = wish
	w.publish(wishesTopic, func(a *agent) {
		if a.view.Self == name {
			a.view.Wish = wish
		}
	})
	w.officeDue(w.random(10 * time.Millisecond))
}

func (w *world) putCellWish(wish record.CellWish) {
	w.store.cellWish = wish
	w.publish(wishesTopic, func(a *agent) { a.view.CellWish = wish })
	w.officeDue(w.random(10 * time.Millisecond))
}

// putService writes a service; r is not changed afterwards.
func (w *world) putService(r *record.Service) {
	w.store.services[r.Spec.Name] = r
	w.store.generation = max(w.store.generation, r.Generation)
	w.publish(servicesTopic, func(a *agent) { a.view.Services[r.Spec.Name] = r })
	w.store.changed[r.Spec.Name] = w.store.revision
	w.officeDue(w.random(10 * time.Millisecond))
}

// putPlacements writes what is new of one plan, in one transaction.
func (w *world) putPlacements(news []record.Placement) {
	w.result.Plans += len(news)
	revision := w.store.revision + 1
	for i := range news {
		w.store.placements[news[i].Service] = mandate.Placement{Placement: news[i], Revision: revision}
		w.watch.placed(w, &news[i])
	}
	w.publish(placementsTopic, func(a *agent) {
		for _, p := range news {
			a.view.Placements[p.Service] = mandate.Placement{Placement: p, Revision: revision}
		}
	})
}

// forget removes a service that is gone.
func (w *world) forget(name spec.ServiceName) {
	w.trace("%s is forgotten", name)
	delete(w.store.services, name)
	delete(w.store.changed, name)
	delete(w.store.placements, name)
	w.publish(placementsTopic, func(a *agent) { delete(a.view.Placements, name) })
	w.publish(servicesTopic, func(a *agent) { delete(a.view.Services, name) })
}

// apply is the operator's apply of a spec.
func (w *world) apply(s spec.Service) {
	was := w.store.services[s.Name]
	r := &record.Service{Spec: s, ID: record.LeaseNumber(s.Name, 0), Generation: w.store.generation + 1, Applied: epochDay.Add(w.now)}
	if planted(leasesCounted) {
		r.ID = uint32(r.Generation)
	}
	if was != nil {
		r.Generation, r.Cleared = was.Generation+1, was.Cleared
	}
	w.putService(r)
}

// known is what a controller reads that has been in office since then, and whose
// clock is off by skew.
func (s *store) known(since time.Time, skew time.Duration) survey.Cell {
	c := survey.Cell{
		Revision: s.revision, Wish: s.cellWish, History: s.history,
		Nodes: map[spec.NodeName]survey.Node{}, Services: map[spec.ServiceName]survey.Service{}, Reports: map[spec.NodeName]survey.Report{},
	}
	for name, n := range s.nodes {
		c.Nodes[name] = survey.Node{Record: n, Wish: s.wishes[name]}
	}
	for name, r := range s.reports {
		if r.Seen.Before(since) {
			r.Seen = since // nobody knows how old it is
		}
		r.Seen = r.Seen.Add(skew)
		c.Reports[name] = r
	}
	for name, r := range s.services {
		p, placed := s.placements[name]
		c.Services[name] = survey.Service{Record: *r, Placement: p.Placement, Placed: placed}
	}
	return c
}
