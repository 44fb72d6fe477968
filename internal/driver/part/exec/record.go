package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/driver/cgroup"
	"github.com/keelson/keelson/internal/model/instance"
)

// Files in a part's run folder.
const (
	recordName  = "program.json"
	pidfileName = "session"
	lockName    = "lock"
)

// recordBytes bounds a record.
const recordBytes = 4096

// record is what a later agent must know of a started program. It is written
// after the start: processes without one are from a start that was interrupted.
type record struct {
	Pid        int       `json:"pid"`
	Ticks      uint64    `json:"start_ticks"` // see cgroup.Process.Start
	Boot       string    `json:"boot_id"`
	Generation uint64    `json:"generation"`
	Epoch      uint64    `json:"epoch"`
	Started    time.Time `json:"started"`
	// OOMBefore is the group's count of processes killed for want of memory
	// when the program started.
	OOMBefore int `json:"oom_before"`
}

// same reports whether both are of one process.
func (r record) same(o record) bool { return r.Pid == o.Pid && r.Ticks == o.Ticks && r.Boot == o.Boot }

func (r record) oomKilled(g *cgroup.Group) bool {
	n, ok := g.OOMKills()
	return ok && n > r.OOMBefore
}

func recordPath(run instance.Run) string  { return filepath.Join(run.RunDir, recordName) }
func pidfilePath(run instance.Run) string { return filepath.Join(run.RunDir, pidfileName) }

func saveRecord(run instance.Run, r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	return atomicfile.Write(recordPath(run), text, 0o600)
}

func dropRecord(run instance.Run) error {
	if err := os.Remove(recordPath(run)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// parseRecord reads what saveRecord wrote.
func parseRecord(text []byte) (record, error) {
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("record of a program: %w", err)
	}
	if r.Pid < 1 || r.Ticks == 0 || r.Boot == "" {
		return record{}, errors.New("record of a program names no process")
	}
	return r, nil
}

// view is what is there of a part.
type view struct {
	recorded bool // record is there and of this boot
	running  bool // the program in it is alive
	record   record
	members  []int // if not running: processes that are left all the same
}

// look returns what is there of run. A record that cannot be understood is the
// same as none: what its program left is then found by the group.
func (d *Driver) look(run instance.Run, g *cgroup.Group) (view, error) {
	var v view
	text, err := atomicfile.Read(recordPath(run), recordBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, atomicfile.ErrTooLarge):
	case err != nil:
		return view{}, fmt.Errorf("look for %s: %w", run.Key(), err)
	default:
		if r, err := parseRecord(text); err == nil && r.Boot == d.boot {
			v.recorded, v.record = true, r
		}
	}
	if v.recorded {
		p, err := cgroup.Look(v.record.Pid)
		if v.running = err == nil && p.Start == v.record.Ticks && p.Alive(); v.running {
			return v, nil
		}
	}
	if v.members, err = g.Members(); err != nil {
		return view{}, fmt.Errorf("look for %s: %w", run.Key(), err)
	}
	return v, nil
}

// numbersLimit is how many processes a sentence names.
const numbersLimit = 8

// numbers lists process numbers for a person.
func numbers(pids []int) string {
	var out []string
	for _, pid := range pids[:min(len(pids), numbersLimit)] {
		if pid == 0 {
			out = append(out, "one in another namespace")
			continue
		}
		out = append(out, strconv.Itoa(pid))
	}
	if more := len(pids) - numbersLimit; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}
