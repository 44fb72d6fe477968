package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

const completionHelp = `Print a completion script for a shell. It knows the names in the cell, too.

Usage:
    keelson completion bash|zsh|fish

Exit status: 0 printed, 2 wrong usage.

Example:
    $ keelson completion bash > /etc/bash_completion.d/keelson
    $ keelson completion zsh > "${fpath[1]}/_keelson"
    $ keelson completion fish > ~/.config/fish/completions/keelson.fish
`

func (s *shell) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion", Long: completionHelp, Args: exactly("bash, zsh or fish"),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(s.tty, true)
			case "zsh":
				return root.GenZshCompletion(s.tty)
			case "fish":
				return root.GenFishCompletion(s.tty, true)
			}
			return wrong("choose bash, zsh or fish", "%q is no shell that can be completed", args[0])
		},
	}
}

// completeTimeout bounds how long a press of the tab key waits for the cell.
const completeTimeout = time.Second

// names is which names complete an argument.
type names uint8

const (
	services names = iota
	nodes
)

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeNames completes the arguments, one kind each, with what the cell has.
func (s *shell) completeNames(kinds ...names) completer {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(kinds) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return s.live(c, kinds[len(args)]), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeThings completes "SERVICE", "service SERVICE" and "node NODE".
func (s *shell) completeThings(more ...string) completer {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var words []string
		switch {
		case len(args) == 0:
			words = append(append(words, more...), "service", "node")
			words = append(words, s.live(c, services)...)
		case len(args) == 1 && args[0] == "service":
			words = s.live(c, services)
		case len(args) == 1 && args[0] == "node":
			words = s.live(c, nodes)
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func (s *shell) completeFlag(c *cobra.Command, flag string, kind names) {
	err := c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return s.live(c, kind), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag does not exist: a fault of the caller
	}
}

// live asks the cell for names; none if it does not answer at once.
func (s *shell) live(c *cobra.Command, kind names) []string {
	api, err := s.dial(c.Flags())
	if err != nil {
		return nil
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
	defer cancel()
	now, err := api.Status(ctx)
	if err != nil {
		return nil
	}
	var words []string
	if kind == nodes {
		for _, n := range now.Nodes {
			words = append(words, string(n.Name))
		}
		return words
	}
	for _, one := range now.Services {
		words = append(words, string(one.Name))
	}
	return words
}
