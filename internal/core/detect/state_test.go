package detect

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// notKept are the fields that a State leaves out, and why it may. A field that
// is new has to be kept, or to be named here.
var notKept = map[string]string{
	"Detector.outside": "the next tick finds it anew, and no heartbeat goes out before",
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
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1 + *count%200)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1 + int64(*count%100))
	case reflect.Float64:
		v.SetFloat(1 / float64(*count))
	default:
		panic("a field of kind " + v.Kind().String() + ": teach this test to fill it")
	}
}

// kept compares two detectors but for what is not kept.
func kept() cmp.Options {
	return cmp.Options{
		cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.FilterPath(func(p cmp.Path) bool {
			f, ok := p.Last().(cmp.StructField)
			return ok && notKept[p.Index(-2).Type().Name()+"."+f.Name()] != ""
		}, cmp.Ignore()),
	}
}

func filled() *Detector {
	d := New(3)
	count := uint64(0)
	fill(reflect.ValueOf(d).Elem(), &count)
	d.self = 3
	return d
}

func TestStateKeepsEveryField(t *testing.T) {
	for name, d := range map[string]*Detector{"a detector full of everything": filled(), "a detector that knows nothing": New(3)} {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(d.State())
			if err != nil {
				t.Fatal(err)
			}
			var s State
			if err := json.Unmarshal(data, &s); err != nil {
				t.Fatal(err)
			}
			other := New(3)
			if err := other.Restore(s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, other, kept()); diff != "" {
				t.Errorf("a field is lost: keep it in State, or say in notKept why it may be lost (-was +is):\n%s", diff)
			}
		})
	}
}

func TestStateThatIsNoneIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*State)
	}{
		{"of another slot", func(s *State) { s.Self = 4 }},
		{"heartbeats without a pause", func(s *State) { s.Interval = 0 }},
		{"heartbeats too far apart", func(s *State) { s.Interval = Cap + 1 }},
		{"a slot that cannot be", func(s *State) { s.Peers[31].Slot = 32 }},
		{"slots out of order", func(s *State) { s.Peers[1].Slot = 0 }},
		{"more heartbeats than were sent", func(s *State) { s.Peers[0].Got = 1.5 }},
		{"a share that is no number", func(s *State) { s.Peers[0].Got = math.NaN() }},
		{"a lateness of days", func(s *State) { s.Peers[0].Beat.Late = 24 * time.Hour }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := filled().State()
			tt.spoil(&s)
			d := New(3)
			if err := d.Restore(s); !errors.Is(err, ErrState) {
				t.Errorf("the answer is %v", err)
			}
			if diff := cmp.Diff(New(3), d, kept()); diff != "" {
				t.Errorf("the detector was changed: %s", diff)
			}
		})
	}
}
