package link

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/model/record"
)

func TestSendRefusals(t *testing.T) {
	a, b := open(t, 0, localhost), open(t, 1, localhost)
	meet(t, a, b)
	tests := []struct {
		name    string
		to      uint8
		payload []byte
		want    error
	}{
		{"a peer gets the longest payload", 1, make([]byte, MaxPayload), nil},
		{"a longer one is refused", 1, make([]byte, MaxPayload+1), ErrTooLong},
		{"an empty slot has no address", 2, nil, ErrNoPeer},
		{"this node is no peer", 0, nil, ErrNoPeer},
		{"a slot that does not exist has no address", 255, nil, ErrNoPeer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantError(t, a.Send(tt.to, tt.payload), tt.want) })
	}
	// A copy that cannot be sent at all is an error, and counted.
	must(t, a.SetPeers(map[uint8][]netip.AddrPort{1: {netip.MustParseAddrPort("127.0.0.1:0")}}))
	if err := a.Send(1, nil); err == nil {
		t.Error("sent to port 0")
	}
	if n := a.Counters().Unsent; n != 1 {
		t.Errorf("%d copies counted as not sent", n)
	}
}

func TestSetPeersRefusals(t *testing.T) {
	a := open(t, 0, localhost)
	addr := netip.MustParseAddrPort("127.0.0.1:9")
	tests := []struct {
		name  string
		peers map[uint8][]netip.AddrPort
		want  error
	}{
		{"this node itself", map[uint8][]netip.AddrPort{0: {addr}}, ErrOptions},
		{"a slot too high", map[uint8][]netip.AddrPort{MaxSlots: {addr}}, ErrOptions},
		{"too many links", map[uint8][]netip.AddrPort{1: make([]netip.AddrPort, MaxLinks+1)}, ErrOptions},
		{"an address of the other IP version is left out", map[uint8][]netip.AddrPort{1: {netip.MustParseAddrPort("[::1]:9")}}, nil},
		{"an address that is none is left out", map[uint8][]netip.AddrPort{1: {{}}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, a.SetPeers(tt.peers), tt.want)
			wantError(t, a.Send(1, nil), ErrNoPeer)
		})
	}
}

func TestListenRefusals(t *testing.T) {
	taken := open(t, 0, localhost).Addresses()[0]
	free := netip.MustParseAddrPort("127.0.0.1:0")
	tests := []struct {
		name   string
		listen []netip.AddrPort
		self   uint8
		keys   []record.LinkKey
		want   error
	}{
		{"a port in use is named", []netip.AddrPort{free, taken}, 0, []record.LinkKey{key(1)}, ErrPortInUse},
		{"no address", nil, 0, []record.LinkKey{key(1)}, ErrOptions},
		{"an address that is none", []netip.AddrPort{{}}, 0, []record.LinkKey{key(1)}, ErrOptions},
		{"a slot too high", []netip.AddrPort{free}, MaxSlots, []record.LinkKey{key(1)}, ErrOptions},
		{"no key", []netip.AddrPort{free}, 0, nil, ErrOptions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Listen(Options{
				Cell: "c", Self: tt.self, Incarnation: 1, Listen: tt.listen, Keys: tt.keys,
				Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
			})
			wantError(t, err, tt.want)
			if s != nil {
				t.Error("a socket all the same")
			}
			if errors.Is(err, ErrPortInUse) && !strings.Contains(err.Error(), fmt.Sprint(taken.Port())) {
				t.Errorf("the port is not named: %v", err)
			}
		})
	}
}

func TestAnAddressThatThisHostLacksIsNoError(t *testing.T) {
	var lines bytes.Buffer
	openWith(t, Options{Log: slog.New(slog.NewTextHandler(&lines, nil))}, localhost, "192.0.2.7")
	if !strings.Contains(lines.String(), "192.0.2.7") || strings.Contains(lines.String(), localhost) {
		t.Errorf("the log says %q", lines.String())
	}
}

func TestChoose(t *testing.T) {
	at := func(addr, network string) home {
		h := home{addr: netip.MustParseAddr(addr)}
		if network != "" {
			h.network = netip.MustParsePrefix(network)
		}
		return h
	}
	two := []home{at("10.1.0.1", "10.1.0.0/24"), at("10.2.0.1", "10.2.0.0/24")}
	tests := []struct {
		name  string
		homes []home
		peer  string
		index int
		want  int
	}{
		{"the same network wins over the order", two, "10.1.0.9", 1, 0},
		{"the same network wins at any number", two, "10.2.0.9", 7, 1},
		{"the order decides between far networks", two, "192.0.2.1", 1, 1},
		{"the first serves what is beyond the order", two, "192.0.2.1", 5, 0},
		{
			"the order decides between two ports on one network",
			[]home{at("10.1.0.1", "10.1.0.0/24"), at("10.1.0.2", "10.1.0.0/24")},
			"10.1.0.9", 1, 1,
		},
		{"an address that is not there yet counts by its order", []home{two[0], at("10.3.0.1", "")}, "10.3.0.9", 1, 1},
		{"IPv6 is not reached from IPv4", two, "fd00::1", 0, -1},
		{"IPv6 is reached from IPv6", append(two[:2:2], at("fd00::2", "")), "fd00::1", 0, 2},
		{"a zone does not hide the network", []home{two[0], at("fe80::1", "fe80::/64")}, "fe80::9%eth0", 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := choose(tt.homes, netip.MustParseAddr(tt.peer), tt.index); got != tt.want {
				t.Errorf("port %d, want %d", got, tt.want)
			}
		})
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d is called %q", k, name)
		} else {
			seen[name] = true
		}
	}
	if len(seen) != int(kinds) || Kind(200).String() != "unknown" {
		t.Errorf("%d names", len(seen))
	}
}
