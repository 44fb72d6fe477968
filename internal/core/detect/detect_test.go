package detect

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/quorum"
)

const every = 25 * time.Millisecond

// room is a detector of node 0 among three voters, with a test that speaks for
// the other two.
type room struct {
	d   *Detector
	now Boot
	seq uint64
	// What the others say, and whether they say anything.
	heard   map[uint8]bool
	suspect map[uint8]quorum.Set
}

func newRoom() *room {
	r := &room{d: New(0), now: time.Second, heard: map[uint8]bool{1: true, 2: true}, suspect: map[uint8]quorum.Set{}}
	r.d.Configure(r.now, 7, quorum.Config{Version: 1, Voters: 7}, every)
	r.pass(3 * time.Second)
	return r
}

// pass lets d go by, tick by tick.
func (r *room) pass(d time.Duration) {
	for end := r.now + d; r.now < end; {
		r.now += every
		r.seq++
		for slot := uint8(1); slot < 3; slot++ {
			if r.heard[slot] {
				r.d.Heard(r.now, slot, 5, Beat{Seq: r.seq, Sent: r.now, Heard: 7, Suspect: r.suspect[slot]})
			}
		}
		r.d.Tick(r.now)
	}
}

func TestOneObserverAloneDeclaresNobodyLost(t *testing.T) {
	r := newRoom()
	r.heard[1] = false
	r.pass(2 * time.Second)
	if !r.d.Suspect().Has(1) || r.d.Lost() != 0 {
		t.Errorf("suspect %b, lost %b", r.d.Suspect(), r.d.Lost())
	}
}

func TestMajorityDeclaresLostWithinTheTimeout(t *testing.T) {
	r := newRoom()
	r.heard[1], r.suspect[2] = false, quorum.Of(1)
	began := r.now
	for !r.d.Lost().Has(1) && r.now < began+2*time.Second {
		r.pass(every)
	}
	if took := r.now - began; took < Floor || took > Floor+3*every {
		t.Errorf("declared lost after %s, the floor is %s", took, Floor)
	}
	r.heard[1] = true
	r.pass(every)
	if r.d.Lost() != 0 || r.d.Alive() != 7 {
		t.Errorf("lost %b, alive %b after it was heard again", r.d.Lost(), r.d.Alive())
	}
}

func TestWhatIsHeardIsNotLostWhateverTheOthersSay(t *testing.T) {
	r := newRoom()
	r.suspect[2] = quorum.Of(1)
	r.pass(time.Second)
	if r.d.Lost() != 0 {
		t.Errorf("lost %b", r.d.Lost())
	}
}

func TestLongGapsTeachPatience(t *testing.T) {
	r := newRoom()
	before := r.d.Timeout(1)
	r.heard[1] = false
	r.pass(120 * time.Millisecond)
	r.heard[1] = true
	r.pass(time.Second)
	after := r.d.Timeout(1)
	if before != Floor || after <= before || after > Cap {
		t.Errorf("the timeout went from %s to %s", before, after)
	}
	r.pass(3 * window)
	if got := r.d.Timeout(1); got != Floor {
		t.Errorf("the timeout is %s long after", got)
	}
}

func TestLossMakesTheTimeoutLonger(t *testing.T) {
	r := newRoom()
	for range 200 {
		r.heard[1] = false
		r.pass(every)
		r.heard[1] = true
		r.pass(every)
	}
	if got := r.d.Timeout(1); got <= Floor+2*every || got > Cap {
		t.Errorf("the timeout is %s at half of all heartbeats lost", got)
	}
}

func TestOwnLatenessBlamesNobody(t *testing.T) {
	r := newRoom()
	r.now += 600 * time.Millisecond // this host stood still; the packets are in its sockets
	r.d.Tick(r.now)
	if r.d.Suspect() != 0 {
		t.Errorf("suspect %b by a node that was itself late", r.d.Suspect())
	}
	if !r.d.Beat(r.now).Abstain {
		t.Error("a node that was very late does not abstain")
	}
	r.pass(time.Second)
	if r.d.Beat(r.now).Abstain || r.d.Late() < 500*time.Millisecond {
		t.Errorf("abstain %v, late %s", r.d.Beat(r.now).Abstain, r.d.Late())
	}
}

func TestRefusedPortIsSuspectAtOnce(t *testing.T) {
	r := newRoom()
	r.d.Refused(1)
	r.heard[1] = false
	r.pass(every)
	if !r.d.Suspect().Has(1) {
		t.Error("a node whose kernel refuses is not suspect")
	}
}

func TestQuorateNeedsTwoWayContact(t *testing.T) {
	r := newRoom()
	if !r.d.Quorate(r.now) {
		t.Fatal("not quorate at rest")
	}
	r.heard[1], r.heard[2] = false, false
	for range 40 {
		r.now += every
		r.seq++
		for slot := uint8(1); slot < 3; slot++ {
			r.d.Heard(r.now, slot, 5, Beat{Seq: r.seq, Sent: r.now, Heard: 6})
		}
		r.d.Tick(r.now)
	}
	if r.d.Quorate(r.now) {
		t.Error("quorate although nobody hears this node")
	}
}

func TestNodeThatHearsNobodyIsSuspectAlthoughItIsHeard(t *testing.T) {
	r := newRoom()
	say := func(heard quorum.Set, d time.Duration) {
		for end := r.now + d; r.now < end; {
			r.now += every
			r.seq++
			r.d.Heard(r.now, 1, 5, Beat{Seq: r.seq, Sent: r.now, Heard: heard})
			r.d.Heard(r.now, 2, 5, Beat{Seq: r.seq, Sent: r.now, Heard: 5, Suspect: r.d.Suspect()})
			r.d.Tick(r.now)
		}
	}
	say(2, Floor/2)
	if r.d.Suspect() != 0 {
		t.Error("suspect after half of the time")
	}
	say(2, Floor+every)
	if !r.d.Lost().Has(1) {
		t.Errorf("suspect %b, lost %b: a deaf node still counts as alive", r.d.Suspect(), r.d.Lost())
	}
	say(7, 2*every)
	if r.d.Lost() != 0 {
		t.Error("lost although it hears again")
	}
}

func TestBeatSurvivesTheWire(t *testing.T) {
	want := Beat{Seq: 9, Sent: time.Hour, Heard: 7, Suspect: 1 << 31, Skewed: 5, Late: 35 * time.Millisecond, Abstain: true, Idle: true}
	got, rest, err := ParseBeat(append(AppendBeat(nil, want), 1, 2))
	if err != nil || len(rest) != 2 {
		t.Fatalf("rest %v, error %v", rest, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseBeat(f *testing.F) {
	f.Add(AppendBeat(nil, Beat{Seq: 1, Sent: 2}))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := ParseBeat(data)
		if err != nil {
			return
		}
		d := newRoom().d
		d.Heard(time.Minute, 1, 6, b)
		d.Tick(time.Minute)
		if got := d.Timeout(1); got < Floor || got > Cap {
			t.Errorf("timeout %s", got)
		}
	})
}
