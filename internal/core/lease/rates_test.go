package lease

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

func TestAnswersOfASkewedVoterDoNotCount(t *testing.T) {
	n := New(0, 100)
	n.Configure(three)
	n.Admit(0, 50, 1000, time.Second)
	now := 2 * sec
	n.Seek(now, []Seek{{ID: 1, TTL: sec, Claim: true}})
	n.SetSkewed(quorum.Of(2))
	promise := func(from uint8) {
		n.Receive(now, from, 7, &Message{Kind: KindPromise, ID: 1, Number: 51, Inc: 100, Version: 1})
	}
	promise(0)
	promise(2)
	for _, note := range n.Notes() {
		t.Errorf("a note %v with one promise that counts", note.Kind)
	}
	promise(1)
	if notes := n.Notes(); len(notes) != 1 || notes[0].Kind != Free {
		t.Errorf("notes %v after a majority promised", notes)
	}
}

func TestASkewedNodeHoldsNothing(t *testing.T) {
	n := New(0, 100)
	n.Configure(quorum.Config{Version: 1, Voters: 1})
	n.Admit(0, 50, 1000, time.Second)
	now := 2 * sec
	tick := func() {
		n.Tick(now)
		n.Beat(now)
		for range 10 {
			for _, e := range n.Outbox() {
				n.Receive(now, 0, 100, &e.Message)
			}
		}
	}
	n.Seek(now, []Seek{{ID: 1, TTL: sec, Claim: true}})
	tick()
	if len(n.Holds(now, nil)) != 1 {
		t.Fatal("the only voter holds nothing")
	}
	n.SetSkewed(quorum.Of(0))
	for range 30 {
		now += 100 * time.Millisecond
		tick()
	}
	if got := n.Holds(now, nil); len(got) != 0 || n.Voting(now) {
		t.Errorf("a node whose clock is off holds %v, votes %v", got, n.Voting(now))
	}
	n.SetSkewed(0)
	for range 30 {
		now += 100 * time.Millisecond
		tick()
	}
	if len(n.Holds(now, nil)) != 1 {
		t.Error("it holds nothing after its clock was repaired")
	}
}
