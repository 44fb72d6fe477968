// Package journal keeps what the benchmark measured: one JSON object a line,
// appended as soon as it is known, so that a run that was interrupted goes on
// where it was.
//
// Its one rule: a line is never changed. What was measured twice counts as it
// was measured first; what failed is kept for the record and measured again.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Entry is one line: one of its fields is set.
type Entry struct {
	Setup  *Setup  `json:"setup,omitempty"`
	Trial  *Trial  `json:"trial,omitempty"`
	Steady *Steady `json:"steady,omitempty"`
	Scale  *Scale  `json:"scale,omitempty"`
}

// Setup is what a run was made with. There is one for each start of the
// benchmark.
type Setup struct {
	At       time.Time         `json:"at"`
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	MemoryMB int               `json:"memory_mb"`
	System   string            `json:"system"`
	Kernel   string            `json:"kernel"`
	Versions map[string]string `json:"versions"` // Debian packages, by name
	Keelson  string            `json:"keelson"`
	Spec     string            `json:"spec,omitempty"` // added to the spec of Keelson's service
	// StartMS is how long the web program takes from its start to its first
	// answer; the median of some starts.
	StartMS float64 `json:"start_ms"`
}

// Trial is one fault and what a client saw of it.
type Trial struct {
	Contestant string    `json:"contestant"`
	Fault      string    `json:"fault"`
	Round      int       `json:"round"` // from 1
	At         time.Time `json:"at"`
	From       string    `json:"from,omitempty"` // who served when it began
	To         string    `json:"to,omitempty"`   // who served next
	// OutageMS is the longest time without an answer between the fault and its
	// repair; if Lost, nobody answered until then.
	OutageMS float64 `json:"outage_ms"`
	Lost     bool    `json:"lost,omitempty"`
	// BoundMS is what Keelson said beforehand that such an outage takes at most,
	// 0 if it did not say or the fault is none that a bound is given for.
	BoundMS float64 `json:"bound_ms,omitempty"`
	// AfterMS is the longest time without an answer after the repair.
	AfterMS float64 `json:"after_ms"`
	// Frozen is set if the fault was a freeze.
	Frozen *Frozen `json:"frozen,omitempty"`
	// StallMS is the longest time between two questions: how much the machine
	// was busy with other things. Load is its load average.
	StallMS float64 `json:"stall_ms"`
	Load    float64 `json:"load"`
	Error   string  `json:"error,omitempty"` // it could not be measured
}

// Frozen is what there is to say of two holders when a host was frozen and
// thawed.
type Frozen struct {
	// TwoFrozenMS is how long two hosts answered ARP for the address before the
	// thaw, TwoThawedMS after it.
	TwoFrozenMS float64 `json:"two_frozen_ms"`
	TwoThawedMS float64 `json:"two_thawed_ms"`
	// OldMS is how long after the thaw the old holder answered requests while
	// another did too; OldAnswers is how many. They are those of a client that
	// sends them to the old holder whatever ARP says.
	OldMS      float64 `json:"old_ms"`
	OldAnswers int     `json:"old_answers"`
}

// Steady is a time without a fault of a host.
type Steady struct {
	Contestant string    `json:"contestant"`
	Condition  string    `json:"condition"`
	At         time.Time `json:"at"`
	Seconds    float64   `json:"seconds"`
	// Changes is how often another host answered than before.
	Changes int `json:"changes"`
	// UnservedS is the time without an answer, in seconds, Outages how many
	// times that was, LongestMS the longest of them.
	UnservedS float64 `json:"unserved_s"`
	Outages   int     `json:"outages"`
	LongestMS float64 `json:"longest_ms"`
	Asked     int     `json:"asked"`
	Failed    int     `json:"failed"`
	// LostAtS is when the last answer was given, if there was none in the last
	// quarter of the time; 0 if there was.
	LostAtS float64 `json:"lost_at_s,omitempty"`
	TwoS    float64 `json:"two_s"` // for how long two answered ARP
	// Alarms counts what the stack itself took for a change: hosts declared
	// lost (Keelson), memberships (Corosync), times the address was taken
	// (keepalived).
	Alarms int     `json:"alarms"`
	Bound  string  `json:"bound,omitempty"` // what Keelson says a failover takes at most
	Load   float64 `json:"load"`
	Error  string  `json:"error,omitempty"`
}

// Scale is one cell of many nodes.
type Scale struct {
	Nodes     int       `json:"nodes"`
	At        time.Time `json:"at"`
	FormedMS  float64   `json:"formed_ms"` // from nothing to all nodes alive
	Seconds   float64   `json:"seconds"`   // how long it was then left alone
	Alarms    int       `json:"alarms"`    // hosts declared lost in that time
	Changes   int       `json:"changes"`
	UnservedS float64   `json:"unserved_s"`
	// Packets are those that a node sends and receives in a second, CPUPercent
	// of a core what its agent and guard use, both without clients: the median
	// and the largest of all nodes.
	Packets       float64 `json:"packets"`
	PacketsMost   float64 `json:"packets_most"`
	CPUPercent    float64 `json:"cpu_percent"`
	CPUMost       float64 `json:"cpu_most"`
	OutageMS      float64 `json:"outage_ms"` // then the host that serves was killed
	FailedOver    bool    `json:"failed_over"`
	Bound         string  `json:"bound,omitempty"`
	Load          float64 `json:"load"`
	Error         string  `json:"error,omitempty"`
	MemoryMBTotal float64 `json:"memory_mb_total"` // of all agents and guards
}

// Failed reports whether the entry says that something could not be measured.
func (e Entry) Failed() bool {
	return e.Trial != nil && e.Trial.Error != "" || e.Steady != nil && e.Steady.Error != "" || e.Scale != nil && e.Scale.Error != ""
}

// Key names what was measured, "" for a setup.
func (e Entry) Key() string {
	switch {
	case e.Trial != nil:
		return TrialKey(e.Trial.Contestant, e.Trial.Fault, e.Trial.Round)
	case e.Steady != nil:
		return SteadyKey(e.Steady.Contestant, e.Steady.Condition)
	case e.Scale != nil:
		return ScaleKey(e.Scale.Nodes)
	default:
		return ""
	}
}

// TrialKey names one trial.
func TrialKey(contestant, fault string, round int) string {
	return fmt.Sprintf("trial %s %s %d", contestant, fault, round)
}

// SteadyKey names a time without a fault of a host.
func SteadyKey(contestant, condition string) string {
	return fmt.Sprintf("steady %s %s", contestant, condition)
}

// ScaleKey names a cell of that many nodes.
func ScaleKey(nodes int) string { return fmt.Sprintf("scale %d", nodes) }

// Journal is an open file of entries. It is not safe for concurrent use.
type Journal struct {
	path    string
	entries []Entry
	done    map[string]bool
}

// Open reads the journal at path, which need not exist. A last line that was
// cut off is taken away; any other that cannot be read is an error.
func Open(path string) (*Journal, error) {
	j := &Journal{path: path, done: map[string]bool{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if whole := bytes.LastIndexByte(text, '\n') + 1; whole < len(text) {
		text = text[:whole]
		if err := os.Truncate(path, int64(whole)); err != nil {
			return nil, fmt.Errorf("take the half line off the journal: %w", err)
		}
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		j.take(e)
	}
	return j, nil
}

func (j *Journal) take(e Entry) {
	j.entries = append(j.entries, e)
	if !e.Failed() {
		j.done[e.Key()] = true
	}
}

// Done reports whether the thing of that key was measured already.
func (j *Journal) Done(key string) bool { return j.done[key] }

// Add appends an entry.
func (j *Journal) Add(e Entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	j.take(e)
	return nil
}

// Entries returns all entries, oldest first; the caller must not change them.
func (j *Journal) Entries() []Entry { return j.entries }
