package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/rpc"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is everything behind the handlers. It remembers the last request and
// answers with err, or calls do, or succeeds.
type fake struct {
	err error
	do  func(context.Context) error

	mu   sync.Mutex
	last any
}

func (f *fake) heard() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func (f *fake) hear(ctx context.Context, ask any) error {
	f.mu.Lock()
	f.last = ask
	f.mu.Unlock()
	if f.do != nil {
		return f.do(ctx)
	}
	return f.err
}

func (f *fake) Status(ctx context.Context) (status.Cell, error) {
	return status.Cell{Name: "shop"}, f.hear(ctx, nil)
}

func (f *fake) Watch(ctx context.Context, tell func(status.Cell) error) error {
	if err := f.hear(ctx, nil); err != nil {
		return err
	}
	if err := tell(status.Cell{Name: "shop"}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *fake) Service(ctx context.Context, name spec.ServiceName) (status.Service, error) {
	return status.Service{Name: name}, f.hear(ctx, name)
}

func (f *fake) Node(ctx context.Context, name spec.NodeName) (status.Node, error) {
	return status.Node{Name: name}, f.hear(ctx, name)
}

func (f *fake) Apply(ctx context.Context, ask request.Apply) (request.ApplyResult, error) {
	return request.ApplyResult{Applied: []request.Applied{{Name: "shop", Outcome: request.Created, Generation: 1}}}, f.hear(ctx, ask)
}

func (f *fake) Delete(ctx context.Context, ask request.Delete) (request.Deleted, error) {
	return request.Deleted{Warnings: []string{"web names it"}}, f.hear(ctx, ask)
}

func (f *fake) Move(ctx context.Context, ask request.Move) (request.Moved, error) {
	return request.Moved{From: "a", To: "b"}, f.hear(ctx, ask)
}

func (f *fake) Confirm(ctx context.Context, ask request.Confirm) (request.Confirmed, error) {
	return request.Confirmed{Change: "c1"}, f.hear(ctx, ask)
}

func (f *fake) Why(ctx context.Context, name spec.ServiceName) (reason.Why, error) {
	return reason.Why{Service: name}, f.hear(ctx, name)
}

func (f *fake) Plan(ctx context.Context, ask request.Plan) (reason.Outlook, error) {
	return reason.Outlook{Plan: "p1"}, f.hear(ctx, ask)
}

func (f *fake) WhatIf(ctx context.Context, ask request.WhatIf) (reason.Outlook, error) {
	return reason.Outlook{Plan: "p1"}, f.hear(ctx, ask)
}

func (f *fake) Decisions(ctx context.Context) ([]reason.Decision, error) {
	return []reason.Decision{{Plan: "p1"}}, f.hear(ctx, nil)
}

func (f *fake) Replay(ctx context.Context, ask request.Replay) (reason.Replayed, error) {
	return reason.Replayed{Same: true}, f.hear(ctx, ask)
}

func (f *fake) Drain(ctx context.Context, ask request.Drain) error     { return f.hear(ctx, ask) }
func (f *fake) Undrain(ctx context.Context, ask request.Undrain) error { return f.hear(ctx, ask) }
func (f *fake) Remove(ctx context.Context, ask request.Remove) error   { return f.hear(ctx, ask) }

func (f *fake) SetMaintenance(ctx context.Context, ask request.Maintenance) error {
	return f.hear(ctx, ask)
}

func (f *fake) ListEvents(ctx context.Context, ask request.Events) ([]event.Event, error) {
	return []event.Event{{Seq: 1, Kind: event.NodeLost}}, f.hear(ctx, ask)
}

func (f *fake) FollowEvents(ctx context.Context, ask request.Follow, tell func(event.Event) error) error {
	if err := f.hear(ctx, ask); err != nil {
		return err
	}
	return tell(event.Event{Seq: ask.From})
}

func (f *fake) Where(ctx context.Context, name spec.ServiceName) (spec.NodeName, error) {
	if name == "far" {
		return "b", nil
	}
	return "a", f.hear(ctx, name)
}

func (f *fake) ReadLogs(ctx context.Context, ask request.Logs, tell func(request.LogChunk) error) error {
	if err := f.hear(ctx, ask); err != nil {
		return err
	}
	return tell(request.LogChunk{Part: "here", Data: []byte("x")})
}

func (f *fake) ReadLogsOf(ctx context.Context, ask request.Logs, tell func(request.LogChunk) error) error {
	if err := f.hear(ctx, ask); err != nil {
		return err
	}
	return tell(request.LogChunk{Part: "there", Data: []byte("x")})
}

func (f *fake) CreateToken(ctx context.Context, ask request.Token) (request.TokenMade, error) {
	return request.TokenMade{Token: "t"}, f.hear(ctx, ask)
}

func (f *fake) Join(ctx context.Context, ask request.Join) (request.Joined, error) {
	return request.Joined{Slot: 3}, f.hear(ctx, ask)
}

func (f *fake) Renew(ctx context.Context, ask request.Renew) (request.Renewed, error) {
	return request.Renewed{Certificate: []byte("new")}, f.hear(ctx, ask)
}

func (f *fake) Clear(ctx context.Context, ask request.Clear) ([]spec.NodeName, error) {
	return []spec.NodeName{"b"}, f.hear(ctx, ask)
}

func (f *fake) Trust(ctx context.Context, ask request.Trust) error { return f.hear(ctx, ask) }

func (f *fake) Recovery(ctx context.Context) (spec.Recovery, error) {
	return spec.Recovery{Share: 33}, f.hear(ctx, nil)
}

func (f *fake) SetRecovery(ctx context.Context, ask request.SetRecovery) error {
	return f.hear(ctx, ask)
}

func options(f *fake, identify func(*http.Request) (rpc.Identity, error)) rpc.Options {
	return rpc.Options{
		Self: "a", Statuses: f, Services: f, Nodes: f, Events: f, Logs: f, Members: f, Recoveries: f, Reasons: f,
		Identify: identify, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
	}
}

// as identifies every caller as id.
func as(id rpc.Identity) func(*http.Request) (rpc.Identity, error) {
	return func(*http.Request) (rpc.Identity, error) { return id, nil }
}

// serve serves f on a socket to callers who are id, until the test ends.
func serve(t *testing.T, f *fake, identify func(*http.Request) (rpc.Identity, error)) *client.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- rpc.Serve(ctx, l, nil, rpc.New(options(f, identify)), slog.New(slog.DiscardHandler))
	}()
	c, err := client.New(client.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("served until %v", err)
		}
	})
	return c
}

func known(t *testing.T, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a *client.Error: %v", err)
	}
	return e
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// patient is far longer than anything here takes.
const patient = 30 * time.Second
