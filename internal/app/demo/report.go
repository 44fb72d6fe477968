package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/lab/picture"
	"github.com/keelson/keelson/internal/lab/probe"
)

// report is what --json prints. Times are in milliseconds.
type report struct {
	Version        string        `json:"version"`
	Nodes          []string      `json:"nodes"`
	Fault          string        `json:"fault"`
	HolderBefore   string        `json:"holder_before"`
	HolderAfter    string        `json:"holder_after"` // empty if nobody took over
	EpochBefore    uint64        `json:"epoch_before,string"`
	EpochAfter     uint64        `json:"epoch_after,string"`
	OutageMS       float64       `json:"outage_ms"` // as the client saw it
	IntervalMS     float64       `json:"interval_ms"`
	Requests       int           `json:"requests"`
	FailedRequests int           `json:"failed_requests"`
	TwoHoldersMS   float64       `json:"two_holders_ms"`
	Stages         []reportStage `json:"stages"`
}

// reportStage is a stage that was seen: how long after the fault and after the
// stage before, and which host it is about. Until the first answer what the stages
// took adds up to when that came. What comes after it made nobody wait, and takes 0.
type reportStage struct {
	Name   string  `json:"name"`
	AtMS   float64 `json:"at_ms"`
	TookMS float64 `json:"took_ms"`
	By     string  `json:"by"`
	Late   bool    `json:"after_first_answer"`
}

func reportOf(i incident, nodes []string, version string) report {
	r := report{
		Version: version, Nodes: nodes, Fault: i.verb,
		HolderBefore: i.before.Host, HolderAfter: i.after.Host, EpochBefore: i.before.Epoch, EpochAfter: i.after.Epoch,
		OutageMS: millis(i.outage.Duration()), IntervalMS: millis(interval),
		Requests: len(i.results), FailedRequests: failed(i.results), TwoHoldersMS: millis(i.two),
		Stages: []reportStage{},
	}
	last, answered := 0.0, false
	for _, s := range i.stages {
		if !s.Seen {
			continue
		}
		stage := reportStage{Name: s.Name, AtMS: millis(s.At - i.fault), By: s.By, Late: answered}
		if !answered {
			stage.TookMS = math.Round(10*(stage.AtMS-last)) / 10
			last, answered = stage.AtMS, s.Name == stageAnswer
		}
		r.Stages = append(r.Stages, stage)
	}
	return r
}

// millis is d in milliseconds, to a tenth.
func millis(d time.Duration) float64 { return math.Round(float64(d)/1e5) / 10 }

func failed(results []probe.HTTPResult) int {
	n := 0
	for _, r := range results {
		if !r.OK {
			n++
		}
	}
	return n
}

func writeJSON(w io.Writer, r report) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s\n", text); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// tell says what came of an incident.
func (s *show) tell(i incident) {
	v := s.voice
	if i.two == 0 && (i.outage.Failed == 0 || i.after.Host == "" && i.before.Host == "") {
		v.printf("\n%s\n\n", indent(v.paint(summary(i), screen.Strong)))
		return
	}
	draw := picture.Outage{Results: i.results, Fault: i.fault, Hosts: s.nodes, Width: v.width - 2, ASCII: v.ascii}.Draw()
	tone := screen.Good
	if i.two > 0 {
		tone = screen.Bad
	}
	for _, block := range []string{
		v.paint("what happened", screen.Faint), timeline(i),
		v.paint("who answered", screen.Faint), draw,
		v.paint(summary(i), screen.Strong) + "\n" + v.paint(exclusive(i), tone),
	} {
		v.printf("\n%s\n", indent(block))
	}
	v.printf("\n")
}

// timeline names the fault by what was done.
func timeline(i incident) string {
	stages := slices.Clone(i.stages)
	if len(stages) == 0 {
		return ""
	}
	stages[0].Name = i.past()
	return picture.Timeline(i.fault, stages)
}

// summary is the outage in a sentence or two.
func summary(i incident) string {
	o := i.outage
	switch {
	case i.after.Host == "" && i.before.Host == "":
		return "Nobody answers, as before."
	case i.after.Host == "":
		return "Nobody answers. `status` says why."
	case o.Failed == 0 && i.before.Host == i.after.Host:
		return fmt.Sprintf("No request failed; %s serves as before.", i.after.Host)
	case o.Failed == 0:
		return fmt.Sprintf("No request failed; %s serves now.", i.after.Host)
	case i.before.Host == "":
		return fmt.Sprintf("%s serves again, %s after the %s.", i.after.Host, seconds(o.End-i.fault), i.verb)
	}
	text := fmt.Sprintf("The client was without an answer for %s; %d of its requests failed.", seconds(o.Duration()), o.Failed)
	if i.before.Host != i.after.Host {
		return text + fmt.Sprintf("\n%s took over from %s.", i.after.Host, i.before.Host)
	}
	return text + fmt.Sprintf("\n%s serves on.", i.after.Host)
}

// exclusive says whether two hosts held the address at once.
func exclusive(i incident) string {
	if i.two > 0 {
		return fmt.Sprintf("Two hosts held %s at once for %s, which must not be.", address, seconds(i.two))
	}
	return fmt.Sprintf("At no time did two hosts hold %s.", address)
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// indent puts two blanks before every line that is not empty.
func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for n, line := range lines {
		if line != "" {
			lines[n] = "  " + line
		}
	}
	return strings.Join(lines, "\n")
}
