package cli

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/agentfile"
	"github.com/keelson/keelson/internal/front/cli/newcomer"
)

const agentHelp = `Run this node. The system service does that; by hand it is for trying things.

Usage:
    keelson agent [--config FILE] [FLAGS]

It starts the guard beside it, which goes on when the agent stops. So do the
services: a stopped or upgraded agent finds them again. It ends on SIGTERM.

    --data DIR           where state is kept (default /var/lib/keelson)
    --run DIR            where sockets are kept (default /run/keelson)
    --config FILE        the agent's file (default the one that init or join was
                         given)
    --log-level LEVEL    debug, info, warn or error (default info)
    --log-format FORMAT  text or json (default text)

The file is needed only for a watchdog, which restarts this host if the guard
hangs, and to keep the cell's state in an etcd of your own:

    watchdog: /dev/watchdog
    store:
      endpoints: [https://10.0.0.7:2379, https://10.0.0.8:2379]
      ca: /etc/keelson/etcd-ca.pem
      cert: /etc/keelson/etcd.pem
      key: /etc/keelson/etcd.key
      prefix: /keelson/

Exit status: 0 ended when asked, 1 could not go on, 2 wrong usage.

Example:
    # keelson agent --log-level debug
`

const guardHelp = `Run this node's guard: heartbeats and leases. The agent starts it by itself.

Usage:
    keelson guard [--run DIR] [--data DIR] [--watchdog PATH]
                  [--log-level LEVEL] [--log-format FORMAT]

    --watchdog PATH      pet this watchdog, so that the host restarts if the
                         guard hangs

On SIGHUP it becomes the program that its file holds now, without a gap; an
agent of another version asks it for that by itself. For this there are two
flags more: --can-resume VERSION reads a guard's state and says whether this
program could go on from it, and --resume FD goes on.

Exit status: 0 ended when asked, 1 could not go on, 2 wrong usage.

Example:
    # keelson guard
`

func (l *Logging) register(c *cobra.Command) {
	c.Flags().StringVar(&l.Level, "log-level", "info", "")
	c.Flags().StringVar(&l.Format, "log-format", "text", "")
	register(c, "log-level", "debug", "info", "warn", "error")
	register(c, "log-format", "text", "json")
}

func (l *Logging) check() error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level) {
		return wrong("choose debug, info, warn or error", "%q is no log level", l.Level)
	}
	if !slices.Contains([]string{"text", "json"}, l.Format) {
		return wrong("choose text or json", "%q is no log format", l.Format)
	}
	return nil
}

// actionCommands are the commands whose work was handed in.
func (s *shell) actionCommands() []*cobra.Command {
	var all []*cobra.Command
	a := s.env.Actions
	if a.Init != nil {
		all = append(all, s.initCommand())
	}
	if a.Join != nil {
		all = append(all, s.joinCommand())
	}
	if a.Leave != nil {
		all = append(all, s.leaveCommand())
	}
	if a.Agent != nil {
		all = append(all, s.agentCommand())
	}
	if a.Guard != nil {
		all = append(all, s.guardCommand())
	}
	if a.Demo != nil {
		all = append(all, s.demoCommand())
	}
	if a.Simulate != nil {
		all = append(all, s.simulateCommand())
	}
	return all
}

func (s *shell) agentCommand() *cobra.Command {
	var o AgentOptions
	c := &cobra.Command{Use: "agent", Long: agentHelp, Args: exactly(), RunE: func(c *cobra.Command, _ []string) error {
		err := errors.Join(o.Logging.check(), newcomer.Folders(o.Folders.Data, o.Folders.Run))
		if err != nil {
			return err
		}
		if o.Config, err = agentfile.Read(o.ConfigFile); err != nil {
			return err
		}
		return s.env.Actions.Agent(c.Context(), o)
	}}
	o.Folders.register(c)
	o.Logging.register(c)
	c.Flags().Var((*newcomer.Path)(&o.ConfigFile), "config", "")
	return c
}

func (s *shell) guardCommand() *cobra.Command {
	var o GuardOptions
	c := &cobra.Command{Use: "guard", Long: guardHelp, Hidden: true, Args: exactly(), RunE: func(c *cobra.Command, _ []string) error {
		if err := o.Logging.check(); err != nil {
			return err
		}
		if o.CanResume == 0 {
			return s.env.Actions.Guard(c.Context(), o)
		}
		o.State = s.env.Stdin
		if err := s.env.Actions.Guard(c.Context(), o); err != nil {
			return err
		}
		s.tty.Printf("%s\n", ResumeAnswer)
		return nil
	}}
	o.Folders.register(c)
	o.Logging.register(c)
	c.Flags().StringVar(&o.Watchdog, "watchdog", "", "")
	c.Flags().IntVar(&o.Resume, "resume", 0, "")
	c.Flags().IntVar(&o.CanResume, "can-resume", 0, "")
	return c
}
