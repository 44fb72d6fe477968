package cli

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/histories"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/model/request"
)

const (
	maxSimulated  = 32
	maxWhole      = 5
	maxWorkers    = 256
	progressEvery = 200 * time.Millisecond
)

func (s *shell) simulateCommand() *cobra.Command {
	var o histories.Options
	c := &cobra.Command{Use: "simulate", Long: histories.Help, Args: exactly()}
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case o.Seeds == 0:
			return wrong("choose how many with --seeds", "no histories are nothing to play")
		case o.From+o.Seeds < o.From:
			return wrong("choose a smaller --from", "there are not that many seeds after %d", o.From)
		case o.Nodes < 0 || o.Nodes > maxSimulated:
			return wrong("choose 1 to 32", "a cell has no %d nodes", o.Nodes)
		case o.Whole && o.Nodes > maxWhole:
			return wrong("choose 1 to 5", "a cell of whole nodes has no %d of them", o.Nodes)
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
	flags.BoolVar(&o.Whole, "whole-nodes", false, "")
	return c
}

func (s *shell) simulate(ctx context.Context, o histories.Options, out output.Form) error {
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
	if out == output.Table {
		s.tty.Printf("%s", r.Text(o))
	} else {
		text, err := r.JSON(o)
		if err == nil && out == output.YAML {
			text, err = yaml.JSONToYAML(text)
		}
		if err != nil {
			return err
		}
		s.tty.Printf("%s\n", strings.TrimRight(string(text), "\n"))
	}
	if b := r.Broken; b != nil {
		return &request.Error{
			Kind: request.Refused, Code: "invariant-broken", Text: fmt.Sprintf("seed %d breaks %s", b.Seed, b.Invariant),
			Hint: fmt.Sprintf("this is a fault of Keelson; please report it with the output of `%s`", o.Again(b.Seed)),
		}
	}
	return nil
}
