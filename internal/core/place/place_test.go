package place

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// one returns an item that runs once, with scores by node.
func one(name string, score ...int) Item { return Item{Name: name, Parent: Nowhere, Score: score} }

func at(placed []Placed) []int {
	var out []int
	for _, p := range placed {
		out = append(out, p.Node)
	}
	return out
}

func TestSolve(t *testing.T) {
	nodes := []Node{{Name: "a", Open: true, Room: []int{4}}, {Name: "b", Open: true, Room: []int{2}}, {Name: "c", Open: false, Room: []int{9}}}
	big, small := one("big"), one("small")
	big.Demand, small.Demand = []int{4}, []int{2}
	small.Priority = 1
	tests := []struct {
		name string
		p    Problem
		want []int
	}{
		{"the higher score wins", Problem{Items: []Item{one("x", 1, 5, 9)}}, []int{1}},
		{"a negative score is a ban", Problem{Items: []Item{one("x", -1, -1, 5)}}, []int{Nowhere}},
		{"a negative score is a dislike where that is said", Problem{Soft: true, Items: []Item{one("x", -5, -1, 5)}}, []int{1}},
		{"equals spread", Problem{Ties: []Tie{ByCount}, Items: []Item{one("x"), one("y")}}, []int{0, 1}},
		{"what must be together is", Problem{
			Items: []Item{one("x", 0, 0, 0), one("y", 0, 9, 0)},
			Pulls: []Pull{{Item: 0, With: 1, Score: Inf}},
		}, []int{1, 1}},
		{"what must be apart is", Problem{
			Items: []Item{one("x", 9, 0, 0), one("y", 9, 0, 0)},
			Pulls: []Pull{{Item: 0, With: 1, Score: -Inf}},
		}, []int{1, 0}},
		{"a mutual pull makes nobody wait", Problem{
			Items: []Item{one("x", 9, 0, 0), one("y", 9, 0, 0)},
			Pulls: []Pull{{Item: 0, With: 1, Score: -Inf, Mutual: true}},
		}, []int{0, 1}},
		{"who must be with what cannot run cannot run", Problem{
			Items: []Item{one("x"), one("y", -Inf, -Inf, -Inf)},
			Pulls: []Pull{{Item: 0, With: 1, Score: Inf}},
		}, []int{Nowhere, Nowhere}},
		{"a circle ends", Problem{
			Items: []Item{one("x", 0, 3, 0), one("y")},
			Pulls: []Pull{{Item: 0, With: 1, Score: Inf}, {Item: 1, With: 0, Score: Inf}},
		}, []int{1, 1}},
		{"room goes to the higher priority", Problem{Heed: true, Items: []Item{big, small}}, []int{Nowhere, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.p.Nodes = nodes
			for i := range tt.p.Items {
				if tt.p.Items[i].Score == nil {
					tt.p.Items[i].Score = make([]int, len(nodes))
				}
			}
			if diff := cmp.Diff(tt.want, at(Solve(tt.p))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestScoresSaturateAndABanWins(t *testing.T) {
	if got := Sum(Inf, -Inf); got != -Inf {
		t.Errorf("%d", got)
	}
	if got := Sum(Inf-1, 5); got != Inf {
		t.Errorf("%d", got)
	}
}

func TestPrimariesGoWhereTheirScoreIsHighest(t *testing.T) {
	p := Problem{
		Nodes: []Node{{Name: "a", Open: true}, {Name: "b", Open: true}},
		Items: []Item{
			{Name: "db", Kind: Copies, Parent: Nowhere, Children: []int{1, 2}, Set: Set{
				Max: 2, PerNode: 1, Roles: true, Primaries: 1, PrimariesPerNode: 1, Promotion: []int{5, 10},
			}},
			{Name: "db:0", Parent: 0},
			{Name: "db:1", Parent: 0},
		},
	}
	primaries := map[int]bool{}
	for _, c := range Solve(p)[1:] {
		primaries[c.Node] = c.Role == Primary
	}
	if diff := cmp.Diff(map[int]bool{0: false, 1: true}, primaries); diff != "" {
		t.Errorf("primary by node (-want +got):\n%s", diff)
	}
}
