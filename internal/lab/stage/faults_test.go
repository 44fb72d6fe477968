package stage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab/wire"
)

func testNetwork() *network {
	n := &network{faults: newFaults()}
	for _, h := range []string{"1", "2", "3"} {
		n.hosts = append(n.hosts, wire.Host{Name: "h" + h, Links: []wire.Link{
			{Bridge: "br0", Port: "p0-" + h, Addresses: []string{"10.77.0." + h + "/24", "fd77::" + h + "/64"}},
			{Bridge: "br1", Port: "p1-" + h, Addresses: []string{"10.78.0." + h + "/24", "fd78::" + h + "/64"}},
		}})
	}
	return n
}

func TestRules(t *testing.T) {
	all := []string{"br0"}
	for _, c := range []struct {
		name   string
		faults []wire.NetFault
		want   []rule
	}{
		{"no fault, no rule", nil, nil},
		{"isolation drops both directions", []wire.NetFault{{Kind: wire.Isolate, A: []string{"h1"}, Bridges: all}}, []rule{
			{"", "p0-1", 1000}, {"p0-1", "", 1000},
		}},
		{"without a named bridge it is all of them", []wire.NetFault{{Kind: wire.OneWay, A: []string{"h1"}, B: []string{"h2"}}}, []rule{
			{"p0-1", "p0-2", 1000}, {"p1-1", "p1-2", 1000},
		}},
		{"the same fault twice is one", []wire.NetFault{
			{Kind: wire.Loss, A: []string{"h1"}, Percent: 10, Bridges: all}, {Kind: wire.Loss, A: []string{"h1"}, Percent: 12.5, Bridges: all},
		}, []rule{{"", "p0-1", 125}, {"p0-1", "", 125}}},
		{"a loss of nothing is none", []wire.NetFault{
			{Kind: wire.Loss, A: []string{"h1"}, Percent: 10}, {Kind: wire.Loss, A: []string{"h1"}},
		}, nil},
		{"a loss between hosts leaves those beside them alone", []wire.NetFault{
			{Kind: wire.Between, A: []string{"h1", "h2"}, Percent: 10, Bridges: all},
		}, []rule{{"p0-1", "p0-2", 100}, {"p0-2", "p0-1", 100}}},
		{"a loss between hosts of nothing is none", []wire.NetFault{
			{Kind: wire.Between, A: []string{"h1", "h2"}, Percent: 10}, {Kind: wire.Between, A: []string{"h1", "h2"}},
		}, nil},
		{"a heal takes away the loss between hosts", []wire.NetFault{
			{Kind: wire.Between, A: []string{"h1", "h2", "h3"}, Percent: 10, Bridges: all}, {Kind: wire.Heal, A: []string{"h1"}},
		}, []rule{{"p0-2", "p0-3", 100}, {"p0-3", "p0-2", 100}}},
		{"a host is not parted from itself", []wire.NetFault{{Kind: wire.OneWay, A: []string{"h1"}, B: []string{"h1"}}}, nil},
		{"a cut needs no rule", []wire.NetFault{{Kind: wire.Cut, A: []string{"h1"}}}, nil},
		{"a heal takes away what the host shares with others", []wire.NetFault{
			{Kind: wire.OneWay, A: []string{"h1", "h2"}, B: []string{"h3"}, Bridges: all},
			{Kind: wire.OneWay, A: []string{"h3"}, B: []string{"h1"}, Bridges: all},
			{Kind: wire.Isolate, A: []string{"h1"}, Bridges: all},
			{Kind: wire.Heal, A: []string{"h1"}},
		}, []rule{{"p0-2", "p0-3", 1000}}},
		{"a heal of one bridge leaves the other", []wire.NetFault{
			{Kind: wire.Isolate, A: []string{"h1"}}, {Kind: wire.Heal, A: []string{"h1"}, Bridges: []string{"br1"}},
		}, []rule{{"", "p0-1", 1000}, {"p0-1", "", 1000}}},
		{"a heal of all leaves nothing", []wire.NetFault{
			{Kind: wire.Isolate, A: []string{"h1"}},
			{Kind: wire.Loss, A: []string{"h2"}, Percent: 5},
			{Kind: wire.Cut, A: []string{"h3"}},
			{Kind: wire.Heal},
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := testNetwork()
			for _, f := range c.faults {
				n.faults.change(f, n.ports(f.A, f.Bridges), n.ports(f.B, f.Bridges))
			}
			if diff := cmp.Diff(c.want, n.faults.rules(), cmp.AllowUnexported(rule{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	n := testNetwork()
	for _, f := range []wire.NetFault{
		{Kind: wire.Cut, A: []string{"h1"}, Bridges: []string{"br1"}},
		{Kind: wire.Isolate, A: []string{"h1"}},
		{Kind: wire.Loss, A: []string{"h1"}, Percent: 5},
	} {
		n.faults.change(f, n.ports(f.A, f.Bridges), nil)
	}
	want := wire.HostState{Name: "h1", On: true, Cut: []string{"br1"}, Isolated: []string{"br0", "br1"}, LossPercent: 5}
	if diff := cmp.Diff(want, n.describe(n.hosts[0], wire.HostState{Name: "h1", On: true})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wire.HostState{Name: "h2"}, n.describe(n.hosts[1], wire.HostState{Name: "h2"})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHostsFile(t *testing.T) {
	const want = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n" +
		"10.77.0.1 h1\n10.78.0.1 h1.net2\n10.77.0.2 h2\n10.78.0.2 h2.net2\n10.77.0.3 h3\n10.78.0.3 h3.net2\n"
	if diff := cmp.Diff(want, hostsFile(testNetwork().hosts)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
