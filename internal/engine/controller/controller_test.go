package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/core/survey"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
	"github.com/keelson/keelson/internal/store/memstore"
)

// bubble is a clock whose boot time runs with the time of a synctest bubble.
type bubble struct{ clock.System }

func (bubble) Boot() time.Duration { return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) }

// guard is a View that the test sets.
type guard struct {
	mu      sync.Mutex
	sight   Sight
	changed chan struct{}
}

func newGuard(alive uint32) *guard {
	return &guard{
		sight:   Sight{Up: true, State: guardwire.State{Quorate: true, Alive: alive, Holders: map[uint32]uint8{}}},
		changed: make(chan struct{}),
	}
}

func (g *guard) Latest() Sight {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sight
}

func (g *guard) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

func (g *guard) set(f func(*Sight)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.sight)
	close(g.changed)
	g.changed = make(chan struct{})
}

// diary keeps events.
type diary struct {
	mu   sync.Mutex
	kept []string
}

func (d *diary) Emit(e event.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = append(d.kept, fmt.Sprintf("%s %s %s", e.Kind, e.Service, e.About))
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept
}

// counted counts the transactions that wrote a placement.
type counted struct {
	store.Store
	mu sync.Mutex
	n  int
}

func (c *counted) Txn(ctx context.Context, guards []store.Guard, ops []store.Op) (bool, int64, error) {
	for _, op := range ops {
		if prefix, _ := split(op.Key); prefix == record.KeyPlacements {
			c.mu.Lock()
			c.n++
			c.mu.Unlock()
			break
		}
	}
	return c.Store.Txn(ctx, guards, ops)
}

// world is a cell of three nodes a, b and c in slots 0 to 2, and controllers.
type world struct {
	*testing.T
	store  *memstore.Store
	writes *counted
	guard  *guard
	diary  *diary
	wait   sync.WaitGroup
}

func newWorld(t *testing.T) *world {
	mem := memstore.New(bubble{})
	w := &world{T: t, store: mem, writes: &counted{Store: mem}, guard: newGuard(7), diary: &diary{}}
	for slot, name := range []spec.NodeName{"a", "b", "c"} {
		w.put(record.KeyNodes+string(name), record.Node{Name: name, Slot: uint8(slot)})
	}
	w.put(record.KeyLease, record.Lease{Version: 1, Voters: 7, Ceiling: 1000, LongestTTL: spec.Duration(time.Second)})
	return w
}

// run starts a controller on a node and returns it with what stops it.
func (w *world) run(name spec.NodeName) (*Controller, context.CancelFunc) {
	c := New(Options{
		Node: name, Store: w.writes, View: w.guard, Events: w.diary, Clock: bubble{}, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(w.Context())
	w.wait.Go(func() {
		if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
			w.Errorf("the controller of %s ended with %v", name, err)
		}
	})
	return c, cancel
}

func (w *world) put(key string, v any) {
	w.Helper()
	if done, _, err := w.store.Txn(w.Context(), nil, []store.Op{put(key, v)}); err != nil || !done {
		w.Fatalf("put %s: %v", key, err)
	}
}

func (w *world) service(id uint32, name spec.ServiceName, change func(*record.Service)) {
	w.Helper()
	r := record.Service{Spec: spec.Service{Name: name}, ID: id, Generation: 1}
	if change != nil {
		change(&r)
	}
	w.put(record.KeyServices+string(name), r)
}

func get[T any](w *world, key string) (T, bool) {
	w.Helper()
	var v T
	e, ok, err := w.store.Get(w.Context(), key)
	if err != nil {
		w.Fatal(err)
	}
	if ok {
		if err := json.Unmarshal(e.Value, &v); err != nil {
			w.Fatal(err)
		}
	}
	return v, ok
}

func (w *world) order(service spec.ServiceName) []spec.NodeName {
	w.Helper()
	p, _ := get[record.Placement](w, record.KeyPlacements+string(service))
	return p.Order
}

func (w *world) want(service spec.ServiceName, order ...spec.NodeName) {
	w.Helper()
	if diff := cmp.Diff(order, w.order(service)); diff != "" {
		w.Errorf("order of %s (-want +got):\n%s", service, diff)
	}
}

// settle lets what is under way happen.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAControllerPlacesWhatIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run("b")
		settle(100 * time.Millisecond)
		if !c.Leading() {
			t.Fatal("not elected")
		}
		w.service(1, "shop", nil)
		settle(100 * time.Millisecond)

		got, _ := get[record.Placement](w, record.KeyPlacements+"shop")
		if got.PlanID == "" || got.At.IsZero() {
			t.Errorf("no plan id or time: %+v", got)
		}
		got.PlanID, got.At = "", time.Time{}
		want := record.Placement{
			TTL:     spec.Duration(spec.MinTTL),
			Service: "shop", Generation: 1, Order: []spec.NodeName{"a", "b", "c"},
			Reasons: []string{
				"shop belongs on a: score 0",
				"a before b: all else is equal, so the names decide",
				"then b before c: all else is equal, so the names decide",
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("placement (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"controller-elected  b", "service-placed shop a"}, w.diary.all()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		stop()
		w.wait.Wait()
		if c.Leading() {
			t.Error("still leading after the end")
		}
	})
}

func TestALostHolderIsReplannedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service(1, "shop", nil)
		_, stop := w.run("b")
		settle(100 * time.Millisecond)
		w.want("shop", "a", "b", "c")
		w.guard.set(func(s *Sight) { s.State.Alive, s.State.Lost, s.State.Holders = 6, 1, map[uint32]uint8{1: 1} })
		settle(50 * time.Millisecond)
		w.want("shop", "b", "c")

		// A returns, and the service stays where it is.
		w.guard.set(func(s *Sight) { s.State.Alive, s.State.Lost = 7, 0 })
		settle(50 * time.Millisecond)
		w.want("shop", "b", "a", "c")
		stop()
		w.wait.Wait()
	})
}

func TestAServiceWithoutANodeIsHomelessAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service(1, "shop", func(r *record.Service) { r.Spec.Place.On = []spec.NodeName{"a"} })
		_, stop := w.run("b")
		settle(100 * time.Millisecond)
		w.put(record.KeyWishes+"a", record.NodeWish{Drain: true})
		settle(100 * time.Millisecond)
		got, _ := get[record.Placement](w, record.KeyPlacements+"shop")
		want := []string{
			"shop has no place: no node may run it",
			"shop may not run on a: a is drained",
			"shop may not run on b: place.on allows only a",
			"shop may not run on c: place.on allows only a",
		}
		if diff := cmp.Diff(want, got.Reasons); diff != "" || got.Order != nil {
			t.Errorf("order %v, reasons (-want +got):\n%s", got.Order, diff)
		}

		// The reason changes: the record follows within seconds.
		w.put(record.KeyWishes+"a", record.NodeWish{Leaving: true})
		settle(2 * decideEvery)
		got, _ = get[record.Placement](w, record.KeyPlacements+"shop")
		want[1] = "shop may not run on a: a is leaving the cell"
		if diff := cmp.Diff(want, got.Reasons); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"controller-elected  b", "service-placed shop a", "service-homeless shop "}, w.diary.all()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		stop()
		w.wait.Wait()
	})
}

func TestAMoveIsCarriedOutThenForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.service(1, "shop", nil)
		_, stop := w.run("b")
		settle(100 * time.Millisecond)
		w.guard.set(func(s *Sight) { s.State.Holders = map[uint32]uint8{1: 0} })
		w.service(1, "shop", func(r *record.Service) { r.Move = &record.Move{To: "c"} })
		settle(100 * time.Millisecond)
		w.want("shop", "c", "a", "b")
		if r, _ := get[record.Service](w, record.KeyServices+"shop"); r.Move == nil {
			t.Error("the wish is forgotten before it is fulfilled")
		}
		w.guard.set(func(s *Sight) { s.State.Holders = map[uint32]uint8{1: 2} })
		settle(100 * time.Millisecond)
		w.want("shop", "c", "a", "b")
		got, _ := get[record.Service](w, record.KeyServices+"shop")
		if diff := cmp.Diff(record.Service{Spec: spec.Service{Name: "shop"}, ID: 1, Generation: 1}, got); diff != "" {
			t.Errorf("the record after the move (-want +got):\n%s", diff)
		}
		stop()
		w.wait.Wait()
	})
}

func TestADeletedServiceIsForgottenOnceNothingOfItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		address := func(r *record.Service) {
			r.Spec.Parts = []spec.Part{{Name: "address", Address: &spec.Address{Prefix: "10.77.0.100/24"}}}
			r.Deleting = true
		}
		w.service(7, "shop", address)
		w.put(record.KeyAddressUses+"10.77.0.100", "shop")
		w.put(record.KeyAddressUses+"10.77.0.101", "other")
		w.put(record.KeyServiceIDs+"7", "shop")
		w.put(record.KeyServiceIDs+"next", 8)
		w.put(record.KeyReports+"a", record.Report{Node: "a", Instances: []fact.Instance{{Service: "shop", Phase: fact.Stopping}}})
		_, stop := w.run("b")
		settle(100 * time.Millisecond)
		if _, there := get[record.Service](w, record.KeyServices+"shop"); !there {
			t.Fatal("forgotten while it is being stopped")
		}
		w.put(record.KeyReports+"a", record.Report{Node: "a"})
		settle(100 * time.Millisecond)
		entries, _, err := w.store.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, e := range entries {
			if prefix, _ := split(e.Key); prefix != record.KeyDecisions {
				keys = append(keys, e.Key)
			}
		}
		want := []string{"address-owners/10.77.0.101", "controller", "lease", "nodes/a", "nodes/b", "nodes/c", "reports/a", "service-ids/next"}
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("keys that are left (-want +got):\n%s", diff)
		}
		stop()
		w.wait.Wait()
	})
}

func TestAnotherControllerTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, stopFirst := w.run("a")
		settle(100 * time.Millisecond)
		second, stopSecond := w.run("b")
		settle(time.Second)
		if !first.Leading() || second.Leading() {
			t.Fatalf("leading: first %v, second %v", first.Leading(), second.Leading())
		}
		stopFirst()
		settle(100 * time.Millisecond)
		if first.Leading() || !second.Leading() {
			t.Fatalf("after an orderly end: first %v, second %v", first.Leading(), second.Leading())
		}
		w.service(1, "shop", nil)
		settle(100 * time.Millisecond)
		w.want("shop", "a", "b", "c")
		stopSecond()
		w.wait.Wait()
	})
}

func TestADeposedControllerWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := New(Options{Node: "a", Store: w.writes, View: w.guard, Events: w.diary, Clock: bubble{}, Log: slog.New(slog.DiscardHandler)})
		office, err := c.campaign(t.Context())
		if err != nil || office == nil {
			t.Fatalf("not elected: %v", err)
		}
		old := &term{Controller: c, office: office, mirror: newMirror()}
		w.service(1, "shop", nil)
		if err := old.load(t.Context()); err != nil {
			t.Fatal(err)
		}

		// Its session ends and another is elected; it does not know yet.
		w.store.EndSessions()
		other := New(Options{Node: "b", Store: w.writes, View: w.guard, Events: w.diary, Clock: bubble{}, Log: slog.New(slog.DiscardHandler)})
		next, err := other.campaign(t.Context())
		if err != nil || next == nil {
			t.Fatalf("no other controller: %v", err)
		}
		if err := old.decide(t.Context(), w.guard.Latest()); err != nil {
			t.Fatal(err)
		}
		if order := w.order("shop"); order != nil {
			t.Errorf("the deposed controller placed shop on %v", order)
		}
		if lease, _ := get[record.Lease](w, record.KeyLease); lease.Ceiling != 1000 {
			t.Errorf("the deposed controller raised the ceiling to %d", lease.Ceiling)
		}
		office.end(t.Context())
		next.end(t.Context())
	})
}

func TestAControllerWithoutSightStepsDown(t *testing.T) {
	tests := []struct {
		name  string
		blind func(*Sight)
	}{
		{"its guard is away", func(s *Sight) { s.Up = false }},
		{"its guard has just started", func(s *Sight) { s.State.Fresh = true }},
		{"it is out of touch with the majority", func(s *Sight) { s.State.Quorate = false }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c, stop := w.run("a")
				settle(100 * time.Millisecond)
				w.guard.set(tt.blind)
				settle(unfitLimit / 2)
				if !c.Leading() {
					t.Error("stepped down too early")
				}
				w.service(1, "shop", nil)
				settle(100 * time.Millisecond)
				w.want("shop")
				settle(unfitLimit)
				if c.Leading() {
					t.Error("still the controller")
				}
				w.guard.set(func(s *Sight) { *s = newGuard(7).sight })
				settle(2 * time.Second)
				if !c.Leading() {
					t.Error("does not campaign again")
				}
				w.want("shop", "a", "b", "c")
				stop()
				w.wait.Wait()
			})
		})
	}
}

func TestTheStoreMayBeAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run("a")
		settle(100 * time.Millisecond)
		w.store.SetUnavailable(true)
		settle(30 * time.Second)
		w.store.SetUnavailable(false)
		w.service(1, "shop", nil)
		settle(15 * time.Second)
		w.want("shop", "a", "b", "c")
		if !c.Leading() {
			t.Error("no controller any more")
		}

		// An answer that is lost does no harm.
		w.service(2, "web", func(r *record.Service) { r.Spec.Place.On = []spec.NodeName{"b"} })
		w.store.LoseAnswers(2)
		settle(10 * time.Second)
		w.want("web", "b")
		stop()
		w.wait.Wait()
	})
}

func TestManyChangesAreOneDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run("a")
		settle(time.Second)
		for i := range uint32(200) {
			w.service(i+1, spec.ServiceName(fmt.Sprintf("s%d", i)), nil)
		}
		settle(time.Second)
		for i := range 200 {
			if w.order(spec.ServiceName(fmt.Sprintf("s%d", i))) == nil {
				t.Fatalf("s%d is not placed", i)
			}
		}
		// 200 placements fit into 7 transactions; more decisions make more of them.
		if w.writes.n > 60 {
			t.Errorf("%d transactions for 200 services", w.writes.n)
		}
		before := w.writes.n
		settle(time.Minute)
		if w.writes.n != before {
			t.Errorf("%d transactions while nothing changed", w.writes.n-before)
		}
		stop()
		w.wait.Wait()
	})
}

func TestTheLeaseLimitsAreKeptAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run("a")
		settle(100 * time.Millisecond)
		lease := func() record.Lease {
			l, _ := get[record.Lease](w, record.KeyLease)
			return l
		}
		w.guard.set(func(s *Sight) { s.State.Ballot = 499 })
		settle(100 * time.Millisecond)
		if got := lease().Ceiling; got != 1000 {
			t.Errorf("the ceiling is %d with 501 numbers left", got)
		}
		w.guard.set(func(s *Sight) { s.State.Ballot = 500 })
		settle(100 * time.Millisecond)
		if got := lease().Ceiling; got != 2000 {
			t.Errorf("the ceiling is %d, want 2000", got)
		}

		w.service(1, "slow", func(r *record.Service) { r.Spec.Failover.TTL = spec.TTL(20 * time.Second) })
		settle(100 * time.Millisecond)
		if got := lease().LongestTTL; got != spec.Duration(20*time.Second) {
			t.Errorf("the longest TTL is %v, want 20s", got)
		}
		w.service(1, "slow", nil)
		reporting := func(d time.Duration, nodes ...spec.NodeName) {
			for ; d > 0; d -= 10 * time.Second {
				for _, n := range nodes {
					w.put(record.KeyReports+string(n), record.Report{Node: n})
				}
				settle(min(d, 10*time.Second))
			}
		}
		reporting(survey.Unlearned+time.Minute, "a", "c")
		if got := lease().LongestTTL; got != spec.Duration(20*time.Second) {
			t.Errorf("the longest TTL fell to %v though b may not have heard of it", got)
		}
		reporting(survey.Unlearned+30*time.Second, "a", "b", "c")
		if got := lease().LongestTTL; got != spec.Duration(20*time.Second) {
			t.Errorf("the longest TTL fell to %v too early", got)
		}
		reporting(20*time.Second, "a", "b", "c")
		if got := lease().LongestTTL; got != spec.Duration(spec.LongestAutoTTL) {
			t.Errorf("the longest TTL is %v, want that of auto", got)
		}
		stop()
		w.wait.Wait()
	})
}

func TestABrokenRecordHoldsUpNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(record.KeyServices+"broken", "not a service")
		w.put(record.KeyPlacements+"broken", record.Placement{Service: "broken", Order: []spec.NodeName{"a"}})
		w.put(record.KeyPlacements+"shop", "not a placement")
		w.put(record.KeyPlacements+"gone", record.Placement{Service: "gone", Order: []spec.NodeName{"a"}})
		w.service(1, "shop", nil)
		_, stop := w.run("a")
		settle(time.Second)
		w.want("shop", "a", "b", "c")
		w.want("broken", "a")
		w.want("gone")
		before := w.writes.n
		settle(time.Minute)
		if w.writes.n != before {
			t.Errorf("%d more transactions for what cannot be read", w.writes.n-before)
		}
		stop()
		w.wait.Wait()
	})
}
