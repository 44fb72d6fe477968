package detect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/core/quorum"
)

func TestKernelThatAnswersBuysTimeAndNoMore(t *testing.T) {
	r := newRoom()
	r.heard[1], r.suspect[2] = false, quorum.Of(1)
	began := r.now
	for r.d.Suspect() == 0 && r.now < began+2*time.Second {
		if r.d.Probe(r.now).Has(1) {
			r.d.Answered(r.now, 1)
		}
		r.pass(every)
	}
	if took := r.now - began; took < StallLimit || took > StallLimit+3*every {
		t.Errorf("a node whose kernel answers was suspect after %s, the limit is %s", took, StallLimit)
	}
}

func TestRefusalBeatsAnAnswer(t *testing.T) {
	r := newRoom()
	r.heard[1] = false
	r.d.Answered(r.now, 1)
	r.d.Refused(1)
	r.pass(every)
	if !r.d.Suspect().Has(1) {
		t.Error("a node whose guard is gone is not suspect because its kernel answers")
	}
}

func TestOldAnswerBuysNothing(t *testing.T) {
	r := newRoom()
	r.d.Answered(r.now, 1)
	r.heard[1] = false
	r.pass(Floor + AnswerLife)
	if !r.d.Suspect().Has(1) {
		t.Error("not suspect long after the last answer")
	}
}

func TestQuietComesBeforeAnyVerdict(t *testing.T) {
	r := newRoom()
	r.heard[1] = false
	r.pass(250 * time.Millisecond)
	r.heard[1] = true
	r.pass(time.Second) // the timeout has learned
	r.heard[1] = false
	r.pass(Floor + 2*every)
	if !r.d.Quiet(r.now).Has(1) || r.d.Suspect() != 0 {
		t.Errorf("quiet %b, suspect %b", r.d.Quiet(r.now), r.d.Suspect())
	}
}

func TestALongStallOfItsOwnIsToldButNotWaitedFor(t *testing.T) {
	r := newRoom()
	r.now += 5 * time.Second
	r.d.Tick(r.now)
	if r.d.Stall() < 4*time.Second || r.d.Late() != 0 {
		t.Errorf("stall %s, late %s", r.d.Stall(), r.d.Late())
	}
}

// TestMatrixCutsTheSmallestSet gives the detector of node 0 of a cell of voters
// a whole matrix: line i, column j says whether i hears j.
func TestMatrixCutsTheSmallestSet(t *testing.T) {
	tests := []struct {
		name, matrix, want string
	}{
		{"whole", "111 111 111", ""},
		{"a link between two that both keep a majority", "101 011 111", ""},
		{"a node that nobody hears", "110 110 111", "2"},
		{"a node that hears nobody", "111 111 001", "2"},
		{"a link of one direction", "111 111 101", ""},
		{"five voters, two behind a broken link", "11100 11100 11100 00011 00011", "34"},
		{"a bridge cannot hold on to what only it hears", "11100 11100 11110 00111 00011", "34"},
		{"five voters in a ring keep going", "11001 11100 01110 00111 10011", ""},
		{"this node alone on its side judges nobody", "100 011 011", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lines := strings.Fields(test.matrix)
			rows := make([]quorum.Set, len(lines))
			for i, line := range lines {
				for j, c := range line {
					if c == '1' {
						rows[i] |= 1 << j
					}
				}
			}
			d, all := New(0), quorum.Set(1)<<len(rows)-1
			d.Configure(time.Second, all, quorum.Config{Version: 1, Voters: all}, every)
			now := time.Second
			tell := func(span time.Duration, rows []quorum.Set) {
				for end := now + span; now < end; {
					now += every
					for slot := uint8(1); int(slot) < len(rows); slot++ {
						if rows[0].Has(slot) {
							d.Heard(now, slot, 5, Beat{Seq: uint64(now / every), Sent: now, Heard: rows[slot]})
						}
					}
					d.Tick(now)
				}
			}
			whole := make([]quorum.Set, len(rows))
			for i := range whole {
				whole[i] = all
			}
			tell(3*time.Second, whole)
			if d.Suspect() != 0 {
				t.Fatalf("suspect %b before anything happened", d.Suspect())
			}
			tell(Cap, rows)
			got := ""
			for slot := uint8(0); int(slot) < len(rows); slot++ {
				if d.cutOff(now).Has(slot) {
					got += fmt.Sprint(slot)
				}
			}
			if got != test.want {
				t.Errorf("cut %q, want %q", got, test.want)
			}
		})
	}
}

// TestClockOfAnotherRateIsFound lets three detectors with clocks of their own
// hear each other.
func TestClockOfAnotherRateIsFound(t *testing.T) {
	tests := []struct {
		name  string
		rates [3]float64
		want  quorum.Set
	}{
		{"three good clocks", [3]float64{1, 1.004, 0.996}, 0},
		{"one runs 5 % fast", [3]float64{1, 1.05, 1}, 2},
		{"one runs 5 % slow", [3]float64{1, 1, 0.95}, 4},
		{"this node's own runs fast", [3]float64{1.05, 1, 1}, 1},
		{"all run apart", [3]float64{1, 1.05, 0.95}, 7},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var ds [3]*Detector
			var next [3]Boot
			local := func(i int, at time.Duration) Boot {
				return time.Hour*time.Duration(i+1) + time.Duration(float64(at)*test.rates[i])
			}
			for i := range ds {
				ds[i] = New(uint8(i))
				ds[i].Configure(local(i, 0), 7, quorum.Config{Version: 1, Voters: 7}, every)
				next[i] = local(i, 0)
			}
			seen := quorum.Set(0)
			for at := time.Duration(0); at < 4*time.Minute; at += time.Millisecond {
				for i := range ds {
					if now := local(i, at); now >= next[i] {
						next[i] += every
						ds[i].Tick(now)
						b := ds[i].Beat(now)
						for j := range ds {
							if j != i {
								ds[j].Heard(local(j, at), uint8(i), 5, b)
							}
						}
					}
				}
				if at < time.Minute {
					continue
				}
				seen |= ds[0].Skewed()
			}
			if got := ds[0].Skewed(); got != test.want || seen&^test.want != 0 {
				t.Errorf("skewed %b, at times %b, want %b", got, seen, test.want)
			}
		})
	}
}
