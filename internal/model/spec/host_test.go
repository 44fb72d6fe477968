package spec

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddressesAreHeldAgainstTheNodes(t *testing.T) {
	hosts := []Host{
		{Node: "a", Own: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, Interfaces: []string{"eth0", "eth1"}},
		{Node: "b", Own: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Interfaces: []string{"ens3", "eth0"}},
		{Node: "new"},
		{Node: "w", Own: []netip.Addr{netip.MustParseAddr("10.0.0.3")}, Interfaces: []string{"wan"}, Witness: true},
	}
	const without = "; without the key the address goes where its network is"
	tests := []struct {
		name    string
		address Address
		place   Place
		want    []string
	}{
		{name: "an address and an interface that are free and there", address: Address{Prefix: "10.0.0.100/24", Interface: "eth0"}},
		{
			name: "an address of a node", address: Address{Prefix: "10.0.0.2/24"},
			want: []string{"parts[0].address.prefix: the address 10.0.0.2 is node b's own: choose an address that no server has of its own"},
		},
		{
			name: "an address of a witness, in another spelling", address: Address{Prefix: "fd00:0::1/64"},
			want: []string{"parts[0].address.prefix: the address fd00::1 is node a's own: choose an address that no server has of its own"},
		},
		{
			name: "an interface that one of two lacks", address: Address{Prefix: "10.0.0.100/24", Interface: "eth1"},
			want: []string{`parts[0].address.interface: node b has no interface "eth1": it cannot run there until that is there; did you mean "eth0"? Without the key the address goes where its network is`},
		},
		{
			name: "an interface that none has", address: Address{Prefix: "10.0.0.100/24", Interface: "wlan0"}, place: Place{Never: []NodeName{"new"}},
			want: []string{`parts[0].address.interface: no node on which it may run has an interface "wlan0": it cannot run there until that is there; there are ens3, eth0, eth1` + without},
		},
		{name: "an interface that only a node lacks on which it may not run", address: Address{Prefix: "10.0.0.100/24", Interface: "eth1"}, place: Place{On: []NodeName{"a"}}},
		{
			name: "two lack it, and one has not said", address: Address{Prefix: "10.0.0.100/24", Interface: "eth7"},
			want: []string{`parts[0].address.interface: nodes a, b have no interface "eth7": it cannot run there until that is there; did you mean "eth0"? Without the key the address goes where its network is`},
		},
		{name: "the same, said the other way round", address: Address{Prefix: "10.0.0.100/24", Interface: "eth1"}, place: Place{Never: []NodeName{"b"}}},
		{
			name: "the only node lacks it", address: Address{Prefix: "10.0.0.100/24", Interface: "ens4"}, place: Place{On: []NodeName{"b"}},
			want: []string{`parts[0].address.interface: node b, the only one on which it may run, has no interface "ens4": it cannot run there until that is there; did you mean "ens3"? Without the key the address goes where its network is`},
		},
		{name: "a node that has not said what it has", address: Address{Prefix: "10.0.0.100/24", Interface: "eth7"}, place: Place{On: []NodeName{"new"}}},
		{name: "an interface of a container", address: Address{Prefix: "10.0.0.100/24", Interface: "veth7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range Unfit(Service{Name: "shop", Parts: []Part{{Address: &tt.address}}, Place: tt.place}, hosts) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
