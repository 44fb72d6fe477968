// Package guardwire holds the words that the agent and the guard of one node
// exchange over their local socket.
//
// A message is a frame: four bytes with its length, big endian, then one JSON
// [Message]. The agent always says its whole wish ([Duty]) and the guard its
// whole state ([State]), never a difference, so that either may restart at any
// time and both agree again after one message each way. A frame longer than
// [MaxFrame] ends the connection.
package guardwire

import (
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// Version of the protocol. Each side says its own in its first message; a
// guard serves agents of its own version and the one before.
const Version = 1

// MaxFrame is the longest frame, in bytes.
const MaxFrame = 4 << 20

// Boot is a moment on this host's CLOCK_BOOTTIME. It goes on while the host
// sleeps, never goes back, and means nothing on another host.
type Boot time.Duration

// Message is one frame. Exactly one field is set.
type Message struct {
	Duty     *Duty     `json:"duty,omitempty"`     // agent to guard
	Beat     *Beat     `json:"beat,omitempty"`     // agent to guard
	Release  *Release  `json:"release,omitempty"`  // agent to guard
	Quit     *Quit     `json:"quit,omitempty"`     // agent to guard
	Upgrade  *Upgrade  `json:"upgrade,omitempty"`  // agent to guard
	State    *State    `json:"state,omitempty"`    // guard to agent
	Happened *Happened `json:"happened,omitempty"` // guard to agent
}

// Duty is all that the agent asks of the guard. It replaces the duty before it.
type Duty struct {
	Protocol int           `json:"protocol"`
	Cell     string        `json:"cell"` // the cell's id
	Node     spec.NodeName `json:"node"`
	Slot     uint8         `json:"slot"`
	Listen   []string      `json:"listen"` // UDP "ip:port" of this node, one a link
	Peers    []Peer        `json:"peers"`  // all members but this node

	Keys  []record.LinkKey `json:"keys"`
	Lease Lease            `json:"lease"`
	Seeks []Seek           `json:"seeks"` // sorted by service
}

// Lease is the lease plane's configuration as this node may use it.
type Lease struct {
	Version    uint64        `json:"version"`
	Voters     uint32        `json:"voters"`
	Prior      uint32        `json:"prior,omitempty"`
	Floor      uint64        `json:"floor"`   // a guard that starts takes it once and promises only above it
	Ceiling    uint64        `json:"ceiling"` // no ballot above it is used
	LongestTTL time.Duration `json:"longest_ttl"`
}

// Peer is another member.
type Peer struct {
	Slot uint8         `json:"slot"`
	Name spec.NodeName `json:"name"`
	// Addresses are the peer's UDP "ip:port", one a link.
	Addresses []string `json:"addresses"`
}

// Seek is one service that this node holds, or may hold.
type Seek struct {
	Service   spec.ServiceName `json:"service"`
	ID        uint32           `json:"id"`
	TTL       time.Duration    `json:"ttl"`
	Exclusive bool             `json:"exclusive"`
	// Order is the succession list as slots. The guard claims the lease when
	// all before its own slot are lost. A guard that holds the lease and is not
	// in the list goes on holding it until the agent releases it.
	Order []uint8 `json:"order"`
	// AgentLoss is how long the guard renews without a Beat of its agent.
	AgentLoss time.Duration `json:"agent_loss"`
	// Keep says that what runs here goes on when the lease lapses because no
	// majority can be reached, until the node is in touch again. It counts only
	// where Exclusive is false.
	Keep bool `json:"keep,omitempty"`
	// Addresses and Cgroups are what the guard cuts off when the lease ends and
	// the agent has not stopped the instance: "prefix%interface", and paths of
	// cgroup v2 folders or, with the prefix "pidfile:", files with process ids.
	Addresses []string `json:"addresses,omitempty"`
	Cgroups   []string `json:"cgroups,omitempty"`
	// Replica says that what is listed may run without the lease, which is the
	// right to be primary: nothing of it is primary. It covers no lease with an
	// epoch above Demoted: what ran under such a one when it ended is cut off.
	Replica bool   `json:"replica,omitempty"`
	Demoted uint64 `json:"demoted,omitempty"`
	// Fence says that the agent could not stop what is listed. The guard cuts it off
	// and gives the lease back once nothing of it is left; where it cannot make sure
	// of that, it lets the watchdog end the host.
	Fence bool `json:"fence,omitempty"`
}

// Beat says that the agent is alive. Sent every [BeatEvery].
type Beat struct{}

// BeatEvery is the time between two beats of the agent.
const BeatEvery = 500 * time.Millisecond

// Release gives a lease back after the agent has stopped the instance.
type Release struct {
	Service spec.ServiceName `json:"service"`
	Epoch   uint64           `json:"epoch"`
}

// Quit asks the guard to cut off what it holds, release all leases and end.
// The agent sends it when the node leaves the cell.
type Quit struct{}

// Upgrade asks the guard to become another program, without a gap: it hands its
// state over and replaces itself by exec. It is for guards whose State has a
// Build; one of an older kind would end the connection. The answer is a State
// with another Build, on a new connection, or a warning in the State.
type Upgrade struct {
	// Path is the program's file, and Args are what it is started with.
	Path string   `json:"path"`
	Args []string `json:"args"`
	// Build is the program's version, for the log.
	Build string `json:"build"`
}

// State is all that the guard knows. Sent on connect, on every change, and at
// least every [StateEvery].
type State struct {
	Protocol int    `json:"protocol"`
	Guard    uint64 `json:"guard"` // the guard's incarnation: another one has forgotten all leases
	Now      Boot   `json:"now"`
	// Build is the version of the guard's program; empty: one that cannot be
	// asked for an Upgrade.
	Build string `json:"build,omitempty"`
	// Fresh is true until the guard has its first duty since it started.
	Fresh bool `json:"fresh"`

	LeaseVersion uint64 `json:"lease_version"`
	Ballot       uint64 `json:"ballot"`  // the highest ballot number seen; see record.Lease.Ceiling
	Quorate      bool   `json:"quorate"` // two-way contact with a majority of the voters
	Alive        uint32 `json:"alive"`   // slots of nodes heard, this one included
	Suspect      uint32 `json:"suspect"` // slots this node misses
	Lost         uint32 `json:"lost"`    // slots that a majority misses
	Holds        []Hold `json:"holds"`   // sorted by service
	// Holders are the slots that hold the other known leases, by service id, as
	// far as this node has heard.
	Holders map[uint32]uint8 `json:"holders,omitempty"`

	Stall time.Duration `json:"stall"` // longest pause of the guard in the last 10 min
	// Late is the longest of those pauses that leases and timeouts can cover,
	// up to 1 s. Measured is for how long they have been measured.
	Late     time.Duration `json:"late,omitempty"`
	Measured time.Duration `json:"measured,omitempty"`
	// Skewed are the slots of nodes whose clocks a majority of the voters finds to
	// run at another rate. Their votes do not count.
	Skewed uint32 `json:"skewed,omitempty"`
	Powers
	Traffic
	// Warnings are sentences for the operator, such as a missing capability.
	Warnings []string `json:"warnings,omitempty"`
}

// Powers are what a guard can do beyond holding leases.
type Powers struct {
	// Rules is true of a guard that fills in Hold.Ruled.
	Rules bool `json:"rules,omitempty"`
	// Watchdog: one is armed, which ends the host if the guard cannot keep what it
	// promised.
	Watchdog bool `json:"watchdog,omitempty"`
}

// Traffic is what a guard finds of the datagrams that reach it.
type Traffic struct {
	// Waits is how long the guard waits at present until it misses another node,
	// the longest of all: what it learned of lateness, gaps and loss.
	Waits time.Duration `json:"waits,omitempty"`
	// Dropped is how many it did not heed, of each kind, since it was started; as it
	// was within the last minute.
	Dropped map[string]uint64 `json:"dropped,omitempty"`
}

// StateEvery is the longest time between two states.
const StateEvery = 500 * time.Millisecond

// Hold is one lease that this node holds.
type Hold struct {
	Service spec.ServiceName `json:"service"`
	Epoch   uint64           `json:"epoch"`
	// Until is when the lease ends unless it is renewed. What is exclusive must
	// have stopped by then.
	Until Boot `json:"until"`
	// Kept says that there is no lease any more, and that what runs here goes on
	// all the same, see [Seek]; Until is how long it may without news. Another
	// node may hold the lease meanwhile.
	Kept bool `json:"kept,omitempty"`
	// Ruled are those of the service's addresses, as [Seek] has them, that the
	// guard enforces by now. No other may be brought up. See State.Rules.
	Ruled []string `json:"ruled,omitempty"`
}

// Happened is one thing worth an event, with the moment it happened.
type Happened struct {
	Kind    string           `json:"kind"` // a value of event.Kind
	At      Boot             `json:"at"`
	Service spec.ServiceName `json:"service,omitempty"`
	About   spec.NodeName    `json:"about,omitempty"`
	Epoch   uint64           `json:"epoch,omitempty"`
	Text    string           `json:"text"`
}
