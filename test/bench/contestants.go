package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/cell"
	"github.com/keelson/keelson/internal/lab/rival"
	"github.com/keelson/keelson/test/bench/report"
)

// What can be measured: faults of a host, times without one, and sizes.
const (
	kill    = "kill"
	cut     = "cut"
	service = "service"
	freeze  = "freeze"
	move    = "move"

	rest   = "rest"
	load   = "load"
	loss10 = "loss10"
	loss20 = "loss20"

	scale = "scale"
)

func trials() []string     { return []string{kill, cut, service, freeze, move} }
func conditions() []string { return []string{rest, load, loss10, loss20} }
func whats() []string      { return slices.Concat(trials(), conditions(), []string{scale}) }

// cluster is what a contestant makes of some hosts.
type cluster interface {
	// Boot switches a host on and starts what its system would start.
	Boot(ctx context.Context, host string) error
	// Settled waits until all hosts are members again and the service runs.
	Settled(ctx context.Context) error
	// Alarms counts what the cluster took for a change, ever since.
	Alarms(ctx context.Context) (int, error)
}

// mover is a cluster that moves its service on request.
type mover interface {
	Move(ctx context.Context, to string) error
	// Stay makes it as if the move had never been asked for.
	Stay(ctx context.Context) error
}

// forgiver is a cluster that bears a grudge against a host on which the service
// failed.
type forgiver interface {
	Forgive(ctx context.Context) error
}

// bounded is a cluster that says how long a failover takes at most.
type bounded interface {
	Bound(ctx context.Context) (string, error)
	// Longest is the same as a number, 0 if it is not known.
	Longest(ctx context.Context) (time.Duration, error)
}

// contestant is a stack and how it is set up.
type contestant struct {
	name  string
	title string
	setup string // what differs from the defaults, in words
	// not is what there is nothing to measure of, or nothing that is asked.
	not []string
	// phase is how long a wait of chance before the fault has to be, so that it
	// meets the contestant's own clock at any point.
	phase time.Duration
	// quiet is how long the contestant is watched after a repair, at least.
	quiet time.Duration
	start func(context.Context, place) (cluster, error)
}

// place is where a cluster is to be made.
type place struct {
	lab     *lab.Lab
	hosts   []string
	address netip.Prefix
	logs    string
	spec    string
}

func contestants() []contestant {
	return []contestant{
		{
			name: "keelson", title: "Keelson, exclusive", setup: "as it comes", phase: time.Second, quiet: 2 * time.Second,
			start: keelson(withAddress("")),
		},
		{
			name: "keelson-free", title: "Keelson, not exclusive", setup: "exclusive: false", phase: time.Second, quiet: 2 * time.Second,
			start: keelson(withAddress("exclusive: false\n")),
		},
		{
			name: "keelson-copies", title: "Keelson, program on all", setup: "copies of the program on all hosts, an exclusive address",
			not: []string{service, rest, load, loss10, loss20}, phase: time.Second, quiet: 2 * time.Second, start: keelson(copies),
		},
		{
			name: "pacemaker", title: "Pacemaker", setup: "as pcs sets it up, without fencing", not: []string{rest, load},
			phase: 10 * time.Second, quiet: 3 * time.Second, start: pacemaker(rival.Pacemaker{}),
		},
		{
			name: "pacemaker-1000", title: "Pacemaker, token 1 s", setup: "token 1000 ms, consensus 1200 ms, monitors every 1 s", not: []string{rest, load},
			phase: time.Second, quiet: 3 * time.Second, start: pacemaker(rival.Pacemaker{
				Totem:   rival.Totem{Token: time.Second, Consensus: 1200 * time.Millisecond},
				Monitor: time.Second, DCDeadtime: 2 * time.Second,
			}),
		},
		{
			name: "pacemaker-300", title: "Pacemaker, best stable", setup: "token 300 ms, consensus 360 ms, knet ping 200/2000 ms, monitors every 1 s", not: []string{rest},
			phase: time.Second, quiet: 3 * time.Second, start: pacemaker(rival.Pacemaker{
				Totem: rival.Totem{
					Token: 300 * time.Millisecond, Consensus: 360 * time.Millisecond,
					PingInterval: 200 * time.Millisecond, PingTimeout: 2 * time.Second,
				},
				Monitor: time.Second, DCDeadtime: 2 * time.Second,
			}),
		},
		{
			name: "keepalived-1", title: "keepalived, 1 s", setup: "adverts every 1 s", not: []string{service, move},
			phase: time.Second, quiet: 6 * time.Second, start: keepalived(time.Second),
		},
		{
			name: "keepalived-0.1", title: "keepalived, 0.1 s", setup: "adverts every 0.1 s", not: []string{service, move},
			phase: time.Second, quiet: 3 * time.Second, start: keepalived(100 * time.Millisecond),
		},
		{
			name: "keepalived-0.01", title: "keepalived, 0.01 s", setup: "adverts every 0.01 s", not: []string{service, move},
			phase: time.Second, quiet: 3 * time.Second, start: keepalived(10 * time.Millisecond),
		},
	}
}

func names() []string {
	var out []string
	for _, c := range contestants() {
		out = append(out, c.name)
	}
	return out
}

// contestantsOf are the contestants as the report names them.
func contestantsOf() []report.Contestant {
	var out []report.Contestant
	for _, c := range contestants() {
		out = append(out, report.Contestant{Name: c.name, Title: c.title, Setup: c.setup, Ours: strings.HasPrefix(c.name, "keelson")})
	}
	return out
}

func pacemaker(p rival.Pacemaker) func(context.Context, place) (cluster, error) {
	return func(ctx context.Context, at place) (cluster, error) {
		return rival.StartPacemaker(ctx, rival.Site{Lab: at.lab, Hosts: at.hosts, Address: at.address}, p)
	}
}

func keepalived(every time.Duration) func(context.Context, place) (cluster, error) {
	return func(ctx context.Context, at place) (cluster, error) {
		return rival.StartKeepalived(ctx, rival.Site{Lab: at.lab, Hosts: at.hosts, Address: at.address}, rival.Keepalived{Advert: every})
	}
}

// withAddress is a service of an address and a program that moves with it, with
// more in its spec.
func withAddress(more string) func(netip.Prefix, int) string {
	return func(address netip.Prefix, _ int) string {
		return cell.WebService(serviceName, address.String(), address.Addr().String()+":80") + more
	}
}

// copies is an address that moves and a program that runs everywhere.
func copies(address netip.Prefix, hosts int) string {
	return fmt.Sprintf(`kind: service
name: program
copies: {count: %d}
parts:
  - exec:
      command: [%s, ":80"]
      env: {%s: %s}
---
kind: service
name: %s
after: [program]
place: {together: [program]}
parts:
  - address: %s
`, hosts, lab.SelfPath, lab.RoleVariable, lab.RoleWeb, serviceName, address)
}

// keelson makes a cell with a service.
func keelson(of func(address netip.Prefix, hosts int) string) func(context.Context, place) (cluster, error) {
	return func(ctx context.Context, at place) (cluster, error) {
		c, err := cell.Form(ctx, at.lab, cell.Options{Nodes: at.hosts, LogDir: at.logs})
		if err != nil {
			return nil, err
		}
		k := &ourCluster{cell: c, hosts: at.hosts}
		if _, err := c.Await(ctx, "the voters", k.voted); err != nil {
			return nil, err
		}
		spec := of(at.address, len(at.hosts))
		if at.spec != "" {
			spec += at.spec + "\n"
		}
		if err := c.Apply(ctx, spec); err != nil {
			return nil, err
		}
		return k, k.Settled(ctx)
	}
}

// ourCluster is a cell of Keelson as a contestant.
type ourCluster struct {
	cell  *cell.Cell
	hosts []string
}

const (
	serviceName = "web"
	// maxVoters is how many nodes of a cell vote at most.
	maxVoters = 5
)

// voted reports whether as many nodes vote as should: an odd number of them.
func (k *ourCluster) voted(s cell.Status) bool {
	votes := 0
	for _, n := range s.Nodes {
		if n.Voter {
			votes++
		}
	}
	n := len(k.hosts)
	return votes == min(maxVoters, n-1+n%2)
}

func (k *ourCluster) Boot(ctx context.Context, host string) error { return k.cell.Boot(ctx, host) }

func (k *ourCluster) Settled(ctx context.Context) error {
	_, err := k.cell.Await(ctx, "the cell to be whole", func(s cell.Status) bool {
		return s.Whole(k.hosts) && k.voted(s) && s.Service(serviceName).State == "running"
	})
	return err
}

// Alarms counts how often a node was declared lost.
func (k *ourCluster) Alarms(ctx context.Context) (int, error) {
	r, err := k.say(ctx, "events", "--limit", "1000", "-o", "json")
	if err != nil {
		return 0, err
	}
	var all []struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(r, &all); err != nil {
		return 0, fmt.Errorf("read the cell's events: %w", err)
	}
	lost := 0
	for _, e := range all {
		if e.Kind == "node-lost" {
			lost++
		}
	}
	return lost, nil
}

func (k *ourCluster) Move(ctx context.Context, to string) error {
	_, err := k.say(ctx, "move", serviceName, to)
	return err
}

// Stay does nothing: a move is a wish of one time.
func (k *ourCluster) Stay(context.Context) error { return nil }

// Bound returns what the status of the service says of its failover in a few words:
// how long it takes at most, and the node that makes it so long.
func (k *ourCluster) Bound(ctx context.Context) (string, error) {
	longest, node, err := k.shown(ctx)
	switch {
	case err != nil:
		return "", err
	case longest == 0:
		return "no bound shown", nil
	}
	return fmt.Sprintf("bound %.0f ms, because of %s", ms(longest), node), nil
}

// Longest returns how long the status of the service says that a failover takes
// at most.
func (k *ourCluster) Longest(ctx context.Context) (time.Duration, error) {
	longest, _, err := k.shown(ctx)
	return longest, err
}

// shown is the bound in the status; 0 if there is none.
func (k *ourCluster) shown(ctx context.Context) (longest time.Duration, node string, err error) {
	services, err := k.services(ctx)
	if err != nil {
		return 0, "", err
	}
	var bound struct {
		Total string `json:"total"`
		Node  string `json:"node"`
	}
	for _, s := range services {
		if text, ok := s["bound"]; ok {
			if err := json.Unmarshal(text, &bound); err != nil {
				return 0, "", fmt.Errorf("read the bound in the status: %w", err)
			}
		}
	}
	if bound.Total == "" {
		return 0, "", nil
	}
	longest, err = time.ParseDuration(bound.Total)
	return longest, bound.Node, err
}

func (k *ourCluster) services(ctx context.Context) ([]map[string]json.RawMessage, error) {
	r, err := k.say(ctx, "status", "-o", "json")
	if err != nil {
		return nil, err
	}
	var status struct {
		Services []map[string]json.RawMessage `json:"services"`
	}
	if err := json.Unmarshal(r, &status); err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	return status.Services, nil
}

// say runs keelson on the first host that lets it.
func (k *ourCluster) say(ctx context.Context, args ...string) ([]byte, error) {
	var last error
	for _, h := range k.hosts {
		r, err := k.cell.Keelson(ctx, h, args...)
		switch {
		case err != nil:
			last = err
		case r.Exit.Code != 0:
			last = fmt.Errorf("keelson %s on %s: status %d: %s", args[0], h, r.Exit.Code, strings.TrimSpace(string(r.Stderr)))
		default:
			return r.Stdout, nil
		}
	}
	return nil, last
}

// logsOf is where a contestant's agents log to.
func logsOf(dir, name string) string { return filepath.Join(dir, "logs", name) }
