package cell_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store"
)

// runs makes a service run on a node.
func (w *world) runs(t *testing.T, name spec.ServiceName, node spec.NodeName) {
	t.Helper()
	report, _ := get[record.Report](t, w, record.KeyReports+string(node))
	report.Instances = append(report.Instances, fact.Instance{
		Service: name, Generation: 1, Phase: fact.Running, Ready: true, Epoch: 7, Since: time.Now(),
	})
	w.put(t, record.KeyReports+string(node), report)
	s := w.service(t, string(name))
	if node == "a" {
		return
	}
	if w.guard.Holders == nil {
		w.guard.Holders = map[uint32]uint8{}
	}
	w.guard.Holders[s.ID] = node[0] - 'a'
}

func TestDeleteMarksAServiceOnce(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", "")+"---\n"+doc("web", "")+"after: [{service: shop}]\n")
	for range 2 {
		got, err := w.clerk.Delete(t.Context(), request.Delete{Service: "shop", By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "warnings", got.Warnings, []string{"web names it in after[0], where that counts no more"})
	}
	equal(t, "deleting", w.service(t, "shop").Deleting, true)
	equal(t, "events", w.notes.kinds(), []event.Kind{event.ServiceApplied, event.ServiceApplied, event.ServiceDeleted})
	_, err := w.clerk.Delete(t.Context(), request.Delete{Service: "nope"})
	equal(t, "unknown", code(t, err), "no-such-service")
}

func TestMove(t *testing.T) {
	tests := []struct {
		name  string
		given func(*testing.T, *world)
		spec  string
		to    spec.NodeName
		want  string
		moved request.Moved
	}{
		{name: "to a node that may run it", to: "b", moved: request.Moved{From: "a", To: "b"}},
		{name: "to anywhere else", moved: request.Moved{From: "a"}},
		{name: "to where it is", to: "a", moved: request.Moved{From: "a", To: "a"}},
		{name: "to a witness", to: "c", want: "target-unfit"},
		{name: "to a node that is not there", to: "x", want: "no-such-node"},
		{name: "to a node that its spec forbids", spec: "place: {never: [b]}\n", to: "b", want: "target-unfit"},
		{name: "to anywhere when its spec names one node", spec: "place: {on: [a]}\n", want: "nowhere-to-go"},
		{
			name: "to a node that is drained", to: "b", want: "target-unfit",
			given: func(t *testing.T, w *world) { w.put(t, record.KeyWishes+"b", record.NodeWish{Drain: true}) },
		},
		{
			name: "to a node that is lost", to: "b", want: "target-unfit",
			given: func(_ *testing.T, w *world) { w.guard.Alive, w.guard.Lost = 0b101, 0b010 },
		},
		{name: "of a service that is stopped", spec: "stopped: true\n", to: "b", want: "stopped"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.mustApply(t, doc("shop", "")+tt.spec)
			w.runs(t, "shop", "a")
			if tt.given != nil {
				tt.given(t, w)
			}
			moved, err := w.clerk.Move(t.Context(), request.Move{Service: "shop", To: tt.to, By: "ann"})
			equal(t, "code", code(t, err), tt.want)
			equal(t, "moved", moved, tt.moved)
			wish := w.service(t, "shop").Move
			equal(t, "a wish is written", wish != nil, err == nil && moved.From != moved.To)
			if wish != nil {
				equal(t, "wish", []spec.NodeName{wish.From, wish.To}, []spec.NodeName{"a", tt.to})
			}
		})
	}
}

func TestMoveOfAServiceThatRunsNowhereNeedsATarget(t *testing.T) {
	w := newWorld(t)
	w.mustApply(t, doc("shop", ""))
	_, err := w.clerk.Move(t.Context(), request.Move{Service: "shop"})
	equal(t, "code", code(t, err), "not-running")
	moved, err := w.clerk.Move(t.Context(), request.Move{Service: "shop", To: "b"})
	equal(t, "code", code(t, err), "")
	equal(t, "moved", moved, request.Moved{To: "b"})
}

func TestDrainAndUndrainKeepTheOtherWishes(t *testing.T) {
	w := newWorld(t)
	w.put(t, record.KeyWishes+"b", record.NodeWish{Voter: true})
	equal(t, "drain", code(t, w.clerk.Drain(t.Context(), request.Drain{Node: "b", Why: "disk", By: "ann"})), "")
	wish, _ := get[record.NodeWish](t, w, record.KeyWishes+"b")
	equal(t, "wish", []any{wish.Drain, wish.DrainWhy, wish.Voter, wish.DrainTime.IsZero()}, []any{true, "disk", true, false})

	equal(t, "undrain", code(t, w.clerk.Undrain(t.Context(), request.Undrain{Node: "b"})), "")
	wish, _ = get[record.NodeWish](t, w, record.KeyWishes+"b")
	equal(t, "wish", wish, record.NodeWish{Voter: true})
	equal(t, "undrain twice", code(t, w.clerk.Undrain(t.Context(), request.Undrain{Node: "b"})), "")
	equal(t, "unknown", code(t, w.clerk.Drain(t.Context(), request.Drain{Node: "x"})), "no-such-node")
	long := request.Drain{Node: "b", Why: strings.Repeat("x", 501)}
	equal(t, "too long", code(t, w.clerk.Drain(t.Context(), long)), "too-long")
	equal(t, "events", w.notes.kinds(), []event.Kind{event.NodeDrained, event.NodeUndrained})
}

func TestRemoveAsksALivingNodeToLeave(t *testing.T) {
	w := newWorld(t)
	for _, force := range []bool{false, true} {
		equal(t, "remove", code(t, w.clerk.Remove(t.Context(), request.Remove{Node: "b", Force: force})), "")
	}
	wish, _ := get[record.NodeWish](t, w, record.KeyWishes+"b")
	equal(t, "wish", wish, record.NodeWish{Leaving: true})
	_, member := get[record.Node](t, w, record.KeyNodes+"b")
	equal(t, "it is still a member", member, true)
}

func TestRemoveForgetsALostNodeOnceItsVoteIsGone(t *testing.T) {
	w := newWorld(t)
	w.guard.Alive, w.guard.Lost = 0b101, 0b010
	equal(t, "without force", code(t, w.clerk.Remove(t.Context(), request.Remove{Node: "b"})), "node-lost")
	for range 2 {
		equal(t, "while it votes", code(t, w.clerk.Remove(t.Context(), request.Remove{Node: "b", Force: true})), "still-a-voter")
	}
	wish, _ := get[record.NodeWish](t, w, record.KeyWishes+"b")
	equal(t, "its vote is asked back", wish.Leaving, true)

	w.put(t, record.KeyLease, record.Lease{Version: 2, Voters: 0b101})
	equal(t, "without a vote", code(t, w.clerk.Remove(t.Context(), request.Remove{Node: "b", Force: true, By: "ann"})), "")
	for _, key := range []string{record.KeyNodes + "b", record.KeyWishes + "b", record.KeyReports + "b", record.SlotKey(1)} {
		if _, found, _ := w.Get(t.Context(), key); found {
			t.Errorf("%s is still there", key)
		}
	}
	for _, key := range []string{record.KeyRevoked + "serial-b", record.KeyRevoked + "id-b"} {
		revoked, found := get[record.Revoked](t, w, key)
		if !found || revoked.Node != "b" || revoked.By != "ann" || !revoked.Until.After(revoked.At) {
			t.Errorf("%s is %+v, %v", key, revoked, found)
		}
	}
	equal(t, "again", code(t, w.clerk.Remove(t.Context(), request.Remove{Node: "b", Force: true})), "no-such-node")
}

func TestRemoveWhoseAnswerIsLostIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.guard.Alive, w.guard.Lost = 0b101, 0b010
		w.put(t, record.KeyLease, record.Lease{Version: 2, Voters: 0b101})
		w.LoseAnswers(1)
		equal(t, "code", code(t, w.clerk.Remove(t.Context(), request.Remove{Node: "b", Force: true})), "")
		equal(t, "events", w.notes.kinds(), []event.Kind{event.NodeLeft})
	})
}

func TestRemoveRefusesTheLastNode(t *testing.T) {
	w := newWorld(t)
	ops := []store.Op{{Key: record.KeyNodes + "b", Delete: true}, {Key: record.KeyNodes + "c", Delete: true}}
	if _, _, err := w.Txn(t.Context(), nil, ops); err != nil {
		t.Fatal(err)
	}
	err := w.clerk.Remove(t.Context(), request.Remove{Node: "a"})
	equal(t, "code", code(t, err), "last-node")
	var known *request.Error
	if !errors.As(err, &known) || !strings.Contains(known.Hint, "`keelson leave --offline --yes`") {
		t.Errorf("%v does not tell of the way that works", err)
	}
}
