package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/awaiting"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

const leaveHelp = `Take this server out of its cell.

Usage:
    keelson leave [--offline] [--yes] [FLAGS]

Its services move to other nodes, its vote goes to another, then keelson stops
here and its state is deleted: the node's key and certificate, its copy of the
cell's store and who it was. The programs, their data and their kept output
(logs/ in the data folder) stay. To come back, join again with a new token.

    --offline            delete the state here without asking the cell, where
                         the agent does not run and cannot be started
    --yes                don't ask
    --data DIR           where state is kept (default /var/lib/keelson)
    --run DIR            where sockets are kept (default /run/keelson)
` + output.FlagHelp + `
After --offline the other nodes still count this one, as lost. Say so on one of
them, with ` + "`keelson node remove NAME --force`" + `. The only node of a cell cannot
leave it; to end the cell, stop the agent (` + "`systemctl stop keelson`" + `), then run
` + "`keelson leave --offline --yes`" + `: what the cell knew of its services is gone.

Exit status: 0 it has left, 1 not possible, 2 wrong usage, 3 the cell cannot be
reached.

Example:
    # keelson leave --yes
    this server has left the cell
`

func (s *shell) leaveCommand() *cobra.Command {
	var yes, offline bool
	o := LeaveOptions{Progress: s.sayProgress}
	c := &cobra.Command{Use: "leave", Long: leaveHelp, Args: exactly()}
	o.Folders.register(c)
	c.Flags().BoolVar(&yes, "yes", false, "")
	c.Flags().BoolVar(&offline, "offline", false, "")
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if offline {
			return s.leaveOffline(c.Context(), o, yes, *out)
		}
		will := "Leaving moves all services off this server, then stops keelson here and deletes its state, keys included."
		if s.tty.Ask && !yes {
			api, err := s.dial(c.Flags())
			if err != nil {
				return err
			}
			defer api.Close()
			if will, err = s.leaveWill(c.Context(), api); err != nil {
				return orOffline(err)
			}
		}
		if err := s.confirm(c.Context(), yes, will, "leave the cell?"); err != nil {
			return err
		}
		if err := s.env.Actions.Leave(c.Context(), o); err != nil {
			return orOffline(err)
		}
		return output.Done{Action: "leave", Outcome: output.Finished, Text: "this server has left the cell"}.Say(s.tty, *out)
	}
	return c
}

// orOffline tells of the way out of a cell that needs no agent.
func orOffline(err error) error {
	var known *request.Error
	if !errors.As(err, &known) || known.Kind != request.Unreachable {
		return err
	}
	told := *known
	told.Hint += "; if it cannot be started, `keelson leave --offline` deletes the state here without it"
	return &told
}

// leaveOffline deletes what this server has of a cell, without asking the cell.
func (s *shell) leaveOffline(ctx context.Context, o LeaveOptions, yes bool, form output.Form) error {
	will := "This deletes the node's state in " + o.Folders.Data + ", keys included, without telling the cell. If this is its only node, the cell is gone."
	if err := s.confirm(ctx, yes, will, "delete the state of this node?"); err != nil {
		return err
	}
	name, err := s.env.Actions.LeaveOffline(ctx, o)
	if err != nil {
		return err
	}
	shown := cmp.Or(string(name), "NAME")
	return output.Done{
		Action: "leave", Node: name, Outcome: output.Finished, Text: "the state of this node is deleted",
		Next: "keelson node remove " + shown + " --force",
	}.Say(s.tty, form, "if the cell has other nodes, they still count this one: `keelson node remove "+shown+" --force` on one of them; if not, the cell has ended")
}

func (s *shell) leaveWill(ctx context.Context, api *client.Client) (string, error) {
	now, err := api.Status(ctx)
	if err != nil {
		return "", err
	}
	me, _ := awaiting.FindNode(now, now.Node)
	if len(now.Nodes) == 1 {
		return "", refusedHere("last-node", "to end the cell stop the agent here (`systemctl stop keelson`), then run `keelson leave --offline --yes`",
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
