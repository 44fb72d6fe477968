package spec

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The kinds of parts in this version.
const (
	KindAddress = "address"
	KindExec    = "exec"
)

// Kinds returns the kinds of parts that this version knows, sorted.
func Kinds() []string { return []string{KindAddress, KindExec} }

// Normalize returns a copy of s in the one form in which two equal services
// compare equal: parts have names, addresses and signals have their usual
// spelling, and empty lists are nil. Values that are not set stay so; the
// Effective methods know what that means. Normalizing twice changes nothing.
// s itself is left alone, and the copy shares nothing with it.
func (s Service) Normalize() Service {
	s.Exclusive = clone(s.Exclusive)
	s.Labels = cloneMap(s.Labels)
	s.Place.On = cloneList(s.Place.On)
	s.Place.Never = cloneList(s.Place.Never)
	s.Place.Prefer = cloneList(s.Place.Prefer)
	s.Place.Apart = cloneList(s.Place.Apart)
	s.Place.Together = cloneList(s.Place.Together)
	s.Place.Stickiness = clone(s.Place.Stickiness)
	s.Copies = clone(s.Copies)
	s.After = cloneList(s.After)
	s.Needs = cloneMap(s.Needs)
	s.Place.Near = cloneList(s.Place.Near)
	s.Place.Spread = cloneList(s.Place.Spread)
	s.Failover.Restarts = clone(s.Failover.Restarts)
	s.Failover.AgentLoss = clone(s.Failover.AgentLoss)

	s.Parts = cloneList(s.Parts)
	for i := range s.Parts {
		s.Parts[i] = s.Parts[i].normalize()
	}
	nameParts(s.Parts)
	return s
}

func (p Part) normalize() Part {
	p.Address = clone(p.Address)
	if p.Address != nil {
		if prefix, err := netip.ParsePrefix(p.Address.Prefix); err == nil {
			p.Address.Prefix = prefix.String()
		}
	}
	p.Exec = clone(p.Exec)
	if p.Exec != nil {
		p.Exec.Command = cloneList(p.Exec.Command)
		p.Exec.Promote = cloneList(p.Exec.Promote)
		p.Exec.Demote = cloneList(p.Exec.Demote)
		p.Exec.Env = cloneMap(p.Exec.Env)
		p.Exec.Grace = clone(p.Exec.Grace)
		p.Exec.StopSignal = strings.TrimPrefix(strings.ToUpper(p.Exec.StopSignal), "SIG")
	}
	p.Check = p.Check.normalize()
	p.Checks.Startup = p.Checks.Startup.normalize()
	p.Checks.Liveness = p.Checks.Liveness.normalize()
	p.Checks.Readiness = p.Checks.Readiness.normalize()
	return p
}

func (c *Check) normalize() *Check {
	c = clone(c)
	if c != nil {
		c.Exec = cloneList(c.Exec)
	}
	return c
}

// nameParts gives each part without a name its kind as a name, with a number
// where that is taken.
func nameParts(parts []Part) {
	taken := make(map[string]bool, len(parts))
	for _, p := range parts {
		taken[p.Name] = true
	}
	next := make(map[string]int, len(parts)) // number to try, by kind
	for i := range parts {
		kind := parts[i].Kind()
		if parts[i].Name != "" || kind == "" {
			continue
		}
		name := kind
		for taken[name] {
			next[kind] = max(next[kind]+1, 2)
			name = kind + "-" + strconv.Itoa(next[kind])
		}
		taken[name] = true
		parts[i].Name = name
	}
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func cloneList[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}

func cloneMap[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
