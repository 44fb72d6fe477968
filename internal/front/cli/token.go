package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/screen"
	"github.com/keelson/keelson/internal/model/request"
)

const tokenHelp = `Tokens let new servers into the cell.

Usage:
    keelson token create [--valid DURATION] [-o FORMAT]

    --valid DURATION     how long it can be used: 1s to 168h (default 1h)
    -o, --output FORMAT  table, json or yaml

See ` + "`keelson token create --help`" + `.

Exit status: 0 made, 1 refused, 2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson token create
`

const tokenCreateHelp = `Make a one-time token for a server to join with.

Usage:
    keelson token create [--valid DURATION] [-o FORMAT]

Whoever has the token can make one server a node of this cell, and so run
programs on all of them: hand it on with care.

    --valid DURATION     how long it can be used: 1s to 168h (default 1h)
    -o, --output FORMAT  table, json or yaml

Exit status: 0 made, 1 refused, 2 wrong usage, 3 the cell cannot be reached.

Example:
    $ keelson token create
    On the new server, within 1h0m:
        keelson join 10.0.0.1:7480 --token kl1.7W3T...
`

func (s *shell) tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Long: tokenHelp, Args: cobra.ArbitraryArgs, RunE: group}
	c.AddCommand(s.tokenCreateCommand())
	return c
}

func (s *shell) tokenCreateCommand() *cobra.Command {
	var valid time.Duration
	c := &cobra.Command{Use: "create", Long: tokenCreateHelp, Args: exactly()}
	c.Flags().DurationVar(&valid, "valid", request.DefaultTokenValid, "")
	out := output.Flag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if valid < time.Second || valid > request.MaxTokenValid {
			return wrong("choose 1s to 168h", "--valid %s is out of range", valid)
		}
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		made, err := api.CreateToken(c.Context(), valid)
		if err != nil {
			return err
		}
		return s.show(*out, made, func(int, bool) string {
			return fmt.Sprintf("On the new server, within %s:\n    keelson join %s --token %s\n", screen.Age(valid), made.Address, made.Token)
		})
	}
	return c
}
