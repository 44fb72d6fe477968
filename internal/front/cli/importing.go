package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/front/cli/pacemaker"
	"github.com/keelson/keelson/internal/model/specfile"
)

const importHelp = `Take over what another cluster manager was told.

Usage:
    keelson import pacemaker FILE

See ` + "`keelson import pacemaker --help`" + `.
`

type importCommand struct {
	simulate bool
	observe  bool
	every    time.Duration
	events   int
	query    string
	output   string
	at       string
}

func (s *shell) importCommand() *cobra.Command {
	c := &cobra.Command{Use: "import", Long: importHelp, Args: cobra.ArbitraryArgs, RunE: group}
	var o importCommand
	from := &cobra.Command{
		Use: "pacemaker", Long: pacemaker.Help, Args: between(0, "a file"),
		RunE: func(c *cobra.Command, args []string) error { return s.importPacemaker(c.Context(), o, args) },
	}
	from.Flags().BoolVar(&o.observe, "observe", false, "")
	from.Flags().DurationVar(&o.every, "every", 2*time.Second, "")
	from.Flags().IntVar(&o.events, "events", 0, "")
	from.Flags().StringVar(&o.query, "query", "", "")
	from.Flags().BoolVar(&o.simulate, "simulate", false, "")
	from.Flags().StringVarP(&o.output, "output", "o", "text", "")
	from.Flags().StringVar(&o.at, "at", "", "")
	c.AddCommand(from)
	return c
}

func (s *shell) importPacemaker(ctx context.Context, o importCommand, args []string) error {
	hint := "see `keelson import pacemaker --help`"
	if !slices.Contains([]string{"text", "json", "yaml"}, o.output) {
		return wrong("choose text, json or yaml", "%q is nothing that -o can be", o.output)
	}
	if o.observe {
		return s.observePacemaker(ctx, o, args)
	}
	if len(args) == 0 {
		return wrong(hint, "name a file")
	}
	path, now := args[0], s.env.Clock.Now()
	if o.at != "" {
		at, err := time.Parse(time.RFC3339, o.at)
		if err != nil {
			return wrong(hint, "--at %q is not a time such as 2026-01-31T12:00:00Z", o.at)
		}
		now = at
	}
	if o.simulate {
		return s.simulatePacemaker(ctx, path, o.output, now)
	}
	if o.output == "json" {
		return wrong("leave out -o json, or add --simulate or --observe", "-o json goes with --simulate and --observe; services are written as YAML")
	}
	var got pacemaker.Imported
	err := s.readFrom(path, func(r io.Reader) (err error) {
		got, err = s.env.Actions.Pacemaker.Until(ctx).Import(r, now)
		return err
	})
	if err != nil {
		return err
	}
	s.tty.Printf("%s", specfile.Marshal(got.Services...))
	if len(got.Notes) > 0 {
		s.tty.Errorf("%d things are not in these services:\n", len(got.Notes))
	}
	for _, n := range got.Notes {
		s.tty.Errorf("  %s\n", n)
	}
	return nil
}

// readFrom calls read with a file, or standard input for "-".
func (s *shell) readFrom(path string, read func(io.Reader) error) error {
	if path == "-" {
		if err := read(s.env.Stdin); err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := read(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (s *shell) simulatePacemaker(ctx context.Context, path, output string, now time.Time) error {
	files, isFolder, err := pacemaker.Cases(path)
	if errors.Is(err, pacemaker.ErrNoCases) {
		return wrong("name a folder with .xml files", "%s holds no .xml file", path)
	}
	if err != nil {
		return err
	}
	all := make([]pacemaker.Simulated, 0, len(files))
	for _, file := range files {
		var one pacemaker.Simulated
		err := s.readFrom(file, func(r io.Reader) (err error) {
			one, err = s.env.Actions.Pacemaker.Until(ctx).Simulate(r, now)
			return err
		})
		if err != nil {
			return err
		}
		one.Case = strings.TrimSuffix(filepath.Base(file), ".xml")
		all = append(all, one)
	}
	text, notes, err := pacemaker.Show(all, isFolder, output)
	s.tty.Printf("%s", text)
	for _, n := range notes {
		s.tty.Errorf("not understood: %s\n", n)
	}
	return err
}

// observePacemaker looks on until it is interrupted.
func (s *shell) observePacemaker(ctx context.Context, o importCommand, args []string) error {
	watch := pacemaker.Observer{
		Reader: s.env.Actions.Pacemaker.Until(ctx), Clock: s.env.Clock, Every: o.every, Events: o.events,
		Query: pacemaker.Source(args, o.query),
		Tell:  func(e pacemaker.Event) { s.tty.Printf("%s", e.Form(o.output)) },
	}
	return watch.Run(ctx)
}
