// Package mandate says what the cell wants of one node: of each instance there,
// and of the node's guard.
//
// Its main rule: a guard is asked to claim nothing that the node may not run, and
// to hold on to whatever may still run there or whose lease it still has. What is
// wanted of an instance is handed to package supervise, which decides what is
// done.
//
// The package is pure: records and reports as the node knows them come in. It
// reads and writes nothing; an agent does, and so does the simulator.
package mandate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/guardwire"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// View is what the cell wants, as far as one node knows it. The maps' values are
// replaced, never changed.
type View struct {
	Lease      record.Lease                         `json:"lease"`
	Wish       record.NodeWish                      `json:"wish"` // of this node
	Nodes      map[spec.NodeName]record.Node        `json:"nodes"`
	Services   map[spec.ServiceName]*record.Service `json:"services"`
	Placements map[spec.ServiceName]Placement       `json:"placements"`
	CellWish   record.CellWish                      `json:"cell_wish"`

	Self spec.NodeName `json:"-"`
}

// Placement is a placement with the store's revision of it.
type Placement struct {
	record.Placement
	Revision int64 `json:"revision"`
}

// NewView returns the view of a node that knows nothing.
func NewView(self spec.NodeName) View {
	return View{
		Self:       self,
		Nodes:      make(map[spec.NodeName]record.Node),
		Services:   make(map[spec.ServiceName]*record.Service),
		Placements: make(map[spec.ServiceName]Placement),
	}
}

// Clone returns a view that does not change with v.
func (v *View) Clone() View {
	c := *v
	c.Nodes, c.Services, c.Placements = maps.Clone(v.Nodes), maps.Clone(v.Services), maps.Clone(v.Placements)
	return c
}

// Wish is what the cell wants of one instance. It is comparable.
type Wish struct {
	supervise.Wish
	// Rights are [supervise.Wish.Right] by lease, where several may be primary.
	Rights [spec.MaxPrimaries]supervise.Right
}

// Wanted returns what the cell wants of one instance here; alive are the slots of
// the nodes that are certainly alive. Gone and Gates are left to the caller.
func (v *View) Wanted(name instance.Name, alive uint32) Wish {
	service := name.Service()
	w := Wish{Wish: supervise.Wish{Service: v.Services[service], Rank: -1, Leaving: v.Wish.Leaving}}
	if w.Service != nil {
		if at := w.Service.Cleared[v.Self]; !at.IsZero() {
			w.Cleared = at.UnixNano()
		}
	}
	// One that is being deleted cannot be applied again to end its maintenance.
	own := w.Service != nil && w.Service.Spec.Maintenance && !w.Service.Deleting
	w.Maintenance = v.Wish.Maintenance || v.CellWish.Maintenance || own
	p, placed := v.Placements[service]
	copies := w.Service != nil && w.Service.Spec.Copies != nil
	w.Copy, w.Right.Rank = copies || name.Number() > 0, -1
	for i := range w.Rights {
		w.Rights[i].Rank = -1
	}
	// A placement that was made before the service had copies, or while it had,
	// says nothing of it.
	if !placed || copies != (len(p.Copies) > 0) && w.Service != nil && p.Generation < w.Service.Generation {
		return w
	}
	right := v.right(p, 0, alive)
	w.Placed = p.Revision
	if !w.Copy {
		w.Rank, w.Known, w.Empty, w.FirstAlive = right.Rank, right.Known, right.Empty, right.FirstAlive
		return w
	}
	w.Empty = !slices.ContainsFunc(p.Copies, func(c record.Copy) bool { return c.Node == v.Self && c.Number == name.Number() })
	if !w.Empty && copies {
		w.Rank = 0
	}
	if copies && w.Service.Spec.HasRoles() {
		w.Right = right
		for i := range w.Rights {
			w.Rights[i] = v.right(p, i, alive)
		}
	}
	return w
}

// right reads the succession list of a lease.
func (v *View) right(p Placement, lease int, alive uint32) supervise.Right {
	order := p.OrderOf(lease)
	r := supervise.Right{Rank: slices.Index(order, v.Self), Known: p.EpochOf(lease), Empty: len(order) == 0}
	if !r.Empty && r.Rank != 0 {
		first, known := v.Nodes[order[0]]
		r.FirstAlive = known && first.Slot < 32 && alive&(1<<first.Slot) != 0
	}
	return r
}

// Gates returns what holds a guest back: the order, and who is here still. town is
// nil where nothing is ordered. A guest is not let in without a house.
func (v *View) Gates(g *Guest, town *supervise.Town, house *House) supervise.Gates {
	var gates supervise.Gates
	if town != nil {
		gates = town.Gates(g.Name.Service(), v.Self, g.Name.Number())
	}
	wait := noTurn
	if house != nil {
		wait = house.Enter(g)
	}
	if wait != "" && gates.Open() {
		gates.Wait, gates.WaitMost = wait, 0
	}
	return gates
}

// Instances are those that this node is to know of: what it is to run, and what
// it may run by a name that is known in advance.
func (v *View) Instances() map[instance.Name]bool {
	out := make(map[instance.Name]bool, len(v.Services))
	for name, s := range v.Services {
		if s.Spec.Copies == nil || !s.Spec.Copies.Unique {
			out[instance.Name(name)] = true
			continue
		}
		for _, c := range v.Placements[name].Copies {
			if c.Node == v.Self {
				out[instance.NameOf(name, c.Number)] = true
			}
		}
	}
	return out
}

// Order returns the succession list of a lease as slots, without nodes that are no
// members.
func (v *View) Order(name spec.ServiceName, lease int) []uint8 {
	var slots []uint8
	for _, n := range v.Placements[name].OrderOf(lease) {
		if node, ok := v.Nodes[n]; ok {
			slots = append(slots, node.Slot)
		}
	}
	return slots
}

// Doing is what an instance does here.
type Doing struct {
	Run    record.Service // as it runs, or as it would
	MayRun bool
	Banned bool
	Fence  bool                      // it does not stop, and its spec says what then
	Held   map[spec.ServiceName]bool // the guard shows this lease, by its name
	Sheds  [spec.MaxPrimaries]uint64 // see [supervise.State.ShedOf]
	Lease  int                       // which lease the role is about
	Uses   bool                      // that lease is used
	Takes  bool                      // it has its lease, or runs or would run without one

	MayBePrimary       bool
	Addresses, Cgroups []string // handles of all that may run or may start
}

// DoingOf is what a state says of what the instance does, but for what is known of
// the leases and the handles.
func DoingOf(st *supervise.State, now time.Time) Doing {
	d := Doing{
		Run: st.Run, MayRun: st.MayRun(), Banned: st.Banned(now), MayBePrimary: st.MayBePrimary(),
		Takes: st.Epoch != 0, Lease: st.Right.Lease, Uses: st.Right.Epoch != 0 || st.MayBePrimary(),
		Fence: st.StopFailed() && st.Run.Spec.Failover.StopFailure == spec.StopFence,
	}
	for lease := range d.Sheds {
		d.Sheds[lease] = st.ShedOf(lease)
	}
	return d
}

// Same reports whether a guard would be told the same of d and o, but for the leases
// that are held.
func (d *Doing) Same(o *Doing) bool {
	return d.MayRun == o.MayRun && d.Takes == o.Takes && d.MayBePrimary == o.MayBePrimary && d.Lease == o.Lease && d.Uses == o.Uses &&
		d.Sheds == o.Sheds && d.Banned == o.Banned && d.Fence == o.Fence &&
		d.Run.ID == o.Run.ID && d.Run.Generation == o.Run.Generation &&
		slices.Equal(d.Addresses, o.Addresses) && slices.Equal(d.Cgroups, o.Cgroups)
}

// holds reports whether any lease of the service is held.
func (d *Doing) holds(service spec.ServiceName) bool {
	for lease := range spec.MaxPrimaries {
		if d.Held[instance.LeaseName(service, lease)] {
			return true
		}
	}
	return false
}

// Seeks says what the guard is to do about one instance, if anything. A service
// that must not be claimed but runs, or whose lease is still held, is listed
// without an order: the guard holds on to what it holds, until the release,
// and claims nothing.
func (v *View) Seeks(name instance.Name, d *Doing) []guardwire.Seek {
	service := name.Service()
	w := v.Wanted(name, 0)
	claim := w.Service != nil && !w.Service.Deleting && !w.Service.Spec.Stopped && !w.Maintenance &&
		w.Rank >= 0 && !w.Leaving && !d.Banned && w.Service.ID == d.Run.ID && !d.Fence
	if w.Copy {
		claim = claim && slices.ContainsFunc(w.Rights[:], func(r supervise.Right) bool { return r.Rank >= 0 })
	}
	if d.Run.ID == 0 || !d.Run.Spec.HasLease() || !claim && !d.MayRun && !d.holds(service) {
		return nil
	}
	f := d.Run.Spec.Failover
	seek := guardwire.Seek{
		Service: service, ID: d.Run.ID, Exclusive: d.Run.Spec.IsExclusive(), Fence: d.Fence,
		TTL: v.Placements[service].LeaseTTL(d.Run.Spec), AgentLoss: f.EffectiveAgentLoss(),
		Addresses: d.Addresses, Cgroups: d.Cgroups,
	}
	// A voter that starts is silent for the longest TTL of the configuration
	// only, so no lease may be longer.
	if longest := time.Duration(v.Lease.LongestTTL); longest > 0 {
		seek.TTL = min(seek.TTL, longest)
	}
	if claim {
		seek.Order = v.Order(service, 0)
	}
	if d.Run.Spec.HasRoles() {
		seek.Replica = !d.MayBePrimary
		return v.primaries(name, d, seek, claim)
	}
	seek.Keep = d.Run.Spec.KeptOnQuorumLoss() && (w.Service == nil || w.Service.Spec.KeptOnQuorumLoss())
	return v.primaries(name, d, seek, claim)
}

// primaries are the seeks for the leases of a service: the one given, unless several
// may be primary. Of those a node claims no further one once it uses one. What can
// be cut off is listed with the one that is used, and with all while none is.
func (v *View) primaries(name instance.Name, d *Doing, seek guardwire.Seek, claim bool) []guardwire.Seek {
	service := name.Service()
	w := v.Wanted(name, 0)
	var out []guardwire.Seek
	for lease := range spec.MaxPrimaries {
		one := seek
		one.Service, one.ID, one.Demoted = instance.LeaseName(service, lease), d.Run.LeaseID(lease), d.Sheds[lease]
		uses := d.Uses && d.Lease == lease
		if one.ID == 0 || lease > 0 && lease >= d.Run.Spec.Primaries() && !uses && !d.Held[one.Service] {
			continue
		}
		switch {
		case !d.Run.Spec.HasRoles():
			one.Demoted = seek.Demoted
		case d.Uses && !uses:
			one.Order, one.Addresses, one.Cgroups, one.Replica = nil, nil, nil, true
		case !claim || w.Rights[lease].Rank < 0:
			one.Order = nil
		default:
			one.Order = v.Order(service, lease)
		}
		out = append(out, one)
	}
	return out
}

// Sort sorts what the guard is to do, one for each lease.
func Sort(all []guardwire.Seek) []guardwire.Seek {
	// Two instances of one service are here only while its copies get or lose
	// their numbers. The one that may be primary counts.
	slices.SortFunc(all, func(a, b guardwire.Seek) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), first(!a.Replica, !b.Replica), cmp.Compare(len(b.Order), len(a.Order)))
	})
	return slices.CompactFunc(all, func(a, b guardwire.Seek) bool { return a.Service == b.Service })
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

// Raised is what a guard without memory may use: numbers above Floor, which
// bounds all that the one before it can have used, up to Ceiling.
type Raised struct {
	Guard          uint64
	Floor, Ceiling uint64
	Lease          record.Lease // as it was in the store when the ceiling was raised
}

// Bounds is the lease plane's configuration for the guard; r is zero for one that
// has its floor.
func (v *View) Bounds(r Raised) guardwire.Lease {
	// What was read together with the floor may be newer than the view, which may
	// be the copy on disk. A guard without memory depends on it.
	lease := v.Lease
	if r.Lease.Version > lease.Version {
		lease.Version, lease.Voters, lease.Prior = r.Lease.Version, r.Lease.Voters, r.Lease.Prior
		lease.Floor, lease.Ceiling = r.Lease.Floor, max(lease.Ceiling, r.Lease.Ceiling)
	}
	lease.LongestTTL = max(lease.LongestTTL, r.Lease.LongestTTL)
	return guardwire.Lease{
		Version: lease.Version, Voters: lease.Voters, Prior: lease.Prior,
		Floor: max(r.Floor, lease.Floor), Ceiling: max(lease.Ceiling, r.Ceiling),
		LongestTTL: time.Duration(lease.LongestTTL),
	}
}

// Certain returns the slots of the nodes that are alive beyond doubt.
func Certain(s *guardwire.State) uint32 { return s.Alive &^ s.Suspect &^ s.Lost }

// HoldOf returns what the guard's last state shows of a service's lease, if one
// was heard. gone: no guard is there to ask.
func HoldOf(s *guardwire.State, heard, gone bool, name spec.ServiceName) supervise.Hold {
	h := supervise.Hold{Known: heard || gone}
	if !heard {
		return h
	}
	h.Guard = s.Guard
	i, held := slices.BinarySearchFunc(s.Holds, name, func(h guardwire.Hold, name spec.ServiceName) int {
		return cmp.Compare(h.Service, name)
	})
	if held {
		of := &s.Holds[i]
		h.Held, h.Epoch, h.Until, h.Kept = true, of.Epoch, time.Duration(of.Until), of.Kept
	}
	return h
}
