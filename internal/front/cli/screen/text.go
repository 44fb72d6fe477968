package screen

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Clean removes what could steer a terminal and makes one line of s.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return harmless(r)
	}, s)
}

// CleanLines removes what could steer a terminal and keeps the lines of s.
func CleanLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return harmless(r)
	}, s)
}

func harmless(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
		return -1
	}
	return r
}

// Cut shortens s to at most width characters; 0 means no limit.
func Cut(s string, width int) string {
	runes := []rune(s)
	if width <= 0 || len(runes) <= width {
		return s
	}
	if width <= 3 {
		return string(runes[:width])
	}
	return string(runes[:width-3]) + "..."
}

// Wrap breaks s into lines of at most width characters, where words allow it. A
// width below 20 means no limit.
func Wrap(s string, width int) []string {
	if width < 20 {
		return []string{s}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// The terminal's own screen without a cursor, taken and given back.
const (
	Enter = "\x1b[?1049h\x1b[?25l"
	Leave = "\x1b[?25h\x1b[?1049l"
)

// Frame is one whole screen: text, cut to what fits into lines, and foot below
// it. Every line is cleared to its end, so that nothing of the frame before
// remains.
func Frame(text, foot string, lines int) string {
	rows := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if room := max(1, lines-2); len(rows) > room {
		hidden := len(rows) - room + 1
		rows = append(rows[:room-1:room-1], fmt.Sprintf("... %d more lines", hidden))
	}
	rows = append(rows, "", foot)
	return "\x1b[H" + strings.Join(rows, "\x1b[K\r\n") + "\x1b[K\x1b[J"
}

// Age writes how long something lasts, in its two largest units.
func Age(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Since writes how long before now t was; empty for the zero time.
func Since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Age(now.Sub(t))
}

// Took writes how long something took.
func Took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return Age(d)
}

// Moment writes a time for people, in their own time zone; empty for the zero time.
func Moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
