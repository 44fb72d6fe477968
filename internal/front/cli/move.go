package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

const moveHelp = `Move a service to another node, and wait until it runs there.

Usage:
    keelson move SERVICE [NODE] [FLAGS]

Without NODE the cell chooses the best other one. It is a wish of one time: the
service is not bound to that node.

` + waitFlagsHelp + `
Exit status: 0 moved, 1 refused, 2 wrong usage, 3 the cell cannot be reached, 4
not there in time.

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
		if m.From == m.To {
			s.tty.Printf("%s is on %s already\n", name, m.To)
			return nil
		}
		if wait.no {
			s.tty.Printf("%s\n", moveText(name, m))
			return nil
		}
		var last client.Status
		err = s.await(c.Context(), api, wait.timeout, "move "+string(name), func(c client.Status) verdict {
			last = c
			return moved(c, name, m)
		})
		if err != nil {
			return err
		}
		service, _ := find(last, name)
		from := ""
		if m.From != "" {
			from = " from " + string(m.From)
		}
		s.tty.Printf("%s moved%s to %s in %s\n", name, from, service.Node, screen.Took(s.env.Clock.Now().Sub(began)))
		return nil
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
