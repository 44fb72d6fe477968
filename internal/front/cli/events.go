package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

const eventsHelp = `Show what happened in the cell, the newest last.

Usage:
    keelson events [--follow] [--service SERVICE] [--node NODE] [--limit N]
                   [-o FORMAT]

    -f, --follow         then go on with what happens, until Ctrl-C
    --service SERVICE    of one service only
    --node NODE          from or about one node only
    --limit N            so many of the newest (default 100, at most 1000)
    -o, --output FORMAT  table, json or yaml; with --follow, json is one object a
                         line and yaml one document an event

The cell keeps the newest 2000 events.

Exit status: 0 shown, 1 it failed, 2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson events --limit 2
    TIME                 FROM  WHAT           ABOUT  TEXT
    2026-11-23 03:12:44  a     node-lost      b      b is lost
    2026-11-23 03:12:44  a     service-ready  shop   It is ready.
`

func (s *shell) eventsCommand() *cobra.Command {
	var follow bool
	var service, node string
	var limit int
	c := &cobra.Command{Use: "events", Long: eventsHelp, Args: exactly()}
	out := output.Flag(c)
	flags := c.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "")
	flags.StringVar(&service, "service", "", "")
	flags.StringVar(&node, "node", "", "")
	flags.IntVar(&limit, "limit", request.DefaultEvents, "")
	s.completeFlag(c, "service", services)
	s.completeFlag(c, "node", nodes)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if limit < 1 || limit > request.MaxEvents {
			return wrong("choose 1 to 1000", "--limit %d is out of range", limit)
		}
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		ask := request.Events{Limit: limit, Service: spec.ServiceName(service), Node: spec.NodeName(node)}
		list, err := api.Events(c.Context(), ask)
		if err != nil {
			return err
		}
		if follow {
			return s.followEvents(c.Context(), api, ask, list, *out)
		}
		return s.show(*out, list, func(width int, color bool) string {
			if len(list) == 0 {
				return "nothing is recorded\n"
			}
			return view.Events(list).Render(width, color)
		})
	}
	return c
}

// followEvents shows what is recorded, then what comes. It goes on where it was
// after the connection broke.
func (s *shell) followEvents(ctx context.Context, api *client.Client, ask request.Events, list []client.Event, out output.Form) error {
	next := uint64(0)
	say := func(e client.Event) error {
		next = e.Seq + 1
		return s.showNext(out, e, func(_ int, color bool) string { return view.Event(e, color) })
	}
	for _, e := range list {
		if err := say(e); err != nil {
			return err
		}
	}
	for {
		err := api.FollowEvents(ctx, request.Follow{From: next, Service: ask.Service, Node: ask.Node}, say)
		if ctx.Err() != nil {
			return nil
		}
		if !transient(err) {
			return err
		}
		s.tty.Progress("out of touch with " + api.Target() + "; trying again")
		if s.env.Clock.Sleep(ctx, rewatch) != nil {
			return nil
		}
	}
}
