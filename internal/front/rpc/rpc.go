// Package rpc serves the API of a cell over Connect: the same handlers on the
// node's TLS port and on its local socket.
//
// Its main rule: it translates and never decides. A request becomes a plain
// value, goes to one of the interfaces below, and what comes back becomes a
// message; protobuf types go no further. What it does by itself is to guard the
// door: who is calling, may they, is the request too large, too slow or one too
// many. It refuses all of that before it reads a byte of the request's body.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"

	"github.com/keelson/keelson/api/keelson/v1/keelsonv1connect"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/logkey"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// Limits of the API.
const (
	// MaxApply and MaxRequest bound a request's message, in bytes, after it is
	// uncompressed: of Apply and PlanApply, and of every other call.
	MaxApply   = 1<<20 + 4096
	MaxRequest = 64 << 10

	// MaxCalls and MaxStreams bound what is served at once; MaxJoins bounds the
	// calls of strangers.
	MaxCalls   = 128
	MaxStreams = 64
	MaxJoins   = 4

	// CallTimeout bounds a call that is no stream, JoinTimeout a join, which
	// waits for others.
	CallTimeout = 20 * time.Second
	JoinTimeout = 60 * time.Second

	// ReadTimeout bounds the reading of a request, WriteTimeout each write of a
	// response: a client that stops to read loses its stream.
	ReadTimeout  = 20 * time.Second
	WriteTimeout = 20 * time.Second
)

// Statuses answers how the cell is. Errors throughout this file are
// [*request.Error], or become internal errors. Watch and the other methods
// that take a function call it until ctx ends or it returns an error.
type Statuses interface {
	Status(context.Context) (status.Cell, error)
	Watch(context.Context, func(status.Cell) error) error
	Service(context.Context, spec.ServiceName) (status.Service, error)
	Node(context.Context, spec.NodeName) (status.Node, error)
}

// Services changes services.
type Services interface {
	Apply(context.Context, request.Apply) (request.ApplyResult, error)
	Delete(context.Context, request.Delete) (request.Deleted, error)
	Move(context.Context, request.Move) (request.Moved, error)
	Confirm(context.Context, request.Confirm) (request.Confirmed, error)
}

// Reasons answers questions about decisions. It changes nothing.
type Reasons interface {
	Why(context.Context, spec.ServiceName) (reason.Why, error)
	Plan(context.Context, request.Plan) (reason.Outlook, error)
	WhatIf(context.Context, request.WhatIf) (reason.Outlook, error)
	Decisions(context.Context) ([]reason.Decision, error)
	Replay(context.Context, request.Replay) (reason.Replayed, error)
}

// Nodes changes what is asked of nodes.
type Nodes interface {
	Drain(context.Context, request.Drain) error
	Undrain(context.Context, request.Undrain) error
	Remove(context.Context, request.Remove) error
	SetMaintenance(context.Context, request.Maintenance) error
}

// Events reads the story of the cell.
type Events interface {
	ListEvents(context.Context, request.Events) ([]event.Event, error)
	FollowEvents(context.Context, request.Follow, func(event.Event) error) error
}

// Logs reads the output of programs.
type Logs interface {
	// Where returns the node that has the output of a service.
	Where(context.Context, spec.ServiceName) (spec.NodeName, error)
	// ReadLogs reads what this node has.
	ReadLogs(context.Context, request.Logs, func(request.LogChunk) error) error
	// ReadLogsOf asks the node that the request names.
	ReadLogsOf(context.Context, request.Logs, func(request.LogChunk) error) error
}

// Members lets nodes in and keeps their certificates fresh.
type Members interface {
	CreateToken(context.Context, request.Token) (request.TokenMade, error)
	Join(context.Context, request.Join) (request.Joined, error)
	Renew(context.Context, request.Renew) (request.Renewed, error)
}

// Options is what the handler needs. All fields are required.
type Options struct {
	Self     spec.NodeName // this node
	Statuses Statuses
	Services Services
	Nodes    Nodes
	Events   Events
	Logs     Logs
	Members  Members
	Reasons  Reasons

	Recoveries Recoveries

	// Identify says who is calling, before anything is read of the request. An
	// error refuses the call. See [Local] and [ByCertificate].
	Identify func(*http.Request) (Identity, error)

	Clock clock.Clock
	Log   *slog.Logger
}

// New returns the handler of the whole API. It is safe for concurrent use.
func New(o Options) http.Handler {
	size := connect.WithConditionalHandlerOptions(func(s connect.Spec) []connect.HandlerOption {
		if s.Procedure == keelsonv1connect.CellServiceApplyProcedure || s.Procedure == keelsonv1connect.CellServicePlanApplyProcedure {
			return []connect.HandlerOption{connect.WithReadMaxBytes(MaxApply)}
		}
		return []connect.HandlerOption{connect.WithReadMaxBytes(MaxRequest)}
	})
	recovered := connect.WithRecover(func(ctx context.Context, s connect.Spec, _ http.Header, p any) error {
		o.Log.ErrorContext(ctx, "request panicked",
			"procedure", s.Procedure, logkey.Err, fmt.Sprint(p), "stack", string(debug.Stack()))
		return answer(&request.Error{
			Kind: request.Internal, Code: "internal",
			Text: "the node met a fault of its own while it answered",
			Hint: "the agent's log on " + string(o.Self) + " says more",
		})
	})

	mux := http.NewServeMux()
	mux.Handle(keelsonv1connect.NewCellServiceHandler(&cellService{o}, size, recovered))
	mux.Handle(keelsonv1connect.NewJoinServiceHandler(&joinService{o.Members}, size, recovered))
	mux.Handle(keelsonv1connect.NewPeerServiceHandler(&peerService{o.Members}, size, recovered))
	return newGate(o, mux)
}
