package probe

import (
	"net"
	"net/netip"
	"testing"
)

func TestParseARP(t *testing.T) {
	mac := net.HardwareAddr{2, 0x77, 0, 0, 0, 1}
	target, other := netip.MustParseAddr("10.77.0.100"), netip.MustParseAddr("10.77.0.2")
	frame := func(operation byte, sender, about netip.Addr) []byte {
		f := whoHas(mac, sender, about)
		f[21] = operation
		return f
	}
	for _, c := range []struct {
		name          string
		frame         []byte
		announced, ok bool
	}{
		{"an answer", frame(2, target, other), false, true},
		{"an announcement by request", frame(1, target, target), true, true},
		{"an announcement by answer", frame(2, target, target), true, true},
		{"a question by the holder", frame(1, target, other), false, false},
		{"a question for it", frame(1, other, target), false, false},
		{"an answer for another address", frame(2, other, target), false, false},
		{"a probe for a duplicate", frame(1, netip.IPv4Unspecified(), target), false, false},
		{"a short frame", frame(2, target, other)[:41], false, false},
		{"nothing", nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, announced, ok := parseARP(c.frame, target)
			if announced != c.announced || ok != c.ok || ok && got.String() != mac.String() {
				t.Errorf("got %v, %v, %v", got, announced, ok)
			}
		})
	}
}

func FuzzParseARP(f *testing.F) {
	target := netip.MustParseAddr("10.77.0.100")
	f.Add(whoHas(net.HardwareAddr{2, 0, 0, 0, 0, 1}, target, target))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if mac, _, ok := parseARP(frame, target); ok && len(mac) != 6 {
			t.Errorf("the hardware address is %v", mac)
		}
	})
}
