package cli

import (
	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/reasons"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/request"
)

func (s *shell) applyCommand() *cobra.Command {
	var files []string
	var ask request.Apply
	var wait bool
	var limit waiting
	c := &cobra.Command{Use: "apply", Long: reasons.ApplyHelp, Args: exactly()}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(files) == 0 {
			return wrong("see `keelson apply --help`", "keelson apply needs -f FILE")
		}
		if err := limit.check(); err != nil {
			return err
		}
		file, err := reasons.Join(files, s.env.Stdin)
		if err != nil {
			return err
		}
		ask.File, ask.Content = file.Name, file.Content
		api, err := s.dial(c.Flags())
		if err != nil {
			return err
		}
		defer api.Close()
		result, err := api.Apply(c.Context(), ask)
		if err != nil {
			return err
		}
		if err := s.show(*out, result, func(int, bool) string { return view.Applied(result, ask.DryRun) }); err != nil {
			return err
		}
		if !wait || ask.DryRun {
			return nil
		}
		return s.awaitApplied(c, api, result, limit, *out)
	}
	c.Flags().StringArrayVarP(&files, "file", "f", nil, "")
	c.Flags().DurationVar(&ask.ConfirmWithin, "confirm-within", 0, "")
	c.Flags().BoolVar(&ask.DryRun, "dry-run", false, "")
	c.Flags().BoolVar(&wait, "wait", false, "")
	limit.limit(c)
	return c
}

func (s *shell) awaitApplied(c *cobra.Command, api *client.Client, result client.ApplyResult, limit waiting, out format) error {
	var last client.Status
	err := s.await(c.Context(), api, limit.timeout, "apply", func(c client.Status) verdict {
		last = c
		return applied(c, result)
	})
	if err != nil || out != asTable {
		return err
	}
	for _, a := range result.Applied {
		if service, known := find(last, a.Name); known && service.Node != "" {
			s.tty.Printf("%s runs on %s\n", a.Name, service.Node)
		} else {
			s.tty.Printf("%s is stopped, as it says\n", a.Name)
		}
	}
	return nil
}
