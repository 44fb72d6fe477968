package decide

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keelson/keelson/internal/core/audit"
	"github.com/keelson/keelson/internal/core/decide/ground"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// noon is when all tests happen.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestDecisions runs the files of testdata, whose names are their claims.
//
//	cell      starts anew with these lines
//	change    adds lines, or replaces what has the same name
//	decide    prints the plan; with "brief" only the orders
//	apply     decides and lets it happen: orders in force, holders in place
//
// Lines: "node NAME [alive|suspect|lost] [drain] [leaving] [witness] [mute] [maintenance] [k=v ...]",
// "service NAME [priority=N] [on=a,b] [never=a,b] [prefer=node:a:N]
// [prefer=k=v:N] [apart=x,y] [together=x,y] [needs=cpu:N] [stickiness=N] [stopped] [deleting]
// [to=a] [from=a] [order=a,b] [holder=a] [rights=HOLDER:a,b] [generation=N] [copies=N] [primaries=N]
// [primary=node:a:N] [near=PRIMARY:N] [shuns=x[:rack]] [likes=x:N] [after=x] [at=a,b] [spread=rack] [maintenance]",
// "instance SERVICE NODE PHASE [generation=N] [until=DURATION] [since=DURATION]
// [why=WORD]", "no quorum", "now DURATION" after noon, and
// "recovery [share=N] [moves=N] [cell-moves=N]". Notes are printed after a "*".
func TestDecisions(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s fact.Snapshot
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "cell":
				s = fact.Snapshot{Now: noon, Quorate: true}
				read(t, &s, d.Input)
				return ""
			case "change":
				read(t, &s, d.Input)
				return ""
			case "decide":
				return show(Decide(s), d.HasArg("brief"))
			case "apply":
				plan := Decide(s)
				s = outcome(s, plan)
				return show(plan, true)
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
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "node":
			readNode(t, s, words[1:])
		case "service":
			readService(t, s, words[1:])
		case "instance":
			readInstance(t, s, words[1:])
		case "no":
			s.Quorate = false
		case "now":
			s.Now = noon.Add(duration(t, words[1]))
		case "recovery":
			readRecovery(t, s, words[1:])
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	slices.SortFunc(s.Nodes, func(a, b fact.Node) int { return strings.Compare(string(a.Name), string(b.Name)) })
	slices.SortFunc(s.Services, func(a, b fact.Service) int { return strings.Compare(string(a.Spec.Name), string(b.Spec.Name)) })
}

func readNode(t *testing.T, s *fact.Snapshot, words []string) {
	n := fact.Node{Name: spec.NodeName(words[0]), Liveness: fact.Alive}
	for _, w := range words[1:] {
		key, value, isLabel := strings.Cut(w, "=")
		switch {
		case key == "health":
			n.Health = number(t, value)
		case key == "trusted":
			n.Cleared = noon.Add(duration(t, value))
		case isLabel:
			if n.Labels == nil {
				n.Labels = make(map[string]string)
			}
			n.Labels[key] = value
		case w == "drain":
			n.Drain = true
		case w == "leaving":
			n.Leaving = true
		case w == "maintenance":
			n.Maintenance = true
		case w == "witness":
			n.Witness = true
		case w == "mute":
			n.Mute = true
		case slices.Contains([]string{"alive", "suspect", "lost"}, w):
			n.Liveness = fact.Liveness(w)
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	i := slices.IndexFunc(s.Nodes, func(old fact.Node) bool { return old.Name == n.Name })
	if i < 0 {
		s.Nodes = append(s.Nodes, n)
		return
	}
	n.Instances = s.Nodes[i].Instances
	if n.Labels == nil {
		n.Labels = s.Nodes[i].Labels
	}
	s.Nodes[i] = n
}

func readService(t *testing.T, s *fact.Snapshot, words []string) {
	i := slices.IndexFunc(s.Services, func(old fact.Service) bool { return string(old.Spec.Name) == words[0] })
	if i < 0 {
		s.Services = append(s.Services, fact.Service{Spec: spec.Service{Name: spec.ServiceName(words[0])}, Generation: 1})
		i = len(s.Services) - 1
	}
	svc := &s.Services[i]
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		place := &svc.Spec.Place
		switch key {
		case "priority":
			svc.Spec.Priority = number(t, value)
		case "on":
			place.On = list[spec.NodeName](value)
		case "never":
			place.Never = list[spec.NodeName](value)
		case "prefer":
			place.Prefer = append(place.Prefer, preference(t, value))
		case "apart":
			place.Apart = list[spec.ServiceName](value)
		case "needs":
			kind, n, _ := strings.Cut(value, ":")
			svc.Spec.Needs = map[string]int{kind: number(t, n)}
		case "together":
			place.Together = list[spec.ServiceName](value)
		case "stickiness":
			n := number(t, value)
			place.Stickiness = &n
		case "copies":
			svc.Spec.Copies = &spec.Copies{Count: number(t, value)}
		case "primaries":
			svc.Spec.Copies.Primaries = number(t, value)
		case "primary": // prefers its primary there
			pref := preference(t, value)
			pref.Role = spec.RolePrimary
			place.Prefer = append(place.Prefer, pref)
		case "at":
			svc.Copies = list[spec.NodeName](value)
		case "near":
			near := preference(t, "node:"+value)
			place.Near = append(place.Near, spec.Near{Service: spec.ServiceName(near.Node), Score: near.Score, Role: spec.RolePrimary})
		case "shuns": // must be away from it, or from the places that have the same label
			other, label, _ := strings.Cut(value, ":")
			place.Near = append(place.Near, spec.Near{Service: spec.ServiceName(other), Score: -spec.MaxScore, Same: label})
		case "likes": // to be where it is
			near := preference(t, "node:"+value)
			place.Near = append(place.Near, spec.Near{Service: spec.ServiceName(near.Node), Score: near.Score})
		case "after":
			svc.Spec.After = []spec.After{{Service: spec.ServiceName(value)}}
		case "spread":
			place.Spread = list[string](value)
		case "maintenance":
			svc.Spec.Maintenance = true
		case "stopped":
			svc.Spec.Stopped = true
		case "deleting":
			svc.Deleting = true
		case "to":
			svc.MoveTo = spec.NodeName(value)
		case "from":
			svc.MoveFrom = spec.NodeName(value)
		case "order":
			svc.Order = list[spec.NodeName](value)
		case "holder":
			svc.Holder = spec.NodeName(value)
		case "rights": // of a second primary
			holder, order, _ := strings.Cut(value, ":")
			svc.Rights = []fact.Right{{Holder: spec.NodeName(holder), Order: list[spec.NodeName](order)}}
		case "generation":
			svc.Generation = uint64(number(t, value))
		case "planned":
			svc.Planned = uint64(number(t, value))
		case "cleared":
			node, at, _ := strings.Cut(value, ":")
			svc.Cleared = map[spec.NodeName]time.Time{spec.NodeName(node): noon.Add(duration(t, at))}
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
}

func readRecovery(t *testing.T, s *fact.Snapshot, words []string) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "share":
			s.Recovery.Share = number(t, value)
		case "moves":
			s.Recovery.ServiceMoves = number(t, value)
		case "cell-moves":
			s.Recovery.CellMoves = number(t, value)
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
}

func duration(t *testing.T, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func readInstance(t *testing.T, s *fact.Snapshot, words []string) {
	in := fact.Instance{Service: spec.ServiceName(words[0]), Phase: fact.Phase(words[2]), Generation: 1}
	in.Ready = in.Phase == fact.Running
	for _, w := range words[3:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "generation":
			in.Generation = uint64(number(t, value))
		case "role":
			in.Role = spec.Role(value)
		case "until":
			in.FailedUntil = noon.Add(duration(t, value))
		case "since":
			in.Since = noon.Add(duration(t, value))
		case "why":
			in.Failures = []fact.Failure{{Part: "exec", Why: value}}
		case "missing":
			in.Failures = []fact.Failure{{Part: "exec", Why: value + " is not there", Missing: value}}
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if string(n.Name) != words[1] {
			continue
		}
		n.Instances = slices.DeleteFunc(n.Instances, func(old fact.Instance) bool { return old.Service == in.Service })
		n.Instances = append(n.Instances, in)
		return
	}
	t.Fatalf("unknown node %q", words[1])
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func list[T ~string](s string) []T {
	var out []T
	for word := range strings.SplitSeq(s, ",") {
		if word != "" {
			out = append(out, T(word))
		}
	}
	return out
}

func preference(t *testing.T, s string) spec.Preference {
	cut := strings.LastIndex(s, ":")
	p := spec.Preference{Score: number(t, s[cut+1:])}
	if node, ok := strings.CutPrefix(s[:cut], "node:"); ok {
		p.Node = spec.NodeName(node)
	} else {
		p.Label = s[:cut]
	}
	return p
}

// show prints a plan.
func show(plan action.Plan, brief bool) string {
	var b strings.Builder
	if plan.Hold != "" {
		fmt.Fprintf(&b, "hold: %s\n", plan.Hold)
	}
	for _, p := range plan.Placements {
		order := ground.Names(p.Order)
		for _, o := range p.Orders {
			order += " and " + ground.Names(o)
		}
		if order == "" && len(p.Copies) == 0 {
			order = "nowhere"
		}
		for _, c := range p.Copies {
			order = strings.TrimSpace(order + " [" + strings.TrimSpace(string(c.Node)+" "+string(c.Role)) + "]")
		}
		fmt.Fprintf(&b, "%s: %s", p.Service, order)
		if p.Changed {
			b.WriteString("  (changed)")
		}
		if p.MoveDone {
			b.WriteString("  (move done)")
		}
		b.WriteString("\n")
		if brief {
			continue
		}
		for _, w := range p.Why {
			fmt.Fprintf(&b, "    %s\n", w)
		}
		for _, r := range p.Refusals {
			fmt.Fprintf(&b, "  - %s\n", r.Why)
		}
	}
	for _, n := range plan.Notes {
		fmt.Fprintf(&b, "* %s: %s\n", n.Kind, n.Text)
	}
	for _, f := range plan.Forget {
		fmt.Fprintf(&b, "forget %s\n", f)
	}
	return b.String()
}

// outcome returns s after all agents have done what the plan says.
func outcome(s fact.Snapshot, plan action.Plan) fact.Snapshot {
	if plan.History != nil {
		s.History = *plan.History
	}
	s.Services, s.Nodes = slices.Clone(s.Services), slices.Clone(s.Nodes)
	for k, p := range plan.Placements {
		if slices.ContainsFunc(p.Why, func(why string) bool { return strings.Contains(why, "is left as it is") }) {
			continue
		}
		for i := range s.Nodes {
			if s.Services[k].Spec.Copies != nil {
				s.Nodes[i].Instances = slices.Clone(s.Nodes[i].Instances)
				for n := range s.Nodes[i].Instances {
					if in := &s.Nodes[i].Instances[n]; in.Service == p.Service && running(*in) {
						in.Phase = fact.Idle
					}
				}
			}
			if at := slices.IndexFunc(p.Copies, func(c action.Copy) bool { return c.Node == s.Nodes[i].Name }); at >= 0 {
				s.Nodes[i].Instances = slices.DeleteFunc(slices.Clone(s.Nodes[i].Instances), func(in fact.Instance) bool { return in.Service == p.Service })
				s.Nodes[i].Instances = append(s.Nodes[i].Instances, fact.Instance{Service: p.Service, Generation: 1, Phase: fact.Running, Role: p.Copies[at].Role})
			}
		}
		for i := range s.Services {
			if s.Services[i].Spec.Name != p.Service {
				continue
			}
			s.Services[i].Order = p.Order
			s.Services[i].Holder, s.Services[i].Copies, s.Services[i].Rights = "", nil, nil
			for _, o := range p.Orders {
				r := fact.Right{Order: o}
				if len(o) > 0 {
					r.Holder = o[0]
				}
				s.Services[i].Rights = append(s.Services[i].Rights, r)
			}
			for _, c := range p.Copies {
				s.Services[i].Copies = append(s.Services[i].Copies, c.Node)
			}
			if len(p.Order) > 0 {
				s.Services[i].Holder = p.Order[0]
			}
		}
	}
	return s
}

func TestTheSameSnapshotGivesTheSameIdAndAnotherAnother(t *testing.T) {
	s := fact.Snapshot{Now: noon, Quorate: true, Nodes: []fact.Node{{Name: "a", Labels: map[string]string{"x": "1", "y": "2", "z": "3"}}}}
	first := Decide(s).ID
	for range 20 {
		if again := Decide(s).ID; again != first {
			t.Fatalf("ids %s and %s for one snapshot", first, again)
		}
	}
	s.Revision++
	if Decide(s).ID == first {
		t.Error("one id for two snapshots")
	}
}

// checked is the first fault of a plan.
func checked(s fact.Snapshot, plan action.Plan) string {
	for _, f := range audit.Check(s, plan) {
		return f.Text
	}
	return ""
}
