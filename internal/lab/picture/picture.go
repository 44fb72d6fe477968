// Package picture draws an outage for a terminal: when what happened, and who
// answered when.
//
// Its one rule: it is pure, and what it draws fits the width it is given. It
// uses no colour; where the terminal has no block characters, ASCII stands in.
package picture

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keelson/keelson/internal/lab/probe"
)

// MinWidth and MaxWidth bound the width of a picture in columns; a width
// outside is taken for the nearest.
const (
	MinWidth = 40
	MaxWidth = 160
)

const (
	// maxLabel bounds the column of names.
	maxLabel = 16
	noAnswer = "no answer"
)

// Stage is a moment on the way from a fault to the first answer after it.
type Stage struct {
	Name string // "declared dead"
	By   string // who saw it, or ""
	At   time.Duration
	Seen bool // false: it is not known when, or whether, it happened
}

// Timeline returns one line for each stage: milliseconds since the fault, how
// long after the stage before, and what it was. Stages that were seen come in
// the order of time; the others come last.
func Timeline(fault time.Duration, stages []Stage) string {
	sorted := slices.Clone(stages)
	slices.SortStableFunc(sorted, func(a, b Stage) int {
		switch {
		case a.Seen && b.Seen:
			return cmp.Compare(a.At, b.At)
		case a.Seen:
			return -1
		case b.Seen:
			return 1
		}
		return 0
	})
	var b strings.Builder
	before := fault
	for _, s := range sorted {
		what := s.Name
		if s.By != "" {
			what += " (" + s.By + ")"
		}
		if !s.Seen {
			fmt.Fprintf(&b, "%8s  %9s   %s\n", "-", "", what+": not seen")
			continue
		}
		took := ""
		if s.At != before {
			took = fmt.Sprintf("%+d ms", millis(s.At-before))
		}
		fmt.Fprintf(&b, "%5d ms  %9s   %s\n", millis(s.At-fault), took, what)
		before = s.At
	}
	return b.String()
}

// Outage is what to draw.
type Outage struct {
	Results []probe.HTTPResult
	Fault   time.Duration // CLOCK_BOOTTIME, as in the results
	// Hosts are the rows, in this order. Hosts that answered but are not named
	// here are added at the end.
	Hosts []string
	Width int  // columns; 0 means 80
	ASCII bool // for terminals without block characters
}

// Draw returns the picture: a row for each host, which is filled where the
// host answered, a row for the questions without an answer, and an axis in
// milliseconds since the fault. It shows the worst outage after the fault with
// some time around it, or the second around the fault if there was none.
// Without results it returns "".
func (o Outage) Draw() string {
	if len(o.Results) == 0 {
		return ""
	}
	if o.Width == 0 {
		o.Width = 80
	}
	rows := o.rows()
	label := utf8.RuneCountInString(noAnswer)
	for _, r := range rows {
		label = max(label, min(maxLabel, utf8.RuneCountInString(r)))
	}
	columns := min(max(o.Width, MinWidth), MaxWidth) - label - 3
	w := o.window(columns)

	var b strings.Builder
	for _, host := range rows {
		b.WriteString(o.row(pad(host, label), o.ramp(), w.shares(o.Results, func(r probe.HTTPResult) bool { return r.OK && r.Host == host })))
	}
	b.WriteString(o.row(pad(noAnswer, label), o.shade(), w.shares(o.Results, func(r probe.HTTPResult) bool { return !r.OK })))
	b.WriteString(o.axis(label, w))
	return b.String()
}

func (o Outage) rows() []string {
	rows := slices.Clone(o.Hosts)
	for _, r := range o.Results {
		if r.OK && r.Host != "" && !slices.Contains(rows, r.Host) {
			rows = append(rows, r.Host)
		}
	}
	return rows
}

// window is the time shown.
type window struct {
	from, step time.Duration
	columns    int
}

func (o Outage) window(columns int) window {
	from, to := o.Fault-500*time.Millisecond, o.Fault+500*time.Millisecond
	if worst, ok := probe.Worst(o.Results, o.Fault); ok {
		from, to = min(worst.Start, o.Fault), worst.End
		margin := max((to-from)/3, 50*time.Millisecond)
		from, to = from-margin, to+margin
	}
	step := max((to-from)/time.Duration(columns), time.Millisecond)
	return window{from: from, step: step, columns: columns}
}

func (w window) column(at time.Duration) int {
	return int(math.Floor(float64(at-w.from) / float64(w.step)))
}

// shares returns, for each column, which part of the questions sent in it is
// so: 0 to 1, or 0 if nothing was asked.
func (w window) shares(results []probe.HTTPResult, so func(probe.HTTPResult) bool) []float64 {
	asked, found := make([]int, w.columns), make([]int, w.columns)
	for _, r := range results {
		c := w.column(r.Sent)
		if c < 0 || c >= w.columns {
			continue
		}
		asked[c]++
		if so(r) {
			found[c]++
		}
	}
	out := make([]float64, w.columns)
	for c := range out {
		switch {
		case asked[c] > 0:
			out[c] = float64(found[c]) / float64(asked[c])
		case c > 0 && w.step < 2*probe.DefaultEvery:
			out[c] = out[c-1] // a column is shorter than the time between questions
		}
	}
	return out
}

// ramp stands for none to all of a column's questions, shade too, in the row
// of those without an answer.
func (o Outage) ramp() []rune {
	if o.ASCII {
		return []rune(" .:-=+*##")
	}
	return []rune(" ▁▂▃▄▅▆▇█")
}

func (o Outage) shade() []rune {
	if o.ASCII {
		return []rune(" xxX")
	}
	return []rune(" ░▒▓")
}

func (o Outage) row(name string, ramp []rune, shares []float64) string {
	var b strings.Builder
	for _, s := range shares {
		i := int(math.Round(s * float64(len(ramp)-1)))
		if s > 0 && i == 0 {
			i = 1 // the smallest part shows
		}
		b.WriteRune(ramp[i])
	}
	edge := map[bool]string{true: "|", false: "│"}[o.ASCII]
	return fmt.Sprintf("%s %s%s\n", name, edge, strings.TrimRight(b.String(), " "))
}

// axis marks the fault and puts numbers where they fit.
func (o Outage) axis(label int, w window) string {
	mark, line, corner := '┴', '─', "└"
	if o.ASCII {
		mark, line, corner = '+', '-', "+"
	}
	ruler := []rune(strings.Repeat(string(line), w.columns))
	numbers := []rune(strings.Repeat(" ", w.columns))
	taken := -1
	every := nice(w.step * 14)
	span := w.step * time.Duration(w.columns)
	first := (w.from - o.Fault) / every * every
	for t := first; t < w.from-o.Fault+span; t += every {
		text := fmt.Sprintf("%d", millis(t))
		c := w.column(o.Fault + t)
		if c < 0 || c >= w.columns {
			continue
		}
		ruler[c] = mark
		if c > taken && c+len(text) <= w.columns {
			copy(numbers[c:], []rune(text))
			taken = c + len(text)
		}
	}
	blank := strings.Repeat(" ", label)
	return fmt.Sprintf("%s %s%s\n%s  %s\n", blank, corner, string(ruler),
		pad("ms", label), strings.TrimRight(string(numbers), " "))
}

// nice returns the smallest of 1, 2, 5, 10, 20 ... ms that is at least d.
func nice(d time.Duration) time.Duration {
	for unit := time.Millisecond; ; unit *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if n*unit >= d {
				return n * unit
			}
		}
	}
}

func pad(s string, width int) string {
	r := []rune(s)
	if len(r) > width {
		r = r[:width]
	}
	return string(r) + strings.Repeat(" ", width-len(r))
}

func millis(d time.Duration) int64 { return d.Round(time.Millisecond).Milliseconds() }
