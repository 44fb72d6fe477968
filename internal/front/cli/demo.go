package cli

import (
	"slices"

	"github.com/spf13/cobra"
)

const demoHelp = `See a failover on this machine, without installing anything.

Usage:
    keelson demo [--once] [--json] [--fault FAULT] [--nodes N]

It makes N hosts out of namespaces, forms a cell of them, runs a service with an
address of its own, asks that service for an answer every 5 ms, and then makes
the host that serves fail. It ends with the outage as the client saw it. After
that you may look around and break more; Ctrl-C ends it and leaves nothing
behind.

    --once          end after one failover
    --json          print one JSON object at the end, and nothing else; implies
                    --once
    --fault FAULT   kill (the whole host, the default), cut (its network), freeze
                    (all its processes) or service (the program only)
    --nodes N       3 to 9 hosts (default 3)

The JSON has the stages of the takeover that were seen, in order of time: fault;
declared dead (by the first other node); program's end seen; lease free (nobody
holds it any more); claimed; address up; program started; first answer (all of
it is at the client). at_ms counts from the fault, took_ms from the stage
before, and up to the first answer took_ms adds up to its at_ms. What comes
after it has after_first_answer and took_ms 0: nobody waited for it. A frozen
host may be declared dead when its lease has ended and another answers already.

Exit status: 0 the service was taken over, 1 it was not, or the demo cannot run
here, 2 wrong usage.

Example:
    # keelson demo --once
`

// Sizes of the demo's cell.
const (
	minDemo = 3
	maxDemo = 9
)

func (s *shell) demoCommand() *cobra.Command {
	o := DemoOptions{In: s.env.Stdin, Out: s.env.Stdout, Err: s.env.Stderr}
	faults := []string{"kill", "cut", "freeze", "service"}
	c := &cobra.Command{Use: "demo", Long: demoHelp, Args: exactly(), RunE: func(c *cobra.Command, _ []string) error {
		if !slices.Contains(faults, o.Fault) {
			return wrong("choose kill, cut, freeze or service", "%q is no fault", o.Fault)
		}
		if o.Nodes < minDemo || o.Nodes > maxDemo {
			return wrong("choose 3 to 9", "%d hosts are too few or too many", o.Nodes)
		}
		o.Once = o.Once || o.JSON
		o.Columns, _ = s.tty.Size()
		o.Terminal, o.Color = o.Columns > 0, s.tty.Color
		return s.env.Actions.Demo(c.Context(), o)
	}}
	flags := c.Flags()
	flags.BoolVar(&o.Once, "once", false, "")
	flags.BoolVar(&o.JSON, "json", false, "")
	flags.StringVar(&o.Fault, "fault", "kill", "")
	flags.IntVar(&o.Nodes, "nodes", minDemo, "")
	register(c, "fault", faults...)
	return c
}
