package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/specfile"
	"github.com/keelson/keelson/internal/model/status"
)

// facts writes named values, one a line; empty ones are left out.
type facts struct{ strings.Builder }

func (f *facts) add(name, value string) {
	if value != "" {
		fmt.Fprintf(&f.Builder, "%-12s  %s\n", name, screen.Clean(value))
	}
}

// list writes a heading and lines below it; nothing if there are none.
func (f *facts) list(name string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(&f.Builder, "\n%s:\n", name)
	for _, l := range lines {
		fmt.Fprintf(&f.Builder, "  %s\n", screen.Clean(l))
	}
}

// What is said of an answer that was made without the store.
const (
	staleNode    = "the store does not answer: all but the state is as last known"
	staleService = "the store does not answer: this is what the node that was asked knows by itself"
)

// Node is all about a node, one fact a line.
func Node(n client.Node) string {
	var f facts
	f.add("node", string(n.Name))
	f.add("state", nodeState(n).Text)
	if n.Stale {
		f.add("stale", staleNode)
	}
	f.add("role", role(n))
	f.add("address", n.Address)
	f.add("slot", fmt.Sprint(n.Slot))
	if t := n.Trust; t.State != "" {
		f.add("trust", fmt.Sprintf("%s until %s: %s", t.State, screen.Moment(t.Until), t.Why))
	}
	f.add("guard", map[bool]string{true: "up", false: "does not answer"}[n.GuardUp])
	if n.Stall > 0 {
		f.add("stall", n.Stall.Round(100*time.Microsecond).String()+" at most in "+status.Measured(n.Measured))
	}
	f.add("version", n.Version)
	f.add("joined", screen.Moment(n.Joined))
	f.add("services", Names(n.Services))
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		labels = append(labels, key+"="+n.Labels[key])
	}
	f.list("labels", labels)
	var dropped []string
	for _, kind := range slices.Sorted(maps.Keys(n.Dropped)) {
		dropped = append(dropped, fmt.Sprintf("%d %s", n.Dropped[kind], strings.ReplaceAll(kind, "_", " ")))
	}
	f.list("dropped datagrams", dropped)
	f.list("warnings", n.Warnings)
	return f.String()
}

// failover says how long the loss of one node can last for a service.
func failover(b status.Bound) string {
	if b.Total == 0 {
		return b.Why
	}
	return fmt.Sprintf("within %s: %s", b.Total.Round(time.Millisecond), b.Why)
}

// copies says how each copy is, one a line.
func copies(list []status.Copy) []string {
	var out []string
	for _, c := range list {
		name := string(c.Node)
		if c.Number > 0 {
			name = fmt.Sprintf("%d on %s", c.Number, c.Node)
		}
		ready := ""
		if c.Ready {
			ready = "ready"
		}
		waits := ""
		if c.Waits != "" {
			waits = "waits for " + c.Waits
		}
		out = append(out, strings.TrimRight(fmt.Sprintf("%-12s  %-8s  %-8s  %-5s  %s", name, cmp.Or(c.State, "unknown"), c.Role, ready, waits), " "))
		for _, p := range c.Parts {
			out = append(out, strings.TrimRight(fmt.Sprintf("  %-10s  %-8s  %-8s  %s", p.Name, p.Kind, p.State, p.Detail), " "))
		}
	}
	return out
}

// Service is all about a service, one fact a line, as of now.
func Service(s client.Service, now time.Time) string {
	var f facts
	f.add("service", string(s.Name))
	f.add("state", state(s))
	if s.Stale {
		f.add("stale", staleService)
	}
	f.add("problem", s.Problem)
	f.add("waits", s.Recovery.Waits)
	if at := s.Recovery.Halted; !at.IsZero() {
		f.add("halted", screen.Moment(at))
	}
	f.add("ready", yesNo(s.Ready))
	f.add("waits for", s.Waits)
	if s.Maintenance {
		f.add("maintenance", "it is left as it is")
	}
	f.add("node", where(s))
	if !s.Since.IsZero() {
		f.add("since", fmt.Sprintf("%s (%s ago)", screen.Moment(s.Since), screen.Since(s.Since, now)))
	}
	f.add("next", Names(s.Successors))
	f.add("epoch", number(s.Epoch))
	f.add("exclusive", yesNo(s.Exclusive))
	f.add("lease", ttl(s))
	if s.Bound.Why != "" {
		f.add("failover", failover(s.Bound))
	}
	f.add("generation", fmt.Sprint(s.Generation))
	if t := s.Trial; t != nil {
		f.add("on trial", fmt.Sprintf("change %s by %s is taken back at %s unless it is confirmed", t.Change, t.By, screen.Moment(t.Deadline)))
	}
	f.list("reasons", s.Reasons)
	var parts, failures []string
	for _, p := range s.Parts {
		parts = append(parts, strings.TrimRight(fmt.Sprintf("%-12s  %-8s  %-8s  %s", p.Name, p.Kind, p.State, p.Detail), " "))
	}
	f.list("parts", parts)
	f.list("copies", copies(s.Copies))
	for _, x := range s.Failures {
		part := ""
		if x.Part != "" {
			part = x.Part + ": "
		}
		failures = append(failures, fmt.Sprintf("%s  %s  %s%s", screen.Moment(x.At), x.Node, part, x.Why))
	}
	f.list("failures", failures)
	var tried []string
	for _, t := range s.Recovery.Tried {
		tried = append(tried, strings.TrimRight(fmt.Sprintf("%s  %s  %s", screen.Moment(t.At), t.Node, t.Why), " "))
	}
	f.list("gave up on", tried)
	if s.Spec != nil {
		f.list("spec", strings.Split(strings.TrimRight(string(specfile.Marshal(*s.Spec)), "\n"), "\n"))
	}
	return f.String()
}
