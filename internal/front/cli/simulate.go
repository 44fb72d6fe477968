package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
)

const simulateHelp = `Play histories of a cell under faults, and look for a broken promise.

Usage:
    keelson simulate [--seeds N] [--from S] [--workers K] [--nodes N] [-o FORMAT]

It runs the real failure detector and lease protocol of this binary under virtual
clocks and a virtual network: no server, no network and no root is needed. Every
seed is one history of more than a minute of cell time with ten faults and more.
At every step it checks that no exclusive service has two holders, that none
answers on two nodes, that epochs grow, that a majority in touch serves
everything within its bound, and that nothing moves without a cause.

    --seeds N            how many histories (default 100)
    --from S             seed of the first (default 1)
    --workers K          how many are played at once (default one for each CPU)
    --nodes N            size of the cell, 1 to 32 (default 0: the seed chooses)
    -o, --output FORMAT  table, json or yaml

The first broken promise ends it. It is then shown with its seed and with as few
faults as break it; the same seed breaks it again. Ctrl-C ends it with what was
done until then.

Exit status: 0 nothing was broken in what was played, 1 a promise was broken, 2
wrong usage.

Example:
    $ keelson simulate --seeds 2000
    $ keelson simulate --from 4711 --seeds 1 --nodes 3
`

// SimulateOptions is what `keelson simulate` was told.
type SimulateOptions struct {
	From    uint64
	Seeds   uint64
	Workers int
	Nodes   int // 0: the seed chooses
	// Progress takes how many histories were played and how much cell time; one
	// call at a time; never nil.
	Progress func(runs int, cell time.Duration)
}

// SimulateResult is what the histories showed.
type SimulateResult struct {
	Runs    int
	Cell    time.Duration // cell time that was played
	Took    time.Duration // to play them
	Faults  []SimulateFault
	Wins    int // leases won
	Packets int
	Broken  *SimulateBroken // nil: nothing
}

// SimulateFault says how often a kind of fault happened.
type SimulateFault struct {
	Kind  string
	Count int
}

// SimulateBroken is a broken promise.
type SimulateBroken struct {
	Seed      uint64   `json:"seed"`
	Nodes     int      `json:"nodes"`
	Invariant string   `json:"invariant"`
	At        float64  `json:"at_seconds"`
	Text      string   `json:"text"`
	Faults    []string `json:"faults"`
	Trace     []string `json:"trace"`
}

const (
	maxSimulated  = 32
	maxWorkers    = 256
	progressEvery = 200 * time.Millisecond
)

func (s *shell) simulateCommand() *cobra.Command {
	var o SimulateOptions
	c := &cobra.Command{Use: "simulate", Long: simulateHelp, Args: exactly()}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case o.Seeds == 0:
			return wrong("choose how many with --seeds", "no histories are nothing to play")
		case o.From+o.Seeds < o.From:
			return wrong("choose a smaller --from", "there are not that many seeds after %d", o.From)
		case o.Nodes < 0 || o.Nodes > maxSimulated:
			return wrong("choose 1 to 32", "a cell has no %d nodes", o.Nodes)
		case o.Workers < 1 || o.Workers > maxWorkers:
			return wrong("choose 1 to 256", "%d workers are too few or too many", o.Workers)
		}
		return s.simulate(c.Context(), o, *out)
	}
	flags := c.Flags()
	flags.Uint64Var(&o.Seeds, "seeds", 100, "")
	flags.Uint64Var(&o.From, "from", 1, "")
	flags.IntVar(&o.Workers, "workers", min(runtime.NumCPU(), maxWorkers), "")
	flags.IntVar(&o.Nodes, "nodes", 0, "")
	return c
}

func (s *shell) simulate(ctx context.Context, o SimulateOptions, out format) error {
	began := s.env.Clock.Now()
	said := began
	o.Progress = func(runs int, cell time.Duration) {
		if now := s.env.Clock.Now(); now.Sub(said) >= progressEvery {
			said = now
			s.tty.Progress(fmt.Sprintf("%d of %d histories, %.1f cell-hours in %s", runs, o.Seeds, cell.Hours(), now.Sub(began).Round(time.Second)))
		}
	}
	r := s.env.Actions.Simulate(ctx, o)
	s.tty.ClearProgress()
	if out == asTable {
		s.tty.Printf("%s", simulateText(o, r))
	} else if err := s.simulateData(o, r, out); err != nil {
		return err
	}
	if b := r.Broken; b != nil {
		return &request.Error{
			Kind: request.Refused, Code: "invariant-broken", Text: fmt.Sprintf("seed %d breaks %s", b.Seed, b.Invariant),
			Hint: fmt.Sprintf("this is a fault of Keelson; please report it with the output of `keelson simulate --from %d --seeds 1 --nodes %d`", b.Seed, b.Nodes),
		}
	}
	return nil
}

// pace is how many cell-hours were played in a minute.
func (r *SimulateResult) pace() float64 {
	if r.Took <= 0 {
		return 0
	}
	return r.Cell.Hours() / r.Took.Minutes()
}

func simulateText(o SimulateOptions, r SimulateResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d histories, %.1f cell-hours, in %s: %.1f cell-hours a minute\n", r.Runs, o.Seeds, r.Cell.Hours(), screen.Took(r.Took), r.pace())
	fmt.Fprintf(&b, "%d leases won, %d packets\n\nFaults:\n", r.Wins, r.Packets)
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

// simulateData prints r as JSON or YAML.
func (s *shell) simulateData(o SimulateOptions, r SimulateResult, out format) error {
	v := struct {
		Seeds     uint64          `json:"seeds"`
		From      uint64          `json:"from"`
		Runs      int             `json:"runs"`
		CellHours float64         `json:"cell_hours"`
		Took      float64         `json:"took_seconds"`
		Pace      float64         `json:"cell_hours_per_minute"`
		Wins      int             `json:"leases_won"`
		Packets   int             `json:"packets"`
		Faults    map[string]int  `json:"faults"`
		Violation *SimulateBroken `json:"violation"`
	}{o.Seeds, o.From, r.Runs, r.Cell.Hours(), r.Took.Seconds(), r.pace(), r.Wins, r.Packets, map[string]int{}, r.Broken}
	for _, f := range r.Faults {
		v.Faults[f.Kind] = f.Count
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if out == asYAML {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
	}
	s.tty.Printf("%s\n", strings.TrimRight(string(text), "\n"))
	return nil
}
