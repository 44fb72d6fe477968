package cli_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/rpc"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/specfile"
	"github.com/keelson/keelson/internal/model/status"
)

// town is a cell that does what it is asked at once: nodes a and b, and c, which
// is lost. Services whose name begins with "slow" never become ready, never move
// and never go. Those whose name begins with "lost" have no home.
type town struct {
	mu       sync.Mutex
	services map[spec.ServiceName]status.Service
	nodes    map[spec.NodeName]status.Node
	changed  chan struct{}
	asked    int // how often the removal of c was asked for
	bounds   spec.Recovery
}

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func newTown() *town {
	t := &town{changed: make(chan struct{}), services: map[spec.ServiceName]status.Service{}, nodes: map[spec.NodeName]status.Node{}}
	for i, name := range []spec.NodeName{"a", "b", "c"} {
		t.nodes[name] = status.Node{
			Name: name, Slot: uint8(i), Address: fmt.Sprintf("10.0.0.%d", i+1), Liveness: fact.Alive, Voter: true,
			Version: "v0.1.0", Joined: noon().Add(-time.Hour), GuardUp: true, Labels: map[string]string{"rack": "r1", "ssd": "true"},
		}
	}
	lost := t.nodes["c"]
	lost.Liveness, lost.Witness = fact.Lost, true
	t.nodes["c"] = lost
	t.set("shop", doc("shop", 2))
	t.set("slowmail", doc("slowmail", 1))
	return t
}

// doc is a service with so many programs.
func doc(name string, programs int) spec.Service {
	text := "kind: service\nname: " + name + "\nparts:\n" + strings.Repeat("  - exec: [/bin/x]\n", programs)
	s, err := specfile.Parse("x", []byte(text))
	if err != nil {
		panic(err)
	}
	return s[0]
}

// set makes a service run, or nearly. The caller holds mu, or is the only one.
func (t *town) set(name spec.ServiceName, s spec.Service) (generation uint64) {
	old, known := t.services[name]
	one := status.Service{
		Name: name, State: status.Running, Ready: true, Node: "a", Since: noon().Add(-3*time.Hour - 2*time.Minute), Epoch: 7,
		Exclusive: true, Generation: old.Generation + 1, Successors: []spec.NodeName{"b"}, TTL: time.Second, Spec: &s,
		Bound:   status.Bound{Total: 410 * time.Millisecond},
		Reasons: []string{"a has the fewest instances"},
		Parts:   []fact.Part{{Name: "exec", Kind: "exec", State: "running", Detail: "pid 812"}},
	}
	if known {
		one.Node = old.Node
	}
	if strings.HasPrefix(string(name), "slow") {
		one.State, one.Ready, one.Problem = status.Recovering, false, "it is being restarted on a: exec: it ended with exit status 1"
		one.Failures = []status.Failure{{At: noon(), Node: "a", Part: "exec", Why: "it ended with exit status 1"}}
	}
	if strings.HasPrefix(string(name), "lost") {
		one.State, one.Ready, one.Node, one.Problem = status.Homeless, false, "", "no node may run it: a is drained"
	}
	t.services[name] = one
	t.bell()
	return one.Generation
}

func (t *town) bell() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *town) now() status.Cell {
	c := status.Cell{
		Name: "main", ID: "c1", Node: "a", At: noon(), Quorate: true, Controller: "a",
		Problems: []string{"node c is lost: bring it back, or take it out with `keelson node remove c --force`"},
	}
	for _, name := range slices.Sorted(maps.Keys(t.services)) {
		s := t.services[name]
		s.Spec = nil
		c.Services = append(c.Services, s)
	}
	for _, name := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[name]
		for _, s := range c.Services {
			if s.Node == name {
				n.Services = append(n.Services, s.Name)
			}
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

func refuse(kind request.Kind, code, text string) error {
	return &request.Error{Kind: kind, Code: code, Text: text, Hint: "see `keelson status`"}
}

func (t *town) Status(context.Context) (status.Cell, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now(), nil
}

func (t *town) Watch(ctx context.Context, tell func(status.Cell) error) error {
	for {
		t.mu.Lock()
		now, changed := t.now(), t.changed
		t.mu.Unlock()
		if err := tell(now); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *town) Service(_ context.Context, name spec.ServiceName) (status.Service, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, known := t.services[name]
	if !known {
		return s, refuse(request.NotFound, "no-such-service", fmt.Sprintf("there is no service %q", string(name)))
	}
	return s, nil
}

func (t *town) Node(_ context.Context, name spec.NodeName) (status.Node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.now().Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return status.Node{}, refuse(request.NotFound, "no-such-node", fmt.Sprintf("there is no node %q", string(name)))
}

func (t *town) Apply(_ context.Context, ask request.Apply) (request.ApplyResult, error) {
	list, err := specfile.Parse(ask.File, ask.Content)
	if err != nil {
		return request.ApplyResult{}, &request.Error{Kind: request.Invalid, Code: "spec-invalid", Text: err.Error(), Hint: "nothing was changed"}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var result request.ApplyResult
	for _, s := range list {
		old, known := t.services[s.Name]
		a := request.Applied{Name: s.Name, Outcome: request.Created, Generation: old.Generation + 1}
		if known {
			a.Outcome = request.Changed
		}
		if !ask.DryRun {
			t.set(s.Name, s)
		}
		result.Applied = append(result.Applied, a)
	}
	if ask.ConfirmWithin > 0 {
		result.Change, result.Deadline = "5c0fd1a2", noon().Add(ask.ConfirmWithin)
	}
	return result, nil
}

func slow(name spec.ServiceName) bool { return strings.HasPrefix(string(name), "slow") }

func (t *town) Delete(_ context.Context, ask request.Delete) (request.Deleted, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.services[ask.Service]; !known {
		return request.Deleted{}, refuse(request.NotFound, "no-such-service", fmt.Sprintf("there is no service %q", string(ask.Service)))
	}
	if !slow(ask.Service) {
		delete(t.services, ask.Service)
		t.bell()
	}
	return request.Deleted{Warnings: []string{"web names it in after[0], where that counts no more"}}, nil
}

func (t *town) Move(_ context.Context, ask request.Move) (request.Moved, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, known := t.services[ask.Service]
	if !known {
		return request.Moved{}, refuse(request.NotFound, "no-such-service", fmt.Sprintf("there is no service %q", string(ask.Service)))
	}
	if ask.To == "c" {
		return request.Moved{}, refuse(request.Refused, "target-unfit", "service shop cannot move to c: it is lost")
	}
	m := request.Moved{From: s.Node, To: ask.To}
	if !slow(ask.Service) {
		if ask.To == "" {
			ask.To = "b"
		}
		s.Node = ask.To
		t.services[ask.Service] = s
		t.bell()
	}
	return m, nil
}

func (t *town) Drain(_ context.Context, ask request.Drain) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, known := t.nodes[ask.Node]
	if !known {
		return refuse(request.NotFound, "no-such-node", fmt.Sprintf("there is no node %q", string(ask.Node)))
	}
	n.Draining = true
	t.nodes[ask.Node] = n
	for name, s := range t.services {
		if s.Node == ask.Node && !slow(name) {
			s.Node = "b"
			t.services[name] = s
		}
	}
	t.bell()
	return nil
}

func (t *town) Undrain(_ context.Context, ask request.Undrain) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, known := t.nodes[ask.Node]
	if !known {
		return refuse(request.NotFound, "no-such-node", fmt.Sprintf("there is no node %q", string(ask.Node)))
	}
	n.Draining = false
	t.nodes[ask.Node] = n
	return nil
}

func (t *town) SetMaintenance(_ context.Context, ask request.Maintenance) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ask.Node == "" {
		return nil
	}
	n, known := t.nodes[ask.Node]
	if !known {
		return refuse(request.NotFound, "no-such-node", fmt.Sprintf("there is no node %q", string(ask.Node)))
	}
	n.Maintenance = ask.On
	t.nodes[ask.Node] = n
	return nil
}

func (t *town) Remove(_ context.Context, ask request.Remove) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, known := t.nodes[ask.Node]
	switch {
	case !known:
		return refuse(request.NotFound, "no-such-node", fmt.Sprintf("there is no node %q", string(ask.Node)))
	case n.Liveness == fact.Lost && !ask.Force:
		return refuse(request.Refused, "node-lost", "node c is lost, so it cannot leave by itself")
	case n.Liveness == fact.Lost && t.asked == 0:
		t.asked++
		return refuse(request.Refused, "still-a-voter", "node c still votes in the cell")
	}
	delete(t.nodes, ask.Node)
	t.bell()
	return nil
}

func (t *town) ListEvents(_ context.Context, ask request.Events) ([]event.Event, error) {
	all := []event.Event{
		{Seq: 1, At: noon(), Node: "a", Kind: event.NodeLost, About: "c", Text: "c is lost"},
		{Seq: 2, At: noon().Add(time.Second), Node: "a", Kind: event.ServiceReady, Service: "shop", Epoch: 7, Text: "shop is ready"},
	}
	all = slices.DeleteFunc(all, func(e event.Event) bool {
		return ask.Service != "" && e.Service != ask.Service || ask.Node != "" && e.About != ask.Node
	})
	return all[max(0, len(all)-ask.Limit):], nil
}

// FollowEvents tells one more event, then breaks off once, then refuses.
func (t *town) FollowEvents(_ context.Context, ask request.Follow, tell func(event.Event) error) error {
	switch ask.From {
	case 3:
		return tell(event.Event{Seq: 3, At: noon().Add(2 * time.Second), Node: "b", Kind: event.NodeBack, About: "c", Text: "c is back"})
	case 4:
		return refuse(request.Denied, "enough", "that is all for this test")
	}
	return fmt.Errorf("followed from %d", ask.From)
}

func (t *town) Where(context.Context, spec.ServiceName) (spec.NodeName, error) { return "a", nil }

func (t *town) ReadLogs(_ context.Context, ask request.Logs, tell func(request.LogChunk) error) error {
	if ask.Service == "slowmail" {
		return tell(request.LogChunk{Part: "exec", Data: []byte("mail says hello\nand no more")})
	}
	for _, c := range []request.LogChunk{{Part: "exec", Data: []byte("one\nt")}, {Part: "exec-2", Data: []byte("other\n")}, {Part: "exec", Data: []byte("wo\nend")}} {
		if err := tell(c); err != nil {
			return err
		}
	}
	return nil
}

func (t *town) ReadLogsOf(_ context.Context, ask request.Logs, tell func(request.LogChunk) error) error {
	return tell(request.LogChunk{Part: "exec", Data: []byte("from " + string(ask.Node) + "\n")})
}

func (t *town) CreateToken(context.Context, request.Token) (request.TokenMade, error) {
	return request.TokenMade{Token: "kl1.AAAA.BBBB", Expires: noon().Add(time.Hour), Address: "10.0.0.1:7480"}, nil
}

func (t *town) Join(context.Context, request.Join) (request.Joined, error) {
	return request.Joined{}, errors.New("nobody joins here")
}

func (t *town) Renew(context.Context, request.Renew) (request.Renewed, error) {
	return request.Renewed{}, errors.New("nobody renews here")
}

func (t *town) Clear(_ context.Context, ask request.Clear) ([]spec.NodeName, error) {
	if ask.Service != "shop" {
		return nil, &request.Error{Kind: request.NotFound, Code: "no-such-service", Text: fmt.Sprintf("there is no service %q", ask.Service)}
	}
	if ask.Node != "" {
		return nil, nil
	}
	return []spec.NodeName{"a", "b"}, nil
}

func (t *town) Trust(context.Context, request.Trust) error { return nil }

func (t *town) Recovery(context.Context) (spec.Recovery, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bounds.Effective(), nil
}

func (t *town) SetRecovery(_ context.Context, ask request.SetRecovery) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bounds = ask.Recovery
	return nil
}

// open serves the town on a socket until the returned function is called.
func (t *town) open(ctx context.Context, socket string) (stop func(), err error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	h := rpc.New(rpc.Options{
		Self: "a", Statuses: t, Services: t, Nodes: t, Events: t, Logs: t, Members: t, Recoveries: t, Reasons: t,
		Identify: rpc.Local, Clock: clock.System{}, Log: log,
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = rpc.Serve(ctx, l, nil, h, log)
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}
