package plane

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// divided is a cell of three voters that can be parted.
type divided struct {
	t     *testing.T
	now   Boot
	nodes [3]*Node
	votes quorum.Set
	side  [3]int // nodes on different sides do not hear each other
	each  func() // looks on, every millisecond
	notes [3][]lease.NoteKind
}

func newDivided(t *testing.T, seeks ...Seek) *divided {
	return divide(t, quorum.Of(0, 1, 2), seeks...)
}

func divide(t *testing.T, votes quorum.Set, seeks ...Seek) *divided {
	t.Helper()
	w := &divided{t: t, votes: votes, each: func() {}}
	for slot := range w.nodes {
		w.nodes[slot] = New(uint8(slot), 1)
		w.duty(slot, seeks...)
	}
	w.live(4 * time.Second)
	return w
}

func (w *divided) duty(slot int, seeks ...Seek) {
	w.nodes[slot].SetDuty(w.now, Duty{
		Members: quorum.Of(0, 1, 2), Config: quorum.Config{Version: 1, Voters: w.votes},
		Floor: 10, Ceiling: 10_000, Longest: time.Second, Seeks: seeks,
	})
}

func (w *divided) live(d time.Duration) {
	w.t.Helper()
	for end := w.now + d; w.now < end; w.now += time.Millisecond {
		for _, n := range w.nodes {
			if n.Next() <= w.now {
				n.Tick(w.now)
			}
		}
		for from, n := range w.nodes {
			for _, p := range n.Packets() {
				if w.side[from] != w.side[p.To] {
					continue
				}
				if err := w.nodes[p.To].Receive(w.now, uint8(from), 1, p.Data); err != nil {
					w.t.Fatal(err)
				}
			}
			for _, note := range n.Notes() {
				w.notes[from] = append(w.notes[from], note.Kind)
			}
		}
		w.each()
	}
}

// is what a node has of the only service: nothing, a lease, or what it keeps.
func (w *divided) is(slot int) string {
	w.t.Helper()
	held := w.nodes[slot].Holds(w.now, nil)
	switch {
	case len(held) == 0:
		return ""
	case len(held) > 1:
		w.t.Fatalf("at %s slot %d has one service more than once: %+v", w.now, slot, held)
	case held[0].Until > w.now:
		return "held"
	case !held[0].Keep:
		w.t.Fatalf("at %s slot %d shows a lease that has lapsed: %+v", w.now, slot, held)
	}
	return "kept"
}

func (w *divided) all() [3]string { return [3]string{w.is(0), w.is(1), w.is(2)} }

func soft(keep bool, order ...uint8) Seek {
	return Seek{ID: 7, TTL: 500 * time.Millisecond, Soft: true, Keep: keep, Order: order, Claim: true}
}

func exclusive(keep bool, order ...uint8) Seek {
	s := soft(keep, order...)
	s.Soft = false
	return s
}

func TestLossOfQuorum(t *testing.T) {
	tests := []struct {
		name         string
		seek         Seek
		apart, after [3]string // during the partition 0 | 1, 2, and a second after it
	}{
		{"an exclusive service stops", exclusive(false, 0, 1, 2), [3]string{"", "held", ""}, [3]string{"", "held", ""}},
		{"an exclusive service stops, whatever else is said", exclusive(true, 0, 1, 2), [3]string{"", "held", ""}, [3]string{"", "held", ""}},
		{"one that is not exclusive stops", soft(false, 0, 1, 2), [3]string{"", "held", ""}, [3]string{"", "held", ""}},
		{"one that is kept goes on, until the other holder is known", soft(true, 0, 1, 2), [3]string{"kept", "held", ""}, [3]string{"", "held", ""}},
		{"one that is kept and was taken by nobody goes on under a new lease", soft(true, 0), [3]string{"kept", "", ""}, [3]string{"held", "", ""}},
		{"one that has no successor and is not kept begins anew", soft(false, 0), [3]string{"", "", ""}, [3]string{"held", "", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newDivided(t, tt.seek)
			if got := w.all(); got != [3]string{"held", "", ""} {
				t.Fatalf("at first: %q", got)
			}
			w.each = func() {
				if !tt.seek.Soft && w.is(0) == "held" && w.is(1) == "held" {
					t.Fatalf("at %s two hold an exclusive lease", w.now)
				}
			}
			w.side[0] = 1
			w.live(3 * time.Second)
			if diff := cmp.Diff(tt.apart, w.all()); diff != "" {
				t.Errorf("apart (-want +got):\n%s", diff)
			}
			w.live(2 * time.Minute)
			if diff := cmp.Diff(tt.apart, w.all()); diff != "" {
				t.Errorf("apart for two minutes (-want +got):\n%s", diff)
			}
			w.side[0] = 0
			w.live(time.Second)
			if diff := cmp.Diff(tt.after, w.all()); diff != "" {
				t.Errorf("healed (-want +got):\n%s", diff)
			}
		})
	}
}

// A node without a vote hears of the other holder from the voters alone.
func TestANodeWithoutAVoteHearsWhoHasWhatItKeeps(t *testing.T) {
	w := divide(t, quorum.Of(1, 2), soft(true, 0, 1, 2))
	w.side[0] = 1
	w.live(3 * time.Second)
	if diff := cmp.Diff([3]string{"kept", "held", ""}, w.all()); diff != "" {
		t.Errorf("apart (-want +got):\n%s", diff)
	}
	w.side[0] = 0
	w.live(time.Second)
	if diff := cmp.Diff([3]string{"", "held", ""}, w.all()); diff != "" {
		t.Errorf("healed (-want +got):\n%s", diff)
	}
}

// One that votes and is not to claim it hears of it as a voter.
func TestAVoterThatClaimsNothingHearsWhoHasWhatItKeeps(t *testing.T) {
	w := newDivided(t, soft(true, 0, 1, 2))
	w.side[0] = 1
	w.live(3 * time.Second)
	w.duty(0, soft(true))
	w.side[0] = 0
	w.live(time.Second)
	if diff := cmp.Diff([3]string{"", "held", ""}, w.all()); diff != "" {
		t.Errorf("healed (-want +got):\n%s", diff)
	}
}

func TestWhatIsKeptHasNoGapBetweenTwoLeases(t *testing.T) {
	for _, order := range [][]uint8{{0}, {1, 0}} { // the second: whoever is before it in the list
		w := newDivided(t, soft(true, 0))
		w.duty(0, soft(true, order...))
		was := w.nodes[0].Holds(w.now, nil)[0].Number
		w.each = func() {
			if w.is(0) == "" {
				t.Fatalf("at %s nothing is shown", w.now)
			}
		}
		w.side[0] = 1
		w.live(5 * time.Second)
		if got := w.nodes[0].Holds(w.now, nil)[0].Number; got != was || w.is(0) != "kept" {
			t.Errorf("%s under number %d, before it was %d", w.is(0), got, was)
		}
		w.side[0] = 0
		w.live(2 * time.Second)
		if got := w.nodes[0].Holds(w.now, nil)[0].Number; got <= was || w.is(0) != "held" {
			t.Errorf("order %v: %s under number %d, before it was %d", order, w.is(0), got, was)
		}
	}
}

func TestWhatIsKeptEndsWhen(t *testing.T) {
	tests := []struct {
		name string
		then func(w *divided)
		in   time.Duration // at the latest
		not  time.Duration // and not before
	}{
		{"the agent gives it back", func(w *divided) { w.nodes[0].Release(w.now, 7, w.nodes[0].Holds(w.now, nil)[0].Number) }, 0, 0},
		{"it is sought no more", func(w *divided) { w.duty(0) }, 50 * time.Millisecond, 0},
		{"it has become exclusive", func(w *divided) { w.duty(0, exclusive(true, 0)) }, 50 * time.Millisecond, 0},
		{"it is to be stopped without a quorum", func(w *divided) { w.duty(0, soft(false, 0)) }, 50 * time.Millisecond, 0},
		{"the node is in touch, and not to claim it", func(w *divided) {
			w.duty(0, soft(true, 1))
			w.side[0] = 0
		}, lease.KeepPatience + time.Second, lease.KeepPatience - time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newDivided(t, soft(true, 0))
			w.side[0] = 1
			w.live(3 * time.Second)
			if w.is(0) != "kept" {
				t.Fatalf("it is %q", w.is(0))
			}
			tt.then(w)
			from, ended := w.now, Boot(-1)
			w.each = func() {
				if ended < 0 && w.is(0) == "" {
					ended = w.now - from
				}
			}
			w.live(tt.in + 10*time.Millisecond)
			if ended < 0 || ended < tt.not {
				t.Errorf("it ended after %s, not within %s to %s", ended, tt.not, tt.in)
			}
		})
	}
}

// What is kept, and the claim of it, survive the exchange of a guard.
func TestWhatIsKeptIsHandedOver(t *testing.T) {
	w := newDivided(t, soft(true, 0))
	w.side[0] = 1
	w.live(3 * time.Second)
	w.nodes[0] = reborn(t, w.nodes[0])
	if w.is(0) != "kept" {
		t.Fatalf("after the exchange it is %q", w.is(0))
	}
	w.side[0] = 0
	w.live(2 * time.Second)
	if w.is(0) != "held" {
		t.Errorf("it is %q", w.is(0))
	}
}

func TestWhatHappensToWhatIsKeptIsNoted(t *testing.T) {
	w := newDivided(t, soft(true, 0, 1, 2))
	w.notes[0] = nil
	w.side[0] = 1
	w.live(3 * time.Second)
	w.side[0] = 0
	w.live(2 * time.Second)
	if diff := cmp.Diff([]lease.NoteKind{lease.Ended, lease.Kept, lease.Unkept}, w.notes[0]); diff != "" {
		t.Error(diff)
	}
}
