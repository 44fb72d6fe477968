package agent

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
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
	floor    raised                    // for this guard; zero if it has one
}

// duty makes the guard's duty. The view must be complete.
func (p plan) duty() guardwire.Duty {
	v := p.view
	self := v.Nodes[v.self]
	// What was read together with the floor may be newer than the view, which may
	// be the copy on disk. A guard without memory depends on it.
	lease := v.Lease
	if p.floor.lease.Version > lease.Version {
		lease.Version, lease.Voters, lease.Prior = p.floor.lease.Version, p.floor.lease.Voters, p.floor.lease.Prior
		lease.Floor, lease.Ceiling = p.floor.lease.Floor, max(lease.Ceiling, p.floor.lease.Ceiling)
	}
	lease.LongestTTL = max(lease.LongestTTL, p.floor.lease.LongestTTL)
	d := guardwire.Duty{
		Protocol: guardwire.Version, Cell: v.Cell.ID, Node: v.self, Slot: self.Slot,
		Listen: endpoints(self, p.found), Keys: v.Cell.LinkKeys,
		Lease: guardwire.Lease{
			Version: lease.Version, Voters: lease.Voters, Prior: lease.Prior,
			Floor: max(p.floor.floor, lease.Floor), Ceiling: max(lease.Ceiling, p.floor.ceiling),
			LongestTTL: time.Duration(lease.LongestTTL),
		},
	}
	for name, n := range v.Nodes {
		if name != v.self {
			d.Peers = append(d.Peers, guardwire.Peer{Slot: n.Slot, Name: name, Addresses: endpoints(n, p.found)})
		}
	}
	slices.SortFunc(d.Peers, func(a, b guardwire.Peer) int { return cmp.Compare(a.Slot, b.Slot) })
	for name, s := range p.statuses {
		if seek, claim, ok := p.seek(name, s); ok {
			d.Seeks = append(d.Seeks, p.primaries(name, s, seek, claim)...)
		}
	}
	// Two instances of one service are here only while its copies get or lose
	// their numbers. The one that may be primary counts.
	slices.SortFunc(d.Seeks, func(a, b guardwire.Seek) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), first(!a.Replica, !b.Replica), cmp.Compare(len(b.Order), len(a.Order)))
	})
	d.Seeks = slices.CompactFunc(d.Seeks, func(a, b guardwire.Seek) bool { return a.Service == b.Service })
	return d
}

// first is negative if a comes first because it alone is true.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// holds reports whether any lease of the service is held.
func (p plan) holds(service spec.ServiceName) bool {
	for lease := range spec.MaxPrimaries {
		if p.held[instance.LeaseName(service, lease)] {
			return true
		}
	}
	return false
}

// seek says what the guard is to do about one service, if anything. A service
// that must not be claimed but runs, or whose lease is still held, is listed
// without an order: the guard holds on to what it holds, until the release,
// and claims nothing.
func (p plan) seek(name instance.Name, s status) (seek guardwire.Seek, claim, ok bool) {
	service := name.Service()
	w := p.view.wish(name, 0)
	claim = w.Service != nil && !w.Service.Deleting && !w.Service.Spec.Stopped && !w.Maintenance &&
		w.Rank >= 0 && !w.Leaving && !s.banned && w.Service.ID == s.run.ID && !s.fence
	if w.Copy {
		claim = claim && slices.ContainsFunc(w.rights[:], func(r supervise.Right) bool { return r.Rank >= 0 })
	}
	if s.run.ID == 0 || !s.run.Spec.HasLease() || !claim && !s.mayRun && !p.holds(service) {
		return seek, claim, false
	}
	f := s.run.Spec.Failover
	seek = guardwire.Seek{
		Service: service, ID: s.run.ID, Exclusive: s.run.Spec.IsExclusive(),
		Fence: s.fence,
		TTL:   p.view.Placements[service].LeaseTTL(s.run.Spec), AgentLoss: f.EffectiveAgentLoss(),
		Addresses: s.addresses, Cgroups: s.cgroups,
	}
	// A voter that starts is silent for the longest TTL of the configuration
	// only, so no lease may be longer.
	if longest := time.Duration(p.view.Lease.LongestTTL); longest > 0 {
		seek.TTL = min(seek.TTL, longest)
	}
	if claim {
		seek.Order = p.view.order(service, 0)
	}
	if s.run.Spec.HasRoles() {
		seek.Replica = !s.mayBePrimary
		return seek, claim, true
	}
	seek.Keep = s.run.Spec.KeptOnQuorumLoss() && (w.Service == nil || w.Service.Spec.KeptOnQuorumLoss())
	return seek, claim, true
}

// primaries are the seeks for the leases of a service: the one given, unless several
// may be primary. Of those a node claims no further one once it uses one. What can
// be cut off is listed with the one that is used, and with all while none is.
func (p plan) primaries(name instance.Name, s status, seek guardwire.Seek, claim bool) []guardwire.Seek {
	service := name.Service()
	w := p.view.wish(name, 0)
	var out []guardwire.Seek
	for lease := range spec.MaxPrimaries {
		one := seek
		one.Service, one.ID, one.Demoted = instance.LeaseName(service, lease), s.run.LeaseID(lease), s.sheds[lease]
		uses := s.uses && s.lease == lease
		if one.ID == 0 || lease > 0 && lease >= s.run.Spec.Primaries() && !uses && !p.held[one.Service] {
			continue
		}
		switch {
		case !s.run.Spec.HasRoles():
			one.Demoted = seek.Demoted
		case s.uses && !uses:
			one.Order, one.Addresses, one.Cgroups, one.Replica = nil, nil, nil, true
		case !claim || w.rights[lease].Rank < 0:
			one.Order = nil
		default:
			one.Order = p.view.order(service, lease)
		}
		out = append(out, one)
	}
	return out
}

// sameDuty reports whether a guard would act alike on a and b.
func sameDuty(a, b guardwire.Duty) bool { return reflect.DeepEqual(a, b) }
