package cell

import (
	"fmt"
	"slices"
	"time"

	"github.com/keelson/keelson/internal/core/recovery"
	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// trouble says in one sentence what is wrong with a service; empty: nothing.
func (a *assembly) trouble(s status.Service, p record.Placement, at *found) string {
	switch s.State {
	case status.Homeless:
		return remark.Homeless(s.Name, p.Reasons)
	case status.Recovering:
		return a.recovery(s, p, at)
	case status.Failed:
		if past := a.Records.ServicePast[s.Name]; !s.Recovery.Halted.IsZero() && s.Node == "" {
			return recovery.Halted(past)
		}
		return failure(s, at)
	case status.Running:
		if h := a.holds[s.Name]; h.kept {
			return fmt.Sprintf("%s keeps it running without quorum, as its on_quorum_loss says; another node may run it too", h.node)
		}
		if !s.Ready {
			if why := remark.Unready(at.of()); why != "" {
				return why
			}
		}
		return s.Recovery.Waits
	case status.Starting:
		if s.Waits != "" {
			return "it waits for " + s.Waits
		}
		if a.Records.Controller == "" && !a.planned(a.Records.Services[s.Name], p) {
			return "it waits to be placed, and no controller is elected"
		}
	case status.Stopping, status.Stopped, status.Deleting, status.Unknown:
	}
	return ""
}

func (a *assembly) recovery(s status.Service, p record.Placement, at *found) string {
	if s.Recovery.Waits != "" && s.Node == "" {
		return s.Recovery.Waits
	}
	if lost := a.lostHolder(s.Name, p); lost != "" {
		for _, n := range p.Order {
			if a.liveness[n] != fact.Lost {
				return fmt.Sprintf("%s is lost; %s takes over", lost, n)
			}
		}
		return fmt.Sprintf("%s is lost, and nobody is left to take over", lost)
	}
	if at != nil && at.Phase == fact.Failed && len(p.Order) > 0 {
		return fmt.Sprintf("it failed on %s and moves to %s%s", at.node, p.Order[0], because(s))
	}
	if at != nil {
		return fmt.Sprintf("it is being restarted on %s%s", at.node, because(s))
	}
	return "it is being brought back" + because(s)
}

func failure(s status.Service, at *found) string {
	if at == nil {
		return "it failed" + because(s)
	}
	if at.Phase == fact.Stuck {
		return fmt.Sprintf("a part of it does not stop on %s, even by force%s", at.node, remark.Unstopped(at.of()))
	}
	return fmt.Sprintf("it failed on %s%s", at.node, because(s))
}

func because(s status.Service) string {
	if len(s.Failures) == 0 {
		return ""
	}
	last := s.Failures[len(s.Failures)-1]
	if last.Part == "" {
		return ": " + last.Why
	}
	return fmt.Sprintf(": %s: %s", last.Part, last.Why)
}

// of is the instance itself; empty if there is none.
func (at *found) of() fact.Instance {
	if at == nil {
		return fact.Instance{}
	}
	return at.Instance
}

// problems lists what an operator should know or do, worst first.
func (a *assembly) problems(c status.Cell) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }

	if c.Maintenance {
		say("the whole cell is under maintenance, everything is left as it is and nothing is recovered: `keelson maintenance off --cell` ends that")
	}
	if c.Stale {
		say("the store does not answer: this is the last known state, and nothing can be changed")
	}
	switch {
	case a.Live.Guard == nil:
		say("the guard on %s does not answer: who is alive is not known for certain", c.Node)
	case !c.Quorate:
		say("%s is in touch with less than half of the voters: services stop on this side, but for what is to be kept", c.Node)
	}
	for _, n := range c.Nodes {
		if n.Liveness == fact.Lost {
			say("node %s is lost: bring it back, or take it out with `keelson node remove %s --force`", n.Name, n.Name)
		}
	}
	for _, n := range c.Nodes {
		if a.Live.Guard != nil && a.Live.Guard.Skewed>>n.Slot&1 == 1 {
			say("the clock of %s runs at another rate than the others': its vote does not count and it holds nothing. "+
				"Compare its clock source (/sys/devices/system/clocksource/clocksource0/current_clocksource) with the others', or replace the board", n.Name)
		}
	}
	if held := a.Records.Held; held != nil {
		say("nothing is planned since %s: %s. What runs goes on, and successors take over; report it with `keelson replay`'s file", held.Since.UTC().Format(time.RFC3339), held.Why)
	}
	if storm := a.Records.Storm; storm != nil {
		say("%s: look for a common cause", storm.Why)
	}
	out = append(out, remark.Troubled(c.Services)...)
	out = append(out, status.OnTrial(c.Services)...)
	out = append(out, remark.NotYetExclusive(a.Records.Services, a.Records.Nodes, a.Records.Reports)...)
	if c.Controller == "" && !c.Stale {
		say("no controller is elected: nothing is planned until one is")
	}
	out = append(out, a.silent(c)...)
	out = append(out, a.majority(c)...)
	out = append(out, remark.Nodes(c)...)
	return append(out, a.unlisted(c)...)
}

// silent names the nodes whose guard or agent is missing while they live.
func (a *assembly) silent(c status.Cell) []string {
	var out []string
	for _, n := range c.Nodes {
		report, known := a.Records.Reports[n.Name]
		switch {
		case n.Liveness == fact.Lost || !known:
		case c.At.Sub(report.At) > ReportStale && n.Liveness == fact.Alive && !c.Stale:
			out = append(out, fmt.Sprintf(
				"the agent on %s has said nothing for %s: what runs there goes on, but nothing starts, moves or is checked",
				n.Name, c.At.Sub(report.At).Round(time.Second)))
		case !n.GuardUp:
			out = append(out, fmt.Sprintf("the guard on %s does not answer: it can hold no lease", n.Name))
		}
	}
	return out
}

// majority says what is wrong with the number of nodes and votes.
func (a *assembly) majority(c status.Cell) []string {
	witness := slices.ContainsFunc(c.Nodes, func(n status.Node) bool { return n.Witness })
	voters, lost, skewed := a.Live.voters(a.Records.Lease)
	counting := voters - lost - skewed
	switch {
	case len(c.Nodes) == 2 && !witness:
		return []string{a.twoNodes() + ": add a third, or a witness with `keelson join --witness`"}
	case skewed > 0 && counting <= voters/2+1 && c.Quorate:
		return []string{fmt.Sprintf("the votes of %d of %d voters count: one more loss stops the cell's services", counting, voters)}
	case lost > 0 && counting <= voters/2+1 && c.Quorate:
		return []string{fmt.Sprintf("%d of %d voters are in touch: one more loss stops the cell's services", counting, voters)}
	case len(c.Nodes) >= 3 && voters < 3 && a.Records.Lease.Prior == 0:
		return []string{fmt.Sprintf("only %s: the loss of one can stop the cell's services until there are 3", votes(voters))}
	case voters > 1 && voters%2 == 0 && a.Records.Lease.Prior == 0:
		return []string{fmt.Sprintf("%d nodes vote: an even number survives no more losses than one less", voters)}
	}
	return nil
}

// twoNodes says what a cell of two nodes cannot do.
func (a *assembly) twoNodes() string {
	var voting, other []spec.NodeName
	for _, name := range sortedKeys(a.Records.Nodes) {
		if counts(a.Records.Lease, a.Records.Nodes[name].Slot) {
			voting = append(voting, name)
		} else {
			other = append(other, name)
		}
	}
	if len(voting) != 1 || len(other) != 1 {
		return "two nodes cannot outvote each other, so neither takes over from the other"
	}
	return fmt.Sprintf("two nodes cannot outvote each other and only %s votes: it takes over from %s, but nothing takes over from %s",
		voting[0], other[0], voting[0])
}

func votes(n int) string {
	if n == 1 {
		return "1 node votes"
	}
	return fmt.Sprintf("%d nodes vote", n)
}

// unlisted are the warnings of the node that is asked while it does not even know
// of itself: it has started and did not reach the store since.
func (a *assembly) unlisted(c status.Cell) []string {
	var out []string
	if c.Stale && !slices.ContainsFunc(c.Nodes, func(n status.Node) bool { return n.Name == a.Live.Node }) {
		for _, w := range a.Live.Warnings {
			out = append(out, remark.Warning(a.Live.Node, w))
		}
	}
	return out
}
