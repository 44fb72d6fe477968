package supervise

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keelson/keelson/internal/model/spec"
)

// stage is the world beside a copy with roles: what may run, and be primary.
type stage struct {
	runs, primary []bool
	busy          Operation
}

// TestNothingIsPrimaryWithoutTheRight drives step with arbitrary news of a copy
// with roles. Nothing becomes primary without a valid right, the right is not given
// back while anything may be primary, and what is primary without it is stopped by
// force. There are two leases of two primaries: only the one in use counts, and one
// that is held beside it is given back without harm.
func TestNothingIsPrimaryWithoutTheRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Input{Now: time.Unix(1_000_000, 0), Boot: time.Hour}
		in.Wish = Wish{Service: database(), Placed: 1, Copy: true, Right: Right{Rank: 0}}
		in.Right = Hold{Known: true, Guard: 1}
		st, world := New(), &stage{runs: make([]bool, 3), primary: make([]bool, 3)}
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			world.news(t, &in)
			in.Hold = Hold{
				Known: true, Own: true, Guard: 1, Epoch: st.NextOwn(), Until: in.Boot + time.Hour,
				Held: st.Epoch != 0 || in.Wish.Rank >= 0,
			}
			if st.Right.Epoch == 0 && !st.MayBePrimary() {
				in.Right.Lease = rapid.IntRange(0, 1).Draw(t, "lease")
			} else if in.Right.Lease != st.Right.Lease {
				in.Right = Hold{Known: true, Guard: in.Right.Guard, Lease: st.Right.Lease}
			}
			in.Spare = Hold{}
			if rapid.IntRange(0, 3).Draw(t, "spare") == 0 {
				in.Spare = in.Right
				in.Spare.Lease, in.Spare.Held, in.Spare.Epoch = 1-in.Right.Lease, true, rapid.Uint64Range(1, 5).Draw(t, "spare epoch")
			}
			next, d := Step(st, in)
			world.judge(t, next, in, d)
			st, in.Done, in.Died = next, nil, nil
		}
	})
}

func (w *stage) news(t *rapid.T, in *Input) {
	passed := time.Duration(rapid.SampledFrom([]int{0, 1, 30, 200, 1500, 40_000}).Draw(t, "ms")) * time.Millisecond
	in.Now, in.Boot = in.Now.Add(passed), in.Boot+passed
	switch rapid.IntRange(0, 9).Draw(t, "news") {
	case 0, 1, 2:
		in.Right = Hold{Known: true, Lease: in.Right.Lease, Guard: rapid.Uint64Range(1, 2).Draw(t, "guard")}
		if rapid.IntRange(0, 4).Draw(t, "held") > 0 {
			in.Right.Held, in.Right.Epoch = true, rapid.Uint64Range(1, 5).Draw(t, "epoch")
			in.Right.Until = in.Boot + time.Duration(rapid.IntRange(-50, 60_000).Draw(t, "left"))*time.Millisecond
		}
	case 3:
		in.Wish.Placed++
		in.Wish.Rank = rapid.IntRange(-1, 0).Draw(t, "copy")
		in.Wish.Empty = in.Wish.Rank < 0
		in.Wish.Right = Right{Rank: rapid.IntRange(-1, 1).Draw(t, "rank"), FirstAlive: rapid.Bool().Draw(t, "first alive")}
		in.Wish.Maintenance = rapid.IntRange(0, 9).Draw(t, "maintenance") == 0
		in.Wish.Gates = Gates{}
		if rapid.IntRange(0, 3).Draw(t, "gates") == 0 {
			in.Wish.Gates = Gates{HeldRole: "app", Held: "app", HoldFor: time.Second}
		}
	case 4, 5, 6, 7, 8:
		if w.busy.Kind == None {
			return
		}
		res := &Result{}
		if rapid.IntRange(0, 3).Draw(t, "outcome") == 0 {
			res.Err, res.Refused = errTest, w.busy.Kind != Stop && rapid.Bool().Draw(t, "refused")
		}
		switch i := w.busy.Part; {
		case w.busy.Kind == Stop && res.Err == nil:
			w.runs[i], w.primary[i] = false, false
		case w.busy.Kind == Demote && res.Err == nil:
			w.primary[i] = false
		}
		w.busy, in.Done = Operation{}, res
	case 9:
		in.Died = []Death{{Part: rapid.IntRange(0, 2).Draw(t, "dies"), Ended: rapid.Bool().Draw(t, "by itself"), Why: "test"}}
	}
}

func (w *stage) judge(t *rapid.T, next State, in Input, d Decision) {
	if d.Op.Kind == Release {
		if d.Op.Right && d.Op.Lease != next.Right.Lease && (next.Right.Epoch == 0 || d.Op.Epoch != in.Spare.Epoch || next.ShedOf(d.Op.Lease) < d.Op.Epoch) {
			t.Fatalf("a lease that is not spare is given back: %+v", d.Op)
		}
		if d.Op.Right && d.Op.Lease == next.Right.Lease && slices.Contains(w.primary, true) {
			t.Fatalf("the right is given back while %v may be primary", w.primary)
		}
		if d.Op.Own && slices.Contains(w.runs, true) {
			t.Fatalf("the copy gives up while %v may run", w.runs)
		}
		return
	}
	if d.Op.Kind != None && w.busy.Kind != None {
		t.Fatalf("%+v while %+v is in flight", d.Op, w.busy)
	}
	left := in.Right.Until - in.Boot
	valid := in.Right.Known && in.Right.Held && in.Right.Guard == next.Right.Guard && in.Right.Epoch == next.Right.Epoch &&
		in.Right.Lease == next.Right.Lease
	bound := d.Op.Kind == Start && database().Spec.Parts[d.Op.Part].Role == spec.RolePrimary
	if bound || d.Op.Kind == Promote {
		if !valid || left <= startAhead || d.Op.Epoch != in.Right.Epoch {
			t.Fatalf("%+v with %v left of %+v", d.Op, left, in.Right)
		}
		w.primary[d.Op.Part] = true
	}
	if d.Op.Kind == Start {
		w.runs[d.Op.Part] = true
	}
	if d.Op.Kind != None {
		w.busy = d.Op
	}
	if slices.Contains(w.primary, true) && (!valid || left <= StopAhead) && in.Right.Known && !next.cut && !next.unsure() {
		t.Fatalf("%v may be primary without the right, and nothing is done by force: %+v", w.primary, next)
	}
	if next.cut && d.Op.Kind == Stop && !d.Op.Force {
		t.Fatalf("%+v is gentle with what has lost its right", d.Op)
	}
}
