package address

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestPlaceFor(t *testing.T) {
	host := &network{links: []link{
		{name: "bond0", index: 3, prefixes: prefixes("10.0.0.5/8"), carrier: true},
		{name: "eth0", index: 2, prefixes: prefixes("10.77.0.1/24", "fd77::1/64"), carrier: true},
		{name: "eth1", index: 4, prefixes: prefixes("10.88.0.1/24")},
		{name: "eth2", index: 5, prefixes: prefixes("10.88.0.2/24"), carrier: true},
		{name: "lo", index: 1, prefixes: prefixes("127.0.0.1/8", "::1/128"), carrier: true},
	}}
	for _, c := range []struct {
		name   string
		prefix string
		named  string
		want   string
		err    string
	}{
		{name: "the longest network wins", prefix: "10.77.0.100/24", want: "eth0"},
		{name: "a wider network will do", prefix: "10.99.0.100/24", want: "bond0"},
		{name: "a single address goes where its network is", prefix: "10.77.0.100/32", want: "eth0"},
		{name: "IPv6 is found the same way", prefix: "fd77::100/64", want: "eth0"},
		{name: "carrier decides between two", prefix: "10.88.0.100/24", want: "eth2"},
		{name: "the spec's interface wins", prefix: "10.77.0.100/24", named: "eth1", want: "eth1"},
		{
			name: "an unknown network names what there is", prefix: "192.0.2.1/24",
			err: "no interface has an address in 192.0.2.0/24: no interface for the address; this host has bond0 (10.0.0.5/8), " +
				"eth0 (10.77.0.1/24, fd77::1/64), eth1 (10.88.0.1/24), eth2 (10.88.0.2/24), lo (127.0.0.1/8, ::1/128); " +
				"name one with `interface:`",
		},
		{
			name: "an unknown interface names what there is", prefix: "10.77.0.100/24", named: "eth9",
			err: "interface eth9 does not exist: no interface for the address; this host has bond0",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := host.placeFor(netip.MustParsePrefix(c.prefix), c.named)
			compare(t, got.name, c.want)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		name   string
		has    []netip.Prefix
		prefix string
		want   bool
	}{
		{name: "an empty link routes nothing", prefix: "10.77.0.100/24"},
		{name: "the kernel sees to IPv4 addresses of one network", has: prefixes("10.77.0.1/24"), prefix: "10.77.0.100/24"},
		{name: "a wider IPv4 network routes it already", has: prefixes("10.77.0.1/16"), prefix: "10.77.0.100/24", want: true},
		{name: "a narrower one elsewhere does not", has: prefixes("10.77.0.1/30"), prefix: "10.77.0.100/24"},
		{name: "an IPv6 network is routed by its first address", has: prefixes("fd77::1/64"), prefix: "fd77::100/64", want: true},
		{name: "the address itself does not count", has: prefixes("fd77::100/64"), prefix: "fd77::100/64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			compare(t, link{prefixes: c.has}.covers(netip.MustParsePrefix(c.prefix)), c.want)
		})
	}
}
