package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/spec"
)

const getHelp = `List services or nodes, or show one of them in a line.

Usage:
    keelson get services|nodes [-o FORMAT]
    keelson get SERVICE [-o FORMAT]
    keelson get service SERVICE|node NODE [-o FORMAT]

    -o, --output FORMAT  table, json or yaml

Exit status: 0 shown, 1 there is no such thing, 2 wrong usage, 3 the cell cannot
be reached.

Example:
    $ keelson get shop -o json
`

// thing is what a command looks at: a service, unless Node is set.
type thing struct {
	service spec.ServiceName
	node    spec.NodeName
}

// parseThing reads "SERVICE", "service SERVICE" or "node NODE".
func parseThing(args []string) (thing, error) {
	switch {
	case len(args) == 1:
		return thing{service: spec.ServiceName(args[0])}, nil
	case args[0] == "service":
		return thing{service: spec.ServiceName(args[1])}, nil
	case args[0] == "node":
		return thing{node: spec.NodeName(args[1])}, nil
	}
	return thing{}, wrong("say `service NAME` or `node NAME`", "%q is neither a service nor a node", args[0]+" "+args[1])
}

func (s *shell) getCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "get", Long: getHelp, Args: between(1, "services, nodes or a SERVICE", "a name"),
		ValidArgsFunction: s.completeThings("services", "nodes"),
	}
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 && (args[0] == "node" || args[0] == "service") {
			return wrong("for all of them: `keelson get "+args[0]+"s`", "keelson get %s needs a name", args[0])
		}
		what, err := parseThing(args)
		if err != nil {
			return err
		}
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		switch {
		case len(args) == 1 && args[0] == "services":
			return s.getServices(c.Context(), api, *out)
		case len(args) == 1 && args[0] == "nodes":
			return s.getNodes(c.Context(), api, *out)
		case what.node != "":
			one, err := api.Node(c.Context(), what.node)
			if err != nil {
				return err
			}
			return s.show(*out, one, view.Nodes([]client.Node{one}).Render)
		}
		one, err := api.Service(c.Context(), what.service)
		if err != nil {
			return err
		}
		return s.show(*out, one, view.Services([]client.Service{one}, s.env.Clock.Now()).Render)
	}
	return c
}

func (s *shell) getServices(ctx context.Context, api *client.Client, out output.Form) error {
	now, err := api.Status(ctx)
	if err != nil {
		return err
	}
	return s.show(out, now.Services, func(width int, color bool) string {
		if len(now.Services) == 0 {
			return "no services yet: `keelson apply -f FILE`\n"
		}
		return view.Services(now.Services, now.At).Render(width, color)
	})
}

func (s *shell) getNodes(ctx context.Context, api *client.Client, out output.Form) error {
	now, err := api.Status(ctx)
	if err != nil {
		return err
	}
	return s.show(out, now.Nodes, view.Nodes(now.Nodes).Render)
}
