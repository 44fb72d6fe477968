package link

import (
	"context"
	"net"
	"testing"
	"time"
)

func TestAtRestArrivalsWaitForDrain(t *testing.T) {
	a, b := open(t, 0, localhost), open(t, 1, localhost)
	meet(t, a, b)
	ctx, cancel := context.WithCancel(t.Context())
	arrived, ended := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Each(ctx, func(p Packet) { arrived <- string(p.Payload) })
	}()
	defer func() { cancel(); <-ended }()

	must(t, a.Send(1, []byte("awake")))
	want(t, arrived, "awake")

	must(t, b.SetRest(true))
	for _, text := range []string{"one", "two", "three"} {
		must(t, a.Send(1, []byte(text)))
	}
	select {
	case text := <-arrived:
		t.Errorf("%q came although the socket rests", text)
	case <-time.After(100 * time.Millisecond):
	}
	var drained []string
	must(t, b.Drain(make([]byte, MaxPayload), func(p Packet) { drained = append(drained, string(p.Payload)) }))
	if len(drained) != 3 || drained[0] != "one" || drained[2] != "three" {
		t.Errorf("drained %q", drained)
	}

	// What lies there when the rest ends is told at once.
	must(t, a.Send(1, []byte("late")))
	must(t, b.SetRest(false))
	want(t, arrived, "late")
	must(t, a.Send(1, []byte("again")))
	want(t, arrived, "again")
}

func want(t *testing.T, arrived <-chan string, text string) {
	t.Helper()
	select {
	case got := <-arrived:
		if got != text {
			t.Errorf("received %q, want %q", got, text)
		}
	case <-time.After(soon):
		t.Fatalf("%q did not come", text)
	}
}

func TestRestingSocketCanBeClosed(t *testing.T) {
	s := open(t, 0, localhost)
	must(t, s.SetRest(true))
	ended := make(chan error, 1)
	go func() { ended <- s.Each(t.Context(), func(Packet) {}) }()
	must(t, s.Close())
	select {
	case err := <-ended:
		wantError(t, err, net.ErrClosed)
	case <-time.After(soon):
		t.Fatal("Each goes on after Close")
	}
	wantError(t, s.Drain(make([]byte, MaxPayload), nil), net.ErrClosed)
	wantError(t, s.SetRest(false), net.ErrClosed)
}

func TestJunkDoesNotHideAHeartbeatFromDrain(t *testing.T) {
	a, b := open(t, 0, localhost), open(t, 1, localhost)
	meet(t, a, b)
	must(t, b.SetRest(true))
	junk, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(b.Addresses()[0]))
	must(t, err)
	defer junk.Close()
	for range 3 * maxBatch {
		_, err := junk.Write([]byte("not a packet"))
		must(t, err)
	}
	must(t, a.Send(1, []byte("beat")))
	var drained []string
	must(t, b.Drain(make([]byte, MaxPayload), func(p Packet) { drained = append(drained, string(p.Payload)) }))
	if len(drained) != 1 || drained[0] != "beat" {
		t.Errorf("drained %q", drained)
	}
}
