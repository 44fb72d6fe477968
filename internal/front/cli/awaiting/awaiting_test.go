package awaiting

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func TestVerdicts(t *testing.T) {
	shop := func(change func(*client.Service)) client.Status {
		s := client.Service{Name: "shop", State: status.Running, Ready: true, Node: "a", Generation: 2}
		change(&s)
		return client.Status{Node: "a", Services: []client.Service{s}, Nodes: []client.Node{{Name: "a", Draining: true}}}
	}
	same := func(*client.Service) {}
	move := func(from, to spec.NodeName) *Move {
		return &Move{Service: "shop", Moved: request.Moved{From: from, To: to}}
	}
	homeless := func(s *client.Service) {
		s.Node, s.State, s.Problem = "", status.Homeless, "no node may run it: a is drained"
	}
	halted := func(s *client.Service) {
		s.Node, s.State, s.Problem, s.Recovery.Halted = "", status.Failed, "stopped for a person", time.Unix(1, 0)
	}
	stuck := func(s *client.Service) { s.State, s.Problem = status.Failed, "a part of it does not stop on a" }
	failedOnB := func(s *client.Service) {
		s.Failures = []status.Failure{{Node: "b", Part: "exec", Why: "it ended with exit status 1"}}
	}
	back := move("a", "b")
	back.Reached(shop(same))
	again := move("a", "b")
	again.Reached(shop(failedOnB))
	result := client.ApplyResult{Applied: []request.Applied{{Name: "shop", Generation: 2}}}
	tests := []struct {
		name string
		got  Verdict
		want Verdict
	}{
		{"applied and running", Applied(shop(same), result), Verdict{Done: true}},
		{"applied and stopped, as it says", Applied(shop(func(s *client.Service) { s.State = status.Stopped }), result), Verdict{Done: true}},
		{"an older generation", Applied(shop(func(s *client.Service) { s.Generation = 1 }), result), Verdict{Far: "shop has not been seen by a"}},
		{"running and not ready", Applied(shop(func(s *client.Service) { s.Ready = false }), result), Verdict{Far: "shop is running but not ready on a"}},
		{"moved to where it was to go", move("b", "a").Reached(shop(same)), Verdict{Done: true}},
		{"moved anywhere else", move("b", "").Reached(shop(same)), Verdict{Done: true}},
		{"not moved yet", move("a", "").Reached(shop(same)), Verdict{Far: "shop is running on a"}},
		{"between two nodes", move("a", "").Reached(shop(func(s *client.Service) { s.Node = ""; s.State = status.Starting })), Verdict{Far: "shop is starting"}},
		{"deleted", Deleted(client.Status{}, "shop"), Verdict{Done: true}},
		{"stopped and not forgotten yet", Deleted(shop(func(s *client.Service) { s.Node, s.State = "", status.Deleting }), "shop"), Verdict{Far: "it runs nowhere any more and is being forgotten"}},
		{"copies that are still there", Deleted(shop(func(s *client.Service) {
			s.Node, s.State = "", status.Deleting
			s.Copies = []status.Copy{{Node: "a", State: "stopping"}, {Node: "b", State: "running"}, {Node: "b", State: "running"}, {Node: "c", State: "lost"}}
		}), "shop"), Verdict{Far: "it is being stopped on a, b"}},
		{"a part that does not stop", Deleted(shop(stuck), "shop"), Verdict{
			Failed: true, Far: "shop is failed on a: a part of it does not stop on a",
			Next: "end by hand what does not stop there (`keelson describe shop` names it), or restart that server; then the deletion goes on by itself",
		}},
		{"not deleted yet", Deleted(shop(same), "shop"), Verdict{Far: "it is being stopped on a"}},
		{"drained", Drained(shop(same), "a"), Verdict{Done: true}},
		{"a drain that this node does not know of", Drained(client.Status{Node: "a", Nodes: []client.Node{{Name: "b"}}}, "b"), Verdict{Far: "the wish has not been seen by a"}},
		{"no node may run what was applied", Applied(shop(homeless), result), Verdict{
			Failed: true, Far: "shop is homeless: no node may run it: a is drained",
			Next: "see `keelson why shop`; correct its file and apply it, or let a node take it",
		}},
		{"it is stopped for a person", Applied(shop(halted), result), Verdict{
			Failed: true, Far: "shop is failed: stopped for a person", Next: "correct the cause (`keelson logs shop`), then `keelson clear shop`",
		}},
		{"its program is missing", Applied(shop(func(s *client.Service) { halted(s); s.Problem = "failed: the program /bin/x is missing on a" }), result), Verdict{
			Failed: true, Far: "shop is failed: the program /bin/x is missing on a", Next: "correct the cause (`keelson logs shop`), then `keelson clear shop`",
		}},
		{"an older generation failed", Applied(shop(func(s *client.Service) { halted(s); s.Generation = 1 }), result), Verdict{Far: "shop has not been seen by a"}},
		{"a part does not stop, and a move cannot be", move("a", "b").Reached(shop(stuck)), Verdict{
			Failed: true, Far: "shop is failed on a: a part of it does not stop on a", Next: "see `keelson describe shop` and `keelson logs shop`",
		}},
		{"it failed where it was to go, and is back", back.Reached(shop(failedOnB)), Verdict{
			Failed: true, Far: "shop failed on b: exec: it ended with exit status 1; it is back on a", Next: "see `keelson logs shop --node b`",
		}},
		{"it failed there before the move", again.Reached(shop(failedOnB)), Verdict{Far: "shop is running on a"}},
		{"a node cannot be free of what does not stop", Drained(client.Status{
			Services: shop(stuck).Services, Nodes: []client.Node{{Name: "a", Draining: true, Services: []spec.ServiceName{"shop"}}},
		}, "a"), Verdict{Failed: true, Far: "shop is failed on a: a part of it does not stop on a", Next: "see `keelson describe shop` and `keelson logs shop`"}},
		{"gone", withoutWords(Gone(client.Status{}, "a")), Verdict{Done: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func withoutWords(v Verdict) Verdict { return Verdict{Done: v.Done} }
