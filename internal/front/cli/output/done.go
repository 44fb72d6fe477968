package output

import (
	"strings"
	"time"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// Outcome is how far a command that changes something has come.
type Outcome string

// The outcomes.
const (
	Finished  Outcome = "done"      // it is as was asked for
	Begun     Outcome = "begun"     // the cell has taken note of it, and does it
	Unchanged Outcome = "unchanged" // there was nothing to do
	Partly    Outcome = "partly"    // done for some; an error says what is left
	Checked   Outcome = "checked"   // it could be done; nothing was changed
)

// Done is what a command that changes something has done, for programs. Fields
// that do not apply are left out.
type Done struct {
	// Action is the command, such as "move".
	Action   string             `json:"action"`
	Outcome  Outcome            `json:"outcome"`
	Cell     string             `json:"cell,omitempty"`
	Service  spec.ServiceName   `json:"service,omitempty"`
	Services []spec.ServiceName `json:"services,omitempty"`
	Node     spec.NodeName      `json:"node,omitempty"`
	Nodes    []spec.NodeName    `json:"nodes,omitempty"`
	// Homeless are services that no node may run after it.
	Homeless []spec.ServiceName `json:"homeless,omitempty"`
	Change   string             `json:"change,omitempty"`
	// From and To are nodes. An empty To means that the cell has yet to choose.
	From spec.NodeName `json:"from,omitempty"`
	To   spec.NodeName `json:"to,omitempty"`
	// Seconds is how long it took.
	Seconds float64 `json:"seconds,omitempty"`
	// Member is what became of this server.
	Member *Member `json:"member,omitempty"`
	// Recovery is what is in force now.
	Recovery *spec.Recovery `json:"recovery,omitempty"`
	Notes    []string       `json:"notes,omitempty"` // sentences
	// Text says it in a sentence, as it is printed for people.
	Text string `json:"text"`
	// Next is the command to go on with; empty: there is none.
	Next string `json:"next,omitempty"`
}

// Member is a server that became part of a cell.
type Member struct {
	Address string `json:"address"`
	Witness bool   `json:"witness"`
	Started bool   `json:"started"` // the agent runs
}

// Say prints d, or for people its sentence and the lines after it.
func (d Done) Say(t *screen.Terminal, f Form, after ...string) error {
	return Show(t, f, Plain{d}, func(int, bool) string {
		text := d.Text + "\n"
		for _, line := range after {
			text += line + "\n"
		}
		return text
	})
}

// Fault is why a command failed, for programs.
type Fault struct {
	// Code is stable, such as "name-taken".
	Code    string `json:"code"`
	Message string `json:"message"`
	// Next says what to do; empty: nothing is known.
	Next string `json:"next,omitempty"`
	// Exit is the command's exit status.
	Exit int `json:"exit"`
}

// Complain prints why a command failed: an object for programs, sentences for
// people, both where errors go.
func (e Fault) Complain(t *screen.Terminal, f Form) {
	message, next := screen.CleanLines(e.Message), screen.CleanLines(e.Next)
	if f == JSON || f == YAML {
		e.Message, e.Next = message, next
		if text, err := encode(f, Plain{map[string]Fault{"error": e}}); err == nil {
			t.Errorf("%s", text)
			return
		}
	}
	t.Errorf("keelson: %s\n", message)
	if next != "" {
		t.Errorf("hint: %s\n", next)
	}
}

// Applied is what came of an apply, waited for or not.
type Applied struct {
	Action   string    `json:"action"`
	Outcome  Outcome   `json:"outcome"`
	Applied  []Placed  `json:"applied"`
	Warnings []string  `json:"warnings"`
	Change   string    `json:"change,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
	// Text says it in sentences, as it is printed for people.
	Text string `json:"text"`
}

// Placed is one service that was applied and, if that was waited for, how it is.
type Placed struct {
	Name       spec.ServiceName `json:"name"`
	Outcome    request.Outcome  `json:"outcome"`
	Generation uint64           `json:"generation,string"`
	State      status.State     `json:"state,omitempty"`
	Ready      *bool            `json:"ready,omitempty"`
	Node       spec.NodeName    `json:"node,omitempty"`
}

// AppliedTo joins what was applied and how it is; now is nil if that was not
// waited for. Its outcome is how far it has come, if anything was to be done.
func AppliedTo(result client.ApplyResult, now map[spec.ServiceName]client.Service, outcome Outcome) Applied {
	out := Applied{Action: "apply", Outcome: Unchanged, Warnings: result.Warnings, Change: result.Change, Deadline: result.Deadline, Applied: []Placed{}}
	if out.Warnings == nil {
		out.Warnings = []string{}
	}
	for _, a := range result.Applied {
		one := Placed{Name: a.Name, Outcome: a.Outcome, Generation: a.Generation}
		if s, known := now[a.Name]; known {
			one.State, one.Ready, one.Node = s.State, &s.Ready, s.Node
		}
		if a.Outcome != request.Unchanged {
			out.Outcome = outcome
		}
		out.Applied = append(out.Applied, one)
	}
	return out
}

// Quote returns a word as a shell takes it.
func Quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:@%+=,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
