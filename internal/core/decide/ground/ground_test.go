package ground

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// TestGround runs the files of testdata, whose names are their claims.
//
//	nodes    "NAME [alive|suspect|lost] [drain] [leaving] [witness] [maintenance] [ill]
//	         [KEY=VALUE ...] [stuck=SERVICE]", a line each
//	service  "[holder=NAME] [order=a,b]": prints where it sits and what its home is
//	shut     prints why each node may run nothing
//	classes  prints which nodes count as one place, by a label
//	stuck    prints who does not stop where
//	kinds    prints the units that nodes speak of
func TestGround(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var g Ground
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out := ""
			switch d.Cmd {
			case "nodes":
				g = Ground{Nodes: Sorted(fact.Snapshot{Nodes: readNodes(t, d.Input)}).Nodes}
			case "service":
				s := fact.Service{}
				for w := range strings.FieldsSeq(d.Input) {
					key, value, _ := strings.Cut(w, "=")
					if key == "holder" {
						s.Holder = spec.NodeName(value)
						continue
					}
					for n := range strings.SplitSeq(value, ",") {
						s.Order = append(s.Order, spec.NodeName(n))
					}
				}
				return fmt.Sprintf("sits on %q, home is %q\n", g.Sits(&s), g.Home(&s))
			case "shut":
				for i := range g.Nodes {
					out += fmt.Sprintf("%s: %s\n", g.Nodes[i].Name, Shut(&g.Nodes[i]))
				}
			case "classes":
				out = fmt.Sprintln(g.Classes(d.CmdArgs[0].Key))
			case "stuck":
				stuck := g.Stuck()
				for _, n := range g.Nodes {
					out += fmt.Sprintf("%s: %v\n", n.Name, stuck[n.Name])
				}
			case "kinds":
				var list []string
				for kind := range g.Kinds() {
					list = append(list, kind)
				}
				slices.Sort(list)
				out = fmt.Sprintln(list)
			default:
				t.Fatalf("unknown command %q", d.Cmd)
			}
			return out
		})
	})
}

func readNodes(t *testing.T, text string) []fact.Node {
	var out []fact.Node
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		n := fact.Node{Name: spec.NodeName(words[0]), Liveness: fact.Alive, Labels: map[string]string{}}
		for _, w := range words[1:] {
			key, value, labelled := strings.Cut(w, "=")
			switch {
			case key == "stuck":
				n.Instances = append(n.Instances, fact.Instance{Service: spec.ServiceName(value), Phase: fact.Stuck})
			case labelled:
				n.Labels[key] = value
			case w == "drain":
				n.Drain = true
			case w == "leaving":
				n.Leaving = true
			case w == "witness":
				n.Witness = true
			case w == "maintenance":
				n.Maintenance = true
			case w == "ill":
				n.Health = -spec.MaxScore
			case slices.Contains([]string{"alive", "suspect", "lost"}, w):
				n.Liveness = fact.Liveness(w)
			default:
				t.Fatalf("unknown word %q", w)
			}
		}
		out = append(out, n)
	}
	return out
}

func TestWhatIsNotKnownIsNowhere(t *testing.T) {
	g := Ground{Nodes: []fact.Node{{Name: "b"}, {Name: "d"}}}
	for name, want := range map[spec.NodeName]int{"a": Nowhere, "b": 0, "c": Nowhere, "d": 1, "e": Nowhere} {
		n, known := g.Node(name)
		if got := g.Index(name); got != want || known != (want != Nowhere) || known && n.Name != name {
			t.Errorf("%s: index %d, known %v, node %q; want %d", name, got, known, n.Name, want)
		}
	}
	n := fact.Node{Instances: []fact.Instance{{Service: "b", Copy: 1}, {Service: "b", Copy: 2}, {Service: "d"}}}
	for name, want := range map[spec.ServiceName]*fact.Instance{"a": nil, "b": &n.Instances[0], "c": nil, "d": &n.Instances[2], "e": nil} {
		if got := Instance(&n, name); got != want {
			t.Errorf("instance %s: %v", name, got)
		}
	}
}

func TestTheNameOfASnapshotIsItsContent(t *testing.T) {
	a := fact.Snapshot{Nodes: []fact.Node{{Name: "b"}, {Name: "a", Instances: []fact.Instance{{Service: "z"}, {Service: "y", Copy: 2}, {Service: "y", Copy: 1}}}}}
	b := fact.Snapshot{Nodes: []fact.Node{{Name: "a", Instances: []fact.Instance{{Service: "y", Copy: 1}, {Service: "y", Copy: 2}, {Service: "z"}}}, {Name: "b"}}}
	if ID(Sorted(a)) != ID(Sorted(b)) {
		t.Error("the order in which things are listed changes the name")
	}
	if a.Nodes[0].Name != "b" || a.Nodes[1].Instances[0].Service != "z" {
		t.Error("the snapshot was changed")
	}
	b.Nodes[0].Drain = true
	if ID(Sorted(a)) == ID(Sorted(b)) {
		t.Error("another snapshot has the same name")
	}
}
