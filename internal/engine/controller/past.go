package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// past is what the store holds of what went wrong before, so that a new
// controller knows it too.
type past struct {
	nodePast    map[spec.NodeName]kept[fact.NodeHistory]
	servicePast map[spec.ServiceName]kept[fact.ServiceHistory]
	storm       kept[fact.Storm] // of revision 0: there is none
	recovery    kept[spec.Recovery]
	held        kept[record.Held] // of revision 0: plans are not held back
}

func newPast() past {
	return past{
		nodePast:    make(map[spec.NodeName]kept[fact.NodeHistory]),
		servicePast: make(map[spec.ServiceName]kept[fact.ServiceHistory]),
	}
}

// applyOne takes over a change of one of the single records. What is not
// understood counts as not there.
func (p *past) applyOne(e store.Event) error {
	switch e.Key {
	case record.KeyStorm:
		return single(&p.storm, e)
	case record.KeyHeld:
		return single(&p.held, e)
	}
	err := single(&p.recovery, e)
	if len(p.recovery.value.Validate()) > 0 {
		p.recovery.value = spec.Recovery{}
	}
	return err
}

func single[T any](to *kept[T], e store.Event) error {
	if e.Deleted {
		*to = kept[T]{}
		return nil
	}
	fresh := kept[T]{revision: e.Revision}
	err := json.Unmarshal(e.Value, &fresh.value)
	if err != nil {
		fresh = kept[T]{revision: e.Revision}
		err = fmt.Errorf("read record %s: %w", e.Key, err)
	}
	*to = fresh
	return err
}

// applyMany takes over a change of one history. What is not understood is taken
// as empty, and written anew when there is something to remember.
func (p *past) applyMany(prefix, name string, e store.Event) error {
	if prefix == record.KeyNodeHistories {
		err := take(p.nodePast, spec.NodeName(name), e)
		if err != nil {
			p.nodePast[spec.NodeName(name)] = kept[fact.NodeHistory]{fact.NodeHistory{Node: spec.NodeName(name)}, e.Revision}
		}
		return err
	}
	err := take(p.servicePast, spec.ServiceName(name), e)
	if err != nil {
		p.servicePast[spec.ServiceName(name)] = kept[fact.ServiceHistory]{fact.ServiceHistory{Service: spec.ServiceName(name)}, e.Revision}
	}
	return err
}

// history puts together what is remembered.
func (p *past) history() fact.History {
	var out fact.History
	for _, name := range slices.Sorted(maps.Keys(p.nodePast)) {
		out.Nodes = append(out.Nodes, p.nodePast[name].value)
	}
	for _, name := range slices.Sorted(maps.Keys(p.servicePast)) {
		out.Services = append(out.Services, p.servicePast[name].value)
	}
	if p.storm.revision != 0 {
		storm := p.storm.value
		out.Storm = &storm
	}
	return out
}

// rememberService adds to a change what is to be remembered of its service, so
// that a move is never made without being counted.
func (m *mirror) rememberService(c *change, plan action.Plan) {
	h := plan.History.Service(c.service)
	c.events = append(c.events, told(plan.Notes, c.service)...)
	old, known := m.servicePast[h.Service]
	empty := len(h.Tried)+len(h.Moves) == 0 && h.Waits == ""
	key := record.KeyServiceHistories + string(h.Service)
	switch {
	case known && empty:
		c.remove(key, old.revision)
	case !empty && (!known || !reflect.DeepEqual(old.value, plain(h))):
		c.guards = append(c.guards, store.Guard{Key: key, Revision: old.revision})
		c.ops = append(c.ops, put(key, h))
	}
}

// remember returns the change of what is remembered of nodes and of the cell.
func (m *mirror) remember(plan action.Plan) change {
	if plan.History == nil {
		return change{}
	}
	c := change{events: told(plan.Notes, "")}
	for _, h := range plan.History.Nodes {
		if old := m.nodePast[h.Node]; !reflect.DeepEqual(old.value, plain(h)) {
			key := record.KeyNodeHistories + string(h.Node)
			c.guards = append(c.guards, store.Guard{Key: key, Revision: old.revision})
			c.ops = append(c.ops, put(key, h))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.nodePast)) {
		if !slices.ContainsFunc(plan.History.Nodes, func(h fact.NodeHistory) bool { return h.Node == name }) {
			c.remove(record.KeyNodeHistories+string(name), m.nodePast[name].revision)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.servicePast)) {
		if _, known := m.services[name]; !known && !m.unread[name] {
			c.remove(record.KeyServiceHistories+string(name), m.servicePast[name].revision)
		}
		if len(c.ops) >= maxRemembered {
			break // the rest comes with the next plan
		}
	}
	switch storm := plan.History.Storm; {
	case storm == nil && m.storm.revision != 0:
		c.remove(record.KeyStorm, m.storm.revision)
	case storm != nil && (m.storm.revision == 0 || !reflect.DeepEqual(m.storm.value, plain(*storm))):
		c.guards = append(c.guards, store.Guard{Key: record.KeyStorm, Revision: m.storm.revision})
		c.ops = append(c.ops, put(record.KeyStorm, storm))
	}
	return c
}

// hold returns what there is to write of whether plans are held back, why not empty,
// or are not.
func (m *mirror) hold(why, plan string, now time.Time) change {
	var c change
	switch old := m.past.held; why {
	case old.value.Why:
	case "":
		c.remove(record.KeyHeld, old.revision)
		c.events = []event.Event{{Kind: event.PlanResumed, Plan: plan, Text: "plans are made and carried out again"}}
	default:
		c.guards = append(c.guards, store.Guard{Key: record.KeyHeld, Revision: old.revision})
		c.ops = append(c.ops, put(record.KeyHeld, record.Held{Since: now.UTC().Round(0), Why: why}))
		c.events = []event.Event{{Kind: event.PlanHeld, Plan: plan, Text: "nothing is planned: " + why}}
	}
	return c
}

// maxRemembered bounds the records of one change: two for each node of a cell.
const maxRemembered = 64

// plain returns a record as it is read back from the store.
func plain[T any](v T) T {
	var out T
	if text, err := json.Marshal(v); err != nil || json.Unmarshal(text, &out) != nil {
		return v
	}
	return out
}

// told returns the notes about one service, or those about none, as events. They
// are told if what is to be remembered is written.
func told(notes []action.Note, service spec.ServiceName) []event.Event {
	var out []event.Event
	for _, n := range notes {
		if n.Service == service {
			out = append(out, event.Event{Kind: n.Kind, Service: n.Service, About: n.Node, Text: n.Text})
		}
	}
	return out
}
