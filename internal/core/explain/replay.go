package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
)

// ErrNotASnapshot means that a text is not the JSON form of a snapshot.
var ErrNotASnapshot = errors.New("not a snapshot")

// Replay decides again on a snapshot, given as JSON, and compares the plan with
// the one that was recorded, as JSON too; nil: there is none to compare with. It
// returns [ErrNotASnapshot] for a text that is none.
func Replay(snapshot, recorded []byte) (reason.Replayed, error) {
	var s fact.Snapshot
	d := json.NewDecoder(bytes.NewReader(snapshot))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return reason.Replayed{}, fmt.Errorf("read a snapshot: %w: %w", ErrNotASnapshot, err)
	}
	if s.Now.IsZero() && len(s.Nodes) == 0 && len(s.Services) == 0 {
		return reason.Replayed{}, fmt.Errorf("read a snapshot: %w: it has neither a time nor nodes nor services", ErrNotASnapshot)
	}
	plan := decideOn(s)
	text, err := json.Marshal(plan)
	if err != nil {
		return reason.Replayed{}, fmt.Errorf("write plan %s: %w", plan.ID, err)
	}
	out := reason.Replayed{
		Decision: reason.Decision{Plan: plan.ID, At: s.Now}, Snapshot: snapshot, Plan: text, Hold: plan.Hold,
		Compared: recorded != nil, Same: recorded != nil && bytes.Equal(text, recorded),
	}
	for _, p := range plan.Placements {
		one := reason.Placed{Service: p.Service, Seats: seatsOf(p), Next: nextOf(p), Changed: p.Changed, Why: slices.Clone(p.Why)}
		for _, r := range p.Refusals {
			one.Why = append(one.Why, r.Why)
		}
		out.Places = append(out.Places, one)
		if p.Changed {
			out.Decision.Services = append(out.Decision.Services, p.Service)
		}
	}
	if out.Compared && !out.Same {
		out.Difference = difference(recorded, plan)
	}
	return out, nil
}

// difference says what differs first between a recorded plan and the one of now.
func difference(recorded []byte, now action.Plan) string {
	var then action.Plan
	if err := json.Unmarshal(recorded, &then); err != nil {
		return "the recorded plan cannot be read: " + err.Error()
	}
	switch {
	case then.ID != now.ID:
		return fmt.Sprintf("the snapshot reads as another: it was %s and is %s now", then.ID, now.ID)
	case then.Hold != now.Hold:
		return fmt.Sprintf("it was held back for %q and is for %q now", then.Hold, now.Hold)
	}
	for _, p := range now.Placements {
		old := placed(then, p.Service)
		if a, b := seatsOf(old), seatsOf(p); !sameSeats(a, b) {
			return fmt.Sprintf("%s: it was %s and is %s now", p.Service, names(a), names(b))
		}
		if !slices.Equal(old.Order, p.Order) {
			return fmt.Sprintf("%s: who takes over was %s and is %s now", p.Service, list(nextOf(old)), list(nextOf(p)))
		}
	}
	for _, p := range now.Placements {
		if old := placed(then, p.Service); !slices.Equal(old.Why, p.Why) || !slices.Equal(old.Refusals, p.Refusals) {
			return fmt.Sprintf("%s: it has the same place, for reasons in other words", p.Service)
		}
	}
	if len(then.Placements) != len(now.Placements) || !slices.Equal(then.Forget, now.Forget) {
		return "the services that it is about differ"
	}
	return "the places are the same, and the steps or the form differ"
}

func list(nodes []spec.NodeName) string {
	seats := make([]reason.Seat, 0, len(nodes))
	for _, n := range nodes {
		seats = append(seats, reason.Seat{Node: n})
	}
	return names(seats)
}

// sameParts tells whether two specs start the same parts: then what runs goes on.
func sameParts(a, b []spec.Part) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
