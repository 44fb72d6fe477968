package rpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/keelson/keelson/api/client/wire"
	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

type (
	req[M any] = connect.Request[M]
	res[M any] = connect.Response[M]
)

// cellService translates the calls of CellService.
type cellService struct{ o Options }

// reply wraps a call's message, or turns its error into the client's.
func reply[M any](m *M, err error) (*res[M], error) {
	if err != nil {
		return nil, answer(err)
	}
	return connect.NewResponse(m), nil
}

// GetStatus answers with the whole cell.
func (s *cellService) GetStatus(ctx context.Context, _ *req[keelsonv1.GetStatusRequest]) (*res[keelsonv1.GetStatusResponse], error) {
	c, err := s.o.Statuses.Status(ctx)
	return reply(&keelsonv1.GetStatusResponse{Status: wire.FromStatus(c)}, err)
}

// GetService answers with one service and its spec.
func (s *cellService) GetService(ctx context.Context, r *req[keelsonv1.GetServiceRequest]) (*res[keelsonv1.GetServiceResponse], error) {
	one, err := s.o.Statuses.Service(ctx, spec.ServiceName(r.Msg.GetName()))
	return reply(&keelsonv1.GetServiceResponse{Service: wire.FromService(one)}, err)
}

// GetNode answers with one node.
func (s *cellService) GetNode(ctx context.Context, r *req[keelsonv1.GetNodeRequest]) (*res[keelsonv1.GetNodeResponse], error) {
	one, err := s.o.Statuses.Node(ctx, spec.NodeName(r.Msg.GetName()))
	return reply(&keelsonv1.GetNodeResponse{Node: wire.FromNode(one)}, err)
}

// Apply creates or changes services.
func (s *cellService) Apply(ctx context.Context, r *req[keelsonv1.ApplyRequest]) (*res[keelsonv1.ApplyResponse], error) {
	result, err := s.o.Services.Apply(ctx, request.Apply{
		Content: r.Msg.GetContent(), File: r.Msg.GetFile(), DryRun: r.Msg.GetDryRun(), By: caller(ctx).Name,
		ConfirmWithin: wire.Span(r.Msg.GetConfirmWithin()),
	})
	return reply(wire.FromApplyResult(result), err)
}

// DeleteService asks for a service to be forgotten.
func (s *cellService) DeleteService(ctx context.Context, r *req[keelsonv1.DeleteServiceRequest]) (*res[keelsonv1.DeleteServiceResponse], error) {
	deleted, err := s.o.Services.Delete(ctx, request.Delete{Service: spec.ServiceName(r.Msg.GetName()), By: caller(ctx).Name})
	return reply(&keelsonv1.DeleteServiceResponse{Warnings: deleted.Warnings}, err)
}

// MoveService asks for a service to be moved.
func (s *cellService) MoveService(ctx context.Context, r *req[keelsonv1.MoveServiceRequest]) (*res[keelsonv1.MoveServiceResponse], error) {
	moved, err := s.o.Services.Move(ctx, request.Move{
		Service: spec.ServiceName(r.Msg.GetName()), To: spec.NodeName(r.Msg.GetTo()), By: caller(ctx).Name,
	})
	return reply(&keelsonv1.MoveServiceResponse{From: string(moved.From), To: string(moved.To)}, err)
}

// DrainNode asks for a node to be kept free.
func (s *cellService) DrainNode(ctx context.Context, r *req[keelsonv1.DrainNodeRequest]) (*res[keelsonv1.DrainNodeResponse], error) {
	err := s.o.Nodes.Drain(ctx, request.Drain{
		Node: spec.NodeName(r.Msg.GetName()), Why: r.Msg.GetWhy(), By: caller(ctx).Name,
	})
	return reply(&keelsonv1.DrainNodeResponse{}, err)
}

// UndrainNode lets services back on a node.
func (s *cellService) UndrainNode(ctx context.Context, r *req[keelsonv1.UndrainNodeRequest]) (*res[keelsonv1.UndrainNodeResponse], error) {
	err := s.o.Nodes.Undrain(ctx, request.Undrain{Node: spec.NodeName(r.Msg.GetName()), By: caller(ctx).Name})
	return reply(&keelsonv1.UndrainNodeResponse{}, err)
}

// SetMaintenance asks for a node or the cell to be left as it is.
func (s *cellService) SetMaintenance(ctx context.Context, r *req[keelsonv1.SetMaintenanceRequest]) (*res[keelsonv1.SetMaintenanceResponse], error) {
	err := s.o.Nodes.SetMaintenance(ctx, request.Maintenance{Node: spec.NodeName(r.Msg.GetNode()), On: r.Msg.GetOn(), By: caller(ctx).Name})
	return reply(&keelsonv1.SetMaintenanceResponse{}, err)
}

// RemoveNode takes a node out of the cell.
func (s *cellService) RemoveNode(ctx context.Context, r *req[keelsonv1.RemoveNodeRequest]) (*res[keelsonv1.RemoveNodeResponse], error) {
	err := s.o.Nodes.Remove(ctx, request.Remove{
		Node: spec.NodeName(r.Msg.GetName()), Force: r.Msg.GetForce(), By: caller(ctx).Name,
	})
	return reply(&keelsonv1.RemoveNodeResponse{}, err)
}

// ListEvents answers with recorded events.
func (s *cellService) ListEvents(ctx context.Context, r *req[keelsonv1.ListEventsRequest]) (*res[keelsonv1.ListEventsResponse], error) {
	events, err := s.o.Events.ListEvents(ctx, request.Events{
		Limit:   int(min(r.Msg.GetLimit(), request.MaxEvents)),
		Service: spec.ServiceName(r.Msg.GetService()), Node: spec.NodeName(r.Msg.GetNode()),
	})
	out := &keelsonv1.ListEventsResponse{}
	for _, e := range events {
		out.Events = append(out.Events, wire.FromEvent(e))
	}
	return reply(out, err)
}

// CreateToken answers with a new join token.
func (s *cellService) CreateToken(ctx context.Context, r *req[keelsonv1.CreateTokenRequest]) (*res[keelsonv1.CreateTokenResponse], error) {
	valid := wire.Span(r.Msg.GetValid())
	if valid < 0 || valid > request.MaxTokenValid {
		return nil, answer(&request.Error{
			Kind: request.Invalid, Code: "bad-duration",
			Text: "a token is valid for 7 days at most", Hint: "make another one when it has expired",
		})
	}
	made, err := s.o.Members.CreateToken(ctx, request.Token{Valid: valid, By: caller(ctx).Name})
	return reply(wire.FromTokenMade(made), err)
}
