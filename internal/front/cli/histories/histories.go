// Package histories holds what `keelson simulate` is asked and what it shows. It
// plays nothing: who does is handed in.
package histories

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/front/cli/screen"
)

// Help is the help text of `keelson simulate`.
const Help = `Play histories of a cell under faults, and look for a broken promise.

Usage:
    keelson simulate [--seeds N] [--from S] [--workers K] [--nodes N]
                     [--whole-nodes] [-o FORMAT]

It runs the real failure detector and lease protocol of this binary under virtual
clocks and a virtual network: no server, no network and no root is needed. Every
seed is one history of more than a minute of cell time with ten faults and more.
At every step it checks that no exclusive service has two holders, that none
answers on two nodes, that epochs grow, that a majority in touch serves
everything within its bound, and that nothing moves without a cause. Every third
seed is a trial, in which one thing at a time happens while up to 20 % of the
packets are lost: nobody may count as lost who is not, and what a dead node ran
is to be served again within the bound that keelson status would show.

    --seeds N            how many histories (default 100)
    --from S             seed of the first (default 1)
    --workers K          how many are played at once (default one for each CPU)
    --nodes N            size of the cell, 1 to 32 (default 0: the seed chooses)
    --whole-nodes        histories of another kind, with fewer and milder
                         faults of clocks and networks, 1 to 5 nodes: beside
                         the lease plane run the real decision and the real
                         rules of agents and guards, with programs that take
                         time, fail, hang and die, and operators who drain,
                         move, apply, delete and maintain. It checks as well
                         that order and limits are kept, that after the last
                         fault all runs that has a home, and that nothing is
                         left to decide
    -o, --output FORMAT  table, json or yaml

The first broken promise ends it. It is then shown with its seed and with as few
faults as break it; the same seed breaks it again. Ctrl-C ends it with what was
done until then.

Exit status: 0 nothing was broken in what was played, 1 a promise was broken, 2
wrong usage.

Example:
    $ keelson simulate --seeds 2000
    $ keelson simulate --from 4711 --seeds 1 --nodes 3
    $ keelson simulate --seeds 500 --whole-nodes
`

// Options is what `keelson simulate` was told.
type Options struct {
	From    uint64
	Seeds   uint64
	Workers int
	Nodes   int // 0: the seed chooses
	// Whole asks for histories of whole nodes, see package sim/whole.
	Whole bool
	// Progress takes how many histories were played and how much cell time; one
	// call at a time; never nil.
	Progress func(runs int, cell time.Duration)
}

// Again is the command that plays the history of a seed as it was played under o. It
// names the size of the cell only if o does: a seed that chooses the size itself is
// another history than one for which the same size is given.
func (o Options) Again(seed uint64) string {
	command := fmt.Sprintf("keelson simulate --from %d --seeds 1", seed)
	if o.Nodes != 0 {
		command += fmt.Sprintf(" --nodes %d", o.Nodes)
	}
	if o.Whole {
		command += " --whole-nodes"
	}
	return command
}

// Result is what the histories showed.
type Result struct {
	Runs    int
	Cell    time.Duration // cell time that was played
	Took    time.Duration // to play them
	Faults  []Fault
	Wins    int // leases won; not counted in histories of whole nodes
	Starts  int // of programs; in those only, like what follows
	Plans   int // placements decided
	Cuts    int // programs that a guard ended
	Packets int
	Broken  *Broken // nil: nothing
}

// Fault says how often a kind of fault happened.
type Fault struct {
	Kind  string
	Count int
}

// Broken is a broken promise.
type Broken struct {
	Seed      uint64   `json:"seed"`
	Nodes     int      `json:"nodes"`
	Invariant string   `json:"invariant"`
	At        float64  `json:"at_seconds"`
	Text      string   `json:"text"`
	Faults    []string `json:"faults"`
	Trace     []string `json:"trace"`
}

// pace is how many cell-hours were played in a minute.
func (r *Result) pace() float64 {
	if r.Took <= 0 {
		return 0
	}
	return r.Cell.Hours() / r.Took.Minutes()
}

// Text shows r to people.
func (r Result) Text(o Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d histories, %.1f cell-hours, in %s: %.1f cell-hours a minute\n", r.Runs, o.Seeds, r.Cell.Hours(), screen.Took(r.Took), r.pace())
	if o.Whole {
		fmt.Fprintf(&b, "%d programs started, %d placements decided, %d programs cut off by guards, %d packets\n\nFaults:\n", r.Starts, r.Plans, r.Cuts, r.Packets)
	} else {
		fmt.Fprintf(&b, "%d leases won, %d packets\n\nFaults:\n", r.Wins, r.Packets)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "    %-20s %8d\n", f.Kind, f.Count)
	}
	if r.Broken == nil {
		b.WriteString("\nNo promise was broken.\n")
		return b.String()
	}
	v := r.Broken
	fmt.Fprintf(&b, "\nSeed %d, %d nodes, after %.4f s: %s: %s\n\nThe faults that it takes:\n", v.Seed, v.Nodes, v.At, v.Invariant, v.Text)
	for _, line := range v.Faults {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	b.WriteString("\nWhat happened:\n")
	for _, line := range v.Trace {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// JSON is r for programs.
func (r Result) JSON(o Options) ([]byte, error) {
	v := struct {
		Seeds     uint64         `json:"seeds"`
		From      uint64         `json:"from"`
		Runs      int            `json:"runs"`
		CellHours float64        `json:"cell_hours"`
		Took      float64        `json:"took_seconds"`
		Pace      float64        `json:"cell_hours_per_minute"`
		Wins      int            `json:"leases_won"`
		Starts    int            `json:"programs_started,omitempty"`
		Plans     int            `json:"placements_decided,omitempty"`
		Cuts      int            `json:"programs_cut_off,omitempty"`
		Packets   int            `json:"packets"`
		Faults    map[string]int `json:"faults"`
		Violation *Broken        `json:"violation"`
	}{o.Seeds, o.From, r.Runs, r.Cell.Hours(), r.Took.Seconds(), r.pace(), r.Wins, r.Starts, r.Plans, r.Cuts, r.Packets, map[string]int{}, r.Broken}
	for _, f := range r.Faults {
		v.Faults[f.Kind] = f.Count
	}
	return json.MarshalIndent(v, "", "  ")
}
