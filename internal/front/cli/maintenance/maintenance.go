// Package maintenance is the command that has a node, or the whole cell, left as
// it is. It refuses to guess: who means the whole cell has to say so.
package maintenance

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/spec"
)

// Help is the help text of `keelson maintenance`.
const Help = `Leave services as they are while somebody works on them.

Usage:
    keelson maintenance on NODE...|--cell [-o FORMAT]
    keelson maintenance off NODE...|--cell [-o FORMAT]

Nothing on the nodes is started, stopped, restarted or moved by itself, whatever
its checks say; what they say is shown. Leases are renewed all the same, and what
loses its lease is stopped: a node that is cut off does not keep what another may
run. A node that dies is dead: others take over what it ran. With --cell nobody
takes over anything.

One service is left alone by ` + "`maintenance: true`" + ` in its file. To empty a node
first, use ` + "`keelson drain`" + `.

    --cell               the whole cell
` + output.FlagHelp + `
Exit status: 0 done, 1 refused, 2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson maintenance on b
    b is left as it is
    $ keelson maintenance off b
    b is looked after again
`

// Tools are what the command line lends to a command.
type Tools struct {
	// Dial connects to the cell that the flags name.
	Dial func(*pflag.FlagSet) (*client.Client, error)
	// Terminal is where what was done is said.
	Terminal *screen.Terminal
	// Wrong makes an error of wrong usage.
	Wrong    func(hint, format string, args ...any) error
	Complete cobra.CompletionFunc // of nodes' names
}

// Command returns `keelson maintenance`; group is run for it alone.
func Command(t Tools, group func(*cobra.Command, []string) error) *cobra.Command {
	c := &cobra.Command{Use: "maintenance", Long: Help, Args: cobra.ArbitraryArgs, RunE: group}
	c.AddCommand(set(t, "on", true), set(t, "off", false))
	return c
}

func set(t Tools, verb string, on bool) *cobra.Command {
	var whole bool
	c := &cobra.Command{Use: verb, Long: Help, Args: cobra.ArbitraryArgs, ValidArgsFunction: t.Complete}
	c.Flags().BoolVar(&whole, "cell", false, "")
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if whole == (len(args) > 0) {
			return t.Wrong("see `keelson maintenance --help`", "say which nodes, or --cell for the whole cell")
		}
		api, err := t.Dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		did := output.Done{Action: "maintenance " + verb, Outcome: output.Finished}
		said := map[bool]string{true: "is left as it is", false: "is looked after again"}[on]
		was, err := api.Status(c.Context())
		if err != nil {
			return err
		}
		already := map[bool]string{true: "was left as it is already", false: "was looked after already"}[on]
		if whole {
			if err := api.SetMaintenance(c.Context(), "", on); err != nil {
				return err
			}
			did.Text = "the whole cell " + said
			if was.Maintenance == on {
				did.Outcome, did.Text = output.Unchanged, "the whole cell "+already
			}
			return did.Say(t.Terminal, *out)
		}
		var lines []string
		did.Outcome = output.Unchanged
		for _, name := range args {
			if err := api.SetMaintenance(c.Context(), spec.NodeName(name), on); err != nil {
				if len(lines) == 0 {
					return err
				}
				did.Outcome, did.Text = output.Partly, strings.Join(lines, "\n")
				return errors.Join(did.Say(t.Terminal, *out), err)
			}
			did.Nodes = append(did.Nodes, spec.NodeName(name))
			if slices.ContainsFunc(was.Nodes, func(n client.Node) bool { return n.Name == spec.NodeName(name) && n.Maintenance == on }) {
				lines = append(lines, name+" "+already)
				continue
			}
			did.Outcome = output.Finished
			lines = append(lines, name+" "+said)
		}
		did.Text = strings.Join(lines, "\n")
		return did.Say(t.Terminal, *out)
	}
	return c
}
