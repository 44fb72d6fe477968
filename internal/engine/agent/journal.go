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
	"time"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

// The journal is one file a service, in a folder that a reboot empties. It says
// what may run, and is written before each step; no file means that nothing
// runs and nothing is remembered.

const (
	entrySuffix   = ".json"
	brokenSuffix  = ".json.broken"
	maxEntryBytes = 4 << 20
)

// entry is what the journal says of one service.
type entry struct {
	Cell        string         `json:"cell,omitempty"`
	Service     record.Service `json:"service"`
	Parts       []partState    `json:"parts"`
	Epoch       uint64         `json:"epoch,omitempty"`
	Guard       uint64         `json:"guard,omitempty"`
	Placed      int64          `json:"placed,omitempty"`
	Phase       fact.Phase     `json:"phase"`
	Since       time.Time      `json:"since"`
	Failures    []fact.Failure `json:"failures,omitempty"`
	FailedUntil time.Time      `json:"failed_until,omitzero"`
}

// errEntry means that a journal file is not one.
var errEntry = errors.New("not a journal entry")

func entryOf(cell string, st state) entry {
	return entry{
		Cell: cell, Service: st.run, Parts: st.parts, Epoch: st.epoch, Guard: st.guard, Placed: st.placed,
		Phase: st.phase, Since: st.since, Failures: st.failures, FailedUntil: st.failedUntil,
	}
}

// restore returns the state to begin with: all that may run is to be probed.
func (e entry) restore() state {
	st := state{
		run: e.Service, expect: e.Parts, epoch: e.Epoch, guard: e.Guard, placed: e.Placed,
		phase: e.Phase, since: e.Since, failures: e.Failures, failedUntil: e.FailedUntil,
	}
	st.parts = make([]partState, len(e.Parts))
	for i, p := range e.Parts {
		st.parts[i] = partUnknown
		if p == partDown {
			st.parts[i] = partDown
		}
	}
	return st
}

// unknown returns the state to begin with if the journal says nothing of a
// service that was known before: any part may run.
func unknown(s record.Service) state {
	e := entry{Service: s, Phase: fact.Idle}
	for range s.Spec.Parts {
		e.Parts = append(e.Parts, partUnknown)
	}
	return e.restore()
}

func (e entry) valid(name spec.ServiceName) error {
	switch {
	case e.Service.Spec.Name != name:
		return fmt.Errorf("%w: it is of service %q", errEntry, e.Service.Spec.Name)
	case len(e.Parts) != len(e.Service.Spec.Parts):
		return fmt.Errorf("%w: %d states of %d parts", errEntry, len(e.Parts), len(e.Service.Spec.Parts))
	}
	for _, p := range e.Service.Spec.Parts {
		if !spec.ServiceName(p.Name).Valid() { // it becomes a folder's name
			return fmt.Errorf("%w: part %q", errEntry, p.Name)
		}
	}
	for _, p := range e.Parts {
		switch p {
		case partDown, partUp, partDirty, partDead, partUnknown:
		default:
			return fmt.Errorf("%w: unknown state %q", errEntry, p)
		}
	}
	return nil
}

// worth reports whether st must be remembered.
func worth(st state) bool {
	return st.mayRun() || st.epoch != 0 || len(st.failures) > 0
}

// journal keeps one service's file.
type journal struct {
	path string
	last []byte // as written; nil if there is no file
}

func newJournal(dir string, name spec.ServiceName) *journal {
	return &journal{path: filepath.Join(dir, string(name)+entrySuffix)}
}

// write makes the file say what st says.
func (j *journal) write(cell string, st state) error {
	if !worth(st) {
		return j.remove()
	}
	data, err := json.Marshal(entryOf(cell, st))
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
func readJournal(dir string) (entries map[spec.ServiceName]entry, broken []error, err error) {
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
	entries = make(map[spec.ServiceName]entry)
	for _, f := range files {
		base, found := strings.CutSuffix(f.Name(), entrySuffix)
		name := spec.ServiceName(base)
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

func readEntry(path string, name spec.ServiceName) (entry, error) {
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

func parseEntry(data []byte, name spec.ServiceName) (entry, error) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return entry{}, fmt.Errorf("%w: %w", errEntry, err)
	}
	e.Service.Spec = e.Service.Spec.Normalize()
	return e, e.valid(name)
}
