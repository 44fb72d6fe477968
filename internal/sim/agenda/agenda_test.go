package agenda

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestQueueKeepsTheOrderOfTime(t *testing.T) {
	d := rand.New(rand.NewPCG(5, 5))
	var q Queue
	var last Event
	said := []int{}
	for i := range 2000 {
		switch {
		case !q.Empty() && d.IntN(3) == 0:
			if e := q.Pop(); e.What >= 0 {
				q.Free(e.What)
			} else {
				q.Called(e.What)()
			}
		case i%7 == 0:
			q.Call(time.Duration(d.IntN(50)), func() { said = append(said, i) })
		default:
			q.Post(time.Duration(d.IntN(50)), 1, 2, 3, []byte{byte(i)})
		}
	}
	for !q.Empty() {
		e := q.Pop()
		if e.Before(last) {
			t.Fatalf("%v came after %v", e, last)
		}
		last = e
		if e.What < 0 {
			q.Called(e.What)()
		} else if p := q.Packet(e.What); p.From != 1 || p.To != 2 || len(p.Data) != 1 {
			t.Fatalf("a packet changed on the way: %+v", p)
		}
	}
	if len(said) < 100 {
		t.Errorf("only %d calls were made", len(said))
	}
}
