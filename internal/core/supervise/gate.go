package supervise

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

const (
	// atOnce is how long a start waits at most for a service that it is after only
	// if both start at once.
	atOnce = 15 * time.Second
	// holdSlack is added to the stop timeouts of those that depend on a service,
	// for its wait until they have stopped.
	holdSlack = 5 * time.Second
)

// Gates hold a service back for the sake of the order. It is comparable; the zero
// value holds nothing back.
type Gates struct {
	// Wait says what must happen before it starts, such as "db to run". It waits
	// for WaitMost at most, counted anew whenever Wait changes; 0: for ever.
	Wait     string
	WaitMost time.Duration
	// Yield says why it must stop, though it is to be here.
	Yield string
	// Under is what runs now of those that it is after, as [fact.Instance] says it.
	Under string
	// Held names what must stop before it does. HeldCopy is the same where this copy
	// goes alone: nothing waits for one of which others stay. HeldRole names what
	// must stop before it is demoted. HoldFor bounds the wait for any of them.
	Held, HeldCopy, HeldRole string
	HoldFor                  time.Duration
}

// Open reports whether it may start, now or by itself a little later.
func (g *Gates) Open() bool { return g.Wait == "" || g.WaitMost > 0 }

// Seat is an instance on a node that is not lost. Meant: the placement in force
// wants it there.
type Seat struct {
	Node  spec.NodeName
	Meant bool
	fact.Instance
}

// Town is what is known of all services of the cell, as far as order needs it.
// Make one with [NewTown]; it is not changed afterwards.
type Town struct {
	services map[spec.ServiceName]*record.Service
	seats    map[spec.ServiceName][]Seat
	placed   map[spec.ServiceName]bool
	known    bool
	after    map[spec.ServiceName][]spec.ServiceName // who is after it, sorted
}

// NewTown returns a town. Known says that seats are all that there are; placed are
// the services that some node is to run. The maps are not changed.
func NewTown(services map[spec.ServiceName]*record.Service, seats map[spec.ServiceName][]Seat, placed map[spec.ServiceName]bool, known bool) *Town {
	t := &Town{services: services, seats: seats, placed: placed, known: known, after: make(map[spec.ServiceName][]spec.ServiceName)}
	for name, s := range services {
		for _, a := range s.Spec.After {
			t.after[a.Service] = append(t.after[a.Service], name)
		}
	}
	for _, list := range t.after {
		slices.Sort(list)
	}
	return t
}

// Orders reports whether it matters to any service what others do elsewhere: it is
// after another, or its copies differ.
func Orders(services map[spec.ServiceName]*record.Service) bool {
	for _, s := range services {
		if len(s.Spec.After) > 0 || s.Spec.Copies != nil && s.Spec.Copies.Unique {
			return true
		}
	}
	return false
}

// Gates returns what holds back an instance of a service.
func (t *Town) Gates(name spec.ServiceName, node spec.NodeName, number int) Gates {
	var g Gates
	s := t.services[name]
	if s == nil {
		return g
	}
	for _, a := range s.Spec.After {
		t.before(&g, a)
	}
	t.twin(&g, s, node, number)
	g.Under = t.under(name, nil)
	var held, heldCopy, heldRole []string
	for _, other := range t.after[name] {
		for _, a := range t.services[other].Spec.After {
			switch {
			case a.Service != name || a.OneWay || !t.occupied(other, a.Optional):
				continue
			case a.Role != "":
				heldRole = append(heldRole, string(other))
			case t.another(name, node, number):
				held = append(held, string(other))
			default:
				held, heldCopy = append(held, string(other)), append(heldCopy, string(other))
			}
			g.HoldFor = max(g.HoldFor, t.stopTime(other, nil)+holdSlack)
		}
	}
	g.Held, g.HeldCopy, g.HeldRole = names(held), names(heldCopy), names(heldRole)
	return g
}

// twin adds that the copy of that number has to stop first where it is not to be any
// more. Copies have no lease: one that does not stop is not waited for without end.
func (t *Town) twin(g *Gates, s *record.Service, node spec.NodeName, number int) {
	if number == 0 || !g.Open() {
		return
	}
	for _, o := range t.seats[s.Spec.Name] {
		if o.Copy == number && o.Node != node && !o.Meant && !o.Maintenance && mayRun(o.Phase) {
			g.Wait, g.WaitMost = fmt.Sprintf("copy %d to stop on %s", number, o.Node), s.Spec.StopTime()+holdSlack
			return
		}
	}
}

// mayRun reports whether anything of an instance in that phase may run.
func mayRun(p fact.Phase) bool {
	return p == fact.Starting || p == fact.Running || p == fact.Stopping || p == fact.Backoff || p == fact.Stuck
}

// names lists services, each once.
func names(list []string) string {
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}

// before adds what comes of one service that must be up first.
func (t *Town) before(g *Gates, a spec.After) {
	unheard := t.services[a.Service] == nil
	if unheard && !t.placed[a.Service] || g.Wait != "" && g.WaitMost == 0 && (a.Optional || a.OneWay || g.Yield != "") {
		return // it does not count until it is applied, or says nothing more
	}
	what := string(a.Service) + " to run"
	if a.Role != "" {
		what = string(a.Service) + " to have a " + string(a.Role)
	}
	switch {
	case t.up(a.Service, a.Role):
	case unheard:
		// The news that it was applied comes after that of its place, or it is gone and
		// the news of that is on its way.
		if g.Wait == "" {
			g.Wait, g.WaitMost = what, atOnce
		}
	case !t.known:
		if !a.Optional {
			g.Wait, g.WaitMost = what, 0
		}
	case a.Optional:
		if g.Wait == "" && t.coming(a.Service) {
			g.Wait, g.WaitMost = what, atOnce
		}
	default:
		g.Wait, g.WaitMost = what, 0
		if !a.OneWay && !t.left(a.Service, a.Role) {
			g.Yield = string(a.Service) + " stops, and it runs after that"
		}
	}
}

// up reports whether a service runs, and goes on so, with the role if one is
// asked for.
func (t *Town) up(name spec.ServiceName, role spec.Role) bool {
	return slices.ContainsFunc(t.seats[name], func(s Seat) bool { return t.serves(s, role, nil) })
}

// left reports whether a service, with the role if one is asked for, is left as it is
// for maintenance where it ran. What runs after it goes on then, even if it has died,
// and what does not run yet waits for it.
func (t *Town) left(name spec.ServiceName, role spec.Role) bool {
	return slices.ContainsFunc(t.seats[name], func(s Seat) bool {
		return s.Maintenance && mayRun(s.Phase) && (role == "" || s.Role == role)
	})
}

// serves reports whether those that are after a service may count on an instance
// of it. One that was started after others than run now will stop, whether it
// knows of them already or not. Way are the services that ask.
func (t *Town) serves(s Seat, role spec.Role, way []spec.ServiceName) bool {
	if s.Phase != fact.Running || s.Leaving || role != "" && (s.Role != role || s.Yielding) {
		return false
	}
	return s.Under == "" || slices.Contains(way, s.Service) || s.Under == t.under(s.Service, way)
}

// under says what runs now of those that a service is after and that have a lease,
// and which life of it: the epoch, and since when it has run under that.
func (t *Town) under(name spec.ServiceName, way []spec.ServiceName) string {
	s := t.services[name]
	if s == nil {
		return ""
	}
	way = append(slices.Clone(way), name)
	var out []string
	for _, a := range s.Spec.After {
		other := t.services[a.Service]
		if a.Optional || a.OneWay || other == nil || !other.Spec.HasLease() {
			continue
		}
		var life Seat
		for _, seat := range t.seats[a.Service] {
			if t.serves(seat, a.Role, way) && seat.Epoch >= life.Epoch {
				life = seat
			}
		}
		since := int64(0)
		if life.Epoch > 0 {
			since = life.Since.UnixMilli()
		}
		out = append(out, fmt.Sprintf("%s %d.%d", a.Service, life.Epoch, since))
	}
	return names(out)
}

// another reports whether a copy other than the given one serves those that are
// after the service, and stays.
func (t *Town) another(name spec.ServiceName, node spec.NodeName, number int) bool {
	return slices.ContainsFunc(t.seats[name], func(s Seat) bool {
		return (s.Node != node || s.Copy != number) && s.Meant && t.serves(s, "", nil)
	})
}

// coming reports whether a service is about to run: it has a place, and nothing
// has gone wrong with it.
func (t *Town) coming(name spec.ServiceName) bool {
	if s := t.services[name]; !t.placed[name] || s.Deleting || s.Spec.Stopped || s.Spec.Maintenance {
		return false
	}
	return !slices.ContainsFunc(t.seats[name], func(s Seat) bool {
		return s.Phase == fact.Failed || s.Phase == fact.Backoff || s.Phase == fact.Stuck
	})
}

// occupied reports whether a service that depends on another still runs
// somewhere. One that does so only where both stop at once must be stopping.
// What is left alone for maintenance will not stop, so nobody waits for it.
func (t *Town) occupied(name spec.ServiceName, optional bool) bool {
	return slices.ContainsFunc(t.seats[name], func(s Seat) bool {
		switch {
		case s.Maintenance:
			return false
		case optional:
			return s.Phase == fact.Stopping || s.Phase == fact.Running && s.Leaving
		}
		return s.Phase == fact.Starting || s.Phase == fact.Running || s.Phase == fact.Stopping || s.Phase == fact.Backoff
	})
}

// stopTime is how long a service and all that must stop before it may take to.
func (t *Town) stopTime(name spec.ServiceName, way []spec.ServiceName) time.Duration {
	if slices.Contains(way, name) {
		return 0
	}
	longest := time.Duration(0)
	for _, other := range t.after[name] {
		longest = max(longest, t.stopTime(other, append(slices.Clone(way), name)))
	}
	return t.services[name].Spec.StopTime() + longest
}

// gate says why what is to be here is not to run now, empty if it is.
func (m *machine) gate() string {
	g := m.in.Wish.Gates
	if planted(orderIgnored) {
		return ""
	}
	if m.MayRun() || g.Wait != m.waitFor || g.WaitMost == 0 {
		m.waitFor, m.waitBy = "", 0 // a deadline is that of one wait
	}
	if m.MayRun() && m.Under == "" && g.Wait == "" && g.Yield == "" {
		m.Under = g.Under // nothing else is known
	}
	switch {
	case m.resting():
	case m.MayRun() && g.Yield == "" && g.Wait == "" && m.Under != "" && g.Under != "" && m.Under != g.Under:
		return "what it runs after was started anew"
	case m.MayRun():
		return g.Yield
	case g.Wait == "":
	case g.WaitMost == 0:
		m.waits = g.Wait
		return "it waits for " + g.Wait
	default:
		if m.waitBy == 0 {
			m.waitFor, m.waitBy = g.Wait, m.in.Boot+g.WaitMost
		}
		if m.in.Boot >= m.waitBy {
			return ""
		}
		m.wakeAt(m.waitBy)
		m.waits = g.Wait
		return "it waits for " + g.Wait
	}
	return ""
}

// patience puts a planned stop or demotion off until what depends on the service
// has stopped, or for as long as that may take.
func (m *machine) patience(g goal) goal {
	gates := m.in.Wish.Gates
	stops := !g.run && m.MayRun() && !m.force && !m.Banned(m.in.Now) && !m.unsure()
	yields := !stops && !g.primary && m.raised() && !m.cut && !m.force
	if m.resting() || !stops && !yields {
		m.turn.leaving, m.turn.yielding, m.leaveBy, m.past = false, false, 0, false
		return g
	}
	var held []string
	if stops && g.alone {
		held = append(held, gates.HeldCopy)
	} else if stops {
		held = append(held, gates.Held)
	}
	if m.raised() {
		held = append(held, gates.HeldRole)
	}
	waitsFor := names(slices.DeleteFunc(held, func(n string) bool { return n == "" }))
	m.leaving, m.yielding = stops, stops && m.raised() || yields
	if waitsFor == "" {
		m.past = true // what begins to run now comes too late
	}
	if m.past {
		return g
	}
	if m.leaveBy == 0 {
		m.leaveBy = m.in.Boot + gates.HoldFor
	}
	if m.in.Boot >= m.leaveBy {
		m.past = true
		m.note(event.ServiceWaited, "", "It waited for %v and does not wait any longer for %s, which should stop first.", gates.HoldFor, waitsFor)
		return g
	}
	m.wakeAt(m.leaveBy)
	m.waits = waitsFor + " to stop"
	return goal{here: true, run: true, right: m.Right.Epoch != 0 && !m.cut, primary: m.raised() && !m.cut, why: ""}
}
