package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

const (
	maxBatch = store.MaxValue / 2 // bytes of one transaction
)

// change is what a plan changes for one service, written all or not at all.
type change struct {
	service spec.ServiceName
	guards  []store.Guard
	ops     []store.Op
	events  []event.Event
	decided bool // it is a decision of its own, and not new words for one
}

// decided names the services of which changes decide something.
func decided(batch []change) []spec.ServiceName {
	var out []spec.ServiceName
	for _, c := range batch {
		if c.decided {
			out = append(out, c.service)
		}
	}
	return out
}

func (c change) size() int { return len(c.guards) + len(c.ops) }

func (c change) bytes() int {
	n := 0
	for _, op := range c.ops {
		n += len(op.Value)
	}
	return n
}

// changes returns what differs between a plan and what is written, by service.
// It is a pure function.
func (m *mirror) changes(plan action.Plan, now time.Time) []change {
	var out []change
	known := m.cellKnown()
	for _, p := range plan.Placements {
		if slices.Contains(plan.Forget, p.Service) {
			out = append(out, m.forget(p.Service, plan.ID))
			continue
		}
		c := m.place(&known, p, plan.ID, now)
		if plan.History != nil {
			m.rememberService(&c, plan)
		}
		if len(c.ops) > 0 {
			out = append(out, c)
		}
	}
	for _, c := range []change{m.remember(plan), m.hold("", plan.ID, now)} {
		if len(c.ops) > 0 {
			out = append(out, c)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.placements)) {
		if _, known := m.services[name]; !known && !m.unread[name] {
			out = append(out, m.tidy(name))
		}
	}
	return out
}

// place returns the change for a service that goes on existing.
func (m *mirror) place(known *survey.Cell, p action.Placement, plan string, now time.Time) change {
	svc := m.services[p.Service]
	old, placed := m.placements[p.Service]
	c := change{
		service: p.Service,
		guards: []store.Guard{
			{Key: record.KeyServices + string(p.Service), Revision: svc.revision},
			{Key: record.KeyPlacements + string(p.Service), Revision: old.revision},
		},
	}
	fresh := known.Draft(p, now)
	fresh.PlanID = plan
	m.measure(&fresh, old.value, p, svc.value.Spec)
	news := known.News(&fresh)
	nowhere := len(p.Order)+len(p.Copies) == 0
	c.decided = news.Decided
	if !c.decided {
		fresh.PlanID = old.value.PlanID // that of the decision, which is recorded
	}
	if news.Write {
		c.ops = append(c.ops, put(record.KeyPlacements+string(p.Service), fresh))
	}
	if svc.value.Move != nil && (p.MoveDone || survey.Void(svc.value.Move)) {
		done := svc.value
		done.Move = nil
		c.ops = append(c.ops, put(record.KeyServices+string(p.Service), done))
	}
	idle := svc.value.Deleting || svc.value.Spec.Stopped
	switch {
	case idle:
	case p.Waits != "": // that is told when it begins
	case nowhere && (news.Elsewhere || !placed):
		c.events = append(c.events, event.Event{
			Kind: event.ServiceHomeless, Service: p.Service, Plan: plan, Text: "no node may run " + string(p.Service) + ": " + sentences(p.Refusals),
		})
	case len(p.Order) > 0 && (len(old.value.Order) == 0 || old.value.Order[0] != p.Order[0]):
		c.events = append(c.events, event.Event{
			Kind: event.ServicePlaced, Service: p.Service, About: p.Order[0], Plan: plan, Text: firstOf(p.Why),
		})
	case !slices.Equal(old.value.Copies, fresh.Copies):
		c.events = append(c.events, event.Event{
			Kind: event.ServicePlaced, Service: p.Service, Plan: plan, Text: firstOf(p.Why) + seats(fresh.Copies),
		})
	}
	return c
}

// seats names the nodes of copies.
func seats(copies []record.Copy) string {
	if len(copies) == 0 {
		return ""
	}
	var list []string
	for _, c := range copies {
		list = append(list, string(c.Node))
	}
	return ": " + strings.Join(list, ", ")
}

// forget returns the change that removes all that the cell knows of a service.
func (m *mirror) forget(name spec.ServiceName, plan string) change {
	svc := m.services[name]
	c := change{service: name, decided: true}
	c.remove(record.KeyServices+string(name), svc.revision)
	if old, placed := m.placements[name]; placed {
		c.remove(record.KeyPlacements+string(name), old.revision)
	}
	for _, address := range slices.Sorted(maps.Keys(m.owners)) {
		if owner := m.owners[address]; owner.value == name {
			c.remove(record.KeyAddressUses+address, owner.revision)
		}
	}
	for _, number := range svc.value.LeaseNumbers() {
		id := record.KeyServiceIDs + strconv.FormatUint(uint64(number), 10)
		c.ops = append(c.ops, store.Op{Key: id, Delete: true})
	}
	c.events = append(c.events, event.Event{
		Kind: event.ServiceDeleted, Service: name, Plan: plan, Text: fmt.Sprintf("%s is gone: nothing of it runs any more", name),
	})
	return c
}

// tidy returns the change that removes the placement of a service that the cell
// does not know.
func (m *mirror) tidy(name spec.ServiceName) change {
	c := change{service: name, guards: []store.Guard{{Key: record.KeyServices + string(name)}}}
	c.remove(record.KeyPlacements+string(name), m.placements[name].revision)
	return c
}

// remove adds the deletion of a key at a known revision.
func (c *change) remove(key string, revision int64) {
	c.guards = append(c.guards, store.Guard{Key: key, Revision: revision})
	c.ops = append(c.ops, store.Op{Key: key, Delete: true})
}

// batches groups changes into transactions that the store takes, each with room
// for one guard more.
//
// If the store goes away between two of them, half of a plan is in force. That is no
// other than nodes that hear of a plan one after the other: each placement is whole,
// and none says more than whom to start and stop. That a service runs once is held by
// its lease (promise-kept, count-from-send), who is on a node at once by that node's own
// rules (package mandate, House), and what is after what by what runs (package
// supervise, Town). What cannot start by its half waits for the rest, which is written
// when the store is back: by this controller, whose mirror lacks it, or the next.
func batches(changes []change) [][]change {
	var out [][]change
	var now []change
	size, bytes := 1, 0
	for _, c := range changes {
		if len(now) > 0 && (size+c.size() > store.MaxOps || bytes+c.bytes() > maxBatch) {
			out, now, size, bytes = append(out, now), nil, 1, 0
		}
		now = append(now, c)
		size, bytes = size+c.size(), bytes+c.bytes()
	}
	if len(now) > 0 {
		out = append(out, now)
	}
	return out
}

// put writes a record, which always has a JSON form.
func put(key string, v any) store.Op {
	value, err := json.Marshal(v)
	if err != nil {
		panic("a record has no JSON form: " + err.Error())
	}
	return store.Op{Key: key, Value: value}
}

func sentences(refusals []action.Refusal) string {
	if len(refusals) == 0 {
		return "the cell has no node"
	}
	list := make([]string, 0, len(refusals))
	for _, r := range refusals {
		list = append(list, r.Why)
	}
	return strings.Join(list, "; ")
}

func firstOf(why []string) string {
	if len(why) == 0 {
		return ""
	}
	return why[0]
}
