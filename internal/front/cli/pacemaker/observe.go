package pacemaker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/command"
)

// ErrNoDocument means that a query printed no cluster information base.
var ErrNoDocument = errors.New("it printed no cluster information base")

// Limits of looking on.
const (
	// MaxDocument bounds a document that is looked at.
	MaxDocument = 32 << 20
	// QueryTime bounds one query.
	QueryTime = 10 * time.Second
	// LeastEvery is the shortest time between two queries.
	LeastEvery = 100 * time.Millisecond
)

// Observer looks on beside a running Pacemaker cluster. It asks for the cluster's
// document and touches nothing.
type Observer struct {
	Reader *Reader
	Clock  clock.Clock
	// Query returns the document as it is now.
	Query func(context.Context) ([]byte, error)
	// Every is the time between two queries, at least LeastEvery.
	Every time.Duration
	// Events is after how many events it ends; 0: when its context does.
	Events int
	// Tell takes one event.
	Tell func(Event)
}

// Event is a change that was seen, and what Keelson would have done.
type Event struct {
	At time.Time `json:"at"`
	// Nodes are those that are another than before, each with what it is now; at
	// the first event all.
	Nodes map[string]string `json:"nodes,omitempty"`
	// Did is what Pacemaker has done since the event before.
	Did []Move `json:"did,omitempty"`
	// Would is what Keelson would do now, in order. Empty: it would leave all as it
	// is.
	Would []string `json:"would,omitempty"`
	// Differs are resources that Pacemaker took elsewhere than Keelson would have
	// when it was last asked.
	Differs []Difference `json:"differs,omitempty"`
	// Not lists what of the document is not understood, at the first event and when
	// it changes.
	Not []string `json:"not_understood,omitempty"`
	// Error says why there was no document; all else is empty then.
	Error string `json:"error,omitempty"`
}

// Move is a resource that went from some seats to others.
type Move struct {
	Resource string `json:"resource"`
	From     []Seat `json:"from"`
	To       []Seat `json:"to"`
}

// Difference is a resource that is elsewhere than Keelson would have it.
type Difference struct {
	Resource string `json:"resource"`
	Is       []Seat `json:"is"`
	Would    []Seat `json:"would"`
}

// Run looks on until ctx ends, or as many events were told as were asked for.
func (o *Observer) Run(ctx context.Context) error {
	var last Simulated
	var seen [sha256.Size]byte
	var broken string
	first, told := true, 0
	for {
		text, err := o.Query(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // being stopped is how it ends
		}
		now := o.Clock.Now()
		var event *Event
		if sum := sha256.Sum256(text); err == nil && (first || sum != seen || broken != "") {
			var is Simulated
			if is, err = o.Reader.Simulate(bytes.NewReader(text), now); err == nil {
				seen, broken = sum, ""
				event = compare(last, is, first)
				last, first = is, false
			}
		}
		if err != nil && err.Error() != broken {
			broken = err.Error()
			event = &Event{Error: broken}
		}
		if event != nil {
			event.At = now.UTC()
			o.Tell(*event)
			if told++; told == o.Events {
				return nil
			}
		}
		if err := o.Clock.Sleep(ctx, max(o.Every, LeastEvery)); err != nil {
			return nil //nolint:nilerr // being stopped is how it ends
		}
	}
}

// compare says what changed between two documents, nil if nothing did that counts.
func compare(was, is Simulated, first bool) *Event {
	e := &Event{Would: is.Steps}
	for name, state := range is.Nodes {
		if was.Nodes[name] != state {
			if e.Nodes == nil {
				e.Nodes = map[string]string{}
			}
			e.Nodes[name] = state
		}
	}
	if !slices.Equal(was.Not, is.Not) {
		e.Not = is.Not
	}
	if first {
		return e
	}
	for _, name := range slices.Sorted(maps.Keys(is.Before)) {
		from, to, would := was.Before[name], is.Before[name], was.After[name]
		if slices.Equal(from, to) {
			continue
		}
		e.Did = append(e.Did, Move{name, some(from), some(to)})
		// What is on its way is nowhere for a while.
		if len(to) >= len(would) && !slices.Equal(to, would) {
			e.Differs = append(e.Differs, Difference{name, some(to), some(would)})
		}
	}
	if e.Nodes == nil && e.Did == nil && e.Not == nil && slices.Equal(was.Steps, is.Steps) {
		return nil
	}
	return e
}

func some(seats []Seat) []Seat {
	if seats == nil {
		return []Seat{}
	}
	return seats
}

// Form is the event as one line of JSON for "json", as one document for "yaml", else
// as lines for people.
func (e Event) Form(output string) string {
	switch output {
	case "json":
		return e.Line()
	case "yaml":
		text, err := yaml.JSONToYAML([]byte(e.Line()))
		if err != nil {
			return fmt.Sprintf("---\nerror: %q\n", err)
		}
		return "---\n" + string(text)
	}
	return e.Text()
}

// Line is the event as one line of JSON.
func (e Event) Line() string {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Sprintf(`{"error":%q}`, err)
	}
	return string(text) + "\n"
}

// Text is the event as lines for people.
func (e Event) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, "%s  "+format+"\n", append([]any{e.At.Format(time.TimeOnly)}, args...)...)
	}
	if e.Error != "" {
		line("no document: %s", e.Error)
		return b.String()
	}
	for _, n := range slices.Sorted(maps.Keys(e.Nodes)) {
		line("node %s: %s", n, e.Nodes[n])
	}
	for _, m := range e.Did {
		line("Pacemaker: %s: %s (was: %s)", m.Resource, seats(m.To), seats(m.From))
	}
	for _, d := range e.Differs {
		line("differs: %s: Keelson would have it: %s", d.Resource, seats(d.Would))
	}
	if len(e.Would) == 0 {
		line("Keelson would leave all as it is")
	}
	for _, step := range e.Would {
		line("Keelson would %s", step)
	}
	for _, n := range e.Not {
		line("not understood: %s", n)
	}
	return b.String()
}

// Source returns the query that the arguments of a command ask for: a file, a
// program, or the cluster's own cibadmin.
func Source(files []string, program string) func(context.Context) ([]byte, error) {
	switch {
	case len(files) > 0:
		return FromFile(files[0])
	case program != "":
		return FromProgram(program)
	}
	return FromProgram("cibadmin", "--query")
}

// FromFile returns a query that reads a file each time.
func FromFile(path string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		return io.ReadAll(io.LimitReader(f, MaxDocument))
	}
}

// FromProgram returns a query that runs a program each time, as cibadmin --query,
// within QueryTime.
func FromProgram(path string, args ...string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		done, err := command.Run(ctx, command.Command{
			Path: path, Args: args, Env: os.Environ(), Timeout: QueryTime, OutputBytes: MaxDocument,
		})
		if err != nil {
			return nil, err
		}
		// Warnings may stand before and after the document.
		begin, end := bytes.Index(done.Output, []byte("<cib")), bytes.LastIndex(done.Output, []byte("</cib>"))
		if done.Code != 0 || begin < 0 || end < begin {
			said, _, _ := strings.Cut(strings.TrimSpace(string(done.Output)), "\n")
			return nil, fmt.Errorf("%s: %w: status %d: %s", path, ErrNoDocument, done.Code, said)
		}
		return done.Output[begin : end+len("</cib>")], nil
	}
}
