package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/awaiting"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

const nodeHelp = `Change who is in the cell.

Usage:
    keelson node remove NODE [--force] [--yes] [FLAGS]

See ` + "`keelson node remove --help`" + `.

Example:
    $ keelson node remove b
`

const nodeRemoveHelp = `Take a node out of the cell.

Usage:
    keelson node remove NODE [--force] [--yes] [FLAGS]

A node that is alive moves its services away and leaves by itself. One that is
lost cannot: with --force the cell forgets it and revokes its certificate. Only
do that when you know that the server is off, or its services could run twice.

    --force              forget a node that is lost
    --yes                don't ask
` + waitFlagsHelp + output.FlagHelp + `
Exit status: 0 removed, 1 refused, 2 wrong usage, 3 the cell cannot be reached, 4
not out in time, 7 a service does not stop there.

Example:
    $ keelson node remove b --force --yes
    b is no longer in the cell
`

func (s *shell) nodeCommand() *cobra.Command {
	c := &cobra.Command{Use: "node", Long: nodeHelp, Args: cobra.ArbitraryArgs, RunE: group}
	c.AddCommand(s.nodeRemoveCommand())
	return c
}

func (s *shell) nodeRemoveCommand() *cobra.Command {
	var wait waiting
	var force, yes bool
	c := &cobra.Command{
		Use: "remove", Long: nodeRemoveHelp, Args: exactly("a NODE"), ValidArgsFunction: s.completeNames(nodes),
	}
	wait.register(c)
	c.Flags().BoolVar(&force, "force", false, "")
	c.Flags().BoolVar(&yes, "yes", false, "")
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := wait.check(); err != nil {
			return err
		}
		name := spec.NodeName(args[0])
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		will := fmt.Sprintf("Removing %s takes it out of the cell.", name)
		if !yes {
			n, err := api.Node(c.Context(), name)
			if err != nil {
				return err
			}
			will = removeWill(n)
		}
		if err := s.confirm(c.Context(), yes, will, fmt.Sprintf("remove %s?", name)); err != nil {
			return err
		}
		if err := s.remove(c.Context(), api, name, force, wait); err != nil {
			return err
		}
		did := output.Done{Action: "node remove", Node: name, Outcome: output.Begun, Text: fmt.Sprintf("%s is to leave the cell", name)}
		if wait.no {
			return did.Say(s.tty, *out)
		}
		err = s.await(c.Context(), api, wait.timeout, "remove "+string(name), func(c client.Status) awaiting.Verdict { return awaiting.Gone(c, name) })
		if err != nil {
			return err
		}
		did.Outcome, did.Text = output.Finished, fmt.Sprintf("%s is no longer in the cell", name)
		return did.Say(s.tty, *out)
	}
	return c
}

func removeWill(n client.Node) string {
	switch {
	case n.Liveness == fact.Lost:
		return fmt.Sprintf("%s is lost. The cell forgets it and revokes its certificate. If the server is not off, "+
			"what ran there could run twice.", n.Name)
	case len(n.Services) > 0:
		return fmt.Sprintf("%s is %s. These services move away, each with a short outage: %s. Then it leaves the cell.",
			n.Name, n.Liveness, view.Names(n.Services))
	}
	return fmt.Sprintf("%s is %s and runs nothing. It leaves the cell.", n.Name, n.Liveness)
}

// votePause is how long to wait for the controller to take a vote away.
const votePause = time.Second

// remove asks for the removal, again while a lost node's vote is being taken away.
func (s *shell) remove(ctx context.Context, api *client.Client, name spec.NodeName, force bool, wait waiting) error {
	began := s.env.Clock.Now()
	for {
		err := api.Remove(ctx, name, force)
		var known *client.Error
		if err == nil || wait.no || !errors.As(err, &known) || known.Code != "still-a-voter" {
			return err
		}
		passed := s.env.Clock.Now().Sub(began)
		if passed >= wait.timeout {
			return late("remove "+string(name), wait.timeout, awaiting.Verdict{Far: known.Text})
		}
		s.tty.Progress(fmt.Sprintf("remove %s: its vote is being taken away (%s)", name, screen.Age(passed)))
		if s.env.Clock.Sleep(ctx, votePause) != nil {
			return &request.Error{
				Kind: request.Canceled, Code: "interrupted", Text: fmt.Sprintf("interrupted: %s may still be in the cell", name),
				Hint: "see `keelson get nodes`",
			}
		}
	}
}
