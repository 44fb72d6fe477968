// Package request holds what can be asked of a cell and what it answers, as
// plain values.
//
// The faces (API, command line) and the engine share these words, so that
// neither needs to know the other. Where a request changes something its By
// says who asked. Nothing here is checked yet: a request is what came in, and
// the engine decides what becomes of it.
package request

import (
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// Apply asks to create or change the services of one file.
type Apply struct {
	Content []byte // YAML, one or more documents
	File    string // its name, for messages
	DryRun  bool   // check only
	By      string
	// ConfirmWithin, if not 0, takes what changes back by itself unless it is
	// confirmed in time: from [MinTrial] to [MaxTrial].
	ConfirmWithin time.Duration
}

// Outcome is what became of one document of an Apply.
type Outcome string

// The outcomes of applying a document.
const (
	Created   Outcome = "created"
	Changed   Outcome = "changed"
	Unchanged Outcome = "unchanged"
)

// Applied is the answer for one document of an Apply.
type Applied struct {
	Name       spec.ServiceName
	Outcome    Outcome
	Generation uint64
}

// ApplyResult is what became of a whole Apply, in the file's order. Warnings are
// sentences about what was accepted all the same.
type ApplyResult struct {
	Applied  []Applied
	Warnings []string
	// Change names what is on trial, and Deadline is when it is taken back; both
	// are zero if nothing is.
	Change   string
	Deadline time.Time
}

// Delete asks to stop a service everywhere and to forget it.
type Delete struct {
	Service spec.ServiceName
	By      string
}

// Deleted is what came of a Delete. Warnings say what it changes for other services,
// a sentence each.
type Deleted struct {
	Warnings []string
}

// Move asks that a service go to another node. To is empty for the best other one.
type Move struct {
	Service spec.ServiceName
	To      spec.NodeName
	By      string
}

// Moved answers a Move. To is empty if the cell has yet to choose. To equal to
// From means that there was nothing to do.
type Moved struct {
	From spec.NodeName
	To   spec.NodeName
}

// Drain asks that all services leave a node and stay away from it.
type Drain struct {
	Node spec.NodeName
	Why  string
	By   string
}

// Undrain lets services back on a node.
type Undrain struct {
	Node spec.NodeName
	By   string
}

// Maintenance asks that a node, or with an empty Node the whole cell, be left as
// it is, or that this end.
type Maintenance struct {
	Node spec.NodeName
	On   bool
	By   string
}

// Remove takes a node out of the cell. Force is needed for one that is lost.
type Remove struct {
	Node  spec.NodeName
	Force bool
	By    string
}

// Clear forgets the failures of a service, so that it may be tried again, on one
// node or, if that is empty, on all.
type Clear struct {
	Service spec.ServiceName
	Node    spec.NodeName
	By      string
}

// Trust ends a node's quarantine or probation.
type Trust struct {
	Node spec.NodeName
	By   string
}

// SetRecovery changes what bounds the moves that the cell plans by itself.
type SetRecovery struct {
	Recovery spec.Recovery
	By       string
}

// Events asks for recorded events. An empty Service or Node means any.
type Events struct {
	// Limit is how many of the newest; 0 means [DefaultEvents], at most [MaxEvents].
	Limit   int
	Service spec.ServiceName
	Node    spec.NodeName
}

// Limits of an Events request.
const (
	DefaultEvents = 100
	MaxEvents     = 1000
)

// Follow asks for recorded events from sequence number From on, then new ones;
// From 0 means only new ones. An empty Service or Node means any.
type Follow struct {
	From    uint64
	Service spec.ServiceName
	Node    spec.NodeName
}

// Logs asks for the kept output of a service's programs.
type Logs struct {
	Service spec.ServiceName
	Part    string        // empty: all parts that have output
	Node    spec.NodeName // empty: where the service is, or was last
	Lines   int           // the last ones; 0 means [DefaultLines], at most [MaxLines]
	Follow  bool          // then go on as more comes
}

// Limits of a Logs request.
const (
	DefaultLines = 100
	MaxLines     = 100_000
)

// LogChunk is a piece of a part's output, not always whole lines.
type LogChunk struct {
	Part string
	Data []byte
}

// Token asks for a one-time join token.
type Token struct {
	Valid time.Duration // 0 means [DefaultTokenValid], at most [MaxTokenValid]
	By    string
}

// How long a join token lasts.
const (
	DefaultTokenValid = time.Hour
	MaxTokenValid     = 7 * 24 * time.Hour
)

// TokenMade is a new token. Address is what to give to join.
type TokenMade struct {
	Token   string
	Expires time.Time
	Address string
}

// Join asks for membership. It is authorised by the token alone.
type Join struct {
	Token   string
	Name    spec.NodeName
	CSR     []byte // PEM
	Address string
	Links   []string
	Labels  map[string]string
	Witness bool
	Ports   record.Ports
	Version string
	Clock   time.Time // the joining node's, so that a wrong one is named
}

// Joined is what a new member needs to begin.
type Joined struct {
	Certificate []byte // PEM, as is CA
	CA          []byte
	Cell        string
	CellID      string
	NodeID      string
	Slot        uint8
	Endpoints   []string // of the store, "host:port"
	Notes       []string // sentences for the operator
}

// Renew asks for a new certificate for the node that asks.
type Renew struct {
	Node spec.NodeName
	CSR  []byte // PEM
}

// Renewed is a node's new certificate and the cell's CA, PEM.
type Renewed struct {
	Certificate []byte
	CA          []byte
}

// File is one file of services.
type File struct {
	Name    string // for messages
	Content []byte // YAML, one or more documents
}

// Plan asks what an Apply of the file would do. Nothing is changed.
type Plan struct {
	File File
}

// WhatIf asks what would happen if nodes were lost, all at once, or drained. Each
// word of Fail and Drain is a node's name or a label as "key=value", which means
// all nodes that have it.
type WhatIf struct {
	Fail  []string
	Drain []string
}

// Replay asks for a recorded decision to be taken again: by its plan's id or the
// beginning of it, at least [MinPlanID] characters, or by the number of an event
// that it made.
type Replay struct {
	Which string
	// Full asks for the snapshot and the plan too.
	Full bool
}

// Limits of questions.
const (
	MaxWords  = 64 // in a WhatIf
	MinPlanID = 4  // characters of a plan's id
)

// Confirm ends the trial of a change: it stays or, with TakeBack, is taken back
// at once. An empty Change means the only one that is pending.
type Confirm struct {
	Change   string
	TakeBack bool
	By       string
}

// Confirmed answers a Confirm.
type Confirmed struct {
	Change   string
	Services []spec.ServiceName
}

// How long a change may be on trial.
const (
	MinTrial = time.Second
	MaxTrial = 24 * time.Hour
)
