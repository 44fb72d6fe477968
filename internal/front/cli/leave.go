package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/awaiting"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/spec"
)

const leaveHelp = `Take this server out of its cell.

Usage:
    keelson leave [--yes] [FLAGS]

Its services move to other nodes, its vote goes to another, then keelson stops
here and its state is deleted: the node's key and certificate, its copy of the
cell's store and who it was. The programs, their data and their kept output
(logs/ in the data folder) stay. To come back, join again with a new token.

    --yes                don't ask
    --data DIR           where state is kept (default /var/lib/keelson)
    --run DIR            where sockets are kept (default /run/keelson)
` + output.FlagHelp + `
Exit status: 0 it has left, 1 not possible, 2 wrong usage, 3 the cell cannot be
reached.

Example:
    # keelson leave --yes
    this server has left the cell
`

func (s *shell) leaveCommand() *cobra.Command {
	var yes bool
	o := LeaveOptions{Progress: s.sayProgress}
	c := &cobra.Command{Use: "leave", Long: leaveHelp, Args: exactly()}
	o.Folders.register(c)
	c.Flags().BoolVar(&yes, "yes", false, "")
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		will := "Leaving moves all services off this server, then stops keelson here and deletes its state, keys included."
		if s.tty.Ask && !yes {
			api, err := s.dial(c.Flags())
			if err != nil {
				return err
			}
			defer api.Close()
			if will, err = s.leaveWill(c.Context(), api); err != nil {
				return err
			}
		}
		if err := s.confirm(c.Context(), yes, will, "leave the cell?"); err != nil {
			return err
		}
		if err := s.env.Actions.Leave(c.Context(), o); err != nil {
			return err
		}
		return output.Done{Action: "leave", Outcome: output.Finished, Text: "this server has left the cell"}.Say(s.tty, *out)
	}
	return c
}

func (s *shell) leaveWill(ctx context.Context, api *client.Client) (string, error) {
	now, err := api.Status(ctx)
	if err != nil {
		return "", err
	}
	me, _ := awaiting.FindNode(now, now.Node)
	if len(now.Nodes) == 1 {
		return "", refusedHere("last-node", "to end the cell stop keelson here and delete its data folder",
			fmt.Sprintf("%s is the only node of cell %s", now.Node, now.Name))
	}
	will := fmt.Sprintf("This is node %s of cell %s. ", now.Node, now.Name)
	if len(me.Services) > 0 {
		will += fmt.Sprintf("These services move away, each with a short outage: %s. ", view.Names(me.Services))
	}
	will += "Then keelson stops here and its state is deleted, keys included."
	if left := without(now.Nodes, now.Node); left == 1 {
		will += " One node remains, and it can take over nothing."
	}
	return will, nil
}

func without(all []client.Node, name spec.NodeName) int {
	n := 0
	for _, node := range all {
		if node.Name != name {
			n++
		}
	}
	return n
}
