package wire

import (
	"math"

	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// each translates a list, nil for none.
func each[From, To any](list []From, f func(From) To) []To {
	if len(list) == 0 {
		return nil
	}
	out := make([]To, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

// whole returns n if it is a whole number that a message can hold, else the
// nearest that is.
func whole(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) }

func fromTrial(t *status.Trial) *keelsonv1.Trial {
	if t == nil {
		return nil
	}
	return &keelsonv1.Trial{Change: t.Change, Deadline: stamp(t.Deadline), By: t.By, New: t.New}
}

func toTrial(m *keelsonv1.Trial) *status.Trial {
	if m == nil {
		return nil
	}
	return &status.Trial{Change: m.GetChange(), Deadline: moment(m.GetDeadline()), By: m.GetBy(), New: m.GetNew()}
}

func fromSeat(s reason.Seat) *keelsonv1.Seat {
	return &keelsonv1.Seat{Node: string(s.Node), Role: string(s.Role)}
}

func toSeat(m *keelsonv1.Seat) reason.Seat {
	return reason.Seat{Node: spec.NodeName(m.GetNode()), Role: spec.Role(m.GetRole())}
}

func fromVerdict(v reason.Verdict) *keelsonv1.Verdict {
	return &keelsonv1.Verdict{
		Node: string(v.Node), Stand: string(v.Stand), Score: whole(v.Score), By: string(v.By), Why: v.Why,
		Scores: each(v.Scores, func(s reason.Score) *keelsonv1.Score { return &keelsonv1.Score{Rule: s.Rule, Score: whole(s.Score)} }),
	}
}

func toVerdict(m *keelsonv1.Verdict) reason.Verdict {
	return reason.Verdict{
		Node: spec.NodeName(m.GetNode()), Stand: reason.Stand(m.GetStand()), Score: int(m.GetScore()), By: reason.By(m.GetBy()), Why: m.GetWhy(),
		Scores: each(m.GetScores(), func(s *keelsonv1.Score) reason.Score {
			return reason.Score{Rule: s.GetRule(), Score: int(s.GetScore())}
		}),
	}
}

// FromWhy makes the message that explains a service.
func FromWhy(w reason.Why) *keelsonv1.ExplainServiceResponse {
	return &keelsonv1.ExplainServiceResponse{
		Service: string(w.Service), Now: each(w.Now, fromSeat), Belongs: each(w.Belongs, fromSeat), By: string(w.By), Because: w.Because,
		Nodes: each(w.Nodes, fromVerdict), Plan: w.Plan, Placed: stamp(w.Placed), Hold: w.Hold,
		Shifts: each(w.Shifts, func(s reason.Shift) *keelsonv1.Shift {
			return &keelsonv1.Shift{If: s.If, To: each(s.To, fromSeat), Then: s.Then}
		}),
	}
}

// ToWhy reads the message that explains a service; nil gives the zero value.
func ToWhy(m *keelsonv1.ExplainServiceResponse) reason.Why {
	return reason.Why{
		Service: spec.ServiceName(m.GetService()), Now: each(m.GetNow(), toSeat), Belongs: each(m.GetBelongs(), toSeat), By: reason.By(m.GetBy()), Because: m.GetBecause(),
		Nodes: each(m.GetNodes(), toVerdict), Plan: m.GetPlan(), Placed: moment(m.GetPlaced()), Hold: m.GetHold(),
		Shifts: each(m.GetShifts(), func(s *keelsonv1.Shift) reason.Shift {
			return reason.Shift{If: s.GetIf(), To: each(s.GetTo(), toSeat), Then: s.GetThen()}
		}),
	}
}

// FromOutlook makes the message of what would happen.
func FromOutlook(o reason.Outlook) *keelsonv1.Outlook {
	return &keelsonv1.Outlook{
		Plan: o.Plan, Hold: o.Hold, Stays: strings[string](o.Stays), Notes: o.Notes,
		Changes: each(o.Changes, func(c reason.Change) *keelsonv1.Change {
			return &keelsonv1.Change{
				Service: string(c.Service), Kind: string(c.Kind), From: each(c.From, fromSeat), To: each(c.To, fromSeat),
				Next: strings[string](c.Next), Why: c.Why, Against: each(c.Against, fromVerdict),
			}
		}),
		Alone: each(o.Alone, func(a reason.Alone) *keelsonv1.Alone {
			return &keelsonv1.Alone{Service: string(a.Service), Node: string(a.Node), New: a.New, Against: each(a.Against, fromVerdict)}
		}),
		Steps: each(o.Steps, func(s reason.Step) *keelsonv1.Step {
			return &keelsonv1.Step{Number: count(s.Number), Verb: s.Verb, Service: string(s.Service), Node: string(s.Node), After: each(s.After, count)}
		}),
		Room: each(o.Room, func(r reason.Room) *keelsonv1.Room {
			return &keelsonv1.Room{Node: string(r.Node), Unit: r.Unit, Has: int64(r.Has), Used: int64(r.Used), Left: int64(r.Left)}
		}),
	}
}

// ToOutlook reads the message of what would happen; nil gives the zero value.
func ToOutlook(m *keelsonv1.Outlook) reason.Outlook {
	return reason.Outlook{
		Plan: m.GetPlan(), Hold: m.GetHold(), Stays: strings[spec.ServiceName](m.GetStays()), Notes: m.GetNotes(),
		Changes: each(m.GetChanges(), func(c *keelsonv1.Change) reason.Change {
			return reason.Change{
				Service: spec.ServiceName(c.GetService()), Kind: reason.Kind(c.GetKind()), From: each(c.GetFrom(), toSeat), To: each(c.GetTo(), toSeat),
				Next: strings[spec.NodeName](c.GetNext()), Why: c.GetWhy(), Against: each(c.GetAgainst(), toVerdict),
			}
		}),
		Alone: each(m.GetAlone(), func(a *keelsonv1.Alone) reason.Alone {
			return reason.Alone{Service: spec.ServiceName(a.GetService()), Node: spec.NodeName(a.GetNode()), New: a.GetNew(), Against: each(a.GetAgainst(), toVerdict)}
		}),
		Steps: each(m.GetSteps(), func(s *keelsonv1.Step) reason.Step {
			return reason.Step{
				Number: int(s.GetNumber()), Verb: s.GetVerb(), Service: spec.ServiceName(s.GetService()), Node: spec.NodeName(s.GetNode()),
				After: each(s.GetAfter(), func(n uint32) int { return int(n) }),
			}
		}),
		Room: each(m.GetRoom(), func(r *keelsonv1.Room) reason.Room {
			return reason.Room{Node: spec.NodeName(r.GetNode()), Unit: r.GetUnit(), Has: int(r.GetHas()), Used: int(r.GetUsed()), Left: int(r.GetLeft())}
		}),
	}
}

// FromDecision makes the message of a recorded decision.
func FromDecision(d reason.Decision) *keelsonv1.Decision {
	return &keelsonv1.Decision{Plan: d.Plan, At: stamp(d.At), Node: string(d.Node), Services: strings[string](d.Services), Bytes: count(d.Bytes)}
}

// ToDecision reads the message of a recorded decision; nil gives the zero value.
func ToDecision(m *keelsonv1.Decision) reason.Decision {
	return reason.Decision{
		Plan: m.GetPlan(), At: moment(m.GetAt()), Node: spec.NodeName(m.GetNode()), Services: strings[spec.ServiceName](m.GetServices()), Bytes: int(m.GetBytes()),
	}
}

// FromReplayed makes the message of a decision that was taken again.
func FromReplayed(r reason.Replayed) *keelsonv1.ReplayDecisionResponse {
	return &keelsonv1.ReplayDecisionResponse{
		Decision: FromDecision(r.Decision), Same: r.Same, Compared: r.Compared, Difference: r.Difference, Snapshot: r.Snapshot, Plan: r.Plan, Hold: r.Hold,
		Places: each(r.Places, func(p reason.Placed) *keelsonv1.Placed {
			return &keelsonv1.Placed{Service: string(p.Service), Seats: each(p.Seats, fromSeat), Next: strings[string](p.Next), Changed: p.Changed, Why: p.Why}
		}),
	}
}

// ToReplayed reads the message of a decision that was taken again; nil gives the
// zero value.
func ToReplayed(m *keelsonv1.ReplayDecisionResponse) reason.Replayed {
	return reason.Replayed{
		Decision: ToDecision(m.GetDecision()), Same: m.GetSame(), Compared: m.GetCompared(), Difference: m.GetDifference(),
		Snapshot: m.GetSnapshot(), Plan: m.GetPlan(), Hold: m.GetHold(),
		Places: each(m.GetPlaces(), func(p *keelsonv1.Placed) reason.Placed {
			return reason.Placed{
				Service: spec.ServiceName(p.GetService()), Seats: each(p.GetSeats(), toSeat), Next: strings[spec.NodeName](p.GetNext()), Changed: p.GetChanged(), Why: p.GetWhy(),
			}
		}),
	}
}

// FromConfirmed makes the message that answers the confirmation of a change.
func FromConfirmed(c request.Confirmed) *keelsonv1.ConfirmChangeResponse {
	return &keelsonv1.ConfirmChangeResponse{Change: c.Change, Services: strings[string](c.Services)}
}

// ToConfirmed reads the message that answers the confirmation of a change; nil
// gives the zero value.
func ToConfirmed(m *keelsonv1.ConfirmChangeResponse) request.Confirmed {
	return request.Confirmed{Change: m.GetChange(), Services: strings[spec.ServiceName](m.GetServices())}
}
