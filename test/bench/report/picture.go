package report

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The picture's measures, in its own units.
const (
	pictureWidth = 900
	labelWidth   = 176
	margin       = 20
	rowHeight    = 24
	headHeight   = 96 // title and subtitle and the columns' titles
	axisHeight   = 34
	plotRight    = 56  // of a column: where its median is written
	noteWidth    = 136 // of a column of the lower half: where its figure is written
	dotRadius    = 2.8
)

// style has colours for both kinds of background; the picture brings its own,
// for where the page's and the reader's wish differ.
const style = `<style>
text { font-family: -apple-system, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; font-size: 12px; fill: #1f2328; }
.paper { fill: #ffffff; stroke: #d0d7de; }
.title { font-size: 16px; font-weight: 600; }
.head { font-weight: 600; }
.muted { fill: #59636e; font-size: 11px; }
.grid { stroke: #d8dee4; stroke-width: 1; }
.ours { fill: #0550ae; }
.them { fill: #6e7781; }
.dot { opacity: .5; }
.strong { font-weight: 600; }
@media (prefers-color-scheme: dark) {
text { fill: #d7dde4; }
.paper { fill: #14181d; stroke: #2d333b; }
.muted { fill: #9aa4af; }
.grid { stroke: #2d333b; }
.ours { fill: #79b8ff; }
.them { fill: #a0a8b2; }
}
</style>
`

// Picture returns an SVG: for each fault a column, for each contestant a row,
// for each trial a dot on a logarithmic scale; and below it how long there was
// no answer under loss, and two holders around a freeze.
func (r Report) Picture() string {
	var rows []Contestant
	for _, c := range r.Contestants {
		if r.took(c.Name) {
			rows = append(rows, c)
		}
	}
	p := &picture{Report: r, rows: rows}
	p.faults()
	p.lower()
	p.footer()
	height := p.y + margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" role="img" aria-label="%s">
%s<rect class="paper" x="0.5" y="0.5" width="%d" height="%.0f" rx="8"/>
%s</svg>
`, pictureWidth, height, pictureWidth, height, html.EscapeString(p.summary()), style, pictureWidth-1, height-1, p.b.String())
}

// picture is one that is being drawn.
type picture struct {
	Report
	rows []Contestant
	b    strings.Builder
	y    float64 // how far down it is drawn
}

func (p *picture) text(x, y float64, class, anchor, text string) {
	fmt.Fprintf(&p.b, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(text))
}

func (p *picture) line(x1, y1, x2, y2 float64) {
	fmt.Fprintf(&p.b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", x1, y1, x2, y2)
}

// scale maps milliseconds to the width of a plot, by their logarithm.
type scale struct {
	low, high float64 // powers of ten
	x, width  float64
}

func (s scale) at(ms float64) float64 {
	v := math.Log10(max(ms, math.Pow(10, s.low)))
	return s.x + s.width*(min(v, s.high)-s.low)/(s.high-s.low)
}

// decades are the powers of ten that hold all outages, at least 10 ms to 10 s.
func (p *picture) decades() (low, high float64) {
	low, high = 1, 4
	for _, f := range p.Faults {
		if f.Outage.Most > 0 {
			high = max(high, math.Log10(f.Outage.Most)+0.05)
		}
	}
	return low, high
}

// faults draws the columns of the faults that were tried.
func (p *picture) faults() {
	var shown []titled
	for _, f := range faultNames()[:4] { // a planned move is no fault
		if slices.ContainsFunc(p.Faults, func(x Fault) bool { return x.Fault == f.name }) {
			shown = append(shown, f)
		}
	}
	p.text(margin, 32, "title", "start", "How long a client gets no answer")
	p.text(margin, 52, "muted", "start", "one dot for each trial, a bar at the median and its figure beside it; logarithmic scale; the same run on one machine")
	p.y = headHeight
	if len(shown) == 0 {
		return
	}
	top, bottom := p.y, p.y+rowHeight*float64(len(p.rows))
	p.labels(top)
	width := float64(pictureWidth-2*margin-labelWidth) / float64(len(shown))
	low, high := p.decades()
	for i, f := range shown {
		s := scale{low: low, high: high, x: margin + labelWidth + width*float64(i), width: width - plotRight - 8}
		p.text(s.x, top-14, "head", "start", f.title)
		for d := math.Ceil(low); d <= high; d++ {
			x := s.at(math.Pow(10, d))
			p.line(x, top-4, x, bottom+4)
			p.text(x, bottom+18, "muted", "middle", fmt.Sprintf("%g", math.Pow(10, d-3)))
		}
		p.text(s.x+s.width+10, bottom+18, "muted", "start", "s")
		for n, c := range p.rows {
			p.dots(s, top+rowHeight*(float64(n)+0.5), c, f.name)
		}
	}
	p.y = bottom + axisHeight
}

// labels writes the contestants' names.
func (p *picture) labels(top float64) {
	for n, c := range p.rows {
		class := map[bool]string{true: "ours strong", false: ""}[c.Ours]
		p.text(margin, top+rowHeight*(float64(n)+0.5)+4, class, "start", c.Title)
	}
}

// dots draws one contestant's trials of a fault.
func (p *picture) dots(s scale, y float64, c Contestant, fault string) {
	f, ok := p.fault(c.Name, fault)
	if !ok {
		p.text(s.x, y+4, "muted", "start", "–")
		return
	}
	class := classOf(c)
	for i, v := range f.Outage.Each {
		off := float64(i%3-1) * 3 // so that equal ones can be told apart
		fmt.Fprintf(&p.b, `<circle class="%s dot" cx="%.1f" cy="%.1f" r="%.1f"/>`+"\n", class, s.at(v), y+off, dotRadius)
	}
	fmt.Fprintf(&p.b, `<rect class="%s" x="%.1f" y="%.1f" width="2.5" height="16"/>`+"\n", class, s.at(f.Outage.Median)-1.25, y-8)
	figure := short(f.Outage.Median)
	if f.Lost > 0 {
		figure = ">" + figure
	}
	p.text(s.x+s.width+plotRight, y+4, class+" strong", "end", figure)
}

func classOf(c Contestant) string {
	return map[bool]string{true: "ours", false: "them"}[c.Ours]
}

// column is one of the lower half: a bar and its figure for each contestant.
type column struct {
	title string
	// bar returns how much of the column's room the bar takes, 0 to 1, and what
	// is written beside it; false if it was not measured.
	bar func(Contestant) (share float64, figure string, ok bool)
}

// lower draws how the contestants do without a fault but lost packets, and for
// how long they have two holders.
func (p *picture) lower() {
	var shown []column
	add := func(c column) {
		if slices.ContainsFunc(p.rows, func(x Contestant) bool { _, _, ok := c.bar(x); return ok }) {
			shown = append(shown, c)
		}
	}
	for _, c := range conditionNames()[2:] {
		add(column{"no answer, " + c.title[:len("10 %")] + " of packets lost", p.unserved(c.name)})
	}
	add(column{"two hosts answer, one was frozen", p.two()})
	if len(shown) == 0 {
		return
	}
	p.y += 58
	p.text(margin, p.y-36, "title", "start", "Under loss without a fault, and around a freeze")
	p.labels(p.y)
	width := float64(pictureWidth-2*margin-labelWidth) / float64(len(shown))
	for i, c := range shown {
		x := margin + labelWidth + width*float64(i)
		p.text(x, p.y-12, "head", "start", c.title)
		p.line(x, p.y-4, x, p.y+rowHeight*float64(len(p.rows)))
		for n, who := range p.rows {
			y := p.y + rowHeight*(float64(n)+0.5)
			share, figure, ok := c.bar(who)
			if !ok {
				p.text(x+6, y+4, "muted", "start", "–")
				continue
			}
			long := max(0, width-noteWidth) * min(1, share)
			fmt.Fprintf(&p.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="12"/>`+"\n", classOf(who), x, y-6, long)
			p.text(x+long+6, y+4, classOf(who)+" strong", "start", figure)
		}
	}
	p.y += rowHeight * float64(len(p.rows))
}

// unserved is the share of the time without an answer.
func (p *picture) unserved(condition string) func(Contestant) (float64, string, bool) {
	return func(c Contestant) (float64, string, bool) {
		s, ok := p.steady(c.Name, condition)
		if !ok {
			return 0, "", false
		}
		figure := short(1000 * s.UnservedS)
		switch {
		case s.LostAtS > 0:
			figure += fmt.Sprintf(", gone at %.0f s", s.LostAtS)
		case s.Changes == 1:
			figure += ", 1 change"
		case s.Changes > 1:
			figure += fmt.Sprintf(", %d changes", s.Changes)
		}
		return s.UnservedS / s.Seconds, figure, true
	}
}

// two is the longest time with two holders in a trial, frozen and thawed.
func (p *picture) two() func(Contestant) (float64, string, bool) {
	both := func(f Fault) float64 {
		var most float64
		for _, t := range f.Trials {
			if t.Frozen != nil {
				most = max(most, t.Frozen.TwoFrozenMS+t.Frozen.TwoThawedMS)
			}
		}
		return most
	}
	var most float64
	for _, f := range p.Faults {
		most = max(most, both(f))
	}
	return func(c Contestant) (float64, string, bool) {
		f, ok := p.fault(c.Name, "freeze")
		if !ok || f.Old == nil {
			return 0, "", false
		}
		return both(f) / max(most, 1), short(both(f)), true
	}
}

// footer says on what it was measured.
func (p *picture) footer() {
	p.y += 26
	trials, span := 0, 0.0 // the most of each
	for _, f := range p.Faults {
		trials = max(trials, len(f.Trials))
	}
	for _, s := range p.Steady {
		span = max(span, s.Seconds)
	}
	done := fmt.Sprintf("up to %d trials each, on three hosts and a client made of namespaces", trials)
	if span > 0 {
		done += fmt.Sprintf(" · %.0f s under loss", span)
	}
	v := p.Setup.Versions
	for _, line := range []string{
		done + " · a frozen host is thawed 3 s after another answers",
		fmt.Sprintf("%s, %d cores · %s · Linux %s · %s", p.Setup.CPU, p.Setup.Cores, p.Setup.System, p.Setup.Kernel, p.Setup.At.Format("2006-01-02")),
		strings.Join(p.Keelsons, ", "),
		"Pacemaker " + v["pacemaker"] + " · Corosync " + v["corosync"] + " · keepalived " + v["keepalived"],
		"keepalived asks no majority, fences nothing, and has no service to start; Pacemaker runs without fencing here",
	} {
		p.text(margin, p.y, "muted", "start", line)
		p.y += 16
	}
	p.y -= 16
}

// summary is the picture in words, for those who do not see it.
func (p *picture) summary() string {
	var out []string
	for _, c := range p.rows {
		if f, ok := p.fault(c.Name, faultNames()[0].name); ok {
			out = append(out, c.Title+" "+short(f.Outage.Median))
		}
	}
	return "Median time without an answer after the host that serves was killed: " + strings.Join(out, ", ")
}

// short writes milliseconds as people do: 45 ms, 1.02 s.
func short(ms float64) string {
	switch {
	case ms == 0:
		return "0"
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 9995:
		return strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf("%.2f", ms/1000), "0"), ".0") + " s"
	default:
		return fmt.Sprintf("%.0f s", ms/1000)
	}
}
