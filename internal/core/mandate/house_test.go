package mandate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// TestHouse runs the files of testdata, whose names are their claims.
//
//	node    starts anew: what this node has, and the services of the cell
//	change  adds lines, or replaces what has the same name
//	enter   asks all in their order, and prints who waits for what
//
// Lines: "room [KIND=N ...]", "elsewhere KIND=N" for another node, "label [NAME]" and
// "service NAME [priority=N] [needs=KIND:N] [apart=x,y] [shuns=x[:LABEL]] [copies] [per-node=N]
// [meant] [there] [coming] [let]", in which NAME may be that of a numbered copy.
func TestHouse(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var v View
		guests := map[instance.Name]*Guest{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "node":
				v, guests = NewView("a"), map[instance.Name]*Guest{}
				v.Nodes["a"] = record.Node{Name: "a"}
				fallthrough
			case "change":
				for line := range strings.Lines(d.Input) {
					readLine(t, &v, guests, strings.Fields(line))
				}
				return ""
			case "enter":
				return enter(&v, guests)
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

// enter asks for everybody, takes over who was let in, and says who waits.
func enter(v *View, guests map[instance.Name]*Guest) string {
	var all []Guest
	for _, g := range guests {
		all = append(all, *g)
	}
	house, out := v.House(all), ""
	for _, g := range house.Guests() {
		gates := v.Gates(&g, nil, house)
		guests[g.Name].Let = gates.Open()
		if gates.Wait == "" {
			gates.Wait = "nothing"
		}
		out += fmt.Sprintf("%s waits for %s\n", g.Name, gates.Wait)
	}
	return out
}

func readLine(t *testing.T, v *View, guests map[instance.Name]*Guest, words []string) {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if words[0] == "label" {
		v.Nodes["a"] = record.Node{Name: "a", Labels: map[string]string{words[1]: ""}}
		return
	}
	if words[0] != "service" {
		name := spec.NodeName(map[string]string{"room": "a", "elsewhere": "b"}[words[0]])
		labels := map[string]string{}
		for _, w := range words[1:] {
			kind, n, _ := strings.Cut(w, "=")
			labels[spec.CapacityLabel+"/"+kind] = n
		}
		v.Nodes[name] = record.Node{Name: name, Labels: labels}
		return
	}
	name := instance.Name(words[1])
	service := name.Service()
	if v.Services[service] == nil {
		v.Services[service] = &record.Service{Spec: spec.Service{Name: service}}
	}
	s := &v.Services[service].Spec
	guests[name] = &Guest{Name: name}
	g := guests[name]
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "priority":
			s.Priority = number(value)
		case "needs":
			kind, n, _ := strings.Cut(value, ":")
			s.Needs = map[string]int{kind: number(n)}
		case "apart":
			for name := range strings.SplitSeq(value, ",") {
				s.Place.Apart = append(s.Place.Apart, spec.ServiceName(name))
			}
		case "shuns":
			other, label, _ := strings.Cut(value, ":")
			s.Place.Near = []spec.Near{{Service: spec.ServiceName(other), Score: -spec.MaxScore, Same: label}}
		case "copies":
			s.Copies = &spec.Copies{Unique: true, PerNode: 1}
		case "per-node":
			s.Copies.PerNode = number(value)
		case "meant":
			p := v.Placements[service]
			if s.Copies != nil {
				p.Copies = append(slices.Clone(p.Copies), record.Copy{Node: "a", Number: name.Number()})
			} else {
				p.Order = []spec.NodeName{"a"}
			}
			v.Placements[service] = p
		case "there":
			g.There = true
		case "coming":
			g.Coming = true
		case "let":
			g.Let = true
		case "gone":
			delete(v.Services, service)
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
}

// Whatever comes and goes, whoever asks in whatever state: nobody is let in beside
// whom it must be apart from or beyond the room, and as soon as all that is not meant
// here has left, all that is meant has been let in.
func TestNobodyIsLetInThatMustNotBeHere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dice := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		v, guests := town(dice, true)
		for range 12 {
			wander(dice, &v, guests)
			enter(&v, guests)
			legal(t, &v, guests)
		}
		for range 3 {
			for _, g := range guests {
				meant := v.meant(g.Name)
				g.There, g.Coming = meant && (g.There || g.Let), meant
			}
			enter(&v, guests)
		}
		for _, g := range guests {
			if v.meant(g.Name) && !g.Let {
				t.Errorf("%s is meant to be here and is kept out: %s", g.Name, enter(&v, guests))
			}
		}
	})
}

// Half of a plan may be in force, if the store goes away while it is written: then who
// is meant to be here need not fit. They wait for each other, and do no harm.
func TestHalfAPlanLetsNobodyInThatMustNotBeHere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dice := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		v, guests := town(dice, false)
		for range 12 {
			wander(dice, &v, guests)
			enter(&v, guests)
			legal(t, &v, guests)
		}
	})
}

// wander lets some come, start and stop.
func wander(dice *rand.Rand, v *View, guests map[instance.Name]*Guest) {
	for _, name := range slices.Sorted(maps.Keys(guests)) {
		g := guests[name]
		switch {
		case g.There && !v.meant(g.Name):
			g.There, g.Coming = dice.IntN(3) > 0, false
		case g.There:
			g.There = dice.IntN(8) > 0
		case g.Let && g.Coming:
			g.There = dice.IntN(2) == 0
		case v.meant(g.Name):
			g.Coming = true
		default:
			g.Coming = dice.IntN(4) == 0
		}
	}
}

// town is a node with services, of which those that are meant to be there fit, if the
// plan is whole.
func town(dice *rand.Rand, whole bool) (View, map[instance.Name]*Guest) {
	v, guests := NewView("a"), map[instance.Name]*Guest{}
	left := 2 + dice.IntN(6)
	v.Nodes["a"] = record.Node{Name: "a", Labels: map[string]string{spec.CapacityLabel + "/cpu": strconv.Itoa(left)}}
	names := []spec.ServiceName{"a", "b", "c", "d", "e", "f"}
	for i, name := range names {
		s := &record.Service{Spec: spec.Service{Name: name, Priority: dice.IntN(2), Needs: map[string]int{"cpu": dice.IntN(3)}}}
		if dice.IntN(2) == 0 {
			s.Spec.Place.Apart = []spec.ServiceName{names[dice.IntN(len(names))]}
		}
		v.Services[name] = s
		guests[instance.Name(name)] = &Guest{Name: instance.Name(name)}
		need := s.Spec.Needs["cpu"]
		alone := !slices.ContainsFunc(names[:i], func(o spec.ServiceName) bool { return v.meant(instance.Name(o)) && apart(&v, name, o) })
		if dice.IntN(2) == 0 && (need <= left && alone || !whole) {
			left -= need
			v.Placements[name] = Placement{Placement: record.Placement{Order: []spec.NodeName{"a"}}}
		}
	}
	return v, guests
}

func apart(v *View, a, b spec.ServiceName) bool {
	return a != b && (slices.Contains(v.Services[a].Spec.Place.Apart, b) || slices.Contains(v.Services[b].Spec.Place.Apart, a))
}

// legal looks at all that may be here at once: who is there, and who may start.
func legal(t *rapid.T, v *View, guests map[instance.Name]*Guest) {
	used := 0
	has, _ := strconv.Atoi(v.Nodes["a"].Labels[spec.CapacityLabel+"/cpu"])
	in := func(g *Guest) bool { return g.There || g.Let && g.Coming }
	for _, g := range guests {
		if !in(g) {
			continue
		}
		used += v.Services[g.Name.Service()].Spec.Needs["cpu"]
		for _, o := range guests {
			if in(o) && apart(v, g.Name.Service(), o.Name.Service()) {
				t.Errorf("%s and %s may be here at once", g.Name, o.Name)
			}
		}
	}
	if used > has {
		t.Errorf("%d of %d are used", used, has)
	}
}

// What is asked of the order of other services comes first, unless it is only a wish.
func TestAStrictWaitHidesOneThatEnds(t *testing.T) {
	part := []spec.Part{{Name: "p", Exec: &spec.Exec{Command: []string{"/bin/p"}}}}
	tests := []struct {
		name  string
		after spec.After
		want  supervise.Gates
	}{
		{"a mandatory order is told first", spec.After{Service: "db", OneWay: true}, supervise.Gates{Wait: "db to run"}},
		{"an optional one after who is here", spec.After{Service: "db", OneWay: true, Optional: true}, supervise.Gates{Wait: "foe to stop here"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := NewView("a")
			v.Services["db"] = &record.Service{Spec: spec.Service{Name: "db", Parts: part}}
			v.Services["foe"] = &record.Service{Spec: spec.Service{Name: "foe", Parts: part}}
			v.Services["shop"] = &record.Service{Spec: spec.Service{
				Name: "shop", Parts: part, After: []spec.After{tt.after}, Place: spec.Place{Apart: []spec.ServiceName{"foe"}},
			}}
			town := supervise.NewTown(v.Services, nil, map[spec.ServiceName]bool{"db": true}, true)
			shop := Guest{Name: "shop", Coming: true}
			if got := v.Gates(&shop, town, v.House([]Guest{{Name: "foe", There: true}, shop})); got.Wait != tt.want.Wait || got.WaitMost != 0 {
				t.Errorf("it waits for %q for %v, want %q", got.Wait, got.WaitMost, tt.want.Wait)
			}
		})
	}
}
