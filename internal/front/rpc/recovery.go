package rpc

import (
	"context"

	"github.com/keelson/keelson/api/client/wire"
	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// Recoveries changes what the cell remembers of failures and what bounds its own
// moves.
type Recoveries interface {
	Clear(context.Context, request.Clear) ([]spec.NodeName, error)
	Trust(context.Context, request.Trust) error
	Recovery(context.Context) (spec.Recovery, error)
	SetRecovery(context.Context, request.SetRecovery) error
}

// ClearService forgets where a service failed.
func (s *cellService) ClearService(ctx context.Context, r *req[keelsonv1.ClearServiceRequest]) (*res[keelsonv1.ClearServiceResponse], error) {
	nodes, err := s.o.Recoveries.Clear(ctx, request.Clear{
		Service: spec.ServiceName(r.Msg.GetName()), Node: spec.NodeName(r.Msg.GetNode()), By: caller(ctx).Name,
	})
	out := &keelsonv1.ClearServiceResponse{}
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, string(n))
	}
	return reply(out, err)
}

// TrustNode ends a node's quarantine or probation.
func (s *cellService) TrustNode(ctx context.Context, r *req[keelsonv1.TrustNodeRequest]) (*res[keelsonv1.TrustNodeResponse], error) {
	err := s.o.Recoveries.Trust(ctx, request.Trust{Node: spec.NodeName(r.Msg.GetName()), By: caller(ctx).Name})
	return reply(&keelsonv1.TrustNodeResponse{}, err)
}

// GetRecovery answers with what bounds the cell's own moves.
func (s *cellService) GetRecovery(ctx context.Context, _ *req[keelsonv1.GetRecoveryRequest]) (*res[keelsonv1.GetRecoveryResponse], error) {
	r, err := s.o.Recoveries.Recovery(ctx)
	return reply(&keelsonv1.GetRecoveryResponse{Recovery: wire.FromRecovery(r)}, err)
}

// SetRecovery changes what bounds the cell's own moves.
func (s *cellService) SetRecovery(ctx context.Context, r *req[keelsonv1.SetRecoveryRequest]) (*res[keelsonv1.SetRecoveryResponse], error) {
	err := s.o.Recoveries.SetRecovery(ctx, request.SetRecovery{Recovery: wire.ToRecovery(r.Msg.GetRecovery()), By: caller(ctx).Name})
	return reply(&keelsonv1.SetRecoveryResponse{}, err)
}
