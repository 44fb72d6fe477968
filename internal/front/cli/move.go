package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/awaiting"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

const moveHelp = `Move a service to another node, and wait until it runs there.

Usage:
    keelson move SERVICE [NODE] [FLAGS]

Without NODE the cell chooses the best other one. It is a wish of one time: the
service is not bound to that node.

` + waitFlagsHelp + output.FlagHelp + `
Exit status: 0 moved, 1 refused, 2 wrong usage, 3 the cell cannot be reached, 4
not there in time, 7 it failed there for good, or went back.

Example:
    $ keelson move shop b
    shop moved from a to b in 1.2 s
`

func (s *shell) moveCommand() *cobra.Command {
	var wait waiting
	c := &cobra.Command{
		Use: "move", Long: moveHelp, Args: between(1, "a SERVICE", "a NODE"),
		ValidArgsFunction: s.completeNames(services, nodes),
	}
	wait.register(c)
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := wait.check(); err != nil {
			return err
		}
		name := spec.ServiceName(args[0])
		var to spec.NodeName
		if len(args) > 1 {
			to = spec.NodeName(args[1])
		}
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		began := s.env.Clock.Now()
		m, err := api.Move(c.Context(), name, to)
		if err != nil {
			return err
		}
		did := output.Done{Action: "move", Service: name, From: m.From, To: m.To}
		switch {
		case m.From == m.To:
			did.Outcome, did.Text = output.Unchanged, fmt.Sprintf("%s is on %s already", name, m.To)
			return did.Say(s.tty, *out)
		case wait.no:
			did.Outcome, did.Text = output.Begun, moveText(name, m)
			return did.Say(s.tty, *out)
		}
		var last client.Status
		goal := awaiting.Move{Service: name, Moved: m}
		err = s.await(c.Context(), api, wait.timeout, "move "+string(name), func(c client.Status) awaiting.Verdict {
			last = c
			return goal.Reached(c)
		})
		if err != nil {
			return err
		}
		service, _ := awaiting.Find(last, name)
		from, took := "", s.env.Clock.Now().Sub(began)
		if m.From != "" {
			from = " from " + string(m.From)
		}
		did.Outcome, did.To, did.Seconds = output.Finished, service.Node, took.Seconds()
		did.Text = fmt.Sprintf("%s moved%s to %s in %s", name, from, service.Node, screen.Took(took))
		return did.Say(s.tty, *out)
	}
	return c
}

func moveText(name spec.ServiceName, m request.Moved) string {
	switch {
	case m.To == "":
		return fmt.Sprintf("%s is to move away from %s", name, m.From)
	case m.From == "":
		return fmt.Sprintf("%s is to run on %s", name, m.To)
	}
	return fmt.Sprintf("%s is to move from %s to %s", name, m.From, m.To)
}
