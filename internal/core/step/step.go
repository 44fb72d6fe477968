// Package step works out what has to be done to get from how things are to
// where package place put them, and in which order.
//
// Its main rule is that nothing is started that cannot be stopped where it was,
// or that depends on what cannot run: what cannot be done takes with it what
// depends on it, and what has to be done takes along what has to be done with
// it. The result is an ordered graph, in which everything runs at once that the
// order allows.
//
// The package is pure and ends: a step only ever becomes necessary, and only
// ever becomes impossible.
package step

import (
	"slices"

	"github.com/keelson/keelson/internal/core/place"
)

// Verb is what is done.
type Verb uint8

// The verbs.
const (
	Start Verb = iota
	Stop
	Promote
	Demote
	Fence
)

// String returns the verb's name.
func (v Verb) String() string {
	return [...]string{"start", "stop", "promote", "demote", "fence"}[v]
}

// undo is the verb that takes another back.
func (v Verb) undo() Verb {
	return [...]Verb{Stop, Start, Demote, Promote, Fence}[v]
}

// Order is a rule: First does FirstDo before Then does ThenDo.
type Order struct {
	First []int
	// Any is true if one of First is enough; else all are needed.
	Any             bool
	Then            int
	FirstDo, ThenDo Verb
	// Optional orders only say what comes first if both happen. Mandatory ones
	// also say that Then cannot be without First.
	Optional bool
	// Symmetric orders hold the other way round for the opposite verbs.
	Symmetric bool
	// Least is how many copies of First are needed; 0 means 1.
	Least int
	// Apart orders only forbid that both happen at once.
	Apart bool
}

// Node is what can be done on a node.
type Node struct {
	// Reached nodes carry out what they are told.
	Reached bool
	// Fenced nodes will be cut off first: what runs there is gone then.
	Fenced bool
}

// May is what is known of an item beside its placing.
type May struct {
	// NoStart items cannot be started or promoted now.
	NoStart bool
	// Restart items are stopped and started even if they stay.
	Restart bool
	// Demote primaries lose their role first, and may get it back.
	Demote bool
}

// Problem is the whole input. Mays go with the items of Place.
type Problem struct {
	Place  place.Problem
	Placed []place.Placed
	Orders []Order
	Nodes  []Node
	Mays   []May
}

// Seat is one item on one node in one role.
type Seat struct {
	Node int
	Role place.Role
}

// Step is one thing to do.
type Step struct {
	Verb Verb
	Item int // place.Nowhere for a fence
	Node int
	// After are the indexes of the steps that must be done first.
	After []int
}

// Result is the outcome.
type Result struct {
	Steps []Step
	// Final, by item, is where each is when all steps are done. Items with
	// children have none of their own.
	Final [][]Seat
	// Blocked, by item, is why it cannot be where it was placed; empty if it can.
	Blocked []string
}

// Plan returns what has to be done.
func Plan(p Problem) Result {
	w := newWork(&p)
	for range limitRounds {
		if !w.round() {
			break
		}
	}
	out := Result{Final: make([][]Seat, len(p.Place.Items)), Blocked: make([]string, len(p.Place.Items))}
	for i := range p.Place.Items {
		out.Final[i] = w.final(i)
		out.Blocked[i] = w.acts[i].why
	}
	out.Steps = w.steps()
	return out
}

// limitRounds bounds the rounds until nothing changes; each round that goes on
// makes at least one of the acts final, so that it is never reached in practice.
const limitRounds = 10_000

// act is what is to happen to one item without children.
type act struct {
	leaf  bool
	at    []int // where it runs
	to    int   // where it shall run
	now   place.Role
	next  place.Role
	fixed bool // nothing can be done to it
	cut   bool // it is fixed, and could not be started again

	stop, start, promote, demote         bool // has to be done
	noStop, noStart, noPromote, noDemote bool // cannot be done
	why                                  string
}

type work struct {
	*Problem
	acts   []act
	leaves [][]int
}

func newWork(p *Problem) *work {
	w := &work{Problem: p, acts: make([]act, len(p.Place.Items)), leaves: make([][]int, len(p.Place.Items))}
	for i, item := range p.Place.Items {
		a := &w.acts[i]
		a.leaf = item.Kind == place.One
		if !a.leaf {
			continue
		}
		for k := i; k != place.Nowhere; k = p.Place.Items[k].Parent {
			w.leaves[k] = append(w.leaves[k], i)
		}
		w.fill(i)
	}
	return w
}

// fill says what the placing alone asks of the item.
func (w *work) fill(i int) {
	item, placed, a := &w.Place.Items[i], w.Placed[i], &w.acts[i]
	a.at, a.to, a.now, a.next = item.State.At, placed.Node, item.State.Role, placed.Role
	if len(a.at) == 0 {
		a.now = place.Stopped
	}
	if (item.State.Unmanaged || item.State.Blocked) && !placed.Spare {
		a.fixed, a.to = true, place.Nowhere
		a.noStop, a.noStart, a.noPromote, a.noDemote = true, true, true, true
		a.stop = item.State.Blocked && (item.State.Failed && len(a.at) > 0 || len(a.at) > 1)
		return
	}
	stays := a.to != place.Nowhere && slices.Contains(a.at, a.to)
	a.stop = len(a.at) > 0 && (!stays || len(a.at) > 1 || w.Mays[i].Restart)
	a.start = a.to != place.Nowhere && (!stays || a.stop)
	a.demote = a.now == place.Primary && (a.next != place.Primary || a.stop || w.Mays[i].Demote)
	a.promote = a.next == place.Primary && (a.now != place.Primary || a.demote || a.start)
	for _, n := range a.at {
		if !w.Nodes[n].Reached && !w.Nodes[n].Fenced {
			a.noStop, a.noDemote, a.why = true, true, "it cannot be stopped where it is"
		}
	}
	if w.Mays[i].NoStart {
		a.noStart, a.noPromote, a.why = true, true, "it may not be started now"
	}
}

// set makes a statement true and reports whether it was not.
func set(b *bool) bool {
	was := *b
	*b = true
	return !was
}

// round applies all rules once and reports whether something changed.
func (w *work) round() bool {
	changed := false
	for i := range w.acts {
		if w.acts[i].leaf && !w.acts[i].fixed {
			changed = w.inner(i) || changed
		}
	}
	for _, o := range w.Orders {
		changed = w.order(o) || changed
	}
	for _, p := range w.Place.Pulls {
		if p.Score >= place.Inf && p.Class == nil {
			changed = w.follow(p) || changed
		}
	}
	for i, item := range w.Place.Items {
		switch {
		case item.Kind == place.Stack:
			changed = w.stack(i) || changed
		case item.Kind == place.Copies && item.Set.Roles:
			changed = w.primaries(i) || changed
		}
	}
	return changed
}

// primaries forbids promoting where a primary that was to give way cannot: there
// are never more primaries than the set may have.
func (w *work) primaries(i int) bool {
	left := w.Place.Items[i].Set.Primaries
	for _, l := range w.leaves[i] {
		if a := &w.acts[l]; a.now == place.Primary && (a.next == place.Primary || w.stuckPrimary(l)) {
			left--
		}
	}
	changed := false
	for _, l := range w.leaves[i] {
		a := &w.acts[l]
		if a.now == place.Primary || a.next != place.Primary {
			continue
		}
		if left--; left < 0 && !a.fixed && w.anyStuckPrimary(i) {
			changed = set(&a.noPromote) || changed
		}
	}
	return changed
}

func (w *work) stuckPrimary(l int) bool {
	a := &w.acts[l]
	return a.now == place.Primary && a.next != place.Primary && (a.fixed || a.noDemote)
}

func (w *work) anyStuckPrimary(i int) bool { return slices.ContainsFunc(w.leaves[i], w.stuckPrimary) }

// inner applies the rules between the steps of one item.
func (w *work) inner(i int) bool {
	a := &w.acts[i]
	changed := false
	if a.stop {
		if a.now == place.Primary {
			changed = set(&a.demote) || changed
		}
		if a.to != place.Nowhere {
			changed = set(&a.start) || changed
		}
		if a.noDemote && a.now == place.Primary {
			changed = set(&a.noStop) || changed
		}
		if a.noStop {
			changed = w.cannotStart(i, "it cannot be stopped where it is") || changed
		}
	}
	if a.start || a.demote {
		if a.next == place.Primary {
			changed = set(&a.promote) || changed
		}
	}
	if a.noStart {
		if a.to != place.Nowhere {
			changed = set(&a.noPromote) || changed
		}
		// What may not start may not go on either.
		if a.to != place.Nowhere && len(a.at) > 0 && !w.Mays[i].keeps(a) {
			changed = set(&a.stop) || changed
		}
	}
	return changed
}

// keeps reports whether an item that may not be started goes on if it runs.
func (m May) keeps(a *act) bool { return m.NoStart && !a.start && a.why == "it may not be started now" }

func (w *work) cannotStart(i int, why string) bool {
	a := &w.acts[i]
	if a.noStart {
		return false
	}
	a.noStart = true
	if a.why == "" {
		a.why = why
	}
	return true
}

// follow applies a mandatory attraction: what may not start takes with it what
// must be where it is.
func (w *work) follow(p place.Pull) bool {
	copies := w.Place.Items[p.With].Kind == place.Copies && !w.Place.Soft
	if p.WithRole == place.Primary || w.Place.Items[p.With].Kind != place.One && !copies {
		return false
	}
	changed := false
	for _, f := range w.leaves[p.With] {
		a := &w.acts[f]
		if a.fixed || !a.noStart || a.to == place.Nowhere {
			continue
		}
		for _, t := range w.leaves[p.Item] {
			if w.acts[t].fixed || copies && w.acts[t].to != a.to {
				continue
			}
			if p.ItemRole == place.Primary {
				changed = set(&w.acts[t].noPromote) || changed
				continue
			}
			changed = w.cannotStart(t, "what it must be together with cannot start") || changed
		}
	}
	return changed
}

// stack applies the order within a stack: each part starts after the one before
// it and stops before it.
func (w *work) stack(i int) bool {
	item := &w.Place.Items[i]
	changed := false
	for k := 1; k < len(item.Children); k++ {
		before, after := item.Children[k-1], item.Children[k]
		changed = w.pair(before, after, Start, Start, !item.Loose) || changed
		if !item.Loose && slices.ContainsFunc(w.leaves[after], w.stays) {
			changed = w.forbid(before, Stop) || changed
		}
	}
	return changed
}

// stays reports whether the item runs and nothing can be done to it.
func (w *work) stays(i int) bool { return w.acts[i].fixed && len(w.acts[i].at) > 0 }
