package etcdstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/keelson/keelson/internal/base/atomicfile"
)

// lockPatience is how long an inspection waits for another process to let go
// of the database.
const lockPatience = time.Second

var (
	errExists    = errors.New("the data directory holds a store already")
	errLogGone   = errors.New("its log is missing")
	errDataGone  = errors.New("its database is missing")
	errLogShort  = errors.New("its log ends before what was agreed")
	errTruncated = errors.New("its database file is shorter than what it holds")
	errNoOwner   = errors.New("it does not say whose it is")
)

// owner is the file owner.json of a data directory: whose it is.
type owner struct {
	Cell string `json:"cell"`
	Node string `json:"node"`
	// Formed: the server was ready once, so that what the directory holds
	// counts for the cell.
	Formed bool `json:"formed"`
}

func (o ServerOptions) ownerFile() string { return filepath.Join(o.Dir, "owner.json") }
func (o ServerOptions) memberDir() string { return filepath.Join(o.Dir, "member") }
func (o ServerOptions) walDir() string    { return filepath.Join(o.Dir, "member", "wal") }
func (o ServerOptions) database() string  { return filepath.Join(o.Dir, "member", "snap", "db") }

// owner reads owner.json; found is false if there is none.
func (o ServerOptions) owner() (own owner, found bool, err error) {
	content, err := os.ReadFile(o.ownerFile())
	if errors.Is(err, os.ErrNotExist) {
		return owner{}, false, nil
	}
	if err != nil {
		return owner{}, false, err
	}
	if err := json.Unmarshal(content, &own); err != nil {
		return owner{}, false, fmt.Errorf("%w: %s: %w", ErrCorrupt, o.ownerFile(), err)
	}
	return own, true, nil
}

func (o ServerOptions) own(formed bool) error {
	content, err := json.Marshal(owner{Cell: o.Cell, Node: o.Name, Formed: formed})
	if err != nil {
		return err
	}
	return atomicfile.Write(o.ownerFile(), content, 0o600)
}

// formed notes that the server was ready.
func (o ServerOptions) formed() error {
	own, _, err := o.owner()
	if err == nil && !own.Formed {
		err = o.own(true)
	}
	if err != nil {
		return fmt.Errorf("note the owner of %s: %w", o.Dir, err)
	}
	return nil
}

// prepare makes the directory ready for a start and refuses one that is not
// this server's. What an unfinished first start has left is renamed.
func (o ServerOptions) prepare(state, cluster string) error {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	own, found, err := o.owner()
	if err != nil {
		return err
	}
	present := exists(o.memberDir())
	switch {
	case found && (own.Cell != o.Cell || own.Node != o.Name):
		return fmt.Errorf("%w: %s is that of node %s in cell %s, this is node %s in cell %s",
			ErrForeign, o.Dir, own.Node, own.Cell, o.Name, o.Cell)
	case !found && present:
		return fmt.Errorf("%w: %s: %w", ErrForeign, o.Dir, errNoOwner)
	case cluster == "":
		return o.room(roomToGoOn)
	case own.Formed && wal.Exist(o.walDir()):
		return fmt.Errorf("%w: %s", errExists, o.Dir)
	case own.Formed:
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, o.Dir, errLogGone)
	}
	if present && (state == embed.ClusterStateFlagNew || !wal.Exist(o.walDir())) {
		aside := o.memberDir() + ".unfinished-" + o.Clock.Now().UTC().Format("20060102T150405.000Z")
		if err := os.Rename(o.memberDir(), aside); err != nil {
			return err
		}
	}
	if err := o.room(roomToStart); err != nil {
		return err
	}
	return o.own(false)
}

// room makes sure that the disk has room: etcd comes to a bad end without, and
// this process could not start it again.
func (o ServerOptions) room(least uint64) error {
	free, err := freeBytes(o.Dir)
	if err == nil && free < least {
		err = fmt.Errorf("%w: %s has %d MiB free, a voter needs at least %d MiB: make room and start again",
			ErrDiskFull, o.Dir, free>>20, least>>20)
	}
	return err
}

// inspect reads all of the directory before etcd does: etcd ends the process
// over what it cannot read.
func (o ServerOptions) inspect(logger *zap.Logger) error {
	if !wal.Exist(o.walDir()) {
		return o.corrupt(o.walDir(), errLogGone)
	}
	snapshots, err := wal.ValidSnapshotEntries(logger, o.walDir())
	if err != nil {
		return o.corrupt(o.walDir(), err)
	}
	last := &walpb.Snapshot{}
	if len(snapshots) > 0 {
		last = snapshots[len(snapshots)-1]
	}
	end, err := logEnd(logger, o.walDir(), last)
	if err != nil {
		return o.corrupt(o.walDir(), err)
	}
	applied, err := checkDatabase(o.database())
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: another process has %s open", ErrInUse, o.database())
	case err != nil:
		return o.corrupt(o.database(), err)
	case applied > end:
		// etcd would take new entries for old ones and drop them.
		return o.corrupt(o.walDir(), errLogShort)
	}
	return nil
}

// logEnd reads the log from its last snapshot on and returns the index of its
// last entry. A last record that was cut off by a crash is no fault.
func logEnd(logger *zap.Logger, dir string, last *walpb.Snapshot) (uint64, error) {
	log, err := wal.OpenForRead(logger, dir, last)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }() // a log that was only read has nothing to lose
	_, state, entries, err := log.ReadAll()
	if err != nil {
		return 0, err
	}
	end := last.GetIndex()
	if n := len(entries); n > 0 {
		end = entries[n-1].GetIndex()
	}
	if state.GetCommit() > end {
		return 0, errLogShort
	}
	return end, nil
}

// corrupt says that err shows the data to be damaged, unless it is the
// kernel's.
func (o ServerOptions) corrupt(what string, err error) error {
	if isSystem(err) {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return fmt.Errorf("%w: %s: %w: nothing was changed; move %s aside to build this voter anew from the others",
		ErrCorrupt, what, err, o.Dir)
}

// checkDatabase reads every key of the database and returns the index of the
// last log entry that is in it. The keys are read before bbolt's own check,
// which reads pages on a goroutine whose panic nobody could catch.
func checkDatabase(name string) (applied uint64, err error) {
	err = readDatabase(name, func(tx *bbolt.Tx) error {
		if err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return readBucket(b) }); err != nil {
			return err
		}
		var faults error
		for fault := range tx.Check() {
			if faults == nil {
				faults = fault
			}
		}
		if meta := tx.Bucket([]byte("meta")); meta != nil && faults == nil {
			if index := meta.Get([]byte("consistent_index")); len(index) == 8 {
				applied = binary.BigEndian.Uint64(index)
			}
		}
		return faults
	})
	return applied, err
}

// readDatabase calls f with the database of a stopped server. It panics neither
// over a broken structure nor over a file that ends too early.
func readDatabase(name string, f func(*bbolt.Tx) error) (err error) {
	file, err := os.Stat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errDataGone
	case err != nil:
		return err
	case file.Size() == 0:
		return errTruncated
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockPatience})
	if err != nil {
		return err
	}
	defer func() {
		if closed := db.Close(); err == nil {
			err = closed
		}
	}()
	return db.View(func(tx *bbolt.Tx) error {
		if file.Size() < tx.Size() {
			return errTruncated
		}
		return f(tx)
	})
}

// readBucket touches every page of b.
func readBucket(b *bbolt.Bucket) error {
	var sum byte
	return b.ForEach(func(key, value []byte) error {
		for _, bytes := range [][]byte{key, value} {
			for i := 0; i < len(bytes); i += 4096 {
				sum ^= bytes[i]
			}
		}
		if value == nil {
			if nested := b.Bucket(key); nested != nil {
				return readBucket(nested)
			}
		}
		return nil
	})
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return s.Bavail * uint64(s.Bsize), nil
}
