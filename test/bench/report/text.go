package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Text returns the tables for people.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores, %d MB; %s, Linux %s; %s\n", r.Setup.CPU, r.Setup.Cores, r.Setup.MemoryMB, r.Setup.System, r.Setup.Kernel, r.Setup.At.Format("2006-01-02"))
	var versions []string
	for name, v := range r.Setup.Versions {
		versions = append(versions, name+" "+v)
	}
	slices.Sort(versions)
	fmt.Fprintf(&b, "%s; %s\n", strings.Join(r.Keelsons, ", "), strings.Join(versions, ", "))
	fmt.Fprintf(&b, "the web program answers %.0f ms after it is started\n", r.Setup.StartMS)
	if len(r.Keelsons) > 1 {
		b.WriteString("NOTE: more than one Keelson was measured; begin with an empty folder\n")
	}
	if r.Failed > 0 {
		fmt.Fprintf(&b, "NOTE: %d tries could not be measured\n", r.Failed)
	}
	for _, part := range []struct {
		title string
		rows  [][]string
	}{
		{"No answer after a fault, ms: median (least to most) of n trials", r.outages()},
		{"Frozen and thawed, ms: median (most)", r.frozen()},
		{"The bound that status showed before the fault, ms: median (least to most)", r.bounds()},
		{"No fault of a host", r.calm()},
		{"Cells of many nodes", r.sizes()},
		{"Aims", r.aimed()},
	} {
		if len(part.rows) > 1 {
			fmt.Fprintf(&b, "\n%s\n\n%s", part.title, columns(part.rows))
		}
	}
	return b.String()
}

func (r Report) outages() [][]string {
	head := []string{""}
	for _, f := range faultNames() {
		head = append(head, f.title)
	}
	rows := [][]string{head}
	for _, c := range r.Contestants {
		row := []string{c.Title}
		for _, name := range faultNames() {
			f, ok := r.fault(c.Name, name.name)
			if !ok {
				row = append(row, "-")
				continue
			}
			v := f.Outage
			text := fmt.Sprintf("%.0f (%.0f to %.0f) of %d", v.Median, v.Least, v.Most, len(v.Each))
			if f.Lost > 0 {
				text += fmt.Sprintf(", %d lost", f.Lost)
			}
			row = append(row, text)
		}
		if slices.ContainsFunc(row[1:], func(s string) bool { return s != "-" }) {
			rows = append(rows, row)
		}
	}
	return rows
}

func (r Report) frozen() [][]string {
	rows := [][]string{{"", "two holders while frozen", "two holders after", "old one answered after", "second outage after"}}
	for _, c := range r.Contestants {
		f, ok := r.fault(c.Name, "freeze")
		if !ok || f.Old == nil {
			continue
		}
		row := []string{c.Title}
		for _, v := range []Values{*f.TwoFrozen, *f.TwoThawed, *f.Old, f.After} {
			row = append(row, fmt.Sprintf("%.0f (%.0f)", v.Median, v.Most))
		}
		rows = append(rows, row)
	}
	return rows
}

func (r Report) bounds() [][]string {
	rows := [][]string{{"", "", "bound", "longest outage", "outages that were longer"}}
	for _, c := range r.Contestants {
		for _, name := range faultNames() {
			f, _ := r.fault(c.Name, name.name)
			bounds, over := f.foretold()
			if len(bounds) == 0 {
				continue
			}
			v := valuesOf(bounds)
			rows = append(rows, []string{
				c.Title, name.title, fmt.Sprintf("%.0f (%.0f to %.0f)", v.Median, v.Least, v.Most),
				fmt.Sprintf("%.0f", f.Outage.Most), fmt.Sprintf("%d of %d", over, len(bounds)),
			})
		}
	}
	return rows
}

func (r Report) calm() [][]string {
	rows := [][]string{{"", "", "s", "changes", "unserved s", "longest ms", "two holders s", "alarms", "last answer"}}
	for _, condition := range conditionNames() {
		for _, c := range r.Contestants {
			s, ok := r.steady(c.Name, condition.name)
			if !ok {
				continue
			}
			last := "to the end"
			if s.LostAtS > 0 {
				last = fmt.Sprintf("at %.0f s", s.LostAtS)
			}
			if s.Bound != "" {
				last += "; " + s.Bound
			}
			rows = append(rows, []string{
				condition.title, c.Title, fmt.Sprintf("%.0f", s.Seconds), fmt.Sprint(s.Changes), fmt.Sprintf("%.3f", s.UnservedS),
				fmt.Sprintf("%.0f", s.LongestMS), fmt.Sprintf("%.3f", s.TwoS), fmt.Sprint(s.Alarms), last,
			})
		}
	}
	return rows
}

func (r Report) sizes() [][]string {
	rows := [][]string{{"nodes", "formed s", "lost", "changes", "in s", "failover ms", "packets/s a node (most)", "% of a core a node (most)", "MB a node"}}
	for _, s := range r.Scale {
		rows = append(rows, []string{
			fmt.Sprint(s.Nodes), fmt.Sprintf("%.1f", s.FormedMS/1000), fmt.Sprint(s.Alarms), fmt.Sprint(s.Changes), fmt.Sprintf("%.0f", s.Seconds),
			fmt.Sprintf("%.0f", s.OutageMS), fmt.Sprintf("%.0f (%.0f)", s.Packets, s.PacketsMost),
			fmt.Sprintf("%.2f (%.2f)", s.CPUPercent, s.CPUMost), fmt.Sprintf("%.0f", s.MemoryMBTotal/float64(s.Nodes)),
		})
	}
	return rows
}

func (r Report) aimed() [][]string {
	rows := [][]string{{"", "found", "at most", ""}}
	for _, a := range r.Aims {
		rows = append(rows, []string{
			map[bool]string{true: "reached", false: "MISSED"}[a.Reached], fmt.Sprintf("%.4g %s", a.Found, a.Unit), fmt.Sprintf("%.4g %s", a.Limit, a.Unit), a.What,
		})
	}
	return rows
}

// columns lays rows out, the first column wide enough for all.
func columns(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}
