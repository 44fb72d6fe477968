package controller

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

const (
	maxReasons = 64                 // kept with a placement
	maxReason  = 400                // bytes of one reason
	maxBatch   = store.MaxValue / 2 // bytes of one transaction

	// reasonsEvery is how often the reasons of a service that runs nowhere are
	// brought up to date. Those of one that runs are those of its placing.
	reasonsEvery = 5 * time.Second

	// repeatAfter is how old a placement may be that is not followed, until it is
	// written again.
	repeatAfter = 2 * time.Second
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
	for _, p := range plan.Placements {
		if slices.Contains(plan.Forget, p.Service) {
			out = append(out, m.forget(p.Service, plan.ID))
			continue
		}
		c := m.place(p, plan.ID, now)
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
func (m *mirror) place(p action.Placement, plan string, now time.Time) change {
	svc := m.services[p.Service]
	old, placed := m.placements[p.Service]
	c := change{
		service: p.Service,
		guards: []store.Guard{
			{Key: record.KeyServices + string(p.Service), Revision: svc.revision},
			{Key: record.KeyPlacements + string(p.Service), Revision: old.revision},
		},
	}
	fresh := record.Placement{
		Service: p.Service, Generation: svc.value.Generation, Order: p.Order, Orders: p.Orders, Copies: number(old.value.Copies, p.Copies, svc.value.Spec),
		Reasons: reasons(p), PlanID: plan, At: now.UTC(),
	}
	m.measure(&fresh, old.value, p, svc.value.Spec)
	nowhere := len(p.Order)+len(p.Copies) == 0
	elsewhere := !slices.Equal(old.value.Order, p.Order) || !slices.EqualFunc(old.value.Orders, p.Orders, slices.Equal) || !slices.Equal(old.value.Copies, fresh.Copies) || old.value.TTL != fresh.TTL
	stale := nowhere && now.Sub(old.value.At).Abs() >= reasonsEvery && !slices.Equal(old.value.Reasons, fresh.Reasons)
	c.decided = !placed || elsewhere || m.overtaken(p, now.Sub(old.value.At).Abs()) || old.value.Generation != svc.value.Generation
	if !c.decided {
		fresh.PlanID = old.value.PlanID // that of the decision, which is recorded
	}
	if c.decided || stale {
		fresh.Epoch = m.epochOf(p.Service, 0)
		for lease := range p.Orders {
			fresh.Epochs = append(fresh.Epochs, m.epochOf(p.Service, lease+1))
		}
		c.ops = append(c.ops, put(record.KeyPlacements+string(p.Service), fresh))
	}
	if svc.value.Move != nil && (p.MoveDone || void(svc.value.Move)) {
		done := svc.value
		done.Move = nil
		c.ops = append(c.ops, put(record.KeyServices+string(p.Service), done))
	}
	idle := svc.value.Deleting || svc.value.Spec.Stopped
	switch {
	case idle:
	case p.Waits != "": // that is told when it begins
	case nowhere && (elsewhere || !placed):
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

// number gives the copies of a placement the numbers that they have, where they
// differ from each other, and new ones the lowest that are free. A number follows
// its copy to another node.
func number(old []record.Copy, copies []action.Copy, s spec.Service) []record.Copy {
	var out []record.Copy
	for _, c := range copies {
		out = append(out, record.Copy{Node: c.Node, Role: c.Role})
	}
	if s.Copies == nil || !s.Copies.Unique {
		return out
	}
	taken := make(map[int]bool)
	for i := range out {
		for _, o := range old {
			if o.Node == out[i].Node && o.Number > 0 && !taken[o.Number] {
				out[i].Number = o.Number
				taken[o.Number] = true
				break
			}
		}
	}
	next := 1
	for i := range out {
		if out[i].Number > 0 {
			continue
		}
		for taken[next] {
			next++
		}
		out[i].Number = next
		taken[next] = true
	}
	slices.SortFunc(out, func(a, b record.Copy) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Number, b.Number))
	})
	return out
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

// overtaken reports whether a service runs on another node than the first of its
// list, which has not changed for age. That node took over after the list was
// written, so to it the list is older than its takeover, and it stays: a claim
// that had waited at the voters can win against the one that was meant. The same
// list, written again, tells it that it is meant.
func (m *mirror) overtaken(p action.Placement, age time.Duration) bool {
	for lease, order := range append([][]spec.NodeName{p.Order}, p.Orders...) {
		if len(order) < 2 || age < repeatAfter {
			continue
		}
		if slices.ContainsFunc(order[1:], func(n spec.NodeName) bool {
			return slices.ContainsFunc(m.reports[n].value.Instances, func(i fact.Instance) bool {
				return i.Service == p.Service && i.Phase == fact.Running && i.Role != spec.RoleReplica && i.Right == lease
			})
		}) {
			return true
		}
	}
	return false
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
	for _, number := range append([]uint32{svc.value.ID}, svc.value.Rights...) {
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

// reasons are what the operator reads about a placement.
func reasons(p action.Placement) []string {
	all := slices.Clone(p.Why)
	for _, r := range p.Refusals {
		all = append(all, r.Why)
	}
	all = all[:min(len(all), maxReasons)]
	for i, r := range all {
		if len(r) > maxReason {
			all[i] = strings.ToValidUTF8(r[:maxReason], "") + "..."
		}
	}
	return all
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
