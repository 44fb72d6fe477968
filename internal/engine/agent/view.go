package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/core/supervise"
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

	self   spec.NodeName
	listed map[string]bool // topics that the store was asked for in this life
	// unreadable are services whose record cannot be used. They are not gone:
	// what was known of them stays in force.
	unreadable map[spec.ServiceName]bool
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
	}
}

// topics are the prefixes that an agent reads. A topic that is a whole key
// stands for that key alone.
func topics(self spec.NodeName) []string {
	return []string{
		record.KeyCell, record.KeyLease, record.KeyWishes + string(self),
		record.KeyNodes, record.KeyServices, record.KeyPlacements,
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
			err = v.put(c.topic, e.Entry)
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
	case record.KeyWishes + string(v.self):
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
	case record.KeyWishes + string(v.self):
		v.Wish = record.NodeWish{}
	}
}

func (v *view) put(topic string, e store.Entry) error {
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
	c.Placements, c.listed, c.unreadable = maps.Clone(v.Placements), nil, nil
	return &c
}

// wish is what the cell wants of one service here. It is comparable.
type wish struct {
	supervise.Wish
	cell string // the cell's name
}

// wish returns what the cell wants of one service here; alive are the slots of
// the nodes that are certainly alive.
func (v *view) wish(name spec.ServiceName, alive uint32) wish {
	w := wish{Wish: supervise.Wish{Service: v.Services[name], Rank: -1, Leaving: v.Wish.Leaving}, cell: v.Cell.Name}
	if w.Service != nil {
		if at := w.Service.Cleared[v.self]; !at.IsZero() {
			w.Cleared = at.UnixNano()
		}
	}
	w.Gone = w.Service == nil && v.listed[record.KeyServices] && !v.unreadable[name]
	p, placed := v.Placements[name]
	if !placed {
		return w
	}
	w.Placed, w.Known, w.Empty = p.Revision, p.Epoch, len(p.Order) == 0
	w.Rank = slices.Index(p.Order, v.self)
	if !w.Empty && w.Rank != 0 {
		first, known := v.Nodes[p.Order[0]]
		w.FirstAlive = known && first.Slot < 32 && alive&(1<<first.Slot) != 0
	}
	return w
}

// order returns a succession list as slots, without nodes that are no members.
func (v *view) order(name spec.ServiceName) []uint8 {
	var slots []uint8
	for _, n := range v.Placements[name].Order {
		if node, ok := v.Nodes[n]; ok {
			slots = append(slots, node.Slot)
		}
	}
	return slots
}
