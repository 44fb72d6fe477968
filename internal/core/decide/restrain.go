package decide

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

// maxRounds bounds how often all is placed again because something is held back.
// What the last round would move is moved.
const maxRounds = 8

// restraint keeps a cell from doing too much at once. It bounds what is planned
// away from living nodes, and nothing else: what operators ask for is theirs, and
// who follows on a lost node acts without being asked.
type restraint struct {
	history  fact.History
	trust    map[spec.NodeName]fact.NodeHistory
	barred   bool // some node is in quarantine
	past     map[spec.ServiceName]fact.ServiceHistory
	limits   spec.Recovery // effective
	atOnce   int           // nodes that may be acted on at once
	rounds   int
	held     map[spec.ServiceName]hold // by unit
	stormed  bool                      // storm was looked for
	storm    *fact.Storm
	planned  []departure // of the last round
	workers  int
	reported bool // the storm is not new
}

// hold keeps a unit from being moved.
type hold struct {
	keep  spec.NodeName // where it runs; empty: nowhere
	why   string
	until time.Time // zero: until what it waits for has changed
	storm bool
	// Of a unit that has copies only those are kept that are on these nodes, and so
	// many that run nowhere are not started.
	nodes []spec.NodeName
	fewer int
}

func newRestraint(s fact.Snapshot, history fact.History) *restraint {
	r := &restraint{
		history: history, limits: s.Recovery.Effective(), workers: recovery.Workers(s), held: map[spec.ServiceName]hold{},
		trust: make(map[spec.NodeName]fact.NodeHistory, len(history.Nodes)),
		past:  make(map[spec.ServiceName]fact.ServiceHistory, len(history.Services)),
	}
	r.atOnce = s.Recovery.AtOnce(r.workers)
	for _, n := range history.Nodes {
		r.trust[n.Node] = n
		r.barred = r.barred || n.Trust == fact.Quarantined
	}
	for _, h := range history.Services {
		r.past[h.Service] = h
	}
	return r
}

// stoppedOn says that a service was tried on the node and everywhere else; empty:
// it was not.
func (r *restraint) stoppedOn(s *fact.Service, node spec.NodeName) string {
	if len(r.past) == 0 {
		return ""
	}
	h := r.past[s.Spec.Name]
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

// waiting says why the unit is not where it is to be, or nowhere; empty: it is.
func (p *planner) waiting(u *unit) string {
	if h, held := p.held[u.name()]; held && (u.copies != nil || h.keep == "" || u.holds(h.keep)) {
		return h.why
	}
	for _, s := range u.members {
		if h := p.past[s.Spec.Name]; !h.Stopped.IsZero() && len(u.order)+len(u.places) == 0 {
			return recovery.Halted(h)
		}
	}
	return ""
}

func tried(h fact.ServiceHistory, node spec.NodeName) bool {
	return slices.ContainsFunc(h.Tried, func(t fact.Try) bool { return t.Node == node })
}

// gaveUp reports whether the service failed on the node for another reason than that
// something is missing there: then it never started, and leaves nothing.
func gaveUp(h fact.ServiceHistory, node spec.NodeName) bool {
	return slices.ContainsFunc(h.Tried, func(t fact.Try) bool { return t.Node == node && t.Missing == "" })
}

// doubt says why a node is to come last for a unit; empty: it is not.
func (p *planner) doubt(u *unit, n *fact.Node) string {
	if len(p.history.Nodes)+len(p.history.Services) == 0 {
		return ""
	}
	if len(p.trust) > 0 && p.trust[n.Name].Trust == fact.Probation {
		return fmt.Sprintf("%s is on probation", n.Name)
	}
	if len(p.past) == 0 {
		return ""
	}
	for k := range u.members {
		s := &u.members[k]
		if tried(p.past[s.Spec.Name], n.Name) {
			return fmt.Sprintf("%s failed on %s before", s.Spec.Name, n.Name)
		}
	}
	return ""
}

// isolate takes out the nodes in quarantine, unless the unit is there. Where not
// even two others may run it they stay, and come last: better there than nowhere.
func (p *planner) isolate(u *unit) {
	if !p.barred {
		return
	}
	barred := func(c candidate) bool { return c.sitting == 0 && !c.kept && p.trust[c.node].Trust == fact.Quarantined }
	others := 0
	for i, c := range u.candidates {
		if barred(c) {
			u.candidates[i].doubt = fmt.Sprintf("%s is quarantined", c.node)
		} else {
			others++
		}
	}
	if others < 2 {
		return
	}
	u.candidates = slices.DeleteFunc(u.candidates, func(c candidate) bool {
		if barred(c) {
			h := p.trust[c.node]
			u.refuse(c.node, "%s is quarantined until %s: %s", c.node, clock(h.Until), h.Why)
		}
		return barred(c)
	})
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// holdsBack says what a hold makes of a node for a unit: that it stays there, or
// why it does not go there; neither: nothing.
func (p *planner) holdsBack(u *unit, n *fact.Node) (kept bool, why string) {
	if len(p.held) == 0 {
		return false, ""
	}
	h, held := p.held[u.name()]
	switch {
	case !held:
		return false, ""
	case u.copies != nil:
		return slices.Contains(h.nodes, n.Name), ""
	case h.keep == n.Name:
		return true, ""
	case h.keep != "":
		return false, ""
	}
	if why := p.forbidden(u, n); why != "" {
		return false, why
	}
	return false, h.why
}

// departure is a unit that is to leave a living node.
type departure struct {
	unit *unit
	from spec.NodeName
	ill  bool // the node is ill, or the unit failed there
	down bool // the unit does not run
	// Of a unit that has copies: how many leave the node; 0: it has none.
	copies int
	lost   bool // the node is lost: nothing is asked, and it counts
}

// weight is how many moves it counts as.
func (d departure) weight() int { return max(len(d.unit.members), d.copies) }

// departures lists the units that are newly to leave a living node, and that no
// operator asked to: those that are down first, then in the order of placing.
func (p *planner) departures() []departure {
	var out []departure
	for _, u := range p.units {
		if u.left || p.asked(u) {
			continue
		}
		if u.copies != nil {
			out = append(out, p.copiesLeave(u)...)
			continue
		}
		if d, leaves := p.departure(u); leaves {
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b departure) int { return cmp.Or(yes(a.lost, b.lost), yes(a.down, b.down)) })
	return out
}

// asked reports whether an operator asked for a move, or changed what decides
// where the unit is.
func (p *planner) asked(u *unit) bool {
	return slices.ContainsFunc(u.members, func(s fact.Service) bool {
		return s.MoveTo != "" || s.MoveFrom != "" || s.Planned != 0 && s.Planned != s.Generation
	})
}

// departure returns what the unit leaves, if it does.
func (p *planner) departure(u *unit) (departure, bool) {
	to := spec.NodeName("")
	if len(u.order) > 0 {
		to = u.order[0]
	}
	for k, s := range u.members {
		from, down := u.at[k], false
		if last, failed := lastTried(p.past[s.Spec.Name]); failed && (from == "" || gaveUp(p.past[s.Spec.Name], from)) && !p.runsAt(s, from) {
			from, down = last, true
		}
		decided := len(s.Order) > 0 && s.Order[0] == to
		if from == "" || from == to || decided || u.at[k] == "" && p.followed(s) {
			continue
		}
		n, known := p.node(from)
		// Whoever works on a node wants it empty.
		if !known || n.Liveness == fact.Lost || n.Drain || n.Leaving || n.Maintenance {
			continue
		}
		if to == "" && (down || n.Health > -spec.MaxScore) || !down && !p.onlyIll(u, n) {
			continue // another rule takes its place away
		}
		return departure{unit: u, from: from, ill: down || n.Health < 0, down: down}, true
	}
	return departure{}, false
}

// onlyIll reports whether nothing but illness, if anything, keeps the unit from
// the node.
func (p *planner) onlyIll(u *unit, n *fact.Node) bool {
	well := *n
	well.Health = 0
	return p.halted[u.name()] == "" && p.forbidden(u, &well) == ""
}

// followed reports whether a node of the service's list is lost: who follows is
// not moved away.
func (p *planner) followed(s fact.Service) bool {
	return slices.ContainsFunc(s.Order, func(n spec.NodeName) bool { return !p.alive(n) })
}

// runsAt reports whether the service is up on the node, or coming up.
func (p *planner) runsAt(s fact.Service, at spec.NodeName) bool {
	n, known := p.node(at)
	if !known {
		return false
	}
	i := instance(n, s.Spec.Name)
	return i != nil && recovery.Counts(s, at, *i) && !i.FailedUntil.After(p.snapshot.Now) && (running(*i) || i.Phase == fact.Backoff)
}

// lastTried returns the node on which the service gave up last, see [gaveUp].
func lastTried(h fact.ServiceHistory) (spec.NodeName, bool) {
	failed := slices.DeleteFunc(slices.Clone(h.Tried), func(t fact.Try) bool { return t.Missing != "" })
	if len(failed) == 0 {
		return "", false
	}
	return slices.MaxFunc(failed, func(a, b fact.Try) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(b.Node, a.Node))
	}).Node, true
}

// restrain looks at what is to leave a living node, and holds back what is too
// much at once. It reports whether it held back what it did not before.
func (p *planner) restrain() bool {
	leaving := p.departures()
	if !p.stormed {
		p.stormed = true
		p.look(leaving)
	}
	p.planned = p.planned[:0]
	p.rounds++
	tally := p.newTally()
	found := false
	for _, d := range leaving {
		h, wait := tally.wait(d)
		old, already := p.held[d.unit.name()]
		if d.unit.copies != nil {
			already = already && slices.Contains(old.nodes, d.from)
		}
		if !wait || already || d.lost || p.rounds > maxRounds {
			tally.add(d)
			p.planned = append(p.planned, d)
			continue
		}
		switch {
		case d.unit.copies != nil && d.down:
			h.nodes, h.fewer = append(slices.Clip(old.nodes), d.from), old.fewer+d.copies
		case d.unit.copies != nil:
			h.nodes, h.fewer = append(slices.Clip(old.nodes), d.from), old.fewer
		case !d.down:
			h.keep = d.from
		}
		p.held[d.unit.name()] = h
		found = true
	}
	return found
}

// tally counts what was and is to be moved.
type tally struct {
	*planner
	now   time.Time
	acted map[spec.NodeName]time.Time // ill nodes that were left at once before now, and when last
	cell  []time.Time                 // moves of all services within the window, sorted
}

func (p *planner) newTally() *tally {
	t := &tally{planner: p, now: p.snapshot.Now.UTC().Round(0), acted: map[spec.NodeName]time.Time{}}
	for _, h := range p.history.Services {
		for _, m := range h.Moves {
			if m.Ill && t.now.Sub(m.At) < recovery.AtOnce && t.acted[m.From].Before(m.At) {
				t.acted[m.From] = m.At
			}
			if t.now.Sub(m.At) < time.Duration(p.limits.Window) {
				t.cell = append(t.cell, m.At)
			}
		}
	}
	slices.SortFunc(t.cell, time.Time.Compare)
	return t
}

func (t *tally) add(d departure) {
	if d.ill {
		t.acted[d.from] = t.now
	}
	for range d.weight() {
		t.cell = append(t.cell, t.now)
	}
}

// wait says whether a departure has to wait.
func (t *tally) wait(d departure) (hold, bool) {
	name, window := d.unit.name(), time.Duration(t.limits.Window)
	say := func(until time.Time, format string, args ...any) (hold, bool) {
		return hold{why: fmt.Sprintf("its move away from %s waits until %s: ", d.from, clock(until)) + fmt.Sprintf(format, args...), until: until}, true
	}
	if d.ill && t.storm != nil {
		return hold{why: fmt.Sprintf("its move away from %s waits: %s", d.from, t.storm.Why), storm: true}, true
	}
	if _, again := t.acted[d.from]; d.ill && !again && len(t.acted) >= t.atOnce {
		first := t.now
		for _, at := range t.acted {
			if at.Before(first) {
				first = at
			}
		}
		return say(first.Add(recovery.AtOnce), "services leave %s of %s at once, and no more",
			count(t.atOnce, "node"), count(t.workers, "node"))
	}
	for _, s := range d.unit.members {
		moves := apartInTime(within(t.past[s.Spec.Name].Moves, t.now, window))
		if n := t.limits.ServiceMoves; len(moves) >= n {
			return say(moves[len(moves)-n].At.Add(window), "%s was moved %s within %v", s.Spec.Name, count(len(moves), "time"), t.limits.Window)
		}
	}
	if n := t.limits.CellMoves; len(t.cell)+d.weight() > n && len(t.cell) > 0 {
		at := t.cell[max(0, min(len(t.cell)-1, len(t.cell)+d.weight()-n-1))]
		return say(at.Add(window), "the cell moved %s within %v; %s waits its turn", count(len(t.cell), "service"), t.limits.Window, name)
	}
	return hold{}, false
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
func (p *planner) look(leaving []departure) {
	now := p.snapshot.Now.UTC().Round(0)
	fresh := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) < recovery.AtOnce }
	why := map[spec.NodeName]string{}
	for _, h := range p.history.Nodes {
		if n := len(h.Losses); n > 0 && fresh(h.Losses[n-1]) { // witnesses have none
			why[h.Node] = fmt.Sprintf("%s was lost", h.Node)
		}
	}
	for _, d := range leaving {
		if n, _ := p.node(d.from); n.Health <= -spec.MaxScore && !n.Witness {
			why[d.from] = fmt.Sprintf("%s is too ill to run anything", d.from)
		}
	}
	for node, failed := range p.failedAt(fresh) {
		// What fails alone has its cause in itself, not in the node.
		if n, _ := p.node(node); len(failed) > 1 && why[node] == "" && !n.Witness && !n.Leaving {
			why[node] = fmt.Sprintf("%s gave up on %s", strings.Join(failed, ", "), node)
		}
	}
	if len(why) <= p.atOnce {
		return
	}
	s := &fact.Storm{Since: now}
	if old := p.history.Storm; old != nil {
		*s, p.reported = *old, true
	}
	var said []string
	for _, n := range p.nodes {
		if why[n.Name] != "" {
			s.Nodes = append(slices.Clip(s.Nodes), n.Name)
			said = append(said, why[n.Name])
		}
	}
	slices.Sort(s.Nodes)
	s.Nodes = slices.Compact(s.Nodes)
	if p.history.Storm == nil || len(s.Nodes) > len(p.history.Storm.Nodes) {
		s.Why = fmt.Sprintf("%s of %d are in trouble at once (%s), and services may leave %s at once",
			count(len(why), "node"), p.workers, strings.Join(said, "; "), count(p.atOnce, "node"))
	}
	p.storm = s
}

// failedAt lists by node the services that gave up there and whose time is fresh.
func (p *planner) failedAt(fresh func(time.Time) bool) map[spec.NodeName][]string {
	out := map[spec.NodeName][]string{}
	for _, h := range p.history.Services {
		for _, t := range h.Tried {
			if fresh(t.At) && t.Missing == "" {
				out[t.Node] = append(out[t.Node], string(h.Service))
			}
		}
	}
	return out
}

// remember returns what is to be remembered of this decision, and tells of it.
func (p *planner) remember() (fact.History, []action.Note) {
	now := p.snapshot.Now.UTC().Round(0)
	var notes []action.Note
	moved := map[spec.ServiceName][]fact.Move{}
	for _, d := range p.planned {
		for _, s := range d.unit.members {
			for range max(1, d.copies) {
				moved[s.Spec.Name] = append(moved[s.Spec.Name], fact.Move{At: now, From: d.from, Ill: d.ill})
			}
		}
	}
	out := p.history
	out.Services = nil
	for _, s := range p.services {
		h, known := p.past[s.Spec.Name]
		m, moves := moved[s.Spec.Name]
		held, waits := hold{}, false
		if u := p.unitOf[s.Spec.Name]; u != nil && (!moves || u.copies != nil) { // what has to give way moves all the same
			held, waits = p.held[u.name()]
		}
		if !known && !moves && !waits {
			continue
		}
		h.Service, h.Generation = s.Spec.Name, s.Generation
		if waits && h.Waits == "" && !held.storm {
			notes = append(notes, action.Note{Kind: event.ServiceWaits, Service: s.Spec.Name, Text: held.why})
		}
		h.Waits, h.WaitsUntil = held.why, held.until
		if moves {
			h.Moves = append(slices.Clip(h.Moves), m...)
		}
		if len(h.Moves)+len(h.Tried) > 0 || h.Waits != "" {
			out.Services = append(out.Services, h)
		}
	}
	switch {
	case p.storm != nil && !p.reported:
		notes = append(notes, action.Note{Kind: event.CommonCause, Text: p.storm.Why + ". Look for a common cause: nothing is moved away from living nodes for it"})
	case p.storm == nil && p.history.Storm != nil:
		notes = append(notes, action.Note{Kind: event.CommonCauseOver, Text: "there is no trouble on many nodes at once any more"})
	}
	out.Storm = p.storm
	return out, notes
}
