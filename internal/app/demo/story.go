package demo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/keelson/keelson/internal/lab/picture"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/spec"
)

// The names of stages; scripts match on them.
const (
	stageFault   = "fault"
	stageDead    = "declared dead"
	stageEnded   = "program's end seen"
	stageStopped = "stopped by the old holder"
	stageGiven   = "lease given back"
	stageFree    = "lease free"
	stageClaimed = "claimed"
	stageAddress = "address up"
	stageStarted = "program started"
	stageAnswer  = "first answer"
)

// clue is an event of the cell that marks a stage.
type clue struct {
	stage string
	kind  event.Kind
	part  string
	by    func(event.Event) bool
	must  bool // it is said if it was not seen
}

// parseEvents reads what `keelson events -o json` prints.
func parseEvents(text []byte) ([]event.Event, error) {
	var wired []struct {
		Node    string `json:"node"`
		Kind    string `json:"kind"`
		Service string `json:"service"`
		About   string `json:"about"`
		Part    string `json:"part"`
		Epoch   string `json:"epoch"`
		Boot    string `json:"boot"`
	}
	if err := json.Unmarshal(text, &wired); err != nil {
		return nil, fmt.Errorf("read the cell's events: %w", err)
	}
	var out []event.Event
	for _, w := range wired {
		e := event.Event{
			Node: spec.NodeName(w.Node), Kind: event.Kind(w.Kind), Service: spec.ServiceName(w.Service),
			About: spec.NodeName(w.About), Part: w.Part,
		}
		var err error
		if e.Epoch, err = strconv.ParseUint(cmp.Or(w.Epoch, "0"), 10, 64); err != nil {
			return nil, fmt.Errorf("read the epoch of an event: %w", err)
		}
		if e.Boot, err = time.ParseDuration(cmp.Or(w.Boot, "0s")); err != nil {
			return nil, fmt.Errorf("read the time of an event: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// clues are the events that tell the story of an incident.
func clues(i incident) []clue {
	var out []clue
	before, after := from(i.before.Host), from(i.after.Host)
	switch i.verb {
	case verbKill, verbCut, verbFreeze:
		// Who is cut off believes that the others are lost.
		others := func(e event.Event) bool { return string(e.Node) != i.host && string(e.About) == i.host }
		out = append(out, clue{stage: stageDead, kind: event.NodeLost, by: others, must: i.moves()})
	case verbService:
		out = append(out, clue{stage: stageEnded, kind: event.ServiceFailed, by: before, must: true})
	case verbMove:
		out = append(out,
			clue{stage: stageStopped, kind: event.ServiceStopped, by: before, must: i.moves()},
			clue{stage: stageGiven, kind: event.LeaseReleased, by: before, must: i.moves()})
	}
	claimed := i.after.Host != i.before.Host && i.after.Host != ""
	return append(out,
		clue{stage: stageFree, kind: event.LeaseFree, by: after, must: claimed},
		clue{stage: stageClaimed, kind: event.LeaseWon, by: after, must: claimed},
		clue{stage: stageAddress, kind: event.PartStarted, part: partAddr, by: after, must: claimed},
		clue{stage: stageStarted, kind: event.PartStarted, part: partExec, by: after, must: claimed || i.verb == verbService})
}

// from tells the events that a node wrote about the service.
func from(node string) func(event.Event) bool {
	return func(e event.Event) bool { return string(e.Node) == node && e.Service == service }
}

// find returns the first event since the fault that fits.
func (c clue) find(i incident, events []event.Event) (event.Event, bool) {
	var first event.Event
	found := false
	for _, e := range events {
		if e.Kind != c.kind || c.part != "" && e.Part != c.part || e.Boot < i.fault || !c.by(e) {
			continue
		}
		if !found || e.Boot < first.Boot {
			first, found = e, true
		}
	}
	return first, found
}

// complete reports whether the events tell the whole story.
func complete(i incident, events []event.Event) bool {
	return !slices.ContainsFunc(clues(i), func(c clue) bool {
		_, found := c.find(i, events)
		return c.must && !found
	})
}

// stagesOf puts the story together: what the cell recorded and what the client
// saw, in order of time. What should have been seen and was not comes last.
func stagesOf(i incident, events []event.Event) []picture.Stage {
	out := []picture.Stage{{Name: stageFault, At: i.fault, Seen: true}}
	for _, c := range clues(i) {
		e, found := c.find(i, events)
		switch {
		case found:
			out = append(out, picture.Stage{Name: c.stage, By: string(e.Node), At: e.Boot, Seen: true})
		case c.must:
			out = append(out, picture.Stage{Name: c.stage})
		}
	}
	out = append(out, picture.Stage{Name: stageAnswer, By: i.outage.After.Host, At: i.outage.End, Seen: i.outage.Over})
	slices.SortStableFunc(out, func(a, b picture.Stage) int {
		switch {
		case a.Seen && b.Seen:
			return cmp.Compare(a.At, b.At)
		case a.Seen:
			return -1
		case b.Seen:
			return 1
		}
		return 0
	})
	return out
}
