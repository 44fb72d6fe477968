package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/awaiting"
	"github.com/keelson/keelson/internal/front/cli/output"
	"github.com/keelson/keelson/internal/front/cli/reasons"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
)

// applying is how an apply is done and told.
type applying struct {
	dry, wait bool
	limit     waiting
	form      output.Form
}

func (s *shell) applyCommand() *cobra.Command {
	var files []string
	var ask request.Apply
	var wait bool
	var limit waiting
	c := &cobra.Command{Use: "apply", Long: reasons.ApplyHelp, Args: exactly()}
	out := output.Flag(c)
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
			return file.OwnError(err)
		}
		result.Warnings = file.OwnAll(result.Warnings)
		if *out != output.Table {
			return s.tellApplied(c, api, result, applying{ask.DryRun, wait, limit, *out})
		}
		if err := s.show(*out, nil, func(int, bool) string { return view.Applied(result, ask.DryRun) }); err != nil {
			return err
		}
		if !wait || ask.DryRun {
			return nil
		}
		places, err := s.awaitApplied(c, api, result, limit)
		if err != nil {
			return err
		}
		for _, a := range result.Applied {
			if at := places[a.Name].Node; at != "" {
				s.tty.Printf("%s runs on %s\n", a.Name, at)
			} else {
				s.tty.Printf("%s is stopped, as it says\n", a.Name)
			}
		}
		return nil
	}
	c.Flags().StringArrayVarP(&files, "file", "f", nil, "")
	c.Flags().DurationVar(&ask.ConfirmWithin, "confirm-within", 0, "")
	c.Flags().BoolVar(&ask.DryRun, "dry-run", false, "")
	c.Flags().BoolVar(&wait, "wait", false, "")
	limit.limit(c)
	return c
}

// tellApplied prints one object with what was applied and, if that was waited for,
// what came of it.
func (s *shell) tellApplied(c *cobra.Command, api *client.Client, result client.ApplyResult, a applying) error {
	var places map[spec.ServiceName]client.Service
	var err error
	outcome := output.Begun
	switch {
	case a.dry:
		outcome = output.Checked
	case a.wait:
		if places, err = s.awaitApplied(c, api, result, a.limit); err == nil {
			outcome = output.Finished
		}
	}
	did := output.AppliedTo(result, places, outcome)
	did.Text = strings.TrimRight(view.Applied(result, a.dry), "\n")
	return errors.Join(s.show(a.form, output.Plain{Value: did}, nil), err)
}

// awaitApplied waits for what was applied and returns how it is, whether that is
// well or not.
func (s *shell) awaitApplied(c *cobra.Command, api *client.Client, result client.ApplyResult, limit waiting) (map[spec.ServiceName]client.Service, error) {
	places := map[spec.ServiceName]client.Service{}
	err := s.await(c.Context(), api, limit.timeout, "apply", func(c client.Status) awaiting.Verdict {
		for _, a := range result.Applied {
			places[a.Name], _ = awaiting.Find(c, a.Name)
		}
		return awaiting.Applied(c, result)
	})
	return places, err
}
