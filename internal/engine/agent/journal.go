package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/core/supervise"
	"github.com/keelson/keelson/internal/model/instance"
	"github.com/keelson/keelson/internal/model/spec"
)

// The journal is one file an instance, in a folder that a reboot empties. It says
// what may run, and is written before each step; no file means that nothing
// runs and nothing is remembered.

const (
	entrySuffix   = ".json"
	brokenSuffix  = ".json.broken"
	maxEntryBytes = 4 << 20
)

// entry is what the journal says of one service.
type entry struct {
	Cell string `json:"cell,omitempty"`
	supervise.Memory
}

// errEntry means that a journal file is not one.
var errEntry = errors.New("not a journal entry")

func (e entry) valid(name instance.Name) error {
	switch {
	case e.Run.Spec.Name != name.Service():
		return fmt.Errorf("%w: it is of service %q", errEntry, e.Run.Spec.Name)
	case len(e.Parts) != len(e.Run.Spec.Parts):
		return fmt.Errorf("%w: %d states of %d parts", errEntry, len(e.Parts), len(e.Run.Spec.Parts))
	}
	for _, p := range e.Run.Spec.Parts {
		if !spec.ServiceName(p.Name).Valid() { // it becomes a folder's name
			return fmt.Errorf("%w: part %q", errEntry, p.Name)
		}
	}
	for _, p := range e.Parts {
		switch p {
		case supervise.Down, supervise.Up, supervise.Dirty, supervise.Dead, supervise.Unknown,
			supervise.Raised, supervise.Half, supervise.Torn:
		default:
			return fmt.Errorf("%w: unknown state %q", errEntry, p)
		}
	}
	return nil
}

// journal keeps one service's file.
type journal struct {
	path string
	last []byte // as written; nil if there is no file
}

func newJournal(dir string, name instance.Name) *journal {
	return &journal{path: filepath.Join(dir, string(name)+entrySuffix)}
}

// write makes the file say what st says.
func (j *journal) write(cell string, st supervise.State) error {
	if !st.Memorable() {
		return j.remove()
	}
	data, err := json.Marshal(entry{Cell: cell, Memory: st.Memory})
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	if bytes.Equal(data, j.last) {
		return nil
	}
	if err := atomicfile.Write(j.path, data, 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.last = data
	return nil
}

func (j *journal) remove() error {
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	j.last = nil
	return nil
}

// readJournal returns the entries in dir, which is made if it does not exist.
// Files that are no entries are renamed aside and named in broken.
func readJournal(dir string) (entries map[instance.Name]entry, broken []error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	if err := atomicfile.Clean(dir); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	entries = make(map[instance.Name]entry)
	for _, f := range files {
		base, found := strings.CutSuffix(f.Name(), entrySuffix)
		name := instance.Name(base)
		if !found || !name.Valid() {
			continue
		}
		path := filepath.Join(dir, f.Name())
		e, err := readEntry(path, name)
		if err != nil {
			aside := filepath.Join(dir, base+brokenSuffix)
			broken = append(broken, errors.Join(err, os.Rename(path, aside)))
			continue
		}
		entries[name] = e
	}
	return entries, broken, nil
}

func readEntry(path string, name instance.Name) (entry, error) {
	data, err := atomicfile.Read(path, maxEntryBytes)
	if err != nil {
		return entry{}, fmt.Errorf("journal: %w", err)
	}
	e, err := parseEntry(data, name)
	if err != nil {
		return entry{}, fmt.Errorf("journal %s: %w", path, err)
	}
	return e, nil
}

func parseEntry(data []byte, name instance.Name) (entry, error) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return entry{}, fmt.Errorf("%w: %w", errEntry, err)
	}
	e.Run.Spec = e.Run.Spec.Normalize()
	return e, e.valid(name)
}
