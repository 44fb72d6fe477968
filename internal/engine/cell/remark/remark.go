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

// Troubled lists the services with a problem, those that run nowhere first.
func Troubled(services []status.Service) []string {
	var out []string
	for _, group := range [][]status.State{
		{status.Failed, status.Homeless},
		{status.Recovering},
		{status.Starting, status.Stopping, status.Stopped, status.Deleting, status.Running},
	} {
		for _, s := range services {
			if s.Problem != "" && slices.Contains(group, s.State) {
				out = append(out, fmt.Sprintf("service %s: %s", s.Name, s.Problem))
			}
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
	for _, n := range c.Nodes {
		if n.Stall >= StallWorth && n.Liveness != fact.Lost {
			out = append(out, fmt.Sprintf("the guard on %s paused for %s in the last 10 min: failovers that need it take that much longer",
				n.Name, n.Stall.Round(time.Millisecond)))
		}
	}
	for _, n := range c.Nodes {
		for _, w := range n.Warnings {
			out = append(out, Warning(n.Name, w))
		}
	}
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
