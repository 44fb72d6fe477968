package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/specfile"
)

const importHelp = `Take over what another cluster manager was told.

Usage:
    keelson import pacemaker FILE

See ` + "`keelson import pacemaker --help`" + `.
`

const importPacemakerHelp = `Read a Pacemaker cluster's information base, and write services of it.

Usage:
    keelson import pacemaker [--simulate] [-o text|json] FILE
    keelson import pacemaker --simulate [-o text|json] FOLDER

FILE is what ` + "`cibadmin --query`" + ` prints; - reads it from standard input. Nothing
of the cluster is touched.

Without --simulate it prints services for ` + "`keelson apply`" + `, and on standard error
what of the configuration they do not say, each with its id. Read that list
before you rely on the services.

    --simulate    decide on the cluster as it stands, and print where each
                  resource is and where it would be. Of a FOLDER, every .xml
                  file is decided on.
    -o json       for programs: an object with "case", "before" and "after" (by
                  resource, a list of {"node", "role", "count"}), "nodes",
                  "steps", "why" and "not_understood"; for a FOLDER a list of
                  such objects, sorted by case.
    --at TIME     when to decide, such as 2026-01-31T12:00:00Z, if the file does
                  not say so itself (default now)

Exit status: 0 done, 1 a file cannot be read, 2 wrong usage.

Example:
    $ cibadmin --query > cib.xml
    $ keelson import pacemaker --simulate cib.xml
`

// Imported is what came of another manager's configuration.
type Imported struct {
	Services []spec.Service
	// Notes say what is not understood, each with the id of what it is about.
	Notes []string
}

// Simulated is what would be done with another manager's cluster.
type Simulated struct {
	Case   string                     `json:"case"`
	Before map[string][]SimulatedSeat `json:"before"`
	After  map[string][]SimulatedSeat `json:"after"`
	Nodes  map[string]string          `json:"nodes"`
	Steps  []string                   `json:"steps,omitempty"`
	Why    map[string]string          `json:"why,omitempty"`
	Not    []string                   `json:"not_understood,omitempty"`
}

// SimulatedSeat is how many instances of a resource run in one role on one node.
type SimulatedSeat struct {
	Count int    `json:"count"`
	Node  string `json:"node"`
	Role  string `json:"role"`
}

// Pacemaker reads what a Pacemaker cluster was told. Its errors say what is
// wrong with the document.
type Pacemaker struct {
	Import   func(io.Reader, time.Time) (Imported, error)
	Simulate func(io.Reader, time.Time) (Simulated, error)
}

type importCommand struct {
	simulate bool
	output   string
	at       string
}

func (s *shell) importCommand() *cobra.Command {
	c := &cobra.Command{Use: "import", Long: importHelp, Args: cobra.ArbitraryArgs, RunE: group}
	var o importCommand
	pacemaker := &cobra.Command{
		Use: "pacemaker", Long: importPacemakerHelp, Args: exactly("a file"),
		RunE: func(_ *cobra.Command, args []string) error { return s.importPacemaker(o, args[0]) },
	}
	pacemaker.Flags().BoolVar(&o.simulate, "simulate", false, "")
	pacemaker.Flags().StringVarP(&o.output, "output", "o", "text", "")
	pacemaker.Flags().StringVar(&o.at, "at", "", "")
	c.AddCommand(pacemaker)
	return c
}

func (s *shell) importPacemaker(o importCommand, path string) error {
	hint := "see `keelson import pacemaker --help`"
	if o.output != "text" && o.output != "json" {
		return wrong(hint, "-o is text or json, not %q", o.output)
	}
	now := s.env.Clock.Now()
	if o.at != "" {
		at, err := time.Parse(time.RFC3339, o.at)
		if err != nil {
			return wrong(hint, "--at %q is not a time such as 2026-01-31T12:00:00Z", o.at)
		}
		now = at
	}
	if o.simulate {
		return s.simulatePacemaker(path, o.output, now)
	}
	if o.output == "json" {
		return wrong(hint, "-o json goes with --simulate; services are written as YAML")
	}
	var got Imported
	err := s.readFrom(path, func(r io.Reader) (err error) {
		got, err = s.env.Actions.Pacemaker.Import(r, now)
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

func (s *shell) simulatePacemaker(path, output string, now time.Time) error {
	files, isFolder, err := cases(path)
	if err != nil {
		return err
	}
	all := make([]Simulated, 0, len(files))
	for _, file := range files {
		var one Simulated
		err := s.readFrom(file, func(r io.Reader) (err error) {
			one, err = s.env.Actions.Pacemaker.Simulate(r, now)
			return err
		})
		if err != nil {
			return err
		}
		one.Case = strings.TrimSuffix(filepath.Base(file), ".xml")
		all = append(all, one)
	}
	if output == "json" {
		var what any = all
		if !isFolder {
			what = all[0]
		}
		text, err := json.MarshalIndent(what, "", "  ")
		if err != nil {
			return err
		}
		s.tty.Printf("%s\n", text)
		return nil
	}
	for _, one := range all {
		s.printSimulated(one, isFolder)
	}
	return nil
}

// cases returns the files that a path means.
func cases(path string) (files []string, isFolder bool, err error) {
	if path == "-" {
		return []string{path}, false, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []string{path}, false, nil
	}
	files, err = filepath.Glob(filepath.Join(path, "*.xml"))
	if err != nil || len(files) == 0 {
		return nil, true, wrong("name a folder with .xml files", "%s holds no .xml file", path)
	}
	slices.Sort(files)
	return files, true, nil
}

func (s *shell) printSimulated(one Simulated, named bool) {
	if named {
		s.tty.Printf("%s\n", one.Case)
	}
	names := make([]string, 0, len(one.After))
	for name := range one.After {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		before, after := seats(one.Before[name]), seats(one.After[name])
		if before == after {
			s.tty.Printf("  %s: %s\n", name, after)
			continue
		}
		s.tty.Printf("  %s: %s (was: %s)\n", name, after, before)
	}
	for _, step := range one.Steps {
		s.tty.Printf("  - %s\n", step)
	}
	for _, n := range one.Not {
		s.tty.Errorf("not understood: %s\n", n)
	}
}

func seats(list []SimulatedSeat) string {
	if len(list) == 0 {
		return "nowhere"
	}
	var out []string
	for _, s := range list {
		text := s.Node
		if s.Role != "Started" {
			text += " " + strings.ToLower(s.Role)
		}
		if s.Count > 1 {
			text += fmt.Sprintf(" x%d", s.Count)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}
