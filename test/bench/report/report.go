// Package report makes of what was measured tables for people, a file for
// programs and a picture.
//
// Its one rule: it is pure but for [Report.Save], and it hides nothing: every
// value stands in the file, and beside each median stand the least and the most.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/keelson/keelson/test/bench/journal"
)

// Contestant is who took part.
type Contestant struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Setup string `json:"setup"` // what differs from the defaults, in words
	Ours  bool   `json:"ours"`
}

// Report is all that was measured, put in order. Its JSON is the file for
// programs: times in milliseconds unless the name says otherwise.
type Report struct {
	// Setup is the last one; Keelsons are all that were measured, more than one
	// if the journal was begun with another version or spec.
	Setup       journal.Setup    `json:"setup"`
	Keelsons    []string         `json:"keelsons"`
	Contestants []Contestant     `json:"contestants"`
	Faults      []Fault          `json:"faults"`
	Steady      []journal.Steady `json:"steady"`
	Scale       []journal.Scale  `json:"scale"`
	Aims        []Aim            `json:"aims"`
	// Failed counts the tries that could not be measured, for the record.
	Failed int `json:"failed"`
}

// Fault is all trials of one fault with one contestant.
type Fault struct {
	Contestant string          `json:"contestant"`
	Fault      string          `json:"fault"`
	Outage     Values          `json:"outage_ms"`
	After      Values          `json:"after_repair_ms"`
	TwoFrozen  *Values         `json:"two_holders_frozen_ms,omitempty"`
	TwoThawed  *Values         `json:"two_holders_thawed_ms,omitempty"`
	Old        *Values         `json:"old_holder_answered_ms,omitempty"`
	Lost       int             `json:"lost"` // trials in which nobody answered before the repair
	Trials     []journal.Trial `json:"trials"`
}

// Values are some measured values, at least one.
type Values struct {
	Median float64   `json:"median"`
	Least  float64   `json:"least"`
	Most   float64   `json:"most"`
	Each   []float64 `json:"each"` // in the order of the rounds
}

func valuesOf(each []float64) Values {
	sorted := slices.Sorted(slices.Values(each))
	n := len(sorted)
	return Values{
		Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Least: sorted[0], Most: sorted[n-1], Each: each,
	}
}

// faultNames are the faults in the order of the report, with their titles.
func faultNames() []titled {
	return []titled{
		{"kill", "host killed"},
		{"cut", "cable cut"},
		{"service", "service killed"},
		{"freeze", "host frozen"},
		{"move", "planned move"},
	}
}

func conditionNames() []titled {
	return []titled{
		{"rest", "at rest"},
		{"load", "both cores oversubscribed twice"},
		{"loss10", "10 % random loss between the hosts"},
		{"loss20", "20 % random loss between the hosts"},
	}
}

type titled struct{ name, title string }

// Of puts the entries of a journal in order. What was measured more than once
// counts as it was measured first.
func Of(entries []journal.Entry, contestants []Contestant) Report {
	r := Report{Contestants: contestants}
	taken := map[string]bool{}
	trials := map[[2]string][]journal.Trial{}
	for _, e := range entries {
		switch {
		case e.Setup != nil:
			r.Setup = *e.Setup
			name := e.Setup.Keelson
			if e.Setup.Spec != "" {
				name += " with " + e.Setup.Spec
			}
			if !slices.Contains(r.Keelsons, name) {
				r.Keelsons = append(r.Keelsons, name)
			}
		case e.Failed():
			r.Failed++
		case taken[e.Key()]:
		case e.Trial != nil:
			k := [2]string{e.Trial.Contestant, e.Trial.Fault}
			trials[k] = append(trials[k], *e.Trial)
		case e.Steady != nil:
			r.Steady = append(r.Steady, *e.Steady)
		case e.Scale != nil:
			r.Scale = append(r.Scale, *e.Scale)
		}
		taken[e.Key()] = !e.Failed() || taken[e.Key()]
	}
	for _, f := range faultNames() {
		for _, c := range contestants {
			if t := trials[[2]string{c.Name, f.name}]; len(t) > 0 {
				r.Faults = append(r.Faults, faultOf(c.Name, f.name, t))
			}
		}
	}
	slices.SortStableFunc(r.Scale, func(a, b journal.Scale) int { return a.Nodes - b.Nodes })
	r.Aims = aims(r)
	return r
}

func faultOf(contestant, fault string, trials []journal.Trial) Fault {
	slices.SortStableFunc(trials, func(a, b journal.Trial) int { return a.Round - b.Round })
	f := Fault{Contestant: contestant, Fault: fault, Trials: trials}
	each := func(of func(journal.Trial) float64) Values {
		var out []float64
		for _, t := range trials {
			out = append(out, of(t))
		}
		return valuesOf(out)
	}
	f.Outage = each(func(t journal.Trial) float64 { return t.OutageMS })
	f.After = each(func(t journal.Trial) float64 { return t.AfterMS })
	for _, t := range trials {
		if t.Lost {
			f.Lost++
		}
	}
	if slices.ContainsFunc(trials, func(t journal.Trial) bool { return t.Frozen == nil }) {
		return f
	}
	two := each(func(t journal.Trial) float64 { return t.Frozen.TwoFrozenMS })
	thawed := each(func(t journal.Trial) float64 { return t.Frozen.TwoThawedMS })
	old := each(func(t journal.Trial) float64 { return t.Frozen.OldMS })
	f.TwoFrozen, f.TwoThawed, f.Old = &two, &thawed, &old
	return f
}

// question is the time between two questions of a client: what an outage can
// look longer than it was.
const question = 5.0

// foretold returns the bounds that were shown before the trials, and how many of
// those trials' outages were longer.
func (f Fault) foretold() (bounds []float64, over int) {
	for _, t := range f.Trials {
		if t.BoundMS == 0 {
			continue
		}
		bounds = append(bounds, t.BoundMS)
		if t.OutageMS > t.BoundMS+question {
			over++
		}
	}
	return bounds, over
}

// fault returns the trials of a contestant, and false if there are none.
func (r Report) fault(contestant, fault string) (Fault, bool) {
	i := slices.IndexFunc(r.Faults, func(f Fault) bool { return f.Contestant == contestant && f.Fault == fault })
	if i < 0 {
		return Fault{}, false
	}
	return r.Faults[i], true
}

// steady returns what was seen under a condition, and false if nothing was.
func (r Report) steady(contestant, condition string) (journal.Steady, bool) {
	i := slices.IndexFunc(r.Steady, func(s journal.Steady) bool { return s.Contestant == contestant && s.Condition == condition })
	if i < 0 {
		return journal.Steady{}, false
	}
	return r.Steady[i], true
}

// took reports whether anything was measured of the contestant.
func (r Report) took(contestant string) bool {
	return slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Contestant == contestant }) ||
		slices.ContainsFunc(r.Steady, func(s journal.Steady) bool { return s.Contestant == contestant })
}

// Save writes benchmarks/failover.json and images/failover.svg below a folder.
func (r Report) Save(dir string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return errors.Join(
		write(filepath.Join(dir, "benchmarks", "failover.json"), append(text, '\n')),
		write(filepath.Join(dir, "images", "failover.svg"), []byte(r.Picture())),
	)
}

func write(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of the report: %w", err)
	}
	return os.WriteFile(path, text, 0o644)
}
