package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
)

const (
	localhost = "127.0.0.1"
	soon      = 20 * time.Second // far longer than anything takes
)

// open returns a socket on free ports of the given addresses.
func open(t testing.TB, self uint8, hosts ...string) *Socket {
	t.Helper()
	return openWith(t, Options{Self: self}, hosts...)
}

func openWith(t testing.TB, o Options, hosts ...string) *Socket {
	t.Helper()
	if o.Cell == "" {
		o.Cell = "c"
	}
	if o.Incarnation == 0 {
		o.Incarnation = 100
	}
	if o.Keys == nil {
		o.Keys = []record.LinkKey{key(1)}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	for _, host := range hosts {
		o.Listen = append(o.Listen, netip.AddrPortFrom(netip.MustParseAddr(host), 0))
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// meet makes sockets peers of each other, by the slots they were opened with.
func meet(t testing.TB, sockets ...*Socket) {
	t.Helper()
	for _, s := range sockets {
		peers := map[uint8][]netip.AddrPort{}
		for _, p := range sockets {
			if p != s {
				peers[p.opts.Self] = p.Addresses()
			}
		}
		must(t, s.SetPeers(peers))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (err != nil) != (want != nil) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

// next returns the next packet as text: "SLOT/INCARNATION payload".
func next(t *testing.T, s *Socket) string {
	t.Helper()
	p, err := s.Receive(make([]byte, MaxPayload), soon)
	if err != nil {
		t.Fatal(err)
	}
	if p.Refused.IsValid() {
		return fmt.Sprintf("%d refused at %s", p.From, p.Refused)
	}
	return fmt.Sprintf("%d/%d %s", p.From, p.Incarnation, p.Payload)
}

func wantNext(t *testing.T, s *Socket, want string) {
	t.Helper()
	if got := next(t, s); got != want {
		t.Errorf("received %q, want %q", got, want)
	}
}

// wantNothing takes what is there and fails if any of it is handed out.
func wantNothing(t *testing.T, s *Socket) {
	t.Helper()
	if p, err := s.Receive(make([]byte, MaxPayload), 50*time.Millisecond); err == nil {
		t.Errorf("received %q from %d", p.Payload, p.From)
	} else {
		wantError(t, err, ErrTimeout)
	}
}

func wantCounters(t *testing.T, s *Socket, want Counters) {
	t.Helper()
	if diff := cmp.Diff(want, s.Counters()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

func dropped(kinds ...Kind) Counters {
	var c Counters
	for _, k := range kinds {
		c.Dropped[k]++
	}
	return c
}

func TestPeersHearEachOtherOverEveryLink(t *testing.T) {
	tests := []struct {
		name string
		a, b []string
	}{
		{"one link", []string{localhost}, []string{localhost}},
		{"two links", []string{localhost, "127.0.0.2"}, []string{"127.0.0.3", "127.0.0.4"}},
		{"two links against one", []string{localhost, "127.0.0.2"}, []string{"127.0.0.3"}},
		{"IPv6", []string{"::1"}, []string{"::1"}},
		{"one link of each", []string{localhost, "::1"}, []string{localhost, "::1"}},
		{"one link of each in another order", []string{localhost, "::1"}, []string{"::1", localhost}},
		{"every address", []string{"0.0.0.0"}, []string{localhost}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Contains(strings.Join(tt.a, " "), "::1") && !hasIPv6() {
				t.Skip("this host has no IPv6 on its loopback interface")
			}
			a, b := open(t, 0, tt.a...), open(t, 1, tt.b...)
			must(t, b.SetPeers(map[uint8][]netip.AddrPort{0: reachable(a.Addresses())}))
			must(t, a.SetPeers(map[uint8][]netip.AddrPort{1: b.Addresses()}))
			for i := range 3 {
				must(t, a.Send(1, fmt.Appendf(nil, "to b %d", i)))
				wantNext(t, b, fmt.Sprintf("0/100 to b %d", i))
				must(t, b.Send(0, fmt.Appendf(nil, "to a %d", i)))
				wantNext(t, a, fmt.Sprintf("1/100 to a %d", i))
			}
			wantNothing(t, a)
			wantNothing(t, b)
			// Every copy over a further link arrived, and was not handed out again.
			n := uint64(len(tt.b))
			want := Counters{Sent: 3 * uint64(len(tt.a)), Received: 3}
			want.Dropped[Duplicate] = 3 * (n - 1)
			wantCounters(t, b, want)
		})
	}
}

func hasIPv6() bool {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err == nil {
		c.Close()
	}
	return err == nil
}

// reachable replaces "every address" by one of them.
func reachable(addrs []netip.AddrPort) []netip.AddrPort {
	for i, a := range addrs {
		if a.Addr().IsUnspecified() {
			addrs[i] = netip.AddrPortFrom(netip.MustParseAddr(localhost), a.Port())
		}
	}
	return addrs
}

func TestOneLinkOfTwoIsEnough(t *testing.T) {
	a, b := open(t, 0, localhost, "127.0.0.2"), open(t, 1, "127.0.0.3")
	// The first address of b leads nowhere.
	gone := open(t, 2, "127.0.0.4")
	dead := gone.Addresses()[0]
	must(t, gone.Close())
	must(t, a.SetPeers(map[uint8][]netip.AddrPort{1: {dead, b.Addresses()[0]}}))
	must(t, b.SetPeers(map[uint8][]netip.AddrPort{0: a.Addresses()}))
	for i := range 5 {
		must(t, a.Send(1, []byte{'0' + byte(i)}))
		wantNext(t, b, fmt.Sprintf("0/100 %d", i))
	}
}

func TestARefusedPortIsToldAndHarmsNobodyElse(t *testing.T) {
	for _, host := range []string{localhost, "::1"} {
		t.Run(host, func(t *testing.T) {
			if host == "::1" && !hasIPv6() {
				t.Skip("this host has no IPv6 on its loopback interface")
			}
			a, b, c := open(t, 0, host), open(t, 1, host), open(t, 2, host)
			meet(t, a, b, c)
			closed := b.Addresses()[0]
			must(t, b.Close())
			// Some of these fall on a socket with a pending error of another peer.
			for i := range 20 {
				must(t, a.Send(1, []byte("anybody?")))
				must(t, a.Send(2, []byte{'a' + byte(i)}))
			}
			for i := range 20 {
				wantNext(t, c, "0/100 "+string(rune('a'+i)))
			}
			must(t, c.Send(0, []byte("here")))
			refused, heard := 0, 0
			for refused == 0 || heard == 0 {
				switch got := next(t, a); got {
				case fmt.Sprintf("1 refused at %s", closed):
					refused++
				case "2/100 here":
					heard++
				default:
					t.Fatalf("received %q", got)
				}
			}
			if n := a.Counters(); n.Unsent != 0 || n.Refused == 0 {
				t.Errorf("unsent %d, refused %d", n.Unsent, n.Refused)
			}
		})
	}
}

func TestARefusalOfAStrangersPortIsNotTold(t *testing.T) {
	a, b := open(t, 0, localhost), open(t, 1, localhost)
	meet(t, a, b)
	addr := b.Addresses()[0]
	must(t, b.Close())
	must(t, a.Send(1, []byte("anybody?")))
	// By the time the answer is read the address belongs to nobody.
	must(t, a.SetPeers(nil))
	wantNothing(t, a)
	must(t, a.SetPeers(map[uint8][]netip.AddrPort{3: {addr}}))
	// Nor does a quote of a datagram for slot 1 say anything of slot 3.
	wantNothing(t, a)
	wantCounters(t, a, Counters{Sent: 1})
}

func TestWhatIsNotAPacketIsCountedAndDropped(t *testing.T) {
	var lines bytes.Buffer
	a := open(t, 0, localhost)
	b := openWith(t, Options{Self: 1, Log: slog.New(slog.NewTextHandler(&lines, nil))}, localhost)
	meet(t, a, b)
	conn, err := net.Dial("udp", b.Addresses()[0].String())
	must(t, err)
	defer conn.Close()
	throw := func(data []byte) {
		t.Helper()
		_, err := conn.Write(data)
		must(t, err)
		wantNothing(t, b)
	}
	from := newCodec(t, "c", 0, 100)
	good := from.seal(nil, 1, []byte("once"))
	forged := bytes.Clone(from.seal(nil, 1, []byte("never")))
	forged[headerSize] ^= 1
	for range 3 {
		throw([]byte("hello"))
	}
	throw(nil)
	throw(bytes.Repeat([]byte{0xee}, 500))
	throw(bytes.Repeat([]byte{protocol}, 1400))
	throw(newCodec(t, "other", 0, 100).seal(nil, 1, nil))
	throw(newCodec(t, "c", 0, 100).seal(nil, 2, nil))
	throw(newCodec(t, "c", 3, 100).seal(nil, 1, nil))
	throw(newCodec(t, "c", 0, 100, key(9)).seal(nil, 1, nil))
	throw(forged)
	_, err = conn.Write(good)
	must(t, err)
	wantNext(t, b, "0/100 once")
	throw(good)
	throw(newCodec(t, "c", 0, 99).seal(nil, 1, []byte("from the past")))

	want := dropped(Truncated, Truncated, Truncated, Truncated, Version, Oversize, Foreign, Misdirected,
		Stranger, UnknownKey, Forged, Duplicate, Stale)
	want.Received = 1
	wantCounters(t, b, want)
	for _, k := range Kinds() {
		n := strings.Count(lines.String(), "kind="+k.String()+" ")
		if k == Duplicate && n != 0 || k != Duplicate && n != 1 {
			t.Errorf("%d lines about %s datagrams", n, k)
		}
	}
	if !strings.Contains(lines.String(), "addr="+conn.LocalAddr().String()) {
		t.Errorf("the sender is not named in:\n%s", lines.String())
	}
}

// stepClock shows a boot time that the test moves.
type stepClock struct {
	clock.System

	mu   sync.Mutex
	boot time.Duration
}

func (c *stepClock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot += time.Microsecond
	return c.boot
}

func TestAFloodIsLoggedOnceAMinute(t *testing.T) {
	var lines bytes.Buffer
	clk := &stepClock{}
	b := openWith(t, Options{Self: 1, Clock: clk, Log: slog.New(slog.NewTextHandler(&lines, nil))}, localhost)
	conn, err := net.Dial("udp", b.Addresses()[0].String())
	must(t, err)
	defer conn.Close()
	throw := func(n int) {
		t.Helper()
		before := b.Counters().Dropped[Truncated]
		for range n {
			_, err := conn.Write([]byte("x"))
			must(t, err)
		}
		for b.Counters().Dropped[Truncated] < before+uint64(n) {
			_, err := b.Receive(make([]byte, MaxPayload), 0)
			wantError(t, err, ErrTimeout)
		}
	}
	throw(100)
	if n := strings.Count(lines.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, lines.String())
	}
	clk.mu.Lock()
	clk.boot += logEvery
	clk.mu.Unlock()
	throw(1)
	if n := strings.Count(lines.String(), "\n"); n != 2 || !strings.Contains(lines.String(), "count=100") {
		t.Errorf("%d lines:\n%s", n, lines.String())
	}
}

func TestAFloodDoesNotHoldUpTheReceiver(t *testing.T) {
	b := open(t, 1, localhost)
	conn, err := net.Dial("udp", b.Addresses()[0].String())
	must(t, err)
	defer conn.Close()
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	flood.Go(func() {
		for ctx.Err() == nil {
			_, _ = conn.Write([]byte("x"))
		}
	})
	_, err = b.Receive(make([]byte, MaxPayload), 50*time.Millisecond)
	wantError(t, err, ErrTimeout)
	b.Wake()
	_, err = b.Receive(make([]byte, MaxPayload), soon)
	wantError(t, err, ErrWoken)
	stop()
	flood.Wait()
}

func TestKeysRotateOverTheWire(t *testing.T) {
	a, b := open(t, 0, localhost), open(t, 1, localhost)
	meet(t, a, b)
	must(t, a.Send(1, []byte("one")))
	wantNext(t, b, "0/100 one")
	must(t, b.SetKeys([]record.LinkKey{key(1), key(2)}))
	must(t, a.SetKeys([]record.LinkKey{key(2), key(1)}))
	must(t, a.Send(1, []byte("two")))
	wantNext(t, b, "0/100 two")
	must(t, b.Send(0, []byte("three")))
	wantNext(t, a, "1/100 three")
	must(t, b.SetKeys([]record.LinkKey{key(2)}))
	must(t, a.SetKeys([]record.LinkKey{key(2)}))
	must(t, b.Send(0, []byte("four")))
	wantNext(t, a, "1/100 four")
	wantError(t, a.SetKeys(nil), ErrOptions)
}

func TestReceiveEnds(t *testing.T) {
	t.Run("when the time is up", func(t *testing.T) {
		_, err := open(t, 0, localhost).Receive(make([]byte, MaxPayload), time.Millisecond)
		wantError(t, err, ErrTimeout)
	})
	t.Run("at once when there is no time", func(t *testing.T) {
		_, err := open(t, 0, localhost).Receive(make([]byte, MaxPayload), -time.Second)
		wantError(t, err, ErrTimeout)
	})
	t.Run("with what is there when there is no time", func(t *testing.T) {
		a, b := open(t, 0, localhost), open(t, 1, localhost)
		meet(t, a, b)
		must(t, a.Send(1, []byte("x")))
		p, err := b.Receive(make([]byte, MaxPayload), 0)
		must(t, err)
		if diff := cmp.Diff(Packet{From: 0, Incarnation: 100, Payload: []byte("x")}, p, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("packet (-want +got):\n%s", diff)
		}
	})
	t.Run("when it has no room", func(t *testing.T) {
		_, err := open(t, 0, localhost).Receive(make([]byte, MaxPayload-1), 0)
		wantError(t, err, io.ErrShortBuffer)
	})
	t.Run("when it is woken, also beforehand", func(t *testing.T) {
		s := open(t, 0, localhost)
		s.Wake()
		s.Wake()
		_, err := s.Receive(make([]byte, MaxPayload), soon)
		wantError(t, err, ErrWoken)
		wantNothing(t, s)
		done := make(chan error)
		go func() {
			_, err := s.Receive(make([]byte, MaxPayload), soon)
			done <- err
		}()
		s.Wake()
		wantError(t, <-done, ErrWoken)
	})
	t.Run("when the socket is closed", func(t *testing.T) {
		a, b := open(t, 0, localhost), open(t, 1, localhost)
		meet(t, a, b)
		done := make(chan error)
		go func() {
			_, err := a.Receive(make([]byte, MaxPayload), soon)
			done <- err
		}()
		must(t, a.Close())
		wantError(t, <-done, net.ErrClosed)
		_, err := a.Receive(make([]byte, MaxPayload), soon)
		wantError(t, err, net.ErrClosed)
		wantError(t, a.Send(1, nil), net.ErrClosed)
		a.Wake()
		must(t, a.Close())
	})
}

func TestEachRunsUntilItsContextEnds(t *testing.T) {
	a, b := open(t, 0, localhost), open(t, 1, localhost)
	meet(t, a, b)
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 3 {
		must(t, a.Send(1, []byte{'0' + byte(i)}))
	}
	var got []string
	err := b.Each(ctx, func(p Packet) {
		got = append(got, string(p.Payload))
		if len(got) == 3 {
			cancel()
		}
	})
	wantError(t, err, context.Canceled)
	if diff := cmp.Diff([]string{"0", "1", "2"}, got); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
	must(t, b.Close())
	wantError(t, b.Each(t.Context(), func(Packet) {}), net.ErrClosed)
}

func TestManyMaySendAndConfigureWhileOneReceives(t *testing.T) {
	a, b := open(t, 0, localhost), open(t, 1, localhost)
	meet(t, a, b)
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for range 50 {
				if err := a.Send(1, []byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Go(func() {
		for range 20 {
			meet(t, a, b)
			if err := errors.Join(a.SetKeys([]record.LinkKey{key(1)}), b.SetKeys([]record.LinkKey{key(1)})); err != nil {
				t.Error(err)
			}
			a.Counters()
		}
	})
	for range 200 {
		wantNext(t, b, "0/100 x")
	}
	senders.Wait()
	wantNothing(t, b)
}

// BenchmarkRoundTrip sends over two links and receives, with one peer.
func BenchmarkRoundTrip(b *testing.B) {
	x, y := open(b, 0, localhost, "127.0.0.2"), open(b, 1, localhost, "127.0.0.2")
	meet(b, x, y)
	payload, buf := make([]byte, 100), make([]byte, MaxPayload)
	b.ReportAllocs()
	for b.Loop() {
		if err := x.Send(1, payload); err != nil {
			b.Fatal(err)
		}
		if _, err := y.Receive(buf, soon); err != nil {
			b.Fatal(err)
		}
	}
}
