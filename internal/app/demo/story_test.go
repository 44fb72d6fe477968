package demo

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab/picture"
	"github.com/keelson/keelson/internal/lab/probe"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/spec"
)

const ms = time.Millisecond

// at is an event that a node wrote so long after second 100.
func at(after time.Duration, node spec.NodeName, kind event.Kind) event.Event {
	e := event.Event{Node: node, Kind: kind, Boot: 100*time.Second + after, Service: service}
	if kind == event.NodeLost {
		e.Service = ""
	}
	return e
}

func about(e event.Event, node spec.NodeName) event.Event {
	e.About = node
	return e
}

func part(e event.Event, name string) event.Event {
	e.Part = name
	return e
}

// takeover is what the cell records when bravo takes over.
func takeover() []event.Event {
	return []event.Event{
		part(at(1040*ms, "bravo", event.PartStarted), partAddr),
		about(at(200*ms, "charlie", event.NodeLost), "alpha"),
		about(at(190*ms, "bravo", event.NodeLost), "alpha"),
		at(1000*ms, "bravo", event.LeaseFree),
		at(1001*ms, "bravo", event.LeaseWon),
		part(at(1050*ms, "bravo", event.PartStarted), partExec),
	}
}

// failover is an incident in which bravo took over from alpha.
func failover(verb string) incident {
	return incident{
		order: order{verb: verb, host: "alpha", rehearsed: true}, fault: 100 * time.Second,
		before: probe.Holder{Host: "alpha", Epoch: 7}, after: probe.Holder{Host: "bravo", Epoch: 8},
		outage: probe.Outage{
			Start: 100*time.Second - 3*ms, End: 100*time.Second + 1070*ms, Over: true, Failed: 210,
			Before: probe.Holder{Host: "alpha", Epoch: 7}, After: probe.Holder{Host: "bravo", Epoch: 8},
		},
	}
}

func seen(name string, after time.Duration, by string) picture.Stage {
	return picture.Stage{Name: name, By: by, At: 100*time.Second + after, Seen: true}
}

func TestStagesOf(t *testing.T) {
	restarted := failover(verbService)
	restarted.after = probe.Holder{Host: "alpha", Epoch: 7}
	restarted.outage.End, restarted.outage.After = 100*time.Second+40*ms, restarted.after
	moved := failover(verbMove)
	moved.host = "bravo"
	lost := failover(verbKill)
	lost.after, lost.outage.Over, lost.outage.After = probe.Holder{}, false, probe.Holder{}

	tests := []struct {
		name     string
		incident incident
		events   []event.Event
		want     []picture.Stage
		complete bool
	}{
		{
			name: "a takeover is told in order of time, by the first who saw each stage", incident: failover(verbKill), events: takeover(),
			want: []picture.Stage{
				seen(stageFault, 0, ""), seen(stageDead, 190*ms, "bravo"), seen(stageFree, 1000*ms, "bravo"), seen(stageClaimed, 1001*ms, "bravo"),
				seen(stageAddress, 1040*ms, "bravo"), seen(stageStarted, 1050*ms, "bravo"), seen(stageAnswer, 1070*ms, "bravo"),
			},
			complete: true,
		},
		{
			name: "what happened before the fault, elsewhere or to others is no part of it", incident: failover(verbCut),
			events: append(takeover(),
				at(-ms, "bravo", event.LeaseWon),
				about(at(100*ms, "alpha", event.NodeLost), "bravo"),
				about(at(100*ms, "bravo", event.NodeLost), "charlie"),
				event.Event{Node: "bravo", Kind: event.LeaseWon, Service: "other", Boot: 100 * time.Second},
				at(500*ms, "charlie", event.LeaseWon)),
			want: []picture.Stage{
				seen(stageFault, 0, ""), seen(stageDead, 190*ms, "bravo"), seen(stageFree, 1000*ms, "bravo"), seen(stageClaimed, 1001*ms, "bravo"),
				seen(stageAddress, 1040*ms, "bravo"), seen(stageStarted, 1050*ms, "bravo"), seen(stageAnswer, 1070*ms, "bravo"),
			},
			complete: true,
		},
		{
			name: "what should have been seen and was not comes last", incident: failover(verbFreeze), events: takeover()[:3],
			want: []picture.Stage{
				seen(stageFault, 0, ""), seen(stageDead, 190*ms, "bravo"), seen(stageAddress, 1040*ms, "bravo"), seen(stageAnswer, 1070*ms, "bravo"),
				{Name: stageFree},
				{Name: stageClaimed},
				{Name: stageStarted},
			},
		},
		{
			name: "a restart on the spot needs no lease", incident: restarted,
			events: []event.Event{at(8*ms, "alpha", event.ServiceFailed), part(at(15*ms, "alpha", event.PartStarted), partExec)},
			want: []picture.Stage{
				seen(stageFault, 0, ""), seen(stageEnded, 8*ms, "alpha"), seen(stageStarted, 15*ms, "alpha"), seen(stageAnswer, 40*ms, "alpha"),
			},
			complete: true,
		},
		{
			name: "a move begins with the old holder's stop", incident: moved,
			events: append(takeover(), at(60*ms, "alpha", event.ServiceStopped), at(61*ms, "alpha", event.LeaseReleased)),
			want: []picture.Stage{
				seen(stageFault, 0, ""), seen(stageStopped, 60*ms, "alpha"), seen(stageGiven, 61*ms, "alpha"),
				seen(stageFree, 1000*ms, "bravo"), seen(stageClaimed, 1001*ms, "bravo"), seen(stageAddress, 1040*ms, "bravo"),
				seen(stageStarted, 1050*ms, "bravo"), seen(stageAnswer, 1070*ms, "bravo"),
			},
			complete: true,
		},
		{
			name: "without a takeover there is no first answer", incident: lost, events: takeover()[1:3],
			want: []picture.Stage{
				seen(stageFault, 0, ""), seen(stageDead, 190*ms, "bravo"),
				{Name: stageAnswer, At: 100*time.Second + 1070*ms},
			},
			complete: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, stagesOf(tt.incident, tt.events)); diff != "" {
				t.Errorf("the stages (-want +got):\n%s", diff)
			}
			if got := complete(tt.incident, tt.events); got != tt.complete {
				t.Errorf("complete is %t", got)
			}
		})
	}
}

func TestParseEvents(t *testing.T) {
	const text = `[{"seq":"3","at":"2026-11-23T13:00:00Z","node":"bravo","kind":"part-started","service":"web","about":"","part":"address","epoch":"8","text":"x","actor":"","boot":"101.040s"},
		{"seq":"4","node":"bravo","kind":"node-lost","about":"alpha","epoch":"0","boot":null}]`
	got, err := parseEvents([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []event.Event{
		{Node: "bravo", Kind: event.PartStarted, Service: "web", Part: "address", Epoch: 8, Boot: 101040 * ms},
		{Node: "bravo", Kind: event.NodeLost, About: "alpha"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the events (-want +got):\n%s", diff)
	}
	for name, text := range map[string]string{
		"no JSON": "nothing is recorded", "no list": `{}`, "a wrong epoch": `[{"epoch":"-1"}]`, "a wrong time": `[{"boot":"soon"}]`,
	} {
		if _, err := parseEvents([]byte(text)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func FuzzParseEvents(f *testing.F) {
	f.Add([]byte(`[{"node":"bravo","kind":"node-lost","epoch":"8","boot":"1.5s"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		events, err := parseEvents(text)
		if err != nil && events != nil {
			t.Error("events that could not be read are there")
		}
		if stages := stagesOf(failover(verbKill), events); stages[0].Name != stageFault {
			t.Errorf("the story begins with %v", stages[0])
		}
	})
}
