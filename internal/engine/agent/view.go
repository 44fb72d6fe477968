package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// view is what the cell wants, as far as this node knows it. The maps' values
// are replaced, never changed.
type view struct {
	Cell       record.Cell                          `json:"cell"` // without the CA's key
	Lease      record.Lease                         `json:"lease"`
	Wish       record.NodeWish                      `json:"wish"`
	Nodes      map[spec.NodeName]record.Node        `json:"nodes"`
	Services   map[spec.ServiceName]*record.Service `json:"services"`
	Placements map[spec.ServiceName]placement       `json:"placements"`
	CellWish   record.CellWish                      `json:"cell_wish"`

	self   spec.NodeName
	listed map[string]bool // topics that the store was asked for in this life
	// unreadable are services whose record cannot be used. They are not gone:
	// what was known of them stays in force.
	unreadable map[spec.ServiceName]bool
	others     others
}

// placement is a placement with the store's revision of it.
type placement struct {
	record.Placement
	Revision int64 `json:"revision"`
}

func newView(self spec.NodeName) *view {
	return &view{
		self:       self,
		Nodes:      make(map[spec.NodeName]record.Node),
		Services:   make(map[spec.ServiceName]*record.Service),
		Placements: make(map[spec.ServiceName]placement),
		listed:     make(map[string]bool),
		unreadable: make(map[spec.ServiceName]bool),
		others:     newOthers(),
	}
}

// topics are the prefixes that an agent reads. A topic that is a whole key
// stands for that key alone.
func topics(self spec.NodeName) []string {
	return []string{
		record.KeyCell, record.KeyLease, record.KeyWishes + string(self),
		record.KeyNodes, record.KeyServices, record.KeyPlacements, record.KeyCellWish, record.KeyReports,
	}
}

// ofTopic reports whether key belongs to topic and not only begins like it.
func ofTopic(topic, key string) bool {
	return key == topic || strings.HasSuffix(topic, "/") && strings.HasPrefix(key, topic)
}

// change is news of one topic.
type change struct {
	topic  string
	whole  bool // events are all that there is
	events []store.Event
}

// apply takes news. What cannot be read is left as it was and returned as an
// error.
func (v *view) apply(c change) []error {
	if c.whole {
		v.listed[c.topic] = true
		v.drop(c)
	}
	var failed []error
	for _, e := range c.events {
		if !ofTopic(c.topic, e.Key) {
			continue
		}
		var err error
		if e.Deleted {
			v.remove(c.topic, e.Key)
		} else {
			err = v.put(c.topic, e.Entry, c.whole)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("record %s: %w", e.Key, err))
		}
	}
	return failed
}

// drop forgets what a whole list no longer has.
func (v *view) drop(c change) {
	there := make(map[string]bool, len(c.events))
	for _, e := range c.events {
		there[e.Key] = true
	}
	var gone []string
	switch c.topic {
	case record.KeyNodes:
		for n := range v.Nodes {
			gone = append(gone, record.KeyNodes+string(n))
		}
	case record.KeyServices:
		for s := range v.Services {
			gone = append(gone, record.KeyServices+string(s))
		}
	case record.KeyPlacements:
		for s := range v.Placements {
			gone = append(gone, record.KeyPlacements+string(s))
		}
	case record.KeyReports:
		for n := range v.others.reports {
			gone = append(gone, record.KeyReports+string(n))
		}
	case record.KeyWishes + string(v.self), record.KeyCellWish:
		gone = append(gone, c.topic)
	}
	for _, key := range gone {
		if !there[key] {
			v.remove(c.topic, key)
		}
	}
}

// remove takes a deletion. The cell and the lease configuration are never
// deleted; if they are, the last ones stay.
func (v *view) remove(topic, key string) {
	name := strings.TrimPrefix(key, topic)
	switch topic {
	case record.KeyNodes:
		delete(v.Nodes, spec.NodeName(name))
	case record.KeyServices:
		delete(v.Services, spec.ServiceName(name))
		delete(v.unreadable, spec.ServiceName(name))
	case record.KeyPlacements:
		delete(v.Placements, spec.ServiceName(name))
	case record.KeyReports:
		delete(v.others.reports, spec.NodeName(name))
	case record.KeyWishes + string(v.self):
		v.Wish = record.NodeWish{}
	case record.KeyCellWish:
		v.CellWish = record.CellWish{}
	}
}

func (v *view) put(topic string, e store.Entry, whole bool) error {
	name := strings.TrimPrefix(e.Key, topic)
	switch topic {
	case record.KeyCell:
		cell, err := parse[record.Cell](e)
		if err == nil {
			cell.CAKey = nil // not this organ's, and not for a file
			v.Cell = cell
		}
		return err
	case record.KeyLease:
		return into(&v.Lease, e)
	case record.KeyWishes + string(v.self):
		return into(&v.Wish, e)
	case record.KeyCellWish:
		return into(&v.CellWish, e)
	case record.KeyReports:
		r, err := parse[record.Report](e)
		if err == nil {
			v.others.take(spec.NodeName(name), r, whole)
		}
		return err
	case record.KeyNodes:
		n, err := parse[record.Node](e)
		if err == nil {
			v.Nodes[spec.NodeName(name)] = n
		}
		return err
	case record.KeyServices:
		s, err := readService(e, spec.ServiceName(name))
		v.unreadable[spec.ServiceName(name)] = err != nil
		if err == nil {
			v.Services[s.Spec.Name] = &s
		}
		return err
	case record.KeyPlacements:
		p, err := parse[record.Placement](e)
		if err == nil {
			v.Placements[spec.ServiceName(name)] = placement{p, e.Revision}
		}
		return err
	}
	return nil
}

func readService(e store.Entry, name spec.ServiceName) (record.Service, error) {
	s, err := parse[record.Service](e)
	if err != nil {
		return s, err
	}
	if s.Spec.Name != name {
		return s, fmt.Errorf("%w: it is of service %q", errRecord, s.Spec.Name)
	}
	s.Spec = s.Spec.Normalize()
	for _, p := range s.Spec.Validate() {
		if !p.Warning {
			return s, fmt.Errorf("%w: %v", errRecord, p)
		}
	}
	return s, nil
}

func parse[T any](e store.Entry) (T, error) {
	var v T
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return v, fmt.Errorf("%w: %w", errRecord, err)
	}
	return v, nil
}

func into[T any](to *T, e store.Entry) error {
	v, err := parse[T](e)
	if err == nil {
		*to = v
	}
	return err
}

// complete reports whether v is enough to tell a guard its duty.
func (v *view) complete() bool {
	_, member := v.Nodes[v.self]
	return member && v.Cell.ID != "" && v.Lease.Version > 0
}

// clone returns a copy that later changes leave alone.
func (v *view) clone() *view {
	c := *v
	c.Nodes, c.Services = maps.Clone(v.Nodes), maps.Clone(v.Services)
	c.Placements, c.listed, c.unreadable, c.others = maps.Clone(v.Placements), nil, nil, others{}
	return &c
}

// wish is what the cell wants of one service here. It is comparable.
type wish struct {
	supervise.Wish
	cell string // the cell's name
	// rights are [supervise.Wish.Right] by lease, where several may be primary.
	rights [spec.MaxPrimaries]supervise.Right
}

// wish returns what the cell wants of one instance here; alive are the slots of
// the nodes that are certainly alive.
func (v *view) wish(name instance.Name, alive uint32) wish {
	service := name.Service()
	w := wish{Wish: supervise.Wish{Service: v.Services[service], Rank: -1, Leaving: v.Wish.Leaving}, cell: v.Cell.Name}
	if w.Service != nil {
		if at := w.Service.Cleared[v.self]; !at.IsZero() {
			w.Cleared = at.UnixNano()
		}
	}
	w.Gone = w.Service == nil && v.listed[record.KeyServices] && !v.unreadable[service]
	w.Maintenance = v.Wish.Maintenance || v.CellWish.Maintenance || w.Service != nil && w.Service.Spec.Maintenance
	p, placed := v.Placements[service]
	copies := w.Service != nil && w.Service.Spec.Copies != nil
	w.Copy, w.Right.Rank = copies || name.Number() > 0, -1
	for i := range w.rights {
		w.rights[i].Rank = -1
	}
	// A placement that was made before the service had copies, or while it had,
	// says nothing of it.
	if !placed || copies != (len(p.Copies) > 0) && w.Service != nil && p.Generation < w.Service.Generation {
		return w
	}
	right := v.right(p, 0, alive)
	w.Placed = p.Revision
	if !w.Copy {
		w.Rank, w.Known, w.Empty, w.FirstAlive = right.Rank, right.Known, right.Empty, right.FirstAlive
		return w
	}
	w.Empty = !slices.ContainsFunc(p.Copies, func(c record.Copy) bool { return c.Node == v.self && c.Number == name.Number() })
	if !w.Empty && copies {
		w.Rank = 0
	}
	if copies && w.Service.Spec.HasRoles() {
		w.Right = right
		for i := range w.rights {
			w.rights[i] = v.right(p, i, alive)
		}
	}
	return w
}

// right reads the succession list of a lease.
func (v *view) right(p placement, lease int, alive uint32) supervise.Right {
	order := p.OrderOf(lease)
	r := supervise.Right{Rank: slices.Index(order, v.self), Known: p.EpochOf(lease), Empty: len(order) == 0}
	if !r.Empty && r.Rank != 0 {
		first, known := v.Nodes[order[0]]
		r.FirstAlive = known && first.Slot < 32 && alive&(1<<first.Slot) != 0
	}
	return r
}

// instances are those that this node is to know of: what it is to run, and what
// it may run by a name that is known in advance.
func (v *view) instances() map[instance.Name]bool {
	out := make(map[instance.Name]bool, len(v.Services))
	for name, s := range v.Services {
		if s.Spec.Copies == nil || !s.Spec.Copies.Unique {
			out[instance.Name(name)] = true
			continue
		}
		for _, c := range v.Placements[name].Copies {
			if c.Node == v.self {
				out[instance.NameOf(name, c.Number)] = true
			}
		}
	}
	return out
}

// order returns a succession list as slots, without nodes that are no members.
func (v *view) order(name spec.ServiceName, lease int) []uint8 {
	var slots []uint8
	for _, n := range v.Placements[name].OrderOf(lease) {
		if node, ok := v.Nodes[n]; ok {
			slots = append(slots, node.Slot)
		}
	}
	return slots
}
