package agent

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// view is what the cell wants, as far as this node knows it.
type view struct {
	Cell record.Cell `json:"cell"` // without the CA's key
	mandate.View

	listed map[string]bool // topics that the store was asked for in this life
	// unreadable are services whose record cannot be used. They are not gone:
	// what was known of them stays in force.
	unreadable map[spec.ServiceName]bool
	others     mandate.Others
}

func newView(self spec.NodeName) *view {
	return &view{
		View:       mandate.NewView(self),
		listed:     make(map[string]bool),
		unreadable: make(map[spec.ServiceName]bool),
		others:     mandate.NewOthers(),
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
		for _, n := range v.others.Names() {
			gone = append(gone, record.KeyReports+string(n))
		}
	case record.KeyWishes + string(v.Self), record.KeyCellWish:
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
		v.others.Forget(spec.NodeName(name))
	case record.KeyWishes + string(v.Self):
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
	case record.KeyWishes + string(v.Self):
		return into(&v.Wish, e)
	case record.KeyCellWish:
		return into(&v.CellWish, e)
	case record.KeyReports:
		r, err := parse[record.Report](e)
		if err == nil {
			v.others.Take(spec.NodeName(name), r, whole)
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
			v.Placements[spec.ServiceName(name)] = mandate.Placement{Placement: p, Revision: e.Revision}
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
	_, member := v.Nodes[v.Self]
	return member && v.Cell.ID != "" && v.Lease.Version > 0
}

// clone returns a copy that later changes leave alone.
func (v *view) clone() *view {
	c := *v
	c.View = v.Clone()
	c.listed, c.unreadable, c.others = nil, nil, mandate.Others{}
	return &c
}

// wish is what the cell wants of one service here. It is comparable.
type wish struct {
	supervise.Wish
	cell string // the cell's name
	// rights are [mandate.Wish.Rights].
	rights [spec.MaxPrimaries]supervise.Right
}

// wish returns what the cell wants of one instance here; alive are the slots of
// the nodes that are certainly alive.
func (v *view) wish(name instance.Name, alive uint32) wish {
	service := name.Service()
	wanted := v.Wanted(name, alive)
	w := wish{Wish: wanted.Wish, rights: wanted.Rights, cell: v.Cell.Name}
	w.Gone = w.Service == nil && v.listed[record.KeyServices] && !v.unreadable[service]
	return w
}
