package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/lease"
	"github.com/keelson/keelson/internal/core/quorum"
)

// kind is a kind of fault.
type kind uint8

// What can happen to a cell. All but the moments end by themselves.
const (
	crash     kind        = iota // a host dies and comes back
	restart                      // a guard dies and another begins without memory (a moment)
	upgrade                      // a guard hands its state to another (a moment)
	stopGuard                    // a guard stands still; the host goes on
	stopAgent                    // an agent stands still; the guard goes on
	hangAgent                    // an agent says nothing any more, and goes on by what it last heard
	suspend                      // a host sleeps; its clock jumps when it wakes
	split                        // nothing passes between two sets of nodes
	cut                          // nothing passes from one set of nodes to another
	slow                         // packets from one set to another take longer
	burst                        // for a moment nothing gets out of some nodes
	loss                         // packets are lost
	double                       // packets arrive twice
	reorder                      // packets overtake each other
	late                         // packets arrive a second time, seconds later
	large                        // long packets do not get out of some nodes
	drift                        // clocks go apart: some fast, the others slow
	storeAway                    // the store answers nobody
	storeCut                     // the store answers some nodes no more
	voters                       // other nodes vote (a moment)
	ttl                          // another TTL (a moment)
	move                         // the plan wants a service elsewhere (a moment)
	giveBack                     // a service is stopped and its lease given back (a moment)
	scattered                    // those above fall anywhere, those below in scenes only
	driftFar  = scattered        // clocks go further apart than good ones do
	kinds     = scattered + 1
)

var kindNames = [kinds]string{
	"crash", "restart", "upgrade", "guard stopped", "agent stopped", "agent hangs", "suspend", "partition", "one-way", "delay", "burst", "loss",
	"duplication", "reordering", "late packets", "large packets lost", "drift", "store away", "store cut off", "voters changed",
	"TTL changed", "move", "lease given back", "clock of another rate",
}

// String returns the fault's name.
func (k kind) String() string { return kindNames[k] }

// Kinds returns the names of all kinds of fault, in the order of
// [Result.Faults].
func Kinds() []string { return slices.Clone(kindNames[:]) }

// fault is one thing that happens to the cell.
type fault struct {
	kind     kind
	at       time.Duration // when, or from when on the trigger counts
	length   time.Duration
	scene    int8       // whose cast from and to speak of; nobody: of slots
	from, to quorum.Set // whom it hits, and towards whom
	service  int        // index of the service it is about
	by       time.Duration
	share    float64
	// on lets the fault wait for this note about its service, said by one of
	// sayers; delay is what then passes.
	on     lease.NoteKind
	sayers quorum.Set
	delay  time.Duration
	bear   bear // what it must not cause
	dies   bool // whom it hits is lost for all others, at once
}

// nobody is the scene of a fault that has no cast.
const nobody = int8(-1)

// maxScenes bounds the scenes of one history.
const maxScenes = 8

// cast says who plays which role in a scene: 0 is the holder of the scene's
// service when it begins, then come the other voters, then the rest.
type cast [MaxNodes]uint8

// arm plans a fault.
func (w *world) arm(f *fault) {
	w.after(f.at, func() {
		w.castOf(f)
		if f.on == 0 {
			w.happen(f)
			return
		}
		w.armed = append(w.armed, f)
	})
}

// noted looks whether a note sets off what is armed.
func (w *world) noted(h *host, note *lease.Note) {
	for i := 0; i < len(w.armed); i++ {
		f := w.armed[i]
		if f.on == note.Kind && w.plan.services[f.service].id == note.ID && w.slots(f, f.sayers).Has(h.slot) {
			w.armed = slices.Delete(w.armed, i, i+1)
			i--
			w.after(f.delay, func() { w.happen(f) })
		}
	}
}

func (w *world) castOf(f *fault) *cast {
	if f.scene == nobody {
		return nil
	}
	if c := w.casts[f.scene]; c != nil {
		return c
	}
	c := &cast{}
	star := w.holder(f.service)
	if star < 0 {
		star = int(f.scene) % len(w.hosts)
	}
	n := 0
	add := func(slot int) {
		if !slices.Contains(c[:n], uint8(slot)) {
			c[n] = uint8(slot)
			n++
		}
	}
	add(star)
	for i := range w.hosts {
		if slot := (star + i) % len(w.hosts); w.boss.config.Voters.Has(uint8(slot)) {
			add(slot)
		}
	}
	for slot := range w.hosts {
		add(slot)
	}
	w.casts[f.scene] = c
	return c
}

// slots is who stands behind a set of roles.
func (w *world) slots(f *fault, roles quorum.Set) quorum.Set {
	c := w.castOf(f)
	if c == nil {
		return roles & w.members()
	}
	var s quorum.Set
	for i := range w.hosts {
		if roles.Has(uint8(i)) {
			s |= 1 << c[i]
		}
	}
	return s
}

// each calls do for every host of a set.
func (w *world) each(s quorum.Set, do func(h *host)) {
	for _, h := range w.hosts {
		if s.Has(h.slot) {
			do(h)
		}
	}
}

// happen injects a fault and plans its end. No fault outlives the part of the
// history that has faults.
func (w *world) happen(f *fault) {
	left := w.plan.length - w.now
	if left <= 0 {
		return
	}
	d := min(f.length, left)
	from, to := w.slots(f, f.from), w.slots(f, f.to)
	w.result.Faults[f.kind]++
	if w.tracing {
		text := w.describe(f, d, from, to)
		w.fired = append(w.fired, fmt.Sprintf("%.3fs: %s", w.now.Seconds(), text))
		w.trace("fault: %s", text)
	}
	w.excuse(from, f.bear, d)
	if f.dies {
		w.expect(from)
	}
	switch f.kind {
	case crash, restart, upgrade, stopGuard, stopAgent, hangAgent, suspend:
		w.each(from, func(h *host) { w.hit(h, f.kind, d) })
	case drift:
		w.driftApart(from, d, slowest, fastest)
	case driftFar:
		w.driftApart(from, d, 1-f.share/2, 1+f.share/2)
		w.watch.noise++
		w.watch.disturbed(w)
		w.after(d+foundFor, func() {
			w.watch.noise--
			w.watch.disturbed(w)
		})
	case storeAway:
		w.boss.away++
		w.after(d, func() { w.boss.away-- })
	case storeCut:
		w.each(from, func(h *host) {
			h.cutOff++
			w.after(d, func() { h.cutOff-- })
		})
	case voters:
		w.boss.wish(from)
	case ttl:
		w.boss.changeTTL(w, f.service, min(f.by, w.plan.longest))
	case move:
		w.boss.move(w, f.service, from)
	case giveBack:
		w.giveBack(f.service)
	default:
		w.disturbNetwork(f, from, to, d)
	}
}

// disturbNetwork begins a fault of the network.
func (w *world) disturbNetwork(f *fault, from, to quorum.Set, d time.Duration) {
	n := &w.net
	begin := func(int) {}
	change := func(sign int) {
		n.active += sign
		w.watch.disturbed(w)
		begin(sign)
	}
	pairs := func(do func(a, b uint8)) {
		for _, a := range w.hosts {
			for _, b := range w.hosts {
				if a != b && from.Has(a.slot) && to.Has(b.slot) {
					do(a.slot, b.slot)
				}
			}
		}
	}
	noise := true // it touches everyone
	switch f.kind {
	case split, cut:
		noise = false
		begin = func(sign int) {
			pairs(func(a, b uint8) {
				n.cut[a][b] += sign
				if f.kind == split {
					n.cut[b][a] += sign
				}
			})
		}
	case slow:
		begin = func(sign int) { pairs(func(a, b uint8) { n.slow[a][b] += time.Duration(sign) * f.by }) }
	case burst:
		begin = func(sign int) { w.each(from, func(h *host) { n.burst[h.slot] += sign }) }
	case large:
		begin = func(sign int) { pairs(func(a, b uint8) { n.large[a][b] += sign }) }
	case late:
		begin = func(sign int) {
			n.lates += sign
			w.each(from, func(h *host) { n.held[h.slot] += sign })
		}
		n.heldBy = max(n.heldBy, f.by, time.Millisecond)
	case loss:
		begin = func(sign int) { n.loss += float64(sign) * f.share }
	case double:
		begin = func(sign int) { n.double += float64(sign) * f.share }
	case reorder:
		begin = func(sign int) { n.spread += time.Duration(sign) * f.by }
	default:
	}
	if noise {
		w.watch.noise++
	}
	change(1)
	w.after(d, func() {
		change(-1)
		tail := f.by
		if f.kind == late {
			if tail = n.heldBy; n.lates == 0 {
				n.heldBy = 0
			}
		}
		if noise {
			// What is still on its way touches the cell, too.
			w.after(2*tail, func() {
				w.watch.noise--
				w.watch.disturbed(w)
			})
		}
	})
}

// describe says what a fault is, for people.
func (w *world) describe(f *fault, d time.Duration, from, to quorum.Set) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", f.kind)
	about := fmt.Sprintf(" of service %d", w.plan.services[f.service].id)
	switch f.kind {
	case split:
		fmt.Fprintf(&b, " between %s and %s", names(from), names(to))
	case cut, slow, large:
		fmt.Fprintf(&b, " from %s to %s", names(from), names(to))
	case ttl, giveBack:
		b.WriteString(about)
	case move:
		fmt.Fprintf(&b, "%s to %s", about, names(from&-from))
	case loss, double:
		fmt.Fprintf(&b, " of %.0f %%", 100*f.share)
	case driftFar:
		fmt.Fprintf(&b, ", fast by %.2f %%: %s", 100*f.share, names(from))
	case storeAway, reorder:
	default:
		fmt.Fprintf(&b, ", %s", names(from))
	}
	if f.by > 0 && f.kind != move {
		fmt.Fprintf(&b, ", by %s", f.by.Round(time.Millisecond))
	}
	switch f.kind {
	case restart, upgrade, voters, ttl, move, giveBack:
	default:
		fmt.Fprintf(&b, ", for %s", d.Round(time.Millisecond))
	}
	return b.String()
}

// names lists nodes.
func names(s quorum.Set) string {
	var out []string
	for slot := range uint8(MaxNodes) {
		if s.Has(slot) {
			out = append(out, fmt.Sprint(slot))
		}
	}
	if len(out) == 1 {
		return "node " + out[0]
	}
	return "nodes " + strings.Join(out, ",")
}
