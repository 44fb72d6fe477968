// Package record holds what the cell keeps in its store: one type for each
// kind of key, as JSON.
//
// It also names the keys. A record is written by exactly one kind of writer,
// named beside its type; that is why a node's identity, an operator's wish
// about it and its own report are three records and not one.
package record

import (
	"fmt"
	"strconv"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/spec"
)

// Key prefixes. A key is the prefix and a name.
const (
	KeyCell        = "cell"            // Cell
	KeyLease       = "lease"           // Lease
	KeyNodes       = "nodes/"          // Node, by node name
	KeySlots       = "slots/"          // node name, by slot: a slot has one owner
	KeyWishes      = "wishes/"         // NodeWish, by node name
	KeyCellWish    = "cell-wish"       // CellWish
	KeyServices    = "services/"       // Service, by service name
	KeyPlacements  = "placements/"     // Placement, by service name
	KeyReports     = "reports/"        // Report, by node name
	KeyTokens      = "tokens/"         // Token, by token id
	KeyEvents      = "events/"         // event.Event, by zero-padded sequence
	KeyEventHead   = "event-head"      // EventHead
	KeyController  = "controller"      // node name of the elected controller, under a session
	KeyRevoked     = "revoked/"        // Revoked, by certificate serial or node id
	KeyServiceIDs  = "service-ids/"    // at "next", a number above all generations so far
	KeyAddressUses = "address-owners/" // service name, by address: an address has one owner

	KeyRecovery         = "recovery"           // spec.Recovery, written by operators
	KeyHeld             = "plan-held"          // Held, written by the controller
	KeyStorm            = "storm"              // fact.Storm, written by the controller
	KeyNodeHistories    = "node-histories/"    // fact.NodeHistory, by node name, written by the controller
	KeyServiceHistories = "service-histories/" // fact.ServiceHistory, by service name, written by the controller
	KeyDecisions        = "decisions/"         // Decision, by zero-padded revision and plan id
	KeyPending          = "pending/"           // Pending, by service name
)

// EventKey is the key of the event with sequence number seq.
func EventKey(seq uint64) string { return fmt.Sprintf("%s%020d", KeyEvents, seq) }

// Cell is what all nodes of a cell share. Written at init; the keys are
// rotated by the controller.
type Cell struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"` // random, never reused
	Created time.Time `json:"created"`

	CACert []byte `json:"ca_cert"` // PEM
	// CAKey signs node certificates. Every node of a cell may start any
	// program on every other through a service, so a node that can read this
	// gains nothing by it.
	CAKey []byte `json:"ca_key"` // PEM

	// LinkKeys authenticate the lease plane's datagrams. The first seals; all
	// open.
	LinkKeys []LinkKey `json:"link_keys"`

	// ReplaceVoterAfter is how long a voter may be lost until another node
	// takes its vote. Zero means never.
	ReplaceVoterAfter spec.Duration `json:"replace_voter_after"`

	// External is true if the store is an etcd cluster of the operator's own.
	External bool `json:"external,omitempty"`
}

// LinkKey is a 32-byte AEAD key and its number. Since is when it was made; the
// zero value stands for when the cell was.
type LinkKey struct {
	ID    uint32    `json:"id"`
	Key   []byte    `json:"key"`
	Since time.Time `json:"since,omitzero"`
}

// Lease is the configuration of the lease plane. Its voters and limits are
// written by the controller; every agent raises the ceiling when its guard starts
// without memory. All of them compare and swap.
type Lease struct {
	Version uint64 `json:"version"` // grows by one with every change of Voters or Prior
	// Voters and Prior are bit sets of slots. While Prior is not 0 a lease
	// needs a majority of both.
	Voters uint32 `json:"voters"`
	Prior  uint32 `json:"prior,omitempty"`
	// Ceiling bounds the ballot numbers in use. It is raised before the cell
	// reaches it, and at every start of a voter, which then promises only
	// numbers above the ceiling it found.
	Ceiling uint64 `json:"ceiling"`
	// Floor bounds the ballot numbers that may have been won under an earlier set
	// of voters: a voter that was not among those does not know them, and promises
	// only numbers above it.
	Floor uint64 `json:"floor,omitempty"`
	// LongestTTL is the longest lease in use, or in use lately. A voter that
	// starts stays silent for this long.
	LongestTTL spec.Duration `json:"longest_ttl"`
}

// Node is a member's identity. Written when it joins, and by the member itself
// when its addresses change.
type Node struct {
	Name       spec.NodeName     `json:"name"`
	ID         string            `json:"id"`      // random; a cloned name with another id is refused
	Slot       uint8             `json:"slot"`    // 0 to 31, unique in the cell
	Address    string            `json:"address"` // IP or host other nodes reach it by
	Ports      Ports             `json:"ports"`
	Links      []string          `json:"links,omitempty"` // further addresses for heartbeats
	Labels     map[string]string `json:"labels,omitempty"`
	Witness    bool              `json:"witness,omitempty"` // votes, runs no services
	Joined     time.Time         `json:"joined"`
	Version    string            `json:"version"`
	CertSerial string            `json:"cert_serial"`
	// CertBefore are the serials of the certificates before that one, the newest
	// first: some may still be valid, and all are revoked with the node.
	CertBefore  []string `json:"cert_before,omitempty"`
	Incarnation uint64   `json:"incarnation"` // grows with each start of the agent
	// Member is the node's etcd member id in hex, empty if it runs no etcd.
	Member string `json:"member,omitempty"`
	// KeyHash is the SHA-256 of the node's public key. A node keeps its key, so
	// the same name with another key is another node.
	KeyHash []byte `json:"key_hash,omitempty"`
	// Token is the token it joined with, nil for the first node: a join whose
	// answer was lost is answered again.
	Token *Token `json:"token,omitempty"`
}

// maxBefore is how many earlier certificates are remembered: a certificate is
// renewed when a third of its life is left, so two can be valid at once, and more
// only after renewals out of turn.
const maxBefore = 8

// Certify takes note of a new certificate.
func (n *Node) Certify(serial string) {
	if n.CertSerial != "" && n.CertSerial != serial {
		before := append([]string{n.CertSerial}, n.CertBefore...)
		n.CertBefore = before[:min(len(before), maxBefore)]
	}
	n.CertSerial = serial
}

// RevocationKeys are the keys of the [Revoked] records that shut the node out:
// its id, and the serials of its certificates, which is all that a certificate
// revocation list knows.
func (n *Node) RevocationKeys() []string {
	var keys []string
	for _, id := range append([]string{n.ID, n.CertSerial}, n.CertBefore...) {
		if id != "" {
			keys = append(keys, KeyRevoked+id)
		}
	}
	return keys
}

// Ports are where a node listens. Zero means the default.
type Ports struct {
	API    int `json:"api,omitempty"`    // TCP, default 7480
	Link   int `json:"link,omitempty"`   // UDP, default 7481
	Peer   int `json:"peer,omitempty"`   // TCP, etcd peers, default 7482
	Client int `json:"client,omitempty"` // TCP, etcd clients, default 7483
}

// NodeWish is what an operator or the controller asks of a node.
type NodeWish struct {
	Drain     bool      `json:"drain,omitempty"`
	DrainWhy  string    `json:"drain_why,omitempty"`
	DrainTime time.Time `json:"drain_time,omitzero"`
	// Voter asks the node to run a store voter. Leaving asks it to give up
	// everything and forget the cell.
	Voter   bool `json:"voter,omitempty"`
	Leaving bool `json:"leaving,omitempty"`
	// Maintenance asks that all on the node be left as it is.
	Maintenance bool `json:"maintenance,omitempty"`
	// Trust is when an operator last ended what kept work from the node because of
	// its past.
	Trust time.Time `json:"trust,omitzero"`
}

// CellWish is what an operator asks of the whole cell. Written by maintenance.
type CellWish struct {
	// Maintenance asks that everything be left as it is.
	Maintenance bool `json:"maintenance,omitempty"`
}

// Service is a spec as it was applied. Written by apply and move.
type Service struct {
	Spec spec.Service `json:"spec"`
	ID   uint32       `json:"id"` // number of its lease, see LeaseNumber; no other service has it
	// Rights are the numbers of the leases of the second and each further primary.
	// There may be more than it has primaries now.
	Rights []uint32 `json:"rights,omitempty"`
	// Generation grows with each change of Spec. That of a new service is above all
	// that any service of its name had before.
	Generation uint64    `json:"generation"`
	Applied    time.Time `json:"applied"`
	By         string    `json:"by"`
	// Move asks for another node; it is a wish of one time, not a rule.
	Move *Move `json:"move,omitempty"`
	// Deleting: stop everywhere, then forget.
	Deleting bool `json:"deleting,omitempty"`
	// Cleared is when an operator last said that failures on a node are to be
	// forgotten, by node.
	Cleared map[spec.NodeName]time.Time `json:"cleared,omitempty"`
}

// Move asks that a service go to To, or away from where it is if To is empty.
type Move struct {
	To   spec.NodeName `json:"to,omitempty"`
	From spec.NodeName `json:"from,omitempty"`
	At   time.Time     `json:"at"`
}

// Held says that plans are held back, since each would break a rule. It is there only
// while they are.
type Held struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"` // a sentence without its full stop
}

// Placement is the controller's decision for one service.
type Placement struct {
	Service    spec.ServiceName `json:"service"`
	Generation uint64           `json:"generation"` // of the spec it was made for
	// Order lists who shall run it and, after it, who takes over: the first is
	// the holder, each further one acts when all before it are lost.
	// Empty: nobody can or should run it.
	Order []spec.NodeName `json:"order,omitempty"`
	// Copies is where the copies of a service that has several shall be, sorted by
	// node and number. Where copies have roles, Order lists their nodes: the
	// primary, then who becomes it.
	Copies []Copy `json:"copies,omitempty"`
	// Orders is Order for the leases of the second and each further primary, and
	// Epochs is Epoch for them.
	Orders  [][]spec.NodeName `json:"orders,omitempty"`
	Epochs  []uint64          `json:"epochs,omitempty"`
	Reasons []string          `json:"reasons,omitempty"`
	PlanID  string            `json:"plan_id"`
	At      time.Time         `json:"at"`
	// Epoch is the highest under which the controller knew the service to run. A
	// holder under a higher one took over since, whenever this was written.
	Epoch uint64 `json:"epoch,omitempty"`
	// TTL is the length of the lease where the spec says auto; 0: the default.
	// TTLBy is the node whose stalls make it longer than the shortest there is,
	// and TTLStall how long they are; both are zero if none do.
	TTL      spec.Duration `json:"ttl,omitempty"`
	TTLBy    spec.NodeName `json:"ttl_by,omitempty"`
	TTLStall spec.Duration `json:"ttl_stall,omitempty"`
}

// OrderOf is the succession list of a lease, 0 for the first, and EpochOf the
// highest epoch that was known of it.
func (p Placement) OrderOf(lease int) []spec.NodeName {
	switch {
	case lease == 0:
		return p.Order
	case lease > 0 && lease <= len(p.Orders):
		return p.Orders[lease-1]
	}
	return nil
}

// EpochOf is explained at OrderOf.
func (p Placement) EpochOf(lease int) uint64 {
	switch {
	case lease == 0:
		return p.Epoch
	case lease > 0 && lease <= len(p.Epochs):
		return p.Epochs[lease-1]
	}
	return 0
}

// LeaseID is the number of one of the service's leases, 0 for the first; 0 if there
// is none.
func (s *Service) LeaseID(lease int) uint32 {
	switch {
	case lease == 0:
		return s.ID
	case lease > 0 && lease <= len(s.Rights):
		return s.Rights[lease-1]
	}
	return 0
}

// Copy is one copy of a service. Number is 0 for copies that are all alike, else
// it is from 1 on and tells the copy from the others wherever it runs.
type Copy struct {
	Node   spec.NodeName `json:"node"`
	Role   spec.Role     `json:"role,omitempty"`
	Number int           `json:"number,omitempty"`
}

// LeaseTTL is the length of the service's lease: what the spec says, else what was
// measured, else [spec.DefaultTTL].
func (p Placement) LeaseTTL(s spec.Service) time.Duration {
	if s.Failover.TTL == 0 && p.TTL > 0 {
		return time.Duration(p.TTL)
	}
	return s.Failover.EffectiveTTL()
}

// Report is what a node says of itself. Written by its agent when something
// in it changes, and at least every 10 s.
type Report struct {
	Node      spec.NodeName   `json:"node"`
	At        time.Time       `json:"at"`
	Instances []fact.Instance `json:"instances,omitempty"`
	// LeaseVersion is the lease configuration that the node's guard uses.
	LeaseVersion uint64 `json:"lease_version"`
	// Warnings are sentences for the operator: fallbacks in use, problems.
	Warnings []string `json:"warnings,omitempty"`
	GuardUp  bool     `json:"guard_up"`
	// Watchdog: the guard has one armed, that ends the host if need be.
	Watchdog bool `json:"watchdog,omitempty"`
	// Stall is the longest pause the guard has measured in the last 10 min.
	Stall spec.Duration `json:"stall"`
	// Late is the longest of those pauses that leases and timeouts can cover,
	// up to 1 s. Measured is for how long the guard has measured.
	Late     spec.Duration `json:"late,omitempty"`
	Measured spec.Duration `json:"measured,omitempty"`
	// Waits is how long the guard waits until it misses another node, the longest of
	// all; 0: not known.
	Waits spec.Duration `json:"waits,omitempty"`
	// Dropped is how many datagrams of each kind the guard has dropped at the port of
	// the heartbeats since it was started.
	Dropped map[string]uint64 `json:"dropped,omitempty"`
	// Keeps are the services, sorted, that may go on here without a lease, as far
	// as the guard was told (spec.Service.KeptOnQuorumLoss).
	Keeps []spec.ServiceName `json:"keeps,omitempty"`
	// Shares are the services, sorted, that the guard was told are not exclusive.
	Shares []spec.ServiceName `json:"shares,omitempty"`
	// Interfaces are the names of the host's network interfaces, sorted, without
	// loopback and spec.Passing; empty: not known.
	Interfaces []string `json:"interfaces,omitempty"`
	// Health is how well the node is, by its own word.
	Health Health `json:"health,omitzero"`
}

// Health is a score for everything on a node, see [fact.Node], and the reason in a
// few words. The zero value is well.
type Health struct {
	Score int    `json:"score,omitempty"`
	Why   string `json:"why,omitempty"`
}

// EventHead says which events are kept. Every writer of events guards its
// transactions with this key, so that sequence numbers have no gaps.
type EventHead struct {
	First uint64 `json:"first"` // the oldest kept; First > Last: none are
	Last  uint64 `json:"last"`
}

// Token is a join token's public half. Written by token create, deleted by
// the join that uses it.
type Token struct {
	ID      string    `json:"id"`
	Hash    []byte    `json:"hash"` // SHA-256 of the secret
	Expires time.Time `json:"expires"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
}

// Revoked says that a certificate, or every certificate of a node, is no
// longer valid. Written when a node is removed.
type Revoked struct {
	Node  spec.NodeName `json:"node,omitempty"`
	At    time.Time     `json:"at"`
	Until time.Time     `json:"until"` // all that it concerns has expired by then
	By    string        `json:"by"`
}

// SlotKey is the key of a slot's owner.
func SlotKey(slot uint8) string { return KeySlots + strconv.Itoa(int(slot)) }
