package cell_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/engine/cell"
	"github.com/keelson/keelson/internal/engine/mirror"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func observer(w *world) *cell.Observer {
	return &cell.Observer{
		Store: w.Store, Clock: bubbleClock{}, Live: w.clerk.Live,
		Mirror: &mirror.Mirror{Store: w.Store, Clock: bubbleClock{}, Log: quietLog()},
	}
}

func TestStatusComesFromTheStoreOrAsItWasLastKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := observer(w)
		stop := running(t, o.Mirror.(*mirror.Mirror).Run)
		synctest.Wait()
		w.mustApply(t, doc("shop", ""))
		now, err := o.Status(t.Context())
		equal(t, "error", code(t, err), "")
		equal(t, "services and stale", []any{len(now.Services), now.Stale}, []any{1, false})

		synctest.Wait()
		w.SetUnavailable(true)
		now, err = o.Status(t.Context())
		equal(t, "error", code(t, err), "")
		equal(t, "services and stale", []any{len(now.Services), now.Stale}, []any{1, true})
		w.SetUnavailable(false)
		stop()
	})
}

func TestOneServiceComesWithItsSpecAndOneNodeByName(t *testing.T) {
	w := newWorld(t)
	o := observer(w)
	w.mustApply(t, doc("shop", ""))
	one, err := o.Service(t.Context(), "shop")
	equal(t, "error", code(t, err), "")
	equal(t, "spec", one.Spec.Parts[0].Exec.Command, []string{"/bin/shop"})
	_, err = o.Service(t.Context(), "nope")
	equal(t, "code", code(t, err), "no-such-service")
	n, err := o.Node(t.Context(), "c")
	equal(t, "node", []any{code(t, err), n.Witness}, []any{"", true})
	_, err = o.Node(t.Context(), "nope")
	equal(t, "code", code(t, err), "no-such-node")
}

func TestWhereFindsTheOutput(t *testing.T) {
	w := newWorld(t)
	o := observer(w)
	_, err := o.Where(t.Context(), "shop")
	equal(t, "unknown", code(t, err), "no-such-service")
	w.mustApply(t, doc("shop", ""))
	_, err = o.Where(t.Context(), "shop")
	equal(t, "not placed yet", code(t, err), "never-ran")
	w.put(t, record.KeyPlacements+"shop", record.Placement{Service: "shop", Generation: 1, Order: []spec.NodeName{"b"}})
	at, err := o.Where(t.Context(), "shop")
	equal(t, "where it is to run", []any{code(t, err), at}, []any{"", spec.NodeName("b")})
	w.runs(t, "shop", "a")
	at, err = o.Where(t.Context(), "shop")
	equal(t, "where it runs", []any{code(t, err), at}, []any{"", spec.NodeName("a")})
}

func TestWatchTellsChangesAtMostTenTimesASecondAndSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := observer(w)
		stopMirror := running(t, o.Mirror.(*mirror.Mirror).Run)
		synctest.Wait()
		var mu sync.Mutex
		var told []status.Cell
		seen := func() []status.Cell {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(told)
		}
		stop := running(t, func(ctx context.Context) error {
			return o.Watch(ctx, func(c status.Cell) error {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, c)
				return nil
			})
		})
		synctest.Wait()
		equal(t, "at once", len(seen()), 1)
		for _, name := range []string{"s1", "s2", "s3"} {
			w.mustApply(t, doc(name, ""))
		}
		time.Sleep(cell.WatchEvery + time.Millisecond)
		synctest.Wait()
		equal(t, "three changes in one", []int{len(seen()), len(seen()[1].Services)}, []int{2, 3})
		time.Sleep(cell.WatchAtLeast)
		synctest.Wait()
		equal(t, "a sign of life", len(seen()), 3)
		time.Sleep(time.Minute)
		synctest.Wait()
		equal(t, "the mirror hears nothing and says so", seen()[len(seen())-1].Stale, true)
		stop()
		stopMirror()
	})
}

func TestTheMirrorFollowsAStoreThatComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := &mirror.Mirror{Store: w.Store, Clock: bubbleClock{}, Log: quietLog()}
		_, stale := m.Records()
		equal(t, "stale before it runs", stale, true)
		stop := running(t, m.Run)
		synctest.Wait()
		before, stale := m.Records()
		equal(t, "loaded", []any{len(before.Nodes), string(before.Controller), stale}, []any{3, "a", false})

		w.SetUnavailable(true)
		synctest.Wait()
		_, stale = m.Records()
		equal(t, "away", stale, true)
		w.SetUnavailable(false)
		w.mustApply(t, doc("shop", ""))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		after, stale := m.Records()
		equal(t, "back", []any{len(after.Services), stale}, []any{1, false})
		equal(t, "a copy taken before is as it was", len(before.Services), 0)
		stop()
	})
}
