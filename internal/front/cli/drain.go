package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/awaiting"
	"github.com/keelson/keelson/internal/front/cli/draining"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/spec"
)

const drainHelp = `Move all services off a node and keep it free, for work on it.

Usage:
    keelson drain NODE [--why TEXT] [--yes] [--force] [FLAGS]

The node stays a member and keeps its vote. ` + "`keelson undrain`" + ` ends it.

    --why TEXT           a reason, for those who see it in the status
    --yes                don't ask
    --force              also if services would have no node left to run on
                         and would stop; see ` + "`keelson whatif --drain NODE`" + `
` + waitFlagsHelp + output.FlagHelp + `
Exit status: 0 the node is free, 1 refused, 2 wrong usage, 3 the cell cannot be
reached, 4 not free in time, 7 a service does not stop there.

Example:
    $ keelson drain b --why "new disk" --yes
    b is free of services
`

const undrainHelp = `Let services back on a node that was drained.

Usage:
    keelson undrain NODE [-o FORMAT]

Services move back only if they prefer that node.

` + output.FlagHelp + `
Exit status: 0 done, 1 refused, 2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson undrain b
    b may run services again
`

func (s *shell) drainCommand() *cobra.Command {
	var wait waiting
	var why string
	var yes, force bool
	c := &cobra.Command{
		Use: "drain", Long: drainHelp, Args: exactly("a NODE"), ValidArgsFunction: s.completeNames(nodes),
	}
	wait.register(c)
	c.Flags().StringVar(&why, "why", "", "")
	c.Flags().BoolVar(&yes, "yes", false, "")
	c.Flags().BoolVar(&force, "force", false, "")
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
		n, err := api.Node(c.Context(), name)
		if err != nil {
			return err
		}
		homeless, err := draining.Homeless(c.Context(), api, name)
		if err != nil && !force {
			return err
		}
		if len(homeless) > 0 && !force && (yes || !s.tty.Ask) {
			return refusedHere("would-stop", "make room on another node first; `keelson whatif --drain "+string(name)+"` says why; add --force to have them stopped",
				fmt.Sprintf("no other node may run %s, so draining %s would stop it; nothing was changed", view.Names(homeless), name))
		}
		will := draining.Will(n, homeless)
		if err := s.confirm(c.Context(), yes, will, fmt.Sprintf("drain %s?", name)); err != nil {
			return err
		}
		if err := api.Drain(c.Context(), name, why); err != nil {
			return err
		}
		did := output.Done{Action: "drain", Node: name, Homeless: homeless, Outcome: output.Begun, Text: fmt.Sprintf("%s is to be kept free of services", name)}
		if wait.no {
			return did.Say(s.tty, *out)
		}
		err = s.await(c.Context(), api, wait.timeout, "drain "+string(name), func(c client.Status) awaiting.Verdict { return awaiting.Drained(c, name) })
		if err != nil {
			return err
		}
		did.Outcome, did.Text = output.Finished, fmt.Sprintf("%s is free of services", name)
		if n.Draining && len(n.Services) == 0 {
			did.Outcome, did.Text = output.Unchanged, fmt.Sprintf("%s was drained already, and is free of services", name)
		}
		return did.Say(s.tty, *out)
	}
	return c
}

func (s *shell) undrainCommand() *cobra.Command {
	c := &cobra.Command{Use: "undrain", Long: undrainHelp, Args: exactly("a NODE"), ValidArgsFunction: s.completeNames(nodes)}
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		name := spec.NodeName(args[0])
		n, err := api.Node(c.Context(), name)
		if err != nil {
			return err
		}
		if err := api.Undrain(c.Context(), name); err != nil {
			return err
		}
		did := output.Done{Action: "undrain", Node: name, Outcome: output.Finished, Text: fmt.Sprintf("%s may run services again", name)}
		switch {
		case !n.Draining:
			did.Outcome, did.Text = output.Unchanged, fmt.Sprintf("%s was not drained", name)
		case n.Witness:
			did.Text = fmt.Sprintf("%s is no longer drained; as a witness it runs no services", name)
		}
		return did.Say(s.tty, *out)
	}
	return c
}
