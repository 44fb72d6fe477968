package step

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/keelson/keelson/internal/core/place"
)

// TestTurns runs the files of testdata, whose names are their claims: "turns" prints
// who waits for whom, and in which waves all is done.
//
// Lines: "node [room=N,N] [fenced]", numbered from 0; "item NAME [at=NODE] [to=NODE]
// [needs=N,N] [of=SET] [left]"; "set NAME"; "apart A B" both ways, "away A B" by the rule
// of A alone, with "rack" for a rule about a label and "primary" for one about a role.
func TestTurns(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			p := readProblem(t, d.Input)
			out := ""
			name := func(i int) string { return p.Place.Items[i].Name }
			orders := Turns(p)
			for _, o := range orders {
				if !o.Optional || o.FirstDo != Stop || o.ThenDo != Start || o.Symmetric {
					t.Errorf("%+v is more than a turn", o)
				}
				out += fmt.Sprintf("%s waits for %s\n", name(o.Then), name(o.First[0]))
			}
			p.Orders = orders
			result := Plan(p)
			for _, wave := range Waves(result.Steps, 0) {
				var words []string
				for _, i := range wave {
					s := result.Steps[i]
					if s.Item == place.Nowhere {
						words = append(words, fmt.Sprintf("fence %d", s.Node))
						continue
					}
					words = append(words, fmt.Sprintf("%s %s on %d", s.Verb, name(s.Item), s.Node))
				}
				out += "- " + strings.Join(words, ", ") + "\n"
			}
			return out
		})
	})
}

func readProblem(t *testing.T, input string) Problem {
	var p Problem
	index := map[string]int{}
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		switch words[0] {
		case "node":
			node, place := Node{Reached: true}, place.Node{}
			for _, w := range words[1:] {
				if w == "fenced" {
					node = Node{Fenced: true}
					continue
				}
				place.Room = numbers(t, strings.TrimPrefix(w, "room="))
			}
			p.Nodes, p.Place.Nodes = append(p.Nodes, node), append(p.Place.Nodes, place)
		case "set", "item":
			index[words[1]] = len(p.Place.Items)
			item, placed := readItem(t, words, index)
			if item.Parent != place.Nowhere {
				set := &p.Place.Items[item.Parent]
				set.Children = append(set.Children, len(p.Place.Items))
			}
			p.Place.Items, p.Placed, p.Mays = append(p.Place.Items, item), append(p.Placed, placed), append(p.Mays, May{})
		case "apart", "away":
			pull := place.Pull{Item: index[words[1]], With: index[words[2]], Score: -place.Inf, Mutual: words[0] == "apart"}
			for _, w := range words[3:] {
				if w == "primary" {
					pull.WithRole = place.Primary
				} else {
					pull.Class = []int{0, 0, 1}
				}
			}
			p.Place.Pulls = append(p.Place.Pulls, pull)
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	return p
}

func readItem(t *testing.T, words []string, index map[string]int) (place.Item, place.Placed) {
	item := place.Item{Name: words[1], Parent: place.Nowhere, State: place.State{Role: place.Stopped}}
	placed := place.Placed{Node: place.Nowhere, Role: place.Stopped}
	if words[0] == "set" {
		item.Kind = place.Copies
	}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "at":
			item.State.At, item.State.Role = numbers(t, value), place.Started
		case "to":
			placed = place.Placed{Node: numbers(t, value)[0], Role: place.Started}
		case "needs":
			item.Demand = numbers(t, value)
		case "of":
			item.Parent = index[value]
		case "left":
			item.State.Unmanaged = true
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return item, placed
}

func numbers(t *testing.T, text string) []int {
	var out []int
	for w := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(w)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}
