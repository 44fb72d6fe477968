package wire

import (
	"encoding/json"
	"math"

	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// FromStatus makes the message of a status.
func FromStatus(c status.Cell) *keelsonv1.Status {
	out := &keelsonv1.Status{
		Cell: c.Name, CellId: c.ID, Node: string(c.Node), At: stamp(c.At), Quorate: c.Quorate,
		Controller: string(c.Controller), Problems: c.Problems, Stale: c.Stale, Maintenance: c.Maintenance,
	}
	for _, n := range c.Nodes {
		out.Nodes = append(out.Nodes, FromNode(n))
	}
	for _, s := range c.Services {
		out.Services = append(out.Services, FromService(s))
	}
	return out
}

// ToStatus reads the message of a status; nil gives the zero value.
func ToStatus(m *keelsonv1.Status) status.Cell {
	out := status.Cell{
		Name: m.GetCell(), ID: m.GetCellId(), Node: spec.NodeName(m.GetNode()), At: moment(m.GetAt()),
		Quorate: m.GetQuorate(), Controller: spec.NodeName(m.GetController()),
		Problems: m.GetProblems(), Stale: m.GetStale(), Maintenance: m.GetMaintenance(),
	}
	for _, n := range m.GetNodes() {
		out.Nodes = append(out.Nodes, ToNode(n))
	}
	for _, s := range m.GetServices() {
		out.Services = append(out.Services, ToService(s))
	}
	return out
}

// FromNode makes the message of a node.
func FromNode(n status.Node) *keelsonv1.Node {
	return &keelsonv1.Node{
		Name: string(n.Name), Slot: uint32(n.Slot), Address: n.Address, Labels: n.Labels,
		Liveness: string(n.Liveness), Voter: n.Voter, Witness: n.Witness,
		Draining: n.Draining, Leaving: n.Leaving, Version: n.Version, Joined: stamp(n.Joined),
		Stall: span(n.Stall), Warnings: n.Warnings, Services: strings[string](n.Services), GuardUp: n.GuardUp,
		Maintenance: n.Maintenance, Measured: span(n.Measured), Dropped: n.Dropped, Stale: n.Stale,
		Trust: string(n.Trust.State), TrustUntil: stamp(n.Trust.Until), TrustWhy: n.Trust.Why,
	}
}

// ToNode reads the message of a node; nil gives the zero value.
func ToNode(m *keelsonv1.Node) status.Node {
	return status.Node{
		Name: spec.NodeName(m.GetName()), Slot: uint8(small(m.GetSlot(), math.MaxUint8)),
		Address: m.GetAddress(), Labels: m.GetLabels(), Liveness: fact.Liveness(m.GetLiveness()),
		Voter: m.GetVoter(), Witness: m.GetWitness(), Draining: m.GetDraining(), Leaving: m.GetLeaving(),
		Version: m.GetVersion(), Joined: moment(m.GetJoined()), Stall: Span(m.GetStall()),
		Warnings: m.GetWarnings(), Services: strings[spec.ServiceName](m.GetServices()), GuardUp: m.GetGuardUp(),
		Maintenance: m.GetMaintenance(), Measured: Span(m.GetMeasured()), Dropped: m.GetDropped(), Stale: m.GetStale(),
		Trust: status.Trust{State: fact.Trust(m.GetTrust()), Until: moment(m.GetTrustUntil()), Why: m.GetTrustWhy()},
	}
}

// FromService makes the message of a service.
func FromService(s status.Service) *keelsonv1.Service {
	out := &keelsonv1.Service{
		Name: string(s.Name), State: string(s.State), Ready: s.Ready, Node: string(s.Node), Since: stamp(s.Since),
		Epoch: s.Epoch, Exclusive: s.Exclusive, Generation: s.Generation,
		Successors: strings[string](s.Successors), Reasons: s.Reasons, Ttl: span(s.TTL), Problem: s.Problem, Trial: fromTrial(s.Trial),
		Waits: s.Waits, Maintenance: s.Maintenance, Copies: fromCopies(s.Copies), Parts: fromParts(s.Parts),
		Halted: stamp(s.Recovery.Halted), HeldBack: s.Recovery.Waits, Stale: s.Stale, LastKnown: s.LastKnown,
	}
	for _, t := range s.Recovery.Tried {
		out.Tried = append(out.Tried, &keelsonv1.Try{Node: string(t.Node), At: stamp(t.At), Why: t.Why, Until: stamp(t.Until)})
	}
	if b := s.Bound; b != (status.Bound{}) {
		out.Bound = &keelsonv1.Bound{
			Total: span(b.Total), Lease: span(b.Lease), Claim: span(b.Claim), Start: span(b.Start), Node: string(b.By), Why: b.Why,
		}
	}
	for _, f := range s.Failures {
		out.Failures = append(out.Failures, &keelsonv1.Failure{At: stamp(f.At), Node: string(f.Node), Part: f.Part, Why: f.Why})
	}
	if s.Spec != nil {
		// A spec is plain data and always has a JSON form.
		if text, err := json.Marshal(s.Spec); err == nil {
			out.SpecJson = string(text)
		}
	}
	return out
}

// ToService reads the message of a service; nil gives the zero value. A spec of
// a newer version that cannot be read is left out.
func ToService(m *keelsonv1.Service) status.Service {
	out := status.Service{
		Name: spec.ServiceName(m.GetName()), State: status.State(m.GetState()), Ready: m.GetReady(),
		Node: spec.NodeName(m.GetNode()), Since: moment(m.GetSince()), Epoch: m.GetEpoch(),
		Exclusive: m.GetExclusive(), Generation: m.GetGeneration(),
		Successors: strings[spec.NodeName](m.GetSuccessors()), Reasons: m.GetReasons(),
		TTL: Span(m.GetTtl()), Problem: m.GetProblem(), Trial: toTrial(m.GetTrial()),
		Notes: status.Notes{
			Pause: status.Pause{Waits: m.GetWaits(), Maintenance: m.GetMaintenance()},
			Doubt: status.Doubt{Stale: m.GetStale(), LastKnown: m.GetLastKnown()},
		},
		Copies: toCopies(m.GetCopies()), Parts: toParts(m.GetParts()),
		Recovery: status.Recovery{Halted: moment(m.GetHalted()), Waits: m.GetHeldBack()},
	}
	for _, t := range m.GetTried() {
		out.Recovery.Tried = append(out.Recovery.Tried, fact.Try{
			Node: spec.NodeName(t.GetNode()), At: moment(t.GetAt()), Why: t.GetWhy(), Until: moment(t.GetUntil()),
		})
	}
	if b := m.GetBound(); b != nil {
		out.Bound = status.Bound{
			Total: Span(b.GetTotal()), Lease: Span(b.GetLease()), Claim: Span(b.GetClaim()), Start: Span(b.GetStart()),
			By: spec.NodeName(b.GetNode()), Why: b.GetWhy(),
		}
	}
	for _, f := range m.GetFailures() {
		out.Failures = append(out.Failures, status.Failure{
			At: moment(f.GetAt()), Node: spec.NodeName(f.GetNode()), Part: f.GetPart(), Why: f.GetWhy(),
		})
	}
	if text := m.GetSpecJson(); text != "" {
		var s spec.Service
		if json.Unmarshal([]byte(text), &s) == nil {
			out.Spec = &s
		}
	}
	return out
}

func fromParts(parts []fact.Part) []*keelsonv1.Part {
	var out []*keelsonv1.Part
	for _, p := range parts {
		out = append(out, &keelsonv1.Part{Name: p.Name, Kind: p.Kind, State: p.State, Detail: p.Detail})
	}
	return out
}

func toParts(parts []*keelsonv1.Part) []fact.Part {
	var out []fact.Part
	for _, p := range parts {
		out = append(out, fact.Part{Name: p.GetName(), Kind: p.GetKind(), State: p.GetState(), Detail: p.GetDetail()})
	}
	return out
}

func fromCopies(copies []status.Copy) []*keelsonv1.Copy {
	var out []*keelsonv1.Copy
	for _, c := range copies {
		out = append(out, &keelsonv1.Copy{
			Node: string(c.Node), Number: uint32(max(0, c.Number)), Role: string(c.Role), State: c.State, Ready: c.Ready,
			Waits: c.Waits, Since: stamp(c.Since), Parts: fromParts(c.Parts),
		})
	}
	return out
}

func toCopies(copies []*keelsonv1.Copy) []status.Copy {
	var out []status.Copy
	for _, c := range copies {
		out = append(out, status.Copy{
			Node: spec.NodeName(c.GetNode()), Number: int(small(c.GetNumber(), math.MaxUint16)), Role: spec.Role(c.GetRole()),
			State: c.GetState(), Ready: c.GetReady(), Waits: c.GetWaits(), Since: moment(c.GetSince()), Parts: toParts(c.GetParts()),
		})
	}
	return out
}

// FromEvent makes the message of an event.
func FromEvent(e event.Event) *keelsonv1.Event {
	return &keelsonv1.Event{
		Seq: e.Seq, At: stamp(e.At), Node: string(e.Node), Kind: string(e.Kind), Service: string(e.Service),
		About: string(e.About), Part: e.Part, Epoch: e.Epoch, Text: e.Text, Actor: e.Actor, Boot: span(e.Boot), Plan: e.Plan,
	}
}

// ToEvent reads the message of an event; nil gives the zero value.
func ToEvent(m *keelsonv1.Event) event.Event {
	return event.Event{
		Seq: m.GetSeq(), At: moment(m.GetAt()), Node: spec.NodeName(m.GetNode()), Kind: event.Kind(m.GetKind()),
		Service: spec.ServiceName(m.GetService()), About: spec.NodeName(m.GetAbout()), Part: m.GetPart(),
		Epoch: m.GetEpoch(), Text: m.GetText(), Actor: m.GetActor(), Boot: Span(m.GetBoot()), Plan: m.GetPlan(),
	}
}
