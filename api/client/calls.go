package client

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/keelson/keelson/api/client/wire"
	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// call makes one call that is no stream.
func call[In, Out any](
	ctx context.Context, c *Client, limit time.Duration,
	f func(context.Context, *connect.Request[In]) (*connect.Response[Out], error), in *In,
) (*Out, error) {
	once, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, err := f(once, connect.NewRequest(in))
	if err != nil {
		return nil, c.understand(ctx, err)
	}
	return out.Msg, nil
}

// Status returns the whole cell at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.GetStatus, &keelsonv1.GetStatusRequest{})
	return wire.ToStatus(out.GetStatus()), err
}

// Service returns one service with its spec.
func (c *Client) Service(ctx context.Context, name spec.ServiceName) (Service, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.GetService, &keelsonv1.GetServiceRequest{Name: string(name)})
	return wire.ToService(out.GetService()), err
}

// Node returns one node.
func (c *Client) Node(ctx context.Context, name spec.NodeName) (Node, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.GetNode, &keelsonv1.GetNodeRequest{Name: string(name)})
	return wire.ToNode(out.GetNode()), err
}

// Apply creates or changes the services of a file, all or none. By is not sent:
// the cell knows who is calling.
func (c *Client) Apply(ctx context.Context, ask request.Apply) (ApplyResult, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.Apply, &keelsonv1.ApplyRequest{
		Content: ask.Content, File: ask.File, DryRun: ask.DryRun, ConfirmWithin: durationpb.New(ask.ConfirmWithin),
	})
	return wire.ToApplyResult(out), err
}

// Delete asks for a service to be stopped everywhere and forgotten. It returns what
// that changes for others.
func (c *Client) Delete(ctx context.Context, name spec.ServiceName) (request.Deleted, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.DeleteService, &keelsonv1.DeleteServiceRequest{Name: string(name)})
	return request.Deleted{Warnings: out.GetWarnings()}, err
}

// Move asks for a service to be moved, to a node or, if that is empty, to the
// best other one.
func (c *Client) Move(ctx context.Context, name spec.ServiceName, to spec.NodeName) (request.Moved, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.MoveService, &keelsonv1.MoveServiceRequest{Name: string(name), To: string(to)})
	return request.Moved{From: spec.NodeName(out.GetFrom()), To: spec.NodeName(out.GetTo())}, err
}

// Drain asks for all services to leave a node and to stay away.
func (c *Client) Drain(ctx context.Context, name spec.NodeName, why string) error {
	_, err := call(ctx, c, CallTimeout, c.cell.DrainNode, &keelsonv1.DrainNodeRequest{Name: string(name), Why: why})
	return err
}

// Undrain lets services back on a node.
func (c *Client) Undrain(ctx context.Context, name spec.NodeName) error {
	_, err := call(ctx, c, CallTimeout, c.cell.UndrainNode, &keelsonv1.UndrainNodeRequest{Name: string(name)})
	return err
}

// SetMaintenance has a node, or with an empty name the whole cell, left as it is,
// or ends that.
func (c *Client) SetMaintenance(ctx context.Context, name spec.NodeName, on bool) error {
	_, err := call(ctx, c, CallTimeout, c.cell.SetMaintenance, &keelsonv1.SetMaintenanceRequest{Node: string(name), On: on})
	return err
}

// Remove takes a node out of the cell; one that is lost only with force.
func (c *Client) Remove(ctx context.Context, name spec.NodeName, force bool) error {
	_, err := call(ctx, c, CallTimeout, c.cell.RemoveNode, &keelsonv1.RemoveNodeRequest{Name: string(name), Force: force})
	return err
}

// Events returns recorded events, the newest last.
func (c *Client) Events(ctx context.Context, ask request.Events) ([]Event, error) {
	limit := max(0, min(ask.Limit, request.MaxEvents))
	out, err := call(ctx, c, CallTimeout, c.cell.ListEvents, &keelsonv1.ListEventsRequest{
		Limit: uint32(limit), Service: string(ask.Service), Node: string(ask.Node),
	})
	var events []Event
	for _, e := range out.GetEvents() {
		events = append(events, wire.ToEvent(e))
	}
	return events, err
}

// CreateToken makes a one-time join token that lasts for valid; 0 means an hour.
func (c *Client) CreateToken(ctx context.Context, valid time.Duration) (request.TokenMade, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.CreateToken, wire.FromToken(request.Token{Valid: valid}))
	return wire.ToTokenMade(out), err
}

// Join asks for membership. The client's TLS configuration must pin the cell's
// authority that the token names.
func (c *Client) Join(ctx context.Context, ask request.Join) (request.Joined, error) {
	out, err := call(ctx, c, JoinTimeout, c.join.Join, wire.FromJoin(ask))
	return wire.ToJoined(out), err
}

// Renew asks for a new certificate for the node whose certificate the client uses.
func (c *Client) Renew(ctx context.Context, csr []byte) (request.Renewed, error) {
	out, err := call(ctx, c, CallTimeout, c.peer.RenewCertificate, &keelsonv1.RenewCertificateRequest{Csr: csr})
	return request.Renewed{Certificate: out.GetCertificate(), CA: out.GetCa()}, err
}

// stream makes a call that answers with many messages and gives each to f. It
// returns nil at the stream's end, f's error, or why the stream broke.
func stream[Out any](ctx context.Context, c *Client, s *connect.ServerStreamForClient[Out], f func(*Out) error) error {
	// What is left of a stream that f gave up is of no interest.
	defer func() { _ = s.Close() }()
	for s.Receive() {
		if err := f(s.Msg()); err != nil {
			return err
		}
	}
	return c.understand(ctx, s.Err())
}

// WatchStatus calls f with the status now and after each change, until ctx ends
// or f returns an error.
func (c *Client) WatchStatus(ctx context.Context, f func(Status) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.cell.WatchStatus(ctx, connect.NewRequest(&keelsonv1.WatchStatusRequest{}))
	if err != nil {
		return c.understand(ctx, err)
	}
	return stream(ctx, c, s, func(m *keelsonv1.WatchStatusResponse) error { return f(wire.ToStatus(m.GetStatus())) })
}

// FollowEvents calls f with recorded events from ask.From on, then with new
// ones, until ctx ends or f returns an error.
func (c *Client) FollowEvents(ctx context.Context, ask request.Follow, f func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.cell.FollowEvents(ctx, connect.NewRequest(&keelsonv1.FollowEventsRequest{
		From: ask.From, Service: string(ask.Service), Node: string(ask.Node),
	}))
	if err != nil {
		return c.understand(ctx, err)
	}
	return stream(ctx, c, s, func(m *keelsonv1.FollowEventsResponse) error { return f(wire.ToEvent(m.GetEvent())) })
}

// ReadLogs calls f with the output of a service's programs, until its end, or
// with ask.Follow until ctx ends or f returns an error.
func (c *Client) ReadLogs(ctx context.Context, ask request.Logs, f func(request.LogChunk) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.cell.ReadLogs(ctx, connect.NewRequest(wire.FromLogs(ask)))
	if err != nil {
		return c.understand(ctx, err)
	}
	return stream(ctx, c, s, func(m *keelsonv1.ReadLogsResponse) error {
		return f(request.LogChunk{Part: m.GetPart(), Data: m.GetData()})
	})
}

// JSON returns the JSON form of a value that a client returned; see [wire.JSON].
func JSON(v any) ([]byte, error) { return wire.JSON(v) }

// Clear forgets where a service failed, on one node or, if that is empty, on all,
// and returns where it had.
func (c *Client) Clear(ctx context.Context, name spec.ServiceName, node spec.NodeName) ([]spec.NodeName, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.ClearService, &keelsonv1.ClearServiceRequest{Name: string(name), Node: string(node)})
	var nodes []spec.NodeName
	for _, n := range out.GetNodes() {
		nodes = append(nodes, spec.NodeName(n))
	}
	return nodes, err
}

// Trust ends a node's quarantine or probation.
func (c *Client) Trust(ctx context.Context, name spec.NodeName) error {
	_, err := call(ctx, c, CallTimeout, c.cell.TrustNode, &keelsonv1.TrustNodeRequest{Name: string(name)})
	return err
}

// Recovery returns what bounds the moves that the cell plans by itself.
func (c *Client) Recovery(ctx context.Context) (spec.Recovery, error) {
	out, err := call(ctx, c, CallTimeout, c.cell.GetRecovery, &keelsonv1.GetRecoveryRequest{})
	return wire.ToRecovery(out.GetRecovery()), err
}

// SetRecovery changes that; fields that are 0 stay as they are.
func (c *Client) SetRecovery(ctx context.Context, r spec.Recovery) error {
	_, err := call(ctx, c, CallTimeout, c.cell.SetRecovery, &keelsonv1.SetRecoveryRequest{Recovery: wire.FromRecovery(r)})
	return err
}
