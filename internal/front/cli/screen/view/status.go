// Package view turns what the cell said into text for people: pure functions,
// values in, text out.
//
// A width of 0 means no limit. Nothing here decides what is worth saying; the
// sentences come from the cell.
package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// Status is the cell on one screen: problems, nodes, services.
func Status(c client.Status, width int, color bool) string {
	var b strings.Builder
	b.WriteString(headline(c, color))
	if len(c.Problems) == 0 {
		b.WriteString("no problems\n")
	}
	for _, p := range c.Problems {
		mark := "! "
		if color {
			mark = screen.Paint(mark, screen.Bad)
		}
		for i, line := range screen.Wrap(screen.Clean(p), width-2) {
			if i > 0 {
				mark = "  "
			}
			b.WriteString(mark + line + "\n")
		}
	}
	b.WriteString("\n" + Nodes(c.Nodes).Render(width, color))
	if len(c.Services) == 0 {
		b.WriteString("\nno services yet: `keelson apply -f FILE`\n")
	} else {
		// What is wrong with a service is said above.
		b.WriteString("\n" + services(c.Services, c.At).Render(width, color))
	}
	return b.String()
}

func headline(c client.Status, color bool) string {
	quorate, how := "quorate", screen.Good
	switch {
	case c.Stale:
		quorate, how = "last known state", screen.Bad
	case !c.Quorate:
		quorate, how = "NOT quorate", screen.Bad
	}
	if color {
		quorate = screen.Paint(quorate, how)
	}
	controller := "no controller"
	if c.Controller != "" {
		controller = "controller " + string(c.Controller)
	}
	return fmt.Sprintf("cell %s: %s, %s (seen from %s)\n", screen.Clean(c.Name), quorate, controller, c.Node)
}

// Nodes is the table of nodes.
func Nodes(nodes []client.Node) screen.Table {
	t := screen.Table{Head: []string{"NODE", "STATE", "ROLE", "ADDRESS", "SERVICES", "VERSION"}}
	for _, n := range nodes {
		t.Rows = append(t.Rows, []screen.Field{
			screen.Strong.Of(string(n.Name)), nodeState(n), screen.Text(role(n)), screen.Text(n.Address), screen.Text(Names(n.Services)), screen.Faint.Of(n.Version),
		})
	}
	return t
}

func nodeState(n client.Node) screen.Field {
	f := screen.Good.Of(string(n.Liveness))
	switch n.Liveness {
	case fact.Lost:
		f.Tone = screen.Bad
	case fact.Suspect:
		f.Tone = screen.Doubtful
	case fact.Alive:
	}
	switch {
	case n.Maintenance:
		return screen.Doubtful.Of(f.Text + ", maintenance")
	case n.Leaving:
		return screen.Doubtful.Of(f.Text + ", leaving")
	case n.Draining:
		return screen.Doubtful.Of(f.Text + ", drained")
	case n.Trust.State != fact.Trusted && n.Liveness != fact.Lost:
		return screen.Doubtful.Of(f.Text + ", " + string(n.Trust.State))
	}
	return f
}

func role(n client.Node) string {
	switch {
	case n.Witness && !n.Voter:
		return "witness, no vote"
	case n.Witness:
		return "witness"
	case n.Voter:
		return "voter"
	}
	return ""
}

// Services is the table of services, as of now, with what is wrong with each.
func Services(list []client.Service, now time.Time) screen.Table {
	t := services(list, now)
	t.Head = append(t.Head, "PROBLEM")
	for i, s := range list {
		t.Rows[i] = append(t.Rows[i], screen.Bad.Of(s.Problem))
	}
	return t
}

func services(list []client.Service, now time.Time) screen.Table {
	t := screen.Table{Head: []string{"SERVICE", "STATE", "READY", "NODE", "FOR", "EPOCH", "BOUND", "NEXT"}}
	for _, s := range list {
		t.Rows = append(t.Rows, []screen.Field{
			screen.Strong.Of(string(s.Name)),
			serviceState(s), ready(s), screen.Text(where(s)),
			screen.Text(screen.Since(s.Since, now)), screen.Text(number(s.Epoch)), bound(s),
			screen.Text(next(s.Successors)),
		})
	}
	return t
}

// nextShown is how many successors have room in a table; `describe` has all.
const nextShown = 3

// next names who takes over first.
func next(successors []spec.NodeName) string {
	if more := len(successors) - nextShown; more > 1 {
		return fmt.Sprintf("%s and %d more", Names(successors[:nextShown]), more)
	}
	return Names(successors)
}

// where is the node of a service, or those of its copies.
func where(s client.Service) string {
	if s.Node != "" || len(s.Copies) == 0 {
		return string(s.Node)
	}
	var nodes []spec.NodeName
	for _, c := range s.Copies {
		if !slices.Contains(nodes, c.Node) && c.State != "" && c.State != string(fact.Lost) {
			nodes = append(nodes, c.Node)
		}
	}
	return Names(nodes)
}

// state is the state of a service, and how it was last if that is not known.
func state(s client.Service) string {
	if s.LastKnown != "" {
		return fmt.Sprintf("%s (last known: %s)", s.State, s.LastKnown)
	}
	return string(s.State)
}

func serviceState(s client.Service) screen.Field {
	if s.Maintenance {
		return screen.Doubtful.Of(state(s) + ", maintenance")
	}
	switch s.State {
	case status.Unknown:
		return screen.Bad.Of(state(s))
	case status.Running:
		return screen.Good.Of(string(s.State))
	case status.Failed, status.Homeless:
		return screen.Bad.Of(string(s.State))
	case status.Recovering, status.Starting, status.Stopping, status.Deleting:
		return screen.Doubtful.Of(string(s.State))
	case status.Stopped:
	}
	return screen.Text(string(s.State))
}

func ready(s client.Service) screen.Field {
	switch {
	case s.Ready:
		return screen.Good.Of("yes")
	case s.State == status.Running, s.State == status.Unknown:
		return screen.Bad.Of("no")
	}
	return screen.Text("")
}

func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// bound is the longest outage that the loss of one node can cause, and who makes
// it so long.
func bound(s client.Service) screen.Field {
	switch b := s.Bound; {
	case b.Total == 0 && b.Why != "":
		return screen.Doubtful.Of("none")
	case b.Total == 0:
		return screen.Text("")
	case b.By != "":
		return screen.Text(fmt.Sprintf("%s (%s)", b.Total.Round(10*time.Millisecond), b.By))
	default:
		return screen.Text(b.Total.Round(10 * time.Millisecond).String())
	}
}

func ttl(s client.Service) string {
	if s.TTL == 0 {
		return ""
	}
	return s.TTL.String()
}

// Names writes a list of names.
func Names[T ~string](names []T) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
