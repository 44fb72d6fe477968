// Package restrain keeps a cell from doing too much at once.
//
// Its main rule: it bounds what is planned away from living nodes, and nothing else.
// What operators ask for is theirs, and who follows on a lost node acts without being
// asked. What cannot be judged stays where it is. The package is pure; it decides
// nothing about where anything goes.
package restrain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/core/recovery"
	"github.com/keelson/keelson/internal/model/action"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// maxRounds bounds how often all is placed again because something is held back, and
// something else would move for it. After that nothing that runs where it may is
// moved: what cannot be judged stays.
const maxRounds = 8

// Restraint keeps a cell from doing too much at once. It bounds what is planned
// away from living nodes, and nothing else: what operators ask for is theirs, and
// who follows on a lost node acts without being asked.
type Restraint struct {
	History  fact.History
	Trust    map[spec.NodeName]fact.NodeHistory
	Barred   bool // some node is in quarantine
	Watched  bool // some node is on probation
	Past     map[spec.ServiceName]fact.ServiceHistory
	Limits   spec.Recovery // effective
	AtOnce   int           // nodes that may be acted on at once
	Rounds   int
	Frozen   bool                        // nothing leaves where it may stay
	Faulty   map[spec.ServiceName]string // services that would break a rule, and which
	Held     map[spec.ServiceName]Hold   // by unit
	Stormed  bool                        // storm was looked for
	Storm    *fact.Storm
	Planned  []Departure // of the last round
	Workers  int
	Reported bool // the storm is not new
}

// Hold keeps a unit from being moved.
type Hold struct {
	Keep  spec.NodeName // where it runs; empty: nowhere
	Why   string
	Until time.Time // zero: until what it waits for has changed
	Storm bool
	// Of a unit that has copies only those are kept that are on these nodes, and so
	// many that run nowhere are not started.
	Nodes []spec.NodeName
	Fewer int
}

// New returns what bounds a decision on a snapshot, given what is remembered.
func New(s fact.Snapshot, history fact.History) *Restraint {
	r := &Restraint{
		History: history, Limits: s.Recovery.Effective(), Workers: recovery.Workers(s), Held: map[spec.ServiceName]Hold{},
		Trust: make(map[spec.NodeName]fact.NodeHistory, len(history.Nodes)),
		Past:  make(map[spec.ServiceName]fact.ServiceHistory, len(history.Services)),
	}
	r.AtOnce = s.Recovery.AtOnce(r.Workers)
	for _, n := range history.Nodes {
		r.Trust[n.Node] = n
		r.Barred = r.Barred || n.Trust == fact.Quarantined
		r.Watched = r.Watched || n.Trust == fact.Probation
	}
	for _, h := range history.Services {
		r.Past[h.Service] = h
	}
	return r
}

// StoppedOn says that a service was tried on the node and everywhere else; empty:
// it was not.
func (r *Restraint) StoppedOn(s *fact.Service, node spec.NodeName) string {
	if len(r.Past) == 0 {
		return ""
	}
	h := r.Past[s.Spec.Name]
	at := slices.IndexFunc(h.Tried, func(t fact.Try) bool { return t.Node == node })
	if h.Stopped.IsZero() || at < 0 {
		return ""
	}
	if lacks := h.Tried[at].Missing; lacks != "" {
		return fmt.Sprintf("%s cannot start there without %s, nor on any other node; it is tried again in a while, or after `keelson clear %s`",
			s.Spec.Name, lacks, s.Spec.Name)
	}
	why := h.Tried[at].Why
	if why != "" {
		why = " (" + why + ")"
	}
	return fmt.Sprintf("%s failed there%s and on every other node; it is stopped until `keelson clear %s`", s.Spec.Name, why, s.Spec.Name)
}

// Tried reports whether a service gave up on the node.
func Tried(h fact.ServiceHistory, node spec.NodeName) bool {
	return slices.ContainsFunc(h.Tried, func(t fact.Try) bool { return t.Node == node })
}

// GaveUp reports whether the service failed on the node for another reason than that
// something is missing there: then it never started, and leaves nothing.
func GaveUp(h fact.ServiceHistory, node spec.NodeName) bool {
	return slices.ContainsFunc(h.Tried, func(t fact.Try) bool { return t.Node == node && t.Missing == "" })
}

// Doubt says why a node is to come last for a unit; empty: it is not.
func (r *Restraint) Doubt(members []fact.Service, n *fact.Node) string {
	if len(r.History.Nodes)+len(r.History.Services) == 0 {
		return ""
	}
	if r.Watched && r.Trust[n.Name].Trust == fact.Probation {
		return fmt.Sprintf("%s is on probation", n.Name)
	}
	if len(r.Past) == 0 {
		return ""
	}
	for k := range members {
		s := &members[k]
		if Tried(r.Past[s.Spec.Name], n.Name) {
			return fmt.Sprintf("%s failed on %s before", s.Spec.Name, n.Name)
		}
	}
	return ""
}

// Clock writes a time.
func Clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Departure is a unit that is to leave a living node.
type Departure struct {
	Unit    spec.ServiceName // its first member
	Members []fact.Service
	From    spec.NodeName
	Ill     bool // the node is ill, or the unit failed there
	Down    bool // the unit does not run
	// Several: the unit has copies, and Copies is how many of them leave the node.
	Several bool
	Copies  int
	Lost    bool // the node is lost: nothing is asked, and it counts
}

// weight is how many moves it counts as.
func (d Departure) weight() int { return max(len(d.Members), d.Copies) }

// LastTried returns the node on which the service gave up last, see [GaveUp].
func LastTried(h fact.ServiceHistory) (spec.NodeName, bool) {
	failed := slices.DeleteFunc(slices.Clone(h.Tried), func(t fact.Try) bool { return t.Missing != "" })
	if len(failed) == 0 {
		return "", false
	}
	return slices.MaxFunc(failed, func(a, b fact.Try) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(b.Node, a.Node))
	}).Node, true
}

// Restrain looks at what is to leave living nodes, and holds back what is too much
// at once. It reports whether it held back what it did not before.
func (r *Restraint) Restrain(s fact.Snapshot, leaving []Departure) bool {
	if !r.Stormed {
		r.Stormed = true
		r.look(s, leaving)
	}
	r.Planned = r.Planned[:0]
	r.Rounds++
	tally := r.newTally(s.Now)
	found := false
	for _, d := range leaving {
		h, wait := tally.Wait(d)
		old, already := r.Held[d.Unit]
		if d.Several {
			already = already && slices.Contains(old.Nodes, d.From)
		}
		if !wait || already || d.Lost {
			tally.Add(d)
			r.Planned = append(r.Planned, d)
			continue
		}
		switch {
		case d.Several && d.Down:
			h.Nodes, h.Fewer = append(slices.Clip(old.Nodes), d.From), old.Fewer+d.Copies
		case d.Several:
			h.Nodes, h.Fewer = append(slices.Clip(old.Nodes), d.From), old.Fewer
		case !d.Down:
			h.Keep = d.From
		}
		r.Held[d.Unit] = h
		found = true
	}
	if found && r.Rounds > maxRounds {
		r.Frozen = true
	}
	return found
}

// tally counts what was and is to be moved.
type tally struct {
	*Restraint
	Now   time.Time
	Acted map[spec.NodeName]time.Time // ill nodes that were left at once before now, and when last
	Cell  []time.Time                 // moves of all services within the window, sorted
}

func (r *Restraint) newTally(now time.Time) *tally {
	t := &tally{Restraint: r, Now: now.UTC().Round(0), Acted: map[spec.NodeName]time.Time{}}
	for _, h := range r.History.Services {
		for _, m := range h.Moves {
			if m.Ill && t.Now.Sub(m.At) < recovery.AtOnce && t.Acted[m.From].Before(m.At) {
				t.Acted[m.From] = m.At
			}
			if t.Now.Sub(m.At) < time.Duration(r.Limits.Window) {
				t.Cell = append(t.Cell, m.At)
			}
		}
	}
	slices.SortFunc(t.Cell, time.Time.Compare)
	return t
}

func (t *tally) Add(d Departure) {
	if d.Ill {
		t.Acted[d.From] = t.Now
	}
	for range d.weight() {
		t.Cell = append(t.Cell, t.Now)
	}
}

// wait says whether a departure has to wait.
func (t *tally) Wait(d Departure) (Hold, bool) {
	name, window := d.Unit, time.Duration(t.Limits.Window)
	say := func(until time.Time, format string, args ...any) (Hold, bool) {
		return Hold{Why: fmt.Sprintf("its move away from %s waits until %s: ", d.From, Clock(until)) + fmt.Sprintf(format, args...), Until: until}, true
	}
	if d.Ill && t.Storm != nil {
		return Hold{Why: fmt.Sprintf("its move away from %s waits: %s", d.From, t.Storm.Why), Storm: true}, true
	}
	if _, again := t.Acted[d.From]; d.Ill && !again && len(t.Acted) >= t.AtOnce {
		first := t.Now
		for _, at := range t.Acted {
			if at.Before(first) {
				first = at
			}
		}
		return say(first.Add(recovery.AtOnce), "services leave %s of %s at once, and no more",
			count(t.AtOnce, "node"), count(t.Workers, "node"))
	}
	for _, s := range d.Members {
		moves := apartInTime(within(t.Past[s.Spec.Name].Moves, t.Now, window))
		if n := t.Limits.ServiceMoves; len(moves) >= n {
			return say(moves[len(moves)-n].At.Add(window), "%s was moved %s within %v", s.Spec.Name, count(len(moves), "time"), t.Limits.Window)
		}
	}
	if n := t.Limits.CellMoves; len(t.Cell)+d.weight() > n && len(t.Cell) > 0 {
		at := t.Cell[max(0, min(len(t.Cell)-1, len(t.Cell)+d.weight()-n-1))]
		return say(at.Add(window), "the cell moved %s within %v; %s waits its turn", count(len(t.Cell), "service"), t.Limits.Window, name)
	}
	return Hold{}, false
}

func within(moves []fact.Move, now time.Time, window time.Duration) []fact.Move {
	return slices.DeleteFunc(slices.Clone(moves), func(m fact.Move) bool { return now.Sub(m.At) >= window })
}

// apartInTime leaves out moves at the same moment: copies that move at once are one
// move of their service, and as many of the cell.
func apartInTime(moves []fact.Move) []fact.Move {
	return slices.CompactFunc(moves, func(a, b fact.Move) bool { return a.At.Equal(b.At) })
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// look finds trouble on more nodes at once than may be acted on.
func (r *Restraint) look(snap fact.Snapshot, leaving []Departure) {
	now := snap.Now.UTC().Round(0)
	fresh := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) < recovery.AtOnce }
	why := map[spec.NodeName]string{}
	for _, h := range r.History.Nodes {
		if n := len(h.Losses); n > 0 && fresh(h.Losses[n-1]) { // witnesses have none
			why[h.Node] = fmt.Sprintf("%s was lost", h.Node)
		}
	}
	for _, d := range leaving {
		if n := node(snap, d.From); n.Health <= -spec.MaxScore && !n.Witness {
			why[d.From] = fmt.Sprintf("%s is too ill to run anything", d.From)
		}
	}
	for at, failed := range r.failedAt(fresh) {
		// What fails alone has its cause in itself, not in the node.
		if n := node(snap, at); len(failed) > 1 && why[at] == "" && !n.Witness && !n.Leaving {
			why[at] = fmt.Sprintf("%s gave up on %s", strings.Join(failed, ", "), at)
		}
	}
	if len(why) <= r.AtOnce {
		return
	}
	s := &fact.Storm{Since: now}
	if old := r.History.Storm; old != nil {
		*s, r.Reported = *old, true
	}
	var said []string
	for _, n := range snap.Nodes {
		if why[n.Name] != "" {
			s.Nodes = append(slices.Clip(s.Nodes), n.Name)
			said = append(said, why[n.Name])
		}
	}
	slices.Sort(s.Nodes)
	s.Nodes = slices.Compact(s.Nodes)
	if r.History.Storm == nil || len(s.Nodes) > len(r.History.Storm.Nodes) {
		s.Why = fmt.Sprintf("%s of %d are in trouble at once (%s), and services may leave %s at once",
			count(len(why), "node"), r.Workers, strings.Join(said, "; "), count(r.AtOnce, "node"))
	}
	r.Storm = s
}

// Remember returns what is to be remembered of this decision, and tells of it. The
// function says for a service what holds it where it is; ok is false if nothing does.
func (r *Restraint) Remember(snap fact.Snapshot, held func(fact.Service) (h Hold, ok bool)) (fact.History, []action.Note) {
	now := snap.Now.UTC().Round(0)
	var notes []action.Note
	moved := map[spec.ServiceName][]fact.Move{}
	several := map[spec.ServiceName]bool{}
	for _, d := range r.Planned {
		for _, s := range d.Members {
			several[s.Spec.Name] = d.Several
			for range max(1, d.Copies) {
				moved[s.Spec.Name] = append(moved[s.Spec.Name], fact.Move{At: now, From: d.From, Ill: d.Ill})
			}
		}
	}
	out := r.History
	out.Services = nil
	for _, s := range snap.Services {
		h, known := r.Past[s.Spec.Name]
		m, moves := moved[s.Spec.Name]
		wait, waits := Hold{}, false
		if !moves || several[s.Spec.Name] { // what has to give way moves all the same
			wait, waits = held(s)
		}
		if !known && !moves && !waits {
			continue
		}
		h.Service, h.Generation = s.Spec.Name, s.Generation
		if waits && h.Waits == "" && !wait.Storm {
			notes = append(notes, action.Note{Kind: event.ServiceWaits, Service: s.Spec.Name, Text: wait.Why})
		}
		h.Waits, h.WaitsUntil = wait.Why, wait.Until
		if moves {
			h.Moves = append(slices.Clip(h.Moves), m...)
		}
		if len(h.Moves)+len(h.Tried) > 0 || h.Waits != "" {
			out.Services = append(out.Services, h)
		}
	}
	switch {
	case r.Storm != nil && !r.Reported:
		notes = append(notes, action.Note{Kind: event.CommonCause, Text: r.Storm.Why + ". Look for a common cause: nothing is moved away from living nodes for it"})
	case r.Storm == nil && r.History.Storm != nil:
		notes = append(notes, action.Note{Kind: event.CommonCauseOver, Text: "there is no trouble on many nodes at once any more"})
	}
	out.Storm = r.Storm
	return out, notes
}

// node returns the node of that name, a zero one if there is none.
func node(s fact.Snapshot, name spec.NodeName) fact.Node {
	i, known := slices.BinarySearchFunc(s.Nodes, name, func(n fact.Node, name spec.NodeName) int { return cmp.Compare(n.Name, name) })
	if !known {
		return fact.Node{}
	}
	return s.Nodes[i]
}

// failedAt lists by node the services that gave up there and whose time is fresh.
func (r *Restraint) failedAt(fresh func(time.Time) bool) map[spec.NodeName][]string {
	out := map[spec.NodeName][]string{}
	for _, h := range r.History.Services {
		for _, t := range h.Tried {
			if fresh(t.At) && t.Missing == "" {
				out[t.Node] = append(out[t.Node], string(h.Service))
			}
		}
	}
	return out
}
