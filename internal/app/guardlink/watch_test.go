package guardlink

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/driver/link"
	"github.com/keelson/keelson/internal/engine/guard"
	"github.com/keelson/keelson/internal/model/record"
)

// What reaches the port of a guard and is not the cell's is told, once a minute at
// most, and forgotten after ten.
func TestWhatIsNotTheCellsIsTold(t *testing.T) {
	var w Watch
	if text := w.Warning(0); text != "" {
		t.Errorf("before there is a link it says %q", text)
	}
	l, err := w.Open(clock.System{}, slog.New(slog.DiscardHandler), guard.LinkOptions{
		Cell: "c", Slot: 1, Incarnation: 1, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Keys: []record.LinkKey{{ID: 1, Key: make([]byte, 32)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := l.(*socketLink).socket
	send := func() {
		t.Helper()
		before := s.Counters().Dropped[link.Truncated]
		c, err := net.Dial("udp", s.Addresses()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for s.Counters().Dropped[link.Truncated] == before {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			l.Drain(func(guard.Datagram) {})
			time.Sleep(time.Millisecond)
		}
	}
	at := time.Hour
	if text := w.Warning(at); text != "" {
		t.Errorf("nothing came, and it says %q", text)
	}
	send()
	first := w.Warning(at + time.Second)
	if !strings.Contains(first, "too short in the last 10 min") {
		t.Errorf("it says %q", first)
	}
	send()
	if text := w.Warning(at + 30*time.Second); text != first {
		t.Errorf("half a minute later it says %q", text)
	}
	if text := w.Warning(at + 2*time.Minute); text == first || text == "" {
		t.Errorf("two minutes later it says %q", text)
	}
	if text := w.Warning(at + 15*time.Minute); text != "" {
		t.Errorf("a quarter of an hour later it says %q", text)
	}
	want := map[string]uint64{"truncated": s.Counters().Dropped[link.Truncated]}
	if diff := cmp.Diff(want, w.Dropped(at)); diff != "" {
		t.Errorf("the numbers are others: %s", diff)
	}
	send()
	if diff := cmp.Diff(want, w.Dropped(at+told-1)); diff != "" {
		t.Errorf("the numbers change all the time: %s", diff)
	}
	want["truncated"] = s.Counters().Dropped[link.Truncated]
	if diff := cmp.Diff(want, w.Dropped(at+told)); diff != "" {
		t.Errorf("a minute later they are as they were: %s", diff)
	}
}

func TestOldDatagramsAreToldWhenThereAreMany(t *testing.T) {
	stale := len(alien) - 1
	if alien[stale] != link.Stale {
		t.Fatal("another kind is last")
	}
	var counts [len(alien)]uint64
	counts[stale] = noise[stale]
	if text := sentence(counts); text != "" {
		t.Errorf("of a few that come late it says %q", text)
	}
	counts[stale]++
	if text := sentence(counts); !strings.Contains(text, "sent before") {
		t.Errorf("of many it says %q", text)
	}
	if counts[0] = 1; !strings.Contains(sentence(counts), "1 forged, 101 sent before") {
		t.Errorf("of both it says %q", sentence(counts))
	}
}
