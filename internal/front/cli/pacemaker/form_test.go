package pacemaker

import (
	"strings"
	"testing"
	"time"
)

func TestWhatWouldBeDoneIsYAMLIfThatIsAsked(t *testing.T) {
	one := Simulated{
		Case: "c", Before: map[string][]Seat{"web": nil}, After: map[string][]Seat{"web": {{Count: 1, Node: "n1", Role: "Started"}}},
		Nodes: map[string]string{"n1": "online"}, Steps: []string{"start web on n1"},
	}
	text, notes, err := Show([]Simulated{one}, false, "yaml")
	if err != nil || len(notes) > 0 || !strings.HasPrefix(text, "case: c\n") || !strings.Contains(text, "node: n1\n") || strings.Contains(text, "{") {
		t.Errorf("%s, %v, %v", text, notes, err)
	}
	if text, _, _ = Show([]Simulated{one, one}, true, "yaml"); !strings.HasPrefix(text, "- case: c\n") {
		t.Errorf("a folder: %s", text)
	}
	e := Event{At: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Error: "none"}
	if text := e.Form("yaml"); !strings.HasPrefix(text, "---\nat: ") || !strings.Contains(text, "\nerror: none\n") {
		t.Errorf("an event: %s", text)
	}
}
