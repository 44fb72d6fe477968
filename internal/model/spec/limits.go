package spec

import "time"

// What an optional field means when it is not set.
const (
	DefaultTTL          = time.Second // stands in for auto until stalls are measured
	LongestAutoTTL      = 1500 * time.Millisecond
	DefaultRestarts     = 3
	DefaultWithin       = 10 * time.Minute
	DefaultAgentLoss    = 30 * time.Second
	DefaultStickiness   = 100
	DefaultStartTimeout = 30 * time.Second
	DefaultStopTimeout  = 10 * time.Second
	DefaultGrace        = 5 * time.Second
	DefaultStopSignal   = "TERM"
	DefaultDir          = "/"
	DefaultOutputBytes  = 10 << 20
	DefaultEvery        = time.Second
	DefaultTimeout      = 500 * time.Millisecond
	DefaultExecTimeout  = 5 * time.Second // of a check that runs a program
	DefaultFailures     = 3
	DefaultSuccesses    = 1
)

// Ranges of numbers, both ends included.
const (
	MinTTL         = 300 * time.Millisecond
	MaxTTL         = 60 * time.Second
	MaxPriority    = 1000 // and its negative
	MaxScore       = 1_000_000
	MaxRestarts    = 100
	MaxCopies      = 256
	MaxPerNode     = 64
	MaxPrimaries   = 8 // each has a lease of its own
	MaxNeed        = 1_000_000_000
	MinWithin      = time.Second
	MaxWithin      = 168 * time.Hour
	MinPartTimeout = 100 * time.Millisecond
	MinEvery       = 50 * time.Millisecond
	MinTimeout     = 10 * time.Millisecond
	MaxTimeout     = 10 * time.Minute // of one check
	MaxInARow      = 100              // failures or successes
	MaxWait        = time.Hour        // part timeouts, grace, every, after, agent loss

	MinMemory    Size = 1 << 20
	MaxMemory    Size = 64 << 40
	MinCPU            = 0.01
	MaxCPU            = 1024
	MaxProcesses      = 4_194_304
	MinOpenFiles      = 16
	MaxOpenFiles      = 1_048_576
	MinOutput    Size = 64 << 10
	MaxOutput    Size = 1 << 30
)

// Lengths of lists and texts.
const (
	MaxName      = 63
	MaxParts     = 32
	MaxNodes     = 32 // in place.on and place.never: a cell has no more
	MaxPrefer    = 64
	MaxNeighbors = 64 // in place.apart and place.together
	MaxLabels    = 64
	MaxUnits     = 16  // in needs
	MaxValue     = 253 // characters of a label's value
	MaxArgs      = 256
	MaxArgBytes  = 64 << 10 // all arguments of one command together
	MaxEnv       = 256
	MaxEnvBytes  = 128 << 10 // all variables of one program together
	MaxPath      = 1024
	MaxURL       = 2048

	// MaxProblems is how many problems Validate reports before it stops.
	MaxProblems = 50
)
