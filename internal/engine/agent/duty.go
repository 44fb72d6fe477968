package agent

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	"github.com/keelson/keelson/internal/core/mandate"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// defaultLinkPort is the UDP port of heartbeats, see [record.Ports].
const defaultLinkPort = 7481

// hosts returns the names or addresses that n's heartbeats go to.
func hosts(n record.Node) []string {
	all := append([]string{n.Address}, n.Links...)
	return slices.DeleteFunc(all, func(h string) bool { return h == "" })
}

// endpoints returns n's UDP addresses; found are the answers for host names.
func endpoints(n record.Node, found map[string]netip.Addr) []string {
	port := cmp.Or(n.Ports.Link, defaultLinkPort)
	var out []string
	for _, host := range hosts(n) {
		addr, err := netip.ParseAddr(host)
		if err != nil {
			var ok bool
			if addr, ok = found[host]; !ok {
				continue
			}
		}
		end := netip.AddrPortFrom(addr.Unmap(), uint16(port)).String()
		if !slices.Contains(out, end) {
			out = append(out, end)
		}
	}
	return out
}

// plan is all that a duty is made of.
type plan struct {
	view     *view
	found    map[string]netip.Addr
	statuses map[instance.Name]status
	held     map[spec.ServiceName]bool // leases that the guard shows
	floor    mandate.Raised            // for this guard; zero if it has one
}

// duty makes the guard's duty. The view must be complete.
func (p plan) duty() guardwire.Duty {
	v := p.view
	self := v.Nodes[v.Self]
	d := guardwire.Duty{
		Protocol: guardwire.Version, Cell: v.Cell.ID, Node: v.Self, Slot: self.Slot,
		Listen: endpoints(self, p.found), Keys: v.Cell.LinkKeys,
		Lease: v.Bounds(p.floor),
	}
	for name, n := range v.Nodes {
		if name != v.Self {
			d.Peers = append(d.Peers, guardwire.Peer{Slot: n.Slot, Name: name, Addresses: endpoints(n, p.found)})
		}
	}
	slices.SortFunc(d.Peers, func(a, b guardwire.Peer) int { return cmp.Compare(a.Slot, b.Slot) })
	for name, s := range p.statuses {
		d.Seeks = append(d.Seeks, p.seeks(name, s)...)
	}
	d.Seeks = mandate.Sort(d.Seeks)
	return d
}

// seeks say what the guard is to do about one instance, if anything.
func (p plan) seeks(name instance.Name, s status) []guardwire.Seek {
	doing := s.doing
	doing.Held = p.held
	return p.view.Seeks(name, &doing)
}

// sameDuty reports whether a guard would act alike on a and b.
func sameDuty(a, b guardwire.Duty) bool { return reflect.DeepEqual(a, b) }
