package plane

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

// trio is a cell of three whose packets the test carries.
type trio struct {
	t     *testing.T
	nodes [3]*Node
	now   Boot
	// lost says whether a packet between two nodes is lost.
	lost func(from, to uint8) bool
	// patient nodes read what arrived only before a tick, while they are calm.
	waiting [3][][]byte
	senders [3][]uint8
	packets int
}

func newTrio(t *testing.T, change func(*Duty)) *trio {
	tr := &trio{t: t, lost: func(uint8, uint8) bool { return false }}
	duty := Duty{
		Members: 7, Config: quorum.Config{Version: 1, Voters: 7}, Floor: 10, Ceiling: 10_000, Longest: time.Second,
		Seeks: []Seek{{ID: 1, TTL: 300 * time.Millisecond, Order: []uint8{0, 1, 2}, Claim: true}},
	}
	if change != nil {
		change(&duty)
	}
	for i := range tr.nodes {
		tr.nodes[i] = New(uint8(i), 1)
		tr.nodes[i].SetDuty(0, duty)
	}
	tr.live(6 * time.Second)
	return tr
}

// live lets d go by; nodes that are calm read at their ticks only, as the guard
// does it.
func (tr *trio) live(d time.Duration) {
	tr.t.Helper()
	for end := tr.now + d; tr.now < end; tr.now += time.Millisecond {
		for i, n := range tr.nodes {
			if n == nil {
				continue
			}
			due := n.Next() <= tr.now
			if due || !n.Calm(tr.now) {
				for j, data := range tr.waiting[i] {
					if err := n.Receive(tr.now, tr.senders[i][j], 1, data); err != nil {
						tr.t.Fatal(err)
					}
				}
				tr.waiting[i], tr.senders[i] = nil, nil
			}
			if due {
				n.Tick(tr.now)
			}
			for _, p := range n.Packets() {
				tr.packets++
				if to := p.To; tr.nodes[to] != nil && !tr.lost(uint8(i), to) {
					tr.waiting[to] = append(tr.waiting[to], append([]byte(nil), p.Data...))
					tr.senders[to] = append(tr.senders[to], uint8(i))
				}
			}
		}
	}
}

func (tr *trio) holder() int {
	for i, n := range tr.nodes {
		if n != nil && len(n.Holds(tr.now, nil)) > 0 {
			return i
		}
	}
	return -1
}

func TestCalmCellSendsHeartbeatsOnly(t *testing.T) {
	tr := newTrio(t, nil)
	for i, n := range tr.nodes {
		if !n.Calm(tr.now) {
			t.Errorf("node %d is not calm", i)
		}
	}
	before := tr.packets
	tr.live(time.Second)
	if got, want := tr.packets-before, 3*2*int(time.Second/Interval(3)); got > want+6 {
		t.Errorf("%d packets in a second, heartbeats are %d", got, want)
	}
	if tr.holder() != 0 {
		t.Errorf("held by %d", tr.holder())
	}
}

func TestLeaseOfADeadHolderIsTakenAtItsEnd(t *testing.T) {
	tr := newTrio(t, nil)
	tr.nodes[0] = nil
	died := tr.now
	for tr.holder() < 0 && tr.now < died+5*time.Second {
		tr.live(time.Millisecond)
	}
	// The voters heard of it one interval before its death at the earliest.
	if took := tr.now - died; tr.holder() != 1 || took > 310*time.Millisecond {
		t.Errorf("node %d took over after %s, the lease is 300ms", tr.holder(), took)
	}
}

func TestWhatWasLearnedDoesNotDelayATakeover(t *testing.T) {
	tr := newTrio(t, nil)
	silent := false
	tr.lost = func(from, _ uint8) bool { return silent && from == 0 }
	silent = true
	tr.live(240 * time.Millisecond) // a gap that teaches the others patience
	silent = false
	tr.live(3 * time.Second)
	tr.nodes[0] = nil
	died := tr.now
	for tr.holder() < 0 && tr.now < died+5*time.Second {
		tr.live(time.Millisecond)
	}
	if took := tr.now - died; took > 310*time.Millisecond {
		t.Errorf("taken over after %s", took)
	}
}

func TestALeaseSurvivesAFifthOfAllPacketsLost(t *testing.T) {
	tr := newTrio(t, nil)
	seed := uint32(1)
	tr.lost = func(uint8, uint8) bool {
		seed = seed*1664525 + 1013904223
		return seed>>16%5 == 0
	}
	for range 1800 {
		tr.live(100 * time.Millisecond)
		if got := tr.holder(); got != 0 {
			t.Fatalf("held by %d after %s", got, tr.now)
		}
	}
	if highest := tr.nodes[0].View(tr.now).Highest; highest > 20 {
		t.Errorf("ballot %d: the lease was lost and won again", highest)
	}
}

func TestQuietHolderIsNotDeposed(t *testing.T) {
	tr := newTrio(t, nil)
	// The successor does not hear the holder; the voters do.
	tr.lost = func(from, to uint8) bool { return from == 0 && to == 1 || from == 1 && to == 0 }
	tr.live(20 * time.Second)
	if tr.holder() != 0 {
		t.Errorf("held by %d although the holder reaches a majority", tr.holder())
	}
	if lost := tr.nodes[1].View(tr.now).Lost; lost != 0 {
		t.Errorf("lost %b by one observer", lost)
	}
}

func TestSoftLeaseIsTakenAtTheVerdict(t *testing.T) {
	tr := newTrio(t, func(d *Duty) { d.Seeks[0].Soft, d.Seeks[0].TTL = true, time.Second })
	tr.nodes[0] = nil
	died := tr.now
	for tr.holder() < 0 && tr.now < died+5*time.Second {
		tr.live(time.Millisecond)
	}
	if took := tr.now - died; took < 100*time.Millisecond || took > 300*time.Millisecond {
		t.Errorf("taken over after %s; the lease is 1s, the shortest timeout 150ms", took)
	}
}

func TestANodeThatCannotStartAnythingIsNotWaitedFor(t *testing.T) {
	tr := newTrio(t, nil)
	n := tr.nodes[0]
	held := n.Holds(tr.now, nil)
	n.SetIdle(tr.now, true)
	n.Release(tr.now, held[0].ID, held[0].Number)
	tr.live(100 * time.Millisecond)
	if tr.holder() != 1 {
		t.Errorf("held by %d a moment after the first of the list gave up", tr.holder())
	}
	tr.live(3 * time.Second)
	if tr.holder() != 1 {
		t.Errorf("held by %d", tr.holder())
	}
}

// A holder that still spoke, and heard nobody, had its lease renewed at the voters
// until it ended at the holder: the service was away for twice its length.
func TestALeaseOfAHolderThatHearsNobodyIsTakenAtItsEnd(t *testing.T) {
	tr := newTrio(t, func(d *Duty) { d.Seeks[0].TTL = 900 * time.Millisecond })
	tr.lost = func(_, to uint8) bool { return to == 0 }
	deaf := tr.now
	for tr.now < deaf+5*time.Second && len(tr.nodes[1].Holds(tr.now, nil)) == 0 {
		tr.live(time.Millisecond)
	}
	// It finds out after the shortest timeout and two heartbeats.
	if took := tr.now - deaf; took > 1200*time.Millisecond {
		t.Errorf("taken over after %s, the lease is 900ms", took)
	}
}
