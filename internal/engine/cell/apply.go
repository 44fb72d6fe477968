package cell

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/contradict"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/specfile"
	"github.com/keelson/keelson/internal/model/status"
	"github.com/keelson/keelson/internal/store"
)

// keyNext holds a number above every generation that a service had. Every apply that
// changes something guards and writes it, so that applies happen one after the
// other: what one of them has checked against all services still holds when it
// writes.
const keyNext = record.KeyServiceIDs + "next"

// Apply creates or changes the services of one file, all or none, and returns
// what became of each in the file's order. A service whose spec is the same as
// before is left alone. With DryRun all is checked and nothing written.
func (c *Clerk) Apply(ctx context.Context, ask request.Apply) (request.ApplyResult, error) {
	file, err := specfile.Read(ask.File, ask.Content)
	if err != nil {
		return request.ApplyResult{}, invalid(err)
	}
	trial, err := c.newTrial(ask)
	if err != nil {
		return request.ApplyResult{}, err
	}

	var result request.ApplyResult
	var tried *request.ApplyResult // by an attempt whose answer was lost
	err = c.attempt(ctx, "apply "+ask.File, func(ctx context.Context) (again, error) {
		p, err := c.draft(ctx, file, ask.By, trial)
		if err != nil {
			return false, err
		}
		if len(p.ops) == 0 && tried != nil {
			result = *tried
			return false, nil
		}
		result = p.result
		if len(p.ops) == 0 || ask.DryRun {
			return false, nil
		}
		done, _, err := c.Store.Txn(ctx, p.guards, p.ops)
		if err != nil && unanswered(err) {
			tried = &p.result
		}
		return again(!done), err
	})
	if err != nil {
		return request.ApplyResult{}, err
	}
	if !ask.DryRun {
		c.noteApplied(result, ask.By)
	}
	return result, nil
}

func invalid(err error) error {
	return &request.Error{
		Kind: request.Invalid, Code: "spec-invalid", Text: err.Error(), Err: err,
		Hint: "nothing was changed; correct the file and apply it again",
	}
}

func (c *Clerk) noteApplied(result request.ApplyResult, by string) {
	for _, a := range result.Applied {
		if a.Outcome == request.Unchanged {
			continue
		}
		text := fmt.Sprintf("%s was %s (generation %d)", a.Name, a.Outcome, a.Generation)
		if result.Change != "" {
			text += fmt.Sprintf("; this is taken back at %s unless change %s is confirmed", status.ClockTime(result.Deadline), result.Change)
		}
		c.Events.Add(event.Event{Kind: event.ServiceApplied, Service: a.Name, Actor: by, Text: text})
	}
}

// draft reads what an apply depends on and plans its transaction.
func (c *Clerk) draft(ctx context.Context, file *specfile.File, by string, trial *record.Pending) (*applyPlan, error) {
	p := &applyPlan{
		now: c.Clock.Now(), by: by, trial: trial, pending: map[spec.ServiceName]waiting{},
		records: map[spec.ServiceName]stored{}, owners: map[netip.Addr]spec.ServiceName{},
		keepers: map[spec.ServiceName][]spec.NodeName{}, dogs: map[spec.NodeName]bool{},
	}
	if err := p.read(ctx, c.Store); err != nil {
		return nil, err
	}
	warnings, err := file.CheckAgainst(p.specs(true))
	if err != nil {
		return nil, invalid(err)
	}
	unknown, err := file.CheckNames(p.specs(true), p.nodeNames())
	if err != nil {
		return nil, invalid(err)
	}
	unfit, err := file.CheckOn(p.hosts)
	if err != nil {
		return nil, invalid(err)
	}
	for _, w := range slices.Concat(warnings, unknown, unfit, file.CheckLabels(p.labels), file.CheckRoom(p.homes())) {
		w.Warning = false // the list says so
		p.result.Warnings = append(p.result.Warnings, w.String())
	}
	before := p.specs(false)
	if err := p.make(file.Services); err != nil {
		return nil, err
	}
	after := p.specs(false)
	p.result.Warnings = append(p.result.Warnings, contradict.Warnings(file.Services, after)...)
	if err := p.consistent(before, after); err != nil {
		return nil, err
	}
	return p, p.checkTrials(before, after)
}

// specs returns the specs of all services, or of those that are not being deleted.
func (p *applyPlan) specs(deleting bool) []spec.Service {
	var all []spec.Service
	for _, name := range sortedKeys(p.records) {
		if r := p.records[name]; deleting || !r.Deleting {
			all = append(all, r.Spec)
		}
	}
	return all
}

// homes are the labels of the nodes that run something.
func (p *applyPlan) homes() map[spec.NodeName]map[string]string {
	out := map[spec.NodeName]map[string]string{}
	for _, n := range p.members {
		if !n.Witness {
			out[n.Name] = n.Labels
		}
	}
	return out
}

func (p *applyPlan) nodeNames() []spec.NodeName {
	var names []spec.NodeName
	for _, n := range p.members {
		names = append(names, n.Name)
	}
	return names
}

// consistent refuses what makes the services contradict each other, or the nodes
// of the cell. What contradicted before is not held against this change.
func (p *applyPlan) consistent(before, after []spec.Service) error {
	found := contradict.New(before, after, p.members)
	if len(found) == 0 {
		return nil
	}
	return &request.Error{
		Kind: request.Invalid, Code: "contradiction", Text: "the services contradict each other: " + contradict.Lines(found),
		Hint: "nothing was changed; take back one of these and apply again",
	}
}

type stored struct {
	record.Service
	revision int64
}

// applyPlan is one apply on its way from what is to the transaction.
type applyPlan struct {
	now     time.Time
	by      string
	records map[spec.ServiceName]stored
	owners  map[netip.Addr]spec.ServiceName      // as the specs say
	hosts   []spec.Host                          // the nodes, as far as addresses go
	keepers map[spec.ServiceName][]spec.NodeName // who may go on with a service without its lease
	members []fact.Node                          // the nodes, as far as specs speak of them
	labels  []map[string]string                  // of the nodes
	dogs    map[spec.NodeName]bool               // nodes with a watchdog that is armed
	pending map[spec.ServiceName]waiting
	trial   *record.Pending // what the changes of this apply have in common; nil: they are for good
	counter int64
	next    uint64 // see keyNext
	first   uint64 // generation of a new service

	guards []store.Guard
	ops    []store.Op
	result request.ApplyResult
}

func (p *applyPlan) read(ctx context.Context, s store.Store) error {
	// The counter first: what changes after this fails the guard on it.
	counter, found, err := s.Get(ctx, keyNext)
	if err != nil {
		return err
	}
	p.counter, p.next = counter.Revision, 1
	if found {
		if err := json.Unmarshal(counter.Value, &p.next); err != nil {
			return fmt.Errorf("read %s: %w", keyNext, err)
		}
	}
	services, _, err := s.List(ctx, record.KeyServices)
	if err != nil {
		return err
	}
	for _, e := range services {
		r := stored{revision: e.Revision}
		if err := json.Unmarshal(e.Value, &r.Service); err != nil {
			return fmt.Errorf("read %s: %w", e.Key, err)
		}
		p.records[r.Spec.Name] = r
		p.next = r.Above(p.next)
	}
	p.first = p.next
	if err := p.readTrials(ctx, s); err != nil {
		return err
	}
	nodes, _, err := s.List(ctx, record.KeyNodes)
	if err != nil {
		return err
	}
	for _, e := range nodes {
		var n record.Node
		if err := json.Unmarshal(e.Value, &n); err != nil {
			return fmt.Errorf("read %s: %w", e.Key, err)
		}
		p.members = append(p.members, fact.Node{Name: n.Name, Labels: n.Labels, Witness: n.Witness})
		p.labels = append(p.labels, n.Labels)
		host := spec.Host{Node: n.Name, Witness: n.Witness}
		for _, text := range append([]string{n.Address}, n.Links...) {
			if ip, err := netip.ParseAddr(text); err == nil {
				host.Own = append(host.Own, ip)
			}
		}
		p.hosts = append(p.hosts, host)
	}
	reports, _, err := s.List(ctx, record.KeyReports)
	if err != nil {
		return err
	}
	for _, e := range reports {
		var r record.Report
		if err := json.Unmarshal(e.Value, &r); err != nil {
			return fmt.Errorf("read %s: %w", e.Key, err)
		}
		p.dogs[r.Node] = r.Watchdog
		for _, name := range r.Keeps {
			p.keepers[name] = append(p.keepers[name], r.Node)
		}
		if i := slices.IndexFunc(p.hosts, func(h spec.Host) bool { return h.Node == r.Node }); i >= 0 {
			p.hosts[i].Interfaces = r.Interfaces
		}
	}
	return nil
}

// make checks wanted against what is and fills in the transaction. It leaves
// the ops empty if nothing changes.
func (p *applyPlan) make(wanted []spec.Service) error {
	p.settleAddresses(wanted)
	freed := map[netip.Addr]bool{}
	for _, s := range wanted {
		if err := p.one(s, freed); err != nil {
			return err
		}
	}
	if len(p.ops) == 0 {
		return nil
	}
	for _, ip := range slices.SortedFunc(maps.Keys(freed), netip.Addr.Compare) {
		if _, taken := p.owners[ip]; !taken {
			p.ops = append(p.ops, store.Op{Key: addressKey(ip), Delete: true})
		}
	}
	p.guards = append(p.guards, store.Guard{Key: keyNext, Revision: p.counter})
	p.put(keyNext, p.next)
	return p.limits()
}

func (p *applyPlan) limits() error {
	n := len(p.guards) + len(p.ops)
	if p.trial != nil {
		n += 2 * len(p.result.Applied) // the way back takes more writes
	}
	if n > store.MaxOps {
		return &request.Error{
			Kind: request.Exhausted, Code: "too-many-changes",
			Text: fmt.Sprintf("the file makes %d changes in the store, and %d are the most at once", n, store.MaxOps),
			Hint: "nothing was changed; split the file into two and apply them one after the other",
		}
	}
	if len(p.records) > MaxServices {
		return &request.Error{
			Kind: request.Exhausted, Code: "too-many-services",
			Text: fmt.Sprintf("the cell would have %d services, and %d are the most", len(p.records), MaxServices),
			Hint: "nothing was changed; delete services that are not needed, or make a second cell",
		}
	}
	return nil
}

// settleAddresses finds out who owns which address once wanted is in force.
func (p *applyPlan) settleAddresses(wanted []spec.Service) {
	final := map[spec.ServiceName]spec.Service{}
	for name, r := range p.records {
		final[name] = r.Spec
	}
	for _, s := range wanted {
		final[s.Name] = s
	}
	for name, s := range final {
		for _, ip := range s.Addresses() {
			p.owners[ip] = name
		}
	}
}

// one plans the writes of one service.
func (p *applyPlan) one(s spec.Service, freed map[netip.Addr]bool) error {
	old, exists := p.records[s.Name]
	if exists && old.Deleting {
		return refused("deleting", "wait until it is gone, then apply again",
			"service %s is being deleted", s.Name)
	}
	if exists && old.Spec.Same(s) {
		p.result.Applied = append(p.result.Applied, request.Applied{Name: s.Name, Outcome: request.Unchanged, Generation: old.Generation})
		return nil
	}

	if err := p.mayBeExclusive(s, old.Service, exists); err != nil {
		return err
	}
	if err := p.mayFence(s); err != nil {
		return err
	}
	if t, waits := p.pending[s.Name]; waits {
		return refused("change-pending", fmt.Sprintf("nothing was changed; keep it with `keelson confirm %s` or take it back with `keelson revert %s`, then apply again", t.Change, t.Change),
			"service %s has a change that waits to be confirmed until %s", s.Name, status.ClockTime(t.Deadline))
	}

	changed := old.Service
	outcome := request.Changed
	key := record.KeyServices + string(s.Name)
	if exists {
		p.guards = append(p.guards, store.Guard{Key: key, Revision: old.revision})
	} else {
		outcome = request.Created
		changed.ID = p.number(s.Name, 0, nil)
		changed.Generation = p.first - 1
	}
	changed.Rights = slices.Clip(changed.Rights)
	for lease := len(changed.Rights) + 1; lease < s.Primaries(); lease++ {
		changed.Rights = append(changed.Rights, p.number(s.Name, lease, changed.LeaseNumbers()))
	}
	changed.Spec = s
	changed.Generation++
	p.next = changed.Above(p.next)
	changed.Applied = p.now
	changed.By = p.by
	p.put(key, changed)
	if err := p.try(old, exists, changed); err != nil {
		return err
	}
	p.records[s.Name] = stored{Service: changed}
	p.result.Applied = append(p.result.Applied, request.Applied{Name: s.Name, Outcome: outcome, Generation: changed.Generation})

	before, after := old.Spec.Addresses(), s.Addresses()
	for _, ip := range before {
		if !slices.Contains(after, ip) {
			freed[ip] = true
		}
	}
	for i, ip := range after {
		if !slices.Contains(before, ip) && !slices.Contains(after[:i], ip) {
			p.put(addressKey(ip), string(s.Name))
		}
	}
	return nil
}

// number returns the number of a lease that a service gets, none of those that
// others have or it has itself.
func (p *applyPlan) number(name spec.ServiceName, lease int, own []uint32) uint32 {
	for _, r := range p.records {
		own = append(own, r.LeaseNumbers()...)
	}
	n := record.LeaseNumber(name, lease)
	for slices.Contains(own, n) {
		n++
	}
	return n
}

// mayFence refuses to promise a fence where no watchdog can give it: on a node that
// has none, what cannot be cut off stays.
func (p *applyPlan) mayFence(s spec.Service) error {
	var without []string
	for _, n := range p.members {
		if s.Failover.StopFailure == spec.StopFence && !n.Witness && s.Place.Allows(n.Name) && !p.dogs[n.Name] {
			without = append(without, string(n.Name))
		}
	}
	if len(without) == 0 {
		return nil
	}
	return refused("no-fence",
		"nothing was changed; name a watchdog in the file of these nodes (`watchdog: /dev/watchdog`), keep the service off them with place.never, or write stop_failure: block",
		"service %s: failover.stop_failure: fence needs a watchdog on every node that may run it, and none is armed on %s", s.Name, strings.Join(without, ", "))
}

// mayBeExclusive refuses to make a service exclusive that some node may go on
// with without a lease: that node need not be in touch, and would run it beside
// the one that has the lease.
func (p *applyPlan) mayBeExclusive(s spec.Service, old record.Service, exists bool) error {
	if !s.IsExclusive() {
		return nil
	}
	if exists && old.Spec.KeptOnQuorumLoss() {
		return refused("kept-on-quorum-loss",
			"nothing was changed; apply it with `on_quorum_loss: stop` and `exclusive: false` first, and make it exclusive a few seconds later",
			"service %s may go on without a lease (on_quorum_loss: keep), so it cannot become exclusive in one step", s.Name)
	}
	if nodes := p.keepers[s.Name]; len(nodes) > 0 {
		slices.Sort(nodes)
		names := string(nodes[0])
		if more := len(nodes) - 1; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		return refused("kept-on-quorum-loss",
			"nothing was changed; apply it again when every node has heard of the change. A node that will not come back: switch it off and remove it (`keelson node remove`)",
			"service %s may still go on without a lease on %s, which has not heard yet that it is to stop", s.Name, names)
	}
	return nil
}

// put adds a write of v, a plain value that always has a JSON form.
func (p *applyPlan) put(key string, v any) {
	value, err := json.Marshal(v)
	if err != nil {
		panic("no JSON form: " + err.Error())
	}
	p.ops = append(p.ops, store.Op{Key: key, Value: value})
}

func addressKey(ip netip.Addr) string { return record.KeyAddressUses + ip.String() }
