package lease

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/core/quorum"
)

// notKept are the fields that a State leaves out, and why it may. A field that
// is new has to be kept, or to be named here.
var notKept = map[string]string{
	"Node.out":   "messages are taken out before",
	"Node.sent":  "room that is used again",
	"Node.noted": "room that is used again",
}

// fill gives every field in v a value that is not its zero.
func fill(v reflect.Value, count *uint64) {
	*count++
	if !v.CanSet() && v.CanAddr() {
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), count)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), count)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), count)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(1 + *count%2)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(*count)
	case reflect.Int:
		v.SetInt(1 + int64(*count%2))
	case reflect.Int64:
		v.SetInt(int64(*count))
	default:
		panic("a field of kind " + v.Kind().String() + ": teach this test to fill it")
	}
}

// kept compares two nodes but for what is not kept.
func kept() cmp.Options {
	return cmp.Options{
		cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.FilterPath(func(p cmp.Path) bool {
			f, ok := p.Last().(cmp.StructField)
			return ok && notKept[p.Index(-2).Type().Name()+"."+f.Name()] != ""
		}, cmp.Ignore()),
	}
}

// filled is a node of which every field has a value.
func filled() *Node {
	n := New(3, 7)
	count := uint64(0)
	fill(reflect.ValueOf(n).Elem(), &count)
	n.self, n.inc, n.holder.set = 3, 7, 1<<40
	n.voter.queued = 0
	for i := range n.voter.records {
		n.voter.queued += len(n.voter.records[i].queue)
	}
	return n
}

// carried is s after it went to another process.
func carried(t *testing.T, s State) State {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out State
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStateKeepsEveryField(t *testing.T) {
	for name, n := range map[string]*Node{"a node full of everything": filled(), "a node that knows nothing": New(3, 7)} {
		t.Run(name, func(t *testing.T) {
			other := New(3, 7)
			if err := other.Restore(carried(t, n.State())); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(n, other, kept()); diff != "" {
				t.Errorf("a field is lost: keep it in State, or say in notKept why it may be lost (-was +is):\n%s", diff)
			}
		})
	}
}

func TestStateSharesNothingWithItsNode(t *testing.T) {
	n := filled()
	s := n.State()
	before := carried(t, s)
	other := New(3, 7)
	if err := other.Restore(s); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Node{n, other} {
		x.voter.records[0].queue[0].number++
		x.voter.holders[0].parts[0][0].Number++
		x.voter.holders[0].refused[0]++
		x.voter.holders[0].entries[0].Number++
		x.holder.acks[0].refused[0]++
		x.holder.entries[0].Number++
	}
	if diff := cmp.Diff(before, s); diff != "" {
		t.Errorf("a change of the node changed its state: %s", diff)
	}
}

func TestStateThatIsNoneIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*State)
	}{
		{"of another slot", func(s *State) { s.Self = 4 }},
		{"of another incarnation", func(s *State) { s.Inc++ }},
		{"votes out of order", func(s *State) { s.Voter.Records[1].ID = s.Voter.Records[0].ID }},
		{"a vote for a slot that cannot be", func(s *State) { s.Voter.Records[0].By.Slot = 32 }},
		{"a vote for an incarnation of nobody", func(s *State) { s.Voter.Records[0].By.Slot = NoSlot }},
		{"a promise to a slot that cannot be", func(s *State) { s.Voter.Records[0].PromisedTo.Slot = 200 }},
		{"a claim that waits from a slot that cannot be", func(s *State) { s.Voter.Records[0].Queue[0].From.Slot = 32 }},
		{"a vote for longer than any lease", func(s *State) { s.Voter.Records[0].TTL = MaxTTL + 1 }},
		{"a set of a slot that cannot be", func(s *State) { s.Voter.Holders[31].Slot = 32 }},
		{"a set with a lease that ended before it began", func(s *State) { s.Voter.Holders[0].Entries[0].TTL = -1 }},
		{"leases out of order", func(s *State) { s.Holder.Entries[0].ID = 1 << 30 }},
		{"a lease of a set that is to come", func(s *State) { s.Holder.Entries[0].Since = s.Holder.Set + 1 }},
		{"an answer with services out of order", func(s *State) { s.Holder.Acks[0].Refused[0] = 1 << 31 }},
		{"a claim in a phase that is none", func(s *State) { s.Claimant.Claims[0].Phase = 3 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := filled().State()
			tt.spoil(&s)
			n, untouched := New(3, 7), New(3, 7)
			if err := n.Restore(s); !errors.Is(err, ErrState) {
				t.Errorf("the answer is %v", err)
			}
			if diff := cmp.Diff(untouched, n, kept()); diff != "" {
				t.Errorf("the node was changed: %s", diff)
			}
		})
	}
}

// FuzzRestore looks for a state that is taken although it breaks the node.
func FuzzRestore(f *testing.F) {
	data, err := json.Marshal(filled().State())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"Self":3,"Inc":7,"Voter":{"Records":[{"ID":1,"By":{"Slot":255}}]}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var s State
		n := New(3, 7)
		if json.Unmarshal(data, &s) != nil || n.Restore(s) != nil {
			return
		}
		const now = time.Hour
		n.Configure(quorum.Config{Version: 1 << 60, Voters: 15})
		n.Tick(now)
		n.Beat(now)
		for slot := range uint8(4) {
			for _, m := range []Message{
				{Kind: KindBeat, Version: 1 << 61, Sent: 1, Set: 1},
				{Kind: KindSet, Version: 1 << 61, Set: 1 << 60, Parts: 1, Entries: []Entry{{ID: 1, Number: 1 << 50, TTL: time.Second}}},
				{Kind: KindPrepare, Version: 1 << 61, ID: 1, Number: 1 << 51},
				{Kind: KindRelease, Version: 1 << 61, ID: 1, Number: 1 << 50},
				{Kind: KindAck, Version: 1 << 61, Inc: 7, Sent: 1, Set: 1},
			} {
				n.Receive(now, slot, 1<<40, &m)
			}
		}
		n.EachKnown(now, func(ID, uint8) {})
		n.Holds(now, nil)
		n.Next()
	})
}
