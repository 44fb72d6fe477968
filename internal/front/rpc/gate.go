package rpc

import (
	"context"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/keelson/keelson/api/keelson/v1/keelsonv1connect"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/request"
)

// rule is what the gate asks of one procedure.
type rule struct {
	role   Role
	peer   bool // only nodes may call it
	stream bool
	limit  time.Duration // for a call that is no stream
	slots  chan struct{}
}

// gate stands before all handlers.
type gate struct {
	identify func(*http.Request) (Identity, error)
	rules    map[string]rule // by path
	errors   *connect.ErrorWriter
	clock    clock.Clock
	next     http.Handler
}

func newGate(o Options, next http.Handler) *gate {
	calls, streams, joins := make(chan struct{}, MaxCalls), make(chan struct{}, MaxStreams), make(chan struct{}, MaxJoins)
	look := rule{role: Viewer, limit: CallTimeout, slots: calls}
	change := rule{role: Operator, limit: CallTimeout, slots: calls}
	admit := rule{role: Admin, limit: CallTimeout, slots: calls}
	follow := rule{role: Viewer, stream: true, slots: streams}
	return &gate{
		identify: o.Identify, errors: connect.NewErrorWriter(), clock: o.Clock, next: next,
		rules: map[string]rule{
			keelsonv1connect.CellServiceGetStatusProcedure:        look,
			keelsonv1connect.CellServiceWatchStatusProcedure:      follow,
			keelsonv1connect.CellServiceGetServiceProcedure:       look,
			keelsonv1connect.CellServiceGetNodeProcedure:          look,
			keelsonv1connect.CellServiceListEventsProcedure:       look,
			keelsonv1connect.CellServiceFollowEventsProcedure:     follow,
			keelsonv1connect.CellServiceReadLogsProcedure:         follow,
			keelsonv1connect.CellServiceExplainServiceProcedure:   look,
			keelsonv1connect.CellServicePlanApplyProcedure:        look,
			keelsonv1connect.CellServiceWhatIfProcedure:           look,
			keelsonv1connect.CellServiceListDecisionsProcedure:    look,
			keelsonv1connect.CellServiceReplayDecisionProcedure:   look,
			keelsonv1connect.CellServiceConfirmChangeProcedure:    change,
			keelsonv1connect.CellServiceApplyProcedure:            change,
			keelsonv1connect.CellServiceDeleteServiceProcedure:    change,
			keelsonv1connect.CellServiceMoveServiceProcedure:      change,
			keelsonv1connect.CellServiceDrainNodeProcedure:        change,
			keelsonv1connect.CellServiceUndrainNodeProcedure:      change,
			keelsonv1connect.CellServiceSetMaintenanceProcedure:   change,
			keelsonv1connect.CellServiceClearServiceProcedure:     change,
			keelsonv1connect.CellServiceTrustNodeProcedure:        change,
			keelsonv1connect.CellServiceGetRecoveryProcedure:      look,
			keelsonv1connect.CellServiceSetRecoveryProcedure:      admit,
			keelsonv1connect.CellServiceRemoveNodeProcedure:       admit,
			keelsonv1connect.CellServiceCreateTokenProcedure:      admit,
			keelsonv1connect.JoinServiceJoinProcedure:             {role: Nobody, limit: JoinTimeout, slots: joins},
			keelsonv1connect.PeerServiceRenewCertificateProcedure: {peer: true, limit: CallTimeout, slots: calls},
		},
	}
}

// ServeHTTP lets a request through if its caller may make it and there is room.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rule, known := g.rules[r.URL.Path]
	if !known {
		http.Error(w, "keelson: there is no such call", http.StatusNotFound)
		return
	}
	if !g.errors.IsSupported(r) {
		http.Error(w, "keelson: call this with POST and Content-Type application/json", http.StatusUnsupportedMediaType)
		return
	}
	id, err := g.identify(r)
	if err == nil {
		err = permit(rule, id)
	}
	if err != nil {
		g.refuse(w, r, err)
		return
	}
	select {
	case rule.slots <- struct{}{}:
		defer func() { <-rule.slots }()
	default:
		g.refuse(w, r, &request.Error{
			Kind: request.Exhausted, Code: "busy",
			Text: "the node serves as many requests as it can", Hint: "try again in a moment, or ask another node",
		})
		return
	}

	ctx, cancel := g.bound(withIdentity(r.Context(), id), rule)
	defer cancel()
	slow := newPatience(w, r.Body, g.clock)
	r = r.WithContext(ctx)
	r.Body = slow.body()
	g.next.ServeHTTP(slow, r)
}

// bound gives a call its time, and ends a stream when the server stops.
func (g *gate) bound(ctx context.Context, rule rule) (context.Context, context.CancelFunc) {
	if !rule.stream {
		return context.WithTimeout(ctx, rule.limit)
	}
	ctx, cancel := context.WithCancel(ctx)
	stopping, _ := ctx.Value(stoppingKey{}).(context.Context)
	if stopping == nil {
		return ctx, cancel
	}
	forget := context.AfterFunc(stopping, cancel)
	return ctx, func() {
		forget()
		cancel()
	}
}

func permit(rule rule, id Identity) error {
	switch {
	case rule.peer && id.Node == "" && id.Role == Nobody, !rule.peer && rule.role > Nobody && id.Role == Nobody && id.Node == "":
		return &request.Error{
			Kind: request.Unknown, Code: "no-certificate", Text: "the caller showed no certificate of this cell",
			Hint: "give --cert, --key and --ca, or call from one of the cell's servers",
		}
	case rule.peer && id.Node == "":
		return &request.Error{
			Kind: request.Denied, Code: "nodes-only", Text: "only the cell's nodes may ask for this",
		}
	case !rule.peer && id.Node == "" && id.Role < rule.role:
		return &request.Error{
			Kind: request.Denied, Code: "not-permitted", Text: id.Name + " may not do this",
			Hint: "ask someone with a higher role to do it",
		}
	}
	return nil
}

func (g *gate) refuse(w http.ResponseWriter, r *http.Request, err error) {
	// The client may be gone, and then there is nobody to tell.
	_ = g.errors.Write(w, r, answer(err))
}

// patience bounds how long a client may take to send its request and to take
// each piece of the response.
type patience struct {
	http.ResponseWriter
	control *http.ResponseController
	from    io.ReadCloser
	clock   clock.Clock
}

func newPatience(w http.ResponseWriter, body io.ReadCloser, c clock.Clock) *patience {
	p := &patience{ResponseWriter: w, control: http.NewResponseController(w), from: body, clock: c}
	// Not every transport can; those of [Serve] do.
	_ = p.control.SetReadDeadline(c.Now().Add(ReadTimeout))
	return p
}

// Write writes with a fresh deadline.
func (p *patience) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(p.clock.Now().Add(WriteTimeout))
	return p.ResponseWriter.Write(b)
}

// Flush sends what was written, with a fresh deadline.
func (p *patience) Flush() {
	_ = p.control.SetWriteDeadline(p.clock.Now().Add(WriteTimeout))
	_ = p.control.Flush()
}

// Unwrap lets [http.ResponseController] reach the connection.
func (p *patience) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *patience) body() io.ReadCloser { return patientBody{p} }

// patientBody lifts the deadline once the request is read, so that a stream
// may last.
type patientBody struct{ *patience }

// Read reads the request's body.
func (b patientBody) Read(to []byte) (int, error) {
	n, err := b.from.Read(to)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Close closes the request's body.
func (b patientBody) Close() error { return b.from.Close() }
