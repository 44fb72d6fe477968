package controller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/decide"
	"github.com/keelson/keelson/internal/core/explain"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// decisions are those that the store holds, the oldest first.
func (w *world) decisions() []record.Decision {
	w.Helper()
	entries, _, err := w.store.List(w.Context(), record.KeyDecisions)
	if err != nil {
		w.Fatal(err)
	}
	var out []record.Decision
	for _, e := range entries {
		d, _ := get[record.Decision](w, e.Key)
		out = append(out, d)
	}
	return out
}

func TestEveryDecisionIsRecordedAndCanBeTakenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service(1, "shop", nil)
		w.service(2, "db", nil)
		_, stop := w.run("b")
		settle(100 * time.Millisecond)
		w.guard.set(func(s *Sight) { s.State.Alive, s.State.Lost, s.State.Holders = 6, 1, map[uint32]uint8{1: 1} })
		settle(100 * time.Millisecond)
		settle(time.Minute) // decides a few times more, with the same outcome

		all := w.decisions()
		if len(all) < 2 {
			t.Fatalf("%d decisions are recorded", len(all))
		}
		for _, d := range all {
			kept, err := record.Unpack(d.Packed)
			if err != nil {
				t.Fatal(err)
			}
			r, err := explain.Replay(kept.Snapshot, kept.Plan)
			if err != nil || !r.Same || r.Decision.Plan != d.Plan {
				t.Errorf("%s: same %v, %q, %v", d.Plan, r.Same, r.Difference, err)
			}
		}
		if diff := cmp.Diff([]spec.ServiceName{"db", "shop"}, all[0].Services); diff != "" {
			t.Errorf("services of the first (-want +got):\n%s", diff)
		}
		placed, _ := get[record.Placement](w, record.KeyPlacements+"shop")
		if last := all[len(all)-1]; placed.PlanID != last.Plan || last.Node != "b" {
			t.Errorf("shop was placed by %s, and the last decision is %s by %s", placed.PlanID, last.Plan, last.Node)
		}
		before := len(all)
		settle(time.Minute)
		if n := len(w.decisions()); n != before {
			t.Errorf("%d decisions more, though nothing has changed", n-before)
		}
		stop()
		w.wait.Wait()
	})
}

func TestEventsNameTheirDecision(t *testing.T) {
	m := filled(t, map[string]any{
		"nodes/a":       record.Node{Name: "a", Slot: 0},
		"services/shop": record.Service{Spec: spec.Service{Name: "shop"}, ID: 6, Generation: 1},
	})
	plan := decide.Decide(m.snapshot(Sight{Up: true, State: guardwire.State{Quorate: true, Alive: 1}}, noon))
	changes := m.changes(plan, noon)
	if len(changes) != 1 || len(changes[0].events) != 1 || changes[0].events[0].Plan != plan.ID || !changes[0].decided {
		t.Errorf("%+v", changes)
	}
}

func TestTheArchiveIsBounded(t *testing.T) {
	var a archive
	put := func(key string, size int) {
		for _, old := range a.surplus(size) {
			a.apply(store.Event{Entry: store.Entry{Key: old.key}, Deleted: true})
		}
		a.apply(store.Event{Entry: store.Entry{Key: key, Value: make([]byte, size)}})
	}
	for i := range 2 * record.MaxDecisions {
		put(fmt.Sprintf("decisions/%03d", i), 10)
	}
	if len(a.kept) != record.MaxDecisions || a.kept[0].key != "decisions/200" || a.bytes != 10*record.MaxDecisions {
		t.Errorf("%d kept, the first %s, %d bytes", len(a.kept), a.kept[0].key, a.bytes)
	}
	for i := range 20 {
		put(fmt.Sprintf("decisions/9%03d", i), record.MaxDecisionBytes/4)
	}
	if a.bytes > record.MaxDecisionBytes || len(a.kept) != 4 {
		t.Errorf("%d kept with %d bytes", len(a.kept), a.bytes)
	}
	a.apply(store.Event{Entry: store.Entry{Key: "decisions/9019", Value: make([]byte, 5)}}) // written again
	if a.bytes != 3*(record.MaxDecisionBytes/4)+5 {
		t.Errorf("%d bytes after one was written again", a.bytes)
	}
	if a.since = 0; !a.afford(archiveRate, time.Second) || a.afford(1, 2*time.Second) || !a.afford(1, 2*archiveSpan) {
		t.Error("the rate is not kept")
	}
}

// big is a cell of as many nodes and services as there can be, with long specs.
func big(services int, noise func() string) fact.Snapshot {
	s := fact.Snapshot{Now: noon, Revision: 1, Quorate: true}
	for i := range 32 {
		s.Nodes = append(s.Nodes, fact.Node{Name: spec.NodeName(fmt.Sprintf("node-%02d", i)), Liveness: fact.Alive})
	}
	for i := range services {
		s.Services = append(s.Services, fact.Service{Generation: 1, Spec: spec.Service{
			Name:  spec.ServiceName(fmt.Sprintf("service-%04d", i)),
			Parts: []spec.Part{{Name: "exec", Exec: &spec.Exec{Command: []string{"/usr/bin/service", "--config", noise()}}}},
		}})
	}
	return s
}

func TestTheLargestCellsDecisionIsRecordedInOneValue(t *testing.T) {
	s := big(1000, func() string { return strings.Repeat("/etc/service.conf", 10) })
	f, err := file(s, decide.Decide(s), "a", nil)
	if err != nil || f.size > store.MaxValue {
		t.Fatalf("%d bytes, %v", f.size, err)
	}
	t.Logf("32 nodes, 1000 services: %d bytes", f.size)
}

func TestADecisionThatIsTooLargeIsRecordedWithoutItsSnapshot(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := big(200, func() string {
		var b strings.Builder
		for range 600 {
			fmt.Fprintf(&b, "%x", random.Uint64())
		}
		return b.String()
	})
	f, err := file(s, decide.Decide(s), "a", []spec.ServiceName{"service-0000"})
	if !errors.Is(err, record.ErrDecisionTooLarge) || f.key == "" || f.size > 1000 {
		t.Errorf("%s of %d bytes, %v", f.key, f.size, err)
	}
}

func TestASurveyIsWhatTheControllerDecidesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service(1, "shop", nil)
		w.put(record.KeyReports+"a", record.Report{Node: "a", At: time.Now(), Instances: []fact.Instance{{Service: "shop", Generation: 1, Phase: fact.Running}}})
		_, stop := w.run("b")
		settle(100 * time.Millisecond)
		seen, err := Survey(t.Context(), w.store, w.guard.Latest(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		plan := decide.Decide(seen)
		for _, p := range plan.Placements {
			if p.Changed || plan.Hold != "" {
				t.Errorf("%s would be placed anew on %s: %s", p.Service, p.Order, plan.Hold)
			}
		}
		if len(plan.Placements) != 1 || seen.Services[0].Holder != "a" || seen.Nodes[0].Mute {
			t.Errorf("%+v", seen)
		}
		settle(time.Minute)
		if seen, err = Survey(t.Context(), w.store, w.guard.Latest(), time.Now()); err != nil || !seen.Nodes[0].Mute {
			t.Errorf("a node that is silent for a minute is not mute: %v", err)
		}
		stop()
		w.wait.Wait()
	})
}
