package cli

import (
	"context"
	"io"
	"time"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/agentfile"
	"github.com/keelson/keelson/internal/front/cli/histories"
	"github.com/keelson/keelson/internal/front/cli/pacemaker"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// Actions is what runs on this machine itself. A nil function leaves its
// command out. Errors should be [*request.Error], whose hint is then shown.
type Actions struct {
	Init  func(context.Context, InitOptions) (InitResult, error)
	Join  func(context.Context, JoinOptions) (JoinResult, error)
	Leave func(context.Context, LeaveOptions) error
	// LeaveOffline asks nobody. It returns the node's name, empty if it is not known.
	LeaveOffline func(context.Context, LeaveOptions) (spec.NodeName, error)
	// Agent and Guard run until their context ends, and then return nil.
	Agent func(context.Context, AgentOptions) error
	Guard func(context.Context, GuardOptions) error
	Demo  func(context.Context, DemoOptions) error
	// Simulate ends early, with what was done, when its context does.
	Simulate func(context.Context, histories.Options) histories.Result
	// Pacemaker reads a Pacemaker cluster's configuration; nil leaves `import` out.
	Pacemaker *pacemaker.Reader
	// Replay takes a recorded decision again, from JSON; nil: this program cannot.
	Replay func(snapshot, recorded []byte) (client.Replayed, error)
	// Addresses lists this machine's own IP addresses, without those of services.
	// Init and Join need it.
	Addresses func(Folders) ([]string, error)
}

// Config is what the agent's own file says.
type Config = agentfile.File

// Folders are where a node keeps its things.
type Folders struct {
	Data string
	Run  string
}

// NewNode is what init and join tell of this server.
type NewNode struct {
	Name    spec.NodeName
	Address string
	Ports   record.Ports
	Links   []string // further addresses for heartbeats
	Labels  map[string]string
	Folders Folders
	// NoStart leaves the agent to be started by somebody else.
	NoStart bool
	// Progress takes a sentence about what is being done; never nil.
	Progress func(sentence string)
}

// InitOptions is what `keelson init` was told.
type InitOptions struct {
	NewNode
	Cell string // the cell's name
	// ReplaceVoterAfter is how long a voter may be lost until another node takes
	// its vote; 0 means never.
	ReplaceVoterAfter time.Duration
	// ConfigFile is the agent's file and Config what it says; both may be empty.
	ConfigFile string
	Config     Config
}

// InitResult is what came of init.
type InitResult struct {
	CellID  string
	Started bool     // the agent runs
	Notes   []string // sentences for the operator
}

// JoinOptions is what `keelson join` was told.
type JoinOptions struct {
	NewNode
	Server  string // "host:port" of a node of the cell
	Token   string
	Witness bool
	// ConfigFile is the agent's file and Config what it says; both may be empty.
	ConfigFile string
	Config     Config
}

// JoinResult is what came of join.
type JoinResult struct {
	Cell    string
	Started bool
	Notes   []string
}

// LeaveOptions is what `keelson leave` was told.
type LeaveOptions struct {
	Folders  Folders
	Progress func(sentence string)
}

// Logging says what the agent or guard writes to standard error.
type Logging struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// AgentOptions is what `keelson agent` was told.
type AgentOptions struct {
	Folders    Folders
	ConfigFile string
	Config     Config
	Logging    Logging
}

// GuardOptions is what `keelson guard` was told.
type GuardOptions struct {
	Folders  Folders
	Logging  Logging
	Watchdog string // the device to pet; empty: none
	// Resume, if not 0, is the descriptor of a file in which the program before
	// this one, in the same process, has left its state.
	Resume int
	// CanResume, if not 0, is the version of such a state. The guard does not run
	// then: it looks whether it could go on from State, and returns nil if so.
	CanResume int
	State     io.Reader
}

// ResumeAnswer is what `keelson guard --can-resume` prints if it can.
const ResumeAnswer = "this program can take over"

// DemoOptions is what `keelson demo` was told.
type DemoOptions struct {
	Once  bool
	JSON  bool
	Fault string // kill, cut, freeze or service
	Nodes int    // 3 to 9

	In       io.Reader
	Out, Err io.Writer
	Terminal bool // Out is a terminal, Columns wide
	Columns  int
	Color    bool
}

// notes are sentences for the operator, as lines.
func notes(notes []string) []string {
	lines := make([]string, 0, len(notes))
	for _, n := range notes {
		lines = append(lines, "note: "+screen.Clean(n))
	}
	return lines
}

// refusedHere makes the error of a command that cannot be carried out here.
func refusedHere(code, hint, text string) error {
	return &request.Error{Kind: request.Refused, Code: code, Text: text, Hint: hint}
}
