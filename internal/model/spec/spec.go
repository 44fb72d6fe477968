// Package spec holds what the operator wants: services, their parts, and the
// rules for placing and recovering them.
//
// The types are plain values. They are filled by package specfile, which reads
// the operator's YAML, and they travel as JSON through the store and the API.
// Validate is the only gate: a value that passed it is safe to act on. The
// package does no I/O and knows nothing of what is running.
package spec

import (
	"time"
)

// NodeName names a node within its cell. It is 1 to 63 characters of a-z, 0-9,
// '-' and '.', and begins and ends with a letter or digit (RFC 1123).
type NodeName string

// ServiceName names a service within its cell. The rules are those of
// [NodeName], without the dot.
type ServiceName string

// Duration is a [time.Duration] that is written as text such as "1.5s" in JSON
// and YAML.
type Duration time.Duration

// Service is one thing to keep alive: an ordered stack of parts that start in
// order on one node, stop in reverse order, and move together.
type Service struct {
	Name ServiceName `json:"name"`

	// Exclusive services run on at most one node, under a lease. The default
	// is true; nil means the default.
	Exclusive *bool `json:"exclusive,omitempty"`

	// Stopped keeps the service known but not running.
	Stopped bool `json:"stopped,omitempty"`

	// Priority decides who keeps its place when capacity is short: the higher
	// number wins. Range -1000 to 1000, default 0.
	Priority int `json:"priority,omitempty"`

	Parts    []Part            `json:"parts"`
	Place    Place             `json:"place,omitzero"`
	Failover Failover          `json:"failover,omitzero"`
	Labels   map[string]string `json:"labels,omitempty"`

	// Copies is nil for a service that runs once.
	Copies *Copies `json:"copies,omitempty"`
	// After lists services that must be up before this one starts.
	After []After `json:"after,omitempty"`
	// Needs is how much it uses of each unit of the nodes' capacity.
	Needs map[string]int `json:"needs,omitempty"`
	// Maintenance leaves the service as it is, whatever happens.
	Maintenance bool `json:"maintenance,omitempty"`
}

// Part is one element of a service's stack. Exactly one of the kind fields
// (Address, Exec) is set.
type Part struct {
	// Name tells the parts of one service apart. Default: the kind, with a
	// number from the second of its kind on ("address", "exec", "exec-2").
	Name string `json:"name,omitempty"`

	Address *Address `json:"address,omitempty"`
	Exec    *Exec    `json:"exec,omitempty"`

	// Check is shorthand for a single liveness check that also serves as
	// readiness. Checks lists them apart.
	Check  *Check `json:"check,omitempty"`
	Checks Checks `json:"checks,omitzero"`

	// StartTimeout and StopTimeout bound how long the part may take. Defaults
	// 30 s and 10 s, range 100 ms to 1 h. Where a program's grace is longer than
	// the default stop timeout, the default is the grace and 5 s.
	StartTimeout Duration `json:"start_timeout,omitempty"`
	StopTimeout  Duration `json:"stop_timeout,omitempty"`

	// Role is primary for a part that is there only while the copy is primary;
	// empty: whatever the copy's role.
	Role Role `json:"role,omitempty"`
}

// Address is an IP address that moves with the service.
type Address struct {
	// Prefix is the address with its prefix length: "10.77.0.100/24".
	Prefix string `json:"prefix"`

	// Interface is the link to put it on. Default: the interface that already
	// has an address of the same network.
	Interface string `json:"interface,omitempty"`
}

// Exec is a program to run.
type Exec struct {
	// Command is the program's absolute path and its arguments; no shell.
	Command []string `json:"command"`

	User  string            `json:"user,omitempty"`  // name or number; default: the agent's
	Group string            `json:"group,omitempty"` // name or number; default: the user's
	Dir   string            `json:"dir,omitempty"`   // working directory, default "/"
	Env   map[string]string `json:"env,omitempty"`

	// StopSignal asks the program to end. Default "TERM". Grace is how long it
	// may take until it is killed; default 5 s, range 0 to 1 h.
	StopSignal string    `json:"stop_signal,omitempty"`
	Grace      *Duration `json:"grace,omitempty"`

	Limits Limits `json:"limits,omitzero"`

	// Promote and Demote are commands like Command that make the running program
	// primary and replica again; each may be run twice. They have the part's start
	// and stop timeout. Without Demote the program is stopped and started instead.
	Promote []string `json:"promote,omitempty"`
	Demote  []string `json:"demote,omitempty"`

	// OutputBytes bounds the kept output. Default 10 MiB, range 64 KiB to 1 GiB.
	OutputBytes Size `json:"output,omitempty"`
}

// Size is a number of bytes, written as text such as "512MiB" in YAML and JSON.
type Size int64

// Limits bounds what a program may use. Zero means no limit.
type Limits struct {
	Memory    Size    `json:"memory,omitempty"`     // 1 MiB to 64 TiB
	CPU       float64 `json:"cpu,omitempty"`        // cores, 0.01 to 1024
	Processes int     `json:"processes,omitempty"`  // 1 to 4,194,304
	OpenFiles int     `json:"open_files,omitempty"` // 16 to 1,048,576
}

// Checks are the three questions asked about a part. A nil check is not asked.
type Checks struct {
	// Startup must pass once before the part counts as started and before the
	// other two are asked.
	Startup *Check `json:"startup,omitempty"`
	// Liveness failing means: restart the service.
	Liveness *Check `json:"liveness,omitempty"`
	// Readiness failing means: running, but of no use right now. It is shown,
	// and holds back what waits for the service; it restarts nothing.
	Readiness *Check `json:"readiness,omitempty"`
}

// Check asks one question of a part. Exactly one of HTTP, TCP and Exec is set.
type Check struct {
	HTTP string   `json:"http,omitempty"` // URL; any status from 200 to 399 passes
	TCP  string   `json:"tcp,omitempty"`  // host:port that must accept a connection
	Exec []string `json:"exec,omitempty"` // program that must exit with 0

	Every   Duration `json:"every,omitempty"`   // default 1 s, range 50 ms to 1 h
	Timeout Duration `json:"timeout,omitempty"` // default 500 ms (exec: 5 s), range 10 ms to 10 m
	After   Duration `json:"after,omitempty"`   // wait after the start, default 0, to 1 h

	// Failures in a row that make the answer "no" (default 3; startup: until
	// the start timeout ends), and Successes in a row that make it "yes" again
	// (default 1). Range 1 to 100.
	Failures  int `json:"failures,omitempty"`
	Successes int `json:"successes,omitempty"`
}

// Place says where a service may and should run.
type Place struct {
	// On lists the only nodes allowed; empty means all.
	On []NodeName `json:"on,omitempty"`
	// Never lists nodes that are not allowed.
	Never []NodeName `json:"never,omitempty"`
	// Prefer adds scores for labels and nodes.
	Prefer []Preference `json:"prefer,omitempty"`
	// Apart lists services that must not share a node with this one; Together
	// lists services that must be on the same node as this one.
	Apart    []ServiceName `json:"apart,omitempty"`
	Together []ServiceName `json:"together,omitempty"`
	// Near draws the service to others, or keeps it away from them.
	Near []Near `json:"near,omitempty"`
	// Spread lists labels: copies go to nodes with different values of the first,
	// then of the next, as far as there are such nodes.
	Spread []string `json:"spread,omitempty"`
	// Stickiness is the score of staying. Default 100, range 0 to 1,000,000.
	Stickiness *int `json:"stickiness,omitempty"`
}

// Preference adds Score to nodes that match Label ("key=value") or are Node.
// Exactly one of the two is set. Score range -1,000,000 to 1,000,000, not 0.
type Preference struct {
	Label string   `json:"label,omitempty"`
	Node  NodeName `json:"node,omitempty"`
	Score int      `json:"score"`
	// Role limits it to copies in that role.
	Role Role `json:"role,omitempty"`
	// From and Until bound when it counts; the end is not part of it. Zero: open.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Proof is how sure the cell must be that the old holder has let go.
type Proof string

// The kinds of proof, from cheap to certain.
const (
	ProofLease    Proof = "lease"
	ProofWatchdog Proof = "watchdog"
	ProofFence    Proof = "fence"
)

// Failover says how a service is recovered.
type Failover struct {
	// TTL is the lease's length. Zero means auto. Range 300 ms to 60 s.
	TTL TTL `json:"ttl,omitempty"`

	// Proof defaults to lease, and lease is all that this version can give:
	// Validate refuses the others rather than promise what is not kept.
	Proof Proof `json:"proof,omitempty"`

	// Restarts is how many restarts on the spot are tried Within the window
	// before the service moves. Defaults 3 (nil) and 10 m, ranges 0 to 100 and
	// 1 s to 168 h. 0 means move at once.
	Restarts *int     `json:"restarts,omitempty"`
	Within   Duration `json:"within,omitempty"`

	// StopFailure is what is done when a part would not stop. Default block.
	StopFailure StopFailure `json:"stop_failure,omitempty"`

	// AgentLoss is how long a service may go on without its agent. Default
	// 30 s, range 0 to 1 h.
	AgentLoss *Duration `json:"agent_loss,omitempty"`

	// OnQuorumLoss defaults to stop. Only what is not exclusive can be kept.
	OnQuorumLoss QuorumLoss `json:"on_quorum_loss,omitempty"`
}

// QuorumLoss is what becomes of a service on a node that is not in touch with a
// majority of the voters.
type QuorumLoss string

// What can become of it. A service that is kept may run on several nodes until
// they are in touch again.
const (
	QuorumLossStop QuorumLoss = "stop"
	QuorumLossKeep QuorumLoss = "keep"
)

// TTL is a lease length, written "auto" or as a duration. Zero is "auto": the
// cell chooses.
type TTL time.Duration
