package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/awaiting"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/model/spec"
)

const deleteHelp = `Stop a service everywhere and forget it.

Usage:
    keelson delete SERVICE [--yes] [FLAGS]

Its programs are stopped and its addresses are given up. Data that its programs
wrote stays where it is. Where other services name it, such as in their after, it
is told; that counts no more then.

    --yes                don't ask
` + waitFlagsHelp + output.FlagHelp + `
Exit status: 0 deleted, 1 refused, 2 wrong usage, 3 the cell cannot be reached, 4
not gone in time, 7 a part of it does not stop: a person has to end that.

Example:
    $ keelson delete shop --yes
    shop is deleted
`

func (s *shell) deleteCommand() *cobra.Command {
	var wait waiting
	var yes bool
	c := &cobra.Command{
		Use: "delete", Long: deleteHelp, Args: exactly("a SERVICE"), ValidArgsFunction: s.completeNames(services),
	}
	wait.register(c)
	c.Flags().BoolVar(&yes, "yes", false, "")
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := wait.check(); err != nil {
			return err
		}
		name := spec.ServiceName(args[0])
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		will := fmt.Sprintf("Deleting %s stops it everywhere and forgets it.", name)
		if !yes {
			one, err := api.Service(c.Context(), name)
			if err != nil {
				return err
			}
			if one.Node != "" {
				will = fmt.Sprintf("%s is %s on %s. Deleting it stops it there and forgets it.", name, one.State, one.Node)
			}
		}
		if err := s.confirm(c.Context(), yes, will, fmt.Sprintf("delete %s?", name)); err != nil {
			return err
		}
		deleted, err := api.Delete(c.Context(), name)
		if err != nil {
			return err
		}
		did := output.Done{
			Action: "delete", Service: name, Outcome: output.Begun, Notes: deleted.Warnings, Text: fmt.Sprintf("%s is being deleted", name),
		}
		if wait.no {
			return did.Say(s.tty, *out, notes(did.Notes)...)
		}
		err = s.await(c.Context(), api, wait.timeout, "delete "+string(name), func(c client.Status) awaiting.Verdict { return awaiting.Deleted(c, name) })
		if err != nil {
			return err
		}
		did.Outcome, did.Text = output.Finished, fmt.Sprintf("%s is deleted", name)
		return did.Say(s.tty, *out, notes(did.Notes)...)
	}
	return c
}
