// Package pacemaker holds what the command line shows of another cluster
// manager's documents. It understands none of them: who reads them is handed in.
package pacemaker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/keelson/keelson/internal/model/spec"
)

// ErrNoCases means that a folder holds no document.
var ErrNoCases = errors.New("a folder without .xml files")

// Help is the help text of `keelson import pacemaker`.
const Help = `Read a Pacemaker cluster's information base, and write services of it.

Usage:
    keelson import pacemaker [--simulate] [-o FORMAT] FILE
    keelson import pacemaker --simulate [-o FORMAT] FOLDER
    keelson import pacemaker --observe [-o FORMAT] [--every TIME] [FILE]

FILE is what ` + "`cibadmin --query`" + ` prints; - reads it from standard input. Nothing
of the cluster is touched.

Without --simulate it prints services for ` + "`keelson apply`" + `, and on standard error
what of the configuration they do not say, each with its id. Read that list
before you rely on the services.

    --simulate    decide on the cluster as it stands, and print where each
                  resource is and where it would be. Of a FOLDER, every .xml
                  file is decided on.
    --observe     look on beside a running cluster until interrupted: at each event
                  print what Pacemaker has done since, what Keelson would do now, and
                  where the two differ. The cluster is asked by ` + "`cibadmin --query`" + `
                  and not touched; a FILE is read again and again instead.
    --every TIME  how often it asks (default 2s)
    --events N    end after N events (default 0: when interrupted)
    --query PROGRAM  ask this program, without arguments, and not cibadmin
    -o FORMAT     text (the default), json or yaml. Services are always YAML. With
                  --simulate and --observe json and yaml are for programs: with
                  --observe one object a line, or one document each, with "at", "nodes", "did", "would", "differs" and
                  "error"; else an object with "case", "before" and "after" (by
                  resource, a list of {"node", "role", "count"}), "nodes",
                  "steps", "why" and "not_understood"; for a FOLDER a list of
                  such objects, sorted by case.
    --at TIME     when to decide, such as 2026-01-31T12:00:00Z, if the file does
                  not say so itself (default now)

Exit status: 0 done, 1 a file cannot be read, 2 wrong usage.

Example:
    $ cibadmin --query > cib.xml
    $ keelson import pacemaker --simulate cib.xml
    $ keelson import pacemaker --observe -o json >>seen.jsonl
`

// Imported is what came of another manager's configuration.
type Imported struct {
	Services []spec.Service
	// Notes say what is not understood, each with the id of what it is about.
	Notes []string
}

// Simulated is what would be done with another manager's cluster.
type Simulated struct {
	Case   string            `json:"case"`
	Before map[string][]Seat `json:"before"`
	After  map[string][]Seat `json:"after"`
	Nodes  map[string]string `json:"nodes"`
	Steps  []string          `json:"steps,omitempty"`
	Why    map[string]string `json:"why,omitempty"`
	Not    []string          `json:"not_understood,omitempty"`
}

// Seat is how many instances of a resource run in one role on one node.
type Seat struct {
	Count int    `json:"count"`
	Node  string `json:"node"`
	Role  string `json:"role"`
}

// Reader reads what a Pacemaker cluster was told. Its errors say what is
// wrong with the document.
type Reader struct {
	Import   func(io.Reader, time.Time) (Imported, error)
	Simulate func(io.Reader, time.Time) (Simulated, error)
}

// Cases returns the files that a path means.
func Cases(path string) (files []string, isFolder bool, err error) {
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
		return nil, true, fmt.Errorf("%s: %w", path, ErrNoCases)
	}
	slices.Sort(files)
	return files, true, nil
}

// Show renders what would be done in some cases: text for people, with notes for
// standard error, or JSON or YAML, a list if they are of a folder.
func Show(all []Simulated, isFolder bool, output string) (text string, notes []string, err error) {
	if output == "json" || output == "yaml" {
		var what any = all
		if !isFolder {
			what = all[0]
		}
		out, err := json.MarshalIndent(what, "", "  ")
		if err != nil || output == "json" {
			return string(out) + "\n", nil, err
		}
		out, err = yaml.JSONToYAML(out)
		return string(out), nil, err
	}
	for _, one := range all {
		if isFolder {
			text += one.Case + "\n"
		}
		text += one.Text()
		notes = append(notes, one.Not...)
	}
	return text, notes, nil
}

// Text says where each resource is and would be, and what would be done; Not is
// left out.
func (one Simulated) Text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(one.After)) {
		before, after := seats(one.Before[name]), seats(one.After[name])
		if before == after {
			fmt.Fprintf(&b, "  %s: %s\n", Plain(name), after)
			continue
		}
		fmt.Fprintf(&b, "  %s: %s (was: %s)\n", Plain(name), after, before)
	}
	for _, step := range one.Steps {
		fmt.Fprintf(&b, "  - %s\n", step)
	}
	return b.String()
}

func seats(list []Seat) string {
	if len(list) == 0 {
		return "nowhere"
	}
	var out []string
	for _, s := range list {
		text := Plain(s.Node)
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
