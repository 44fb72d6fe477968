package detect

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// hall is node 0 of three voters, and what the two others say they hear.
type hall struct {
	d    *Detector
	now  Boot
	rows map[uint8]quorum.Set // of those that are heard
}

func newHall() *hall {
	h := &hall{d: New(0), now: time.Second, rows: map[uint8]quorum.Set{1: 7, 2: 7}}
	h.d.Configure(h.now, 7, quorum.Config{Version: 1, Voters: 7}, every)
	h.pass(3 * time.Second)
	return h
}

func (h *hall) pass(span time.Duration) {
	for end := h.now + span; h.now < end; {
		h.now += every
		for slot := uint8(1); slot < 3; slot++ {
			if heard, ok := h.rows[slot]; ok {
				h.d.Heard(h.now, slot, 5, Beat{Seq: uint64(h.now / every), Sent: h.now, Heard: heard})
			}
		}
		h.d.Tick(h.now)
	}
}

// A node that hears nobody was back for a few heartbeats, in the eyes of others,
// whenever some of its own were lost in a row.
func TestWhoHearsNobodyIsNotBackWhenItIsSilent(t *testing.T) {
	h := newHall()
	h.rows[2] = quorum.Of(2)
	h.pass(time.Second)
	if h.d.Suspect() != quorum.Of(2) {
		t.Fatalf("suspect %b", h.d.Suspect())
	}
	delete(h.rows, 2)
	for range 30 {
		if h.pass(every); h.d.Suspect() != quorum.Of(2) {
			t.Fatalf("suspect %b after %s", h.d.Suspect(), h.now)
		}
	}
	h.rows[2] = quorum.Of(2)
	for range 30 {
		if h.pass(every); h.d.Suspect() != quorum.Of(2) {
			t.Fatalf("suspect %b after it was heard again", h.d.Suspect())
		}
	}
	h.rows[2] = 7
	if h.pass(every); h.d.Suspect() != 0 {
		t.Errorf("suspect %b though it hears all", h.d.Suspect())
	}
}

// The voice of a node that is cut off made one other observer a majority.
func TestWhoIsCutOffHasNoVote(t *testing.T) {
	h := newHall()
	if h.d.Beat(h.now).Abstain {
		t.Fatal("a node in touch with all abstains")
	}
	h.rows = map[uint8]quorum.Set{2: 6} // 1 is silent, 2 does not hear this node
	h.pass(time.Second)
	if b := h.d.Beat(h.now); !b.Suspect.Has(1) || !b.Abstain || h.d.Quorate(h.now) {
		t.Errorf("cut off, it says %+v", b)
	}
	h.rows[2] = 7
	h.pass(every)
	if b := h.d.Beat(h.now); !b.Suspect.Has(1) || b.Abstain {
		t.Errorf("in touch with a majority, it says %+v", b)
	}
}
