// Package journal keeps, on a node, what must outlive the agent: one file an
// instance, in a folder that a reboot empties.
//
// Its main rule is that no file means that nothing runs and nothing is remembered,
// so a file is written before each step. It refuses to believe a file that is no
// entry: that is put aside and named. It decides nothing.
package journal

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

const (
	entrySuffix   = ".json"
	brokenSuffix  = ".json.broken"
	maxEntryBytes = 4 << 20
)

// Entry is what the journal says of one instance, and of which cell it is.
type Entry struct {
	Cell string `json:"cell,omitempty"`
	supervise.Memory
}

// ErrEntry means that a journal file is not one. It is to be put aside.
var ErrEntry = errors.New("not a journal entry")

func (e Entry) valid(name instance.Name) error {
	switch {
	case e.Run.Spec.Name != name.Service():
		return fmt.Errorf("%w: it is of service %q", ErrEntry, e.Run.Spec.Name)
	case len(e.Parts) != len(e.Run.Spec.Parts):
		return fmt.Errorf("%w: %d states of %d parts", ErrEntry, len(e.Parts), len(e.Run.Spec.Parts))
	}
	for _, p := range e.Run.Spec.Parts {
		if !spec.ServiceName(p.Name).Valid() { // it becomes a folder's name
			return fmt.Errorf("%w: part %q", ErrEntry, p.Name)
		}
	}
	for _, p := range e.Parts {
		switch p {
		case supervise.Down, supervise.Up, supervise.Dirty, supervise.Dead, supervise.Unknown,
			supervise.Raised, supervise.Half, supervise.Torn:
		default:
			return fmt.Errorf("%w: unknown state %q", ErrEntry, p)
		}
	}
	return nil
}

// A File is what the journal has of one instance. It has one owner.
type File struct {
	path string
	last []byte // as written; nil if there is no file
}

// New returns the file of an instance in a folder that [Read] has made. Nothing is
// written yet.
func New(dir string, name instance.Name) *File {
	return &File{path: filepath.Join(dir, string(name)+entrySuffix)}
}

// Write makes the file say what st says, and removes it where there is nothing to
// remember.
func (j *File) Write(cell string, st supervise.State) error {
	if !st.Memorable() {
		return j.remove()
	}
	data, err := json.Marshal(Entry{Cell: cell, Memory: st.Memory})
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

func (j *File) remove() error {
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	j.last = nil
	return nil
}

// Read returns the entries in dir, which is made if it does not exist.
// Files that are no entries are renamed aside and named in broken.
func Read(dir string) (entries map[instance.Name]Entry, broken []error, err error) {
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
	entries = make(map[instance.Name]Entry)
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

func readEntry(path string, name instance.Name) (Entry, error) {
	data, err := atomicfile.Read(path, maxEntryBytes)
	if err != nil {
		return Entry{}, fmt.Errorf("journal: %w", err)
	}
	e, err := parse(data, name)
	if err != nil {
		return Entry{}, fmt.Errorf("journal %s: %w", path, err)
	}
	return e, nil
}

func parse(data []byte, name instance.Name) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(data, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	e.Run.Spec = e.Run.Spec.Normalize()
	return e, e.valid(name)
}
