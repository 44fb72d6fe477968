package app

import (
	"context"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/front/cli/histories"
)

func TestSimulationTellsWhatItPlayed(t *testing.T) {
	told := 0
	o := histories.Options{From: 3, Seeds: 4, Workers: 2, Nodes: 3, Progress: func(int, time.Duration) { told++ }}
	r := New("test").Simulate(t.Context(), o)
	faults := 0
	for _, f := range r.Faults {
		if f.Kind == "" {
			t.Error("a kind of fault has no name")
		}
		faults += f.Count
	}
	if r.Broken != nil {
		t.Fatalf("seed %d: %s", r.Broken.Seed, r.Broken.Text)
	}
	if r.Runs != 4 || told != 4 || r.Cell < 4*time.Minute || r.Wins == 0 || r.Packets == 0 || faults < 40 {
		t.Errorf("told %d times, and then: %+v", told, r)
	}
}

func TestSimulationEndsWhenItIsToldTo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := histories.Options{From: 1, Seeds: 1 << 40, Workers: 2, Nodes: 1, Progress: func(runs int, _ time.Duration) {
		if runs == 3 {
			cancel()
		}
	}}
	if r := New("test").Simulate(ctx, o); r.Runs < 3 || r.Runs > 4 {
		t.Errorf("%d histories were played, it was ended after 3", r.Runs)
	}
}

func TestSimulationOfWholeNodesTellsWhatItPlayed(t *testing.T) {
	told := 0
	o := histories.Options{From: 3, Seeds: 2, Workers: 2, Nodes: 3, Whole: true, Progress: func(int, time.Duration) { told++ }}
	r := New("test").Simulate(t.Context(), o)
	if r.Broken != nil {
		t.Fatalf("seed %d: %s", r.Broken.Seed, r.Broken.Text)
	}
	if r.Runs != 2 || told != 2 || r.Cell < 3*time.Minute || r.Starts == 0 || r.Plans == 0 || len(r.Faults) == 0 {
		t.Errorf("told %d times, and then: %+v", told, r)
	}
}
