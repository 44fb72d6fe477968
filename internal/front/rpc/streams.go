package rpc

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/keelson/keelson/api/client/wire"
	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// HeaderProxied marks a request that a node makes for somebody else's, so that
// two nodes that disagree do not send it to and fro.
const HeaderProxied = "Keelson-Proxied"

// WatchStatus streams the status as it changes.
func (s *cellService) WatchStatus(ctx context.Context, _ *req[keelsonv1.WatchStatusRequest], out *connect.ServerStream[keelsonv1.WatchStatusResponse]) error {
	return answer(s.o.Statuses.Watch(ctx, func(c status.Cell) error {
		return out.Send(&keelsonv1.WatchStatusResponse{Status: wire.FromStatus(c)})
	}))
}

// FollowEvents streams events as they are recorded.
func (s *cellService) FollowEvents(ctx context.Context, r *req[keelsonv1.FollowEventsRequest], out *connect.ServerStream[keelsonv1.FollowEventsResponse]) error {
	ask := request.Follow{
		From:    r.Msg.GetFrom(),
		Service: spec.ServiceName(r.Msg.GetService()), Node: spec.NodeName(r.Msg.GetNode()),
	}
	return answer(s.o.Events.FollowEvents(ctx, ask, func(e event.Event) error {
		return out.Send(&keelsonv1.FollowEventsResponse{Event: wire.FromEvent(e)})
	}))
}

// ReadLogs streams the output of programs, from the node that has it.
func (s *cellService) ReadLogs(ctx context.Context, r *req[keelsonv1.ReadLogsRequest], out *connect.ServerStream[keelsonv1.ReadLogsResponse]) error {
	ask := wire.ToLogs(r.Msg)
	if ask.Node == "" {
		node, err := s.o.Logs.Where(ctx, ask.Service)
		if err != nil {
			return answer(err)
		}
		ask.Node = node
	}
	read := s.o.Logs.ReadLogs
	if ask.Node != s.o.Self {
		if r.Header().Get(HeaderProxied) != "" {
			return answer(&request.Error{
				Kind: request.Refused, Code: "wrong-node",
				Text: "this is node " + string(s.o.Self) + ", not " + string(ask.Node),
			})
		}
		read = s.o.Logs.ReadLogsOf
	}
	err := read(ctx, ask, func(c request.LogChunk) error {
		return out.Send(&keelsonv1.ReadLogsResponse{Part: c.Part, Data: c.Data})
	})
	if ask.Node != s.o.Self && ctx.Err() == nil {
		err = wentAway(ask, err)
	}
	return answer(err)
}

// wentAway words the end of another node's agent, or of the way to it, while it was
// read from.
func wentAway(ask request.Logs, err error) error {
	var e *request.Error
	if !errors.As(err, &e) || e.Kind != request.Canceled && e.Kind != request.Unavailable && e.Kind != request.Unreachable {
		return err
	}
	again := fmt.Sprintf("keelson logs %s --node %s", ask.Service, ask.Node)
	if ask.Follow {
		again += " --follow"
	}
	return &request.Error{
		Kind: request.Unavailable, Code: "agent-away", Err: err,
		Text: fmt.Sprintf("the agent of node %s, which has the output of %s, stopped or cannot be reached", ask.Node, ask.Service),
		Hint: "the service may run on, and its output is kept there; when the agent is back (`keelson status`), run `" + again + "`",
	}
}
