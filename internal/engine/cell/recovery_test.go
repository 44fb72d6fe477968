package cell_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestClearAsksForEachNodeOrForOne(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	w.put(t, record.KeyServiceHistories+"shop", fact.ServiceHistory{Service: "shop", Generation: 1, Tried: []fact.Try{{Node: "a"}, {Node: "b"}}})
	nodes, err := w.clerk.Clear(t.Context(), request.Clear{Service: "shop", Node: "b", By: "ann"})
	equal(t, "error", code(t, err), "")
	equal(t, "where", nodes, []spec.NodeName{"b"})
	first := w.service(t, "shop").Cleared
	equal(t, "only there", len(first), 1)

	nodes, err = w.clerk.Clear(t.Context(), request.Clear{Service: "shop", By: "ann"})
	equal(t, "error", code(t, err), "")
	equal(t, "where", nodes, []spec.NodeName{"a", "b"})
	second := w.service(t, "shop").Cleared
	equal(t, "later on b", second["b"].After(first["b"]), true)
	equal(t, "on a too", second["a"].IsZero(), false)
	equal(t, "the spec is the same", w.service(t, "shop").Generation, uint64(1))

	_, err = w.clerk.Clear(t.Context(), request.Clear{Service: "nothing"})
	equal(t, "an unknown service", code(t, err), "no-such-service")
	_, err = w.clerk.Clear(t.Context(), request.Clear{Service: "shop", Node: "z"})
	equal(t, "an unknown node", code(t, err), "no-such-node")
	equal(t, "events", w.notes.kinds(), []event.Kind{event.ServiceApplied, event.ServiceCleared, event.ServiceCleared})
}

func TestTrustIsAWishForANode(t *testing.T) {
	w := newWorld(t)
	w.put(t, record.KeyWishes+"b", record.NodeWish{Drain: true})
	equal(t, "error", code(t, w.clerk.Trust(t.Context(), request.Trust{Node: "b"})), "")
	wish, _ := get[record.NodeWish](t, w, record.KeyWishes+"b")
	equal(t, "the other wishes", wish.Drain, true)
	equal(t, "trusted", wish.Trust.IsZero(), false)
	equal(t, "an unknown node", code(t, w.clerk.Trust(t.Context(), request.Trust{Node: "z"})), "no-such-node")
}

func TestWhatBoundsRecoveryIsChangedFieldByField(t *testing.T) {
	w := newWorld(t)
	now, err := w.clerk.Recovery(t.Context())
	equal(t, "error", code(t, err), "")
	equal(t, "the defaults", now, spec.Recovery{}.Effective())
	set := func(r spec.Recovery) string {
		return code(t, w.clerk.SetRecovery(t.Context(), request.SetRecovery{Recovery: r}))
	}
	equal(t, "a share", set(spec.Recovery{Share: 50}), "")
	equal(t, "a window", set(spec.Recovery{Window: spec.Duration(time.Hour)}), "")
	equal(t, "too much", set(spec.Recovery{Share: 101}), "out-of-range")
	equal(t, "too short", set(spec.Recovery{Window: spec.Duration(time.Second)}), "out-of-range")
	now, _ = w.clerk.Recovery(t.Context())
	equal(t, "both", now, spec.Recovery{Share: 50, Window: spec.Duration(time.Hour)}.Effective())
	equal(t, "events", w.notes.kinds(), []event.Kind{event.RecoveryChanged, event.RecoveryChanged})
}

func TestApplyRefusesContradictionsAndNamesTheWay(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("cache", "")+"place: {apart: [db]}\n", doc("db", ""))
	_, before, _ := w.List(t.Context(), "")
	_, err := w.apply(t, doc("shop", "")+"place: {together: [db, cache]}\n")
	equal(t, "code", code(t, err), "contradiction")
	for _, link := range []string{"shop is together with db", "shop is together with cache", "cache is apart from db"} {
		if !strings.Contains(err.Error(), link) {
			t.Errorf("%q says nothing of %q", err, link)
		}
	}
	_, after, _ := w.List(t.Context(), "")
	equal(t, "nothing is written", after, before)

	unknown := doc("shop", "") + "place: {together: [db], never: [z]}\n"
	_, err = w.apply(t, unknown)
	equal(t, "a node that the cell lacks", code(t, err), "spec-invalid")
	w.put(t, record.KeyServices+"shop", record.Service{
		ID: 99, Generation: 1, Spec: spec.Service{Name: "shop", Place: spec.Place{Never: []spec.NodeName{"z"}}},
	})
	result, err := w.apply(t, unknown)
	equal(t, "one that was named before", code(t, err), "")
	equal(t, "is a warning", len(result.Warnings), 1)
}
