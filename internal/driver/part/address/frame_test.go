package address

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	ownMAC = mac{0x02, 0, 0, 0, 0, 0x0a}
	vip4   = netip.MustParseAddr("10.77.0.100")
	vip6   = netip.MustParseAddr("fd77::1:2345")
)

func compare(t *testing.T, got, want any) {
	t.Helper()
	all := cmp.Options{
		cmp.AllowUnexported(arp{}, neighbour{}),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, all); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestFramesAreAsTheStandardsWriteThem(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{
			name: "an ARP probe claims nothing: its sender address is zero",
			got:  arpProbe(vip4, ownMAC),
			want: "ffffffffffff" + "02000000000a" + "0806" + "0001" + "0800" + "0604" + "0001" +
				"02000000000a" + "00000000" + "000000000000" + "0a4d0064" + "000000000000000000000000000000000000",
		},
		{
			name: "a gratuitous ARP request names the address twice",
			got:  arpAnnouncements(vip4, ownMAC)[0],
			want: "ffffffffffff" + "02000000000a" + "0806" + "0001" + "0800" + "0604" + "0001" +
				"02000000000a" + "0a4d0064" + "000000000000" + "0a4d0064" + "000000000000000000000000000000000000",
		},
		{
			name: "a gratuitous ARP reply goes to everyone",
			got:  arpAnnouncements(vip4, ownMAC)[1],
			want: "ffffffffffff" + "02000000000a" + "0806" + "0001" + "0800" + "0604" + "0002" +
				"02000000000a" + "0a4d0064" + "ffffffffffff" + "0a4d0064" + "000000000000000000000000000000000000",
		},
		{
			name: "an IPv6 probe goes to the solicited-node group from the unspecified address",
			got:  ndProbe(vip6, ownMAC)[:etherHeader+ipv6Header],
			want: "3333ff012345" + "02000000000a" + "86dd" + "60000000" + "0018" + "3a" + "ff" +
				"00000000000000000000000000000000" + "ff0200000000000000000001ff012345",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			compare(t, hex.EncodeToString(c.got), c.want)
		})
	}
}

func TestParsersReadWhatWasBuilt(t *testing.T) {
	a, ok := parseARP(arpAnnouncements(vip4, ownMAC)[1])
	compare(t, ok, true)
	compare(t, a, arp{
		op: arpReply, senderMAC: ownMAC, sender: vip4,
		targetMAC: mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, target: vip4,
	})

	n, ok := parseNeighbour(ndAnnouncement(vip6, ownMAC, true))
	compare(t, ok, true)
	compare(t, n, neighbour{
		kind: ndAdvertise, flags: ndFlagReplace | ndFlagRouter, from: ownMAC,
		source: vip6, target: vip6, link: ownMAC,
	})
}

func TestParseNeighbourRefusesWhatReceiversMustDiscard(t *testing.T) {
	for _, c := range []struct {
		name   string
		offset int
		value  byte
	}{
		{"a hop limit that shows forwarding", etherHeader + 7, 254},
		{"a code other than zero", etherHeader + ipv6Header + 1, 1},
		{"a wrong checksum", etherHeader + ipv6Header + 3, 0},
		{"an option of length zero", etherHeader + ipv6Header + ndLen + 1, 0},
		{"an option longer than the packet", etherHeader + ipv6Header + ndLen + 1, 2},
		{"a payload longer than the frame", etherHeader + 5, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := ndAnnouncement(vip6, ownMAC, false)
			if _, ok := parseNeighbour(frame); !ok {
				t.Fatal("the untouched frame is refused")
			}
			if frame[c.offset] == c.value {
				t.Fatal("the test changes nothing")
			}
			frame[c.offset] = c.value
			if _, ok := parseNeighbour(frame); ok {
				t.Error("accepted")
			}
		})
	}
}

func FuzzParseARP(f *testing.F) {
	f.Add(arpProbe(vip4, ownMAC))
	f.Add(arpAnnouncements(vip4, ownMAC)[0])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		a, ok := parseARP(frame)
		if !ok {
			return
		}
		again, ok := parseARP(a.frame())
		if !ok {
			t.Fatal("what was parsed does not build a frame")
		}
		compare(t, again, a)
	})
}

func FuzzParseNeighbour(f *testing.F) {
	f.Add(ndProbe(vip6, ownMAC))
	f.Add(ndAnnouncement(vip6, ownMAC, true))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		n, ok := parseNeighbour(frame)
		if !ok {
			return
		}
		if n.kind != ndSolicit && n.kind != ndAdvertise {
			t.Errorf("kind %d", n.kind)
		}
		// The checksum protects the target: another one must not be accepted.
		frame[etherHeader+ipv6Header+8] ^= 1
		if _, ok := parseNeighbour(frame); ok {
			t.Error("accepted with a changed target")
		}
	})
}
