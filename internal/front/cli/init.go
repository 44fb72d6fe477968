package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/newcomer"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/model/spec"
)

const initHelp = `Make a cell, with this server as its first node.

Usage:
    keelson init [--cell NAME] [FLAGS]

It makes the cell's certificate authority and its store, and where systemd runs
it installs and starts the keelson service. Nothing is done if this server is in
a cell already.

    --cell NAME          the cell's name (default "main")
    --replace-voter-after DURATION
                         how long a node with a vote may be lost until another
                         takes its vote (default 5m, 0 for never)
` + nodeFlagsHelp + output.FlagHelp + `
Exit status: 0 made, 1 not possible here, 2 wrong usage.

Example:
    # keelson init --cell shop
    cell shop is made, and this server is its node a (10.0.0.1)
    keelson runs
    next: ` + "`keelson token create`, then `keelson join`" + ` on the other servers
`

// How long a voter may be lost until another node takes its vote.
const (
	defaultPatience  = 5 * time.Minute
	shortestPatience = 10 * time.Second
)

func (s *shell) initCommand() *cobra.Command {
	var flags nodeFlags
	var cell string
	var patience time.Duration
	var out *output.Form
	c := &cobra.Command{Use: "init", Long: initHelp, Args: exactly(), RunE: func(c *cobra.Command, _ []string) error {
		node, config, err := flags.settle(s)
		if err != nil {
			return err
		}
		if !spec.NodeName(cell).Valid() {
			return wrong("use 1 to 63 of a-z, 0-9, - and ., with a letter or digit first and last", "%q cannot be a cell's name", cell)
		}
		if patience != 0 && patience < shortestPatience {
			return wrong("a node that only restarts should keep its vote; 0 means never",
				"--replace-voter-after %v is too short: it is %v at least", patience, shortestPatience)
		}
		result, err := s.env.Actions.Init(c.Context(), InitOptions{
			NewNode: node, Cell: cell, ReplaceVoterAfter: patience, ConfigFile: flags.config, Config: config,
		})
		if err != nil {
			return err
		}
		if newcomer.Loopback(node.Address) {
			result.Notes = append(result.Notes, "no other server reaches "+node.Address+", so only nodes on this server can join this cell")
		}
		did := output.Done{
			Action: "init", Outcome: output.Finished, Cell: cell, Node: node.Name, Notes: result.Notes,
			Member: &output.Member{Address: node.Address, Started: result.Started},
			Text:   fmt.Sprintf("cell %s is made, and this server is its node %s (%s)", cell, node.Name, node.Address),
			Next:   node.Folders.agent(),
		}
		token := "keelson token create" + node.Folders.socket()
		if result.Started {
			did.Next = token
			return did.Say(s.tty, *out, append(notes(result.Notes), "keelson runs", "next: `"+token+"`, then `keelson join` on the other servers")...)
		}
		return did.Say(s.tty, *out, append(notes(result.Notes), "next: start it with `"+did.Next+"`, then `"+token+"`")...)
	}}
	flags.register(c)
	out = output.Flag(c)
	c.Flags().StringVar(&cell, "cell", "main", "")
	c.Flags().DurationVar(&patience, "replace-voter-after", defaultPatience, "")
	return c
}

const joinHelp = `Make this server a node of a cell.

Usage:
    keelson join ADDRESS --token TOKEN [--witness] [FLAGS]

ADDRESS is any node of the cell, with or without a port. The token comes from
` + "`keelson token create`" + ` on such a node, and is good for one server. Where
systemd runs, the keelson service is installed and started.

A node whose certificate has expired because it was off for more than 30 days
joins again the same way under its own name, and keeps all that it has.

    --token TOKEN        the token (default $KEELSON_TOKEN, which the list of
                         processes does not show)
    --witness            vote, but run no services: for the third vote of two
                         servers
` + nodeFlagsHelp + output.FlagHelp + `
Exit status: 0 joined, 1 the cell said no, 2 wrong usage, 3 ADDRESS cannot be
reached.

Example:
    # keelson join 10.0.0.1 --token kl1.7W3T...
    this server is node b (10.0.0.2) of cell shop
    keelson runs
`

func (s *shell) joinCommand() *cobra.Command {
	var flags nodeFlags
	var out *output.Form
	o := JoinOptions{Token: s.env.Getenv("KEELSON_TOKEN")}
	c := &cobra.Command{Use: "join", Long: joinHelp, Args: exactly("ADDRESS"), RunE: func(c *cobra.Command, args []string) error {
		if o.Token == "" {
			return wrong("make one with `keelson token create` on a node of the cell", "keelson join needs --token")
		}
		var err error
		if o.Server, err = newcomer.Server(args[0]); err != nil {
			return err
		}
		if o.NewNode, o.Config, err = flags.settle(s); err != nil {
			return err
		}
		if err := newcomer.Reaches(o.Address, o.Server); err != nil {
			return err
		}
		o.ConfigFile = flags.config
		result, err := s.env.Actions.Join(c.Context(), o)
		if err != nil {
			return err
		}
		as := "node"
		if o.Witness {
			as = "witness"
		}
		did := output.Done{
			Action: "join", Outcome: output.Finished, Cell: result.Cell, Node: o.Name, Notes: result.Notes,
			Member: &output.Member{Address: o.Address, Witness: o.Witness, Started: result.Started},
			Text:   fmt.Sprintf("this server is %s %s (%s) of cell %s", as, o.Name, o.Address, result.Cell),
		}
		if result.Started {
			return did.Say(s.tty, *out, append(notes(result.Notes), "keelson runs")...)
		}
		did.Next = o.Folders.agent()
		return did.Say(s.tty, *out, append(notes(result.Notes), "next: start it with `"+did.Next+"`")...)
	}}
	flags.register(c)
	out = output.Flag(c)
	c.Flags().StringVar(&o.Token, "token", o.Token, "")
	c.Flags().BoolVar(&o.Witness, "witness", false, "")
	return c
}
