package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

func TestKeysRotateOneStepAtATime(t *testing.T) {
	cell := record.Cell{Created: noon, LinkKeys: []record.LinkKey{{ID: 7, Key: []byte{1}}}}
	var story []string
	for at := time.Duration(0); at < 62*24*time.Hour; at += 10 * time.Minute {
		keys, changed := rotate(cell, noon.Add(at), time.Time{}, func() []byte { return []byte{2} })
		if !changed {
			continue
		}
		old := map[uint32]bool{}
		for _, k := range cell.LinkKeys {
			old[k.ID] = true
		}
		// A node that is one step behind opens what a node ahead seals, and is opened.
		if !old[keys[0].ID] && len(cell.LinkKeys) > 0 {
			t.Errorf("after %s key %d seals and was not open before", at, keys[0].ID)
		}
		open := false
		for _, k := range keys {
			open = open || k.ID == cell.LinkKeys[0].ID
		}
		if !open {
			t.Errorf("after %s key %d, which sealed before, is not open", at, cell.LinkKeys[0].ID)
		}
		cell.LinkKeys = keys
		var ids []uint32
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
		story = append(story, fmt.Sprint(at.Round(time.Minute), ids))
	}
	want := "[720h0m0s [7 8] 721h0m0s [8 7] 722h0m0s [8] 1440h0m0s [8 9] 1441h0m0s [9 8] 1442h0m0s [9]]"
	if got := fmt.Sprint(story); got != want {
		t.Errorf("the keys went\n%s, want\n%s", got, want)
	}
}

// Whoever removes a node wants its keys to be worth nothing soon.
func TestKeysThatARemovedNodeKnowsAreChangedAtOnce(t *testing.T) {
	cell := record.Cell{Created: noon, LinkKeys: []record.LinkKey{{ID: 7, Key: []byte{1}}}}
	removals := []time.Duration{24 * time.Hour, 24*time.Hour + 7*time.Minute}
	m := newMirror()
	var story []string
	for at := time.Duration(0); at < 48*time.Hour; at += time.Minute {
		for len(removals) > 0 && removals[0] <= at {
			text := fmt.Sprintf(`{"node":"x","at":%q}`, noon.Add(removals[0]).Format(time.RFC3339))
			if err := m.apply(store.Event{Entry: store.Entry{Key: record.KeyRevoked + "id", Value: []byte(text), Revision: 1}}, noon.Add(at)); err != nil {
				t.Fatal(err)
			}
			removals = removals[1:]
		}
		keys, changed := rotate(cell, noon.Add(at), m.removed, func() []byte { return []byte{2} })
		if !changed {
			continue
		}
		cell.LinkKeys = keys
		ids := make([]uint32, 0, len(keys))
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
		story = append(story, fmt.Sprint(at, ids))
	}
	// The second was removed when key 8 was known to it already.
	want := "[24h0m0s [7 8] 24h5m0s [8 7] 24h10m0s [8] 24h11m0s [8 9] 24h16m0s [9 8] 24h21m0s [9]]"
	if got := fmt.Sprint(story); got != want {
		t.Errorf("the keys went\n%s, want\n%s", got, want)
	}
}

func TestKeysWaitForWhoHearsNothing(t *testing.T) {
	m := filled(t, map[string]any{
		"nodes/a":   record.Node{Name: "a", Slot: 0},
		"nodes/b":   record.Node{Name: "b", Slot: 1},
		"reports/a": record.Report{Node: "a", Instances: []fact.Instance{}},
		"reports/b": record.Report{Node: "b", Instances: []fact.Instance{}},
	})
	alive := func(set uint32) Sight { return Sight{Up: true, State: guardwire.State{Alive: set}} }
	for _, c := range []struct {
		name  string
		alive uint32
		at    time.Duration
		want  bool
	}{
		{"all have reported", 3, keyHeard, true},
		{"nobody has for a while", 3, keyHeard + 1, false},
		{"who does not live is not waited for", 0, keyHeard + 1, true},
	} {
		if got := m.inTouch(alive(c.alive), noon.Add(c.at)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
