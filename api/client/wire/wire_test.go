package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/keelson/keelson/api/client/wire"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func word(t *rapid.T) string   { return rapid.StringMatching(`[a-z]{0,8}`).Draw(t, "word") }
func flag(t *rapid.T) bool     { return rapid.Bool().Draw(t, "flag") }
func number(t *rapid.T) uint64 { return rapid.Uint64().Draw(t, "number") }
func span(t *rapid.T) time.Duration {
	return time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "span"))
}

func moment(t *rapid.T) time.Time {
	s := rapid.Int64Range(0, 4_000_000_000).Draw(t, "moment")
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
}

func list[T any](t *rapid.T, f func(*rapid.T) T) []T {
	var out []T
	for range rapid.IntRange(0, 3).Draw(t, "length") {
		out = append(out, f(t))
	}
	return out
}

func labels(t *rapid.T) map[string]string {
	return rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}`), rapid.StringMatching(`[a-z]{1,4}`), 0, 3).Draw(t, "labels")
}

func node(t *rapid.T) status.Node {
	return status.Node{
		Name: spec.NodeName(word(t)), Slot: rapid.Uint8Range(0, 31).Draw(t, "slot"), Address: word(t), Labels: labels(t),
		Liveness: fact.Liveness(word(t)), Voter: flag(t), Witness: flag(t), Draining: flag(t), Leaving: flag(t),
		Version: word(t), Joined: moment(t), Stall: span(t), Warnings: list(t, word),
		Services: list(t, func(t *rapid.T) spec.ServiceName { return spec.ServiceName(word(t)) }), GuardUp: flag(t),
		Trust: status.Trust{State: fact.Trust(word(t)), Until: moment(t), Why: word(t)}, Measured: span(t), Dropped: map[string]uint64{word(t): 7}, Stale: flag(t),
	}
}

func service(t *rapid.T) status.Service {
	s := status.Service{
		Name: spec.ServiceName(word(t)), State: status.State(word(t)), Ready: flag(t), Node: spec.NodeName(word(t)),
		Since: moment(t), Epoch: number(t), Exclusive: flag(t), Generation: number(t),
		Successors: list(t, func(t *rapid.T) spec.NodeName { return spec.NodeName(word(t)) }),
		Parts: list(t, func(t *rapid.T) fact.Part {
			return fact.Part{Name: word(t), Kind: word(t), State: word(t), Detail: word(t)}
		}),
		Failures: list(t, func(t *rapid.T) status.Failure {
			return status.Failure{At: moment(t), Node: spec.NodeName(word(t)), Part: word(t), Why: word(t)}
		}),
		Reasons: list(t, word), TTL: span(t), Problem: word(t), Notes: status.Notes{Doubt: status.Doubt{Stale: flag(t), LastKnown: word(t)}},
		Recovery: status.Recovery{
			Halted: moment(t), Waits: word(t),
			Tried: list(t, func(t *rapid.T) fact.Try {
				return fact.Try{Node: spec.NodeName(word(t)), At: moment(t), Why: word(t), Until: moment(t)}
			}),
		},
	}
	if flag(t) {
		s.Trial = &status.Trial{Change: word(t), Deadline: moment(t), By: word(t), New: flag(t)}
	}
	if flag(t) {
		s.Spec = &spec.Service{Name: "x", Priority: 3, Parts: []spec.Part{{Exec: &spec.Exec{Command: []string{"/bin/x"}}}}}
	}
	return s
}

func same(t *rapid.T, got, want any) {
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("not what it was (-was +is):\n%s", diff)
	}
}

func TestWhatGoesThereAndBackIsWhatItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := status.Cell{
			Name: word(t), ID: word(t), Node: spec.NodeName(word(t)), At: moment(t), Quorate: flag(t),
			Controller: spec.NodeName(word(t)), Nodes: list(t, node), Services: list(t, service),
			Problems: list(t, word), Stale: flag(t),
		}
		same(t, wire.ToStatus(wire.FromStatus(c)), c)

		r := spec.Recovery{Share: rapid.IntRange(0, 100).Draw(t, "share"), ServiceMoves: 3, CellMoves: 7, Window: spec.Duration(span(t))}
		same(t, wire.ToRecovery(wire.FromRecovery(r)), r)

		e := event.Event{
			Seq: number(t), At: moment(t), Boot: span(t), Node: spec.NodeName(word(t)), Kind: event.Kind(word(t)),
			Service: spec.ServiceName(word(t)), About: spec.NodeName(word(t)), Part: word(t), Epoch: number(t),
			Text: word(t), Actor: word(t), Plan: word(t),
		}
		same(t, wire.ToEvent(wire.FromEvent(e)), e)

		port := rapid.IntRange(0, 65535)
		j := request.Join{
			Token: word(t), Name: spec.NodeName(word(t)), CSR: []byte(word(t)), Address: word(t), Links: list(t, word),
			Labels: labels(t), Witness: flag(t), Version: word(t), Clock: moment(t),
			Ports: record.Ports{API: port.Draw(t, "p"), Link: port.Draw(t, "p"), Peer: port.Draw(t, "p"), Client: port.Draw(t, "p")},
		}
		same(t, wire.ToJoin(wire.FromJoin(j)), j)

		d := request.Joined{
			Certificate: []byte(word(t)), CA: []byte(word(t)), Cell: word(t), CellID: word(t), NodeID: word(t),
			Slot: rapid.Uint8Range(0, 31).Draw(t, "slot"), Endpoints: list(t, word), Notes: list(t, word),
		}
		same(t, wire.ToJoined(wire.FromJoined(d)), d)

		l := request.Logs{
			Service: spec.ServiceName(word(t)), Part: word(t), Node: spec.NodeName(word(t)),
			Lines: rapid.IntRange(0, request.MaxLines).Draw(t, "lines"), Follow: flag(t),
		}
		same(t, wire.ToLogs(wire.FromLogs(l)), l)

		a := request.ApplyResult{Warnings: list(t, word), Change: word(t), Deadline: moment(t), Applied: list(t, func(t *rapid.T) request.Applied {
			return request.Applied{Name: spec.ServiceName(word(t)), Outcome: request.Outcome(word(t)), Generation: number(t)}
		})}
		same(t, wire.ToApplyResult(wire.FromApplyResult(a)), a)

		m := request.TokenMade{Token: word(t), Expires: moment(t), Address: word(t)}
		same(t, wire.ToTokenMade(wire.FromTokenMade(m)), m)
	})
}

func serviceName(t *rapid.T) spec.ServiceName { return spec.ServiceName(word(t)) }

func nodeName(t *rapid.T) spec.NodeName { return spec.NodeName(word(t)) }

func integer(t *rapid.T) int { return rapid.IntRange(-1_000_000, 1_000_000).Draw(t, "integer") }

func seat(t *rapid.T) reason.Seat { return reason.Seat{Node: nodeName(t), Role: spec.Role(word(t))} }

func verdict(t *rapid.T) reason.Verdict {
	return reason.Verdict{
		Node: nodeName(t), Stand: reason.Stand(word(t)), Score: integer(t), By: reason.By(word(t)), Why: word(t),
		Scores: list(t, func(t *rapid.T) reason.Score { return reason.Score{Rule: word(t), Score: integer(t)} }),
	}
}

func TestAnswersToQuestionsAreWhatTheyWere(t *testing.T) {
	some := func(t *rapid.T) int { return rapid.IntRange(0, 1000).Draw(t, "some") }
	rapid.Check(t, func(t *rapid.T) {
		w := reason.Why{
			Service: serviceName(t), Now: list(t, seat), Belongs: list(t, seat), By: reason.By(word(t)), Because: list(t, word), Nodes: list(t, verdict),
			Plan: word(t), Placed: moment(t), Hold: word(t),
			Shifts: list(t, func(t *rapid.T) reason.Shift { return reason.Shift{If: word(t), To: list(t, seat), Then: word(t)} }),
		}
		same(t, wire.ToWhy(wire.FromWhy(w)), w)

		o := reason.Outlook{
			Plan: word(t), Hold: word(t), Stays: list(t, serviceName), Notes: list(t, word),
			Changes: list(t, func(t *rapid.T) reason.Change {
				return reason.Change{
					Service: serviceName(t), Kind: reason.Kind(word(t)), From: list(t, seat), To: list(t, seat), Next: list(t, nodeName), Why: list(t, word), Against: list(t, verdict),
				}
			}),
			Alone: list(t, func(t *rapid.T) reason.Alone {
				return reason.Alone{Service: serviceName(t), Node: nodeName(t), New: flag(t), Against: list(t, verdict)}
			}),
			Steps: list(t, func(t *rapid.T) reason.Step {
				return reason.Step{Number: some(t), Verb: word(t), Service: serviceName(t), Node: nodeName(t), After: list(t, some)}
			}),
			Room: list(t, func(t *rapid.T) reason.Room {
				return reason.Room{Node: nodeName(t), Unit: word(t), Has: integer(t), Used: integer(t), Left: integer(t)}
			}),
		}
		same(t, wire.ToOutlook(wire.FromOutlook(o)), o)

		r := reason.Replayed{
			Decision: reason.Decision{Plan: word(t), At: moment(t), Node: nodeName(t), Services: list(t, serviceName), Bytes: some(t)},
			Same:     flag(t), Compared: flag(t), Difference: word(t), Snapshot: []byte(word(t)), Plan: []byte(word(t)), Hold: word(t),
			Places: list(t, func(t *rapid.T) reason.Placed {
				return reason.Placed{Service: serviceName(t), Seats: list(t, seat), Next: list(t, nodeName), Changed: flag(t), Why: list(t, word)}
			}),
		}
		same(t, wire.ToReplayed(wire.FromReplayed(r)), r)

		c := request.Confirmed{Change: word(t), Services: list(t, serviceName)}
		same(t, wire.ToConfirmed(wire.FromConfirmed(c)), c)
	})
}

func TestNothingIsMadeOfNothing(t *testing.T) {
	if diff := cmp.Diff(status.Cell{}, wire.ToStatus(nil)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(request.Join{}, wire.ToJoin(nil)); diff != "" {
		t.Error(diff)
	}
}

func TestJSONIsTheSameEveryTimeAndHasEveryField(t *testing.T) {
	got, err := wire.JSON(status.Node{Name: "a", Joined: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "name": "a",
  "slot": 0,
  "address": "",
  "labels": {},
  "liveness": "",
  "voter": false,
  "witness": false,
  "draining": false,
  "leaving": false,
  "version": "",
  "joined": "1970-01-01T00:00:00Z",
  "warnings": [],
  "services": [],
  "guard_up": false,
  "maintenance": false,
  "stale": false,
  "dropped": {},
  "trust": "",
  "trust_why": ""
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	for _, v := range []any{
		status.Cell{},
		status.Service{},
		[]status.Node{{}},
		[]status.Service{},
		event.Event{},
		[]event.Event(nil),
		request.ApplyResult{},
		request.TokenMade{},
		reason.Why{},
		reason.Outlook{},
		[]reason.Decision(nil),
		reason.Replayed{},
		request.Confirmed{},
	} {
		text, err := wire.JSON(v)
		if err != nil || !json.Valid(text) {
			t.Errorf("%T: %s, %v", v, text, err)
		}
	}
	if _, err := wire.JSON(7); err == nil || !strings.Contains(err.Error(), "int") {
		t.Errorf("a number: %v", err)
	}
}
