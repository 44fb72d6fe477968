package restrain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestRestrain runs the files of testdata, whose names are their claims.
//
//	cell      starts anew with these lines
//	change    adds lines, or replaces what has the same name
//	restrain  what is to leave, a line each, until nothing more is held back: prints
//	          what waits, and what is remembered and told
//	doubt     prints what speaks against each node for a service, and where it was
//	          stopped for a person
//
// Lines: "node NAME [ill] [lost=AGO] [quarantined] [probation]", "service NAME [moved=NODE:AGO]
// [ill-moved=NODE:AGO] [tried=NODE:AGO] [missing=NODE:AGO] [stopped]", "recovery [share=N]
// [moves=N] [cell-moves=N] [window=DURATION]". Of restrain: "SERVICE NODE [ill] [down]
// [lost] [copies=N]".
func TestRestrain(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s fact.Snapshot
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "cell", "change":
				if d.Cmd == "cell" {
					s = fact.Snapshot{Now: noon, Quorate: true}
				}
				for line := range strings.Lines(d.Input) {
					readLine(t, &s, strings.Fields(line))
				}
				return ""
			case "restrain":
				return restrained(t, &s, d.Input)
			case "doubt":
				return doubts(&s, spec.ServiceName(d.CmdArgs[0].Key))
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

// restrained holds back, as often as that changes what leaves, and says what came of it.
func restrained(t *testing.T, s *fact.Snapshot, input string) string {
	r, rounds := New(*s, s.History), 1
	var all []Departure
	for line := range strings.Lines(input) {
		all = append(all, departure(t, strings.Fields(line)))
	}
	leaving := slices.Clone(all)
	for r.Restrain(*s, leaving) {
		rounds++
		leaving = slices.DeleteFunc(slices.Clone(all), func(d Departure) bool {
			h, held := r.Held[d.Unit]
			return held && (d.Down || h.Keep == d.From || slices.Contains(h.Nodes, d.From))
		})
	}
	out := fmt.Sprintf("rounds: %d\n", rounds)
	for _, d := range r.Planned {
		out += fmt.Sprintf("%s leaves %s\n", d.Unit, d.From)
	}
	for _, svc := range s.Services {
		h, held := r.Held[svc.Spec.Name]
		if held {
			out += fmt.Sprintf("%s (keep %q, nodes %v, fewer %d): %s\n", svc.Spec.Name, h.Keep, h.Nodes, h.Fewer, h.Why)
		}
	}
	history, notes := r.Remember(*s, func(svc fact.Service) (Hold, bool) { h, held := r.Held[svc.Spec.Name]; return h, held })
	for _, h := range history.Services {
		out += fmt.Sprintf("%s is remembered with %d moves\n", h.Service, len(h.Moves))
	}
	for _, n := range notes {
		out += fmt.Sprintf("* %s %s: %s\n", n.Kind, n.Service, n.Text)
	}
	s.History = history
	return out
}

func departure(t *testing.T, words []string) Departure {
	d := Departure{Unit: spec.ServiceName(words[0]), From: spec.NodeName(words[1])}
	d.Members = []fact.Service{{Spec: spec.Service{Name: d.Unit}}}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "ill":
			d.Ill = true
		case "down":
			d.Ill, d.Down = true, true
		case "lost":
			d.Lost = true
		case "copies":
			d.Several, d.Copies = true, number(t, value)
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return d
}

func doubts(s *fact.Snapshot, name spec.ServiceName) string {
	r, out := New(*s, s.History), ""
	svc := fact.Service{Spec: spec.Service{Name: name}}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		out += fmt.Sprintf("%s: %q, stopped %q\n", n.Name, r.Doubt([]fact.Service{svc}, n), r.StoppedOn(&svc, n.Name))
	}
	return out + fmt.Sprintf("quarantine: %v\n", r.Barred)
}

func readLine(t *testing.T, s *fact.Snapshot, words []string) {
	switch words[0] {
	case "node":
		n, h := fact.Node{Name: spec.NodeName(words[1]), Liveness: fact.Alive}, fact.NodeHistory{Node: spec.NodeName(words[1])}
		for _, w := range words[2:] {
			key, value, _ := strings.Cut(w, "=")
			switch key {
			case "ill":
				n.Health = -spec.MaxScore
			case "lost":
				h.Losses = append(h.Losses, ago(t, value))
			case "quarantined":
				h.Trust, h.Until, h.Why = fact.Quarantined, noon.Add(time.Minute), "it was lost 3 times"
			case "probation":
				h.Trust = fact.Probation
			default:
				t.Fatalf("unknown word %q", w)
			}
		}
		s.Nodes = append(slices.DeleteFunc(s.Nodes, func(o fact.Node) bool { return o.Name == n.Name }), n)
		slices.SortFunc(s.Nodes, func(a, b fact.Node) int { return strings.Compare(string(a.Name), string(b.Name)) })
		s.History.Nodes = append(slices.DeleteFunc(s.History.Nodes, func(o fact.NodeHistory) bool { return o.Node == n.Name }), h)
	case "service":
		readService(t, s, words[1:])
	case "recovery":
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			switch key {
			case "share":
				s.Recovery.Share = number(t, value)
			case "moves":
				s.Recovery.ServiceMoves = number(t, value)
			case "cell-moves":
				s.Recovery.CellMoves = number(t, value)
			case "window":
				s.Recovery.Window = spec.Duration(noon.Sub(ago(t, value)))
			default:
				t.Fatalf("unknown word %q", w)
			}
		}
	default:
		t.Fatalf("unknown line %q", words)
	}
}

func readService(t *testing.T, s *fact.Snapshot, words []string) {
	name := spec.ServiceName(words[0])
	h := fact.ServiceHistory{Service: name}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		node, when, _ := strings.Cut(value, ":")
		switch key {
		case "moved", "ill-moved":
			h.Moves = append(h.Moves, fact.Move{At: ago(t, when), From: spec.NodeName(node), Ill: key == "ill-moved"})
		case "tried":
			h.Tried = append(h.Tried, fact.Try{Node: spec.NodeName(node), At: ago(t, when), Why: "exit status 1"})
		case "missing":
			h.Tried = append(h.Tried, fact.Try{Node: spec.NodeName(node), At: ago(t, when), Missing: "the program /bin/x"})
		case "stopped":
			h.Stopped = noon
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	s.Services = append(slices.DeleteFunc(s.Services, func(o fact.Service) bool { return o.Spec.Name == name }), fact.Service{Spec: spec.Service{Name: name}})
	s.History.Services = slices.DeleteFunc(s.History.Services, func(o fact.ServiceHistory) bool { return o.Service == name })
	if len(words) > 1 {
		s.History.Services = append(s.History.Services, h)
	}
}

func ago(t *testing.T, text string) time.Time {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return noon.Add(-d)
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
