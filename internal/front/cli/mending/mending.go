// Package mending holds the commands with which an operator ends what the cell
// does for the sake of past failures: `keelson clear`, `keelson trust` and
// `keelson recovery`. They ask the cell and say what it answered, and decide
// nothing.
package mending

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

const clearHelp = `Forget where a service failed, so that it may be tried there again.

Usage:
    keelson clear SERVICE [--node NODE] [-o FORMAT]

A service that failed on every node that may run it is stopped for a person:
correct the cause, then clear it. Applying a changed spec clears it too.

    --node NODE          forget only what failed there
` + output.FlagHelp + `
Exit status: 0 done, 1 refused, 2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson clear shop
    shop may be tried again on a, b, c
`

const trustHelp = `Trust a node again that was quarantined because it kept failing.

Usage:
    keelson trust NODE [-o FORMAT]

A node that is lost again and again, or on which one service after the other
fails that is well elsewhere, gets no new work for a time that doubles with each
quarantine; then it is on probation. This ends both, and forgets its past.

` + output.FlagHelp + `
Exit status: 0 done, 1 refused, 2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson trust b
    b is trusted again
`

const recoveryHelp = `Show or change what bounds the moves that the cell makes by itself.

Usage:
    keelson recovery [--share PERCENT] [--moves N] [--cell-moves N]
                     [--window TIME] [-o FORMAT]

Successors of a lost node take over at once, whatever stands here, and what you
ask for with move, drain or apply is done. Without a flag it shows what is in
force.

    --share PERCENT      how many of a hundred nodes services leave at once
                         because of trouble there; never less than one node (at
                         first 34)
    --moves N            moves of one service within the window (at first 4)
    --cell-moves N       moves of all services within the window (at first 30)
    --window TIME        1m to 24h (at first 10m)
` + output.FlagHelp + `
Exit status: 0 shown or changed, 1 refused, 2 wrong usage, 3 the cell cannot be
reached.

Example:
    $ keelson recovery --share 25
    25 % of the nodes at once; within 10m 4 moves of a service and 30 of all
`

// maxShare is all nodes, in percent.
const maxShare = 100

// Bounds are what bounds recovery in a cell.
type Bounds interface {
	Recovery(context.Context) (spec.Recovery, error)
	SetRecovery(context.Context, spec.Recovery) error
}

// Cell is what these commands ask of a cell.
type Cell interface {
	Bounds
	Clear(context.Context, spec.ServiceName, spec.NodeName) ([]spec.NodeName, error)
	Node(context.Context, spec.NodeName) (client.Node, error)
	Trust(context.Context, spec.NodeName) error
	Close()
}

// Around is what these commands have around them. All fields are required.
type Around struct {
	Terminal *screen.Terminal
	Dial     func(*pflag.FlagSet) (Cell, error)
	// Wrong makes an error of wrong usage.
	Wrong func(hint, format string, args ...any) error
	// Exactly checks the number of arguments, by what they are called.
	Exactly func(names ...string) cobra.PositionalArgs
	// Service and Node complete names.
	Service, Node cobra.CompletionFunc
}

// Commands returns the commands.
func Commands(a Around) []*cobra.Command {
	return []*cobra.Command{a.clear(), a.trust(), a.recovery()}
}

func (a Around) clear() *cobra.Command {
	c := &cobra.Command{Use: "clear", Long: clearHelp, Args: a.Exactly("a SERVICE"), ValidArgsFunction: a.Service}
	var node string
	c.Flags().StringVar(&node, "node", "", "")
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cell, err := a.Dial(c.Flags())
		if err != nil {
			return err
		}
		defer cell.Close()
		did := output.Done{Action: "clear", Service: spec.ServiceName(args[0]), Node: spec.NodeName(node), Outcome: output.Finished}
		did.Nodes, err = cell.Clear(c.Context(), did.Service, did.Node)
		switch {
		case err != nil:
			return err
		case len(did.Nodes) == 0:
			did.Outcome, did.Text = output.Unchanged, args[0]+" had failed nowhere"
		default:
			did.Text = fmt.Sprintf("%s may be tried again on %s", args[0], view.Names(did.Nodes))
		}
		return did.Say(a.Terminal, *out)
	}
	return c
}

func (a Around) trust() *cobra.Command {
	c := &cobra.Command{Use: "trust", Long: trustHelp, Args: a.Exactly("a NODE"), ValidArgsFunction: a.Node}
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cell, err := a.Dial(c.Flags())
		if err != nil {
			return err
		}
		defer cell.Close()
		did := output.Done{Action: "trust", Node: spec.NodeName(args[0]), Outcome: output.Finished, Text: args[0] + " is trusted again"}
		was, err := cell.Node(c.Context(), did.Node)
		if err != nil {
			return err
		}
		if err := cell.Trust(c.Context(), did.Node); err != nil {
			return err
		}
		if was.Trust == (status.Trust{}) {
			did.Outcome, did.Text = output.Unchanged, args[0]+" was trusted; what it failed at before is forgotten"
		}
		return did.Say(a.Terminal, *out)
	}
	return c
}

func (a Around) recovery() *cobra.Command {
	c := &cobra.Command{Use: "recovery", Long: recoveryHelp, Args: a.Exactly()}
	var r spec.Recovery
	var window time.Duration
	c.Flags().IntVar(&r.Share, "share", 0, "")
	c.Flags().IntVar(&r.ServiceMoves, "moves", 0, "")
	c.Flags().IntVar(&r.CellMoves, "cell-moves", 0, "")
	c.Flags().DurationVar(&window, "window", 0, "")
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := a.within(c.Flags()); err != nil {
			return err
		}
		cell, err := a.Dial(c.Flags())
		if err != nil {
			return err
		}
		defer cell.Close()
		r.Window = spec.Duration(window)
		did := output.Done{Action: "recovery", Outcome: output.Unchanged}
		before, err := cell.Recovery(c.Context())
		if err != nil {
			return fmt.Errorf("read what bounds recovery: %w", err)
		}
		if r != (spec.Recovery{}) {
			if err := cell.SetRecovery(c.Context(), r); err != nil {
				return err
			}
		}
		now, err := cell.Recovery(c.Context())
		if err != nil {
			return fmt.Errorf("read what bounds recovery: %w", err)
		}
		if now != before {
			did.Outcome = output.Finished
		}
		did.Recovery, did.Text = &now, now.String()
		return did.Say(a.Terminal, *out)
	}
	return c
}

// within refuses flags that are out of range. What is not given stays as it is, so a
// zero that is given must not look like that.
func (a Around) within(given *pflag.FlagSet) error {
	for _, flag := range []struct {
		name string
		most int
	}{{"share", maxShare}, {"moves", spec.MaxMoves}, {"cell-moves", spec.MaxMoves}} {
		if n, _ := given.GetInt(flag.name); given.Changed(flag.name) && (n < 1 || n > flag.most) {
			return a.Wrong(fmt.Sprintf("choose 1 to %d", flag.most), "--%s %d is out of range", flag.name, n)
		}
	}
	if w, _ := given.GetDuration("window"); given.Changed("window") && (w < spec.MinMoveWindow || w > spec.MaxMoveWindow) {
		return a.Wrong("choose 1m to 24h", "--window %v is out of range", w)
	}
	return nil
}
