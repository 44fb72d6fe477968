package client

import (
	"context"

	"github.com/keelson/keelson/api/client/wire"
	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	answer "github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// The answers to questions about decisions, by names that can be used outside of
// this module.
type (
	// Why says where a service is and why.
	Why = answer.Why
	// Outlook is what would happen.
	Outlook = answer.Outlook
	// Decision is a decision that was recorded.
	Decision = answer.Decision
	// Replayed is a past decision, taken again.
	Replayed = answer.Replayed
)

// Why says where a service is and why, and what would move it.
func (c *Client) Why(ctx context.Context, name spec.ServiceName) (Why, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.ExplainService, &keelsonv1.ExplainServiceRequest{Name: string(name)})
	return wire.ToWhy(out), err
}

// Plan says what an apply of a file would do. It changes nothing.
func (c *Client) Plan(ctx context.Context, ask request.Plan) (Outlook, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.PlanApply, &keelsonv1.PlanApplyRequest{File: ask.File.Name, Content: ask.File.Content})
	return wire.ToOutlook(out.GetOutlook()), err
}

// WhatIf says what would happen if nodes were lost or drained. It changes nothing.
func (c *Client) WhatIf(ctx context.Context, ask request.WhatIf) (Outlook, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.WhatIf, &keelsonv1.WhatIfRequest{Fail: ask.Fail, Drain: ask.Drain})
	return wire.ToOutlook(out.GetOutlook()), err
}

// Decisions lists the recorded decisions, the newest last.
func (c *Client) Decisions(ctx context.Context) ([]Decision, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.ListDecisions, &keelsonv1.ListDecisionsRequest{})
	var list []Decision
	for _, d := range out.GetDecisions() {
		list = append(list, wire.ToDecision(d))
	}
	return list, err
}

// Replay takes a recorded decision again.
func (c *Client) Replay(ctx context.Context, ask request.Replay) (Replayed, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.ReplayDecision, &keelsonv1.ReplayDecisionRequest{Which: ask.Which, Full: ask.Full})
	return wire.ToReplayed(out), err
}

// Confirm keeps a change that waits to be confirmed, or takes it back. By is not
// sent: the cell knows who is calling.
func (c *Client) Confirm(ctx context.Context, ask request.Confirm) (request.Confirmed, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.ConfirmChange, &keelsonv1.ConfirmChangeRequest{Change: ask.Change, TakeBack: ask.TakeBack})
	return wire.ToConfirmed(out), err
}
