package controller

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// failed has a node report that a service gave up there.
func (w *world) failed(node spec.NodeName, service spec.ServiceName) {
	w.Helper()
	w.put(record.KeyReports+string(node), record.Report{Node: node, At: time.Now(), Instances: []fact.Instance{{
		Service: service, Generation: 1, Phase: fact.Failed, FailedUntil: time.Now().Add(10 * time.Minute),
		Failures: []fact.Failure{{At: time.Now(), Part: "exec", Why: "it ended"}},
	}}})
}

func (w *world) told(kind string) int {
	n := 0
	for _, e := range w.diary.all() {
		if strings.HasPrefix(e, kind+" ") {
			n++
		}
	}
	return n
}

func TestAServiceThatFailedEverywhereStaysStoppedUnderTheNextController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run("a")
		w.service(1, "shop", nil)
		settle(time.Second)
		for _, n := range []spec.NodeName{"a", "b", "c"} {
			w.failed(n, "shop")
			settle(40 * time.Second)
		}
		w.want("shop")
		h, _ := get[fact.ServiceHistory](w, record.KeyServiceHistories+"shop")
		if len(h.Tried) != 3 || h.Stopped.IsZero() || len(h.Moves) != 2 {
			t.Errorf("remembered: %+v", h)
		}
		if n := w.told("service-halted"); n != 1 {
			t.Errorf("told %d times: %v", n, w.diary.all())
		}
		if n := w.told("service-homeless"); n != 0 {
			t.Errorf("called homeless: %v", w.diary.all())
		}
		stop()
		w.wait.Wait()

		_, stop = w.run("b")
		settle(20 * time.Minute)
		for _, n := range []spec.NodeName{"a", "b", "c"} {
			w.put(record.KeyReports+string(n), record.Report{Node: n, At: time.Now()}) // all bans are over
		}
		settle(5 * time.Second)
		w.want("shop")
		if n := w.told("service-halted"); n != 1 {
			t.Errorf("told %d times: %v", n, w.diary.all())
		}

		w.service(1, "shop", func(r *record.Service) { r.Cleared = map[spec.NodeName]time.Time{"b": time.Now()} })
		settle(time.Second)
		if order := w.order("shop"); len(order) == 0 || order[0] != "b" {
			t.Errorf("cleared on b, it is placed on %v", order)
		}
		stop()
		w.wait.Wait()
	})
}

func TestANodeThatFlapsIsQuarantinedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run("a")
		w.service(1, "shop", func(r *record.Service) { r.Spec.Place.On = []spec.NodeName{"a", "b", "c"} })
		settle(time.Second)
		for range 3 {
			w.guard.set(func(s *Sight) { s.State.Alive, s.State.Lost = 3, 4 })
			settle(time.Minute)
			w.guard.set(func(s *Sight) { s.State.Alive, s.State.Lost = 7, 0 })
			settle(time.Minute)
		}
		if n := w.told("node-quarantined"); n != 1 {
			t.Errorf("told %d times: %v", n, w.diary.all())
		}
		if slices.Contains(w.order("shop"), "c") {
			t.Errorf("c follows in quarantine: %v", w.order("shop"))
		}
		settle(25 * time.Minute)
		if n := w.told("node-on-probation") + w.told("node-trusted"); n != 2 {
			t.Errorf("no probation, or no end of it: %v", w.diary.all())
		}
		if !slices.Contains(w.order("shop"), "c") {
			t.Errorf("c does not follow again: %v", w.order("shop"))
		}
		settle(25 * time.Hour)
		if h, kept := get[fact.NodeHistory](w, record.KeyNodeHistories+"c"); kept {
			t.Errorf("still remembered: %+v", h)
		}
		stop()
		w.wait.Wait()
	})
}

func TestWhatIsRememberedIsReadBack(t *testing.T) {
	m := filled(t, nil)
	want := fact.History{
		Nodes:    []fact.NodeHistory{{Node: "a", Trust: fact.Quarantined, Times: 2, Until: noon, Losses: []time.Time{noon}}},
		Services: []fact.ServiceHistory{{Service: "shop", Generation: 3, Tried: []fact.Try{{Node: "a", At: noon}}}},
		Storm:    &fact.Storm{Since: noon, Nodes: []spec.NodeName{"a"}},
	}
	for key, v := range map[string]any{
		record.KeyNodeHistories + "a": want.Nodes[0], record.KeyServiceHistories + "shop": want.Services[0], record.KeyStorm: want.Storm,
	} {
		op := put(key, v)
		if err := m.apply(store.Event{Entry: store.Entry{Key: key, Value: op.Value, Revision: 40}}, noon); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, m.history()); diff != "" {
		t.Error(diff)
	}
}

func TestThatPlansAreHeldBackIsWrittenAndToldOnce(t *testing.T) {
	m := filled(t, nil)
	apply := func(c change, deleted bool) {
		for _, op := range c.ops {
			if err := m.apply(store.Event{Entry: store.Entry{Key: op.Key, Value: op.Value, Revision: 40}, Deleted: deleted}, noon); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c := m.hold("", "p0", noon); len(c.ops)+len(c.events) != 0 {
		t.Errorf("told of nothing: %+v", c)
	}
	c := m.hold("db breaks a rule", "p1", noon)
	if len(c.ops) != 1 || len(c.events) != 1 || c.events[0].Kind != event.PlanHeld {
		t.Errorf("not told: %+v", c)
	}
	apply(c, false)
	if c := m.hold("db breaks a rule", "p2", noon); len(c.ops)+len(c.events) != 0 {
		t.Errorf("told twice: %+v", c)
	}
	c = m.hold("", "p3", noon)
	if len(c.ops) != 1 || len(c.events) != 1 || c.events[0].Kind != event.PlanResumed {
		t.Errorf("its end is not told: %+v", c)
	}
	apply(c, true)
	if c := m.hold("", "p4", noon); len(c.ops)+len(c.events) != 0 {
		t.Errorf("told of its end twice: %+v", c)
	}
}
