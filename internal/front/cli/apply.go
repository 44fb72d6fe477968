package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/cli/screen/view"
	"github.com/keelson/keelson/internal/model/request"
)

const applyHelp = `Create or change services from a file: all of them, or none if one is wrong.

Usage:
    keelson apply -f FILE [--dry-run] [--wait] [--timeout DURATION] [-o FORMAT]

A service in the cell that the file does not name is left alone. Applying the
same file twice changes nothing.

    -f, --file FILE      YAML with one or more documents; - reads standard input
    --dry-run            check only, and say what would change
    --wait               wait until all of it runs and is ready
    --timeout DURATION   with --wait: wait no longer than this (default 2m)
    -o, --output FORMAT  table, json or yaml

Exit status: 0 applied, 1 refused, 2 wrong usage, 3 the cell cannot be reached,
4 not ready in time.

Example:
    $ keelson apply -f shop.yaml --wait
    shop created (generation 1)
    shop runs on a
`

// maxFile bounds a file of services, in bytes; the cell takes no more.
const maxFile = 1 << 20

func (s *shell) applyCommand() *cobra.Command {
	var file string
	var ask request.Apply
	var wait bool
	var limit waiting
	c := &cobra.Command{Use: "apply", Long: applyHelp, Args: exactly()}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if file == "" {
			return wrong("see `keelson apply --help`", "keelson apply needs -f FILE")
		}
		if err := limit.check(); err != nil {
			return err
		}
		var err error
		if ask.File, ask.Content, err = s.readFile(file); err != nil {
			return err
		}
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
	c.Flags().StringVarP(&file, "file", "f", "", "")
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

// readFile returns the name for messages and the content of a file of services.
func (s *shell) readFile(path string) (string, []byte, error) {
	from, name := s.env.Stdin, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", nil, unreadable(path, err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		from, name = f, path
	}
	content, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return "", nil, unreadable(name, err)
	}
	if len(content) > maxFile {
		return "", nil, &request.Error{
			Kind: request.Invalid, Code: "file-too-large",
			Text: fmt.Sprintf("%s: the file has more than 1 MiB", name), Hint: "nothing was changed; split it into smaller files",
		}
	}
	return name, content, nil
}

func unreadable(path string, err error) error {
	var known *os.PathError
	if errors.As(err, &known) {
		err = known.Err
	}
	return &request.Error{Kind: request.Invalid, Code: "unreadable", Text: fmt.Sprintf("%s: %s", path, err), Err: err}
}
