package spec

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// IsExclusive reports whether at most one node may run s at a time or, where s
// has roles, be its primary. It is false for copies without roles.
func (s Service) IsExclusive() bool {
	return (s.Exclusive == nil || *s.Exclusive) && s.HasLease()
}

// HasRoles reports whether copies of s are primary and replicas.
func (s Service) HasRoles() bool { return s.Copies != nil && s.Copies.Primaries > 0 }

// Primaries returns how many copies of s are primary, 0 if it has no roles.
func (s Service) Primaries() int {
	if s.Copies == nil {
		return 0
	}
	return s.Copies.Primaries
}

// HasLease reports whether s runs, or its primary is primary, under a lease.
func (s Service) HasLease() bool { return s.Copies == nil || s.HasRoles() }

// Addresses returns the IP addresses of all address parts of s, in order.
// Those that do not parse are left out; Validate names them.
func (s Service) Addresses() []netip.Addr {
	var out []netip.Addr
	for _, p := range s.Parts {
		if p.Address == nil {
			continue
		}
		if prefix, err := p.Address.Parse(); err == nil {
			out = append(out, prefix.Addr())
		}
	}
	return out
}

// StopTime returns how long s may take to stop in good order.
func (s Service) StopTime() time.Duration {
	var total time.Duration
	for _, p := range s.Parts {
		total += p.EffectiveStopTimeout()
	}
	return total
}

// EffectiveTTL returns the lease's length, [DefaultTTL] for auto.
func (f Failover) EffectiveTTL() time.Duration {
	if f.TTL == 0 {
		return DefaultTTL
	}
	return time.Duration(f.TTL)
}

// EffectiveProof returns the proof asked for.
func (f Failover) EffectiveProof() Proof {
	if f.Proof == "" {
		return ProofLease
	}
	return f.Proof
}

// EffectiveRestarts returns how many restarts on the spot are tried.
func (f Failover) EffectiveRestarts() int {
	if f.Restarts == nil {
		return DefaultRestarts
	}
	return *f.Restarts
}

// EffectiveWithin returns the window in which restarts are counted.
func (f Failover) EffectiveWithin() time.Duration { return either(f.Within, DefaultWithin) }

// EffectiveAgentLoss returns how long the service may go on without its agent.
func (f Failover) EffectiveAgentLoss() time.Duration {
	if f.AgentLoss == nil {
		return DefaultAgentLoss
	}
	return time.Duration(*f.AgentLoss)
}

// KeptOnQuorumLoss reports whether s goes on on a node that is not in touch with
// a majority. It is false for whatever is exclusive.
func (s Service) KeptOnQuorumLoss() bool {
	return !s.IsExclusive() && s.Failover.OnQuorumLoss == QuorumLossKeep
}

// Allows reports whether On and Never let the service run on a node.
func (p Place) Allows(n NodeName) bool {
	return (len(p.On) == 0 || slices.Contains(p.On, n)) && !slices.Contains(p.Never, n)
}

// EffectiveStickiness returns the score of staying.
func (p Place) EffectiveStickiness() int {
	if p.Stickiness == nil {
		return DefaultStickiness
	}
	return *p.Stickiness
}

// Kind returns the part's kind, such as "address". It is empty if none or more
// than one is set, which Validate refuses.
func (p Part) Kind() string {
	kinds := p.kinds()
	if len(kinds) != 1 {
		return ""
	}
	return kinds[0]
}

func (p Part) kinds() []string {
	var kinds []string
	if p.Address != nil {
		kinds = append(kinds, KindAddress)
	}
	if p.Exec != nil {
		kinds = append(kinds, KindExec)
	}
	return kinds
}

// EffectiveStartTimeout returns how long the part may take to start.
func (p Part) EffectiveStartTimeout() time.Duration {
	return either(p.StartTimeout, DefaultStartTimeout)
}

// EffectiveStopTimeout returns how long the part may take to stop. It is never
// shorter than the grace of its program.
func (p Part) EffectiveStopTimeout() time.Duration {
	if p.StopTimeout == 0 && p.Exec != nil {
		return max(DefaultStopTimeout, p.Exec.EffectiveGrace()+killTime)
	}
	return either(p.StopTimeout, DefaultStopTimeout)
}

// killTime is what a default stop timeout leaves for killing after the grace.
const killTime = 5 * time.Second

// Promotes reports whether p is a program that is told its role while it runs.
func (p Part) Promotes() bool { return p.Exec != nil && len(p.Exec.Promote) > 0 }

// EffectiveChecks returns the checks of the part, with the shorthand Check
// spelled out: it is asked as liveness and as readiness.
func (p Part) EffectiveChecks() Checks {
	if p.Check == nil {
		return p.Checks
	}
	return Checks{Liveness: p.Check, Readiness: p.Check}
}

// Parse returns the address and its prefix length.
func (a Address) Parse() (netip.Prefix, error) { return netip.ParsePrefix(a.Prefix) }

// EffectiveDir returns the working directory.
func (e Exec) EffectiveDir() string {
	if e.Dir == "" {
		return DefaultDir
	}
	return e.Dir
}

// EffectiveStopSignal returns the signal's name without "SIG".
func (e Exec) EffectiveStopSignal() string {
	if e.StopSignal == "" {
		return DefaultStopSignal
	}
	return strings.TrimPrefix(strings.ToUpper(e.StopSignal), "SIG")
}

// EffectiveGrace returns how long the program may take to end by itself.
func (e Exec) EffectiveGrace() time.Duration {
	if e.Grace == nil {
		return DefaultGrace
	}
	return time.Duration(*e.Grace)
}

// EffectiveOutputBytes returns how much of the program's output is kept.
func (e Exec) EffectiveOutputBytes() int64 {
	if e.OutputBytes == 0 {
		return DefaultOutputBytes
	}
	return int64(e.OutputBytes)
}

// Kind returns "http", "tcp" or "exec", and nothing if none or more than one is
// set, which Validate refuses.
func (c Check) Kind() string {
	kinds := c.kinds()
	if len(kinds) != 1 {
		return ""
	}
	return kinds[0]
}

func (c Check) kinds() []string {
	var kinds []string
	if c.HTTP != "" {
		kinds = append(kinds, "http")
	}
	if c.TCP != "" {
		kinds = append(kinds, "tcp")
	}
	if len(c.Exec) > 0 {
		kinds = append(kinds, "exec")
	}
	return kinds
}

// EffectiveEvery returns the time between two asks.
func (c Check) EffectiveEvery() time.Duration { return either(c.Every, DefaultEvery) }

// EffectiveTimeout returns how long one answer may take.
func (c Check) EffectiveTimeout() time.Duration {
	if len(c.Exec) > 0 {
		return either(c.Timeout, DefaultExecTimeout)
	}
	return either(c.Timeout, DefaultTimeout)
}

// EffectiveFailures returns how many failures in a row make a "no". A startup
// check whose Failures is 0 is asked until the start timeout ends instead.
func (c Check) EffectiveFailures() int {
	if c.Failures == 0 {
		return DefaultFailures
	}
	return c.Failures
}

// EffectiveSuccesses returns how many successes in a row make a "yes".
func (c Check) EffectiveSuccesses() int {
	if c.Successes == 0 {
		return DefaultSuccesses
	}
	return c.Successes
}

func either(d Duration, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return time.Duration(d)
}

// Same reports whether s and other say the same, to the letter of their JSON form.
func (s Service) Same(other Service) bool {
	a, err := json.Marshal(s)
	if err != nil {
		return false
	}
	b, err := json.Marshal(other)
	return err == nil && bytes.Equal(a, b)
}
