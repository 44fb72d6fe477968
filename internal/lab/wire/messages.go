package wire

import "syscall"

// Verb names what is asked.
type Verb string

// What the caller asks of the stage.
const (
	Setup  Verb = "setup"  // Lab: mount, make the switches
	Boot   Verb = "boot"   // HostName, and the init's end of a connection
	Off    Verb = "off"    // HostName: power off
	Freeze Verb = "freeze" // Freezing
	Fault  Verb = "fault"  // Fault
	Limit  Verb = "limit"  // Limits
	State  Verb = "state"  // nothing; answers []HostState
)

// What the caller asks of a host's init.
const (
	Start  Verb = "start"  // Process, with stdin, stdout and stderr
	Signal Verb = "signal" // SignalTo
	Open   Verb = "open"   // OpenFile; answers with the file
	Halt   Verb = "halt"   // bool: stop (true) or continue all processes but init
	Disk   Verb = "disk"   // DiskChange
)

// Exited is the note of a host's init that a process ended: Exit.
const Exited Verb = "exited"

// Lab is all that the stage has to know.
type Lab struct {
	ID        string   `json:"id"`
	Hosts     []Host   `json:"hosts"`
	Bridges   []string `json:"bridges"`
	Shares    []Share  `json:"shares,omitempty"`
	DiskBytes int64    `json:"disk_bytes"`
	Cgroups   []Cgroup `json:"cgroups,omitempty"`
}

// Host is one host's place in the lab.
type Host struct {
	Name  string `json:"name"`
	Links []Link `json:"links"`
}

// Link joins a host to a bridge.
type Link struct {
	Bridge    string   `json:"bridge"`
	Port      string   `json:"port"`      // the end at the bridge
	Interface string   `json:"interface"` // the end in the host
	MAC       string   `json:"mac"`
	Addresses []string `json:"addresses"` // with prefix length
}

// Share makes a file or directory of the machine visible in every host,
// read-only.
type Share struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// Cgroup is the lab's own directory in one cgroup hierarchy. Hosts have
// directories of their names below it.
type Cgroup struct {
	Dir         string   `json:"dir"`
	Mount       string   `json:"mount"` // where the hierarchy is mounted
	Unified     bool     `json:"unified"`
	Controllers []string `json:"controllers,omitempty"`
}

// InitConfig is what a host's init reads from its standard input.
type InitConfig struct {
	Host      Host     `json:"host"`
	Dir       string   `json:"dir"`    // the host's own directory on the lab's tmpfs
	Shares    []Share  `json:"shares"` // sources on the lab's tmpfs
	HostsFile string   `json:"hosts_file"`
	Cgroups   []Cgroup `json:"cgroups,omitempty"` // Dir is the host's own here
	DiskBytes int64    `json:"disk_bytes"`
}

// HostName names a host.
type HostName struct {
	Host string `json:"host"`
}

// Freezing asks to freeze or thaw a host. InitOnly asks for a signal to the
// host's init alone: the rest is done from within.
type Freezing struct {
	Host     string `json:"host"`
	Frozen   bool   `json:"frozen"`
	InitOnly bool   `json:"init_only,omitempty"`
}

// FaultKind is a kind of network fault.
type FaultKind string

// The kinds of faults. Heal undoes all of them for the hosts in A; with A
// empty, for all hosts.
const (
	Cut     FaultKind = "cut"     // A: links down
	Isolate FaultKind = "isolate" // A: every frame dropped
	OneWay  FaultKind = "one-way" // frames from A to B dropped
	Loss    FaultKind = "loss"    // A: Percent of the frames dropped, each way
	Between FaultKind = "between" // A: Percent of the frames from one of them to another dropped
	Heal    FaultKind = "heal"
)

// NetFault is a network fault on the named bridges; none means all.
type NetFault struct {
	Kind    FaultKind `json:"kind"`
	A       []string  `json:"a,omitempty"`
	B       []string  `json:"b,omitempty"`
	Percent float64   `json:"percent,omitempty"`
	Bridges []string  `json:"bridges,omitempty"`
}

// Limits bounds a host. Nil leaves as it is, 0 lifts the limit.
type Limits struct {
	Host        string   `json:"host"`
	CPUPercent  *float64 `json:"cpu_percent,omitempty"` // of one core
	MemoryBytes *int64   `json:"memory_bytes,omitempty"`
}

// HostState says how a host is.
type HostState struct {
	Name        string   `json:"name"`
	On          bool     `json:"on"`
	Frozen      bool     `json:"frozen,omitempty"`
	Cut         []string `json:"cut,omitempty"`          // bridges it is cut from
	Isolated    []string `json:"isolated,omitempty"`     // bridges it is isolated on
	LossPercent float64  `json:"loss_percent,omitempty"` // the worst of its links
}

// Process is a program to start in a host. ID is chosen by the caller.
type Process struct {
	ID   uint64   `json:"id"`
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"` // added to the host's own
	Dir  string   `json:"dir,omitempty"`
	Role string   `json:"role,omitempty"` // start the lab's own binary in this role
}

// Started answers Start.
type Started struct {
	PID int `json:"pid"` // within the host
}

// SignalTo sends Signal to a process, or to its whole session's group.
type SignalTo struct {
	ID     uint64         `json:"id"`
	Signal syscall.Signal `json:"signal"`
	Group  bool           `json:"group,omitempty"`
}

// Exit says how a process ended.
type Exit struct {
	ID     uint64         `json:"id"`
	Code   int            `json:"code"`             // -1 if killed by Signal
	Signal syscall.Signal `json:"signal,omitempty"` // 0 if it ended by itself
}

// OpenFile opens a file as os.OpenFile does. Parents makes the directories
// above it.
type OpenFile struct {
	Path    string `json:"path"`
	Flags   int    `json:"flags"`
	Mode    uint32 `json:"mode"`
	Parents bool   `json:"parents,omitempty"`
}

// DiskChange changes the tmpfs mounted at Path.
type DiskChange struct {
	Path string `json:"path"`
	// Mount mounts a new, empty tmpfs of Bytes at Path.
	Mount bool  `json:"mount,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
	// Full leaves no free block; otherwise the first size comes back.
	Full bool `json:"full,omitempty"`
}
