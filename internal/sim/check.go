package sim

import (
	"slices"

	"github.com/keelson/keelson/internal/core/lease"
)

// observe compares what a host believes with what the others believe. The
// invariants have names; a violation says which one broke.
func (w *world) observe(h *host) {
	for _, note := range h.node.Notes() {
		w.trace("node %d: %s lease %d number %d", h.slot, noteWord(note.Kind), note.ID, note.Number)
		if note.Kind != lease.Won {
			continue
		}
		w.result.Wins++
		// epochs-grow
		if last := w.epochs[note.ID]; note.Number <= last {
			w.violate("epochs-grow: node %d won service %d with number %d after %d", h.slot, note.ID, note.Number, last)
		}
		w.epochs[note.ID] = note.Number
	}
	var buf [16]lease.Hold
	held := h.node.Holds(h.local(w.now), buf[:0])
	for id := range lease.ID(w.opts.Services + 1) {
		i := slices.IndexFunc(held, func(x lease.Hold) bool { return x.ID == id })
		if i < 0 {
			w.ungrant(id, int(h.slot))
			continue
		}
		w.grant(id, grant{node: int(h.slot), number: held[i].Number, until: h.trueAt(held[i].Until)})
	}
}

// grant notes a valid lease and checks one-holder: no other running host holds
// an unexpired lease for the same service, by its own clock.
func (w *world) grant(id lease.ID, g grant) {
	w.ungrant(id, g.node)
	for _, other := range w.grants[id] {
		if other.until > w.now {
			w.violate("one-holder: service %d is held by node %d (number %d) and by node %d (number %d) for %s more",
				id, other.node, other.number, g.node, g.number, min(other.until, g.until)-w.now)
		}
	}
	w.grants[id] = append(w.grants[id], g)
}

func (w *world) ungrant(id lease.ID, node int) {
	w.grants[id] = slices.DeleteFunc(w.grants[id], func(g grant) bool { return g.node == node })
}

// checkWell demands, after all faults are healed and time has passed, that
// every service is held by somebody (majority-serves) and nobody is missed.
func (w *world) checkWell() {
	if w.result.Violation != "" {
		return
	}
	for id := lease.ID(1); int(id) <= w.opts.Services; id++ {
		held := 0
		for _, g := range w.grants[id] {
			if g.until > w.now {
				held++
			}
		}
		if held != 1 {
			w.violate("majority-serves: service %d is held by %d nodes %s after the last fault", id, held, w.opts.Settle)
		}
	}
	for _, h := range w.nodes {
		if v := h.node.View(h.local(w.now)); v.Lost != 0 || v.Alive != w.members() || !v.Quorate {
			w.violate("all-alive: node %d sees alive %b, lost %b, quorate %v %s after the last fault", h.slot, v.Alive, v.Lost, v.Quorate, w.opts.Settle)
		}
	}
}

func noteWord(k lease.NoteKind) string {
	switch k {
	case lease.Won:
		return "won"
	case lease.Ended:
		return "lost"
	case lease.Released:
		return "released"
	case lease.Free:
		return "found free"
	case lease.Exhausted:
		return "has no number left for"
	}
	return "did something to"
}

// Hours is how much cell time a history covers.
func (o Options) Hours() float64 { return (o.Length + o.Settle).Hours() }
