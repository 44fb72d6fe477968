// Package screen puts words in front of people: tables, colours, progress and
// questions on a terminal, and the same words plainly in a pipe.
//
// Its main rule is that what came from elsewhere cannot steer the terminal: all
// text passes [Clean] or [CleanLines]. It decides nothing and knows nothing of
// cells.
package screen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Terminal is where a person reads and answers, or a pipe. It is not safe for
// concurrent use.
type Terminal struct {
	// Color is true if output may have colours, Ask if a person can be asked.
	Color bool
	Ask   bool

	in       io.Reader
	out, err io.Writer
	file     *os.File // nil if out is no terminal
	live     bool     // err is a terminal
	progress bool     // a line of progress stands on err
}

// New looks at what the three streams are. NO_COLOR and TERM=dumb are honoured
// (https://no-color.org).
func New(in io.Reader, out, err io.Writer, getenv func(string) string) *Terminal {
	t := &Terminal{in: in, out: out, err: err, file: terminal(out), live: terminal(err) != nil}
	t.Ask = t.live && terminal(in) != nil
	t.Color = t.file != nil && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	return t
}

// terminal returns the file if stream is a terminal, else nil.
func terminal(stream any) *os.File {
	f, ok := stream.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// Interactive tells whether output goes to a terminal.
func (t *Terminal) Interactive() bool { return t.file != nil }

// Size returns the columns and lines of the terminal; 0, 0 in a pipe.
func (t *Terminal) Size() (columns, lines int) {
	if t.file == nil {
		return 0, 0
	}
	columns, lines, err := term.GetSize(int(t.file.Fd()))
	if err != nil || columns <= 0 || lines <= 0 {
		return 80, 24
	}
	return columns, lines
}

// Write writes output as it is.
func (t *Terminal) Write(b []byte) (int, error) {
	t.ClearProgress()
	return t.out.Write(b)
}

// Printf writes output. A reader that went away is not worth a sentence.
func (t *Terminal) Printf(format string, args ...any) {
	_, _ = fmt.Fprintf(t, format, args...)
}

// Errorf writes what is not output: errors and questions.
func (t *Terminal) Errorf(format string, args ...any) {
	t.ClearProgress()
	_, _ = fmt.Fprintf(t.err, format, args...)
}

// Progress replaces the line of progress; on a terminal only.
func (t *Terminal) Progress(text string) {
	if !t.live {
		return
	}
	columns, _ := t.Size()
	t.progress = true
	_, _ = fmt.Fprintf(t.err, "\r\x1b[K%s", Cut(Clean(text), max(0, columns-1)))
}

// ClearProgress takes the line of progress away.
func (t *Terminal) ClearProgress() {
	if t.progress {
		t.progress = false
		_, _ = fmt.Fprint(t.err, "\r\x1b[K")
	}
}

// Confirm asks a question and returns whether the answer was yes. It returns
// ctx's error if that ends first.
func (t *Terminal) Confirm(ctx context.Context, question string) (bool, error) {
	t.Errorf("%s [y/N] ", CleanLines(question))
	answer := make(chan string, 1)
	go func() {
		// Ends with the process at the latest: a read of a terminal cannot be
		// taken back.
		line, err := bufio.NewReader(t.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = ""
		}
		answer <- line
	}()
	select {
	case line := <-answer:
		a := strings.ToLower(strings.TrimSpace(line))
		return a == "y" || a == "yes", nil
	case <-ctx.Done():
		t.Errorf("\n")
		return false, ctx.Err()
	}
}
