// Package cli is the keelson command: arguments in, sentences and tables out.
//
// It is a client of the API like any other. Its main rule: every command says
// what the state is and what to do next, on a terminal for people, in a pipe
// for scripts, and its exit status can be trusted. What runs on this machine
// itself (init, join, agent, guard, demo, leave) is not here: the caller hands
// it in as [Actions]. It refuses to destroy anything that it was not clearly
// told to.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/front/cli/build"
	"github.com/keelson/keelson/internal/front/cli/maintenance"
	"github.com/keelson/keelson/internal/front/cli/mending"
	"github.com/keelson/keelson/internal/front/cli/newcomer"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/front/cli/usage"
)

// Environment is all that the command has around it.
type Environment struct {
	Args    []string // without the program's name
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
	Clock   clock.Clock
	Build   build.Build
	Actions Actions
}

const rootHelp = `Keelson keeps services alive on a cell of servers.

Usage:
    keelson COMMAND [ARGUMENTS]

Make a cell:
    init          make a cell, with this server as its first node
    token create  make a one-time token for a server to join with
    join          make this server a node of a cell
    leave         take this server out of its cell
    agent         run this node (the system service does that)

Look:
    status        the whole cell on one screen
    get           services, nodes, or one of them
    describe      everything about a service or node
    why           why a service is where it is, and what would move it
    events        what happened
    logs          the output of a service's programs

Ask:
    plan          what an apply would do, before it does
    whatif        what would happen if nodes were lost or drained
    replay        take a past decision again, and compare

Change:
    apply         create or change services from a file
    confirm       keep a change that was applied for a time
    revert        take it back at once
    move          move a service to another node
    delete        stop a service and forget it
    drain         move all services off a node and keep it free
    undrain       let services back on a node
    maintenance on   leave a node, or the whole cell, as it is
    maintenance off  look after it again
    clear         forget where a service failed, and try it there again
    trust         end a node's quarantine
    recovery      show or change what bounds the moves a cell makes by itself
    node remove   take a node out of the cell

More:
    import        take over the configuration of a Pacemaker cluster
    demo          see a failover on this machine, without installing anything
    simulate      play histories of a cell under faults, and look for a fault
    schema        print the JSON schema of a service's file
    completion    print a completion script for a shell
    version       print the version

Every command explains itself with --help.

Whom to call, for all commands that look or change:
    --socket PATH       a node's local socket (default $KEELSON_SOCKET, or
                        /run/keelson/api.sock)
    --server HOST:PORT  a node over the network instead; several, separated by
                        commas, are tried in turn (default $KEELSON_SERVER)
    --cert, --key, --ca FILE
                        client certificate, its key and the cell's authority,
                        needed for --server (default $KEELSON_CERT, $KEELSON_KEY
                        and $KEELSON_CA)

Exit status: 0 done, 1 the cell said no or it failed, 2 wrong usage, 3 the cell
cannot be reached, 4 timed out waiting, 7 it was accepted and then failed for
good. With --exit-code, plan and whatif also use 5 and 6. All of them:
` + "`keelson help exit-codes`" + `.

With -o json or -o yaml a command prints one object for programs, and if it fails
an object {"error": {"code", "message", "next", "exit"}} on standard error.

Example:
    $ keelson demo
`

// Execute runs one command and returns its exit status.
func Execute(ctx context.Context, env Environment) int {
	s := &shell{env: env, tty: screen.New(env.Stdin, env.Stdout, env.Stderr, env.Getenv)}
	root := s.root()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	return s.complain(ran, err)
}

// shell is what all commands share.
type shell struct {
	env  Environment
	tty  *screen.Terminal
	conn connection
}

// connection says whom to call.
type connection struct {
	socket, server string
	files          client.Files
}

func (s *shell) root() *cobra.Command {
	root := &cobra.Command{
		Use: "keelson", Long: rootHelp, Args: cobra.ArbitraryArgs, RunE: group,
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		s.tty.Printf("%s", strings.TrimLeft(c.Long, "\n"))
	})
	root.SetHelpCommand(s.helpCommand())
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if words := c.Flags().Args(); c.HasSubCommands() && len(words) > 0 {
			return group(c, words) // what is not known is the command
		}
		text, hint := usage.Flag(c, err)
		return wrong(hint, "%s", text)
	})
	flags := root.PersistentFlags()
	flags.StringVar(&s.conn.socket, "socket", s.env.Getenv("KEELSON_SOCKET"), "")
	flags.StringVar(&s.conn.server, "server", s.env.Getenv("KEELSON_SERVER"), "")
	flags.StringVar(&s.conn.files.Cert, "cert", s.env.Getenv("KEELSON_CERT"), "")
	flags.StringVar(&s.conn.files.Key, "key", s.env.Getenv("KEELSON_KEY"), "")
	flags.StringVar(&s.conn.files.CA, "ca", s.env.Getenv("KEELSON_CA"), "")

	root.AddCommand(
		s.applyCommand(), s.statusCommand(), s.getCommand(), s.describeCommand(), s.moveCommand(),
		s.drainCommand(), s.undrainCommand(), s.deleteCommand(), s.eventsCommand(), s.logsCommand(),
		maintenance.Command(maintenance.Tools{Dial: s.dial, Terminal: s.tty, Wrong: wrong, Complete: s.completeNames(nodes)}, group),
		s.tokenCommand(), s.nodeCommand(), s.schemaCommand(), s.versionCommand(), s.completionCommand(),
	)
	root.AddCommand(s.actionCommands()...)
	root.AddCommand(mending.Commands(mending.Around{
		Terminal: s.tty, Wrong: wrong, Exactly: exactly, Service: s.completeNames(services), Node: s.completeNames(nodes),
		Dial: func(f *pflag.FlagSet) (mending.Cell, error) { return s.dial(f) },
	})...)
	root.AddCommand(s.reasonCommands()...)
	if s.env.Actions.Pacemaker != nil {
		root.AddCommand(s.importCommand())
	}
	abridge(root)
	return root
}

// abridge gives the commands the first sentence of their help, which a shell shows
// beside what it completes.
func abridge(c *cobra.Command) {
	c.Short, _, _ = strings.Cut(c.Long, "\n")
	for _, sub := range c.Commands() {
		abridge(sub)
	}
}

// helpCommand makes `keelson help status` the same as `keelson status --help`.
func (s *shell) helpCommand() *cobra.Command {
	return &cobra.Command{Use: "help", Long: rootHelp, Hidden: true, Args: cobra.ArbitraryArgs, RunE: func(c *cobra.Command, args []string) error {
		if slices.Equal(args, []string{usage.ExitTopic}) {
			s.tty.Printf("%s", usage.ExitCodes)
			return nil
		}
		about, rest, err := c.Root().Find(args)
		if err != nil || len(rest) > 0 {
			return wrong("see `keelson --help`", "there is no command %q", "keelson "+strings.Join(args, " "))
		}
		return about.Help()
	}}
}

// group is run for a command that only has others below it.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	hint := "see `" + c.CommandPath() + " --help`"
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean `%s %s`?", c.CommandPath(), near[0])
	}
	return wrong(hint, "there is no command %q", c.CommandPath()+" "+args[0])
}

// dial returns a client for the cell that the flags name. The caller closes it.
func (s *shell) dial(flags *pflag.FlagSet) (*client.Client, error) {
	o := client.Options{Socket: s.conn.socket}
	// A socket on the command line outweighs a server in the environment.
	if s.conn.server != "" && (!flags.Changed("socket") || flags.Changed("server")) {
		conf, err := s.conn.files.TLS()
		var known *client.Error
		if errors.As(err, &known) && known.Code == "no-certificate" {
			return nil, wrong(known.Hint, "%s", known.Text)
		}
		if err != nil {
			return nil, err
		}
		o.TLS = conf
		for given := range strings.SplitSeq(s.conn.server, ",") {
			server, err := newcomer.Server(strings.TrimSpace(given))
			if err != nil {
				return nil, err
			}
			o.Servers = append(o.Servers, server)
		}
	}
	return client.New(o)
}

// exactly checks the number of arguments and names the missing one.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), names...) }

// between checks that at least the first least of the named arguments are there
// and that there are no more.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		hint := "see `" + c.CommandPath() + " --help`"
		if len(args) < least {
			return wrong(hint, "%s needs %s", c.CommandPath(), strings.Join(names[len(args):least], " and "))
		}
		if len(args) > len(names) {
			return wrong(hint, "%s has no use for %q", c.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// hostname is the short name of this machine, in lower case; empty if unknown.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	name, _, _ = strings.Cut(name, ".")
	return strings.ToLower(name)
}
