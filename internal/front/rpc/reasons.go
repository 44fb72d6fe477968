package rpc

import (
	"context"

	"github.com/keelson/keelson/api/client/wire"
	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

func (s *cellService) ExplainService(ctx context.Context, r *req[keelsonv1.ExplainServiceRequest]) (*res[keelsonv1.ExplainServiceResponse], error) {
	why, err := s.o.Reasons.Why(ctx, spec.ServiceName(r.Msg.GetName()))
	return reply(wire.FromWhy(why), err)
}

func (s *cellService) PlanApply(ctx context.Context, r *req[keelsonv1.PlanApplyRequest]) (*res[keelsonv1.PlanApplyResponse], error) {
	outlook, err := s.o.Reasons.Plan(ctx, request.Plan{File: request.File{Name: r.Msg.GetFile(), Content: r.Msg.GetContent()}})
	return reply(&keelsonv1.PlanApplyResponse{Outlook: wire.FromOutlook(outlook)}, err)
}

func (s *cellService) WhatIf(ctx context.Context, r *req[keelsonv1.WhatIfRequest]) (*res[keelsonv1.WhatIfResponse], error) {
	outlook, err := s.o.Reasons.WhatIf(ctx, request.WhatIf{Fail: r.Msg.GetFail(), Drain: r.Msg.GetDrain()})
	return reply(&keelsonv1.WhatIfResponse{Outlook: wire.FromOutlook(outlook)}, err)
}

func (s *cellService) ListDecisions(ctx context.Context, _ *req[keelsonv1.ListDecisionsRequest]) (*res[keelsonv1.ListDecisionsResponse], error) {
	list, err := s.o.Reasons.Decisions(ctx)
	out := &keelsonv1.ListDecisionsResponse{}
	for _, d := range list {
		out.Decisions = append(out.Decisions, wire.FromDecision(d))
	}
	return reply(out, err)
}

func (s *cellService) ReplayDecision(ctx context.Context, r *req[keelsonv1.ReplayDecisionRequest]) (*res[keelsonv1.ReplayDecisionResponse], error) {
	again, err := s.o.Reasons.Replay(ctx, request.Replay{Which: r.Msg.GetWhich(), Full: r.Msg.GetFull()})
	return reply(wire.FromReplayed(again), err)
}

func (s *cellService) ConfirmChange(ctx context.Context, r *req[keelsonv1.ConfirmChangeRequest]) (*res[keelsonv1.ConfirmChangeResponse], error) {
	done, err := s.o.Services.Confirm(ctx, request.Confirm{Change: r.Msg.GetChange(), TakeBack: r.Msg.GetTakeBack(), By: caller(ctx).Name})
	return reply(wire.FromConfirmed(done), err)
}
