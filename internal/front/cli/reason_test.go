package cli_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/specfile"
)

// The town's answers to questions about decisions.

func (t *town) Confirm(_ context.Context, ask request.Confirm) (request.Confirmed, error) {
	if ask.Change != "" && ask.Change != "5c0fd1a2" {
		return request.Confirmed{}, refuse(request.NotFound, "no-such-change", fmt.Sprintf("no change %q waits to be confirmed", ask.Change))
	}
	return request.Confirmed{Change: "5c0fd1a2", Services: []spec.ServiceName{"shop", "web"}}, nil
}

func (t *town) Why(_ context.Context, name spec.ServiceName) (reason.Why, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.services[name]; !known {
		return reason.Why{}, refuse(request.NotFound, "no-such-service", fmt.Sprintf("there is no service %q", string(name)))
	}
	return reason.Why{
		Service: name, Now: []reason.Seat{{Node: "a"}}, Belongs: []reason.Seat{{Node: "a"}}, By: reason.ByPreference,
		Because: []string{"shop belongs on a: a scores 150 (place.prefer ssd=true +50, place.stickiness +100), b 0"},
		Nodes: []reason.Verdict{
			{Node: "a", Stand: reason.Home, Score: 150, By: reason.ByPreference, Why: "a scores 150 (place.prefer ssd=true +50, place.stickiness +100), b 0"},
			{Node: "b", Stand: reason.Next, By: reason.ByPreference, Why: "a scores 150 (place.prefer ssd=true +50, place.stickiness +100), b 0"},
			{Node: "c", Stand: reason.Never, By: reason.ByRule, Why: "c is lost"},
		},
		Shifts: []reason.Shift{{If: "a were lost", To: []reason.Seat{{Node: "b"}}}},
		Plan:   "3f2a91c0d2e4b871", Placed: noon(),
	}, nil
}

func (t *town) Plan(_ context.Context, ask request.Plan) (reason.Outlook, error) {
	list, err := specfile.Parse(ask.File.Name, ask.File.Content)
	if err != nil {
		return reason.Outlook{}, &request.Error{Kind: request.Invalid, Code: "spec-invalid", Text: err.Error(), Hint: "nothing was changed"}
	}
	out := reason.Outlook{Plan: "3f2a91c0d2e4b871", Stays: []spec.ServiceName{"slowmail"}}
	for _, s := range list {
		switch s.Name {
		case "same":
		case "big":
			out.Changes = append(out.Changes, reason.Change{
				Service: "shop", Kind: reason.Loses, From: []reason.Seat{{Node: "a"}},
				Against: []reason.Verdict{{Node: "a", Why: "it needs 8 of cpu, and 2 are free there"}, {Node: "c", Why: "c is lost"}},
			})
		default:
			out.Changes = append(out.Changes, reason.Change{Service: s.Name, Kind: reason.Starts, To: []reason.Seat{{Node: "b"}}, Next: []spec.NodeName{"a"}, Why: []string{"b has fewer services"}})
			out.Steps = append(out.Steps, reason.Step{Number: 1, Verb: "start", Service: s.Name, Node: "b"})
		}
	}
	return out, nil
}

func (t *town) WhatIf(_ context.Context, ask request.WhatIf) (reason.Outlook, error) {
	out := reason.Outlook{
		Alone: []reason.Alone{{Service: "shop", Node: "b", New: true, Against: []reason.Verdict{{Node: "a", Why: "a is lost"}}}},
		Room:  []reason.Room{{Node: "b", Unit: "cpu", Has: 16, Used: 12, Left: 4}},
	}
	if slices.Contains(ask.Drain, "c") {
		out.Changes = []reason.Change{{Service: "shop", Kind: reason.Loses, From: []reason.Seat{{Node: "c"}}}}
	}
	for _, w := range ask.Fail {
		if w != "a" && w != "rack=r1" {
			return out, refuse(request.NotFound, "no-such-node", fmt.Sprintf("there is no node %q", w))
		}
		out.Changes = []reason.Change{{Service: "shop", Kind: reason.Moves, From: []reason.Seat{{Node: "a"}}, To: []reason.Seat{{Node: "b"}}, Why: []string{"a is lost"}}}
	}
	return out, nil
}

func (t *town) Decisions(context.Context) ([]reason.Decision, error) {
	return []reason.Decision{
		{Plan: "0011223344556677", At: noon(), Node: "b", Services: []spec.ServiceName{"mail"}},
		{Plan: "3f2a91c0d2e4b871", At: noon().Add(time.Minute), Node: "a", Services: []spec.ServiceName{"shop", "web"}, Bytes: 1234},
	}, nil
}

func (t *town) Replay(_ context.Context, ask request.Replay) (reason.Replayed, error) {
	r := reason.Replayed{
		Decision: reason.Decision{Plan: "3f2a91c0d2e4b871", At: noon(), Node: "a"}, Same: true, Compared: true,
		Places: []reason.Placed{{Service: "shop", Seats: []reason.Seat{{Node: "a"}}, Next: []spec.NodeName{"b"}, Changed: true, Why: []string{"a before b: all else is equal"}}},
	}
	switch ask.Which {
	case "3f2a91c0", "2":
	case "beef":
		r.Same, r.Difference = false, "shop: it was a and is b now"
	default:
		return reason.Replayed{}, refuse(request.NotFound, "no-decision", "there is no recorded decision "+ask.Which)
	}
	if ask.Full {
		r.Snapshot, r.Plan = []byte(`{"now":"2026-11-23T12:00:00Z"}`), []byte(`{"id":"3f2a91c0d2e4b871"}`)
	}
	return r, nil
}
