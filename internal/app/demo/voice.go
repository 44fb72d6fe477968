package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/cli/screen"
)

// Layout of the lines that are said.
const (
	defaultWidth = 80
	maxWidth     = 100
	stepWidth    = 78 // of a step's line
	timeWidth    = 8  // of the time at its right
	redrawEvery  = 100 * time.Millisecond
)

// voice says what happens: on a terminal with a line that is redrawn while
// something is waited for, elsewhere with plain lines. It is not safe for
// concurrent use.
type voice struct {
	out   io.Writer
	clock clock.Clock
	quiet bool // nothing is said
	live  bool
	color bool
	ascii bool
	width int
}

func newVoice(o Options) *voice {
	v := &voice{out: o.Out, clock: o.Clock, quiet: o.JSON, live: o.Terminal, color: o.Color, ascii: plainTerminal(os.Getenv), width: o.Columns}
	if v.width <= 0 {
		v.width = defaultWidth
	}
	v.width = min(v.width, maxWidth)
	return v
}

// plainTerminal reports whether the locale rules out block characters.
func plainTerminal(getenv func(string) string) bool {
	if getenv("TERM") == "dumb" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(getenv(name)); locale != "" {
			return !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8")
		}
	}
	return false
}

// printf writes text. A reader that went away is not worth a sentence.
func (v *voice) printf(format string, args ...any) {
	if !v.quiet {
		_, _ = fmt.Fprintf(v.out, format, args...)
	}
}

func (v *voice) paint(s string, t screen.Tone) string {
	if !v.color {
		return s
	}
	return screen.Paint(s, t)
}

func (v *voice) title(s string) { v.printf("%s\n\n", v.paint(s, screen.Strong)) }

// step does work and shows that it is done, for how long, and at the end what
// came of it. work may tell what it is at.
func (v *voice) step(what string, work func(tell func(string)) (string, error)) error {
	began := v.clock.Boot()
	if v.quiet {
		_, err := work(func(string) {})
		return err
	}
	if !v.live {
		v.printf("  %s ... ", what)
		result, err := work(func(string) {})
		if err != nil {
			result = "not done"
		}
		if result != "" {
			result += ", "
		}
		v.printf("%s%s\n", result, took(v.clock.Boot()-began))
		return err
	}
	stop := v.spin(what, began)
	result, err := work(stop.tell)
	stop.end()
	mark := v.paint(v.pick("✓", "+"), screen.Good)
	if err != nil {
		mark, result = v.paint(v.pick("✗", "x"), screen.Bad), "not done"
	}
	v.printf("\r\x1b[K%s\n", v.line(mark, with(what, result), took(v.clock.Boot()-began)))
	return err
}

// line is a mark of one column, a text and a time at the right.
func (v *voice) line(mark, text, when string) string {
	room := v.room()
	text = screen.Cut(screen.Clean(text), room)
	blank := strings.Repeat(" ", max(0, room-utf8.RuneCountInString(text)))
	return fmt.Sprintf("  %s %s%s%s", mark, text, blank, v.paint(fmt.Sprintf("%*s", timeWidth, when), screen.Faint))
}

// room is how wide the text of a step's line is.
func (v *voice) room() int { return min(v.width, stepWidth) - 5 - timeWidth }

// beside cuts what, so that what is known of it is seen: of the two, that is the
// news. A third of the room is left to it.
func (v *voice) beside(what, detail string) string {
	if detail == "" {
		return what
	}
	return screen.Cut(what, max(v.room()-len(": ")-utf8.RuneCountInString(detail), v.room()/3))
}

// pick returns what this terminal can show.
func (v *voice) pick(good, ascii string) string {
	if v.ascii {
		return ascii
	}
	return good
}

// spinner redraws a line until it is told to end.
type spinner struct {
	told  chan string
	quit  chan struct{}
	ended chan struct{}
}

func (s spinner) tell(detail string) {
	select {
	case s.told <- detail:
	case <-s.ended:
	}
}

func (s spinner) end() {
	close(s.quit)
	<-s.ended
}

// spin starts a spinner; the caller ends it.
func (v *voice) spin(what string, began time.Duration) spinner {
	s := spinner{told: make(chan string), quit: make(chan struct{}), ended: make(chan struct{})}
	frames := []rune(v.pick("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", `-\|/`))
	go func() {
		defer close(s.ended)
		tick := v.clock.Tick(redrawEvery)
		defer tick.Stop()
		detail := ""
		for n := 0; ; n++ {
			v.printf("\r\x1b[K%s", v.line(string(frames[n%len(frames)]), with(v.beside(what, detail), detail), took(v.clock.Boot()-began)))
			select {
			case detail = <-s.told:
			case <-tick.C:
			case <-s.quit:
				return
			}
		}
	}()
	return s
}

// with adds to a step what is known of it.
func with(what, detail string) string {
	if detail == "" {
		return what
	}
	return what + ": " + detail
}

// took writes how long something took.
func took(d time.Duration) string { return screen.Took(d) }
