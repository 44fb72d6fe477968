package link

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
)

// left is what an exec leaves of a socket: its state, with descriptors of the
// same ports, while the socket itself is gone.
func left(t *testing.T, s *Socket) (Options, handed) {
	t.Helper()
	state, undo, err := s.HandOver()
	must(t, err)
	t.Cleanup(undo)
	var h handed
	must(t, json.Unmarshal(state, &h))
	o := s.opts
	o.Listen = nil
	for i := range h.Ports {
		flags, err := unix.FcntlInt(uintptr(h.Ports[i].FD), unix.F_GETFD, 0)
		must(t, err)
		if flags&unix.FD_CLOEXEC != 0 {
			t.Errorf("port %s would be closed by an exec", h.Ports[i].Addr)
		}
		h.Ports[i].FD, err = unix.Dup(h.Ports[i].FD)
		must(t, err)
		o.Listen = append(o.Listen, h.Ports[i].Addr)
	}
	must(t, s.Close())
	return o, h
}

func adopt(t *testing.T, o Options, h handed) (*Socket, error) {
	t.Helper()
	state, err := json.Marshal(h)
	must(t, err)
	s, err := Adopt(o, state)
	if err == nil {
		t.Cleanup(func() { must(t, s.Close()) })
	}
	return s, err
}

func TestNextProgramGoesOnWithTheLink(t *testing.T) {
	a, b := open(t, 0, localhost, "127.0.0.2"), open(t, 1, localhost, "127.0.0.2")
	meet(t, a, b)
	must(t, a.Send(1, []byte("first")))
	wantNext(t, b, "0/100 first")
	must(t, b.Send(0, []byte("hello")))
	wantNext(t, a, "1/100 hello")
	before := a.codec.sequence

	// Nobody reads for a while; what is sent meanwhile waits at the ports.
	o, h := left(t, a)
	must(t, b.Send(0, []byte("while you were away")))
	next, err := adopt(t, o, h)
	must(t, err)
	meet(t, next, b)
	wantNext(t, next, "1/100 while you were away")
	if got := next.Addresses(); !reflect.DeepEqual(got, o.Listen) {
		t.Errorf("it listens on %v, not on %v", got, o.Listen)
	}
	must(t, next.Send(1, []byte("second")))
	wantNext(t, b, "0/100 second")
	if next.codec.sequence <= before {
		t.Errorf("number %d after %d: a number was used twice", next.codec.sequence, before)
	}
	// What the program before has taken is not taken again.
	if k := next.codec.heard[1].judge(100, 1); k != Duplicate {
		t.Errorf("a packet that was received before is %s", k)
	}
	for _, p := range h.Ports {
		flags, err := unix.FcntlInt(uintptr(p.FD), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("port %s stays open in children: %v", p.Addr, err)
		}
	}
}

func TestHandOverThatIsTakenBackChangesNothing(t *testing.T) {
	a, b := open(t, 0, localhost), open(t, 1, localhost)
	meet(t, a, b)
	_, undo, err := a.HandOver()
	must(t, err)
	undo()
	flags, err := unix.FcntlInt(uintptr(a.ports[0].fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the port stays open in children: %v", err)
	}
	must(t, a.Send(1, []byte("on")))
	wantNext(t, b, "0/100 on")
}

func TestWhatIsNoLinkIsNotGoneOnWith(t *testing.T) {
	pipe := make([]int, 2)
	must(t, unix.Pipe2(pipe, unix.O_CLOEXEC))
	other := open(t, 5, localhost)
	tests := []struct {
		name  string
		spoil func(*Options, *handed)
		want  error
	}{
		{"no ports", func(_ *Options, h *handed) { h.Ports = nil }, ErrHandedOver},
		{"another address", func(o *Options, _ *handed) { o.Listen[0] = netip.MustParseAddrPort("127.0.0.9:1") }, ErrHandedOver},
		{"a descriptor that is not open", func(_ *Options, h *handed) { h.Ports[0].FD = 999 }, ErrHandedOver},
		{"a pipe", func(_ *Options, h *handed) { h.Ports[0].FD = pipe[0] }, ErrHandedOver},
		{"a socket on another port", func(_ *Options, h *handed) { h.Ports[0].FD = other.ports[0].fd }, ErrHandedOver},
		{"packets of a slot that cannot be", func(_ *Options, h *handed) { h.Heard[0].Slot = MaxSlots }, ErrHandedOver},
		{"packets of which some are missing", func(_ *Options, h *handed) { h.Heard[0].Seen = h.Heard[0].Seen[1:] }, ErrHandedOver},
		{"no key", func(o *Options, _ *handed) { o.Keys = []record.LinkKey{} }, ErrOptions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := open(t, 0, localhost), open(t, 1, localhost)
			meet(t, a, b)
			must(t, b.Send(0, []byte("x")))
			wantNext(t, a, "1/100 x")
			o, h := left(t, a)
			fd := h.Ports[0].FD
			tt.spoil(&o, &h)
			_, err := adopt(t, o, h)
			wantError(t, err, tt.want)
			must(t, unix.Close(fd)) // it was left open
		})
	}
	for _, state := range []string{"", "null", "[]", `{"Ports":[{}]}`, `{"New":1}`} {
		if _, err := Adopt(Options{Self: 1, Listen: make([]netip.AddrPort, 1), Keys: []record.LinkKey{key(1)}}, []byte(state)); err == nil {
			t.Errorf("%q was taken for a link", state)
		}
	}
}

// TestAdoptedSocketLacksNothing compares a socket that was adopted with one that
// was opened: what Listen makes, Adopt must make too.
func TestAdoptedSocketLacksNothing(t *testing.T) {
	a := open(t, 0, localhost)
	opened := reflect.ValueOf(a).Elem()
	had := map[string]bool{}
	for i := range opened.NumField() {
		had[opened.Type().Field(i).Name] = opened.Field(i).IsZero()
	}
	o, h := left(t, a)
	s, err := adopt(t, o, h)
	must(t, err)
	adopted := reflect.ValueOf(s).Elem()
	for i := range adopted.NumField() {
		if name := adopted.Type().Field(i).Name; adopted.Field(i).IsZero() != had[name] {
			t.Errorf("field %s: Listen leaves it empty: %v, Adopt: %v", name, had[name], adopted.Field(i).IsZero())
		}
	}
}

func FuzzAdopt(f *testing.F) {
	f.Add([]byte(`{"Ports":[{"FD":999,"Addr":"127.0.0.1:9"}],"Sequence":1,"Heard":[{"Slot":3,"Seen":[1]}]}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		var h handed
		if json.Unmarshal(state, &h) == nil {
			for _, p := range h.Ports {
				if p.FD < 900 {
					t.Skip("it may be a descriptor of this very program")
				}
			}
		}
		s, err := Adopt(Options{
			Self: 1, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")}, Keys: []record.LinkKey{key(1)},
			Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
		}, state)
		if err == nil {
			_ = s.Close()
			t.Errorf("taken for a link: %s", state)
		}
	})
}
