package guardwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keelson/keelson/internal/model/record"
)

func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestEveryMessageIsOne(t *testing.T) {
	typ := reflect.TypeFor[Message]()
	for i := range typ.NumField() {
		var m Message
		reflect.ValueOf(&m).Elem().Field(i).Set(reflect.New(typ.Field(i).Type.Elem()))
		if n := m.fields(); n != 1 {
			t.Errorf("a message with %s counts as %d messages", typ.Field(i).Name, n)
		}
	}
}

func TestFrameRoundTrip(t *testing.T) {
	messages := []Message{
		{Beat: &Beat{}},
		{Release: &Release{Service: "shop", Epoch: 7}},
		{Quit: &Quit{}},
		{Upgrade: &Upgrade{Path: "/usr/bin/keelson", Args: []string{"guard", "--run", "/run/keelson"}, Build: "v2"}},
		{Duty: &Duty{
			Protocol: Version, Cell: "c1", Node: "a", Slot: 3, Listen: []string{"10.0.0.1:7481"},
			Peers: []Peer{{Slot: 4, Name: "b", Addresses: []string{"10.0.0.2:7481"}}},
			Keys:  []record.LinkKey{{ID: 1, Key: []byte{1, 2, 3}}},
			Lease: Lease{Version: 2, Voters: 7, Floor: 1000, Ceiling: 2000, LongestTTL: time.Second},
			Seeks: []Seek{{Service: "shop", ID: 9, TTL: time.Second, Exclusive: true, Order: []uint8{3, 4}}},
		}},
		{State: &State{
			Protocol: Version, Guard: 42, Now: Boot(time.Hour), Build: "v1", Holders: map[uint32]uint8{9: 3},
			Holds: []Hold{{Service: "shop", Epoch: 7, Until: Boot(time.Minute)}},
		}},
		{Happened: &Happened{Kind: "lease-won", At: 5, Service: "shop", Text: "won"}},
	}

	var stream bytes.Buffer
	for _, m := range messages {
		if err := WriteFrame(&stream, m); err != nil {
			t.Fatal(err)
		}
	}
	r := iotest.OneByteReader(&stream)
	for _, want := range messages {
		got, err := ReadFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("message changed on the way (-want +got):\n%s", diff)
		}
	}
	if _, err := ReadFrame(r); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
}

func TestReadFrameRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"a length cut short", []byte{0, 0}, io.ErrUnexpectedEOF},
		{"a length without a body", []byte{0, 0, 0, 9}, io.ErrUnexpectedEOF},
		{"a body cut short", frame(`{"beat":{}}`)[:8], io.ErrUnexpectedEOF},
		{"an empty frame", []byte{0, 0, 0, 0}, ErrFrameLength},
		{"a frame one byte too long", binary.BigEndian.AppendUint32(nil, MaxFrame+1), ErrFrameLength},
		{"a body that is not JSON", frame(`{"beat":`), ErrMessage},
		{"a body of another shape", frame(`[1]`), ErrMessage},
		{"no message", frame(`{}`), ErrMessage},
		{"a message of the future", frame(`{"poem":{}}`), ErrMessage},
		{"two messages", frame(`{"beat":{},"quit":{}}`), ErrMessage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ReadFrame(bytes.NewReader(tt.in)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReadFrameGoesOnAfterAnUnknownMessage(t *testing.T) {
	r := bytes.NewReader(append(frame(`{"poem":{}}`), frame(`{"beat":{}}`)...))
	if _, err := ReadFrame(r); !errors.Is(err, ErrMessage) {
		t.Fatalf("got %v, want ErrMessage", err)
	}
	if m, err := ReadFrame(r); err != nil || m.Beat == nil {
		t.Errorf("got %+v, %v; want a beat", m, err)
	}
}

func TestWriteFrameRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   Message
		want error
	}{
		{"no message", Message{}, ErrMessage},
		{"two messages", Message{Beat: &Beat{}, Quit: &Quit{}}, ErrMessage},
		{"a message over the limit", Message{Happened: &Happened{Text: strings.Repeat("x", MaxFrame)}}, ErrFrameLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := WriteFrame(&out, tt.in); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if out.Len() != 0 {
				t.Errorf("wrote %d bytes, want none", out.Len())
			}
		})
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(frame(`{"beat":{}}`))
	f.Add(frame(`{"state":{"guard":1,"now":5,"holders":{"1":2}}}`))
	f.Add([]byte{0, 0x3f, 0xff, 0xff, '{'})
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ReadFrame(bytes.NewReader(in))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteFrame(&out, m); err != nil {
			if errors.Is(err, ErrFrameLength) {
				return // escapes can make the text longer than it came
			}
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := ReadFrame(&out)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		// Empty lists are left out when written, so the second text is compared
		// with the third and not with the first.
		var second, third bytes.Buffer
		if err := WriteFrame(&second, again); err != nil {
			t.Fatal(err)
		}
		last, err := ReadFrame(bytes.NewReader(second.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteFrame(&third, last); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(second.Bytes(), third.Bytes()) {
			t.Fatalf("the text changed from %q to %q", second.Bytes(), third.Bytes())
		}
	})
}
