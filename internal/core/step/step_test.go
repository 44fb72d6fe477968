package step

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/place"
)

func running(name string, node int) place.Item {
	return place.Item{Name: name, Parent: place.Nowhere, State: place.State{At: []int{node}, Role: place.Started}}
}

func stopped(name string) place.Item {
	return place.Item{Name: name, Parent: place.Nowhere, State: place.State{Role: place.Stopped}}
}

func to(nodes ...int) []place.Placed {
	var out []place.Placed
	for _, n := range nodes {
		role := place.Started
		if n == place.Nowhere {
			role = place.Stopped
		}
		out = append(out, place.Placed{Node: n, Role: role})
	}
	return out
}

func TestPlan(t *testing.T) {
	up := []Node{{Reached: true}, {Reached: true}}
	after := []Order{{First: []int{0}, Then: 1, Symmetric: true}}
	blocked := running("y", 0)
	blocked.State.Unmanaged, blocked.State.Blocked, blocked.State.Failed = true, true, true
	tests := []struct {
		name string
		p    Problem
		want []string // waves
	}{
		{"nothing to do is no step", Problem{Nodes: up, Place: place.Problem{Items: []place.Item{running("x", 0)}}, Placed: to(0)}, nil},
		{
			"starts go in order", Problem{
				Nodes: up, Orders: after,
				Place: place.Problem{Items: []place.Item{stopped("x"), stopped("y")}}, Placed: to(0, 1),
			}, []string{"start x on 0", "start y on 1"},
		},
		{
			"a move takes along what relies on it", Problem{
				Nodes: up, Orders: after,
				Place: place.Problem{Items: []place.Item{running("x", 0), running("y", 0)}}, Placed: to(1, 0),
			}, []string{"stop y on 0", "stop x on 0", "start x on 1", "start y on 0"},
		},
		{
			"what relies on what cannot run is stopped", Problem{
				Nodes: up, Orders: after,
				Place: place.Problem{Items: []place.Item{stopped("x"), running("y", 0)}}, Placed: to(place.Nowhere, 0),
			}, []string{"stop y on 0"},
		},
		{
			"what would not stop keeps what it relies on", Problem{
				Nodes: up, Orders: after,
				Place: place.Problem{Items: []place.Item{running("x", 0), blocked}}, Placed: to(place.Nowhere, 0),
			}, nil,
		},
		{
			"a start waits for the fence", Problem{
				Nodes: []Node{{Fenced: true}, {Reached: true}},
				Place: place.Problem{Items: []place.Item{running("x", 0)}}, Placed: to(1),
			}, []string{"fence 0", "start x on 1"},
		},
		{
			"nothing starts while it may run elsewhere", Problem{
				Nodes: []Node{{}, {Reached: true}},
				Place: place.Problem{Items: []place.Item{running("x", 0)}}, Placed: to(1),
			}, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.p.Mays = make([]May, len(tt.p.Place.Items))
			tt.p.Place.Nodes = make([]place.Node, len(tt.p.Nodes))
			result := Plan(tt.p)
			var got []string
			for _, wave := range Waves(result.Steps, 1) {
				for _, i := range wave {
					s := result.Steps[i]
					if s.Item == place.Nowhere {
						got = append(got, fmt.Sprintf("%s %d", s.Verb, s.Node))
						continue
					}
					got = append(got, fmt.Sprintf("%s %s on %d", s.Verb, tt.p.Place.Items[s.Item].Name, s.Node))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNeverTwoPrimariesWhereOneMayBe(t *testing.T) {
	copyOn := func(node int, role place.Role) place.Item {
		return place.Item{Name: "c", Parent: 0, State: place.State{At: []int{node}, Role: role}}
	}
	p := Problem{
		Nodes: []Node{{Reached: true}, {Reached: true}}, Mays: make([]May, 3),
		Place: place.Problem{Nodes: make([]place.Node, 2), Items: []place.Item{
			{Name: "db", Kind: place.Copies, Parent: place.Nowhere, Children: []int{1, 2}, Set: place.Set{Max: 2, PerNode: 1, Roles: true, Primaries: 1, PrimariesPerNode: 1}},
			copyOn(0, place.Primary), copyOn(1, place.Replica),
		}},
		Placed: []place.Placed{{Node: place.Nowhere}, {Node: 0, Role: place.Replica}, {Node: 1, Role: place.Primary}},
	}
	result := Plan(p)
	want := []Step{{Verb: Demote, Item: 1, Node: 0}, {Verb: Promote, Item: 2, Node: 1, After: []int{0}}}
	if diff := cmp.Diff(want, result.Steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	p.Nodes[0].Reached = false
	if got := Plan(p).Final[2]; got[0].Role == place.Primary {
		t.Error("a second primary, while the first could not be demoted")
	}
}
