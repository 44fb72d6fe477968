package explain_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/core/explain"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/reason"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/specfile"
)

// noon is when all tests happen.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestReasons runs the files of testdata, whose names are their claims.
//
//	cell              starts anew; "run" lets the plan happen: all runs where it belongs
//	change            adds lines, or replaces what has the same name
//	why SERVICE       says why
//	apply             says what an apply of the lines "service" would do
//	lose fail=a,b drain=c voters=a,b,c
//
// Lines: "halted SERVICE NODE ...", "quarantined NODE",
// "node NAME [alive|suspect|lost] [drain] [maintenance] [k=v ...]" and
// "service NAME [holder=NODE] [banned=NODE] {SPEC}", SPEC being more keys of its
// file in YAML's short form.
func TestReasons(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s fact.Snapshot
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "cell", "change":
				if d.Cmd == "cell" {
					s = fact.Snapshot{Now: noon, Revision: 7, Quorate: !d.HasArg("alone")}
				}
				read(t, &s, d.Input)
				if d.HasArg("run") {
					s = run(s)
				}
				return ""
			case "why":
				w, known := explain.Why(s, spec.ServiceName(d.CmdArgs[0].Key))
				if !known {
					return "unknown\n"
				}
				return showWhy(w)
			case "apply":
				after := fact.Snapshot{}
				read(t, &after, d.Input)
				var wanted []spec.Service
				for _, svc := range after.Services {
					wanted = append(wanted, svc.Spec)
				}
				return showOutlook(explain.Apply(s, wanted))
			case "lose":
				var l explain.Loss
				for _, a := range d.CmdArgs {
					for _, v := range a.Vals {
						switch a.Key {
						case "fail":
							l.Fail = append(l.Fail, spec.NodeName(v))
						case "drain":
							l.Drain = append(l.Drain, spec.NodeName(v))
						case "voters":
							l.Voters = append(l.Voters, spec.NodeName(v))
						}
					}
				}
				return showOutlook(explain.Lose(s, l))
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func read(t *testing.T, s *fact.Snapshot, input string) {
	t.Helper()
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		switch {
		case len(words) < 2:
		case words[0] == "node":
			put(&s.Nodes, readNode(t, words[1:]), func(n fact.Node) string { return string(n.Name) })
		case words[0] == "service":
			readService(t, s, line)
		case words[0] == "halted":
			h := fact.ServiceHistory{Service: spec.ServiceName(words[1]), Generation: 1, Stopped: noon}
			for _, n := range words[2:] {
				h.Tried = append(h.Tried, fact.Try{Node: spec.NodeName(n), At: noon, Why: "exec: it ended with exit status 1"})
			}
			s.History.Services = append(s.History.Services, h)
		case words[0] == "quarantined":
			s.History.Nodes = append(s.History.Nodes, fact.NodeHistory{
				Node: spec.NodeName(words[1]), Trust: fact.Quarantined, Times: 1, Since: noon, Until: noon.Add(time.Hour), Why: "it was lost 3 times",
			})
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
}

// put adds v to a sorted list, or replaces what has the same name.
func put[T any](list *[]T, v T, name func(T) string) {
	*list = slices.DeleteFunc(*list, func(old T) bool { return name(old) == name(v) })
	*list = append(*list, v)
	slices.SortFunc(*list, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
}

func readNode(t *testing.T, words []string) fact.Node {
	n := fact.Node{Name: spec.NodeName(words[0]), Liveness: fact.Alive, Labels: map[string]string{}}
	for _, w := range words[1:] {
		key, value, isLabel := strings.Cut(w, "=")
		switch {
		case isLabel && key == "health":
			health, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			n.Health = health
		case isLabel:
			n.Labels[key] = value
		case w == "drain":
			n.Drain = true
		case w == "maintenance":
			n.Maintenance = true
		default:
			n.Liveness = fact.Liveness(w)
		}
	}
	return n
}

func readService(t *testing.T, s *fact.Snapshot, line string) {
	t.Helper()
	words, body, _ := strings.Cut(strings.TrimSpace(line), "{")
	fields := strings.Fields(words)
	text := "kind: service\nname: " + fields[1] + "\n"
	if !strings.Contains(body, "parts:") {
		text += "parts: [{exec: [/bin/x]}]\n"
	}
	for _, key := range strings.Split(strings.TrimSuffix(body, "}"), ";") {
		if key = strings.TrimSpace(key); key != "" {
			text += key + "\n"
		}
	}
	list, err := specfile.Parse("service "+fields[1], []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	svc := fact.Service{Spec: list[0], Generation: 1}
	for _, w := range fields[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "holder":
			svc.Holder = spec.NodeName(value)
			svc.Order = []spec.NodeName{svc.Holder}
		case "banned":
			for i := range s.Nodes {
				if string(s.Nodes[i].Name) == value {
					s.Nodes[i].Instances = []fact.Instance{{Service: svc.Spec.Name, Generation: 1, Phase: fact.Failed, FailedUntil: noon.Add(time.Minute)}}
				}
			}
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	put(&s.Services, svc, func(svc fact.Service) string { return string(svc.Spec.Name) })
}

// run returns the snapshot after all agents have done what the plan says.
func run(s fact.Snapshot) fact.Snapshot {
	plan := decide.Decide(s)
	s.Services = slices.Clone(s.Services)
	for _, p := range plan.Placements {
		for i := range s.Services {
			if s.Services[i].Spec.Name == p.Service {
				s.Services[i].Order, s.Services[i].Holder = p.Order, ""
				if len(p.Order) > 0 {
					s.Services[i].Holder = p.Order[0]
				}
			}
		}
	}
	return s
}

func seats(list []reason.Seat) string {
	if len(list) == 0 {
		return "nowhere"
	}
	var words []string
	for _, s := range list {
		words = append(words, strings.TrimSuffix(fmt.Sprintf("%s/%s", s.Node, s.Role), "/"))
	}
	return strings.Join(words, ",")
}

func showWhy(w reason.Why) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: now %s, belongs %s, by %q\n", w.Service, seats(w.Now), seats(w.Belongs), w.By)
	for _, text := range w.Because {
		fmt.Fprintf(&b, "  %s\n", text)
	}
	for _, v := range w.Nodes {
		fmt.Fprintf(&b, "%s %s %d by %s: %s\n", v.Node, v.Stand, v.Score, v.By, v.Why)
	}
	for _, s := range w.Shifts {
		fmt.Fprintf(&b, "-> %s if %s", seats(s.To), s.If)
		if s.Then != "" {
			fmt.Fprintf(&b, ", %s", s.Then)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func showOutlook(o reason.Outlook) string {
	var b strings.Builder
	if o.Hold != "" {
		fmt.Fprintf(&b, "hold: %s\n", o.Hold)
	}
	for _, c := range o.Changes {
		fmt.Fprintf(&b, "%s %s: %s -> %s, then %v\n", c.Service, c.Kind, seats(c.From), seats(c.To), c.Next)
		for _, text := range c.Why {
			fmt.Fprintf(&b, "    %s\n", text)
		}
		for _, v := range c.Against {
			fmt.Fprintf(&b, "  - %s: %s\n", v.Node, v.Why)
		}
	}
	if len(o.Stays) > 0 {
		fmt.Fprintf(&b, "stays: %v\n", o.Stays)
	}
	for _, a := range o.Alone {
		fmt.Fprintf(&b, "alone: %s on %s, new %v\n", a.Service, a.Node, a.New)
		for _, v := range a.Against {
			fmt.Fprintf(&b, "  - %s: %s\n", v.Node, v.Why)
		}
	}
	for _, s := range o.Steps {
		fmt.Fprintf(&b, "step %d: %s %s on %s, after %v\n", s.Number, s.Verb, s.Service, s.Node, s.After)
	}
	for _, r := range o.Room {
		fmt.Fprintf(&b, "room: %s has %d of %s, %d used, %d left\n", r.Node, r.Has, r.Unit, r.Used, r.Left)
	}
	for _, n := range o.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

func TestAReplayGivesTheSameToTheByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := run(random(t))
		if rapid.Bool().Draw(t, "a node is lost") {
			s.Nodes[0].Liveness = fact.Lost
		}
		// What the controller decides on has a zone and was never text.
		s.Now = s.Now.In(time.FixedZone("CET", 3600))
		snapshot, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := json.Marshal(decide.Decide(s))
		if err != nil {
			t.Fatal(err)
		}
		r, err := explain.Replay(snapshot, plan)
		if err != nil || !r.Same || !r.Compared || r.Difference != "" {
			t.Fatalf("same %v, %q, %v\nwas %s\nnow %s", r.Same, r.Difference, err, plan, r.Plan)
		}
	})
}

// random is a cell of up to five nodes and six services.
func random(t *rapid.T) fact.Snapshot {
	s := fact.Snapshot{Now: noon, Revision: rapid.Int64Range(1, 1000).Draw(t, "revision"), Quorate: true}
	for i := range rapid.IntRange(2, 5).Draw(t, "nodes") {
		s.Nodes = append(s.Nodes, fact.Node{
			Name: spec.NodeName(fmt.Sprintf("n%d", i)), Liveness: fact.Alive,
			Labels: map[string]string{"capacity/cpu": strconv.Itoa(rapid.IntRange(2, 8).Draw(t, "cpu")), "rack": "r" + strconv.Itoa(i/2)},
		})
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "services") {
		svc := spec.Service{
			Name: spec.ServiceName(fmt.Sprintf("s%d", i)), Needs: map[string]int{"cpu": rapid.IntRange(1, 3).Draw(t, "needs")},
			Parts: []spec.Part{{Name: "exec", Exec: &spec.Exec{Command: []string{"/bin/x", "a<b>&\u2028"}}}},
		}
		if i > 0 && rapid.Bool().Draw(t, "near") {
			svc.Place.Near = []spec.Near{{Service: "s0", Score: rapid.IntRange(-50, 50).Draw(t, "score")}}
		}
		if rapid.Bool().Draw(t, "prefers") {
			svc.Place.Prefer = []spec.Preference{{Node: "n1", Score: rapid.IntRange(1, 300).Draw(t, "preference")}}
		}
		s.Services = append(s.Services, fact.Service{Spec: svc, Generation: 1})
	}
	return s
}

func TestWhatIsSaidOfALossIsWhatIsDecidedThen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := run(random(t))
		fail := s.Nodes[rapid.IntRange(0, len(s.Nodes)-1).Draw(t, "fail")].Name
		said := explain.Lose(s, explain.Loss{Fail: []spec.NodeName{fail}})
		then := s
		then.Nodes = slices.Clone(s.Nodes)
		for i := range then.Nodes {
			if then.Nodes[i].Name == fail {
				then.Nodes[i].Liveness = fact.Lost
			}
		}
		plan := decide.Decide(then)
		for _, p := range plan.Placements {
			want := []reason.Seat(nil)
			if len(p.Order) > 0 {
				want = []reason.Seat{{Node: p.Order[0]}}
			}
			i := slices.IndexFunc(said.Changes, func(c reason.Change) bool { return c.Service == p.Service })
			switch {
			case i >= 0:
				if diff := gocmp.Diff(want, said.Changes[i].To); diff != "" {
					t.Fatalf("%s (-decided +said):\n%s", p.Service, diff)
				}
			case !slices.Contains(said.Stays, p.Service):
				t.Fatalf("nothing is said of %s", p.Service)
			}
		}
	})
}

func TestEveryNodeHasItsVerdict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := run(random(t))
		for _, svc := range s.Services {
			w, _ := explain.Why(s, svc.Spec.Name)
			var said []spec.NodeName
			for _, v := range w.Nodes {
				if v.Why == "" {
					t.Fatalf("%s has a verdict on %s without words", svc.Spec.Name, v.Node)
				}
				said = append(said, v.Node)
			}
			slices.Sort(said)
			var want []spec.NodeName
			for _, n := range s.Nodes {
				want = append(want, n.Name)
			}
			if diff := gocmp.Diff(want, said); diff != "" {
				t.Fatalf("verdicts on %s (-want +got):\n%s", svc.Spec.Name, diff)
			}
		}
	})
}

func TestAReplayRefusesWhatIsNoSnapshot(t *testing.T) {
	for _, text := range []string{"", "{}", "[]", `{"now":"never"}`, `{"unknown":1}`, "null"} {
		if _, err := explain.Replay([]byte(text), nil); !errors.Is(err, explain.ErrNotASnapshot) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAReplayNamesTheFirstDifference(t *testing.T) {
	s := fact.Snapshot{
		Now: noon, Quorate: true,
		Nodes:    []fact.Node{{Name: "a", Liveness: fact.Alive}, {Name: "b", Liveness: fact.Alive}},
		Services: []fact.Service{{Spec: spec.Service{Name: "shop"}}},
	}
	snapshot, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		was  func(*struct{ text string })
		want string
	}{
		{"another place", func(x *struct{ text string }) {
			x.text = strings.Replace(x.text, `"order":["a","b"]`, `"order":["b","a"]`, 1)
		}, "shop: it was b and is a now"},
		{"other successors", func(x *struct{ text string }) {
			x.text = strings.Replace(x.text, `"order":["a","b"]`, `"order":["a"]`, 1)
		}, "shop: who takes over was nowhere and is b now"},
		{"other words", func(x *struct{ text string }) { x.text = strings.Replace(x.text, "names decide", "name decides", 1) }, "shop: it has the same place, for reasons in other words"},
		{"another form", func(x *struct{ text string }) { x.text += " " }, "the places are the same, and the steps or the form differ"},
		{"no plan at all", func(x *struct{ text string }) { x.text = "{" }, "the recorded plan cannot be read: unexpected end of JSON input"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := json.Marshal(decide.Decide(s))
			if err != nil {
				t.Fatal(err)
			}
			x := struct{ text string }{string(plan)}
			tt.was(&x)
			r, err := explain.Replay(snapshot, []byte(x.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(tt.want, r.Difference); diff != "" || r.Same {
				t.Errorf("same %v (-want +got):\n%s", r.Same, diff)
			}
		})
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte(`{"now":"2026-01-01T12:00:00Z","quorate":true,"nodes":[{"name":"a","liveness":"alive"}],"services":[{"spec":{"name":"x","parts":null},"generation":1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := explain.Replay(text, nil)
		if err == nil && !json.Valid(r.Plan) {
			t.Errorf("a plan that is no JSON: %s", r.Plan)
		}
	})
}
