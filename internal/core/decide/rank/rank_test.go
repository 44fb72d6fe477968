package rank

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// TestRank runs the files of testdata, whose names are their claims.
//
//	sort   prints the candidates from better to worse, with what puts each before the
//	       next; "successor" makes successors of them first
//	rate   prints what a service's preferences make of nodes
//
// Lines of sort: "NODE [score=N] [staying=N] [others=N] [sitting=N] [crowd=N] [load=N]
// [takeover=N] [free=N,N] [suspect] [doubt] [kept] [named] [wanted] [unwanted]". Of rate:
// "prefer node:NAME:SCORE|KEY=VALUE:SCORE [role] [from=DURATION] [until=DURATION]",
// counted from now, and "node NAME [health=N] [KEY=VALUE ...]".
func TestRank(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "sort":
				return sorted(t, d)
			case "rate":
				return rated(t, d)
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func sorted(t *testing.T, d *datadriven.TestData) string {
	var all []Candidate
	for line := range strings.Lines(d.Input) {
		c := candidate(t, strings.Fields(line))
		if d.HasArg("successor") {
			c = c.Successor()
		}
		all = append(all, c)
	}
	Sort(all)
	out := ""
	for i := range all {
		if i > 0 {
			out += fmt.Sprintf("    %s\n", Reason(&all[i-1], &all[i]))
		}
		out += fmt.Sprintf("%s (class %d): %s\n", all[i].Node, all[i].Class(), all[i].Sum())
	}
	return out
}

func candidate(t *testing.T, words []string) Candidate {
	c := Candidate{Node: spec.NodeName(words[0])}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "score":
			c.Add(number(t, value), "label x=y")
		case "staying":
			c.Stay(number(t, value), true)
		case "others":
			c.Others = number(t, value)
			c.Add(c.Others, "other services")
		case "sitting":
			c.Sitting = number(t, value)
		case "crowd":
			c.Crowd = number(t, value)
		case "load":
			c.Load = number(t, value)
		case "takeover":
			c.Takeover = number(t, value)
		case "free":
			for n := range strings.SplitSeq(value, ",") {
				c.Free = append(c.Free, number(t, n))
			}
		case "suspect":
			c.Suspect = true
		case "doubt":
			c.Doubt = "it failed on " + words[0] + " before"
		case "kept":
			c.Kept = true
		case "named":
			c.Named = true
		case "wanted":
			c.Wanted = true
		case "unwanted":
			c.Unwanted = true
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return c
}

func rated(t *testing.T, d *datadriven.TestData) string {
	var s spec.Service
	out := ""
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		if words[0] == "prefer" {
			s.Place.Prefer = append(s.Place.Prefer, preference(t, words[1:]))
			continue
		}
		n := fact.Node{Name: spec.NodeName(words[1]), Labels: map[string]string{}}
		for _, w := range words[2:] {
			key, value, _ := strings.Cut(w, "=")
			n.Labels[key] = value
			if key == "health" {
				n.Health = number(t, value)
			}
		}
		likings := LikingsOf(&s, noon)
		if why := likings.Shuns(&n); why != "" {
			out += fmt.Sprintf("%s: no, %s\n", n.Name, why)
			continue
		}
		c := Candidate{Node: n.Name}
		c.Rate(likings, &n)
		c.Ail(&n)
		out += fmt.Sprintf("%s: %s, named %v\n", n.Name, c.Sum(), c.Named)
	}
	return out
}

func preference(t *testing.T, words []string) spec.Preference {
	var p spec.Preference
	at := strings.LastIndex(words[0], ":")
	p.Score = number(t, words[0][at+1:])
	if name, isNode := strings.CutPrefix(words[0][:at], "node:"); isNode {
		p.Node = spec.NodeName(name)
	} else {
		p.Label = words[0][:at]
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		d, err := time.ParseDuration(value)
		switch {
		case key == "role":
			p.Role = spec.RolePrimary
		case err != nil:
			t.Fatal(err)
		case key == "from":
			p.From = noon.Add(d)
		case key == "until":
			p.Until = noon.Add(d)
		}
	}
	return p
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Candidates share the words for one preference. Whoever adds to them makes its own.
func TestWhatIsAddedForOneCandidateIsNotSaidOfAnother(t *testing.T) {
	s := spec.Service{Place: spec.Place{Prefer: []spec.Preference{{Label: "ssd=true", Score: 50}}}}
	likings := LikingsOf(&s, noon)
	n := fact.Node{Name: "a", Labels: map[string]string{"ssd": "true"}}
	var one, two, three Candidate
	for _, c := range []*Candidate{&one, &two, &three} {
		c.Rate(likings, &n)
	}
	one.Stay(100, true)
	two.Add(7, "other services")
	if got := one.Sum() + "; " + two.Sum() + "; " + three.Sum(); got != "score 150 (label ssd=true 50, staying 100); score 57 (label ssd=true 50, other services 7); score 50 (label ssd=true 50)" {
		t.Error(got)
	}
}
