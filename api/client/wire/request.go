package wire

import (
	"math"
	"time"

	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// FromApplyResult makes the message of an apply's result.
func FromApplyResult(r request.ApplyResult) *keelsonv1.ApplyResponse {
	out := &keelsonv1.ApplyResponse{Warnings: r.Warnings, Change: r.Change, Deadline: stamp(r.Deadline)}
	for _, a := range r.Applied {
		out.Applied = append(out.Applied, &keelsonv1.Applied{
			Name: string(a.Name), Outcome: string(a.Outcome), Generation: a.Generation,
		})
	}
	return out
}

// ToApplyResult reads the message of an apply's result; nil gives the zero value.
func ToApplyResult(m *keelsonv1.ApplyResponse) request.ApplyResult {
	out := request.ApplyResult{Warnings: m.GetWarnings(), Change: m.GetChange(), Deadline: moment(m.GetDeadline())}
	for _, a := range m.GetApplied() {
		out.Applied = append(out.Applied, request.Applied{
			Name: spec.ServiceName(a.GetName()), Outcome: request.Outcome(a.GetOutcome()), Generation: a.GetGeneration(),
		})
	}
	return out
}

// FromLogs makes the message that asks for logs.
func FromLogs(q request.Logs) *keelsonv1.ReadLogsRequest {
	return &keelsonv1.ReadLogsRequest{
		Service: string(q.Service), Part: q.Part, Node: string(q.Node), Lines: count(q.Lines), Follow: q.Follow,
	}
}

// ToLogs reads the message that asks for logs; nil gives the zero value.
func ToLogs(m *keelsonv1.ReadLogsRequest) request.Logs {
	return request.Logs{
		Service: spec.ServiceName(m.GetService()), Part: m.GetPart(), Node: spec.NodeName(m.GetNode()),
		Lines: int(min(m.GetLines(), request.MaxLines)), Follow: m.GetFollow(),
	}
}

// FromTokenMade makes the message of a new token.
func FromTokenMade(t request.TokenMade) *keelsonv1.CreateTokenResponse {
	return &keelsonv1.CreateTokenResponse{Token: t.Token, Expires: stamp(t.Expires), Address: t.Address}
}

// ToTokenMade reads the message of a new token; nil gives the zero value.
func ToTokenMade(m *keelsonv1.CreateTokenResponse) request.TokenMade {
	return request.TokenMade{Token: m.GetToken(), Expires: moment(m.GetExpires()), Address: m.GetAddress()}
}

// FromToken makes the message that asks for a token.
func FromToken(t request.Token) *keelsonv1.CreateTokenRequest {
	return &keelsonv1.CreateTokenRequest{Valid: span(t.Valid)}
}

// FromJoin makes the message that asks for membership.
func FromJoin(j request.Join) *keelsonv1.JoinRequest {
	return &keelsonv1.JoinRequest{
		Token: j.Token, Name: string(j.Name), Csr: j.CSR, Address: j.Address, Links: j.Links, Labels: j.Labels,
		Witness: j.Witness, ApiPort: count(j.Ports.API), LinkPort: count(j.Ports.Link),
		PeerPort: count(j.Ports.Peer), ClientPort: count(j.Ports.Client),
		Version: j.Version, Clock: stamp(j.Clock),
	}
}

// ToJoin reads the message that asks for membership; nil gives the zero value.
// A port that is none becomes 0.
func ToJoin(m *keelsonv1.JoinRequest) request.Join {
	return request.Join{
		Token: m.GetToken(), Name: spec.NodeName(m.GetName()), CSR: m.GetCsr(), Address: m.GetAddress(),
		Links: m.GetLinks(), Labels: m.GetLabels(), Witness: m.GetWitness(),
		Ports:   ports(m.GetApiPort(), m.GetLinkPort(), m.GetPeerPort(), m.GetClientPort()),
		Version: m.GetVersion(), Clock: moment(m.GetClock()),
	}
}

// FromJoined makes the message that answers a join.
func FromJoined(j request.Joined) *keelsonv1.JoinResponse {
	return &keelsonv1.JoinResponse{
		Certificate: j.Certificate, Ca: j.CA, Cell: j.Cell, CellId: j.CellID, NodeId: j.NodeID,
		Slot: uint32(j.Slot), Endpoints: j.Endpoints, Notes: j.Notes,
	}
}

// ToJoined reads the message that answers a join; nil gives the zero value.
func ToJoined(m *keelsonv1.JoinResponse) request.Joined {
	return request.Joined{
		Certificate: m.GetCertificate(), CA: m.GetCa(), Cell: m.GetCell(), CellID: m.GetCellId(),
		NodeID: m.GetNodeId(), Slot: uint8(small(m.GetSlot(), math.MaxUint8)),
		Endpoints: m.GetEndpoints(), Notes: m.GetNotes(),
	}
}

// FromRecovery makes the message of what bounds a cell's own moves.
func FromRecovery(r spec.Recovery) *keelsonv1.Recovery {
	return &keelsonv1.Recovery{
		Share: count(r.Share), ServiceMoves: count(r.ServiceMoves), CellMoves: count(r.CellMoves), Window: span(time.Duration(r.Window)),
	}
}

// ToRecovery reads the message of what bounds a cell's own moves; nil gives the
// zero value.
func ToRecovery(m *keelsonv1.Recovery) spec.Recovery {
	return spec.Recovery{
		Share: small(m.GetShare(), math.MaxInt32), ServiceMoves: small(m.GetServiceMoves(), math.MaxInt32),
		CellMoves: small(m.GetCellMoves(), math.MaxInt32), Window: spec.Duration(Span(m.GetWindow())),
	}
}
