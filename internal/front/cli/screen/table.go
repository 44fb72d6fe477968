package screen

import (
	"strings"
	"unicode/utf8"
)

// Tone is the colour of a field. It never carries meaning alone.
type Tone uint8

// The tones.
const (
	Plain Tone = iota
	Good
	Doubtful
	Bad
	Faint
	Strong
)

// Paint returns s in the terminal's colour for t.
func Paint(s string, t Tone) string {
	code := ""
	switch t {
	case Good:
		code = "32"
	case Doubtful:
		code = "33"
	case Bad:
		code = "31"
	case Faint:
		code = "2"
	case Strong:
		code = "1"
	case Plain:
	}
	if code == "" || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Field is one cell of a table.
type Field struct {
	Text string
	Tone Tone
}

// Text is a field without a tone.
func Text(s string) Field { return Field{Text: s} }

// Of is a field with the tone t.
func (t Tone) Of(s string) Field { return Field{Text: s, Tone: t} }

// Table is rows under a head; every row has as many fields as the head.
type Table struct {
	Head []string
	Rows [][]Field
	// Wrap continues the last column on further lines, instead of cutting it.
	Wrap bool
}

const (
	gap     = "  " // between columns
	minLast = 12   // the last column is never cut to less
)

// Render returns the table, its columns as wide as their widest field. With a
// width, the last column is cut, or wrapped, so that lines fit. Columns that are empty in all
// rows are left out, but never the first.
func (t Table) Render(width int, color bool) string {
	shown := t.shown()
	widths := make([]int, len(t.Head))
	for _, c := range shown {
		widths[c] = utf8.RuneCountInString(t.Head[c])
		for _, row := range t.Rows {
			widths[c] = max(widths[c], utf8.RuneCountInString(Clean(row[c].Text)))
		}
	}
	if width > 0 && len(shown) > 0 {
		used := 0
		for _, c := range shown[:len(shown)-1] {
			used += widths[c] + len(gap)
		}
		last := shown[len(shown)-1]
		widths[last] = min(widths[last], max(minLast, width-used))
	}

	var b strings.Builder
	head := make([]Field, len(t.Head))
	for i, h := range t.Head {
		head[i] = Faint.Of(h)
	}
	for _, row := range append([][]Field{head}, t.Rows...) {
		for _, line := range t.lines(row, shown, widths) {
			writeRow(&b, line, shown, widths, color)
		}
	}
	return b.String()
}

// lines breaks the last field of a row, if it is to be wrapped.
func (t Table) lines(row []Field, shown, widths []int) [][]Field {
	if !t.Wrap || len(shown) == 0 {
		return [][]Field{row}
	}
	last := shown[len(shown)-1]
	var out [][]Field
	for i, text := range Wrap(Clean(row[last].Text), widths[last]) {
		line := make([]Field, len(row))
		if i == 0 {
			copy(line, row)
		}
		line[last] = Field{Text: text, Tone: row[last].Tone}
		out = append(out, line)
	}
	return out
}

func (t Table) shown() []int {
	var shown []int
	for c := range t.Head {
		used := c == 0
		for _, row := range t.Rows {
			used = used || row[c].Text != ""
		}
		if used {
			shown = append(shown, c)
		}
	}
	return shown
}

func writeRow(b *strings.Builder, row []Field, shown, widths []int, color bool) {
	pad := 0
	for _, c := range shown {
		s := Cut(Clean(row[c].Text), widths[c])
		if s != "" {
			b.WriteString(strings.Repeat(" ", pad))
			pad = 0
		}
		pad += widths[c] - utf8.RuneCountInString(s) + len(gap)
		if color {
			s = Paint(s, row[c].Tone)
		}
		b.WriteString(s)
	}
	b.WriteByte('\n')
}
