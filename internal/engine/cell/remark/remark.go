// Package remark words what an operator should know of a cell, from its status.
package remark

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// StallWorth is the pause of a guard from which on it is worth a sentence: half
// of the shortest lease.
const StallWorth = spec.MinTTL / 2

// UnknownShown is how many services are named of which it is not known how they
// are; without the store that can be all.
const UnknownShown = 5

// Troubled lists the services with a problem, those that run nowhere first.
func Troubled(services []status.Service) []string {
	var out []string
	for _, group := range [][]status.State{
		{status.Failed, status.Homeless},
		{status.Recovering},
		{status.Unknown},
		{status.Starting, status.Stopping, status.Stopped, status.Deleting, status.Running},
	} {
		unknown := 0
		for _, s := range services {
			if s.Problem == "" || !slices.Contains(group, s.State) {
				continue
			}
			if s.State == status.Unknown {
				if unknown++; unknown > UnknownShown {
					continue
				}
			}
			out = append(out, fmt.Sprintf("service %s: %s", s.Name, s.Problem))
		}
		if more := unknown - UnknownShown; more > 0 {
			out = append(out, fmt.Sprintf("and %d more of which it is not known how they are: see `keelson get`", more))
		}
	}
	return out
}

// Warning is a sentence of a node about itself.
func Warning(of spec.NodeName, text string) string {
	return fmt.Sprintf("node %s: %s", of, strings.TrimSuffix(text, "."))
}

// Nodes returns what is good to know of the nodes and not urgent.
func Nodes(c status.Cell) []string {
	var out []string
	out = append(out, stalls(c.Nodes)...)
	out = append(out, warnings(c.Nodes)...)
	out = append(out, witnesses(c)...)
	for _, n := range c.Nodes {
		switch until := n.Trust.Until.UTC().Format(time.RFC3339); n.Trust.State {
		case fact.Quarantined:
			out = append(out, fmt.Sprintf("node %s is quarantined until %s, since %s: `keelson trust %s` ends it", n.Name, until, n.Trust.Why, n.Name))
		case fact.Probation:
			out = append(out, fmt.Sprintf("node %s is on probation until %s, since %s", n.Name, until, n.Trust.Why))
		case fact.Trusted:
		}
	}
	for _, n := range c.Nodes {
		switch {
		case n.Maintenance:
			out = append(out, fmt.Sprintf("node %s is under maintenance, all on it is left as it is: `keelson maintenance off %s` ends that", n.Name, n.Name))
		case n.Leaving:
			out = append(out, fmt.Sprintf("node %s is leaving the cell", n.Name))
		case n.Draining:
			out = append(out, fmt.Sprintf("node %s is drained: `keelson undrain %s` lets services back", n.Name, n.Name))
		}
	}
	return out
}

// Shown is how many nodes are named one by one of which the same is to be said.
const Shown = 3

// stalls tells of the guards that paused for long.
func stalls(nodes []status.Node) []string {
	var out []string
	var longest status.Node
	for _, n := range nodes {
		if n.Stall < StallWorth || n.Liveness == fact.Lost {
			continue
		}
		if n.Stall > longest.Stall {
			longest = n
		}
		out = append(out, fmt.Sprintf("the guard on %s paused for %s in %s: failovers that need it take that much longer",
			n.Name, n.Stall.Round(time.Millisecond), status.Measured(n.Measured)))
	}
	if len(out) <= Shown {
		return out
	}
	return []string{fmt.Sprintf("the guards on %d nodes paused, the one on %s the longest, for %s in %s: failovers that need them take that much longer; `keelson describe node NODE` says how long each",
		len(out), longest.Name, longest.Stall.Round(time.Millisecond), status.Measured(longest.Measured))}
}

// warnings are what nodes say of themselves. What many say in the same words is
// said once.
func warnings(nodes []status.Node) []string {
	by := map[string]int{}
	for _, n := range nodes {
		for _, w := range n.Warnings {
			by[w]++
		}
	}
	var out []string
	for _, n := range nodes {
		for _, w := range n.Warnings {
			switch many := by[w]; {
			case many > Shown:
				out = append(out, fmt.Sprintf("%d nodes (%s and others): %s", many, n.Name, strings.TrimSuffix(w, ".")))
				by[w] = 0
			case many > 0:
				out = append(out, Warning(n.Name, w))
			}
		}
	}
	return out
}

// Unmeasured says what the stalls of a node are taken for that were not known when
// it mattered. measured is for how long they have been measured by now, enough from
// when on they count.
func Unmeasured(of spec.NodeName, measured, enough, taken time.Duration) string {
	switch {
	case measured <= 0:
		return fmt.Sprintf("the stalls of %s are not known yet and are taken for %s", of, taken)
	case measured < enough:
		return fmt.Sprintf("the stalls of %s are taken for %s, since they have been measured for %s and %s are enough", of, taken, measured.Round(time.Second), enough)
	}
	return fmt.Sprintf("the lease was chosen when the stalls of %s were not known yet, and taken for %s", of, taken)
}
